"""What must not teach: a camera at rest, the camera's own bonnet, and a look for cars predicted at infinity."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy import ndimage

from ..data import open_dataset, read_image, read_size, resize_image
from ..data.footage.motion import find_still as find_fixed_edges
from ..data.footage.view import LEAST_STILL_FRAMES, LOWER_PART
from ..data.footage.view import find_bonnet as find_bar
from ..data.video import list_clips, name_clips
from ..data.video.decode import first_frame
from .metrics import scale_to, select_valid
from .triplets import Triplets

MIN_CHANGE = 0.003
"""A threshold to start from. Generated streets at rest change by up to 0.0025 (0.004 with noise of 4 grey levels, 0.005
with a car over a seventh of the image), at 3 m/s by 0.0073 or more; CamVid's slowest by 0.0035, KITTI's by 0.013."""
CELL_ROWS = 16  # cells along the height: a driving camera moves by a good part of one, noise averages out
MOST_CELLS, NOISE_QUANTILE = 0.6, 0.8416  # of the cells must rest, so cars may cover 0.4; that quantile of |N(0, 1)|
WIDEST = 320  # pixels, in which a bonnet is looked for, as in the checks of footage
FIXED_EDGE = 0.85  # share of an edge that must persist in the mean frame to speak for a bonnet
WEAK_EDGE, STRONG_EDGE = 1.0, 8.0  # grey levels a pixel: below it is noise; stronger edges count no more
BEND = 2.0  # what a step of one row between neighbouring columns costs; the outline of a bonnet is smooth
BLACK = 16  # grey levels: JPEG leaves these in black
HOLE, FAR = 3.0, 2.0  # times as far as the ground of the row; at most so much nearer than the farthest of the image
BELOW_HORIZON = 0.06  # of the height: the ground lies 30 m away there, nearer below
LEAST_HOLE = 1e-3  # of the image
TOO_FAR = 2.0  # times the true distance
MOST_HOLES, MOST_TOO_FAR = 0.05, 0.3  # healthy runs: no frame with holes, 0.07 to 0.23 of the pixels too far
THINGS = ("car", "truck", "bus")


def measure_change(a: np.ndarray, b: np.ndarray) -> float:
    """How much two frames differ, in shares of full brightness, whatever the noise, the exposure and a few cars do.

    Means over cells; of all cells the 60 % that change least; less what independent noise of each pixel explains,
    which the finest diagonal pattern of the difference shows, as motion hardly adds to it. (H, W) uint8 each
    """
    first, second = (image.astype(np.float32) / 255 for image in (a, b))
    rows = min(CELL_ROWS, a.shape[0])
    shape = (max(1, round(a.shape[1] * rows / a.shape[0])), rows)
    small, other = (cv2.resize(image, shape, interpolation=cv2.INTER_AREA) for image in (first, second))
    other = other * np.median(small / np.maximum(other, 1 / 255))  # the exposure changes as traffic passes
    fine = (second - first)[: a.shape[0] // 2 * 2, : a.shape[1] // 2 * 2]
    diagonal = (fine[::2, ::2] - fine[::2, 1::2] - fine[1::2, ::2] + fine[1::2, 1::2]) / 2
    noise = np.median(np.abs(diagonal)) / 0.6745 / np.sqrt(a.size / (shape[0] * shape[1]))
    change = np.quantile(np.abs(other - small), MOST_CELLS)
    return float(np.sqrt(max(change**2 - (NOISE_QUANTILE * noise) ** 2, 0)))


def measure_changes(images: Any, members: np.ndarray, batch: int = 16) -> np.ndarray:
    """The larger of the changes from the middle frame to both neighbours, of each triplet. (M,)

    Args:
        images: (N, H, W, 3) uint8, or `FrameImages`; only the frames of `batch` triplets are held.
        members: rows of `images`: earlier, middle, later. (M, 3) int
    """
    known: dict[tuple[int, int], float] = {}
    for first in range(0, len(members), batch):
        rows = np.unique(members[first : first + batch])
        gray = dict(zip(rows.tolist(), (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images[rows])))
        for a, b, c in members[first : first + batch].tolist():
            for pair in ((a, b), (b, c)):
                if pair not in known:
                    known[pair] = measure_change(gray[pair[0]], gray[pair[1]])
    return np.array([max(known[a, b], known[b, c]) for a, b, c in np.asarray(members).tolist()])


def find_still(images: Any, members: np.ndarray, min_change: float) -> np.ndarray:
    """Triplets that show a camera at rest: to both neighbours the change is below `min_change`. (M,) bool

    Arguments as of `measure_changes`; the change as of `measure_change`, for a threshold see `MIN_CHANGE`.
    """
    return measure_changes(images, members) < min_change


def drop_still(triplets: Triplets, min_change: float) -> tuple[Triplets, int]:
    """The triplets in which the camera moves, and how many were left out; `min_change` 0 keeps all, unread.

    Raises:
        ValueError: none is left.
    """
    if min_change <= 0:
        return triplets, 0
    changes = measure_changes(triplets.images, triplets.members)
    kept = changes >= min_change
    if not kept.any():
        raise ValueError(
            f"all {len(kept)} triplets show a camera at rest: grey values change by up to {changes.max():.4f}, "
            f"less than min_change = {min_change}; make it smaller (0 keeps all), frame_step larger, or use other video"
        )
    names = [f.name for f in fields(triplets) if f.name != "images"]
    parts = {name: getattr(triplets, name) for name in names}
    parts = {name: p[kept] for name, p in parts.items() if isinstance(p, np.ndarray) and len(p) == len(kept)}
    return replace(triplets, **parts), int((~kept).sum())


def find_bonnet(images: Any, rows: np.ndarray | None = None, count: int = 60, crop_bottom: float = 0.0) -> np.ndarray:
    """Pixels at the lower border that are fixed to the camera; none if the checks of footage see no bonnet. (H, W) bool

    Below the outline edges stay where they are, above it they move: the outline is the smooth curve that divides the
    two best. What has no edges speaks for neither.

    Args:
        images: (N, H, W, 3) uint8, or `FrameImages`.
        rows: those of one camera that drives, see `Triplets.of_part`; None = all.
        count: frames looked at, spread over all.
        crop_bottom: share of the height that was cut off already.
    Raises:
        ValueError: too few frames to tell what moves.
    """
    rows = np.arange(len(images)) if rows is None else np.asarray(rows)
    if len(rows) < LEAST_STILL_FRAMES:
        raise ValueError(
            f"{len(rows)} frames are too few to find a bonnet in: use {LEAST_STILL_FRAMES} or more, or let the "
            "parameter bonnet name an image of it"
        )
    height, width = images[int(rows[0])].shape[:2]
    size = tuple(max(1, round(side * min(1, WIDEST / width))) for side in (height, width))
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int))]
    gray = np.stack([resize_image(cv2.cvtColor(images[i], cv2.COLOR_RGB2GRAY), size) for i in rows.tolist()])
    if not find_bar(find_fixed_edges(gray), crop_bottom):
        return np.zeros((height, width), bool)
    lowest = round(size[0] * min(1, LOWER_PART / (1 - crop_bottom)))
    top = _divide(_weigh_edges(gray), lowest)
    top = ndimage.median_filter(top.astype(float), max(3, size[1] // 32), mode="nearest")
    mask = np.arange(size[0])[:, None] >= top
    return cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR) >= 0.5


def _weigh_edges(gray: np.ndarray) -> np.ndarray:
    """Above 0 where an edge stays in place, below 0 where edges pass. (T, H, W) -> (H, W)"""
    frames = gray.astype(np.float32)
    slopes = lambda f: np.stack([cv2.Sobel(f, cv2.CV_32F, *a, ksize=3) / 8 for a in ((0, 1), (1, 0))])  # noqa: E731
    edges = np.linalg.norm(np.mean([np.abs(slopes(frame)) for frame in frames], axis=0), axis=0)
    fixed = np.linalg.norm(slopes(frames.mean(axis=0)), axis=0)
    trust = np.clip(edges / WEAK_EDGE - 1, 0, 1) * np.minimum(1, STRONG_EDGE / np.maximum(edges, 1e-6))
    return (fixed - FIXED_EDGE * edges) * trust


def _divide(weight: np.ndarray, lowest: int) -> np.ndarray:
    """First row of the bonnet in each column, H = none: most weight below, few steps, by dynamic programming. (W,)"""
    height, width = weight.shape
    gain = np.zeros((height + 1 - lowest, width))  # of a bonnet that begins at row lowest + i
    gain[:-1] = np.cumsum(weight[lowest:][::-1], axis=0)[::-1]
    steps = BEND * np.abs(np.subtract.outer(np.arange(len(gain)), np.arange(len(gain))))
    best, came = gain[:, 0], np.zeros(gain.shape, int)
    for x in range(1, width):
        ways = best[None] - steps
        came[:, x] = ways.argmax(1)
        best = ways.max(1) + gain[:, x]
    rows = [int(best.argmax())]
    for x in range(width - 1, 0, -1):
        rows.append(came[rows[-1], x])
    return lowest + np.array(rows[::-1])


def read_bonnet(
    path: str | Path, size: tuple[int, int], window: Callable[[tuple[int, int]], tuple[slice, slice]],
    stored: tuple[int, int] | None = None,
) -> np.ndarray:  # fmt: skip
    """A bonnet drawn by hand: what is not black in an image of the shape of the stored frames.

    Args:
        size: (H, W) of the frames that are learned from.
        window: of the data set: which part of a stored image is used, see `Dataset.window`.
        stored: (H, W) of the stored frames, if known: an image of another shape is then refused.
    Returns:
        Pixels that the bonnet covers by half or more. (H, W) bool
    Raises:
        FileNotFoundError, ValueError: as `read_image`; also an image of another shape, or one that is all black or not
            black anywhere within the window.
    """
    light = read_image(Path(path)).max(-1)
    if stored and abs(light.shape[0] * stored[1] / (light.shape[1] * stored[0]) - 1) > 0.02:
        raise ValueError(
            f"{path} has {light.shape[0]} x {light.shape[1]} pixels, the frames {stored[0]} x {stored[1]}: draw the "
            "bonnet on one of the frames"
        )
    marked = light > min(BLACK, light.max() / 2)  # a mask of 0 and 1 is as good as one of 0 and 255
    mask = resize_image(marked[window(light.shape)].astype(np.float32), size) >= 0.5
    if mask.all() or not mask.any():
        text = "nothing is black" if mask.all() else "all is black"
        raise ValueError(f"{path}: {text} in the part that is used; paint the bonnet white and the scene black")
    return mask


def find_ground(inverse_depth: np.ndarray) -> tuple[float, float]:
    """Slope of the ground's inverse depth a row, and the row at which it is 0, the horizon; (0, inf) without ground.

    The inverse depth of a plane is linear in the row: the median slope (Theil-Sen) of the lower third's row medians.
    """
    rows = np.arange(2 * len(inverse_depth) // 3, len(inverse_depth))
    rows = np.array([y for y in rows if (inverse_depth[y] > 0).any()], int)
    if len(rows) < 4:
        return 0.0, np.inf
    level = np.array([np.median(inverse_depth[y][inverse_depth[y] > 0]) for y in rows])
    i, j = np.triu_indices(len(rows), k=len(rows) // 3)
    slope = np.median((level[j] - level[i]) / (rows[j] - rows[i]))
    return (float(slope), float(np.median(rows - level / slope))) if slope > 0 else (0.0, np.inf)


def find_holes(inverse_depth: np.ndarray, max_depth: float) -> np.ndarray:
    """Areas below the horizon, inside the image, as far as its farthest and 3 times farther than the ground of the row.

    That is how a car looks that drives ahead at the camera's own speed, as if infinitely far. (H, W) -> (H, W) bool
    """
    slope, horizon = find_ground(inverse_depth)
    seen, rows = inverse_depth > 0, np.arange(len(inverse_depth))[:, None]
    far = FAR * max(np.percentile(inverse_depth[seen], 1) if seen.any() else 0, 1 / max_depth)
    below = rows > horizon + BELOW_HORIZON * len(inverse_depth)
    found = seen & below & (inverse_depth <= far) & (HOLE * inverse_depth <= slope * (rows - min(horizon, 1e9)))
    parts, count = ndimage.label(found)
    border = np.unique(np.concatenate([parts[-1], parts[:, 0], parts[:, -1]]))  # beside a hole there is ground
    large = np.bincount(parts.ravel(), minlength=count + 1) >= max(LEAST_HOLE * found.size, 4)
    large[border] = large[0] = False
    return large[parts]


def _compare_with_road(inverse_depth: np.ndarray, things: np.ndarray, road: np.ndarray) -> tuple[int, int]:
    """Pixels of things that stand on road, and those twice as far as the road at their feet; no true depth needed."""
    judged = late = 0
    parts = ndimage.label(things)[0]
    seen = inverse_depth > 0
    for number, box in enumerate(ndimage.find_objects(parts), start=1):
        rows, columns = box
        bottom, side = rows.stop, max(1, (columns.stop - columns.start) // 4)
        around = np.zeros_like(things)
        around[max(bottom - 2, 0) : bottom + 2, max(columns.start - side, 0) : columns.stop + side] = True
        feet, part = inverse_depth[around & road & seen], (parts == number) & seen
        if len(feet):
            judged += int(part.sum())
            late += int((TOO_FAR * inverse_depth[part] < np.median(feet)).sum())
    return judged, late


def warn_of_holes(
    dataset: Any, frames: Sequence[Any], inverse_depths: Iterable[np.ndarray], max_depth: float,
    *, metric: bool = False, learned: bool = True,
) -> tuple[dict[str, float], str | None]:  # fmt: skip
    """Are cars predicted at infinity, as they are when many of them drive at the camera's own speed?

    Args:
        frames: of `dataset`; where it has labels and depth, they are used.
        inverse_depths: one (H, W) array a frame, read one after the other.
        max_depth: the farthest that the network can say, in scene units.
        metric: the maps are in 1 / metre: they are not scaled before they are compared with true depth.
        learned: the maps are of a network that was trained here; if not, the warning has no advice on training.
    Returns:
        `frames_with_holes`, a share of the frames (see `find_holes`); `cars_too_far` and `moving_too_far`, shares of
        the pixels of cars, trucks and buses, and of what moves by itself, that are predicted more than twice as far
        as they are (or, without true depth, as the road at their feet); NaN without labels. And a warning, or None.
    """
    counts, total, holes = {"cars_too_far": np.zeros(2), "moving_too_far": np.zeros(2)}, 0, 0
    for frame, inverse_depth in zip(frames, inverse_depths, strict=True):
        total, holes = total + 1, holes + int(find_holes(inverse_depth, max_depth).any())
        labels, masks = dataset.labels(frame), {"moving_too_far": dataset.moving(frame)}
        named = {} if labels is None else dict(zip(dataset.classes.names, dataset.classes.ids))
        masks["cars_too_far"] = np.isin(labels, [named[n] for n in THINGS if n in named]) if named else None
        true = dataset.depth(frame)
        both = None if true is None else select_valid(true) & (inverse_depth > 0)
        for name, mask in masks.items():
            if mask is not None and both is not None and both.any():
                chosen = mask & both
                late = scale_to(true, inverse_depth, both, metric)[chosen] > TOO_FAR * true[chosen]
                counts[name] += chosen.sum(), late.sum()
            elif mask is not None and "road" in named:
                counts[name] += _compare_with_road(inverse_depth, mask, labels == named["road"])
    numbers = {"frames_with_holes": holes / total if total else np.nan}
    numbers |= {name: float(late / seen) if seen else np.nan for name, (seen, late) in counts.items()}
    return numbers, _word(numbers, learned)


def _word(numbers: dict[str, float], learned: bool) -> str | None:
    texts = {
        "frames_with_holes": (MOST_HOLES, "{:.0%} of the frames have holes at infinity in the road"),
        "cars_too_far": (MOST_TOO_FAR, "{:.0%} of the cars' pixels are more than twice too far"),
        "moving_too_far": (MOST_TOO_FAR, "{:.0%} of the moving things' pixels are more than twice too far"),
    }
    found = [text.format(numbers[name]) for name, (most, text) in texts.items() if numbers[name] > most]
    if not found:
        return None
    if not learned:
        return (
            f"some areas may be much too far: {'; '.join(found)}. Nothing was trained here, so it is the source that "
            "errs: look at the failures before regions are made of these maps."
        )
    return (
        f"cars may be predicted at infinity, as they drive with the camera: {'; '.join(found)}. Keep auto_mask on, "
        "learn from longer or more clips with oncoming and parked cars, try a larger frame_step, and leave halts out "
        f"with min_change = {MIN_CHANGE}."
    )


def leave_out(params: Any, triplets: Triplets) -> tuple[Triplets, str]:
    """What `params` says must not teach: halts (`min_change`) and the bonnet (`find_bonnet`, or an image, `bonnet`).

    Returns:
        The triplets that are left, and what was left out, one sentence.
    Raises:
        FileNotFoundError, ValueError: as `drop_still`, `find_bonnet`, `read_bonnet`; also an image of a bonnet where no
            clip that is learned from is of `params.dataset`, to which it belongs.
    """
    drawn = _read_bonnets(params, triplets) if params.bonnet else {}
    triplets, dropped = drop_still(triplets, params.min_change)
    said = [f"{dropped} triplets of a camera at rest" if params.min_change else "no halt was looked for"]
    bonnets = list(triplets.bonnets)
    if params.bonnet or params.find_bonnet:
        for number in range(len(bonnets)):
            rows = triplets.of_part(number)
            if number in drawn:
                bonnets[number] = drawn[number]
            elif params.find_bonnet and len(rows):
                bonnets[number] = find_bonnet(triplets.images, rows, crop_bottom=params.crop_bottom)
        shares = [f"{name} {bonnet.mean():.0%}" for name, bonnet in zip(params.clips, bonnets) if bonnet is not None]
        said.append(f"bonnet, of the image: {', '.join(shares)}")
    else:
        said.append("no bonnet was looked for")
    return replace(triplets, bonnets=tuple(bonnets)), f"left out: {'; '.join(said)}"


def _read_bonnets(params: Any, triplets: Triplets) -> dict[int, np.ndarray]:
    """The drawn bonnet for each of the named videos that are of `params.dataset` and have triplets. Raises: as above"""
    read_image(Path(params.bonnet))
    bonnets = {}
    for number, name in enumerate(params.clips):
        if name.split(":")[0] == params.dataset and (triplets.part == number).any():
            dataset = open_dataset(params, name)
            bonnets[number] = read_bonnet(params.bonnet, dataset.size, dataset.window, _stored_shape(dataset, params))
    if not bonnets:
        raise ValueError(
            f"the bonnet {params.bonnet} belongs to the data set {params.dataset}, but learned from are only the clips "
            f"{', '.join(params.clips)}: name a clip of {params.dataset} in `clips`, or leave `bonnet` empty"
        )
    return bonnets


def _stored_shape(dataset: Any, params: Any) -> tuple[int, int] | None:
    """(H, W) of the first frame as it is stored: by its header, or the film's first image; None without a file."""
    frame = dataset.frames()[0]
    path = dataset.image_path(frame)
    if path is None and dataset.name == "video":
        files = list_clips(params.path)
        return first_frame(dict(zip(name_clips(files), files))[frame.id.split("/")[0]]).shape[:2]
    return None if path is None else read_size(path)
