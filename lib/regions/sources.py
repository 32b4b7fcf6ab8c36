"""Where regions come from: one door to depth and to what it is compared with, chosen by `RegionParams.source`.

Every source gives a partition, ids 1..R without gaps, and the same one for the same input. Those that know no depth
take a number of regions, by default that of depth in the same frame, as small pieces are trivially pure.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from skimage.measure import label
from skimage.segmentation import felzenszwalb

from ..params import RegionParams
from .contours import cut_contours
from .grouping import group_regions
from .learned import group_learned
from .metrics import cut_grid, cut_slic, find_true_segments

LARGEST = int(np.iinfo(np.uint16).max)
SCALES = (0.1, 1e5)  # of Felzenszwalb and Huttenlocher, searched between; far beyond what a photograph needs
CUTS = 12  # at most, an image
NEAR = 0.02  # share of the wanted number, within which no more cuts are made
FIRST = 10.0  # scale that is tried first: pixels a region over this
SMALLEST = 20  # pixels; scikit-image's default
OWN_COUNT = ("depth", "truth", "learned")  # sources that say themselves how many regions there are


@dataclass(frozen=True)
class Observation:
    """What is known of one frame; a source that needs what is None says so.

    image: RGB. (H, W, 3) uint8
    inverse_depth: 1 / scene units, any scale; 0 = no value. (H, W) float32
    intrinsics: in pixels of this image. (3, 3)
    labels: train ids, 255 = ignore. (H, W) uint8
    instances: ids of things, 0 = none; None: pieces of one class are one thing. (H, W)
    clusters: of learned features, ids >= 0, at any resolution. (h, w)
    """

    image: np.ndarray
    inverse_depth: np.ndarray | None = None
    intrinsics: np.ndarray | None = None
    labels: np.ndarray | None = None
    instances: np.ndarray | None = None
    clusters: np.ndarray | None = None

    def __post_init__(self) -> None:
        shape = self.image.shape
        if len(shape) != 3 or shape[2] != 3 or self.image.dtype != np.uint8:
            raise ValueError(f"regions need an RGB image (H, W, 3) uint8, not {shape} {self.image.dtype}")
        for name in ("inverse_depth", "labels", "instances"):
            values = getattr(self, name)
            if values is not None and values.shape != shape[:2]:
                raise ValueError(f"image {shape[:2]} and {name.replace('_', ' ')} {values.shape} differ in size")

    def need(self, source: str, *names: str) -> None:
        """Raises ValueError for the first of `names` that is not known."""
        for name in names:
            if getattr(self, name) is None:
                what = name.replace("_", " ")
                raise ValueError(f"source = {source!r} needs {what}, and this frame has none: choose another source")


def cut_regions(seen: Observation, params: RegionParams) -> np.ndarray:
    """The regions of one frame, from the source that `params` names.

    Args:
        seen: the frame.
        params: `count` holds for slic, grid, felzenszwalb and contours; learned merges down to it, where it is not 0.
    Returns:
        Region of every pixel, ids 1..R without gaps. (H, W) uint16
    Raises:
        ValueError: the source lacks what it needs, more regions than pixels are wanted, or more than 65535 come out.
    """
    ids = SOURCES[params.source](seen, params)
    used = np.bincount(ids.ravel()) > 0
    if used.sum() > LARGEST:
        raise ValueError(f"{used.sum()} regions do not fit into 16 bits: ask for fewer, or choose another source")
    return np.cumsum(used)[ids].astype(np.uint16)


def cut_every_source(seen: Observation, params: RegionParams) -> dict[str, np.ndarray]:
    """Name of each source that finds what it needs -> its regions, as `cut_regions` gives them.

    Slic, grid, felzenszwalb and contours cut into as many as depth, which therefore must be there.
    """
    missing = {"truth": seen.labels is None, "learned": seen.clusters is None}
    found = {"depth": cut_regions(seen, choose_source(params, "depth"))}
    count = int(found["depth"].max())
    for source in SOURCES:
        if source not in found and not missing.get(source):
            own = choose_source(params, source, 0 if source in OWN_COUNT else count)
            found[source] = cut_regions(seen, own)
    return found


def choose_source(params: RegionParams, source: str, count: int = 0) -> RegionParams:
    """The same parameters with another source, for frames whose clusters, if it needs them, are known already."""
    run = params.learned_from or "some run"  # parameters ask where clusters come from
    return replace(params, source=source, learned_from=run if source == "learned" else "", count=count)


def needs_depth(params: RegionParams) -> bool:
    """Whether the source looks at depth, or at how many regions depth gives."""
    return params.source in ("depth", "learned") or (params.source != "truth" and params.count == 0)


def find_count(seen: Observation, params: RegionParams) -> int:
    """How many regions to cut: `params.count`, or as many as depth gives this frame.

    Raises:
        ValueError: more than there are pixels or than 16 bits hold; or depth is needed and not known.
    """
    height, width = seen.image.shape[:2]
    if params.count > min(height * width, LARGEST):
        raise ValueError(
            f"{params.count} regions cannot be cut from {height} x {width} pixels: set count to at most "
            f"{min(height * width, LARGEST)}"
        )
    if params.count == 0 and (seen.inverse_depth is None or seen.intrinsics is None):
        raise ValueError(
            f"source = {params.source!r} with count = 0 takes as many regions as depth gives, and this frame has no "
            "depth: set count"
        )
    return params.count or int(_group_depth(seen, params).max())


def _group_depth(seen: Observation, params: RegionParams) -> np.ndarray:
    seen.need("depth", "inverse_depth", "intrinsics")
    return group_regions(seen.image, seen.inverse_depth, seen.intrinsics, params)


def _cut_slic(seen: Observation, params: RegionParams) -> np.ndarray:
    return cut_slic(seen.image, find_count(seen, params), params.compactness, params.smoothing)


def _cut_grid(seen: Observation, params: RegionParams) -> np.ndarray:
    return cut_grid(seen.image.shape[:2], find_count(seen, params))


def _cut_felzenszwalb(seen: Observation, params: RegionParams) -> np.ndarray:
    return cut_felzenszwalb(seen.image, find_count(seen, params))


def _cut_contours(seen: Observation, params: RegionParams) -> np.ndarray:
    return cut_contours(seen.image, find_count(seen, params))


def _find_truth(seen: Observation, _: RegionParams) -> np.ndarray:
    seen.need("truth", "labels")
    segments = find_true_segments(seen.labels, seen.instances)
    unknown = label(segments == 0, background=0, connectivity=1)
    return np.where(segments > 0, segments, segments.max() + unknown)


def _group_learned(seen: Observation, params: RegionParams) -> np.ndarray:
    seen.need("learned", "clusters", "inverse_depth", "intrinsics")
    count = params.count and find_count(seen, params)
    return group_learned(seen.image, seen.inverse_depth, seen.intrinsics, seen.clusters, params, count)


SOURCES: Mapping[str, Callable[[Observation, RegionParams], np.ndarray]] = {
    "depth": _group_depth,
    "slic": _cut_slic,
    "grid": _cut_grid,
    "felzenszwalb": _cut_felzenszwalb,
    "contours": _cut_contours,
    "truth": _find_truth,
    "learned": _group_learned,
}
"""Name of a source -> a map of ids >= 0 of an observation, under parameters. (H, W)"""


def cut_felzenszwalb(image: np.ndarray, count: int) -> np.ndarray:
    """Graph-based regions, about `count` of them: the scale is searched for, and the nearest number is kept.

    A larger scale gives fewer regions, though not at every step. Numbers fall about as 1 / scale, which gives the next
    guess; once one scale is too small and one too large, it is read off the line between them, in logarithms. A guess
    is always kept a tenth away from both ends of what is left, so that this shrinks.

    Args:
        image: RGB. (H, W, 3) uint8
    Returns:
        (H, W) int64, ids from 0
    Source: Felzenszwalb and Huttenlocher 2004, as in scikit-image.
    """
    pixels = image.shape[0] * image.shape[1]
    smallest = min(SMALLEST, max(1, pixels // (4 * count)))
    (low, high), above, below = np.log(SCALES), None, None  # above, below: ln(number / count) at low, at high
    at, best, missed = np.log(pixels / (FIRST * count)), None, np.inf
    for _ in range(CUTS):
        at = float(np.clip(at, low + 0.1 * (high - low), high - 0.1 * (high - low)))
        ids = felzenszwalb(image, scale=float(np.exp(at)), min_size=smallest)
        got = int(ids.max()) + 1
        if abs(got - count) < missed:
            best, missed = ids, abs(got - count)
        if missed <= NEAR * count:
            break
        off = float(np.log(got / count))
        low, high, above, below = (at, high, off, below) if off > 0 else (low, at, above, off)
        at = at + off if above is None or below is None else low + (high - low) * above / (above - below)
    return best
