"""What lies in the folder of a run: its finished stages, also those that are out of date."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ... import ROOT, artifacts
from .markdown import tidy

CHAIN = "05"  # the last number of what belongs together; what stands on it may be there or not
NUMBERED = re.compile(r"\d\d_\w+")


@dataclass(frozen=True)
class Found:
    """A finished stage as it lies in the run's folder, even if it is out of date; `problem` says in what way."""

    name: str
    folder: Path
    manifest: dict[str, Any]
    metrics: dict[str, Any]
    problem: str

    @property
    def numbers(self) -> dict[str, float | None]:
        return {k: v for k, v in self.metrics.items() if v is None or isinstance(v, int | float)}

    @property
    def expectations(self) -> dict[str, dict[str, Any]]:
        return self.metrics.get("expectations", {})


def read_stages(run: str) -> list[Found]:
    """The finished stages of a run, by number.

    Raises:
        ArtifactError: there is none.
        ValueError: a file of theirs is damaged.
    """
    stages = []
    for path in sorted(artifacts.run_folder(run).glob("*/manifest.json")):
        name, metrics, problem = path.parent.name, path.with_name("metrics.json"), ""
        if NUMBERED.fullmatch(name):
            try:
                artifacts.load(run, name)
            except artifacts.ArtifactError as error:
                problem = tidy(str(error))
            numbers = artifacts.read_json(metrics) if metrics.is_file() else {}
            stages.append(Found(name, path.parent, artifacts.read_json(path), numbers, problem))
    if not stages:
        name = Path(run).name
        command = f"params/{name}" if (ROOT / "params" / name).is_dir() else f"params/street --out outputs/{name}"
        raise artifacts.ArtifactError(
            f"run {run!r} has no finished stage, so there is nothing to report: execute it first, for example with "
            f"python -m lib.run {command}"
        )
    return stages


def find_dataset(stages: Sequence[Found]) -> str:
    """The frames that a run is about; empty where no stage tells."""
    for found in stages:
        source = found.manifest["inputs"].get("01_depth")
        path = artifacts.run_folder(source["run"]) / "01_depth" / "manifest.json" if source else None
        values = artifacts.read_json(path)["params"] if path and path.is_file() else found.manifest["params"]
        if "dataset" in values:
            return values["dataset"]
    return ""
