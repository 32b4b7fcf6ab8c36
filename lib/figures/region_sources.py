"""Pictures of regions from several sources: one frame cut by each of them, and how large their regions are."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from ..regions.metrics import count_sizes
from . import image_grid, new_figure
from .regions import NARROW, outline

COLUMNS = 4
LINES = ("#1f78b4", "#ff7f00", "#999999", "#33a02c", "#e31a1c", "#000000", "#6a3d9a", "#b15928")
DASHES = ("-", "--", ":", "-.")  # told apart without colour as well


def draw_sources(image: np.ndarray, maps: Mapping[str, np.ndarray]) -> Figure:
    """One frame under the outlines of every source, with the number of its regions.

    Args:
        image: (H, W, 3) uint8
        maps: name of a source -> ids from 1. (H, W)
    Raises:
        ValueError: there is no map.
    """
    if not maps:
        raise ValueError("no source to draw: give at least one map of regions")
    titles = [f"{name}: {len(count_sizes(ids))}" for name, ids in maps.items()]
    pictures = [outline(image, ids) for ids in maps.values()]
    columns = min(COLUMNS, len(pictures))
    blank = np.full_like(pictures[0], 255)
    pictures += [blank] * (-len(pictures) % columns)
    figure = image_grid([pictures[i : i + columns] for i in range(0, len(pictures), columns)], titles, NARROW)
    for axes in figure.axes[len(titles) :]:
        axes.set_axis_off()
    return figure


def draw_size_law(maps: Mapping[str, Sequence[np.ndarray]], smallest: float = 0.0) -> Figure:
    """Share of regions that are at least so large, on logarithmic axes: a power law is a straight line.

    Args:
        maps: name of a source -> the region maps of several frames, ids from 1. (H, W) each
        smallest: share of the image from which the exponent is fitted, drawn as a line; 0 = none.
    """
    figure = new_figure(6.0, 3.6)
    axes = figure.subplots()
    for number, (name, frames) in enumerate(maps.items()):
        sizes = np.sort(np.concatenate([count_sizes(ids) / ids.size for ids in frames]))
        shares, first = np.unique(sizes, return_index=True)  # the first of equal sizes: all from it on are as large
        style = {"color": LINES[number % len(LINES)], "linestyle": DASHES[number % len(DASHES)]}
        axes.plot(shares, 1 - first / len(sizes), label=name, lw=1.3, **style)
    if smallest > 0:
        axes.axvline(smallest, color="#cccccc", lw=1, zorder=0)
    axes.set(
        xscale="log", yscale="log", xlabel="size, as a share of the image", ylabel="share of regions at least as large"
    )
    axes.legend(fontsize=8)
    return figure
