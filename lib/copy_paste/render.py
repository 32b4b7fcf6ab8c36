"""A plan executed with OpenCV, paste by paste: each pixel of a view is resampled once, straight from its source."""

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np

from ..params import AugmentationParams
from ..views import Item
from .layers import KERNEL, Layers, lay_out
from .plans import Plan, draw_plan
from .sources import Source


class _Renderer:
    def __init__(self, sources: Sequence[Source], layers: Layers) -> None:
        self.sources, self.size, self.views = sources, sources[0].regions.shape, 2 * len(sources)
        self.source, self.region, self.blurs = layers.source.tolist(), layers.region.tolist(), layers.blurs.tolist()
        self.top, self.left = layers.rows[:, 0].tolist(), layers.columns[:, 0].tolist()
        self.bottom, self.right = layers.rows.sum(axis=1).tolist(), layers.columns.sum(axis=1).tolist()
        self.rows = self._cut(layers, layers.source_rows, layers.rows, layers.row_start, 0)
        self.columns = self._cut(layers, layers.source_columns, layers.columns, layers.column_start, 1)
        self.scale, self.level, self.level_from_view = layers.scale, layers.level, layers.level_from_view
        self.colors, self.view_blurs = np.insert(layers.colors, 3, 0, axis=2), layers.view_blurs  # for four channels
        self.pastes: list[list[int]] = [[] for _ in range(self.views)]  # that may be seen
        for q, view in enumerate(layers.view[self.views :].tolist(), start=self.views):
            if self.top[q] < self.bottom[q] and self.left[q] < self.right[q]:
                self.pastes[view].append(q)
        self.masked: dict[tuple[int, int], np.ndarray] = {}

    @staticmethod
    def _cut(layers: Layers, index: np.ndarray, extent: np.ndarray, start: np.ndarray, axis: int) -> list:
        """Index of each placement's pixels into its region's box with a border of one pixel, which hides nothing."""
        first = np.repeat(layers.boxes[:, axis], extent[:, 1])
        inside = np.where(index >= 0, index - first + 1, 0)
        return [inside[a:b] for a, b in pairwise([*start.tolist(), len(inside)])]

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
        behind = self.sources[self.source[view]].inverse_depth
        depth = behind.take(self.rows[view] - 1, axis=0).take(self.columns[view] - 1, axis=1)
        shown, stamp = np.zeros(self.size, np.uint16), np.empty(self.size, np.uint16)
        for q in self.pastes[view]:
            there = slice(self.top[q], self.bottom[q]), slice(self.left[q], self.right[q])
            patch = self.mask_depth(self.source[q], self.region[q])
            patch = patch.take(self.rows[q], axis=0).take(self.columns[q], axis=1)
            patch *= self.scale[q]
            closer = (patch > depth[there]).view(np.uint8)  # strictly: at equal depth what is there stays
            label = stamp[: patch.shape[0], : patch.shape[1]]
            label[:] = q - self.views + 1
            cv2.copyTo(patch, closer, depth[there])
            cv2.copyTo(label, closer, shown[there])
        return shown

    def warp_colors(self, q: int, left: int, top: int, width: int, height: int) -> np.ndarray:
        """The placement's colours over a rectangle of the view, from the level of about that size. (h, w, 3)"""
        (a, _, c), (_, e, f) = self.level_from_view[q].tolist()
        matrix = np.array([[a, 0, a * left + c], [0, e, e * top + f]])
        level = self.sources[self.source[q]].pyramid[self.level[q]]
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        warped = cv2.warpAffine(level, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        return cv2.transform(warped, self.colors[q])

    def color_view(self, view: int, shown: np.ndarray) -> np.ndarray:
        """The view's colours, given the nearest layers. (H, W, 3) uint8"""
        image = self.warp_colors(view, 0, 0, *self.size[::-1])
        for q in self.pastes[view]:
            label = q - self.views + 1
            mask = (shown[self.top[q] : self.bottom[q], self.left[q] : self.right[q]] == label).view(np.uint8)
            x, y, w, h = cv2.boundingRect(mask)
            if w:
                left, top = self.left[q] + x, self.top[q] + y
                patch = self._blurred(q, left, top, w, h) if self.blurs[q] else self.warp_colors(q, left, top, w, h)
                cv2.copyTo(patch, mask[y : y + h, x : x + w], image[top : top + h, left : left + w])
        return _blur(soften_seams(image, shown), self.view_blurs[view])

    def _blurred(self, q: int, left: int, top: int, width: int, height: int) -> np.ndarray:
        """As `warp_colors`, blurred: with what lies around the rectangle, not with its mirror image."""
        edge = KERNEL // 2
        whole = self.warp_colors(q, left - edge, top - edge, width + 2 * edge, height + 2 * edge)
        return _blur(whole, self.blurs[q])[edge:-edge, edge:-edge]


def _blur(image: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(image, (KERNEL, KERNEL), sigma) if sigma > 0 else image


def soften_seams(image: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Blur the pixels beside a change of paste, 3 x 3, sigma 1. (H, W, 3) uint8, (H, W) uint16 -> (H, W, 3)"""
    seam = cv2.morphologyEx(shown, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    return cv2.copyTo(cv2.GaussianBlur(image, (3, 3), 1.0), seam.view(np.uint8), image)


def make_views(sources: Sequence[Source], layers: Layers) -> tuple[np.ndarray, np.ndarray]:
    """Colours of all views, (V, H, W, 3) uint8, and the paste that each pixel shows, (V, H, W) uint16."""
    count, size = 2 * len(sources), sources[0].regions.shape
    renderer = _Renderer(sources, layers)
    pastes, images = np.empty((count, *size), np.uint16), np.empty((count, *size, 3), np.uint8)
    for k in range(count):
        pastes[k] = renderer.stack_layers(k)
        images[k] = renderer.color_view(k, pastes[k])
    return images, pastes


def compose(sources: Sequence[Source], plan: Plan) -> Item:
    """Execute a plan: which layer is nearest at each pixel of each view, and its colours; at most 65,535 pastes."""
    layers = lay_out(sources, plan)
    images, pastes = make_views(sources, layers)
    return Item(
        images=images,
        pastes=pastes,
        source=layers.source,
        view=layers.view,
        region=layers.item_region,
        view_from_source=layers.view_from_source,
        source_from_view=layers.source_from_view,
        source_regions=np.stack([s.regions for s in sources]),
        first_region=layers.first_region,
    )


def make_item(sources: Sequence[Source], recipe: AugmentationParams, rng: np.random.Generator) -> Item:
    """2M mixed images of M sources, with the origin of all their pixels: one training item (CPCDR sec. 3.3)."""
    return compose(sources, draw_plan(sources, recipe, rng))
