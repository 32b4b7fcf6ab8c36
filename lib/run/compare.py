"""Finished runs side by side, each setting over its seeds.

    python -m lib.run.compare street street-seed1 street-plain street-plain-seed1 --record paste

Runs whose parameters of 04 and 05 are the same but for the seed are one setting. Every number is the mean over its
seeds, with the smallest and largest; a difference is taken seed by seed, over the seeds that both settings have.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .. import artifacts, params
from .reference import REFERENCE, keep_picture

SHOWN = ("miou", "miou_by_members", "miou_greedy", "accuracy", "effective_rank")
APART = ("run", "seed", "upstream")  # parameters that make no other setting


def read_runs(names: Sequence[str]) -> list[dict[str, Any]]:
    """Setting, seed of the training and numbers of each run.

    Raises:
        ArtifactError: 05 of a run is missing or out of date.
        ValueError: it was made before all of these numbers were.
    """
    rows = []
    for name in names:
        evaluation = artifacts.load(name, "05_evaluation")
        training = evaluation.source("04_training")
        both = {"04": params.decisive(training.params), "05": params.decisive(evaluation.params)}
        setting = {f"{n}.{k}": v for n, values in both.items() for k, v in values.items() if k not in APART}
        numbers = training.metrics | evaluation.metrics
        missing = [k for k in SHOWN if numbers.get(k) is None]
        if missing:
            raise ValueError(f"run {name!r} has no {', '.join(missing)}: execute its 05 anew")
        rows.append(
            {
                "run": name,
                "seed": training.params.seed,
                "setting": setting,
                "metrics": {k: numbers[k] for k in SHOWN},
                "seconds": training.manifest["seconds"],
                "regions": training.source("02_regions").digest,
                "protocol": evaluation.metrics["protocol"],
                "made_by": {k: training.manifest[k] for k in ("device", "versions", "git_commit")},
            }
        )
    return rows


def collect(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The runs of `read_runs` by setting; settings are named by the parameters in which they differ.

    Raises:
        ValueError: the runs rest on different regions, or a seed occurs twice in a setting.
    """
    if len({row["regions"] for row in rows}) > 1:
        raise ValueError("these runs were trained on different regions: compare runs that share 01 to 03")
    varied = sorted({k for row in rows for k in row["setting"] if row["setting"][k] != rows[0]["setting"][k]})
    groups: dict[str, dict[str, Any]] = {}
    for row in rows:
        name = ", ".join(f"{k} = {row['setting'][k]}" for k in varied) or "one setting"
        runs = groups.setdefault(name, {"runs": []})["runs"]
        if row["seed"] in [run["seed"] for run in runs]:
            raise ValueError(f"seed {row['seed']} occurs twice with {name}")
        runs.append({k: row[k] for k in ("run", "seed", "metrics", "seconds")})
    for group in groups.values():
        values = {k: [run["metrics"][k] for run in group["runs"]] for k in SHOWN}
        group["mean"] = {k: float(np.mean(v)) for k, v in values.items()}
        group["range"] = {k: [min(v), max(v)] for k, v in values.items()}
    return {
        "settings": groups,
        "first_minus_second": _differences(*groups.values()) if len(groups) == 2 else None,
        "protocol": rows[0]["protocol"],
        "made_by": rows[0]["made_by"],
    }


def _differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any] | None:
    """Seed by seed; None where no seed is in both."""
    pairs = [(a, b) for a in first["runs"] for b in second["runs"] if a["seed"] == b["seed"]]
    if not pairs:
        return None
    differences = {k: [a["metrics"][k] - b["metrics"][k] for a, b in pairs] for k in SHOWN}
    return {"seeds": [a["seed"] for a, _ in pairs], **differences}


def describe(found: Mapping[str, Any]) -> str:
    """The comparison of `collect` as a table."""
    lines = []
    for name, group in found["settings"].items():
        lines.append(f"{name}: seeds {', '.join(str(run['seed']) for run in group['runs'])}")
        for key in SHOWN:
            low, high = group["range"][key]
            lines.append(f"    {key:16} {group['mean'][key]:.3f}   ({low:.3f} to {high:.3f})")
    if found["first_minus_second"]:
        lines.append("first minus second, seed by seed")
        for key in SHOWN:
            values = found["first_minus_second"][key]
            lines.append(f"    {key:16} {np.mean(values):+.3f}   ({', '.join(f'{v:+.3f}' for v in values)})")
    return "\n".join(lines)


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m lib.run.compare", description="Finished runs side by side.")
    parser.add_argument("runs", nargs="+", help="folders below outputs/ with a finished 05")
    parser.add_argument("--record", metavar="NAME", help="keep it as outputs/reference/compare_NAME.json")
    arguments = parser.parse_args(words)
    try:
        found = collect(read_runs(arguments.runs))
    except (artifacts.ArtifactError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(describe(found))
    if arguments.record:
        print(record(arguments.record, found, arguments.runs[0]))
    return 0


def record(name: str, found: Mapping[str, Any], run: str) -> str:
    """Keep a comparison as outputs/reference/compare_NAME.json; one line about it.

    The features that 05 of `run` drew go beside it, except those of real video: they lie below photographs.
    """
    artifacts.write_json(REFERENCE / f"compare_{name}.json", found)
    evaluation = artifacts.load(run, "05_evaluation")
    generated = evaluation.source("01_depth").params.dataset == "street"
    if generated and "features.png" in evaluation.manifest["files"]:
        keep_picture(evaluation.path("features.png"), f"compare_{name}.png")
    return f"recorded outputs/reference/compare_{name}.json"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
