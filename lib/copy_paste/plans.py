"""All draws of a training item, before any pixel is touched (CPCDR sec. 3.3; fact sheet sec. 6)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..params import AugmentationParams
from ..views import draw_blurs, draw_colors, draw_views, make_maps
from .sources import Source

SMALLEST_PASTE = 8 / 384  # share of the image height that scaling leaves of either side (released code: 8 of 384 rows)


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
