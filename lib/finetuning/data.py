"""What is learned from and what is scored: labelled frames of one data set, or of two with some classes in common."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..data import Dataset, Frame, open_dataset
from ..data.labels import IGNORE, ClassSet
from ..evaluation import read_labelled
from .labelled import gather_labelled


@dataclass(frozen=True)
class Lesson:
    """Labelled frames to learn from, and others that are scored.

    classes: that are learned. learned: frames; images, labels: of these, see `gather_labelled`.
    scored: frames; scored_images: (N, H, W, 3) uint8; truth: indices of the learned classes, 255 = ignore, among them
    classes that were not learned. (N, H, W); blocks: clip, or part of a drive, of each scored frame. (N,)
    learned_data, scored_data: where the frames come from; for what is asked of them beside classes.
    """

    classes: ClassSet
    learned: Sequence[Frame]
    images: Any
    labels: Any
    scored: Sequence[Frame]
    scored_images: np.ndarray
    truth: np.ndarray
    blocks: np.ndarray
    learned_data: Dataset | None = None
    scored_data: Dataset | None = None


SAME = {"pavement": "sidewalk", "tree": "vegetation", "sign": "traffic sign", "pedestrian": "person"}  # CamVid's words


def common_classes(learned: ClassSet, scored: ClassSet) -> np.ndarray:
    """Index of a scored class -> index of the learned class of the same meaning; 255 = there is none. (256,) uint8

    CamVid's words are those of `SAME`; its bicyclist is a rider and a bicycle at once, and has no counterpart.

    Raises:
        ValueError: fewer than two in common.
    """
    known = [SAME.get(name, name) for name in learned.names]
    table = np.full(256, IGNORE, np.uint8)
    for index, name in enumerate(scored.names):
        if SAME.get(name, name) in known:
            table[index] = known.index(SAME.get(name, name))
    if (table != IGNORE).sum() < 2:
        names = f"{learned.name} and {scored.name}"
        raise ValueError(f"{names} have fewer than two classes in common: learn from and score data that share classes")
    return table


def read_lesson(learned: Any, scored: Any, split: str, fold: int | None = None) -> Lesson:
    """The lesson of one fold: frames of the split "train" of one data set teach, frames of `split` of the other count.

    Args:
        learned, scored: parameters of the 01 that say which data sets these are, and at which size.
        split: val or test.
        fold: in place of the one in `learned` and `scored`.
    Raises:
        ValueError: no labels where there must be some, or a frame in both.
    """
    if fold is not None:
        learned, scored = replace(learned, fold=fold), replace(scored, fold=fold)
    data = open_dataset(learned)
    other = data if scored == learned else open_dataset(scored)
    frames = data.frames("train", labelled=True)
    images, labels = gather_labelled(data, frames)
    shown, scored_images, truth = read_labelled(other, split)
    both = {f.id for f in frames} & {f.id for f in shown} if other.name == data.name else ()
    if both:  # whatever else differs between the two 01, such as the fold or the size: it is the same street
        raise ValueError(
            f"{data.name}: {len(both)} frames of split {split!r} are learned from too; choose another split or fold"
        )
    truth = common_classes(data.classes, other.classes)[truth]
    blocks = np.array([other.block(frame) for frame in shown])
    return Lesson(data.classes, frames, images, labels, shown, scored_images, truth, blocks, data, other)
