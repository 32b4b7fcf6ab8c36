"""Pictures of notebook 01: a clip, view synthesis, what the loss leaves out, depth, points, tracks, curves."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ..data import Dataset, Frame
from ..depth import scale_to, select_valid
from . import WIDTH, color_depth, color_labels, color_regions, image_grid, image_row, new_figure, show_image

BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#999999"
NEAREST = 5.0  # metres; what is as near or nearer is brightest in a picture of depth
NARROW = 8.0  # inches, of figures that hold photographs


def invert_depth(depth: np.ndarray) -> np.ndarray:
    """Inverse depth of a true map for `color_depth`: sky is barely above 0, no value is 0. (H, W)"""
    return np.divide(1, np.minimum(depth, 1e4), out=np.zeros_like(depth), where=depth > 0)


def to_depth(inverse_depth: np.ndarray, true: np.ndarray | None, metric: bool) -> np.ndarray:
    """Depth to look at, 0 = no value: in metres where truth scales it or it is metric, else in its own unit. (H, W)"""
    if true is not None and (select_valid(true) & (inverse_depth > 0)).any():
        return scale_to(true, inverse_depth, select_valid(true), metric)
    return np.divide(1, inverse_depth, out=np.zeros_like(inverse_depth), where=inverse_depth > 0)


def _shade(values: np.ndarray, largest: float) -> np.ndarray:
    return np.repeat((np.clip(values / largest, 0, 1) * 255).astype(np.uint8)[..., None], 3, -1)


def draw_clip(dataset: Dataset, frames: Sequence[Frame]) -> Figure:
    """One row a frame: the image and whatever truth the data set has beside it."""
    rows, blank = [], np.full((*dataset.size, 3), 230, np.uint8)
    for frame in frames:
        depth, labels, things = dataset.depth(frame), dataset.labels(frame), dataset.instances(frame)
        moving, columns = dataset.moving(frame), {"frame": dataset.image(frame)}
        columns |= {} if depth is None else {"true depth": color_depth(invert_depth(depth), 1 / NEAREST)}
        columns |= {} if labels is None else {"class": color_labels(labels, dataset.classes)}
        columns |= {} if things is None else {"instance": color_regions(things)}
        columns |= {} if moving is None else {"moves by itself": _shade(moving, 1)}
        rows.append(columns)
    names = list(max(rows, key=len))  # a frame may lack truth that another has
    return image_grid([[row.get(name, blank) for name in names] for row in rows], names, NARROW)


def draw_rebuilt(middle: np.ndarray, later: np.ndarray, rebuilt: np.ndarray) -> Figure:
    """A frame, the next one, the next one warped onto it, and the differences. (H, W, 3) in 0..1 each"""
    before, after = (np.abs(image - middle).mean(-1) for image in (later, rebuilt))
    pictures = [(image * 255).astype(np.uint8) for image in (middle, later, rebuilt)]
    titles = ["frame t", "frame t+1", "t+1 warped onto t", "|t+1 - t|", "|warped - t|"]
    return image_row([*pictures, _shade(before, 0.3), _shade(after, 0.3)], titles, NARROW)


def draw_masks(image: np.ndarray, warped: np.ndarray, teaches: np.ndarray) -> Figure:
    """A frame, what is left of its rebuilding, and which pixels teach. (H, W, 3), (2, H, W), (H, W)"""
    dark = np.where(teaches[..., None], image, image // 6 + np.array([90, 0, 0], np.uint8))
    titles = ["frame", "minimum of the errors", "left out by the mask (red)"]
    return image_row([image, _shade(warped.min(0), 0.5), dark], titles, NARROW)


def draw_minimum(image: np.ndarray, errors: np.ndarray, teaches: np.ndarray) -> Figure:
    """What the two neighbours miss, their mean, their minimum, and what teaches. (H, W, 3), (2, H, W), (H, W)"""
    maps = [*errors, errors.mean(0), errors.min(0)]
    dark = np.where(teaches[..., None], image, image // 6 + np.array([90, 0, 0], np.uint8))
    titles = ["error, from t-1", "error, from t+1", "mean", "minimum", "mask (red)"]
    return image_row([*(_shade(m, 0.5) for m in maps), dark], titles, NARROW)


def draw_focal(factors: np.ndarray, misses: dict[str, np.ndarray]) -> Figure:
    """By how many pixels the best motion misses, over the focal length that is assumed; one curve a drive."""
    figure = new_figure(WIDTH, 2.4)
    axes = figure.subplots()
    for (name, values), color, mark in zip(misses.items(), (GREY, BLUE, ORANGE), ("s", "o", "^")):
        axes.plot(100 * (np.asarray(factors) - 1), values, mark + "-", ms=4, color=color, label=name)
    axes.set(xlabel="assumed focal length, % off", ylabel="pixels missed", title="What could teach the focal length")
    axes.legend(frameon=False)
    return figure


def draw_search(
    images: Sequence[np.ndarray], pixel: tuple[int, int], places: np.ndarray, depths: np.ndarray,
    errors: np.ndarray, predicted: float,
) -> Figure:  # fmt: skip
    """One pixel, where its depth candidates fall in the next frame, and the loss of each candidate."""
    figure = new_figure(WIDTH, 2.4)
    left, middle, right = figure.subplots(1, 3)
    show_image(left, images[0], f"frame t, pixel {pixel}")
    show_image(middle, images[1], "frame t+1, where it could be")
    left.plot(*pixel, "o", color=ORANGE, mec="w")
    inside = ((places > -0.5) & (places < np.array(images[0].shape[1::-1]) - 0.5)).all(1)
    middle.plot(*places[inside].T, ".-", color="w", lw=0.5, ms=2)
    chosen = np.abs(np.log(depths / predicted)).argmin()
    middle.plot(*places[chosen], "o", color=ORANGE, mec="w")
    right.semilogx(depths, errors, color=BLUE)
    right.axvline(predicted, color=ORANGE, label="predicted")
    right.set(xlabel="depth in scene units", ylabel="photometric error", title="Loss along the epipolar line")
    right.legend(frameon=False)
    return figure


def draw_depth(images: Any, inverse_depths: Any, true: Sequence[np.ndarray | None], scaled: Any) -> Figure:
    """Frame, prediction and, where there is truth, truth and relative error (white = half of the depth or more)."""
    rows, blank = [], np.full_like(images[0], 230)
    titles = ["frame", "predicted depth", "true depth", "error (white: > 50 %)"]
    titles = titles[: 2 if all(depth is None for depth in true) else 4]
    for image, inverse_depth, depth, metres in zip(images, inverse_depths, true, scaled):
        row = [image, color_depth(inverse_depth), blank, blank]
        if depth is not None:
            error = np.divide(
                np.abs(metres - depth),
                depth,
                out=np.zeros_like(metres),
                where=(depth > 0) & (depth < 80) & (metres > 0),
            )
            row = [
                image,
                color_depth(invert_depth(metres), 1 / NEAREST),
                color_depth(invert_depth(depth), 1 / NEAREST),
                _shade(error, 0.5),
            ]
        rows.append(row[: len(titles)])
    return image_grid(rows, titles, NARROW)


def draw_failures(
    images: Sequence[np.ndarray], inverse_depths: Sequence[np.ndarray], true: Sequence[np.ndarray],
    errors: Sequence[np.ndarray], titles: Sequence[str],
) -> Figure:  # fmt: skip
    """The worst frames, one a row below its title, see `depth.find_failures`.

    Args:
        images: (H, W, 3) uint8 each.
        inverse_depths: predicted, in 1 / metre; 0 = no value. (H, W) each
        true: in metres; 0 = no value, inf = sky. (H, W) each
        errors: relative; white = half of the depth or more. (H, W) each
        titles: one a frame.
    Raises:
        ValueError: no frame.
    """
    if not len(images):
        raise ValueError("there is no frame to show: none of the frames has both true and predicted depth")
    height, wide = images[0].shape[:2]
    rows = [NARROW / 4 * height / wide + (0.5 if i == 0 else 0.25) for i in range(len(images))]  # names over the first
    figure, names = new_figure(NARROW, sum(rows)), ["frame", "predicted depth", "true depth", "error (white: > 50 %)"]
    parts = figure.subfigures(len(images), 1, squeeze=False, height_ratios=rows)[:, 0]
    for part, title, *maps in zip(parts, titles, images, inverse_depths, true, errors):
        image, inverse_depth, depth, error = maps
        predicted, seen = color_depth(inverse_depth, 1 / NEAREST), color_depth(invert_depth(depth), 1 / NEAREST)
        part.suptitle(title, fontsize=10, x=0.01, ha="left")
        for axes, picture, name in zip(part.subplots(1, 4), (image, predicted, seen, _shade(error, 0.5)), names):
            show_image(axes, picture, name if part is parts[0] else "")
    return figure


def draw_points(points: np.ndarray, image: np.ndarray, reach: float) -> Figure:
    """Every pixel of a frame at its place in space, from the side and from above. (H, W, 3) twice; `reach` along z"""
    figure = new_figure(WIDTH, 2.6)
    chosen = (points[..., 2] < reach).ravel()
    flat, colors = points.reshape(-1, 3)[chosen], image.reshape(-1, 3)[chosen] / 255
    for axes, row, name, limit in zip(figure.subplots(1, 2), (1, 0), ("y, down", "x, right"), (0.35, 0.5)):
        axes.scatter(flat[:, 2], flat[:, row], c=colors, s=3, lw=0)
        axes.set(xlabel="z, forward", ylabel=name, facecolor="#dddddd", xlim=(0, reach), aspect="equal")
        axes.set_ylim(limit * reach, -limit * reach)
        axes.set_title("seen from the side" if row == 1 else "seen from above", fontsize=10)
    return figure


def draw_tracks(true: np.ndarray, driven: np.ndarray, title: str) -> Figure:
    """Camera centres from above, metres; `driven` already aligned. (T, 3) each"""
    wide = np.ptp(true[:, 0]) > 0.1 * np.ptp(true[:, 2])  # the road turns: show its shape
    figure = new_figure(WIDTH, 4.0 if wide else 2.0)
    axes, few = figure.subplots(), len(true) <= 40
    for track, name, color, mark in ((true, "true", GREY, "o-"), (driven, "from the pose network", ORANGE, ".--")):
        axes.plot(track[:, 2], track[:, 0], mark if few else mark[1:], color=color, label=name)
    axes.set(xlabel="z, metres", ylabel="x, metres", title=title)
    if wide:
        axes.set_aspect("equal")
        axes.invert_yaxis()
    else:
        middle, half = true[:, 0].mean(), max(np.abs(true[:, 0] - true[:, 0].mean()).max() * 1.2, 1.5)
        axes.set_ylim(middle + half, middle - half)
    axes.legend(frameon=False)
    return figure


def draw_history(history: Any) -> Figure:
    """Loss, share of pixels that teach, predicted motion and, if learned, focal length; means of 20 steps."""
    titles = {"loss": "Loss", "teaching": "Share of pixels that teach", "motion": "Motion, scene units a frame"}
    titles |= {"focal_length": "Focal length, pixels"} if "focal_length" in history.columns else {}
    figure = new_figure(WIDTH, 2.4)
    for axes, (name, title) in zip(figure.subplots(1, len(titles)), titles.items()):
        values = np.array(history.columns[name])
        width = min(20, len(values))
        axes.plot(
            np.arange(width - 1, len(values)), np.convolve(values, np.full(width, 1 / width), "valid"), color=BLUE
        )
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("step")
    return figure


def draw_classes(classes: dict[str, tuple[float, float, int]], overall: float) -> Figure:
    """Relative error of each class, the mean over images as a line."""
    figure = new_figure(WIDTH, 2.4)
    axes = figure.subplots()
    seen = {name: row[0] for name, row in classes.items() if row[2]}  # sky has no depth
    axes.bar(list(seen), list(seen.values()), color=BLUE)
    axes.axhline(overall, color=ORANGE, label="mean over images")
    axes.set(ylabel="abs_rel", title="Which things are hard")
    axes.tick_params(axis="x", rotation=30)
    axes.legend(frameon=False)
    return figure
