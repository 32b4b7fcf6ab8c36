"""Scores of a segmentation whose clusters have no names: confusion, matching, IoU.

Classes are indices 0..C-1 in the order of a `ClassSet`, 255 = ignore; ignored pixels count neither for nor against.
All scores come from one confusion matrix over the whole set, never from a mean over images. Sources:
facts/evaluation.md sec. 3 and 10 (CPCDR matches by IoU, PiCIE and STEGO by count, ViCE over-clusters).
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from ..data.labels import IGNORE

UNNAMED = -1  # the class of a cluster that no class was matched to


@dataclass(frozen=True)
class Scores:
    """Fractions of 1. `iou` (C,) is NaN for classes that the truth does not hold; `counted` says how many it does.

    miou: over the classes that the truth holds. miou_official: as the Cityscapes scripts, where a class that is
    predicted and nowhere true counts as 0; the same number when the truth holds all classes.
    """

    miou: float
    accuracy: float
    iou: np.ndarray
    counted: int
    miou_official: float


def count_pairs(truth: np.ndarray, predicted: np.ndarray, classes: int, clusters: int) -> np.ndarray:
    """How often each class meets each cluster, ignored pixels left out.

    Args:
        truth: class indices, 255 = ignore. Any shape
        predicted: clusters 0..clusters - 1. The same shape
    Returns:
        (C, K) int64
    Raises:
        ValueError: shapes differ, or values out of range.
    """
    if truth.shape != predicted.shape:
        raise ValueError(f"labels are {truth.shape} but the prediction is {predicted.shape}: resize the prediction")
    if truth.ndim == 3:  # image by image: the copies below take 24 bytes a pixel
        return sum(
            (count_pairs(t, p, classes, clusters) for t, p in zip(truth, predicted)),
            np.zeros((classes, clusters), np.int64),
        )
    valid = truth != IGNORE
    rows, columns = truth[valid].astype(np.int64), predicted[valid].astype(np.int64)
    for what, values, limit in (("class", rows, classes), ("cluster", columns, clusters)):
        if values.size and (values.min() < 0 or values.max() >= limit):
            raise ValueError(f"{what} indices must lie in 0..{limit - 1}, found {values.min()}..{values.max()}")
    return np.bincount(rows * clusters + columns, minlength=classes * clusters).reshape(classes, clusters)


def count_blocks(
    truth: np.ndarray, predicted: np.ndarray, blocks: np.ndarray, classes: int, clusters: int
) -> np.ndarray:
    """`count_pairs` of all frames of a block together: all that any score, and its interval, needs of the pixels.

    Args:
        truth, predicted: (N, H, W)
        blocks: what frame belongs to which clip, or part of a drive. (N,)
    Returns:
        One table a block, in the order of `np.unique(blocks)`. (B, C, K) int64
    """
    names, row = np.unique(blocks, return_inverse=True)
    found = np.zeros((len(names), classes, clusters), np.int64)
    for index, block in enumerate(row):
        found[block] += count_pairs(truth[index], predicted[index], classes, clusters)
    return found


def merge_columns(pairs: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """Counts of classes and prototypes (..., C, K), cluster of each prototype (K,) -> of classes and clusters."""
    merged = np.zeros((*pairs.shape[:-1], clusters.max() + 1), pairs.dtype)
    np.add.at(np.moveaxis(merged, -1, 0), clusters, np.moveaxis(pairs, -1, 0))
    return merged


def measure_overlap(pairs: np.ndarray) -> np.ndarray:
    """IoU of every class with every cluster; 0 where neither has a pixel. (C, K) counts -> (C, K)"""
    union = pairs.sum(axis=1, keepdims=True) + pairs.sum(axis=0, keepdims=True) - pairs
    return pairs / np.maximum(union, 1)


def _match(gain: np.ndarray) -> np.ndarray:
    names = np.full(gain.shape[1], UNNAMED)
    classes, clusters = linear_sum_assignment(gain, maximize=True)
    names[clusters] = classes
    return names


def match_by_iou(pairs: np.ndarray) -> np.ndarray:
    """One cluster a class so that the sum of IoU is largest (CPCDR); clusters left over are unnamed. (C, K) -> (K,)"""
    return _match(measure_overlap(pairs))


def match_by_count(pairs: np.ndarray) -> np.ndarray:
    """One cluster a class so that most pixels are right (PiCIE, STEGO). (C, K) -> (K,)"""
    return _match(pairs)


def match_greedily(pairs: np.ndarray) -> np.ndarray:
    """Each cluster takes its majority class; many may share one, and an empty one is unnamed (ViCE). (C, K) -> (K,)"""
    return np.where(pairs.sum(axis=0) > 0, pairs.argmax(axis=0), UNNAMED)


MATCHINGS = {"iou": match_by_iou, "count": match_by_count, "greedy": match_greedily}


def name_clusters(pairs: np.ndarray, names: np.ndarray) -> np.ndarray:
    """Confusion of classes, after the clusters got names: truth down, prediction across, last column = unnamed.

    Args:
        pairs: (..., C, K)
        names: class of each cluster, UNNAMED = none. (K,)
    Returns:
        (..., C, C + 1) int64
    """
    confusion = np.zeros((*pairs.shape[:-1], pairs.shape[-2] + 1), np.int64)
    np.add.at(np.moveaxis(confusion, -1, 0), names, np.moveaxis(pairs, -1, 0))  # UNNAMED = -1 is the last column
    return confusion


def score(confusion: np.ndarray) -> Scores:
    """IoU = hit / (hit + missed + false alarm); mIoU over the classes that the truth holds; accuracy over all pixels.

    A pixel of an unnamed cluster is missed, and no class's false alarm.

    Args:
        confusion: truth down, prediction across; further columns (unnamed) are allowed. (C, >= C)
    """
    classes = len(confusion)
    hit, truth = np.diag(confusion), confusion.sum(axis=1)
    with np.errstate(invalid="ignore"):
        iou = np.where(truth > 0, hit / (truth + confusion[:, :classes].sum(axis=0) - hit), np.nan)
    counted = int((truth > 0).sum())
    if counted == 0:
        raise ValueError("there is not one labelled pixel to score on: check the split and the labels")
    met = counted + int(((truth == 0) & (confusion[:, :classes].sum(axis=0) > 0)).sum())
    return Scores(float(np.nanmean(iou)), float(hit.sum() / truth.sum()), iou, counted, float(np.nansum(iou) / met))


def normalize_score(value: float, floor: float, ceiling: float | None) -> float | None:
    """(value - floor) / (ceiling - floor): 0 = the trivial method, 1 = trained with labels; None without a ceiling."""
    if ceiling is None or ceiling <= floor:
        return None
    return (value - floor) / (ceiling - floor)
