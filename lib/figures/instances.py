"""Pictures of things one by one: what a network found beside what is there."""

from collections.abc import Sequence

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..data.labels import ClassSet
from ..evaluation.instances import Instances, Truth
from . import blend, color_regions, image_grid

SHARE = 0.6  # of a thing's colour over the image
NOBODY_KNOWS = 96  # grey of pixels that are not judged


def draw_instances(
    images: np.ndarray,
    truths: Sequence[Truth],
    predicted: Sequence[Instances],
    things: ClassSet,
    lowest: float = 0.5,
    smallest: int = 1,
) -> Figure:
    """Frames, true things and predicted things one below the other, a colour a thing, grey where nobody knows.

    Args:
        images: (N, H, W, 3) uint8
        truths, predicted: of each image, at its size.
        lowest: score from which a prediction is drawn; smallest: pixels from which a true thing is.
    """
    true = [truth.to_instances(smallest) for truth in truths]
    sure = [_choose(found, found.scores >= lowest) for found in predicted]
    rows = [images, [_paint(*pair) for pair in zip(images, true)], [_paint(*pair) for pair in zip(images, sure)]]
    for painted, truth in zip(rows[1], truths):
        painted[truth.void | (truth.groups != 255)] = NOBODY_KNOWS
    figure = image_grid(rows, width=7)
    grid = np.array(figure.axes).reshape(3, len(images))
    for axes, name in zip(grid[:, 0], ("frame", "truth", f"score ≥ {lowest:g}")):
        axes.set_ylabel(name)
    for column, (there, found) in enumerate(zip(true, sure)):
        _write(grid[1, column], there, [things.names[c] for c in there.classes])
        _write(grid[2, column], found, [f"{things.names[c]} {s:.2f}" for c, s in zip(found.classes, found.scores)])
    return figure


def _choose(instances: Instances, rows: np.ndarray) -> Instances:
    return Instances(instances.masks[rows], instances.classes[rows], instances.scores[rows])


def _paint(image: np.ndarray, instances: Instances) -> np.ndarray:
    """The image in grey under its things, the surest on top."""
    regions = np.zeros(image.shape[:2], int)
    for index in np.argsort(instances.scores, kind="stable"):
        regions[instances.masks[index]] = index + 1
    gray = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8)
    return np.where(regions[..., None] > 0, blend(gray, color_regions(regions), SHARE), gray)


def _write(axes: Axes, instances: Instances, words: Sequence[str]) -> None:
    """A word at the top of each thing that has at least a hundredth of the picture: more would hide one another."""
    outline = [patheffects.withStroke(linewidth=1.5, foreground="k")]
    for mask, word in zip(instances.masks, words):
        if mask.mean() >= 0.01:
            y, x = np.nonzero(mask)
            axes.text(
                x.mean(), y.min(), word, color="w", fontsize=6, ha="center", va="bottom", path_effects=outline,
                clip_on=True,
            )  # fmt: skip
