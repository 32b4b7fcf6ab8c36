"""Pictures of notebook 03: which regions travel, composites and the maps behind them, the same point in many views."""

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from ..copy_paste import Plan, Source
from ..views import Item, Positives, map_sources, trace
from . import WIDTH, color_regions, image_grid, new_figure, show_image

# Okabe and Ito's colours, apart for every kind of colour vision
COLORS = np.array(["#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#999999"])


def color_kept(source: Source, kept: np.ndarray) -> np.ndarray:
    """The source's regions: those in `kept` in colour, the others black. (H, W, 3) uint8"""
    return color_regions(np.where(np.isin(source.regions, kept), source.regions, 0))


def draw_composites(item: Item, columns: int = 4) -> Figure:
    """All views, `columns` side by side: first round 1, then round 2, in the order of the sources."""
    images, sources = list(item.images), len(item.source_regions)
    rows = [images[k : k + columns] for k in range(0, len(images), columns)]
    rows[-1] += [np.full_like(images[0], 255)] * (columns - len(rows[-1]))
    titles = [f"round {k // sources + 1}, background {k % sources + 1}" for k in range(len(images))]
    return image_grid(rows, titles + [""] * (len(rows) * columns - len(titles)))


def draw_maps(item: Item, view: int) -> Figure:
    """One view and what is known of its pixels: which paste, which source image, which of its columns."""
    source, pixels, region = map_sources(item, view)
    table = (np.array([matplotlib.colors.to_rgb(c) for c in COLORS]) * 255).astype(np.uint8)
    column = matplotlib.colormaps["cividis"](np.clip(pixels[..., 0] / (source.shape[1] - 1), 0, 1))
    pastes, regions = color_regions(item.pastes[view]), color_regions(region)
    rows = [
        [item.images[view], pastes, regions],
        [table[source % len(table)], (column[..., :3] * 255).astype(np.uint8)],
    ]
    rows[1].append((matplotlib.colormaps["cividis"](pixels[..., 1] / source.shape[0])[..., :3] * 255).astype(np.uint8))
    titles = ["view", "paste: black is the background", "region it shows", "source image, a colour each"]
    return image_grid(rows, [*titles, "source column: dark is left", "source row: dark is above"])


def draw_positives(item: Item, positives: Positives, points: int = 5, columns: int = 4) -> Figure:
    """The points with most counterparts in the views that show most of them, a number and colour each point."""
    view, xy, group = positives
    placement, _, _, region = trace(item, view, *np.floor(xy.T + 0.5).astype(int))
    order = np.argsort(-np.bincount(group, placement >= len(item.images)), kind="stable")  # most pastes first
    _, first = np.unique(region[np.searchsorted(group, order)], return_index=True)  # a region once: points lie apart
    chosen = order[np.sort(first)[:points]].tolist()
    mine = np.isin(group, chosen)
    shown = np.sort(np.argsort(-np.bincount(view[mine], minlength=len(item.images)), kind="stable")[: 2 * columns])
    figure = new_figure(WIDTH, 2 * (WIDTH / columns * item.images.shape[1] / item.images.shape[2] + 0.3))
    for axes, k in zip(figure.subplots(2, columns, squeeze=False).flat, shown):
        show_image(axes, item.images[k], f"view {k + 1}")
        for n in np.flatnonzero(mine & (view == k)):
            number = chosen.index(group[n])
            axes.plot(*xy[n], "o", ms=11, mfc=COLORS[number % len(COLORS)], mec="black", mew=1)
            axes.text(*xy[n], str(number + 1), fontsize=7, ha="center", va="center_baseline", weight="bold")
    return figure


def draw_statistics(plans: Sequence[Plan], items: Sequence[Item]) -> Figure:
    """How large pastes become, and how much of each view they fill, by round."""
    figure = new_figure(WIDTH, 2.6)
    left, right = figure.subplots(1, 2)
    scales = np.concatenate([plan.scale for plan in plans])
    left.hist(1 / scales, bins=np.arange(0, 5.26, 0.25), color=COLORS[4])
    left.set(title="pastes by relative distance, 1 / scale", xlabel="1 = as near as in its source", ylabel="pastes")
    filled = np.concatenate([(item.pastes > 0).mean(axis=(1, 2)).reshape(2, -1) for item in items], axis=1)
    bins = np.arange(0, 1.01, 0.1)
    right.hist(list(filled), bins=bins, label=["round 1", "round 2"], color=COLORS[[1, 5]])
    right.set(title="views by the share of pixels that were pasted", xlabel="share of a view", ylabel="views")
    right.legend(frameon=False)
    return figure
