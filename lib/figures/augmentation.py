"""Pictures of notebook 03: which regions travel, composites and the maps behind them, the same point in many views."""

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from ..copy_paste import Plan, Source
from ..views import Item, Positives, find_pixels, map_sources, trace
from . import WIDTH, color_regions, image_grid, new_figure, show_image

# Okabe and Ito's colours, apart for every kind of colour vision
COLORS = np.array(["#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#999999"])


def color_kept(source: Source, kept: np.ndarray) -> np.ndarray:
    """The source's regions: those in `kept` in colour, the others black. (H, W, 3) uint8"""
    return color_regions(np.where(np.isin(source.regions, kept), source.regions, 0))


def draw_selection(sources: Sequence[Source], kept: Sequence[np.ndarray], columns: int = 4) -> Figure:
    """Each source, and below it the regions of `kept` in colour, those that stay at home in black."""
    images = [source.pyramid[0][..., :3] for source in sources[:columns]]
    maps = [color_kept(source, ids) for source, ids in zip(sources[:columns], kept)]
    return image_grid([images, maps], ["image"] * len(images) + ["regions that travel"] * len(maps))


def draw_hiding(source: Source, region: int, front: Item, behind: Item, target: int, margin: float = 0.5) -> Figure:
    """A region in its source, pasted in front of everything, and after the depth test; its outline in orange.

    Args:
        front, behind: the same background with this paste alone, without and with the depth test.
        target: the background.
        margin: of the cut-out around the region, in sizes of the region.
    """
    pasted = front.pastes[target] > 0
    pictures = [source.pyramid[0][..., :3], front.images[target], behind.images[target]]
    outlines = [source.regions == region, pasted, pasted]
    figure = new_figure(WIDTH, 2.1)
    titles = ["in its source", "in front of everything", "after the depth test"]
    for axes, picture, mask, title in zip(figure.subplots(1, 3), pictures, outlines, titles):
        show_image(axes, picture, title)
        axes.contour(mask, [0.5], colors=COLORS[0], linewidths=1.5)
        rows, columns = np.nonzero(mask)
        tall = min((1 + margin) * max(np.ptp(columns) / 2, np.ptp(rows), 16), mask.shape[0], mask.shape[1] / 2)
        top = np.clip(np.median(rows) - tall / 2, 0, mask.shape[0] - tall) - 0.5
        left = np.clip(np.median(columns) - tall, 0, mask.shape[1] - 2 * tall) - 0.5
        axes.set_xlim(left, left + 2 * tall)
        axes.set_ylim(top + tall, top)
    return figure


def draw_composites(item: Item, columns: int = 4) -> Figure:
    """The first backgrounds with the pastes of round 1, and below the same ones with those of round 2."""
    sources = len(item.source_regions)
    shown = range(min(columns, sources))
    titles = [f"background {k + 1}, round {r}" for r in (1, 2) for k in shown]
    return image_grid([[item.images[r + k] for k in shown] for r in (0, sources)], titles)


def draw_maps(item: Item, view: int) -> Figure:
    """One view and what is known of its pixels: which paste, which source image, which of its columns."""
    source, pixels, region = map_sources(item, view)
    height, width = source.shape
    table = np.array([to_rgb(c) for c in COLORS])
    ramps = [colormaps["cividis"](pixels[..., i] / n)[..., :3] for i, n in enumerate((width, height))]
    maps = [color_regions(item.pastes[view]), color_regions(region)]
    titles = ["view", "paste: black is the background", "region it shows", "source image, a colour each"]
    rows = [[item.images[view], *maps], [table[source % len(table)], *ramps]]
    return image_grid(rows, [*titles, "source column: dark is left", "source row: dark is above"])


def draw_positives(item: Item, positives: Positives, points: int = 5, columns: int = 4) -> Figure:
    """The points with most counterparts in the views that show most of them, a number and colour each point."""
    view, xy, group = positives
    placement, _, _, region = trace(item, view, *find_pixels(item, xy))
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
