"""Does the watch of a training tell a collapse, and only that? Healthy trainings and forced collapses of 04.

    python -m lib.run.collapse street --steps 160

Short trainings on the regions of a finished run: five whose lowest numbers the bounds of `training.health` stay below,
twenty others on which the watch must be silent, and three that are broken on purpose half way. Written to
outputs/reference/collapse.json.
"""

import argparse
import itertools
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import artifacts, params
from ..methods.cpcdr import CpcdrTask, open_task
from ..prototypes import LOOKED_AT
from ..training import read_settings, train
from ..training.health import BOUNDS, FIRST, WINDOW, CollapseWatch
from .reference import REFERENCE

WITHIN = 50  # steps in which a collapse must be told


def vary(base: params.TrainingParams) -> Iterator[tuple[str, params.TrainingParams]]:
    """Settings that people would try: what is healthy must be so for all of them. 25, the first five differ in seed."""
    for seed in range(5):
        yield f"seed {seed}", replace(base, seed=seed)
    changes = [
        {"prototypes": 64},
        {"prototypes": 1000},
        {"dimensions": 16},
        {"dimensions": 128},
        {"pixel_weight": 1.0},
        {"pixel_weight": 0.0},
        {"paste": False},
        {"temperature": 0.05},
        {"epsilon": 0.02},
        {"optimizer": "sgd", "learning_rate": 0.1},
    ]
    for seed, change in itertools.product((5, 6), changes):
        words = ", ".join(f"{name} {value}" for name, value in change.items())
        yield f"{words}, seed {seed}", replace(base, seed=seed, **change)


class _Broken:
    """A task that goes wrong from a step on."""

    def __init__(self, task: CpcdrTask, start: int, harm: Callable[[CpcdrTask], Any]) -> None:
        self.task, self.start, self.harm = task, start, harm
        self.networks, self.sample = task.networks, task.sample

    def loss(self, batch: Any, step: int) -> Any:
        if step >= self.start:
            self.harm(self.task)
        return self.task.loss(batch, step)


@torch.no_grad()
def _shrink_features(task: CpcdrTask) -> None:
    """Every embedding turns towards one direction, a tenth of the way a step."""
    last = task.networks["embedder"].projection[-1].weight
    last.sub_(0.1 * (last - last.mean(dim=0, keepdim=True)))
    last[0] += 0.05


@torch.no_grad()
def _merge_prototypes(task: CpcdrTask) -> None:
    """All prototypes but three turn away from what there is."""
    weight = task.networks["prototypes"].weight
    weight[3:] = 0.7 * weight[3:] - 0.3 * weight[:3].mean(dim=0, keepdim=True)


def _soften_codes(task: CpcdrTask) -> None:
    """An epsilon so large that every code is uniform."""
    task.params = replace(task.params, epsilon=2.0)


HARMS = {"features shrink": _shrink_features, "prototypes merge": _merge_prototypes, "codes soften": _soften_codes}


def run_one(task: Any, values: params.TrainingParams, steps: int) -> Any:
    """The history of a short training with the schedule of the parameters."""
    settings = read_settings(values) | {"steps": steps, "workers": 0, "checkpoint_every": 10**9, "picture_every": 0}
    with tempfile.TemporaryDirectory() as folder:
        return train(task, Path(folder), key={}, watch=CollapseWatch(values.prototypes), **settings)


def lowest(history: Any, prototypes: int) -> dict[str, float]:
    """The worst that the watch has seen of each number; of the entropy the largest."""
    worst = {}
    for name in BOUNDS:
        values = np.array(history.columns[name]) / (min(prototypes, LOOKED_AT) if name == "prototypes_used" else 1)
        medians = [np.median(values[k - WINDOW : k]) for k in range(FIRST + WINDOW, len(values) + 1)]
        worst[name] = float(max(medians) if name == "code_entropy" else min(medians))
    return worst


def measure(run: str, steps: int) -> dict[str, Any]:
    """All trainings, one after the other; a line about each."""
    augmentation = artifacts.load(run, "03_augmentation")
    base = params.make(params.TrainingParams, {"run": run, "steps": steps, "warmup_steps": 30})
    whole, healthy, forced = open_task(base, augmentation).sample, {}, {}

    def open_again(values: params.TrainingParams) -> CpcdrTask:
        return CpcdrTask(values, whole.recipe, whole.sources)

    for name, values in vary(base):
        history = run_one(open_again(values), values, steps)
        healthy[name] = lowest(history, values.prototypes) | {"warnings": list(history.warnings.values())}
        print(name, healthy[name], flush=True)
    for name, harm in HARMS.items():
        history = run_one(_Broken(open_again(base), steps // 2, harm), base, steps)
        told = [step - steps // 2 for step in history.warnings if step > steps // 2]
        forced[name] = {"steps_to_warning": told[0] if told else None, "warnings": list(history.warnings.values())}
        print(name, forced[name], flush=True)
    return {"run": run, "steps": steps, "bounds": BOUNDS, "healthy": healthy, "forced": forced}


def main(words: list[str] | None = None) -> int:
    """0 if every healthy training was silent and every collapse was told in time, else 1."""
    parser = argparse.ArgumentParser(prog="python -m lib.run.collapse", description=__doc__.split("\n")[0])
    parser.add_argument("run", help="a finished run: its 01 to 03 are used")
    parser.add_argument("--steps", type=int, default=160, help="of each training (default: 160)")
    parser.add_argument("--record", action="store_true", help="write outputs/reference/collapse.json")
    chosen = parser.parse_args(words)
    found = measure(chosen.run, chosen.steps) | artifacts.describe_machine()
    if chosen.record:
        artifacts.write_json(REFERENCE / "collapse.json", found)
    silent = not any(row["warnings"] for row in found["healthy"].values())
    in_time = all(row["steps_to_warning"] and row["steps_to_warning"] <= WITHIN for row in found["forced"].values())
    print(f"healthy trainings silent: {silent}; collapses told within {WITHIN} steps: {in_time}")
    return 0 if silent and in_time else 1


if __name__ == "__main__":
    sys.exit(main())
