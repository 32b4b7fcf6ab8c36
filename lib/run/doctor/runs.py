"""Part 4: the runs of params/: is their data here, how far are they, and how long will they take on this machine."""

import fcntl
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ... import ROOT, artifacts, params
from ...data import CACHE, open_dataset
from ...data.prepared import SPARE, describe_time
from .. import chain
from ..reference import REFERENCE
from .data import ELSEWHERE, Found
from .estimates import Estimate, estimate_stage, read_record
from .machine import count_cores, existing_folder
from .report import Report, first_sentence

PARAMS = ROOT / "params"
RATES = ("street", "kitti-depth", "camvid")  # runs whose rates are used for those that have no record, the best first
LAST = "05_evaluation"  # the chain ends here; what stands on it has commands of its own
FIRST = ("street", "tiny")  # in this order, then the others by name
LARGEST_CHECK = 4e9  # bytes of a stage; to verify more would take too long here
DONE = ("up to date", "finished")  # how the states begin that leave nothing to do
LARGE = 4  # times the pixels of the street run: made for a GPU
COMMANDS = {"street": "make run", "video": "make video FILE=YOURS"}


@dataclass
class Run:
    """What was found of one run. seconds: of what is left to do; None = not measured."""

    name: str
    command: str
    has_data: bool = False
    left: list[str] = field(default_factory=list)
    seconds: float | None = None


def show_runs(
    report: Report, found: Mapping[str, Found], root: str, here: Mapping[str, float], on_gpu: bool
) -> list[Run]:
    folders = [path for path in PARAMS.iterdir() if path.is_dir()]
    folders.sort(key=lambda path: (FIRST.index(path.name) if path.name in FIRST else len(FIRST), path.name))
    runs = [report.attempt(path.name, show_run, report, path, found, root, here, on_gpu) for path in folders]
    return [run for run in runs if run]


def show_run(
    report: Report, folder: Path, found: Mapping[str, Found], root: str, here: Mapping[str, float], on_gpu: bool
) -> Run | None:
    """Lines about one folder of params/; None when its files cannot be read."""
    try:
        values = chain.read_run(folder, {}, folder.name, root)
    except params.ParameterError as error:
        report.say(folder.name, f"cannot be read: {first_sentence(error)}")
        return None
    names, depth = plan_stages(folder, values), values["01_depth"]
    run = Run(folder.name, write_command(folder.name, names, depth, root))
    report.say(run.name, run.command)
    missing = missing_data(depth, found)
    run.has_data = not missing
    report.say("  data", "; ".join(missing) or ", ".join(map(partial(count_frames, found), needed_data(depth))))
    states = {name: find_state(name, values[name]) for name in names}
    run.left = [name for name, state in states.items() if not state.startswith(DONE)]
    report.say("  state", describe_states(states, artifacts.run_folder(run.name)))
    estimates = report.attempt("  time", estimate_run, folder, values, names, found, here)
    if estimates:
        run.seconds = show_times(report, estimates, run.left, not on_gpu and is_large(depth))
    show_needs(report, values, found)
    return run


def plan_stages(folder: Path, values: Mapping[str, Any]) -> list[str]:
    """What a run's command makes: the chain, on real data up to the last one with a file; later ones that have a file
    only where it stops before 05, as that of a video does.
    """
    files = [name for name in params.SCHEMAS if (folder / f"{name}.yaml").is_file()]
    early, later = [name for name in files if name <= LAST], [name for name in files if name > LAST]
    if later and not early:
        return later
    last = early[-1] if early and values["01_depth"].dataset != "street" else LAST
    return [name for name in params.SCHEMAS if name <= last] + (later if last != LAST else [])


def write_command(run: str, names: list[str], depth: params.DepthParams, root: str) -> str:
    """What to type for it: for the chain, or for what stands on it where that is all."""
    if run in COMMANDS:
        return COMMANDS[run]
    last = max([name for name in names if name <= LAST], default="")
    part = f" --only {names[0][:2]}" if not last else f" --to {last[:2]}" if last != LAST else ""
    path = " -p 01.path=YOURS" if {"images", "video"} & set(needed_data(depth)) and not depth.path else ""
    below = {need.partition(":")[0] for need in needed_data(depth)} - set(ELSEWHERE)
    downloads = f" --data-root {shlex.quote(root)}" if root and below else ""
    return f"python -m lib.run params/{run}{part}{path}{downloads}"


def needed_data(depth: params.DepthParams) -> list[str]:
    """DATASET or DATASET:CLIP, each once."""
    streets = ["street"] if depth.start_steps else []
    return list(dict.fromkeys(filter(None, [depth.dataset, depth.scored_dataset, *depth.clips, *streets])))


def count_frames(found: Mapping[str, Found], need: str) -> str:
    """DATASET or DATASET:CLIP with what is here of it: a part of a data set is enough to begin with."""
    name, _, clip = need.partition(":")
    if name not in found:
        return f"{name} (generated)" if name == "street" else need
    frames = [f for f in found[name].dataset.frames() if clip in ("", f.clip)]
    return f"{need} ({len(frames)} frames here)"


def missing_data(depth: params.DepthParams, found: Mapping[str, Found]) -> list[str]:
    """What a run needs and this machine lacks, with the reason."""
    missing = []
    for need in needed_data(depth):
        name, _, clip = need.partition(":")
        if name in ("images", "video") and not (depth.path and Path(depth.path).expanduser().exists()):
            missing.append(f"{depth.path} is not there" if depth.path else f"{name}: yours to name")
        elif name not in ELSEWHERE and (name not in found or found[name].state != "found"):
            missing.append(f"{name} is {found[name].state if name in found else 'not known'} (part 3)")
        elif clip and name in found and clip not in found[name].clips:
            missing.append(f"{name} has no clip {clip}")
    if depth.maps and not Path(depth.maps).expanduser().exists():
        missing.append(f"no folder {depth.maps} of maps")
    return list(dict.fromkeys(missing))


def find_state(name: str, values: Any) -> str:
    """How far a stage is, in a few words."""
    folder = artifacts.run_folder(values.run) / name
    if (folder / "manifest.json").is_file():
        try:
            files = artifacts.read_json(folder / "manifest.json")["files"].values()
            if sum(about["bytes"] for about in files) > LARGEST_CHECK:
                return "finished, too large to verify here"
            return "up to date" if chain.is_current(name, values) else "out of date"
        except (OSError, ValueError, KeyError, AttributeError, TypeError):
            return "damaged"
    if not folder.is_dir():
        return "not begun"
    saved = sorted(
        path for pattern in ("", "training/") for path in folder.glob(f"{pattern}checkpoints/checkpoint_*.pt")
    )
    step = saved[-1].stem.partition("_")[2].lstrip("0") if saved else ""
    return "unfinished" + (f" (saved after step {step})" if step else "")


def describe_states(states: Mapping[str, str], folder: Path) -> str:
    """Stages by state, e.g. "01 02 up to date, 03 04 05 not begun"."""
    groups: dict[str, list[str]] = {}
    for name, state in states.items():
        groups.setdefault(state, []).append(name[:2])
    text = ", ".join(f"{' '.join(numbers)} {state}" for state, numbers in groups.items())
    return text + ("; a run is at work there now" if is_locked(folder) else "")


def is_locked(folder: Path) -> bool:
    """Does a run hold the folder (see `chain.only_run`)?"""
    try:
        with open(folder / ".lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no run was ever there
        pass
    return False


def estimate_run(
    folder: Path, values: Mapping[str, Any], names: list[str], found: Mapping[str, Found], here: Mapping[str, float]
) -> dict[str, Estimate | None]:
    """Seconds of each stage here, from outputs/reference/RUN.json, else from the rates of other runs."""
    recorded = read_record(REFERENCE / f"{folder.name}.json")
    records = {name: read_record(REFERENCE / f"{name}.json") for name in RATES}
    others = [(known, chain.read_run(ROOT / "params" / n, {}, n, "")) for n, known in records.items() if known.stages]
    known = found.get(values["01_depth"].dataset)
    dataset = known.dataset if known else None
    if values["01_depth"].dataset == "street":
        dataset = open_dataset(values["01_depth"])
    return {name: estimate_stage(name, values, recorded, others, dataset, here) for name in names}


def is_large(depth: params.DepthParams) -> bool:
    return depth.height * depth.width > LARGE * 96 * 192


def show_times(
    report: Report, estimates: Mapping[str, Estimate | None], left: list[str], lacks_gpu: bool
) -> float | None:
    """Prints the estimate of every stage; returns the seconds of those left, None where one is not measured."""
    parts = [f"{n[:2]} {describe_time(e.seconds) if e else 'not measured'}" for n, e in estimates.items()]
    known = {name: estimate.seconds for name, estimate in estimates.items() if estimate}
    rates: dict[str, list[str]] = {}
    for name, estimate in estimates.items():
        if estimate and estimate.by_rate:
            rates.setdefault(estimate.by_rate, []).append(name[:2])
    whole = f" = {describe_time(sum(known.values()))}" if len(known) == len(estimates) > 1 else ""
    seconds = sum(known[name] for name in left) if set(left) <= set(known) else None
    rest = "; nothing left to do" if not left else ""
    if seconds is not None and 0 < len(left) < len(estimates):
        rest = f"; left {describe_time(seconds)}"
    rate = "".join(f"; {' '.join(numbers)} by the rate of params/{run}" for run, numbers in rates.items())
    note = "; made for a GPU, and here is none" if lacks_gpu else ""
    report.say("  time", f"about {', '.join(parts)}{whole}{rest}{rate}{note}" if known else f"not measured{note}")
    return seconds


def show_needs(report: Report, values: Mapping[str, Any], found: Mapping[str, Found]) -> None:
    """Prepared frames that need more disk than is free, and more workers than there are cores."""
    depth, cores = values["01_depth"], count_cores()
    if depth.prepare:
        names = {need.partition(":")[0] for need in needed_data(depth)}
        frames = sum(len(found[n].dataset.frames()) for n in names if n in found and found[n].dataset)
        size, free = frames * depth.height * depth.width * 3 * SPARE, shutil.disk_usage(existing_folder(CACHE)).free
        if size > 0.1e9 or size > free:
            report.say("  disk", f"{size / 1e9:.1f} GB of prepared frames in {CACHE}, {free / 1e9:.0f} GB free")
        if size > free:
            report.warn("too little: put DATA_CACHE on another disk")
    many = [name[:2] for name, value in values.items() if getattr(value, "workers", 0) > 2 * cores]
    if many:
        options = " ".join(f"-p {number}.workers={cores}" for number in many)
        report.say("  workers", f"more processes than cores: add {options}")
