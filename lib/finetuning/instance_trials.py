"""Trainings of Mask R-CNN that differ in the start or the seed, scored and kept as those of `trials`."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..artifacts import Artifact, write_aside
from ..evaluation import Estimate, compare_left_out, estimate_left_out
from ..evaluation.instances import SMALLEST, Instances, Truth, average_precision, find_things, read_truth
from ..networks import load_networks
from ..starts import load_start
from ..training import read_settings, train
from .data import Lesson
from .instances import InstanceSampler, InstanceTask, gather_instances
from .labelled import choose_labelled
from .starts import find_pretrained, name_start
from .trials import SHOWN, Trial, identify

FULL = 1024 * 2048  # pixels of the images that `SMALLEST` is meant for
TRAINED_BY = ("lib.finetuning.instances", "lib.evaluation.instances")
FEWEST = 8  # pixels of a true thing that counts, however small the images


@dataclass(frozen=True)
class InstanceOutcome:
    """What is kept of a training.

    ap, ap50: average precision of all scored frames. by_class: of each class of things, NaN where none is true. (C,)
    left_out: ap and ap50 without one of the blocks each. (B, 2); blocks: their names. (B,)
    shown: what was found in `SHOWN` frames. losses: one a step.
    """

    ap: float
    ap50: float
    by_class: np.ndarray
    left_out: np.ndarray
    blocks: np.ndarray
    shown: Sequence[Instances]
    losses: np.ndarray


def smallest_thing(size: tuple[int, int]) -> int:
    """Pixels of a true thing that counts in images of this size (H, W): Cityscapes' 100 at 1024 x 2048, 8 at least."""
    return max(round(SMALLEST * size[0] * size[1] / FULL), FEWEST)


def read_truths(lesson: Lesson) -> list[Truth]:
    """The things of all scored frames, by the classes of things that are learned.

    Raises:
        ValueError: the data set has no classes of things, or does not tell one from the next.
    """
    things = find_things(lesson.classes)
    return [read_truth(lesson.scored_data, frame, things) for frame in lesson.scored]


def run_instance_trial(
    trial: Trial, lesson: Lesson, truths: Sequence[Truth], values: Any, own: Artifact, folder: Path,
    data: Mapping[str, str],
) -> InstanceOutcome:  # fmt: skip
    """Train, score, keep; or read what was kept. Arguments as of `trials.run_trial`; truths: of `read_truths`."""
    own_plan = {name: getattr(values, f"instance_{name}") for name in ("steps", "learning_rate", "optimizer")}
    values = replace(values, **own_plan)
    encoder, pretrained = values.encoder or own.params.encoder, find_pretrained(trial.start, own)
    place = folder / identify(trial, values, encoder, data, pretrained, TRAINED_BY)
    if not (place / "outcome.npz").is_file():
        task = make_instance_task(trial, lesson, values, encoder, pretrained)
        settings = read_settings(values) | {"key": {"trial": place.name}, "reports": 0}
        history = train(task, place, **settings)
        outcome = _score(task, lesson, truths) | {"losses": np.array(history.columns["loss"], np.float32)}
        with write_aside(place / "outcome.npz") as aside:
            np.savez_compressed(aside, **outcome)
        shutil.rmtree(place / "checkpoints")
    with np.load(place / "outcome.npz") as file:
        found = {name: file[name] for name in file.files}
    parts = [
        [found.pop(f"{kind}_{i}") for kind in ("masks", "classes", "scores")] for i in range(int(found.pop("count")))
    ]
    ap, ap50 = (float(found.pop(name)) for name in ("ap", "ap50"))
    return InstanceOutcome(ap, ap50, shown=[Instances(*part) for part in parts], **found)


def make_instance_task(
    trial: Trial, lesson: Lesson, values: Any, encoder: str, pretrained: Artifact | None
) -> InstanceTask:
    """Mask R-CNN from the start of a trial: of a run backbone and pyramid, of a file or ImageNet the backbone alone."""
    images, codes = gather_instances(lesson.learned_data, lesson.learned, FEWEST)
    chosen = choose_labelled(len(lesson.learned), trial.fraction, values.label_seed)
    sampler = InstanceSampler(images, codes, values.batch, trial.seed, chosen)
    embedder, rows = load_networks(pretrained)[0] if pretrained else None, lesson.learned_data.size[0]
    task = InstanceTask(find_things(lesson.classes), sampler, rows, encoder, embedder, trial.seed)
    taken = task.transferred
    if pretrained is None:
        taken = [f"backbone.{n}" for n in load_start(task.networks["network"].backbone, trial.start, encoder)]
    task.note_transfer(name_start(trial.start), taken)
    return task


def _score(task: InstanceTask, lesson: Lesson, truths: Sequence[Truth]) -> dict[str, Any]:
    things, smallest = find_things(lesson.classes), smallest_thing(lesson.scored_data.size)
    matches = task.match(lesson.scored_images, truths, smallest)
    found = average_precision(matches, things)
    blocks, left_out = np.unique(lesson.blocks), []
    for block in blocks if len(blocks) > 1 else ():
        rest = [m for m, b in zip(matches, lesson.blocks) if b != block]
        if any(len(record.true) for record in rest):
            precision = average_precision(rest, things)
            left_out.append((precision.ap, precision.ap50))
        else:  # all things are in one block: nothing can be said of others
            left_out.append((np.nan, np.nan))
    rows = np.linspace(0, len(truths) - 1, min(SHOWN, len(truths))).astype(int)
    kept = {"ap": found.ap, "ap50": found.ap50, "by_class": found.by_class, "blocks": blocks, "count": len(rows)}
    for index, one in enumerate(task.predict(lesson.scored_images[rows])):
        kept |= {f"masks_{index}": one.masks, f"classes_{index}": one.classes, f"scores_{index}": one.scores}
    return kept | {"left_out": np.array(left_out).reshape(-1, 2)}


def summarise_instances(outcomes: Mapping[Trial, InstanceOutcome]) -> list[dict[str, Any]]:
    """A row for each start: ap and ap50 over seeds with intervals over blocks, and minus the first start, paired; the
    mean ap of each class, None where none is true.

    The average precision of several folds is the mean of theirs. Blocks are those of all folds; one that several folds
    hold (KITTI's are frames drawn from the same drives) is left out of all of them at once.
    """
    starts = list(dict.fromkeys(trial.start for trial in outcomes))
    sides = {start: _stack([(t, o) for t, o in outcomes.items() if t.start == start]) for start in starts}
    rows = []
    for start in starts:
        row: dict[str, Any] = {"start": name_start(start)}
        for index, name in enumerate(("ap", "ap50")):
            side, first = ((totals[:, index], left[:, :, index]) for totals, left in (sides[start], sides[starts[0]]))
            row[name] = estimate_left_out(*side)
            row[f"{name}_minus_first"] = compare_left_out(side, first) if start != starts[0] else None
        of_classes = np.stack([o.by_class for t, o in outcomes.items() if t.start == start])
        seen = np.isfinite(of_classes)
        means = np.where(seen, of_classes, 0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
        row["by_class"] = [float(m) if any_seen else None for m, any_seen in zip(means, seen.any(axis=0))]
        rows.append(row)
    return rows


def _stack(found: Sequence[tuple[Trial, InstanceOutcome]]) -> tuple[np.ndarray, np.ndarray]:
    """Mean ap and ap50 over folds (S, 2), and without each block (S, B, 2)."""
    totals, left_out = [], []
    for seed in dict.fromkeys(trial.seed for trial, _ in found):
        own = [outcome for trial, outcome in found if trial.seed == seed]
        names = np.unique(np.concatenate([o.blocks for o in own]))
        mean, without = np.mean([(o.ap, o.ap50) for o in own], axis=0), np.zeros((len(names), 2))
        for o in own:
            moved = o.left_out - (o.ap, o.ap50) if len(o.left_out) else np.nan  # nothing is left of a single block
            without[np.searchsorted(names, o.blocks)] += moved / len(own)
        # parts that share no block have a mean each: without this, one jackknife over all would be too wide
        narrow = np.sqrt((len(names) - _count_parts([o.blocks for o in own])) / max(len(names) - 1, 1))
        totals.append(mean)
        left_out.append(mean + narrow * without)
    return np.array(totals), np.array(left_out)


def _count_parts(folds: Sequence[np.ndarray]) -> int:
    """How many groups of folds there are that have no block in common."""
    parts: list[set[str]] = []
    for blocks in folds:
        apart = [part for part in parts if part.isdisjoint(blocks)]
        parts = [*apart, set(blocks).union(*(part for part in parts if part not in apart))]
    return len(parts)


def describe_instances(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows of `summarise_instances` as text, one line each."""
    lines = []
    for row in rows:
        lines.append(f"{row['start']:12} AP {row['ap']}, AP50 {row['ap50']}")
        if difference := row["ap_minus_first"]:
            lines[-1] += f"; AP minus the first {difference:+}: {_verdict(difference)}"
    return "\n".join(lines)


def _verdict(found: Estimate) -> str:
    smallest = f" (the smallest that would be shown: {found.smallest:.3f})" if np.isfinite(found.smallest) else ""
    return found.verdict + smallest
