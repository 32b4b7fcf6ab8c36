"""How well regions fit the truth, how large they are, and two baselines that know no depth, at the same number.

All scores are shares of 1 over the pixels that carry a label; regions are an over-segmentation to them, so no region
needs a name. Definitions: Stutz, Hermans, Leibe 2018 (superpixel evaluation), with true segments as there. Sizes need
no labels; their exponent: Clauset, Shalizi, Newman 2009.
"""

import cv2
import numpy as np
from skimage.measure import label

from ..data.labels import IGNORE
from ..superpixels import segment_superpixels

TOLERANCE = 0.0025  # of the image diagonal, within which a boundary counts as found (Stutz et al.)


def find_true_segments(labels: np.ndarray, instances: np.ndarray | None = None) -> np.ndarray:
    """Connected pieces of one class and one thing; 0 = not labelled.

    Args:
        labels: train ids, 255 = ignore. (H, W)
        instances: ids of things, 0 = none. (H, W)
    Returns:
        Ids 1..G. (H, W) int64
    """
    kinds = labels.astype(np.int64) + 1
    if instances is not None:
        kinds = kinds + 256 * instances.astype(np.int64)
    return label(np.where(labels == IGNORE, 0, kinds), background=0, connectivity=1)


def _count_overlaps(regions: np.ndarray, truth: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Pixels that each region shares with each true id. (R, G)"""
    _, r = np.unique(regions[valid], return_inverse=True)
    _, g = np.unique(truth[valid], return_inverse=True)
    if not len(r):
        raise ValueError("no labelled pixel: this frame cannot be scored")
    size = g.max() + 1
    return np.bincount(r * size + g, minlength=(r.max() + 1) * size).reshape(-1, size)


def purity(regions: np.ndarray, labels: np.ndarray) -> float:
    """Share of pixels whose class is the commonest of their region. 0..1"""
    overlaps = _count_overlaps(regions, labels, labels != IGNORE)
    return float(overlaps.max(axis=1).sum() / overlaps.sum())


def find_impure(regions: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the class of a pixel is not the commonest of its region, and which that is.

    Args:
        regions: ids >= 0. (H, W)
        labels: train ids, 255 = ignore. (H, W)
    Returns:
        True where it is another; train id of the commonest class, 0 where no pixel of the region has a label.
        (H, W) bool, (H, W) uint8
    """
    codes = regions.ravel().astype(np.int64) * 256 + labels.ravel()
    counts = np.bincount(codes, minlength=(int(regions.max()) + 1) * 256).reshape(-1, 256)
    commonest = counts[:, :IGNORE].argmax(axis=1).astype(np.uint8)[regions]
    return (commonest != labels) & (labels != IGNORE), commonest


def find_thin(labels: np.ndarray, side: int) -> np.ndarray:
    """Pixels that no square of `side` pixels of one class covers. (H, W) bool

    Classes go on beyond the border, but the middle of a square must lie in the image.
    """
    square = np.ones((side, side), np.uint8)
    first, last = (change(labels, square, borderType=cv2.BORDER_REPLICATE) for change in (cv2.erode, cv2.dilate))
    whole = (first == last).astype(np.uint8)  # middles of squares of one class
    return cv2.dilate(whole, square, anchor=((side - 1) - side // 2,) * 2) == 0


def count_mixtures(regions: np.ndarray, labels: np.ndarray, superpixels: int) -> tuple[np.ndarray, int]:
    """What is wrong in impure regions: pixels by their class and by the commonest class of their region.

    Args:
        regions, labels: as in `find_impure`.
        superpixels: how many the frame was cut into.
    Returns:
        Pixels of each class (row) in regions of each other (column); how many of them lie in things thinner than the
        mean superpixel is wide. (256, 256), a number
    """
    impure, commonest = find_impure(regions, labels)
    codes = labels[impure].astype(np.int64) * 256 + commonest[impure]
    thin = find_thin(labels, max(1, round((labels.size / superpixels) ** 0.5)))
    return np.bincount(codes, minlength=256**2).reshape(256, 256), int((thin & impure).sum())


def asa(regions: np.ndarray, segments: np.ndarray) -> float:
    """Achievable segmentation accuracy: as purity, but two things of one class count as different. 0..1"""
    overlaps = _count_overlaps(regions, segments, segments > 0)
    return float(overlaps.max(axis=1).sum() / overlaps.sum())


def under_segmentation(regions: np.ndarray, segments: np.ndarray) -> float:
    """Neubert and Protzel's error: the smaller part of every region that a true border cuts, summed. 0 is best."""
    overlaps = _count_overlaps(regions, segments, segments > 0)
    rest = overlaps.sum(axis=1, keepdims=True) - overlaps
    return float(np.minimum(overlaps, rest).sum() / overlaps.sum())


def _find_borders(ids: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Pixels with another id to their right or below, or left or above. (H, W) bool"""
    found = np.zeros(ids.shape, bool)
    for a, b in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        border = (ids[a] != ids[b]) & valid[a] & valid[b]
        found[a] |= border
        found[b] |= border
    return found


def boundary_recall(regions: np.ndarray, segments: np.ndarray) -> float:
    """Share of true border pixels that lie near a region's border: within 0.25 % of the diagonal, at least 1 pixel.

    1.0 where the truth has no border.
    """
    true_border = _find_borders(segments, segments > 0)
    reach = max(1, round(TOLERANCE * float(np.hypot(*segments.shape))))
    near = _find_borders(regions, np.ones(regions.shape, bool)).astype(np.uint8)
    near = cv2.dilate(near, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)) > 0
    return float(near[true_border].mean()) if true_border.any() else 1.0


def score_regions(regions: np.ndarray, labels: np.ndarray, instances: np.ndarray | None = None) -> dict[str, float]:
    """All scores of one frame.

    Args:
        regions: (H, W)
        labels: train ids, 255 = ignore. (H, W)
        instances: ids of things, 0 = none; None: pieces of one class count as one thing. (H, W)
    Returns:
        purity, asa, boundary_recall, under_segmentation.
    Raises:
        ValueError: sizes differ, or nothing is labelled.
    """
    if regions.shape != labels.shape:
        raise ValueError(f"regions {regions.shape} and labels {labels.shape} differ in size")
    segments = find_true_segments(labels, instances)
    return {
        "purity": purity(regions, labels),
        "asa": asa(regions, segments),
        "boundary_recall": boundary_recall(regions, segments),
        "under_segmentation": under_segmentation(regions, segments),
    }


def count_sizes(regions: np.ndarray) -> np.ndarray:
    """Pixels of each region, largest first. (H, W) ids -> (R,) int64"""
    sizes = np.bincount(regions.ravel())
    return np.sort(sizes[sizes > 0])[::-1]


def measure_sizes(regions: np.ndarray) -> dict[str, float]:
    """`largest_region` and `median_region`, as shares of the image. (H, W) ids, each pixel in a region"""
    sizes = count_sizes(regions) / regions.size
    return {"largest_region": float(sizes[0]), "median_region": float(np.median(sizes))}


def sum_tail(sizes: np.ndarray, smallest: int) -> tuple[int, float]:
    """What the exponent of a power law needs to know of some sizes, and what adds up over images.

    Args:
        sizes: pixels of each region. (R,)
        smallest: pixels, the lower bound from which the law is fitted.
    Returns:
        How many sizes are at least `smallest`, and the sum of ln(size / (smallest - 1/2)) over them.
    Raises:
        ValueError: the bound is below 1.
    """
    if smallest < 1:
        raise ValueError(f"the size law needs a lower bound of at least 1 pixel, not {smallest}")
    tail = sizes[sizes >= smallest]
    return len(tail), float(np.log(tail / (smallest - 0.5)).sum())


def fit_exponent(count: float, logarithms: float) -> float:
    """Exponent a of a power law p(size) ~ size^-a, from `sum_tail`; its standard error is about (a - 1) / sqrt(count).

    a = 1 + count / logarithms, the maximum likelihood estimator of a continuous law, with half a pixel taken from the
    bound because sizes are whole; good to 1 % from a bound of about 6 pixels on. It says how steep the sizes fall, not
    that they follow a power law, and no region can exceed the image: a few large ones pull it down. NaN without sizes.

    Source: Clauset, Shalizi, Newman 2009, eq. 3.7.
    """
    return 1 + count / logarithms if count else float("nan")


def cut_grid(size: tuple[int, int], count: int) -> np.ndarray:
    """Baseline: exactly `count` cells, as square as they can be. (H, W), ids 1..count"""
    height, width = size
    rows = min(max(1, round(np.sqrt(count * height / width))), count)
    columns = np.full(rows, count // rows)
    columns[: count % rows] += 1
    row = np.arange(height) * rows // height
    first = np.concatenate([[0], np.cumsum(columns)[:-1]])
    return (first[row, None] + np.arange(width) * columns[row, None] // width + 1).astype(np.uint16)


def cut_slic(image: np.ndarray, count: int, compactness: float = 10.0, smoothing: float = 1.0) -> np.ndarray:
    """Baseline: plain SLIC with as many superpixels as there are regions, to the nearest it can. (H, W), ids 1..

    SLIC returns about as many as it is asked for; the request is corrected a few times and the nearest is kept.
    """
    ask, best = count, None
    for _ in range(4):
        ids = segment_superpixels(image, min(max(ask, 1), image.shape[0] * image.shape[1]), compactness, smoothing)
        got = int(ids.max()) + 1
        if best is None or abs(got - count) < abs(int(best.max()) + 1 - count):
            best = ids
        if got == count:
            break
        ask += count - got
    return (best + 1).astype(np.uint16)
