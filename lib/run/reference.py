"""outputs/reference/RUN.json: what a run should give, with tolerance; recorded from one, compared after others."""

import time
from pathlib import Path
from typing import Any

from .. import ROOT, artifacts, params

REFERENCE = ROOT / "outputs" / "reference"
TOLERANCE = {
    **dict.fromkeys(("purity", "asa", "boundary_recall", "under_segmentation", "slic_", "grid_"), 0.02),
    **dict.fromkeys(("delta1", "delta2", "delta3"), 0.04),
    "regions_per_frame": 3.0,
    "iou_": 0.15,
    "miou_random_weights": 0.02,
    "miou_color_position": 0.02,
    "miou": 0.05,
    "accuracy": 0.08,
    "prototypes_used": 30.0,
    "effective_rank": 2.0,
}
"""How far a number may be off on another machine, by the beginning of its name; else 15 % of its value.

The same machine repeats a run to the last digit. Elsewhere rounding differs, and a training drifts apart as it does
with another seed. Three seeds of 04 lay 0.041 apart in one-to-one mIoU, 0.005 in greedy, 0.06 in accuracy; single
classes up to 0.25, since each hangs on one cluster: a class outside its tolerance alone is no alarm.
"""
MACHINE = ("seconds", "images_per_second", "times_as_fast", "efficiency", "memory", "core_hours")
"""What says how fast a machine is: shown, never compared. By parts of a name."""


def _tolerance(name: str, value: float) -> float:
    return next((t for begin, t in TOLERANCE.items() if name.startswith(begin)), round(0.15 * abs(value), 6))


def collect(run: str) -> dict[str, Any]:
    """The finished stages of a run: metrics with tolerance, protocol, seconds; and what they ran on.

    Raises:
        ArtifactError: a stage that is there is out of date, or none is there.
    """
    stages, machine = {}, {}
    finished = [n for n in params.SCHEMAS if (artifacts.run_folder(run) / n / "manifest.json").is_file()]
    for name in finished or params.SCHEMAS:  # a run may hold a part of the chain: `--to 01`, `--only 05`
        artifact = artifacts.load(run, name)
        numbers = {k: v for k, v in artifact.metrics.items() if isinstance(v, int | float)}
        stages[name] = {
            "seconds": artifact.manifest["seconds"],
            **{k: artifact.manifest[k] for k in ("seed", "git_commit", "git_dirty")},
            "metrics": {k: {"value": v, "tolerance": _tolerance(k, v)} for k, v in numbers.items()},
            "protocol": artifact.metrics["protocol"],
            "expectations": artifact.metrics["expectations"],
        }
        machine = {k: artifact.manifest[k] for k in ("device", "versions")}
    return {"run": run, **machine, "stages": stages}


def record(run: str) -> str:
    """Write outputs/reference/RUN.json, and the overview picture of a whole run beside it; one line about it.

    The machine is calibrated at once, so that the seconds can be compared with those of other days and machines:
    record a run right after it, on a machine that does nothing else. Later it is not: that would be another day.
    """
    found, late = collect(run), _was_long_ago(run)
    if not late:
        found["machine"] = _calibrate(run)
    artifacts.write_json(REFERENCE / f"{run}.json", found)
    picture = artifacts.run_folder(run) / "05_evaluation" / "overview.png"
    if "01_depth" in found["stages"] and picture.is_file():
        keep_picture(picture, f"{run}.png")
    dirty = [name for name, stage in found["stages"].items() if stage["git_dirty"]]
    warning = f"; {', '.join(dirty)} come from code that was never committed: no reference for others" if dirty else ""
    warning += "; the run was made long ago, so its seconds cannot be compared with those of others" * late
    return f"recorded outputs/reference/{run}.json{warning}"


def _find_manifests(run: str) -> list[Path]:
    return [path for n in params.SCHEMAS if (path := artifacts.run_folder(run) / n / "manifest.json").is_file()]


def _was_long_ago(run: str) -> bool:
    ages = [time.time() - path.stat().st_mtime for path in _find_manifests(run)]
    return min(ages) > 3600 or max(ages) > 24 * 3600


def _calibrate(run: str) -> dict[str, Any]:
    """See `doctor.speed.describe_processor`; on the device that the run asked for."""
    from .doctor.speed import describe_processor  # loads torchvision, which nothing else here needs

    asked = (artifacts.read_json(path)["params"].get("device") for path in _find_manifests(run))
    return describe_processor(next((device for device in asked if device), "auto"))


def keep_picture(picture: Path, name: str) -> None:
    """A copy of a run's picture as outputs/reference/NAME."""
    with artifacts.write_aside(REFERENCE / name) as aside:
        aside.write_bytes(picture.read_bytes())


def compare(run: str) -> list[str]:
    """Numbers of a run that lie outside the tolerance of its reference, one line each; empty without a reference."""
    path, lines = REFERENCE / f"{run}.json", []
    if not path.is_file():
        return lines
    for name, stage in artifacts.read_json(path)["stages"].items():
        metrics = artifacts.run_folder(run) / name / "metrics.json"
        found = artifacts.read_json(metrics) if metrics.is_file() else {}
        for key, expected in stage["metrics"].items():
            value = found.get(key)
            if value is not None and not any(word in key for word in MACHINE):
                low, high = expected["value"] - expected["tolerance"], expected["value"] + expected["tolerance"]
                if not low <= value <= high:
                    lines.append(f"{name} {key} {value:.4g} lies outside the reference's {low:.4g} to {high:.4g}")
    return lines
