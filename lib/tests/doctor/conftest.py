"""A machine with no data, no runs, and room on its disk; and what was printed."""

import shutil
from types import SimpleNamespace

import pytest

from lib import artifacts
from lib.run.doctor import machine


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    """No data, no runs, and room on the disk."""
    monkeypatch.delenv("DATA_ROOT", raising=False)
    monkeypatch.setattr(machine, "OUTPUTS", tmp_path / "outputs")
    monkeypatch.setattr(artifacts.stages, "OUTPUTS", tmp_path / "outputs")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=50e9))


@pytest.fixture
def said(capsys):
    """What was printed since the last call, one line an entry."""

    def read():
        text = capsys.readouterr().out
        return " ".join(text.split())

    return read
