"""What each part of learning depth brings: trainings of 01 that differ in one thing, over several seeds.

    python -m lib.run.ablation params/street --vary encoder=small pose_scale=0.01 scales=4 --seeds 0 1 2

Each training is scored on validation clips, never on those a report is about, and kept below outputs/ablation: called
again, only what is missing is trained. Trainings run beside each other, one thread each, so their own seconds say
little; steps are timed apart, all settings in turn in one process.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from .. import artifacts, params
from ..parallel import parallel_map
from .reference import REFERENCE
from .trials import time_steps, train_and_score

SHOWN = ("abs_rel", "delta1", "abs_rel_moving")


def parse_changes(word: str, schema: type = params.DepthParams) -> dict[str, Any]:
    """From "train_clips=32,frames_per_clip=9" to {"train_clips": 32, "frames_per_clip": 9}; values are read as YAML.

    Raises:
        ParameterError: not of this form.
    """
    wanted = params.ParameterError(f"--vary {word}: write name=value, or name=value,name=value")
    try:
        texts = yaml.load("{" + word.replace("=", ": ") + "}", yaml.BaseLoader)
    except yaml.YAMLError:
        raise wanted from None
    if not texts or "" in texts.values():
        raise wanted
    text = {name for name in texts if params.is_text(schema, name)}  # "no" is a word there
    return {n: v if n in text or isinstance(v, list) else yaml.safe_load(v) for n, v in texts.items()}


def read_settings(folder: Path, words: Sequence[str], steps: int | None = None) -> dict[str, params.DepthParams]:
    """Name of each setting -> parameters of 01, first those of the file, all scored on validation clips.

    Args:
        steps: in place of those of the file.

    Raises:
        ParameterError: a parameter is unknown or impossible.
    """
    changes = {"as it is": {}} | {word.replace(",", ", "): parse_changes(word) for word in words}
    file, common = folder / "01_depth.yaml", {"split": "val"} | ({"steps": steps} if steps else {})
    return {name: params.read_file(params.DepthParams, file, common | own) for name, own in changes.items()}


def collect(
    settings: Mapping[str, params.DepthParams], seeds: Sequence[int], scores: Sequence[Mapping[str, float]],
    milliseconds: Mapping[str, float],
) -> dict[str, Any]:  # fmt: skip
    """Scores of each setting by seed, their means, and each setting minus the first, seed by seed."""
    rows, each = {}, iter(scores)
    shown = [key for key in SHOWN if all(row[key] is not None for row in scores)]  # nothing moves in some clips
    for name, values in settings.items():
        found = [next(each) for _ in seeds]
        rows[name] = {
            "steps": values.steps,
            **{key: [row[key] for row in found] for key in shown},
            "mean": {key: float(np.mean([row[key] for row in found])) for key in shown},
            "milliseconds_a_step": milliseconds[name],
        }
        first = next(iter(rows.values()))
        rows[name]["minus_first"] = {key: np.subtract(rows[name][key], first[key]).tolist() for key in shown}
    base = next(iter(settings.values()))
    protocol = {"split": base.split, "frames": scores[0]["frames"], "size": [base.height, base.width]}
    protocol["scaling"] = "none" if base.stereo else "median of each image"
    return {"seeds": list(seeds), "protocol": protocol, "settings": rows}


def describe(found: Mapping[str, Any]) -> str:
    """The table of `collect` in Markdown: means with the smallest and largest of the seeds."""
    lines = ["| setting | abs_rel | minus the first | delta1 | abs_rel of what moves | ms a step |", "|---" * 6 + "|"]
    for name, row in found["settings"].items():
        cells = [f"{row['mean'][key]:.3f} ({_span(row[key])})" if key in row["mean"] else "" for key in SHOWN]
        cells.insert(1, _span(row["minus_first"]["abs_rel"], "+") if any(row["minus_first"]["abs_rel"]) else "")
        cells.append(f"{row['milliseconds_a_step']:.0f}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _span(values: Sequence[float], sign: str = "") -> str:
    return f"{min(values):{sign}.3f} to {max(values):{sign}.3f}"


def read_arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m lib.run.ablation", description="What each part of 01 brings.")
    parser.add_argument("folder", type=Path, help="parameter files, e.g. params/street")
    parser.add_argument("--vary", nargs="*", default=[], metavar="NAME=VALUE", help="one setting each")
    parser.add_argument("--steps", type=int, help="of every training, in place of those of the file")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--processes", type=int, default=2, help="trainings beside each other, one thread each")
    parser.add_argument("--record", metavar="NAME", help="keep it as outputs/reference/NAME.json")
    return parser.parse_args(words)


def main(words: Sequence[str]) -> int:
    arguments = read_arguments(words)
    try:
        found = _measure(arguments)
    except (ValueError, OSError, FloatingPointError) as error:  # parameters, missing data, a loss that is none
        print(error, file=sys.stderr)
        return 1
    print(describe(found))
    if arguments.record:
        artifacts.write_json(REFERENCE / f"{arguments.record}.json", found)
    return 0


def _measure(arguments: argparse.Namespace) -> dict[str, Any]:
    settings = read_settings(arguments.folder, arguments.vary, arguments.steps)
    folder, seeds = artifacts.run_folder("ablation"), arguments.seeds
    every = [replace(values, seed=seed, workers=1) for values in settings.values() for seed in seeds]
    scores = []
    results = parallel_map(partial(train_and_score, folder=folder), every, arguments.processes)
    for values, found in zip(every, results):
        scores.append(found)
        print(f"{len(scores)} of {len(every)}: seed {values.seed}, abs_rel {found['abs_rel']:.3f}", flush=True)
    return collect(settings, seeds, scores, time_steps(settings)) | {"made_by": artifacts.describe_machine()}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
