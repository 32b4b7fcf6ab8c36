"""Stages: the folder of one notebook in one run, from `begin` to the manifest, and back through `load`."""

import os
import platform
import subprocess
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import ROOT, params
from ..parallel import peak_memory
from .code import hash_code, hash_modules
from .files import (
    describe,
    fingerprint,
    hash_file,
    hash_files,
    read_json,
    write_aside,
    write_image,
    write_inverse_depth,
    write_json,
)

if TYPE_CHECKING:
    import torch

OUTPUTS = Path(os.environ.get("RUNS_ROOT") or ROOT / "outputs")  # the tests keep their runs apart from yours
CODE = (".", ":(exclude)outputs/reference")  # what must be committed for a result to be repeated: records are none
VERSIONED = (
    "torch",
    "torchvision",
    "numpy",
    "scikit-image",
    "scikit-learn",
    "opencv-python-headless",
    "infomap",
)


class ArtifactError(RuntimeError):
    """An artefact that is missing, unfinished, damaged, or older than what it was made from."""


def run_folder(run: str) -> Path:
    """outputs/RUN; an absolute path stands for itself."""
    return OUTPUTS / run


@dataclass
class Artifact:
    """A finished stage, verified. `params` is the notebook's dataclass; `about` what the stage noted beside it."""

    name: str
    run: str
    folder: Path
    manifest: dict[str, Any]
    metrics: dict[str, Any]

    @property
    def params(self) -> Any:
        return params.make(params.SCHEMAS[self.name], self.manifest["params"])

    @property
    def about(self) -> dict[str, Any]:
        return self.manifest["about"]

    @property
    def digest(self) -> str:
        """sha256 of the manifest: changes whenever anything in the stage does."""
        return hash_file(self.folder / "manifest.json")

    def path(self, name: str) -> Path:
        """A file of this stage.

        Raises:
            ArtifactError: the stage did not write such a file.
        """
        if name not in self.manifest["files"]:
            raise ArtifactError(f"{self.name} of run {self.run!r} has no file {name}")
        return self.folder / name

    def source(self, name: str) -> "Artifact":
        """The stage `name` that this one was made from, verified, in whichever run it lies.

        Raises:
            ArtifactError: this one was not made from it, or it is missing or changed.
        """
        if name not in self.manifest["inputs"]:
            raise ArtifactError(f"{self.name} of run {self.run!r} was not made from {name}")
        return load(self.manifest["inputs"][name]["run"], name)


@dataclass
class Stage:
    """The stage being made. Files are saved as they are made; `finish` seals the folder."""

    name: str
    params: Any
    folder: Path
    inputs: list[Artifact]
    strict: bool  # do unmet expectations stop the notebook?
    about: dict[str, Any] = field(default_factory=dict)
    expectations: dict[str, Any] = field(default_factory=dict)
    continued: bool = False  # files of an earlier, interrupted attempt with the same parameters, inputs and code
    started: float = field(default_factory=time.perf_counter)

    def path(self, name: str) -> Path:
        """Where the file `name` of this stage belongs; its folder exists."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def has(self, name: str) -> bool:
        """Did an interrupted attempt of this very stage already write the file?"""
        return self.continued and (self.folder / name).is_file()

    def save_json(self, name: str, value: Any) -> None:
        write_json(self.path(name), value)

    def save_image(self, name: str, image: np.ndarray) -> None:
        """RGB (H, W, 3) uint8, or a map of ids (H, W) uint8 or uint16, as PNG."""
        write_image(self.path(name), image)

    def save_inverse_depth(self, name: str, inverse_depth: np.ndarray, largest: float) -> None:
        """16-bit PNG, see `write_inverse_depth`; `largest` is noted in the manifest."""
        self.about["inverse_depth_largest"] = float(largest)
        write_inverse_depth(self.path(name), inverse_depth, largest)

    def save_arrays(self, name: str, **arrays: np.ndarray) -> None:
        """Several arrays as one compressed .npz."""
        with write_aside(self.path(name)) as aside:
            np.savez_compressed(aside, **arrays)

    def save_tensors(self, name: str, tensors: dict[str, "torch.Tensor"], **about: Any) -> None:
        """Weights as .safetensors without metadata; what they are, as JSON beside it."""
        from safetensors.torch import save_file  # and torch: processes that save images alone do without

        with write_aside(self.path(name)) as aside:
            save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, aside)
        if about:
            write_json(self.path(name).with_suffix(".json"), about)

    def save_figure(self, name: str, figure: Any) -> None:
        """A matplotlib figure as PNG."""
        with write_aside(self.path(name)) as aside:
            figure.savefig(aside, dpi=figure.dpi, metadata={"Software": None})

    def resume_key(self, *modules: str) -> dict[str, Any]:
        """What must be unchanged for a training of this stage to go on: parameters but the free ones, inputs, code.

        Args:
            modules: lib modules whose code decides the result, e.g. "lib.depth".
        """
        return {
            "params": params.fixed(self.params),
            "inputs": {artifact.name: artifact.digest for artifact in self.inputs},
            "code": hash_modules(*modules, *params.reader_modules(self.params)),
            "sources": find_sources(self.params),
        }

    def finish(
        self,
        metrics: dict[str, float],
        protocol: dict[str, Any] | None = None,
        units: dict[str, str] | None = None,
    ) -> str:
        """Write metrics.json, then seal the stage with manifest.json; returns one line for the notebook.

        Args:
            metrics: name -> number, SI units or fractions of 1; None where there is nothing to measure against.
            protocol: how the numbers came about.
            units: file name or folder -> unit of what it holds.
        """
        numbers = {
            name: None if value is None or not np.isfinite(value) else float(value) for name, value in metrics.items()
        }
        write_json(
            self.folder / "metrics.json",
            {**numbers, "protocol": protocol or {}, "expectations": self.expectations},
        )
        write_json(self.folder / "manifest.json", self._manifest(units or {}))
        return f"{self.name} finished: {len(numbers)} metrics, {sum(1 for _ in self.folder.rglob('*.*'))} files"

    def _manifest(self, units: dict[str, str]) -> dict[str, Any]:
        files = {}
        for path in sorted(p for p in self.folder.rglob("*") if p.is_file()):
            name = path.relative_to(self.folder).as_posix()
            if name != "manifest.json" and not path.name.startswith(".") and "checkpoint" not in name:
                unit = units.get(name) or units.get(name.split("/")[0])
                files[name] = describe(path) | ({"unit": unit} if unit else {})
        first = {artifact.name: artifact for artifact in reversed(self.inputs)}
        further = [artifact for artifact in self.inputs if first[artifact.name] is not artifact]
        return {
            "stage": self.name,
            "run": self.params.run,
            "params": params.as_dict(self.params),
            "seed": self.params.seed,
            "code": hash_code(self.name, params.reader_modules(self.params)),
            **describe_machine(),
            "seconds": round(time.perf_counter() - self.started, 3),
            "peak_memory_bytes": peak_memory(),
            "inputs": {name: {"run": a.run, "sha256": a.digest} for name, a in first.items()},
            "further_inputs": [{"name": a.name, "run": a.run, "sha256": a.digest} for a in further],
            "sources": find_sources(self.params),
            "about": self.about,
            "files": files,
        }


def describe_machine() -> dict[str, Any]:
    """What makes a result: commit, versions of the libraries, device."""
    versions = {"python": platform.python_version(), **{name: version(name) for name in VERSIONED}}
    return {**_git_state(), "versions": versions, "device": _device_name()}


def _git_state() -> dict[str, Any]:
    def git(*words: str) -> str | None:
        done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else None

    try:
        return {"git_commit": git("rev-parse", "HEAD"), "git_dirty": bool(git("status", "--porcelain", "--", *CODE))}
    except FileNotFoundError:  # no git on this machine: a downloaded archive
        return {"git_commit": None, "git_dirty": None}


def _device_name() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or platform.machine()


def find_sources(values: Any) -> dict[str, list[Any]]:
    """The fingerprint of each file or folder that parameters name: another film under the old name is another run."""
    return {name: fingerprint(path) for name, path in params.list_paths(values).items()}


def begin(name: str, values: Any, inputs: list[Artifact] | None = None) -> Stage:
    """Start, or go on with, the stage `name`; from now on, until `finish`, it counts as unfinished.

    What an interrupted attempt with the same parameters, inputs and code has saved stays (`stage.has`); the rest of
    an older attempt is cleared away, except checkpoints, which `training` judges by itself.

    Args:
        name: of the notebook, e.g. "02_regions".
        values: its parameters.
        inputs: the artefacts it is made from; of several with one name the first is its `source`.
    """
    inputs = inputs or []
    folder = run_folder(values.run) / name
    folder.mkdir(parents=True, exist_ok=True)
    dataset = getattr(values, "dataset", None) or next((a.params.dataset for a in inputs if a.name == "01_depth"), "")
    stage = Stage(name, values, folder, inputs, strict=getattr(values, "expect", False) and dataset == "street")
    code = hash_code(name, params.reader_modules(values))
    key = {"params": params.decisive(values), "inputs": [[a.name, a.digest] for a in inputs], "code": code}
    key |= {"sources": find_sources(values)}
    attempt = folder / ".attempt.json"
    stage.continued = attempt.is_file() and read_json(attempt) == key
    (folder / "manifest.json").unlink(missing_ok=True)
    if not stage.continued:
        for path in folder.rglob("*"):
            if path.is_file() and "checkpoint" not in path.relative_to(folder).as_posix():
                path.unlink()
        write_json(attempt, key)
    return stage


def load(run: str, name: str) -> Artifact:
    """A finished stage of a run, after checking its files and everything it was made from.

    Raises:
        ArtifactError: it is missing, unfinished, damaged or out of date; says which command makes it.
    """
    folder = run_folder(run) / name
    remedy = f"run notebook {name} with run = {run!r} first"
    if (ROOT / "params" / Path(run).name).is_dir():
        remedy += f", or: python -m lib.run params/{Path(run).name} --to {name[:2]}"
    if not (folder / "manifest.json").is_file():
        state = "is unfinished" if folder.is_dir() else "does not exist"
        raise ArtifactError(f"{name} of run {run!r} {state}: {remedy}")
    manifest = read_json(folder / "manifest.json")
    paths = {file: folder / file for file in manifest["files"]}
    for file, path in paths.items():
        if not path.is_file():
            raise ArtifactError(f"{file} of {name} in run {run!r} is missing: {remedy}")
    for (file, about), found in zip(manifest["files"].items(), hash_files(list(paths.values()))):
        if found != about["sha256"]:
            raise ArtifactError(f"{file} of {name} in run {run!r} changed since it was made: {remedy}")
    further = [(source["name"], source) for source in manifest.get("further_inputs", [])]
    for lower, source in [*manifest["inputs"].items(), *further]:
        below = run_folder(source["run"]) / lower / "manifest.json"
        if not below.is_file() or hash_file(below) != source["sha256"]:
            raise ArtifactError(f"{lower} of run {source['run']!r} changed since {name} was made: {remedy}")
    return Artifact(name, run, folder, manifest, read_json(folder / "metrics.json"))


def expect(
    stage: Stage,
    name: str,
    value: float,
    at_least: float | None = None,
    at_most: float | None = None,
    required: bool = True,
) -> str:
    """Compare a measured quality with what the text promises, and record it in metrics.json.

    Laws are asserted in the notebook itself; quality is a matter of data and budget. So an unmet expectation stops
    the notebook on generated streets only (`stage.strict`), and is recorded as not met anywhere else.

    Args:
        required: False = an aim: recorded and printed, never in the way.
    Returns:
        One line to print, without the measured number when it is met: committed outputs stay the same.
    Raises:
        AssertionError: not met, required, on generated streets.
    """
    value = float(value)
    met = (at_least is None or value >= at_least) and (at_most is None or value <= at_most)
    bound = (
        f">= {at_least:g}"
        if at_most is None
        else f"<= {at_most:g}"
        if at_least is None
        else f"in {at_least:g}..{at_most:g}"
    )
    stage.expectations[name] = {
        "value": value if np.isfinite(value) else None,
        "expected": bound,
        "met": bool(met),
    }
    if not met and required and stage.strict:
        raise AssertionError(f"{name} is {value:.3f}, expected {bound}: set expect = False to go on all the same")
    return f"{name} {bound}: {'met' if met else f'not met ({value:.3f})'}"
