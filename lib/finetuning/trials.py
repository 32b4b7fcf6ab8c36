"""Trainings with labels that differ in one thing: the start, how many labels there are, the seed, the fold.

Each is kept where it was made (its counts, a few predictions, its losses) and never made twice: a comparison of many
goes on where it stopped, and a table of finished ones is there in seconds.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from ..artifacts import Artifact, hash_alone, hash_file, load, write_aside
from ..evaluation import compare_paired, count_blocks, estimate, join_blocks, miou, name_clusters
from ..training import History, read_settings, train
from .data import Lesson
from .labelled import LabelledSampler, LabelledTask, choose_labelled
from .networks import Frozen
from .starts import find_pretrained, make_network, name_start, transfer

DECIDING = (  # parameters of 06 that decide what a training gives, whatever else stands beside it
    "network", "output_stride", "frozen", "steps", "batch", "optimizer", "learning_rate", "final_learning_rate",
    "warmup_steps", "schedule", "momentum", "weight_decay", "precision", "split", "label_seed",
)  # fmt: skip
VERSION = 1  # raise it when this module would give another outcome; what it says of outcomes is no reason
SHARED = (  # that train and score, whatever the network
    "lib.networks", "lib.starts", "lib.data.labels", "lib.finetuning.data", "lib.finetuning.labelled",
    "lib.finetuning.starts", "lib.training.engine", "lib.training.batches", "lib.evaluation.matching",
)  # fmt: skip
TRAINED_BY = ("lib.finetuning.networks",)
SHOWN = 3  # frames whose prediction is kept


@dataclass(frozen=True)
class Trial:
    """One training: fraction of the labels; fold None = the data set as it is."""

    start: str
    fraction: float
    seed: int
    fold: int | None = None

    def __str__(self) -> str:
        fold = "" if self.fold is None else f", fold {self.fold}"
        return f"{name_start(self.start)}, {self.fraction:.3g} of the labels, seed {self.seed}{fold}"


@dataclass(frozen=True)
class Outcome:
    """What is kept of a training.

    confusions: truth down, prediction across, last column never used, of each block. (B, C, C + 1)
    blocks: their names. (B,). shown: class indices of `SHOWN` frames. (n, H, W). losses: one a step. (steps,)
    labelled: how many frames it learned from.
    """

    confusions: np.ndarray
    blocks: np.ndarray
    shown: np.ndarray
    losses: np.ndarray
    labelled: int


def list_trials(
    starts: Iterable[str], fractions: Iterable[float], seeds: Iterable[int], folds: Iterable[int] = ()
) -> list[Trial]:
    """All combinations, those of one fold and seed beside each other, so that a stopped night has whole pairs."""
    order = product(list(folds) or [None], seeds, fractions, starts)
    return [Trial(start, fraction, seed, fold) for fold, seed, fraction, start in order]


def find_owns(own: Artifact, values: Any) -> dict[tuple[int | None, int], Artifact]:
    """The finished 04 that the start "own" means for each fold and seed: `own` for all, or those of runs made for them.

    A network that is scored on frames it saw, even without their labels, is judged too well where others are not; and
    seeds of the training with labels alone say nothing about another training without.

    Args:
        values: parameters of 06.
    Raises:
        ArtifactError: a run's 04 is unfinished or out of date.
        ValueError: its frames are those of another fold, or one seed stands twice.
    """
    folds, found = list(values.folds) or [None], {own.run: own}
    found |= {run: load(run, "04_training") for run in (*values.fold_runs, *values.seed_runs) if run != own.run}
    for fold, run in zip(folds, values.fold_runs):
        made = found[run].source("01_depth").params.fold
        if made != fold:
            raise ValueError(f"fold_runs: {run!r} was made for fold {made}, and stands at fold {fold}")
    made = [found[run].params.seed for run in values.seed_runs]
    if len(set(made)) < len(made):
        raise ValueError(f"seed_runs: the 04 of these runs have the seeds {made}; give runs of different seeds")
    by_fold = dict(zip(folds, values.fold_runs))
    by_seed = dict(zip(values.seeds, values.seed_runs))
    return {(f, s): found[by_fold.get(f) or by_seed.get(s) or own.run] for f, s in product(folds, values.seeds)}


def identify(
    trial: Trial,
    values: Any,
    encoder: str,
    data: Mapping[str, str],
    pretrained: Artifact | None,
    modules: Sequence[str] = TRAINED_BY,
) -> str:
    """A name that differs between trainings that could give different outcomes; `modules` and `SHARED` make them."""
    start = trial.start
    if pretrained is not None:
        start = pretrained.digest
    elif Path(start).expanduser().is_file():
        start = hash_file(Path(start).expanduser())
    known = {name: getattr(values, name) for name in DECIDING} | {"encoder": encoder, "data": dict(data)}
    known |= {
        "trial": [start, trial.fraction, trial.seed, trial.fold],
        "code": [VERSION, hash_alone(*modules, *SHARED)],
    }
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:16]


def run_trial(
    trial: Trial,
    lesson: Lesson,
    values: Any,
    own: Artifact,
    folder: Path,
    data: Mapping[str, str],
    on_step: Callable[[int, History], None] | None = None,
) -> Outcome:
    """Train, score, keep; or read what was kept.

    Args:
        values: parameters of 06.
        own: the finished 04 that the start "own" means.
        folder: where outcomes are kept; one that is not cleared with the stage.
        data: what the frames hang on, e.g. name -> digest of the 01 that says so.
    """
    encoder = values.encoder or own.params.encoder
    if values.fraction_steps:
        values = replace(values, steps=dict(zip(values.fractions, values.fraction_steps))[trial.fraction])
    pretrained = find_pretrained(trial.start, own)
    place = folder / identify(trial, values, encoder, data, pretrained)
    if (place / "outcome.npz").is_file():
        with np.load(place / "outcome.npz") as file:
            return Outcome(
                **{name: file[name] for name in file.files if name != "labelled"}, labelled=int(file["labelled"])
            )
    network = make_network(values.network, encoder, len(lesson.classes), values.output_stride, trial.seed)
    transfer(network, trial.start, encoder, pretrained)
    if values.frozen:
        network.backbone = Frozen(network.backbone)
    chosen = choose_labelled(len(lesson.learned), trial.fraction, values.label_seed)
    sampler = LabelledSampler(lesson.images, lesson.labels, values.batch, trial.seed, chosen)
    task = LabelledTask(network, sampler)
    settings = read_settings(values) | {"key": {"trial": place.name}, "reports": 0}
    history = train(task, place, on_step=on_step, **settings)
    outcome = _score(task, lesson, history, len(chosen))
    with write_aside(place / "outcome.npz") as aside:
        np.savez_compressed(aside, **vars(outcome))
    shutil.rmtree(place / "checkpoints")
    return outcome


def _score(task: LabelledTask, lesson: Lesson, history: History, labelled: int) -> Outcome:
    predicted, count = task.predict(lesson.scored_images), len(lesson.classes)
    pairs = count_blocks(lesson.truth, predicted, lesson.blocks, count, count)
    confusions = name_clusters(pairs, np.arange(count))
    rows = np.linspace(0, len(predicted) - 1, min(SHOWN, len(predicted))).astype(int)
    losses = np.array(history.columns["loss"], np.float32)
    return Outcome(confusions, np.unique(lesson.blocks), predicted[rows], losses, labelled)


def stack_outcomes(outcomes: Mapping[Trial, Outcome], start: str, fraction: float) -> np.ndarray:
    """Confusions of one start and fraction, seed by seed. (S, B, C, C + 1)

    Blocks are those of all folds; one of several folds, as where folds are frames drawn at random from the same
    drives (KITTI), is one block still: its frames show one street, whoever segmented them.

    Raises:
        ValueError: a seed lacks a fold that another has.
    """
    found = {t: o for t, o in outcomes.items() if (t.start, t.fraction) == (start, fraction)}
    seeds, folds = (list(dict.fromkeys(getattr(trial, name) for trial in found)) for name in ("seed", "fold"))
    if len(found) < len(seeds) * len(folds):
        raise ValueError(f"{name_start(start)}: not every seed has every fold: {len(found)} trainings of seeds {seeds}")
    of_seed = [[(o.blocks, o.confusions) for trial, o in found.items() if trial.seed == seed] for seed in seeds]
    return np.stack([join_blocks(parts)[1] for parts in of_seed])


def summarise(outcomes: Mapping[Trial, Outcome]) -> list[dict[str, Any]]:
    """A row for each start and fraction: mIoU over all folds with its interval; and minus the first start, paired.

    by_fold: that difference in each fold, mean over seeds; None where there is one. Parts of one drive are no other
    drives: where folds are drives, an interval over parts is too narrow unless all of them agree.
    """
    rows = []
    for fraction in dict.fromkeys(trial.fraction for trial in outcomes):
        starts = list(dict.fromkeys(trial.start for trial in outcomes))
        stacks = {start: stack_outcomes(outcomes, start, fraction) for start in starts}
        for start in starts:
            labelled = {o.labelled for t, o in outcomes.items() if (t.start, t.fraction) == (start, fraction)}
            row = {"start": name_start(start), "fraction": fraction, "labelled": max(labelled)}
            row["miou"] = estimate(stacks[start])
            row["minus_first"] = compare_paired(stacks[start], stacks[starts[0]]) if start != starts[0] else None
            row["by_fold"] = _compare_folds(outcomes, start, starts[0], fraction) if start != starts[0] else None
            rows.append(row)
    return rows


def _compare_folds(
    outcomes: Mapping[Trial, Outcome], start: str, first: str, fraction: float
) -> dict[str, float] | None:
    folds, found = list(dict.fromkeys(trial.fold for trial in outcomes)), {}
    if len(folds) == 1:
        return None
    for fold in folds:
        of_fold = {trial: outcome for trial, outcome in outcomes.items() if trial.fold == fold}
        sides = (miou(stack_outcomes(of_fold, each, fraction).sum(axis=1)).mean() for each in (start, first))
        found[str(fold)] = float(np.subtract(*sides))
    return found


def describe_summary(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows of `summarise` as text, one line each."""
    lines = []
    for row in rows:
        lines.append(f"{row['labelled']:5d} labelled frames, {row['start']:12} {row['miou']}")
        if difference := row["minus_first"]:
            lines[-1] += f"; minus the first {difference:+}: {difference.verdict}"
            if np.isfinite(difference.smallest):
                lines[-1] += f" (the smallest that would be shown: {difference.smallest:.3f})"
        if by_fold := row.get("by_fold"):
            lines[-1] += f"; by fold {', '.join(f'{each:+.3f}' for each in by_fold.values())}"
    return "\n".join(lines)
