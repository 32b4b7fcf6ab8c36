"""Depth regions pasted between images: drawing a plan, and executing it (CPCDR sec. 3.3; fact sheet sec. 6).

Masks are hard, so a composite is, at each pixel, the nearest of its layers, whatever the order; equal depths go to
the background, then to the lowest paste. Colours follow from that map; seams are softened afterwards and never reach
the depth. (The released code blends depth at seams, so its later pastes depend on the earlier ones.)
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import cv2
import numpy as np
from scipy import ndimage

from .params import AugmentationParams
from .views import Item, compose_maps, draw_blurs, draw_colors, draw_views, invert_maps, make_maps, nearest

LEVELS = 4  # of the image pyramid; a paste is rarely below 1/8 of its source's size
SMALLEST_PASTE = 8 / 384  # share of the image height that scaling leaves of either side (released code: 8 of 384 rows)


@dataclass(frozen=True)
class Source:
    """An image to take regions from, with what all its pastes share.

    pyramid: the image and smaller copies, each half the last, with an unused channel: OpenCV warps four channels in
        half the time of three. LEVELS times (h, w, 4) uint8
    regions: 1..R, 0 = none. (H, W) uint16
    inverse_depth: not negative; 0 = no value, which hides nothing. (H, W) float32
    boxes: top, left, height, width of each region in pixels; row 0 the image. (R + 1, 4)
    means: mean RGB of each region; row 0 the image's. (R + 1, 3)
    """

    pyramid: tuple[np.ndarray, ...]
    regions: np.ndarray
    inverse_depth: np.ndarray
    boxes: np.ndarray
    means: np.ndarray


def prepare_source(image: np.ndarray, regions: np.ndarray, inverse_depth: np.ndarray) -> Source:
    """Everything about one image that stays the same between items. Arguments as in `Source`; image (H, W, 3) uint8.

    Raises:
        ValueError: sizes differ, the image is not uint8, or the inverse depth is negative or not finite.
    """
    if not image.shape == (*regions.shape, 3) == (*inverse_depth.shape, 3):
        sizes = f"image {image.shape}, regions {regions.shape}, inverse depth {inverse_depth.shape}"
        raise ValueError(f"{sizes}: all three must have one height and width, so run 01 and 02 at one size")
    if image.dtype != np.uint8:
        raise ValueError(f"the image must be uint8 RGB, not {image.dtype}")
    if not (np.isfinite(inverse_depth).all() and inverse_depth.min() >= 0):
        raise ValueError("inverse depth must be finite and not negative: write 0 where there is no value")
    pyramid = [cv2.cvtColor(image, cv2.COLOR_RGB2RGBA)]
    for _ in range(LEVELS - 1):
        height, width = pyramid[-1].shape[:2]
        pyramid.append(cv2.resize(pyramid[-1], ((width + 1) // 2, (height + 1) // 2), interpolation=cv2.INTER_AREA))
    boxes = np.zeros((int(regions.max()) + 1, 4), np.intp)
    boxes[0, 2:] = regions.shape
    for region, found in enumerate(ndimage.find_objects(regions.astype(np.intp)), start=1):
        if found is not None:
            boxes[region] = *(part.start for part in found), *(part.stop - part.start for part in found)
    flat, pixels = regions.ravel(), np.maximum(np.bincount(regions.ravel()), 1)
    means = np.stack([np.bincount(flat, image[..., c].ravel()) / pixels for c in range(3)], axis=1)
    means[0] = image.mean(axis=(0, 1))
    return Source(tuple(pyramid), regions, inverse_depth.astype(np.float32), boxes, means)


@dataclass(frozen=True)
class Plan:
    """All draws of one item, before any pixel is touched: P pastes into V = 2M composites of M sources.

    Composite k has source k % M as its background; 0..M-1 are round 1, M..2M-1 round 2.

    source, region, target: of each paste: source image, region of that source, composite. (P,)
    scale: how many times larger, and nearer, the region becomes. (P,)
    target_from_source, colors, blurs: of each paste: map of pixels (P, 2, 3), affine colour map (P, 3, 4), standard
        deviation of a blur in pixels, 0 = none (P,); view_...: the same of each composite as a whole. (V, ...)
    """

    source: np.ndarray
    region: np.ndarray
    target: np.ndarray
    scale: np.ndarray
    target_from_source: np.ndarray
    colors: np.ndarray
    blurs: np.ndarray
    view_from_composite: np.ndarray
    view_colors: np.ndarray
    view_blurs: np.ndarray

    def keep_pastes(self, chosen: np.ndarray) -> "Plan":
        """The same plan with only some of its pastes: a mask or an index array."""
        names = ("source", "region", "target", "scale", "target_from_source", "colors", "blurs")
        return replace(self, **{name: getattr(self, name)[chosen] for name in names})

    def without_views(self) -> "Plan":
        """The same pastes, in composites that are shown as they are."""
        maps, colors = (np.tile(np.eye(n, m), (len(self.view_blurs), 1, 1)) for n, m in ((2, 3), (3, 4)))
        return replace(self, view_from_composite=maps, view_colors=colors, view_blurs=0 * self.view_blurs)


def select_regions(source: Source, recipe: AugmentationParams) -> np.ndarray:
    """Ids of the regions worth pasting: neither tiny, nor thin, nor almost the whole image (fact sheet sec. 6). (n,)

    The limits are shares of the image height, rounded to pixels; at 384 rows they are the released code's.
    """
    height, width = source.regions.shape
    h, w = source.boxes.T[2:]
    shares = recipe.min_region_height, recipe.min_region_width, recipe.min_region_side
    low, thin, small = (max(round(share * height), 1) for share in shares)
    keep = (h >= low) & (w >= thin) & ((h >= small) | (w >= small)) & ((h <= height - low) | (w <= width - low))
    keep[0] = False
    return np.flatnonzero(keep)


def draw_placements(
    recipe: AugmentationParams, boxes: np.ndarray, size: tuple[int, int], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Scale (P,) and target_from_source (P, 2, 3) of each paste (fact sheet sec. 6).

    Scales are uniform in relative distance, 1 / scale, within limits: at most twice the image, no side below
    `SMALLEST_PASTE`, a row still in view; 1 where these leave no choice. They turn about the horizon, the middle row,
    as for things that come nearer along the ground. Then: any column, mirrored or not, and up or down by at most
    `height_threshold` of the image height. boxes: top, left, height, width (P, 4); size: (H, W).
    """
    (top, left, h, w), (height, width) = boxes.T.astype(float), size
    middle, bottom, (far, shift, across, flip) = height // 2, top + h - 1, rng.random((4, len(boxes)))
    above = np.where(bottom < middle, middle / np.maximum(middle - bottom, 1), np.inf)
    below = np.where(top > middle, (height - middle - 1) / np.maximum(top - middle, 1), np.inf)
    largest = np.min([0 * h + recipe.max_scale, 2 * height / h, 2 * width / w, above, below], axis=0)
    smallest = np.maximum(recipe.min_scale, SMALLEST_PASTE * height / np.minimum(h, w))
    scale = np.where(largest > smallest, 1 / (far / smallest + (1 - far) / largest), 1.0)
    ideal = (top - height / 2) * scale + height / 2  # upper edge of the box, counted from the image's upper edge
    moved = ideal + recipe.height_threshold * height * (2 * shift - 1)
    # a pixel stays inside; clamped before the map is recorded, and never beyond the ideal row
    new_top = np.clip(moved, np.minimum(ideal, 1 - h * scale), np.maximum(ideal, height - 1))
    new_left = 1 - w * scale + across * (width + w * scale - 2)
    mirrored = flip < recipe.paste_flip_probability
    scale_x = np.where(mirrored, -scale, scale)
    start = np.where(mirrored, new_left + w * scale, new_left)  # where the left edge of the box goes
    return scale, make_maps(scale_x, scale, start - 0.5 - scale_x * (left - 0.5), new_top - 0.5 - scale * (top - 0.5))


def draw_plan(sources: Sequence[Source], recipe: AugmentationParams, rng: np.random.Generator) -> Plan:
    """Draw the pastes and views of one item (CPCDR sec. 3.3).

    In each of two rounds every region of all M images is repeated `copies` times, shuffled, and dealt to the M
    backgrounds in turn. `copies` (0, 0) gives the same views without a paste (M = 0 of Table 4).

    Raises:
        ValueError: no source, or sources of different sizes.
    """
    sizes = sorted({s.regions.shape for s in sources})
    if len(sizes) != 1:
        raise ValueError(f"an item needs at least one source, and all of one size; sizes here: {sizes}")
    size, count = sizes[0], len(sources)
    views = draw_views(recipe, 2 * count, size, rng)
    view_colors = draw_colors(recipe, np.array([s.means[0] for s in sources] * 2), rng)
    view_blurs = draw_blurs(recipe, 2 * count, size[0], rng)
    pairs = [(m, region) for m, s in enumerate(sources) for region in select_regions(s, recipe)]
    pairs = np.array(pairs, np.intp).reshape(-1, 2)
    rounds = [rng.permutation(np.repeat(pairs, copies, axis=0)) for copies in recipe.copies]
    target = np.concatenate([np.arange(len(dealt)) % count + r * count for r, dealt in enumerate(rounds)])
    source, region = np.concatenate(rounds).T
    row = np.cumsum([0, *(len(s.boxes) for s in sources)])[source] + region
    boxes, means = (np.concatenate([getattr(s, name) for s in sources])[row] for name in ("boxes", "means"))
    scale, maps = draw_placements(recipe, boxes, size, rng)
    colors, blurs = draw_colors(recipe, means, rng), draw_blurs(recipe, len(scale), size[0], rng)
    return Plan(source, region, target, scale, maps, colors, blurs, views, view_colors, view_blurs)


def _index_axis(maps: np.ndarray, axis: int, box: np.ndarray, length: int) -> tuple[list, list, list]:
    """Along one axis (0 rows, 1 columns): the pixels of its view that each placement may fill, and what they show.

    maps: source_from_view (Q, 2, 3); box: first pixel and number of pixels in the source (Q, 2). Returns the first
    pixel, one past the last, and for those between the index into the box with a border of one pixel.
    """
    scale, shift, (low, count) = maps[:, 1 - axis, 1 - axis], maps[:, 1 - axis, 2], box.T
    ends = (np.stack([low - 0.5, low + count - 0.5]) - shift) / scale
    first = np.clip(np.floor(ends.min(axis=0)), 0, length).astype(np.intp)
    stop = np.clip(np.ceil(ends.max(axis=0)) + 1, first, length).astype(np.intp)
    begin = np.concatenate([[0], np.cumsum(stop - first)])
    row = np.repeat(np.arange(len(first)), stop - first)
    pixel = np.arange(len(row)) + (first - begin[:-1])[row]
    index = np.clip(nearest(scale[row] * pixel + shift[row]) - low[row], -1, count[row]) + 1
    return first.tolist(), stop.tolist(), [index[a:b] for a, b in pairwise(begin.tolist())]


class _Renderer:
    """One plan over its sources, rendered view by view straight from the sources: each pixel is resampled once."""

    def __init__(self, sources: Sequence[Source], plan: Plan, source: np.ndarray, maps: np.ndarray) -> None:
        self.sources, self.plan, self.size = sources, plan, sources[0].regions.shape
        self.views, self.source = 2 * len(sources), source.tolist()
        row = np.cumsum([0, *(len(s.boxes) for s in sources)])[source]
        row[self.views :] += plan.region
        boxes = np.concatenate([s.boxes for s in sources])[row]
        self.top, self.bottom, self.rows = _index_axis(maps, 0, boxes[:, [0, 2]], self.size[0])
        self.left, self.right, self.columns = _index_axis(maps, 1, boxes[:, [1, 3]], self.size[1])
        shrink = np.log2(np.abs(maps[:, 0, 0]) * maps[:, 1, 1]) / 2  # the nearest level: 0.7 to 1.4 times its size
        self.level = np.clip(np.round(shrink), 0, LEVELS - 1).astype(int)
        shape = np.array([level.shape[1::-1] for level in sources[0].pyramid])[self.level] / self.size[::-1]
        self.level_from_view = shape[..., None] * maps
        self.level_from_view[..., 2] += 0.5 * shape - 0.5
        self.colors = np.insert(plan.colors, 3, 0, axis=2)  # for four channels
        self.pastes: list[list[int]] = [[] for _ in range(self.views)]  # that may be seen
        for q, view in enumerate(plan.target.tolist(), start=self.views):
            if self.top[q] < self.bottom[q] and self.left[q] < self.right[q]:
                self.pastes[view].append(q)
        self.masked: dict[tuple[int, int], np.ndarray] = {}

    def mask_depth(self, m: int, region: int) -> np.ndarray:
        """Inverse depth of one region over its box with a border; -1, which hides nothing, elsewhere. (h+2, w+2)"""
        if (m, region) not in self.masked:
            source, (top, left, h, w) = self.sources[m], self.sources[m].boxes[region]
            part = slice(top, top + h), slice(left, left + w)
            self.masked[m, region] = np.full((h + 2, w + 2), -1, np.float32)
            inside = (source.regions[part] == region).view(np.uint8)
            cv2.copyTo(source.inverse_depth[part], inside, self.masked[m, region][1:-1, 1:-1])
        return self.masked[m, region]

    def stack_layers(self, view: int) -> np.ndarray:
        """The nearest layer at each pixel: paste 1..P, 0 = background. (H, W) uint16"""
        whole = np.pad(self.sources[self.source[view]].inverse_depth, 1, mode="edge")
        depth = whole.take(self.rows[view], axis=0).take(self.columns[view], axis=1)
        shown, stamp = np.zeros(self.size, np.uint16), np.empty(self.size, np.uint16)
        for q in self.pastes[view]:
            p = q - self.views
            there = slice(self.top[q], self.bottom[q]), slice(self.left[q], self.right[q])
            patch = self.mask_depth(self.source[q], int(self.plan.region[p]))
            patch = patch.take(self.rows[q], axis=0).take(self.columns[q], axis=1)
            patch *= np.float32(self.plan.scale[p])
            closer = (patch > depth[there]).view(np.uint8)  # strictly: at equal depth what is there stays
            label = stamp[: patch.shape[0], : patch.shape[1]]
            label[:] = p + 1
            cv2.copyTo(patch, closer, depth[there])
            cv2.copyTo(label, closer, shown[there])
        return shown

    def warp_colors(self, q: int, left: int, top: int, width: int, height: int) -> np.ndarray:
        """The source's colours over a rectangle of the view, from the level of about that size. (height, width, 4)"""
        (a, _, c), (_, e, f) = self.level_from_view[q].tolist()
        matrix = np.array([[a, 0, a * left + c], [0, e, e * top + f]])
        level = self.sources[self.source[q]].pyramid[self.level[q]]
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(level, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)

    def color_view(self, view: int, shown: np.ndarray) -> np.ndarray:
        """The view's colours, given the nearest layers. (H, W, 3) uint8"""
        image = cv2.cvtColor(self.warp_colors(view, 0, 0, *self.size[::-1]), cv2.COLOR_RGBA2RGB)
        for q in self.pastes[view]:
            p = q - self.views
            mask = (shown[self.top[q] : self.bottom[q], self.left[q] : self.right[q]] == p + 1).view(np.uint8)
            x, y, w, h = cv2.boundingRect(mask)
            if w:
                left, top = self.left[q] + x, self.top[q] + y
                patch = cv2.transform(self.warp_colors(q, left, top, w, h), self.colors[p])
                cv2.copyTo(
                    _blur(patch, self.plan.blurs[p]), mask[y : y + h, x : x + w], image[top : top + h, left : left + w]
                )
        image = cv2.transform(soften_seams(image, shown), self.plan.view_colors[view])
        return _blur(image, self.plan.view_blurs[view])


def _blur(image: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(image, (5, 5), sigma) if sigma > 0 else image  # 5: released code


def soften_seams(image: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Blur the pixels beside a change of paste, 3 x 3, sigma 1. (H, W, 3) uint8, (H, W) uint16 -> (H, W, 3)"""
    seam = cv2.morphologyEx(shown, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    return cv2.copyTo(cv2.GaussianBlur(image, (3, 3), 1.0), seam.view(np.uint8), image)


def compose(sources: Sequence[Source], plan: Plan) -> Item:
    """Execute a plan: which layer is nearest at each pixel of each view, and its colours; at most 65,535 pastes."""
    count, size = 2 * len(sources), sources[0].regions.shape
    if len(plan.scale) > 65535:
        raise ValueError(f"{len(plan.scale)} pastes, but an item holds at most 65,535: lower copies or images")
    view = np.concatenate([np.arange(count), plan.target])
    source = np.concatenate([np.arange(count) % len(sources), plan.source])
    first_region = np.cumsum([0, *(len(s.boxes) - 1 for s in sources)])
    region = np.concatenate([np.zeros(count, np.intp), first_region[plan.source] + plan.region])
    maps = np.concatenate([np.tile(np.eye(2, 3), (count, 1, 1)), plan.target_from_source])
    maps = compose_maps(plan.view_from_composite[view], maps)
    renderer = _Renderer(sources, plan, source, invert_maps(maps))
    pastes, images = np.empty((count, *size), np.uint16), np.empty((count, *size, 3), np.uint8)
    for k in range(count):
        pastes[k] = renderer.stack_layers(k)
        images[k] = renderer.color_view(k, pastes[k])
    regions = np.stack([s.regions for s in sources])
    return Item(images, pastes, source, view, region, maps, invert_maps(maps), regions, first_region)


def make_item(sources: Sequence[Source], recipe: AugmentationParams, rng: np.random.Generator) -> Item:
    """2M mixed images of M sources, with the origin of all their pixels: one training item (CPCDR sec. 3.3)."""
    return compose(sources, draw_plan(sources, recipe, rng))
