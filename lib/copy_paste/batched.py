"""A plan executed with torch, all pastes at once, on any device (facts/performance.md sec. 3).

Per pixel of each view: the paste that is nearest there, its source image, and where in it; all pastes write what they
would show into one buffer of depth, and the nearest stays. Then each pixel reads its colour. The work is a few dozen
operations on large tensors, however many pastes there are. Identities equal those of `render`; colours differ by
rounding, where at all.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .layers import KERNEL, Layers
from .sources import Source

FRAGMENTS = 1 << 23  # pixels of pastes that are compared at a time
UNIT = 256  # of OpenCV's kernels for 8-bit images
LAST = (1 << 31) - 1


@dataclass(frozen=True)
class Atlas:
    """Several sources as tensors on one device.

    colors: all levels of all pyramids, pixel by pixel. (pixels, 3) uint8
    level_start: where each level of each source begins. (M, LEVELS)
    level_size: height, width of each level. (LEVELS, 2)
    inverse_depth: (M, H, W) float32; regions: (M, H, W) int32
    """

    colors: Tensor
    level_start: Tensor
    level_size: Tensor
    inverse_depth: Tensor
    regions: Tensor

    def to(self, device: torch.device | str) -> "Atlas":
        """The same on a device; from pinned memory the copy goes on beside what comes after."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "Atlas":
        """The same in memory that a GPU can copy from by itself."""
        return self._map(Tensor.pin_memory)

    def _map(self, change: Callable[[Tensor], Tensor]) -> "Atlas":
        return Atlas(*(change(getattr(self, field.name)) for field in fields(self)))


def make_atlas(sources: Sequence[Source]) -> Atlas:
    """Sources of one size, on the CPU."""
    levels = [level for source in sources for level in source.pyramid]
    counts = np.array([level.shape[0] * level.shape[1] for level in levels])
    start = (np.cumsum(counts) - counts).reshape(len(sources), -1)
    colors = np.concatenate([level[..., :3].reshape(-1, 3) for level in levels])
    size = np.array([level.shape[:2] for level in sources[0].pyramid])
    depth = np.stack([s.inverse_depth for s in sources])
    regions = np.stack([s.regions for s in sources]).astype(np.int32)
    return Atlas(*map(torch.from_numpy, (colors, start, size, depth, regions)))


def _list_kernels(sigmas: np.ndarray, size: int = KERNEL) -> np.ndarray:
    """OpenCV's Gaussian kernels for 8-bit images: whole 256ths; rounding errors are passed on inwards. (N, size)"""
    kernels = np.zeros((len(sigmas), size), np.int64)
    kernels[:, size // 2] = UNIT
    for row in np.flatnonzero(sigmas > 0):
        weights, error = cv2.getGaussianKernel(size, float(sigmas[row]))[:, 0] * UNIT, 0.0
        for i in range(size // 2):
            exact = weights[i] + error
            kernels[row, [i, -1 - i]] = round(exact)
            error = exact - round(exact)
        kernels[row, size // 2] = UNIT - 2 * kernels[row, : size // 2].sum()
    return kernels


def _blur(images: Tensor, kernels: Tensor) -> Tensor:
    """Each image with its own kernel, as OpenCV does it in whole numbers. (V, H, W, 3) uint8, (V, size) -> the same"""
    edge, weights = kernels.shape[1] // 2, kernels.to(torch.int32)[:, :, None, None, None]
    padded = F.pad(images.permute(0, 3, 1, 2).float(), (edge,) * 4, mode="reflect").permute(0, 2, 3, 1).to(torch.int32)
    height, width = images.shape[1:3]
    across = sum(weights[:, i] * padded[:, :, i : i + width] for i in range(2 * edge + 1))
    whole = sum(weights[:, i] * across[:, i : i + height] for i in range(2 * edge + 1))
    return ((whole + UNIT * UNIT // 2) // (UNIT * UNIT)).to(torch.uint8)


class BatchedViews:
    """The views of a plan on one device.

    Args:
        atlas: the plan's sources.
        layers: the plan's placements, from `lay_out`.
    """

    def __init__(self, atlas: Atlas, layers: Layers) -> None:
        device = atlas.colors.device
        self.atlas, self.views, self.size = atlas, len(layers.view_blurs), tuple(atlas.regions.shape[1:])

        def bring(values: np.ndarray) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(values)).to(device, non_blocking=True)

        self.source, self.view, self.region, self.scale = map(
            bring, (layers.source, layers.view, layers.region, layers.scale)
        )
        self.rows, self.columns = bring(layers.rows), bring(layers.columns)
        self.source_rows, self.source_columns = bring(layers.source_rows), bring(layers.source_columns)
        self.row_start, self.column_start = bring(layers.row_start), bring(layers.column_start)
        self.level = bring(layers.level)
        self.level_from_view = bring(layers.level_from_view.astype(np.float32))  # as OpenCV has it
        self.colors = bring(layers.colors.astype(np.float32))
        self.kernels, self.view_kernels = bring(_list_kernels(layers.blurs)), bring(_list_kernels(layers.view_blurs))
        self.seam_kernels = bring(_list_kernels(np.ones(self.views), 3))
        self.blurred = bring(layers.blurs > 0)
        self.areas = layers.rows[:, 1] * layers.columns[:, 1]  # stays here: says how long the tensors are

    def _compare(self, first: int, last: int) -> tuple[Tensor, Tensor]:
        """Of placements first..last - 1: pixels that they may fill, flat over all views, and depth with name there."""
        areas = torch.from_numpy(self.areas[first:last]).to(self.rows.device)
        total = int(self.areas[first:last].sum())
        own = torch.arange(first, last, device=areas.device)
        q = torch.repeat_interleave(own, areas, output_size=total)
        place = torch.arange(total, device=areas.device) - (areas.cumsum(0) - areas)[q - first]
        width = self.columns[q, 1]
        i, j = place // width, place % width
        row, column = self.source_rows[self.row_start[q] + i], self.source_columns[self.column_start[q] + j]
        inside, m = (row >= 0) & (column >= 0), self.source[q]
        region, depth = (a[m, row, column] for a in (self.atlas.regions, self.atlas.inverse_depth))
        inside &= (region == self.region[q]) | (self.region[q] == 0)
        depth = depth * self.scale[q]
        # of floats that are not negative the bits are in the same order: depth first, at equal depth the lowest name
        name = (q - self.views + 1).clamp(min=0)
        key = (depth.view(torch.int32).long() << 32) | (LAST - name)
        pixel = (self.view[q] * self.size[0] + self.rows[q, 0] + i) * self.size[1] + self.columns[q, 0] + j
        return pixel, torch.where(inside, key, 0)

    def stack_layers(self) -> Tensor:
        """The nearest layer at each pixel: paste 1..P, 0 = background. (V, H, W) int64"""
        nearest = torch.zeros(self.views * self.size[0] * self.size[1], dtype=torch.int64, device=self.rows.device)
        ends = np.cumsum(self.areas)
        first = 0
        while first < len(self.areas):
            before = ends[first - 1] if first else 0
            last = max(int(np.searchsorted(ends, before + FRAGMENTS, side="right")), first + 1)
            nearest.scatter_reduce_(0, *self._compare(first, last), reduce="amax")
            first = last
        return (LAST - (nearest & LAST)).view(self.views, *self.size)

    def _read(self, q: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Colours of placements q at pixels (x, y) of their views, jittered. All (N,) -> (N, 3) uint8"""
        maps, level, m = self.level_from_view[q], self.level[q], self.source[q]
        u, v = maps[:, 0, 0] * x + maps[:, 0, 2], maps[:, 1, 1] * y + maps[:, 1, 2]
        height, width = self.atlas.level_size[level].unbind(1)
        start, left, top = self.atlas.level_start[m, level], u.floor(), v.floor()
        right, low = (u - left)[:, None], (v - top)[:, None]
        columns = [(left.long() + k).clamp(min=0).minimum(width - 1) for k in (0, 1)]
        rows = [(top.long() + k).clamp(min=0).minimum(height - 1) * width + start for k in (0, 1)]
        corners = [[self.atlas.colors[row + column].float() for column in columns] for row in rows]
        over, under = (a + (b - a) * right for a, b in corners)
        color = (over + (under - over) * low).round()
        jitter = self.colors[q]
        return ((jitter[:, :, :3] * color[:, None]).sum(2) + jitter[:, :, 3]).round().clamp(0, 255).to(torch.uint8)

    def color(self, pastes: Tensor) -> Tensor:
        """Colours of all views, given the nearest layers. (V, H, W) -> (V, H, W, 3) uint8"""
        device = pastes.device
        view, y, x = torch.meshgrid(*(torch.arange(n, device=device) for n in pastes.shape), indexing="ij")
        q = torch.where(pastes > 0, pastes + self.views - 1, view).flatten()
        x, y = x.flatten(), y.flatten()
        colors = self._read(q, x, y)
        some = self.blurred[q].nonzero()[:, 0]
        q, x, y = q[some], x[some], y[some]
        kernel, reach = self.kernels[q], KERNEL // 2
        total = torch.zeros(len(q), 3, dtype=torch.int64, device=device)
        for i in range(KERNEL):
            for j in range(KERNEL):
                weight = kernel[:, i] * kernel[:, j]
                total += weight[:, None] * self._read(q, x + j - reach, y + i - reach)
        colors[some] = ((total + UNIT * UNIT // 2) // (UNIT * UNIT)).to(torch.uint8)
        images, known = colors.view(*pastes.shape, 3), pastes[:, None].float()
        seam = F.max_pool2d(known, 3, 1, 1) != -F.max_pool2d(-known, 3, 1, 1)
        images = torch.where(seam[:, 0, :, :, None], _blur(images, self.seam_kernels), images)
        return _blur(images, self.view_kernels)


def make_views(atlas: Atlas, layers: Layers) -> tuple[Tensor, Tensor]:
    """Colours of all views, (V, H, W, 3) uint8, and the paste that each pixel shows, (V, H, W) int64."""
    views = BatchedViews(atlas, layers)
    pastes = views.stack_layers()
    return views.color(pastes), pastes
