"""What a plan says of each placement, ready to be executed: where it may be seen, and where its pixels come from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..views import compose_maps, invert_maps, nearest
from .plans import Plan
from .sources import LEVELS, Source

KERNEL = 5  # pixels, of a blur (released code: 5)


@dataclass(frozen=True)
class Layers:
    """V + P placements: V backgrounds, then the pastes, as in `views.Item`. M sources of one size (H, W).

    source, view: source image, and the view it is in. (V + P,)
    region: of the source, 0 for backgrounds. (V + P,)
    boxes: top, left, height, width of the region in the source, of backgrounds the whole of it. (V + P, 4)
    first_region: region r of source m is region first_region[m] + r of the item; last the total. (M + 1,)
    view_from_source, source_from_view: maps. (V + P, 2, 3)
    scale: factor of the inverse depth. (V + P,) float32
    rows, columns: first pixel of the view that it may fill, and how many. (V + P, 2)
    source_rows, source_columns: for those pixels, one placement after the other, the row and column of the source;
        -1 = outside of the region's box, of backgrounds never. (sum of the numbers,)
    row_start, column_start: where those of a placement begin. (V + P,)
    level: of the pyramid, that colours come from. (V + P,)
    level_from_view: map to its pixels. (V + P, 2, 3)
    colors: affine map of RGB, of the paste and of its view at once. (V + P, 3, 4)
    blurs, view_blurs: standard deviations in pixels, 0 = none. (V + P,), (V,)
    """

    source: np.ndarray
    view: np.ndarray
    region: np.ndarray
    boxes: np.ndarray
    first_region: np.ndarray
    view_from_source: np.ndarray
    source_from_view: np.ndarray
    scale: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    source_rows: np.ndarray
    source_columns: np.ndarray
    row_start: np.ndarray
    column_start: np.ndarray
    level: np.ndarray
    level_from_view: np.ndarray
    colors: np.ndarray
    blurs: np.ndarray
    view_blurs: np.ndarray

    @property
    def item_region(self) -> np.ndarray:
        """Region of each placement, counted over all sources from 1; 0 for backgrounds. (V + P,)"""
        return np.where(self.region > 0, self.first_region[self.source] + self.region, 0)


def _index_axis(
    maps: np.ndarray, axis: int, box: np.ndarray, length: int, backgrounds: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Along one axis (0 rows, 1 columns): the pixels of its view that each placement may fill, and what they show.

    maps: source_from_view (Q, 2, 3); box: first pixel and number of pixels in the source (Q, 2). Returns first pixel
    and number (Q, 2), the source's row or column of each, -1 = outside of the box, and where they begin (Q,).
    """
    scale, shift, (low, count) = maps[:, 1 - axis, 1 - axis], maps[:, 1 - axis, 2], box.T
    ends = (np.stack([low - 0.5, low + count - 0.5]) - shift) / scale
    first = np.clip(np.floor(ends.min(axis=0)), 0, length).astype(np.intp)
    stop = np.clip(np.ceil(ends.max(axis=0)) + 1, first, length).astype(np.intp)
    start = np.cumsum(stop - first) - (stop - first)
    row = np.repeat(np.arange(len(first)), stop - first)
    pixel = np.arange(len(row)) + (first - start)[row]
    index = nearest(scale[row] * pixel + shift[row])
    # the edge of a view may be the edge of its source: there, rounding must not step out
    index = np.where(row < backgrounds, np.clip(index, 0, (count - 1)[row]), index)
    inside = (index >= low[row]) & (index < (low + count)[row])
    return np.stack([first, stop - first], axis=1), np.where(inside, index, -1), start


def lay_out(sources: Sequence[Source], plan: Plan) -> Layers:
    """Everything about the placements of a plan; at most 65,535 pastes.

    Raises:
        ValueError: more pastes.
    """
    if len(plan.scale) > 65535:
        raise ValueError(f"{len(plan.scale)} pastes, but an item holds at most 65,535: lower copies or images")
    count, size = 2 * len(sources), sources[0].regions.shape
    view = np.concatenate([np.arange(count), plan.target])
    source = np.concatenate([np.arange(count) % len(sources), plan.source])
    region = np.concatenate([np.zeros(count, np.intp), plan.region])
    maps = np.concatenate([np.tile(np.eye(2, 3), (count, 1, 1)), plan.target_from_source])
    maps = compose_maps(plan.view_from_composite[view], maps)
    back = invert_maps(maps)
    boxes = np.concatenate([s.boxes for s in sources])[
        np.cumsum([0, *(len(s.boxes) for s in sources)])[source] + region
    ]
    rows, source_rows, row_start = _index_axis(back, 0, boxes[:, [0, 2]], size[0], count)
    columns, source_columns, column_start = _index_axis(back, 1, boxes[:, [1, 3]], size[1], count)
    shrink = np.log2(np.abs(back[:, 0, 0]) * back[:, 1, 1]) / 2  # the nearest level: 0.7 to 1.4 times its size
    level = np.clip(np.round(shrink), 0, LEVELS - 1).astype(np.intp)
    shape = np.array([image.shape[1::-1] for image in sources[0].pyramid])[level] / size[::-1]
    level_from_view = shape[..., None] * back
    level_from_view[..., 2] += 0.5 * shape - 0.5
    own = np.concatenate([np.tile(np.eye(3, 4), (count, 1, 1)), plan.colors])
    colors = plan.view_colors[view][..., :3] @ own
    colors[..., 3] += plan.view_colors[view][..., 3]
    return Layers(
        source=source,
        view=view,
        region=region,
        boxes=boxes,
        first_region=np.cumsum([0, *(len(s.boxes) - 1 for s in sources)]),
        view_from_source=maps,
        source_from_view=back,
        scale=np.concatenate([np.ones(count), plan.scale]).astype(np.float32),
        rows=rows,
        columns=columns,
        source_rows=source_rows,
        source_columns=source_columns,
        row_start=row_start,
        column_start=column_start,
        level=level,
        level_from_view=level_from_view,
        colors=colors,
        blurs=np.concatenate([np.zeros(count), plan.blurs]),
        view_blurs=plan.view_blurs,
    )
