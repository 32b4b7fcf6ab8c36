"""Execute notebooks in order with papermill: checked first, skipped when up to date, stopped at a failure."""

import fcntl
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import papermill
import yaml

from .. import ROOT, artifacts, params
from ..artifacts import ArtifactError

log = logging.getLogger("lib.run")
RATES = ("prediction", "grouping")  # what stages note about how fast they were; for the log, not for a notebook
FAILED, BAD_PARAMETER, BUSY = 1, 2, 3  # exit codes
WITH_FOLDS = {"camvid": 4, "kitti_2015": 6}  # data sets whose `fold` says what is scored, and how many there are
QUIET_KERNEL = ["--IPKernelApp.log_level=40"]  # a kernel's warnings speak of transport, not of our work


def parse_overrides(words: list[str]) -> dict[str, dict[str, Any]]:
    """["04_training.steps=500"] -> {"04_training": {"steps": 500}}; values are read as YAML.

    Raises:
        ParameterError: not of this form, or no such notebook.
    """
    overrides: dict[str, dict[str, Any]] = {}
    for word in words:
        target, equals, value = word.partition("=")
        notebook, dot, name = target.partition(".")
        if not (equals and dot):
            raise params.ParameterError(f"-p {word}: write NOTEBOOK.name=value, for example 04_training.steps=500")
        known = find_notebook(notebook)
        try:
            # "my drive #1.mp4" is a name, and no YAML with a comment
            plain = params.is_text(params.SCHEMAS[known], name) and value[:1] not in ('"', "'")
            overrides.setdefault(known, {})[name] = value if plain else yaml.safe_load(value)
        except yaml.YAMLError:
            raise params.ParameterError(f"-p {word}: {value!r} is no YAML value") from None
    return overrides


def find_notebook(number: str) -> str:
    """The notebook "04_training" for "04", "4" or its full name.

    Raises:
        ParameterError: there is none.
    """
    for name in params.SCHEMAS:
        if number == name or (number.isdigit() and int(number) == int(name[:2])):
            return name
    raise params.ParameterError(f"no notebook {number!r}; there are {', '.join(params.SCHEMAS)}")


def read_run(folder: Path, overrides: dict[str, dict[str, Any]], run: str, data_root: str) -> dict[str, Any]:
    """The checked parameters of every notebook of a run.

    Args:
        folder: params/RUN, one YAML file a notebook; a notebook without file takes its defaults.
        overrides: see `parse_overrides`.
        run: name of the output folder.
        data_root: folder of the downloads, if not empty.
    Raises:
        ParameterError: an unknown file, name, type or value.
    """
    if not folder.is_dir():
        raise params.ParameterError(f"no folder {folder}: give one of params/, for example params/street")
    for path in folder.glob("*.y*ml"):
        if path.stem not in params.SCHEMAS or path.suffix != ".yaml":
            raise params.ParameterError(f"{path} names no notebook; there are {', '.join(params.SCHEMAS)} (.yaml)")
    values = {}
    for name, schema in params.SCHEMAS.items():
        path = folder / f"{name}.yaml"
        changes = {"run": run, **overrides.get(name, {})}
        if name == "01_depth" and data_root:
            changes["data_root"] = str(Path(data_root).expanduser().resolve())
        found = params.read_file(schema, path, changes) if path.is_file() else params.make(schema, changes)
        values[name] = params.locate(found)
    return values


def vary_seed(values: dict[str, Any], seed: int) -> dict[str, Any]:
    """04 and 05 of a run with another seed of the training: the run itself where it has that seed, else RUN-seedN.

    Another seed's 04 stands on 01 to 03 of the run, so that only the training differs.
    """
    training, evaluation = values["04_training"], values["05_evaluation"]
    if training.seed == seed:
        return {"04_training": training, "05_evaluation": evaluation}
    run = f"{training.run}-seed{seed}"
    return {
        "04_training": replace(training, run=run, upstream=training.upstream or training.run, seed=seed),
        "05_evaluation": replace(evaluation, run=run, upstream=""),
    }


def vary_fold(values: dict[str, Any], fold: int) -> dict[str, Any]:
    """01 to 05 of a run with another fold of its data: the run itself where it has that fold, else RUN-foldN.

    Raises:
        ParameterError: its data have no such fold, or a part of the chain is another run's.
    """
    depth = values["01_depth"]
    known = WITH_FOLDS.get(depth.scored_dataset or depth.dataset, 0)
    chained = {name: each for name, each in values.items() if name <= "05_evaluation"}
    if not known:
        raise params.ParameterError(f"--folds: {depth.dataset} has none; {' and '.join(WITH_FOLDS)} have")
    if not 0 <= fold < known:
        raise params.ParameterError(f"--folds: {depth.dataset} has folds 0 to {known - 1}, and no {fold}")
    if any(getattr(each, "upstream", "") for each in chained.values()):
        raise params.ParameterError("--folds: each fold has a chain of its own, so leave upstream empty")
    if depth.fold == fold:
        return chained
    chained["01_depth"] = replace(depth, fold=fold)
    return {name: replace(each, run=f"{depth.run}-fold{fold}") for name, each in chained.items()}


def is_current(name: str, values: Any) -> bool:
    """Is the stage finished, whole, and made by this code from these parameters and today's inputs?"""
    try:
        artifact = artifacts.load(values.run, name)
    except (ArtifactError, ValueError, KeyError):
        return False
    if artifact.manifest["code"] != artifacts.hash_code(name, params.reader_modules(values)):
        return False
    if artifact.manifest.get("sources", {}) != artifacts.find_sources(values):
        return False
    try:
        return params.decisive(artifact.params) == params.decisive(values)
    except params.ParameterError:  # made by an older set of parameters
        return False


@contextmanager
def only_run(folder: Path) -> Iterator[None]:
    """Hold the run's folder: two runs in one folder would mix their files.

    Raises:
        BlockingIOError: another run holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BlockingIOError(f"another run is at work in {folder}: wait for it, or choose another --out") from None
        yield


def execute(name: str, values: Any) -> None:
    """One notebook through papermill; the executed copy lies in outputs/RUN/, written cell by cell.

    Raises:
        papermill.PapermillExecutionError: a cell failed.
    """
    changed = {n: v for n, v in params.as_dict(values).items() if v != params.as_dict(type(values)())[n]}
    papermill.execute_notebook(
        str(ROOT / "notebooks" / f"{name}.ipynb"),
        str(artifacts.run_folder(values.run) / f"{name}.ipynb"),
        parameters=changed,
        kernel_name="python3",
        cwd=str(ROOT / "notebooks"),
        progress_bar=sys.stderr.isatty(),
        log_output=True,
        extra_arguments=list(QUIET_KERNEL),
    )


def run_chain(values: dict[str, Any], first: str, last: str, force: bool = False) -> int:
    """Execute the notebooks from `first` to `last` that are not up to date; returns the exit code."""
    names = [name for name in values if first <= name <= last]
    for name in names:
        folder = artifacts.run_folder(values[name].run)
        if not force and is_current(name, values[name]):
            log.info("%s is up to date", name)
            continue
        log.info("%s starts", name)
        started = time.monotonic()
        try:
            execute(name, values[name])
        except papermill.PapermillExecutionError as error:
            log.error("%s failed in cell %s: %s: %s", name, error.exec_count, error.ename, error.evalue)
            log.error("the notebook up to there: %s", folder / f"{name}.ipynb")
            return FAILED
        log.info("%s done in %.0f s", name, time.monotonic() - started)
        _log_rates(folder / name / "manifest.json")
    return 0


def _log_rates(manifest: Path) -> None:
    about = artifacts.read_json(manifest)["about"] if manifest.is_file() else {}
    for what in RATES:
        if what in about:
            log.info("%s: %s", what, about[what])


def score_table(run: str) -> str:
    """The numbers of every finished stage of a run, as text."""
    lines = []
    for name in params.SCHEMAS:
        path = artifacts.run_folder(run) / name / "metrics.json"
        if not (path.parent / "manifest.json").is_file():
            continue
        metrics = artifacts.read_json(path)
        numbers = [f"{key} {value:.4g}" for key, value in metrics.items() if isinstance(value, int | float)]
        lines.append(f"{name}")
        lines += ["    " + "   ".join(numbers[i : i + 4]) for i in range(0, len(numbers), 4)]
        unmet = [
            f"{k} {v['value']:.3g}, expected {v['expected']}"
            for k, v in metrics["expectations"].items()
            if not v["met"]
        ]
        lines += [f"    not met: {text}" for text in unmet]
    return "\n".join(lines)
