"""SIGKILL at random moments loses nothing, twenty times and more by `make test-kill`; SIGTERM saves first."""

import os
import signal
import subprocess
import sys
import time

import pytest

from lib import ROOT
from lib.artifacts import read_json
from lib.run.kill import kill_and_compare

LONG = """
import sys
from pathlib import Path
from lib.tests.training.fixtures import Line, run
if __name__ == "__main__":
    many = 10**6
    run(Line(), Path(sys.argv[1]), many, workers=1, checkpoint_every=many, on_step=lambda *_: print("step", flush=True))
"""


@pytest.mark.parametrize(("kills", "workers"), [(2, 0), (1, 2)])
def test_a_killed_training_ends_as_one_that_never_was(kills, workers):
    found = kill_and_compare(kills, workers)
    assert found["kills"] == kills
    assert found["equal"] == found["finished"] > 0


def is_there(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_sigterm_to_the_workers_too_is_saved_and_ends_them(tmp_path):
    """As torchrun, timeout and batch systems send it: to all processes of the group."""
    script = tmp_path / "long.py"
    script.write_text(LONG)
    words = [sys.executable, str(script), str(tmp_path / "run")]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(words, cwd=tmp_path, start_new_session=True, env=environment, **pipes) as process:
        while process.stdout.readline().strip() != "step":
            assert process.poll() is None
        os.killpg(process.pid, signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    assert "KeyboardInterrupt: stopped after step" in said
    assert len(list((tmp_path / "run" / "checkpoints").glob("checkpoint_*.pt"))) == 1
    deadline = time.monotonic() + 30
    while is_there(process.pid):  # Python's own helper process takes a moment to notice
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_the_record_holds_what_is_claimed():
    record = read_json(ROOT / "outputs" / "reference" / "kill.json")
    assert set(record["trainings"]) == {"0 workers", "2 workers"}
    for row in record["trainings"].values():
        assert row["kills"] == 20
        assert row["equal"] == row["finished"] > 0
        assert row["of_resumed"] > 0
