"""Regions from contours alone: an ultrametric contour map of colour, cut to any number of regions.

The recipe has three steps: a contour strength with an orientation at every pixel; its watershed, whose basins meet in
arcs that take the mean strength along them, measured across their own direction; greedy merging of the two regions
that the weakest arc separates. The height at which an arc disappears makes a hierarchy: a cut at any height, or at any
number of regions, is a partition, and a higher one joins regions of a lower one.

What is simpler than in the paper: the strength is linear, from colour alone (no histograms, no texture, no spectral
part, nothing learned), and a bent arc counts as one straight line, or as none, instead of being broken into several.
Source: Arbelaez, Maire, Fowlkes, Malik 2011, sec. 4 (oriented watershed, ultrametric contour map); Di Zenzo 1986
(gradient of an image of several channels).
"""

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from skimage.measure import label
from skimage.segmentation import watershed

SCALES = (2.0, 4.0)  # sigmas in pixels; finer ones find more noise than borders
STRAIGHT = 0.5  # an arc whose ends are closer than this share of its length has no direction of its own


@dataclass(frozen=True)
class Hierarchy:
    """Basins (B) and the arcs (E) between them, each with the moment and the height at which it disappears.

    basins: ids 0..B-1. (H, W) int32
    edges: pairs of basins that meet. (E, 2)
    order: number of the merge that removes the arc, 0..B-2. (E,)
    heights: contour strength of that merge; grows with `order`. (E,)
    """

    basins: np.ndarray
    edges: np.ndarray
    order: np.ndarray
    heights: np.ndarray

    @property
    def size(self) -> int:
        """B"""
        return int(self.basins.max()) + 1

    def cut(self, count: int) -> np.ndarray:
        """Exactly `count` regions, ids 1..count. (H, W) int32

        Raises:
            ValueError: fewer than 1, or more than there are basins.
        """
        if not 1 <= count <= self.size:
            raise ValueError(f"{count} regions cannot be cut from {self.size} basins: ask for 1 to {self.size}")
        return _join_nodes(self.edges[self.order < self.size - count], self.size)[self.basins] + 1

    def cut_at(self, height: float) -> np.ndarray:
        """Regions between which every contour is stronger than `height`, ids 1..R without gaps. (H, W) int32"""
        return _join_nodes(self.edges[self.heights <= height], self.size)[self.basins] + 1

    def contours(self) -> np.ndarray:
        """The map itself: the highest arc that a pixel lies at; 0 = within a basin. (H, W) float32"""
        before, after, _ = _find_sides(self.basins)
        codes = self.edges[:, 0] * self.size + self.edges[:, 1]  # in ascending order, as `weigh_arcs` gives them
        heights = self.heights[np.searchsorted(codes, _pair_codes(self.basins, before, after))]
        strongest = np.zeros(self.basins.size, np.float32)
        for side in (before, after):
            np.maximum.at(strongest, side, heights)
        return strongest.reshape(self.basins.shape)


def measure_gradient(image: np.ndarray, scales: Sequence[float] = SCALES) -> np.ndarray:
    """The colour gradient as a tensor: squared change of CIELAB a step, summed over channels and scales.

    With entries xx, xy, yy the squared change along a unit vector (x, y) is xx x^2 + 2 xy x y + yy y^2, so one tensor
    holds the contour strength of every orientation. Each scale's change is that over its own sigma.

    Args:
        image: RGB. (H, W, 3) uint8
        scales: sigmas of Gaussian derivatives, in pixels.
    Returns:
        xx, xy, yy. (3, H, W) float32
    """
    lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
    tensor = np.zeros((3, *image.shape[:2]), np.float32)
    for sigma in scales:
        smooth = cv2.GaussianBlur(lab, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
        across, down = (
            cv2.Sobel(smooth, cv2.CV_32F, *axis, ksize=1, scale=sigma / 2, borderType=cv2.BORDER_REFLECT)
            for axis in ((1, 0), (0, 1))
        )
        for plane, (a, b) in zip(tensor, ((across, across), (across, down), (down, down))):
            plane += np.einsum("hwc,hwc->hw", a, b)
    return tensor


def find_strength(tensor: np.ndarray) -> np.ndarray:
    """Contour strength in the direction of steepest change: root of the larger eigenvalue. (3, ...) -> (...)"""
    xx, xy, yy = tensor
    return np.sqrt(np.maximum((xx + yy) / 2 + np.hypot((xx - yy) / 2, xy), 0))


def flood_basins(strength: np.ndarray, least: int = 1) -> np.ndarray:
    """Watershed of a contour strength: one connected basin a local minimum, without pixels on the border itself.

    Args:
        strength: (H, W)
        least: if there are fewer basins, they are cut along a grid of at least as many cells, since only what is
            apart can be merged.
    Returns:
        Ids 0..B-1. (H, W) int32
    Raises:
        ValueError: more basins than pixels are wanted.
    """
    if not 1 <= least <= strength.size:
        raise ValueError(f"{least} basins cannot be cut from {strength.shape[0]} x {strength.shape[1]} pixels")
    basins = watershed(strength)  # ids 1..B; 0 everywhere where nothing changes
    if basins.max() < least:
        side = math.isqrt(strength.size // least)
        rows, columns = (np.arange(length) // side for length in strength.shape)
        cells = rows[:, None] * (columns[-1] + 1) + columns
        basins = label(basins.astype(np.int64) * (cells.max() + 1) + cells, background=-1, connectivity=1)
    return (basins - 1).astype(np.int32)


def _find_sides(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sides of pixels at which the id changes: number of the pixel before, of that after, and 1 if it lies below."""
    pixels, sides = np.arange(ids.size).reshape(ids.shape), []
    for below, (a, b) in enumerate(((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:]))):
        differ = ids[a] != ids[b]
        sides.append(np.stack([pixels[a][differ], pixels[b][differ], np.full(differ.sum(), below)]))
    return tuple(np.concatenate(sides, axis=1))


def _pair_codes(ids: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """One number for each pair of ids, in the lexical order of (smaller, larger)."""
    a, b = (ids.ravel()[side].astype(np.int64) for side in (before, after))
    return np.minimum(a, b) * (int(ids.max()) + 1) + np.maximum(a, b)


def weigh_arcs(basins: np.ndarray, tensor: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean contour strength of each arc, measured across the arc.

    The unit normals of an arc's sides add up to the normal of the line between its ends, times its length, so that
    the direction of every arc is a sum. An arc that turns back on itself takes the steepest direction of each pixel.

    Args:
        basins: ids 0..B-1. (H, W)
        tensor: as `measure_gradient` gives it. (3, H, W)
    Returns:
        Pairs of basins, smaller first, in lexical order (E, 2) int64; mean strength (E,); sides of pixels (E,).
    """
    before, after, below = _find_sides(basins)
    codes, arc = np.unique(_pair_codes(basins, before, after), return_inverse=True)
    lengths = np.bincount(arc, minlength=len(codes))
    sign = np.where(basins.ravel()[before] < basins.ravel()[after], 1.0, -1.0)
    normals = np.stack([np.bincount(arc, sign * (below == axis), len(codes)) for axis in (0, 1)])
    reach = np.hypot(*normals)
    x, y = (normals / np.maximum(reach, 1))[:, arc]
    planes = tensor.reshape(3, -1)
    sides = (planes[:, before] + planes[:, after]) / 2
    xx, xy, yy = sides
    across = np.sqrt(np.maximum(xx * x**2 + 2 * xy * x * y + yy * y**2, 0))
    strength = np.where((reach >= STRAIGHT * lengths)[arc], across, find_strength(sides))
    size = int(basins.max()) + 1
    return np.stack([codes // size, codes % size], axis=1), np.bincount(arc, strength, len(codes)) / lengths, lengths


def order_merges(
    edges: np.ndarray, weights: np.ndarray, lengths: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Merge the two regions with the weakest arc between them, again and again, until no arc is left.

    Two arcs that come to separate the same regions become one, with their length-weighted mean. That is never below
    the weaker of the two, so heights never fall; ties go to the arc that comes first.

    Args:
        edges: each pair of neighbours once. (E, 2), ids 0..count-1
        weights: strength of each arc. (E,)
        lengths: of each arc, > 0. (E,)
    Returns:
        For each arc the number of the merge that removes it, from 0, and the strength of that merge. (E,), (E,)
    """
    means, sizes, ends = np.asarray(weights, float).tolist(), lengths.tolist(), edges.tolist()
    sums = (np.asarray(weights, float) * lengths).tolist()
    around: list[dict[int, int]] = [{} for _ in range(count)]  # of each region: neighbour -> arc
    for arc, (a, b) in enumerate(ends):
        around[a][b] = around[b][a] = arc
    heap, follows = list(zip(means, range(len(ends)))), list(range(len(ends)))
    order, heights, merges, height = [-1] * len(ends), [0.0] * len(ends), 0, -math.inf
    heapq.heapify(heap)
    while heap:
        known, arc = heapq.heappop(heap)
        if order[arc] >= 0 or follows[arc] != arc or known > means[arc]:
            continue  # removed, part of another, or in the heap a second time
        if known < means[arc]:  # it has grown since: a mean that grows is put right only here, where it matters
            heapq.heappush(heap, (means[arc], arc))
            continue
        height = max(height, known)  # the mean of equal strengths may be rounded down
        order[arc], heights[arc], merges = merges, height, merges + 1
        for first, second in _absorb(around, ends, arc):
            follows[second], before = first, means[first]
            sums[first], sizes[first] = sums[first] + sums[second], sizes[first] + sizes[second]
            means[first] = sums[first] / sizes[first]
            if means[first] < before:
                heapq.heappush(heap, (means[first], first))
    for arc, first in enumerate(follows):  # an arc follows an earlier one, whose own numbers are final by then
        order[arc], heights[arc] = order[first], heights[first]
    return np.array(order, np.int64), np.array(heights)


def _absorb(around: list[dict[int, int]], ends: list[list[int]], arc: int) -> list[tuple[int, int]]:
    """Join the two regions at an arc, in place; lists each two arcs, in order, that lead to the same region now."""
    kept, gone = ends[arc]
    if len(around[kept]) < len(around[gone]):
        kept, gone = gone, kept  # fewer arcs have to change their ends
    own, twins = around[kept], []
    del own[gone], around[gone][kept]
    for other, first in around[gone].items():
        near = around[other]
        del near[gone]
        second = own.get(other, first)
        if second != first:
            first, second = min(first, second), max(first, second)
            twins.append((first, second))
        own[other] = near[kept] = first
        ends[first] = [kept, other]
    return twins


def _join_nodes(edges: np.ndarray, count: int) -> np.ndarray:
    """Connected parts of a graph, numbered from 0 in the order of their first node. (E, 2) -> (count,) int32"""
    links = coo_array((np.ones(len(edges), bool), (edges[:, 0], edges[:, 1])), shape=(count, count))
    parts = connected_components(links, directed=False)[1]
    _, first, place = np.unique(parts, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first)).astype(np.int32)[place]


def build_hierarchy(image: np.ndarray, least: int = 1) -> Hierarchy:
    """The ultrametric contour map of an image (H, W, 3) uint8, with at least `least` basins."""
    tensor = measure_gradient(image)
    basins = flood_basins(find_strength(tensor), least)
    edges, weights, lengths = weigh_arcs(basins, tensor)
    return Hierarchy(basins, edges, *order_merges(edges, weights, lengths, int(basins.max()) + 1))


def cut_contours(image: np.ndarray, count: int) -> np.ndarray:
    """Exactly `count` connected regions between the strongest contours. (H, W, 3) uint8 -> (H, W) int32, ids 1..count

    Raises:
        ValueError: fewer than 1, or more than the image has pixels.
    """
    return build_hierarchy(image, count).cut(count)


def merge_regions(
    regions: np.ndarray, edges: np.ndarray, weights: np.ndarray, count: int, lengths: np.ndarray | None = None
) -> np.ndarray:
    """Bring a map with too many regions to `count` by the same greedy merging, over any weights between neighbours.

    Args:
        regions: ids 1..R without gaps. (H, W)
        edges: pairs of region ids in any order. Pairs that occur more than once count by their length-weighted mean;
            those within one region are left out. (E, 2)
        weights: small = merged first. (E,)
        count: how many regions are wanted; a map that has no more comes back as it is.
        lengths: share of each pair in the mean, > 0; None = all the same. (E,)
    Returns:
        Ids 1..count in the order of the smallest id that they hold. (H, W), the same type
    Raises:
        ValueError: `count` is below 1, or the edges do not connect the regions well enough.
    """
    size = int(regions.max())
    if count < 1:
        raise ValueError(f"regions cannot be merged to {count}: ask for at least 1")
    if size <= count:
        return regions
    outer = edges[:, 0] != edges[:, 1]
    pairs, shares = np.sort(edges[outer], axis=1) - 1, np.ones(outer.sum()) if lengths is None else lengths[outer]
    codes, place = np.unique(pairs[:, 0] * size + pairs[:, 1], return_inverse=True)
    total = np.bincount(place, shares, len(codes))
    means = np.bincount(place, shares * weights[outer], len(codes)) / total
    pairs = np.stack([codes // size, codes % size], axis=1)
    order, _ = order_merges(pairs, means, total, size)
    parts = _join_nodes(pairs[order < size - count], size)
    if parts.max() + 1 > count:
        raise ValueError(f"{parts.max() + 1} regions remain where {count} are wanted: some have no edge to another")
    return (parts + 1).astype(regions.dtype)[regions - 1]
