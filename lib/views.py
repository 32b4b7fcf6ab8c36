"""Whole-image views of composites, where each of their pixels comes from, and positives (CPCDR sec. 3.3-3.4).

All maps here scale, shift and mirror along the axes. A (..., 2, 3) matrix `a_from_b` takes pixels (x, y) of b to
those of a; pixel (0, 0) is the centre of the top-left pixel, and the pixel nearest to x is floor(x + 0.5).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .params import AugmentationParams

LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
YIQ = np.array([LUMA, [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])  # hue turns I against Q
BLUR_SIGMA = (0.1 / 384, 2.0 / 384)  # share of the image height (released code: 0.1 to 2 pixels of 384 rows)
Positives = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Item:
    """Views of composites and where all their pixels come from. V views of M sources, P pastes.

    A *placement* is a picture put into a view: row k < V of the tables is the background of view k, row V - 1 + i is
    paste i = 1..P.

    images: (V, H, W, 3) uint8
    pastes: paste shown by each pixel, 0 = background. (V, H, W) uint16
    source, view: source image of each placement, and the view it is in. (V + P,)
    region: region of each placement, counted over all sources from 1; 0 for backgrounds. (V + P,)
    view_from_source, source_from_view: maps of each placement. (V + P, 2, 3)
    source_regions: regions of each source, 0 = none. (M, H, W)
    first_region: region r of source m is region first_region[m] + r of the item; last the total. (M + 1,)
    """

    images: np.ndarray
    pastes: np.ndarray
    source: np.ndarray
    view: np.ndarray
    region: np.ndarray
    view_from_source: np.ndarray
    source_from_view: np.ndarray
    source_regions: np.ndarray
    first_region: np.ndarray


def make_maps(scale_x: np.ndarray, scale_y: np.ndarray, shift_x: np.ndarray, shift_y: np.ndarray) -> np.ndarray:
    """Maps (x, y) -> (scale_x x + shift_x, scale_y y + shift_y). Four (N,) -> (N, 2, 3) float64"""
    maps = np.zeros((len(scale_x), 2, 3))
    maps[:, 0, 0], maps[:, 0, 2], maps[:, 1, 1], maps[:, 1, 2] = scale_x, shift_x, scale_y, shift_y
    return maps


def compose_maps(a_from_b: np.ndarray, b_from_c: np.ndarray) -> np.ndarray:
    """a_from_c. Both (N, 2, 3)"""
    a_from_c = a_from_b[..., :2] @ b_from_c
    a_from_c[..., 2] += a_from_b[..., 2]
    return a_from_c


def invert_maps(a_from_b: np.ndarray) -> np.ndarray:
    """b_from_a. (N, 2, 3)"""
    scale_x, scale_y = a_from_b[:, 0, 0], a_from_b[:, 1, 1]
    return make_maps(1 / scale_x, 1 / scale_y, -a_from_b[:, 0, 2] / scale_x, -a_from_b[:, 1, 2] / scale_y)


def map_points(a_from_b: Any, x: Any, y: Any) -> tuple[Any, Any]:
    """Pixels (x, y) of b in pixels of a; arrays or tensors. (..., 2, 3), (...), (...) -> (...), (...)"""
    return a_from_b[..., 0, 0] * x + a_from_b[..., 0, 2], a_from_b[..., 1, 1] * y + a_from_b[..., 1, 2]


def nearest(x: Any) -> Any:
    """Index of the pixel that holds a coordinate; halves go up. Arrays or tensors."""
    return torch.floor(x + 0.5).long() if isinstance(x, Tensor) else np.floor(x + 0.5).astype(np.intp)


def draw_colors(recipe: AugmentationParams, means: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Colour jitter and graying as affine maps of RGB: brightness, contrast, saturation, hue, gray, in this order.

    A linear stand-in for the released code's jitter (same ranges; there the order is random and hue turns in HSV).
    RGB in 0..255 becomes `map @ (r, g, b, 1)`; contrast turns about the gray of `means`. (N, 3) -> (N, 3, 4)
    """
    count, gray = len(means), np.outer(np.ones(3), LUMA)
    strength = np.array([recipe.brightness, recipe.contrast, recipe.saturation])
    brightness, contrast, saturation = (1 + strength * rng.uniform(-1, 1, (count, 3))).T[..., None, None]
    angle = 2 * np.pi * recipe.hue * rng.uniform(-1, 1, (count, 1, 1))
    jittered, grayed = rng.random((2, count, 1, 1))
    turn = np.linalg.inv(YIQ) @ np.array([[0, 0, 0], [0, 0, -1], [0, 1, 0]]) @ YIQ
    hue = gray + np.cos(angle) * (np.eye(3) - gray) + np.sin(angle) * turn
    linear = brightness * contrast * (hue @ (saturation * np.eye(3) + (1 - saturation) * gray))
    # saturation and hue keep grays, so contrast's gray offset passes through them
    offset = (1 - contrast) * brightness * (means @ LUMA)[:, None, None] * np.ones((3, 1))
    colors = np.concatenate([linear, offset], axis=2)
    colors = np.where(jittered < recipe.color_probability, colors, np.eye(3, 4))
    return np.where(grayed < recipe.gray_probability, gray @ colors, colors)


def draw_blurs(recipe: AugmentationParams, count: int, height: int, rng: np.random.Generator) -> np.ndarray:
    """Standard deviation of a Gaussian blur in pixels of an image of `height` rows, 0 = none. (N,) float64"""
    sigma = height * rng.uniform(*BLUR_SIGMA, count)
    return np.where(rng.random(count) < recipe.blur_probability, sigma, 0.0)


def draw_views(recipe: AugmentationParams, count: int, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A random enlargement, crop and flip of each composite: view_from_composite (fact sheet sec. 6).

    The area grows up to `max_zoom` times, the aspect changes up to `max_stretch` times either way, and neither side
    shrinks: a view lies wholly inside its composite. size (H, W) of both -> (N, 2, 3)
    """
    height, width = size
    zoom, aspect, left, top, flip = rng.random((5, count))
    zoom = 1 + zoom * (recipe.max_zoom - 1)
    aspect = np.exp((2 * aspect - 1) * np.minimum(np.log(zoom), np.log(recipe.max_stretch)))
    scale_x, scale_y = np.sqrt(zoom * aspect), np.sqrt(zoom / aspect)
    shift_x = (scale_x - 1) * (0.5 - left * width)
    shift_y = (scale_y - 1) * (0.5 - top * height)
    mirrored = flip < recipe.view_flip_probability
    shift_x = np.where(mirrored, width - 1 - shift_x, shift_x)
    return make_maps(np.where(mirrored, -scale_x, scale_x), scale_y, shift_x, shift_y)


@dataclass(frozen=True)
class Table:
    """The numbers of an `Item` as tensors on one device: what positives are found with. Shapes as there."""

    pastes: Tensor
    source: Tensor
    view: Tensor
    region: Tensor
    view_from_source: Tensor
    source_from_view: Tensor
    source_regions: Tensor
    first_region: Tensor

    def trace(self, view: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See `trace`."""
        shown = self.pastes[view, y, x].long()
        placement = torch.where(shown == 0, view, len(self.pastes) - 1 + shown)
        u, v = map_points(self.source_from_view[placement], x, y)
        source, (height, width) = self.source[placement], self.source_regions.shape[1:]
        # the edge of a view may be the edge of its source: rounding must not step out
        row, column = nearest(v).clamp(0, height - 1), nearest(u).clamp(0, width - 1)
        own = self.source_regions[source, row, column].long()  # of backgrounds the source's own map says
        own = torch.where(own > 0, self.first_region[source] + own, 0)
        return placement, u, v, torch.where(shown == 0, own, self.region[placement])


def make_table(item: Item) -> Table:
    """On the CPU; nothing is copied but maps of 16 bits, which torch cannot look up."""
    arrays = (item.source, item.view, item.region, item.view_from_source, item.source_from_view)
    pastes, regions = (torch.from_numpy(a.astype(np.int32)) for a in (item.pastes, item.source_regions))
    return Table(pastes, *map(torch.from_numpy, arrays), regions, torch.from_numpy(item.first_region))


def trace(item: Item, view: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, ...]:
    """What the views show at integer pixels (x, y): placement, source pixel u and v, not rounded, and region.

    The region is counted over all sources from 1, 0 = none. All arguments and results of one shape.
    """
    at = (torch.from_numpy(np.ascontiguousarray(a, np.int64)) for a in (view, x, y))
    return tuple(found.numpy() for found in make_table(item).trace(*at))


def map_sources(item: Item, view: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where one view comes from: source index (H, W), source pixel (u, v) (H, W, 2), region as in `trace` (H, W)."""
    y, x = np.indices(item.pastes.shape[1:])
    placement, u, v, region = trace(item, np.full_like(x, view), x, y)
    return item.source[placement], np.stack([u, v], axis=-1), region


def draw_points(
    views: int, size: tuple[int, int], points_per_image: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points anywhere on the views: view, x and y in pixels, not rounded. (N,) each"""
    x, y = rng.random((2, views * points_per_image)) * np.array([[size[1]], [size[0]]]) - 0.5
    return np.repeat(np.arange(views), points_per_image), x, y


def list_placements(item: Item) -> np.ndarray:
    """Placements of each region: its source's backgrounds, then its pastes; -1 fills up. (regions + 1, slots)"""
    return tabulate_placements(item.region, len(item.images), item.first_region)


def tabulate_placements(region: np.ndarray, views: int, first_region: np.ndarray) -> np.ndarray:
    """As `list_placements`, of the region of each placement (V + P,), counted over all sources."""
    sources, region = len(first_region) - 1, region[views:]
    order = np.argsort(region, kind="stable")
    slot = np.arange(len(order)) - np.searchsorted(region[order], region[order]) + views // sources
    table = np.full((first_region[-1] + 1, max(slot.max(initial=0) + 1, views // sources)), -1)
    owner = np.repeat(np.arange(sources), np.diff(first_region))
    table[1:, : views // sources] = owner[:, None] + np.arange(0, views, sources)
    table[region[order], slot] = views + order
    return table


def find_pixel_positives(
    table: Table, placements: Tensor, view: Tensor, x: Tensor, y: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The points, and the same points wherever else the views show them (CPCDR sec. 3.4; fact sheet sec. 7).

    A point goes back to its source and from there through every placement of its region, the originals included; it
    counts where that placement is what the nearest pixel shows. Points without a counterpart are left out.

    Args:
        placements: of `tabulate_placements`.
        view, x, y: of `draw_points`. (N,)
    Returns:
        As `sample_pixel_positives`, as tensors.
    """
    views, height, width = table.pastes.shape
    own, _, _, region = table.trace(view, nearest(x), nearest(y))
    u, v = map_points(table.source_from_view[own], x, y)
    slots = placements[region]  # (points, slots)
    point, slot = torch.nonzero((slots >= 0) & (slots != own[:, None]), as_tuple=True)
    target = slots[point, slot]
    to_x, to_y = map_points(table.view_from_source[target], u[point], v[point])
    row, column = nearest(to_y), nearest(to_x)
    inside = ((row >= 0) & (row < height) & (column >= 0) & (column < width)).nonzero()[:, 0]
    row, column, target = row[inside], column[inside], target[inside]
    seen = (target - views + 1).clamp(min=0) == table.pastes[table.view[target], row, column]
    kept, row, column, target = inside[seen], row[seen], column[seen], target[seen]
    same = table.trace(table.view[target], column, row)[3] == region[point[kept]]
    kept, target = kept[same], target[same]
    point, to_x, to_y = point[kept], to_x[kept], to_y[kept]
    paired = torch.zeros(len(view), dtype=torch.bool, device=view.device)
    paired[point] = True
    first = paired.nonzero()[:, 0]
    members, order = torch.sort(torch.cat([first, point]), stable=True)
    xy = torch.stack([torch.cat([x[first], to_x]), torch.cat([y[first], to_y])], dim=1)
    shown = torch.cat([view[first], table.view[target]])
    return shown[order], xy[order].float(), torch.searchsorted(first, members)


def find_region_positives(table: Table, view: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The points that show a region, grouped by it. Arguments and results as above; a group is a region, from 1."""
    region = table.trace(view, nearest(x), nearest(y))[3]
    keep = region > 0
    return view[keep], torch.stack([x[keep], y[keep]], dim=1).float(), region[keep]


def sample_pixel_positives(item: Item, points_per_image: int, rng: np.random.Generator) -> Positives:
    """Random points and the same points wherever else the views show them: see `find_pixel_positives`.

    Returns:
        view (N,), position (x, y) in pixels of it, not rounded, (N, 2) float32, and group 0.. (N,), ascending.
    """
    points = map(torch.from_numpy, draw_points(len(item.images), item.pastes.shape[1:], points_per_image, rng))
    found = find_pixel_positives(make_table(item), torch.from_numpy(list_placements(item)), *points)
    return tuple(values.numpy() for values in found)


def sample_region_positives(item: Item, points_per_image: int, rng: np.random.Generator) -> Positives:
    """Random points of all views, grouped by the region they show (CPCDR sec. 3.4); those without one are left out.

    Returns as above; a group is a region, counted over all sources from 1.
    """
    points = map(torch.from_numpy, draw_points(len(item.images), item.pastes.shape[1:], points_per_image, rng))
    return tuple(values.numpy() for values in find_region_positives(make_table(item), *points))


def find_pixels(item: Item, xy: np.ndarray) -> np.ndarray:
    """Column and row of the pixels that hold positions (N, 2), float32, which may round onto the far edge. (2, N)"""
    return nearest(xy).clip(0, np.array(item.pastes.shape[:0:-1]) - 1).T


def find_errors(item: Item, positives: Positives) -> np.ndarray:
    """Members of pixel positives whose nearest pixel shows another point than their group's first member's. (N,) bool

    Two pixels show the same point if they lie in one source, within half a pixel of each of the two views.
    """
    view, xy, group = positives
    placement, u, v, _ = trace(item, view, *find_pixels(item, xy))
    first, source = np.searchsorted(group, group), item.source[placement]
    steps = np.abs(item.source_from_view[placement][:, [0, 1], [0, 1]])
    apart = np.abs(np.stack([u - u[first], v - v[first]], axis=1))
    return (source != source[first]) | (apart > 0.5 * (steps + steps[first]) + 1e-3).any(axis=1)
