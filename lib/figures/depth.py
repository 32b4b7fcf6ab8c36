"""Pictures of notebook 01: a clip, view synthesis, what the loss leaves out, depth, points, tracks, curves."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from scipy import ndimage

from ..data import Dataset, Frame
from ..depth import scale_to, select_valid
from . import WIDTH, color_depth, color_labels, color_regions, image_grid, image_row, new_figure, show_image

BLUE, ORANGE, GREEN, YELLOW, GREY = "#0072b2", "#d55e00", "#009e73", "#f0e442", "#999999"
NEAREST = 5.0  # metres; what is as near or nearer is brightest in a picture of depth
NARROW = 8.0  # inches, of figures that hold photographs
SPARSE = 0.3  # share of the pixels with a value below which a map is drawn in blots, as single pixels are not seen


def invert_depth(depth: np.ndarray) -> np.ndarray:
    """Inverse depth of a true map for `color_depth`: sky is barely above 0, no value is 0. (H, W)"""
    return np.divide(1, np.minimum(depth, 1e4), out=np.zeros_like(depth), where=depth > 0)


def thicken(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Sparse values, as of velodyne, spread over the pixels around: for pictures only. Dense ones stay. (H, W) twice

    Each pixel that is 1 away from a known one (at 320 pixels of width; more in proportion) gets the value of the
    nearest.
    """
    if not 0 < known.mean() < SPARSE:
        return values
    away, places = ndimage.distance_transform_edt(~known, return_indices=True)
    return np.where(away < max(1, round(known.shape[1] / 320)) + 0.5, values[tuple(places)], values)


def _see_depth(depth: np.ndarray) -> np.ndarray:
    """A true map in colours. (H, W, 3) uint8"""
    return color_depth(invert_depth(thicken(depth, depth > 0)), 1 / NEAREST)


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
        columns |= {} if depth is None else {"true depth": _see_depth(depth)}
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
    errors: np.ndarray, predicted: float, *, true: float | None = None,
) -> Figure:  # fmt: skip
    """One pixel, where its depth candidates fall in the next frame, enlarged, and the loss of each candidate.

    Args:
        images: frame t and the next one. (H, W, 3) uint8 each
        pixel: column and row.
        places: columns and rows in the next frame, one a candidate. (N, 2)
        depths, errors: of the candidates, depths in ascending order. (N,) each
        predicted, true: depths of the pixel, in the unit of `depths`; None = not known.
    """
    shape = images[1].shape[:2]
    inside = ((places > -0.5) & (places < np.array(shape[::-1]) - 0.5)).all(1)
    seen = np.flatnonzero(inside) if inside.any() else np.arange(len(depths))
    lowest = depths[seen[np.argmin(errors[seen])]]
    found = {
        "predicted": (predicted, ORANGE, "o", 11),
        "true": (true, GREEN, "D", 8),
        "lowest loss": (lowest, BLUE, "s", 5),
    }
    figure = new_figure(WIDTH, 3.0)
    left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1, 1.1))
    rows, columns = _frame_line(places[inside] if inside.any() else np.array([pixel]), shape)
    bounds = columns.start - 0.5, columns.stop - 0.5, rows.stop - 0.5, rows.start - 0.5
    show_image(left, images[0], f"frame t, pixel {tuple(map(int, pixel))}")
    left.plot(*pixel, "o", color=ORANGE, mec="w", ms=7)
    show_image(middle, images[1][rows, columns], "frame t+1, the dashed window", extent=bounds)
    width, height = columns.stop - columns.start, rows.stop - rows.start
    left.add_patch(Rectangle((bounds[0], bounds[3]), width, height, fill=False, ec="w", lw=1.2, ls="--"))
    line = np.where(inside[:, None], places, np.nan)
    for color, thick in (("k", 4), (YELLOW, 2)):  # dark below, so that it is seen on bright and dark
        middle.plot(*line.T, color=color, lw=thick, solid_capstyle="round")
    for name, place, mark in (("nearest", seen[0], "^"), ("farthest", seen[-1], "v")) if inside.any() else ():
        label = f"{name} candidate, {depths[place]:.3g}"
        middle.plot(*places[place], mark, color=YELLOW, mec="k", ms=12, label=label, ls="none", zorder=3)
    right.semilogx(depths, errors, color=GREY, lw=1)
    right.semilogx(depths, np.where(inside, errors, np.nan), color=BLUE, lw=2)
    for name, (value, color, mark, size) in found.items():
        if value is None:
            continue
        nearest = np.abs(np.log(depths / value)).argmin()
        right.axvline(value, color=color, lw=1, ls=":")
        right.plot(value, np.interp(np.log(value), np.log(depths), errors), mark, color=color, mec="w", ms=size)
        label = f"{name}, {value:.3g}"
        middle.plot(*line[nearest], mark, color=color, mec="w", ms=size, label=label, ls="none", zorder=4)
    middle.set(xlim=bounds[:2], ylim=bounds[2:])
    right.set(xlabel="depth in the unit of the prediction", ylabel="photometric error")
    right.set_title("loss along the line" + " (grey: out of the frame)" * (not inside.all()), fontsize=10)
    figure.legend(*middle.get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False, fontsize=9)
    return figure


def _frame_line(places: np.ndarray, shape: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of an image (H, W) around a line: of its shape, a quarter as wide or what the line needs."""
    low, high = places.min(0), places.max(0)
    across, down = 1.3 * (high - low)
    width = min(max(shape[1] / 4, 40, across, down * shape[1] / shape[0]), shape[1])
    sizes = [max(1, min(round(n), whole)) for n, whole in zip((width * shape[0] / shape[1], width), shape)]
    starts = [round(c - n / 2) for c, n in zip((low + high)[::-1] / 2, sizes)]
    starts = [min(max(start, 0), whole - n) for start, n, whole in zip(starts, sizes, shape)]
    return slice(starts[0], starts[0] + sizes[0]), slice(starts[1], starts[1] + sizes[1])


def draw_depth(images: Any, inverse_depths: Any, true: Sequence[np.ndarray | None], scaled: Any) -> Figure:
    """Frame, prediction and, where there is truth, truth and relative error (white = half of the depth or more).

    Sparse truth and its errors are drawn in blots, see `thicken`.
    """
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
                _see_depth(depth),
                _shade(thicken(error, depth > 0), 0.5),
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
    figure = new_figure(NARROW, 0.25 + len(images) * (NARROW / 4 * height / wide + 0.3))
    names = ("frame", "predicted depth", "true depth", "error (white: > 50 %)")
    grid = figure.subplots(len(images), 4, squeeze=False)
    for row, title, *maps in zip(grid, titles, images, inverse_depths, true, errors):
        image, inverse_depth, depth, error = maps
        predicted, seen = color_depth(inverse_depth, 1 / NEAREST), _see_depth(depth)
        error = _shade(thicken(error, depth > 0), 0.5)
        for axes, picture in zip(row, (image, predicted, seen, error)):
            show_image(axes, picture, " ")  # room for the caption, which reaches over its neighbours
        row[0].text(0, 1.05, title, fontsize=9, transform=row[0].transAxes).set_in_layout(False)
    for axes, name in zip(grid[-1], names):
        axes.set_xlabel(name, fontsize=9)
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
