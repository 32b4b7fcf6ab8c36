"""One prediction, scored by every protocol in use: what a number hangs on besides the network.

Papers differ in the classes they count, the part of the image they look at, whether they average over a mirrored view,
how prototypes become clusters and clusters get names. Here all of that varies over one saved prediction; a row says all
of it. Source: facts/evaluation.md sec. 3, 4 and 10.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from ..codebooks import Codebook
from ..data import Dataset, Frame, open_dataset, resize_image, resize_map
from ..data.labels import CITYSCAPES_7, CITYSCAPES_19, CITYSCAPES_LABELS, IGNORE, ClassSet
from .matching import MATCHINGS, count_pairs, match_greedily, merge_columns, name_clusters, score

CROPS = ("whole image", "centre square")  # cut out before the network sees it, as PiCIE and STEGO do
SOME = 32  # frames that are looked at together
SQUARE = 320  # rows and columns of theirs: the shorter side of an image is brought to 320 first
VIEWS = ("plain", "flip-averaged")
GREEDY = (27, 128, 256)  # clusters of which each takes its majority class (ViCE)
RAW_LABELS = ("cityscapes", "kitti_2015")  # readers that can give 19, 27 or 7 classes


@dataclass(frozen=True)
class Labeling:
    """One way to name the pixels of some frames: classes, and their indices, 255 = ignore. truth: (N, H, W) uint8"""

    classes: ClassSet
    truth: np.ndarray


def find_labelings(params: Any, dataset: Dataset, frames: Sequence[Frame], truth: np.ndarray) -> list[Labeling]:
    """The classes that a data set is scored on, and the others that its labels allow.

    Args:
        params: those of 01, by which the data set was opened.
        truth: class indices of the data set's own classes. (N, H, W)
    Returns:
        Its own first; then, where raw labelIds are stored, those of 19, 27 and 7 classes, or of 19 train ids the 7.
    """
    own = [Labeling(dataset.classes, truth)]
    if (params.scored_dataset or params.dataset) in RAW_LABELS:
        for name, (classes, _) in CITYSCAPES_LABELS.items():
            if classes.name != dataset.classes.name:
                other = open_dataset(replace(params, label_set=name))
                own.append(Labeling(classes, np.stack([classes.to_index(other.labels(frame)) for frame in frames])))
    elif set(dataset.classes.names) <= set(CITYSCAPES_19.names):
        own.append(Labeling(CITYSCAPES_7, merge_classes(dataset.classes)[truth]))
    return own


def merge_classes(classes: ClassSet) -> np.ndarray:
    """Class index -> index of its Cityscapes category, 255 -> 255. (256,) uint8"""
    raw_19, raw_7 = (CITYSCAPES_LABELS[name][1].table for name in ("19", "7"))
    category = {train_id: raw_7[label_id] for label_id, train_id in raw_19.items() if train_id != IGNORE}
    table = np.full(256, IGNORE, np.uint8)
    for index, name in enumerate(classes.names):
        table[index] = category[CITYSCAPES_19.ids[CITYSCAPES_19.names.index(name)]]
    return table


def cut_center(maps: np.ndarray) -> np.ndarray:
    """The square in the middle of each map or image, made smaller where it has more than `SQUARE` rows.

    (N, H, W) or, RGB, (N, H, W, 3) -> (N, s, s, ...) with s <= `SQUARE`
    """
    height, width = maps.shape[1:3]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    cut = maps[:, top : top + side, left : left + side]
    if side <= SQUARE:
        return cut
    resize = resize_image if maps.ndim == 4 else resize_map
    return np.stack([resize(np.ascontiguousarray(each), (SQUARE, SQUARE)) for each in cut])


Counts = dict[str, dict[tuple[str, str, str], np.ndarray]]
"""Codebook -> (classes, crop with its size, view) -> how often each class meets each direction. (C, K)"""


def count_protocols(
    labelings: Sequence[Labeling],
    look: Callable[..., Mapping[str, np.ndarray]],
    images: np.ndarray,
    plain: Mapping[str, np.ndarray],
    books: Mapping[str, Codebook],
) -> Counts:
    """Look at images in every crop and view, and count for each labeling: all that `score_protocols` needs.

    Args:
        look: images (N, H, W, 3) uint8, mirrored=bool -> the nearest direction of each pixel, of each codebook.
        plain: what it gives for the whole images, not mirrored; never asked for again. (N, H, W) each
    """
    found: Counts = {name: {} for name in books}
    for crop in CROPS:
        cut = np.asarray if crop == CROPS[0] else cut_center
        truths = [(labeling.classes, cut(labeling.truth)) for labeling in labelings]
        for view, start in product(VIEWS, range(0, len(images), SOME)):
            some = slice(start, start + SOME)  # a few maps at a time: all of them would fill the memory
            if (crop, view) == (CROPS[0], VIEWS[0]):
                maps = {name: plain[name][some] for name in books}
            else:
                maps = look(cut(images[some]), mirrored=view != VIEWS[0])
            for (classes, truth), (name, book) in product(truths, books.items()):
                at = classes.name, f"{crop} {'x'.join(map(str, truth.shape[1:]))}", view
                counts = count_pairs(truth[some], maps[name], len(classes), len(book.directions))
                found[name][at] = found[name].get(at, 0) + counts
    return found


def score_protocols(
    scored: Counts, naming: Counts, books: Mapping[str, Codebook], about: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Every combination of labeling, crop, view, clustering and matching.

    Args:
        scored: `count_protocols` of the frames that are scored.
        naming: of those whose labels name the clusters.
        books: the first is that of the prototypes, whose first grouping is cut at `GREEDY` clusters too, each of which
            takes its majority class.
        about: what all rows have in common, such as the splits; a part of each.
    Returns:
        One row a protocol: classes, crop, view, clustering, clusters, matching; miou, accuracy, and how many classes
        count. The last of each has no clustering: all prototypes, matched greedily.
    """
    rows, (first, prototypes) = [], next(iter(books.items()))
    for key, counts in scored[first].items():
        classes = len(counts)
        ways = [
            (book, name, group(classes), classes, matching)
            for book, each in books.items()
            for name, group in each.groupings.items()
            for matching in ("iou", "count")
            if each.can_make(classes)
        ]
        name, group = next(iter(prototypes.groupings.items()))
        few = [clusters for clusters in GREEDY if classes < clusters < counts.shape[1]]
        ways += [(first, name, group(clusters), clusters, "greedy") for clusters in few]
        for book, name, groups, clusters, matching in ways:
            names = MATCHINGS[matching](merge_columns(naming[book][key], groups))[groups]
            rows.append(_make_row(key, name, clusters, matching, about) | _score(scored[book][key], names))
        last = _make_row(key, "none, all prototypes", counts.shape[1], "greedy", about)
        rows.append(last | _score(counts, match_greedily(naming[first][key])))
    return rows


def _make_row(
    key: tuple[str, str, str], clustering: str, clusters: int, matching: str, about: Mapping[str, Any]
) -> dict[str, Any]:
    how = {"clustering": clustering, "clusters": clusters, "matching": matching}
    return dict(zip(("classes", "crop", "view"), key)) | how | dict(about)


def _score(counts: np.ndarray, names: np.ndarray) -> dict[str, Any]:
    found = score(name_clusters(counts, names))
    return {"miou": found.miou, "accuracy": found.accuracy, "counted": found.counted}


def score_cuts(
    scored: np.ndarray, naming: np.ndarray, group: Callable[[int], np.ndarray], cuts: Sequence[int]
) -> list[tuple[int, float, float]]:
    """mIoU of ever more clusters: named one to one by IoU, and greedily. The second is what merging has left to name.

    Args:
        scored, naming: counts of classes and prototypes, of frames that are scored and that give names. (C, K) each
        group: number of clusters -> cluster of each prototype, (K,).
        cuts: numbers of clusters.
    """
    rows = []
    for cut in cuts:
        clusters = group(cut)
        merged = merge_columns(naming, clusters)
        found = (_score(scored, MATCHINGS[matching](merged)[clusters])["miou"] for matching in ("iou", "greedy"))
        rows.append((cut, *found))
    return rows
