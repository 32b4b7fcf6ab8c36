"""Finished runs side by side, each setting over its seeds.

    python -m lib.run params/street --seeds 0 1 2                       # outputs/street, street-seed1, street-seed2
    python -m lib.run.compare street street-seed1 street-plain street-plain-seed1 --record paste

`python -m lib.run compare A B` is the same. Runs whose parameters of 01 to 05 are the same but for the seed of the
training are one setting. Every score is the mean over its seeds with a 95 % interval, for other seeds and other clips
(`evaluation.intervals`). Settings are compared over the seeds that both have, clip by clip: the difference, whether
it is shown, and the smallest that such a comparison would have shown four times in five; of three settings or more
each with the first, and what does not stand beside the others is marked (Holm). The same is said of what 05 merges in
place of what it is about, over the seeds of one setting. Runs that differ in the fold of their data become one: its
blocks are those of all folds. All of it comes from the confusions that 05 keeps: nothing is predicted again.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .. import artifacts, params
from ..evaluation import FEWEST_SEEDS, Estimate, accuracy, compare_paired, correct_for_many, estimate, join_blocks, miou
from .reference import REFERENCE, keep_picture

OTHERS = ("prototypes", "centred", "pixels")  # that are merged: shown where all runs have them, as older ones have not
LATER = (*(f"miou_by_{name}" for name in OTHERS), "miou_color_position")
SCORES = dict.fromkeys(("miou", "miou_by_members", *LATER, "miou_greedy"), miou) | {"accuracy": accuracy}
SHOWN = (*SCORES, "effective_rank")
NEEDED = tuple(k for k in SHOWN if k not in LATER)
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
        below = [training.source(stage) for stage in sorted(training.manifest["inputs"])]
        setting = {
            f"{stage.name[:2]}.{k}": v
            for stage in (*below, training, evaluation)
            for k, v in params.decisive(stage.params).items()
            if k not in APART or (k == "seed" and (stage in below or _is_drawn(stage)))
        }
        numbers = training.metrics | evaluation.metrics
        own = f"miou_by_{evaluation.params.represent}"  # of what the score itself is about
        numbers = {own: numbers.get("miou"), **numbers}
        missing = [k for k in NEEDED if numbers.get(k) is None]
        if missing or "confusions.npz" not in evaluation.manifest["files"]:
            raise ValueError(f"run {name!r} has no {', '.join(missing) or 'confusions.npz'}: execute its 05 anew")
        with np.load(evaluation.path("confusions.npz")) as file:
            confusions = {key: file[key] for key in file.files}
        confusions.setdefault(own, confusions["miou"])
        rows.append(
            {
                "run": name,
                "seed": training.params.seed,
                "fold": evaluation.source("01_depth").params.fold,
                "setting": setting,
                "metrics": {k: numbers[k] for k in SHOWN if numbers.get(k) is not None},
                "confusions": confusions,
                "own": own,
                "seconds": training.manifest["seconds"],
                "regions": training.source("02_regions").digest,
                "protocol": evaluation.metrics["protocol"],
                "made_by": {k: training.manifest[k] for k in ("device", "versions", "git_commit")},
            }
        )
    known = [{*row["metrics"]} & {*row["confusions"], *SHOWN[len(SCORES) :], "accuracy"} for row in rows]
    shared = [k for k in SHOWN if all(k in each for each in known) and any(row["own"] != k for row in rows)]
    return [row | {"metrics": {k: row["metrics"][k] for k in shared}} for row in rows]


def _is_drawn(evaluation: artifacts.Artifact) -> bool:
    """Is the score itself about k-means, whose seed is that of 05?"""
    return evaluation.name == "05_evaluation" and evaluation.params.represent == "pixels"


def join_folds(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Runs of `read_runs` that differ in the fold alone as one: scores of the summed confusions, other numbers' means.

    Raises:
        ValueError: a setting lacks a fold, for one of its seeds, that another has.
    """
    groups: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
    for row in rows:
        rest = {k: v for k, v in row["setting"].items() if k != "01.fold"}
        groups.setdefault((json.dumps(rest, sort_keys=True), row["seed"]), []).append(row)
    folds = [sorted(row["fold"] for row in group) for group in groups.values()]
    if len({fold for each in folds for fold in each}) == 1:
        return list(rows)
    if any(each != folds[0] for each in folds) or len(set(folds[0])) < len(folds[0]):
        known = "; ".join(str(each) for each in folds)
        raise ValueError(f"a setting has the folds of another, each once, with every seed; here are {known}")
    return [_join(group) for group in groups.values()]


def _join(group: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    group = sorted(group, key=lambda row: row["fold"])
    every, confusions = [row["confusions"] for row in group], {}
    for key in [k for k in every[0] if k != "blocks" and all(k in each for each in every)]:
        confusions["blocks"], confusions[key] = join_blocks([(each["blocks"], each[key]) for each in every])
    metrics = {k: float(np.mean([row["metrics"][k] for row in group])) for k in group[0]["metrics"]}
    for key in [k for k in SCORES if k in metrics]:
        metrics[key] = float(SCORES[key](_of_score(confusions, key).sum(axis=0)))
    folds = ", ".join(str(row["fold"]) for row in group)
    joined = {key: ", ".join(row[key] for row in group) for key in ("run", "regions")}
    return {
        **group[0],
        **joined,
        "setting": {**group[0]["setting"], "01.fold": folds},
        "metrics": metrics,
        "confusions": confusions,
        "seconds": sum(row["seconds"] for row in group),
        "protocol": {**group[0]["protocol"], "split": " and ".join(row["protocol"].get("split", "") for row in group)},
    }


def _of_score(confusions: Mapping[str, np.ndarray], key: str) -> np.ndarray:
    """By block, what a score is made from. (B, C, C + 1)"""
    return confusions["miou" if key == "accuracy" else key]


def collect(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The runs of `read_runs` by setting; settings are named by the parameters in which they differ.

    Raises:
        ValueError: runs of one setting rest on different regions, or were scored on different clips, or a seed occurs
            twice.
    """
    if len({tuple(row["confusions"]["blocks"]) for row in rows}) > 1:
        raise ValueError("these runs were scored on different clips: give their 05 the same split")
    varied = sorted({k for row in rows for k in row["setting"] if row["setting"][k] != rows[0]["setting"][k]})
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        name = ", ".join(f"{k} = {row['setting'][k]}" for k in varied) or "one setting"
        runs = groups.setdefault(name, [])
        if runs and row["regions"] != runs[0]["regions"]:
            raise ValueError("runs of one setting were trained on different regions: let them share 01 to 03")
        if row["seed"] in [run["seed"] for run in runs]:
            raise ValueError(f"seed {row['seed']} occurs twice with {name}")
        runs.append(row)
    return {
        "settings": {name: _summarise(runs) for name, runs in groups.items()},
        "first_minus_second": _subtract(*groups.values()) if len(groups) == 2 else None,
        "minus_first": _subtract_first(groups) if len(groups) > 2 else None,
        "protocol": rows[0]["protocol"],
        "made_by": rows[0]["made_by"],
    }


def _summarise(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    values = {k: [run["metrics"][k] for run in runs] for k in runs[0]["metrics"]}
    return {
        "runs": [{k: run[k] for k in ("run", "seed", "metrics", "seconds")} for run in runs],
        "mean": {k: float(np.mean(v)) for k, v in values.items()},
        "range": {k: [min(v), max(v)] for k, v in values.items()},
        "estimate": {k: estimate(_stack(runs, k), score).to_json() for k, score in SCORES.items() if k in values},
        "minus_miou": {
            k: compare_paired(_stack(runs, k), _stack(runs, "miou")).to_json(verdict=True)
            for k in values
            if k.startswith("miou_by_") and values[k] != values["miou"]
        },
    }


def _stack(runs: Sequence[Mapping[str, Any]], key: str) -> np.ndarray:
    """Confusions of each run and block, of what a score is made from. (S, B, C, C + 1)"""
    return np.stack([_of_score(run["confusions"], key) for run in runs])


def _subtract_first(groups: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Each setting but the first, minus the first."""
    (_, first), *others = groups.items()
    found = {name: _subtract(runs, first) for name, runs in others}
    for key in first[0]["metrics"]:  # several settings are looked at together
        every = [one["estimate"][key] for one in found.values() if one and key in one["estimate"]]
        for one, verdict in zip(every, correct_for_many([Estimate.from_json(one) for one in every])):
            one["corrected"] = verdict
    return found


def _subtract(first: Sequence[Mapping[str, Any]], second: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Seed by seed and clip by clip; None where no seed is in both."""
    pairs = [(a, b) for a in first for b in second if a["seed"] == b["seed"]]
    if not pairs:
        return None
    found: dict[str, Any] = {"seeds": [a["seed"] for a, _ in pairs]}
    found |= {k: [a["metrics"][k] - b["metrics"][k] for a, b in pairs] for k in first[0]["metrics"]}
    sides = [list(side) for side in zip(*pairs)]
    scores = {k: score for k, score in SCORES.items() if k in found}
    compared = {k: compare_paired(*(_stack(side, k) for side in sides), score) for k, score in scores.items()}
    return found | {"estimate": {k: v.to_json(verdict=True) for k, v in compared.items()}}


def describe(found: Mapping[str, Any]) -> str:
    """The comparison of `collect` as a table."""
    lines = []
    for name, group in found["settings"].items():
        clips = group["estimate"]["miou"]["blocks"]
        lines.append(f"{name}: seeds {', '.join(str(run['seed']) for run in group['runs'])}; {clips} clips or parts")
        for key in group["mean"]:
            low, high = group["range"][key]
            lines.append(f"    {key:19} {group['mean'][key]:.3f}{_interval(group['estimate'].get(key)):24}")
            lines[-1] += f"seeds {low:.3f} to {high:.3f}" if len(group["runs"]) > 1 else ""
        if group["minus_miou"]:
            lines += ["  what else is merged, minus miou", *_list_differences(group["minus_miou"])]
    differences = {f"{name}, minus the first": one for name, one in (found["minus_first"] or {}).items()}
    if len(found["settings"]) == 2:
        differences = {"first minus second": found["first_minus_second"]}
    for name, difference in differences.items():
        if difference is None:
            lines.append(f"{name}: no seed is in both, so nothing is compared; train them with the same seeds")
            continue
        lines.append(f"{name}, seeds {', '.join(str(seed) for seed in difference['seeds'])}")
        lines += _list_differences(difference["estimate"])
    if any(one and len(one["seeds"]) < FEWEST_SEEDS for one in differences.values()):
        lines.append(f"fewer than {FEWEST_SEEDS} seeds decide nothing, however far a difference lies from 0")
    if any(len(group["runs"]) == 1 for group in found["settings"].values()):
        lines.append("a single seed: its interval is about clips, and says nothing about other seeds")
    return "\n".join(line.rstrip() for line in lines)


def _list_differences(differences: Mapping[str, Mapping[str, Any]]) -> list[str]:
    lines = []
    for key, one in differences.items():
        smallest = f" (the smallest that would be shown: {one['smallest']:.3f})" if one["smallest"] else ""
        alone = (
            "" if one.get("corrected", one["verdict"]) == one["verdict"] else ", not beside the other settings (Holm)"
        )
        lines.append(f"    {key:19} {one['value']:+.3f}{_interval(one, '+'):24}{one['verdict']}{alone}{smallest}")
    return lines


def _interval(one: Mapping[str, Any] | None, sign: str = "") -> str:
    return f"   [{one['low']:{sign}.3f}, {one['high']:{sign}.3f}]" if one and one["low"] is not None else ""


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m lib.run.compare", description="Finished runs side by side.")
    parser.add_argument("runs", nargs="+", help="folders below outputs/ with a finished 05")
    parser.add_argument("--record", metavar="NAME", help="keep it as outputs/reference/compare_NAME.json")
    arguments = parser.parse_args(words)
    try:
        found = collect(join_folds(read_runs(arguments.runs)))
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
