"""One factor at a time: what the number of mixed images, the mix of losses and the kind of region bring.

The analogue of CPCDR's tables 3 and 4: trainings without labels that differ from a base in one thing, over several
seeds; each is scored by its clusters, and by a training with few labels that starts from it. All see the same number
of images: where a step has fewer, there are more steps. What a training gave is kept and never made twice.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from . import evaluation
from .artifacts import Artifact, hash_modules, load, read_json, write_aside
from .clustering import assign_color_position, cluster_vectors, fit_color_position, map_prototypes
from .copy_paste import Source, prepare_source
from .data import Dataset, Frame, open_dataset
from .evaluation import (
    Estimate,
    compare_paired,
    correct_for_many,
    count_blocks,
    estimate,
    join_blocks,
    match_by_iou,
    match_greedily,
    merge_columns,
    miou,
    name_clusters,
)
from .finetuning import LabelledSampler, LabelledTask, Lesson, choose_labelled, copy_parts, make_network, read_lesson
from .methods.cpcdr import CpcdrTask
from .methods.sources import read_maps
from .parallel import parallel_map, pick_device
from .params import AugmentationParams, RegionParams, decisive, make
from .regions import FrameGrouper, cut_regions
from .training import train

SCORES = ("finetuned", "clusters", "greedy")  # of which confusions are kept
CLAIMED = SCORES[:2]  # that the papers' claims are about: of the third, labels choose among prototypes
COLOR = "colour and position"  # the row of what learns nothing
WORDS = {"shown": "better", "reversed": "worse"}  # than the base; a verdict that is not here stays as it is
VERSION = 1  # raise it when the same parameters would give another outcome: a night's work is kept over other changes


@dataclass(frozen=True)
class Setting:
    """images: M, mixed in an item; 0 = the same views without a paste. pixel_weight: lambda of eq. 7. regions: a
    `RegionParams.source`.
    """

    images: int
    pixel_weight: float
    regions: str
    trained: bool = True  # False = as it begins, with random weights: the floor of all others

    def __str__(self) -> str:
        if not self.trained:
            return "random weights"
        return f"M {self.images}, lambda {self.pixel_weight:g}, {self.regions} regions"


@dataclass(frozen=True)
class Ground:
    """What all trainings of one run stand on: frames, depth, regions, recipe and settings of 04, and what is scored.

    sources: kind of regions -> the frames ready to be pasted; filled when they are asked for.
    """

    run: str
    dataset: Dataset
    depth: Artifact
    regions: Artifact
    training: Artifact
    recipe: AugmentationParams
    lesson: Lesson
    named: tuple[np.ndarray, np.ndarray]  # frames that name clusters: images (N, H, W, 3), class indices (N, H, W)
    sources: dict[str, Sequence[Source]]
    frames: str = ""  # a hash of which frames teach, are scored, and name clusters, by which classes


def list_settings(
    base: Setting, images: Sequence[int], weights: Sequence[float], kinds: Sequence[str], floor: bool = False
) -> list[Setting]:
    """The base, and what differs from it in one thing; each once. floor: at last the base without its training."""
    varied = [replace(base, images=m) for m in images]
    varied += [replace(base, pixel_weight=w) for w in weights] + [replace(base, regions=kind) for kind in kinds]
    varied += [replace(base, trained=False)] * floor
    return list(dict.fromkeys([base, *varied]))


def open_ground(run: str, split: str, match_split: str) -> Ground:
    """Of a finished 04, whose own weights play no part.

    Args:
        split, match_split: frames that are scored, and those whose labels name clusters.
    Raises:
        ArtifactError: a stage is missing or out of date. ValueError: no labels.
    """
    training = load(run, "04_training")
    depth, regions, augmentation = (training.source(n) for n in ("01_depth", "02_regions", "03_augmentation"))
    recipe, dataset = make(AugmentationParams, read_json(augmentation.path("recipe.json"))), open_dataset(depth.params)
    lesson = read_lesson(depth.params, depth.params, split)
    naming, *named = lesson.scored, lesson.scored_images, lesson.truth
    if match_split != split:
        naming, *named = evaluation.read_labelled(dataset, match_split)
    who = [[frame.id for frame in part] for part in (dataset.frames("train"), lesson.learned, lesson.scored, naming)]
    frames = hashlib.sha256(json.dumps([who, lesson.classes.names]).encode()).hexdigest()
    return Ground(run, dataset, depth, regions, training, recipe, lesson, tuple(named), {}, frames)


@dataclass(frozen=True)
class _Cutter:
    """Callable on a frame, sent to other processes: its regions, by another source than its 02 had."""

    grouper: FrameGrouper
    params: RegionParams

    def __call__(self, frame: Frame) -> np.ndarray:
        return cut_regions(self.grouper.observe_all(frame), self.params)


def cut_frame(ground: Ground, kind: str, index: int) -> np.ndarray:
    """Regions of one training frame, of this kind. (H, W) uint16

    Grid, SLIC and contours have as many as the depth regions of the frame; the truth has as many as there are.
    """
    frame = ground.dataset.frames("train")[index]
    if kind == ground.regions.params.source:
        return read_maps(frame, ground.dataset, ground.depth, ground.regions)[0]
    return _make_cutter(ground, kind)(frame)


def _make_cutter(ground: Ground, kind: str) -> _Cutter:
    values = replace(ground.regions.params, preset="none", source=kind, count=0, learned_from="")
    # the finished 02 in the place of a stage that is being made: it has the parameters
    return _Cutter(FrameGrouper(ground.dataset, ground.depth, ground.regions), values)


def read_ground_sources(ground: Ground, kind: str, workers: int) -> Sequence[Source]:
    """The training frames of a run with one kind of regions: those of its 02, or cut anew, see `cut_frame`."""
    if kind not in ground.sources:
        frames = ground.dataset.frames("train")
        maps = [read_maps(frame, ground.dataset, ground.depth, ground.regions) for frame in frames]
        if kind != ground.regions.params.source:
            cut = parallel_map(_make_cutter(ground, kind), frames, max(workers, 1))
            maps = [(regions, inverse_depth) for regions, (_, inverse_depth) in zip(cut, maps)]
        images = map(ground.dataset.image, frames)
        ground.sources[kind] = [prepare_source(image, *each) for image, each in zip(images, maps)]
    return ground.sources[kind]


def plan_training(setting: Setting, ground: Ground, values: Any, seed: int) -> tuple[AugmentationParams, Any]:
    """Recipe of 03 and parameters of 04: those of the run, but for the setting, the seed, and steps.

    Args:
        values: parameters of 09; `steps` are those of the base.
    """
    mixed = setting.images or values.images
    steps = round(values.steps * values.images / mixed)
    recipe = replace(ground.recipe, images=mixed)
    training = replace(
        ground.training.params, seed=seed, steps=steps, pixel_weight=setting.pixel_weight, paste=setting.images > 0,
        warmup_steps=min(ground.training.params.warmup_steps, steps // 5), start="random", processes=1,
    )  # fmt: skip
    return recipe, training


def _decide(values: Any) -> dict[str, Any]:
    return {name: value for name, value in decisive(values).items() if name not in ("run", "upstream")}


def _hash_maps(ground: Ground) -> str:
    """Of the regions of 02, and of the depth below if it did not shape them: a chain made again gives the same."""
    maps = {n: about["sha256"] for n, about in ground.regions.manifest["files"].items() if n.startswith("regions/")}
    if ground.regions.params.source != "depth":
        maps |= {f"01 {n}": about["sha256"] for n, about in ground.depth.manifest["files"].items() if n.endswith("png")}
    return hashlib.sha256(json.dumps(maps, sort_keys=True).encode()).hexdigest()


def run_setting(setting: Setting, seed: int, ground: Ground, values: Any, folder: Path) -> dict[str, np.ndarray]:
    """Train without labels, cluster and score, train on with few labels and score; or read what was kept.

    Args:
        values: parameters of 09. folder: where outcomes are kept.
    Returns:
        Confusions of each of `SCORES` by block, last column = no name. (B, C, C + 1); losses (steps,), none of random
        weights; a hash of the code, as text.
    """
    recipe, training = plan_training(setting, ground, values, seed)
    varied = {name: value for name, value in asdict(setting).items() if name != "trained" or not value}
    known = {"setting": varied, "seed": seed, "recipe": _decide(recipe), "training": _decide(training)}
    known |= {name: getattr(values, name) for name in ("fraction", "finetune_steps", "finetune_learning_rate")}
    known |= {"batch": values.batch, "split": [values.split, values.match_split], "regions": _hash_maps(ground)}
    known |= {"frames": ground.frames, "version": VERSION}  # two folds may have the same regions, cut before they part
    place = folder / hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:16]
    if not (place / "outcome.npz").is_file():
        task = CpcdrTask(training, recipe, read_ground_sources(ground, setting.regions, values.workers))
        options = {name: getattr(training, name) for name in ("optimizer", "momentum", "weight_decay", "precision")}
        options |= {"device": pick_device(values.device), "key": {"trial": place.name}, "reports": 0}
        rates = {n: getattr(training, n) for n in ("steps", "learning_rate", "final_learning_rate", "warmup_steps")}
        losses = []
        if setting.trained:
            history = train(task, place / "unlabelled", workers=values.workers, **rates, **options)
            losses = history.columns["loss"]
        outcome = _score_clusters(task, ground) | _finetune(
            task.networks["embedder"], ground, values, seed, place, options
        )
        outcome["losses"] = np.array(losses, np.float32)
        outcome["code"] = np.array(hash_modules("lib.ablations"))
        with write_aside(place / "outcome.npz") as aside:
            np.savez_compressed(aside, **outcome)
        for made in ("unlabelled", "labelled"):
            shutil.rmtree(place / made, ignore_errors=True)
    with np.load(place / "outcome.npz") as file:
        return {name: file[name] for name in file.files}


@dataclass(frozen=True)
class _Trainer:
    """Callable on (setting, seed, run), in this process or sent to others; what runs stand on is read once in each."""

    values: Any
    folder: Path
    grounds: dict[str, Ground] = field(default_factory=dict)

    def __call__(self, trial: tuple[Setting, int, str]) -> dict[str, np.ndarray]:
        setting, seed, run = trial
        if run not in self.grounds:
            self.grounds[run] = open_ground(run, self.values.split, self.values.match_split)
        return run_setting(setting, seed, self.grounds[run], self.values, self.folder)


def run_all(
    settings: Sequence[Setting], runs: Sequence[str], values: Any, folder: Path
) -> Iterator[tuple[tuple[Setting, int, str], dict[str, np.ndarray]]]:
    """`run_setting` for all settings, seeds and runs, as they are done: seed by seed, so that there are always pairs.

    Args:
        values: parameters of 09; with `processes` above 1 so many trainings run beside each other, one thread each.
    """
    trials = [(setting, seed, run) for seed in values.seeds for run in runs for setting in settings]
    several = values.processes > 1
    trainer = _Trainer(replace(values, workers=0) if several else values, folder)
    yield from zip(trials, parallel_map(trainer, trials, values.processes))


def _score_clusters(task: CpcdrTask, ground: Ground) -> dict[str, np.ndarray]:
    embedder, prototypes = task.networks["embedder"].eval(), task.networks["prototypes"].weight.detach()
    lesson, count = ground.lesson, len(ground.lesson.classes)
    look = partial(map_prototypes, embedder, prototypes)
    pairs = count_blocks(lesson.truth, look(lesson.scored_images), lesson.blocks, count, len(prototypes))
    naming = evaluation.count_pairs(ground.named[1], look(ground.named[0]), count, len(prototypes))
    groups = cluster_vectors(prototypes, count).numpy()
    names = match_by_iou(merge_columns(naming, groups))[groups]
    return {
        "clusters": name_clusters(pairs, names),
        "greedy": name_clusters(pairs, match_greedily(naming)),
    }


def _finetune(
    embedder: nn.Module, ground: Ground, values: Any, seed: int, place: Path, options: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    lesson, count = ground.lesson, len(ground.lesson.classes)
    network = make_network("semantic_fpn", embedder.about["encoder"], count, 16, seed)
    copy_parts(network, embedder)
    chosen = choose_labelled(len(lesson.learned), values.fraction)
    task = LabelledTask(network, LabelledSampler(lesson.images, lesson.labels, values.batch, seed, chosen))
    plan = {"steps": values.finetune_steps, "learning_rate": values.finetune_learning_rate, "schedule": "poly"}
    plan |= {"warmup_steps": values.finetune_steps // 10, "optimizer": "sgd", "weight_decay": 1e-4, "momentum": 0.9}
    train(task, place / "labelled", **{**options, **plan})
    pairs = count_blocks(lesson.truth, task.predict(lesson.scored_images), lesson.blocks, count, count)
    return {"finetuned": name_clusters(pairs, np.arange(count))}


def score_color_position(ground: Ground, seed: int) -> np.ndarray:
    """The trivial floor on the same frames: k-means on colour and position, named as clusters are. (B, C, C + 1)"""
    lesson, count, train = ground.lesson, len(ground.lesson.classes), ground.dataset.frames("train")
    images = np.stack([ground.dataset.image(frame) for frame in train[:: max(len(train) // 200, 1)]])
    model = fit_color_position(images, count, 1.0, seed)
    found, naming = (assign_color_position(model, frames, 1.0) for frames in (lesson.scored_images, ground.named[0]))
    names = match_by_iou(evaluation.count_pairs(ground.named[1], naming, count, count))
    return name_clusters(count_blocks(lesson.truth, found, lesson.blocks, count, count), names)


def summarise(
    outcomes: Mapping[tuple[Setting, int, str], Mapping[str, np.ndarray]],
    blocks: Mapping[str, np.ndarray],
    floors: Mapping[tuple[int, str], np.ndarray] | None = None,
) -> list[dict[str, Any]]:
    """One row a setting, in the order in which they come; the first is the base. Runs are joined as further blocks.

    Args:
        outcomes: (setting, seed, run) -> what `run_setting` gave. A seed that not all runs have yet is left out, and in
            a difference one that the base lacks: a night that was stopped has something to show.
        blocks: run -> names of its blocks, in order; what several runs scored is one block.
        floors: (seed, run) -> `score_color_position`, the last row, which has clusters alone.
    Returns:
        JSON-ready: setting, what in it is varied, seeds, and for each of `SCORES` the mIoU as `Estimate.to_json`; in
        minus_base, None for the base itself, its paired difference with a verdict, and in by_run the same of each run,
        where there are several: parts of one drive are no other drives, so look whether all of them agree.
    """
    settings, runs = (list(dict.fromkeys(key[i] for key in outcomes)) for i in (0, 2))
    every = dict.fromkeys(seed for _, seed, _ in outcomes)
    seeds = {s: [seed for seed in every if all((s, seed, run) in outcomes for run in runs)] for s in settings}

    def stack(setting: Setting, score: str, chosen: Sequence[int]) -> list[np.ndarray]:
        """Of each run, seed by seed. (S, B, C, C + 1) each"""
        return [np.stack([outcomes[setting, seed, run][score] for seed in chosen]) for run in runs]

    def join(stacks: Sequence[np.ndarray]) -> np.ndarray:
        each = [[(blocks[run], stack[i]) for run, stack in zip(runs, stacks)] for i in range(len(stacks[0]))]
        return np.stack([join_blocks(parts)[1] for parts in each])

    def subtract(first: Sequence[np.ndarray], second: Sequence[np.ndarray]) -> dict[str, Any]:
        found = compare_paired(join(first), join(second)).to_json(verdict=True)
        if len(runs) > 1:
            scores = [[miou(of_run.sum(axis=1)).mean() for of_run in side] for side in (first, second)]
            found["by_run"] = [float(a - b) for a, b in zip(*scores)]
        return found

    rows, base = [], settings[0]
    for setting in (s for s in settings if seeds[s]):
        varied = {name: value for name, value in asdict(setting).items() if value != getattr(base, name)}
        row = {"setting": str(setting), "varied": varied, "seeds": seeds[setting]}
        row |= {score: estimate(join(stack(setting, score, seeds[setting]))).to_json() for score in SCORES}
        common = [seed for seed in seeds[setting] if seed in seeds[base]] if setting != base else []
        row["minus_base"] = None
        if common:
            sides = {score: [stack(which, score, common) for which in (setting, base)] for score in SCORES}
            row["minus_base"] = {score: subtract(*side) for score, side in sides.items()}
        rows.append(row)
    if floors and seeds[base]:
        floor = [np.stack([floors[seed, run] for seed in seeds[base]]) for run in runs]
        minus = {"clusters": subtract(floor, stack(base, "clusters", seeds[base]))}
        row = {"setting": COLOR, "varied": {"method": COLOR}, "seeds": seeds[base]}
        rows.append(row | {"clusters": estimate(join(floor)).to_json(), "minus_base": minus})
    return rows


def correct_rows(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], str]:
    """Verdicts of all differences of `CLAIMED` scores in a table, looked at together: (setting, score) -> verdict.

    See `evaluation.correct_for_many`.
    """
    every = {
        (row["setting"], score): Estimate.from_json(row["minus_base"][score])
        for row in rows
        for score in CLAIMED
        if row["minus_base"] and score in row["minus_base"]
    }
    return dict(zip(every, correct_for_many(list(every.values()))))


def describe_rows(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows of `summarise` as text: mIoU of each score with its interval, and the difference with its verdict."""
    lines, corrected = [], correct_rows(rows)
    for row in rows:
        lines.append(f"{row['setting']}, {len(row['seeds'])} seed{'s' * (len(row['seeds']) > 1)}")
        for score in (score for score in SCORES if score in row):
            lines.append(f"    {score:10} {_tell(row[score])}")
            if row["minus_base"]:
                difference = row["minus_base"][score]
                lines[-1] += f"   minus the base {_tell(difference, '+')}: {tell_verdict(difference)}"
                if corrected.get((row["setting"], score), difference["verdict"]) != difference["verdict"]:
                    lines[-1] += ", but not beside all others (Holm)"
                if difference["smallest"]:
                    lines[-1] += f" (the smallest that would be shown: {difference['smallest']:.3f})"
                if "by_run" in difference:
                    lines[-1] += f"; by run {', '.join(f'{each:+.3f}' for each in difference['by_run'])}"
    return "\n".join(lines)


def _tell(found: Mapping[str, Any], sign: str = "") -> str:
    interval = "" if found["low"] is None else f" [{found['low']:{sign}.3f}, {found['high']:{sign}.3f}]"
    return f"{found['value']:{sign}.3f}{interval}"


def tell_verdict(difference: Mapping[str, Any]) -> str:
    """In a word, of what differs from the base."""
    return WORDS.get(difference["verdict"], difference["verdict"])
