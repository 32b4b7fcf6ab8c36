"""outputs/reference/RUN.json: what a run should give, with tolerance; recorded from one, compared after others."""

from typing import Any

from .. import ROOT, artifacts, params

REFERENCE = ROOT / "outputs" / "reference"
TOLERANCE = {"iou_": 0.15, "miou": 0.06, "accuracy": 0.08, "prototypes_used": 40.0, "effective_rank": 4.0}
"""How far a number may be off on another machine, by the beginning of its name; else 15 % of its value."""
MACHINE = ("seconds", "images_per_second")  # say how fast a machine is: shown, never compared


def _tolerance(name: str, value: float) -> float:
    return next((t for begin, t in TOLERANCE.items() if name.startswith(begin)), round(0.15 * abs(value), 6))


def collect(run: str) -> dict[str, Any]:
    """The finished stages of a run: metrics with tolerance, protocol, seconds; and what they ran on.

    Raises:
        ArtifactError: a stage that is there is out of date, or 01 is missing.
    """
    stages, machine = {}, {}
    for name in params.SCHEMAS:
        if stages and not (artifacts.run_folder(run) / name / "manifest.json").is_file():
            continue  # a run may end early, `--to 01`
        artifact = artifacts.load(run, name)
        numbers = {k: v for k, v in artifact.metrics.items() if isinstance(v, int | float)}
        stages[name] = {
            "seconds": artifact.manifest["seconds"],
            "seed": artifact.manifest["seed"],
            "metrics": {k: {"value": v, "tolerance": _tolerance(k, v)} for k, v in numbers.items()},
            "protocol": artifact.metrics["protocol"],
            "expectations": artifact.metrics["expectations"],
        }
        machine = {k: artifact.manifest[k] for k in ("device", "versions", "git_commit")}
    return {"run": run, **machine, "stages": stages}


def record(run: str) -> str:
    """Write outputs/reference/RUN.json, and the run's overview picture beside it; one line about it."""
    artifacts.write_json(REFERENCE / f"{run}.json", collect(run))
    picture = artifacts.run_folder(run) / "05_evaluation" / "overview.png"
    if picture.is_file():
        with artifacts.write_aside(REFERENCE / f"{run}.png") as aside:
            aside.write_bytes(picture.read_bytes())
    return f"recorded outputs/reference/{run}.json"


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
