"""Depth metrics (Eigen et al. 2014; facts/evaluation.md sec. 9) and driven trajectories against the true ones."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

CAP = 80.0  # metres: farther true depth is left out, farther predictions count as this
FLOOR = 1e-3  # metres
GARG = (0.40810811, 0.99189189), (0.03594771, 0.96405229)  # rows, columns as shares: what velodyne reaches in KITTI
MOVING, STILL = "moves by itself", "does not move by itself"  # beside the classes; no class has these names
NUMBERS = ("abs_rel", "sq_rel", "rmse", "rmse_log", "delta1", "delta2", "delta3")


def select_valid(depth: np.ndarray, crop: bool = False) -> np.ndarray:
    """Pixels that are scored: measured, nearer than 80 m (so no sky), inside the Garg crop if wanted. (H, W) bool"""
    valid = (depth > FLOOR) & (depth < CAP)
    if crop:
        inside = np.zeros_like(valid)
        inside[tuple(slice(int(a * n), int(b * n)) for (a, b), n in zip(GARG, depth.shape))] = True
        valid &= inside
    return valid


def find_scale(depth: np.ndarray, inverse_depth: np.ndarray, valid: np.ndarray) -> float:
    """Metres a scene unit: the median of the true depth over that of the predicted one, where both have a value.

    Raises:
        ValueError: maps of two sizes, or no valid pixel has a prediction.
    """
    both = valid & _has_value(inverse_depth, depth.shape)
    if not both.any():
        raise ValueError("no valid pixel has both a true and a predicted depth: there is nothing to scale by")
    return np.median(depth[both]) / np.median(1 / np.maximum(inverse_depth[both], 1e-6))


def _has_value(inverse_depth: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Pixels with a prediction: 0 is no value, as are NaN and infinity. (H, W) bool"""
    if inverse_depth.shape != shape:
        raise ValueError(f"true depth is {shape}, predicted {inverse_depth.shape}: resize one of them first")
    return np.isfinite(inverse_depth) & (inverse_depth > 0)


def scale_to(depth: np.ndarray, inverse_depth: np.ndarray, valid: np.ndarray, metric: bool = False) -> np.ndarray:
    """Predicted depth in metres, from 0.001 to 80, 0 = no value. (H, W)

    Args:
        depth: true, in metres. (H, W)
        inverse_depth: 0 = no value. (H, W)
        valid: pixels of this image that the medians are taken over, see `select_valid`. (H, W) bool
        metric: the prediction is in metres already, as from stereo: it is not scaled.
    Raises:
        ValueError: maps of two sizes; also, unless `metric`, as `find_scale`.
    """
    scale = 1.0 if metric else find_scale(depth, inverse_depth, valid)
    known = _has_value(inverse_depth, depth.shape)
    predicted = 1 / np.maximum(np.where(known, inverse_depth, 1), 1e-6)
    return np.where(known, np.clip(predicted * scale, FLOOR, CAP), np.zeros((), predicted.dtype))


def measure_depth(true: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """The seven standard numbers of one image, over pixels in metres. (N,), (N,)"""
    error, ratio = predicted - true, np.maximum(predicted / true, true / predicted)
    return {
        "abs_rel": np.mean(np.abs(error) / true),
        "sq_rel": np.mean(error**2 / true),
        "rmse": np.sqrt(np.mean(error**2)),
        "rmse_log": np.sqrt(np.mean((np.log(predicted) - np.log(true)) ** 2)),
        **{f"delta{n}": np.mean(ratio < 1.25**n) for n in (1, 2, 3)},
    }


def is_velodyne(dataset: Any, params: Any) -> bool:
    """Is the data set's depth KITTI's, which is scored inside the Garg crop?"""
    return dataset.name.startswith("kitti") and not params.maps


@dataclass(frozen=True)
class Scored:
    """One frame's prediction beside its truth; both in metres.

    index: of the frame. true, predicted: (H, W). valid: pixels with true depth that are scored, (H, W) bool; compared:
    those of them with a prediction. scale: metres a scene unit; NaN where nothing can be compared.
    """

    index: int
    true: np.ndarray
    predicted: np.ndarray
    valid: np.ndarray
    compared: np.ndarray
    scale: float


def compare_frames(
    dataset: Any, frames: Iterable[Any], inverse_depths: Iterable[np.ndarray], crop: bool = False, metric: bool = False
) -> Iterator[Scored]:
    """The frames with valid true depth, one after the other. Arguments as of `score_frames`."""
    for index, (frame, inverse_depth) in enumerate(zip(frames, inverse_depths, strict=True)):
        true = dataset.depth(frame)
        valid = None if true is None else select_valid(true, crop)
        if valid is None or not valid.any():
            continue
        true, inverse_depth = np.asarray(true, np.float64), np.asarray(inverse_depth, np.float64)
        compared = valid & _has_value(inverse_depth, true.shape)
        scale = find_scale(true, inverse_depth, valid) if compared.any() else np.nan
        predicted = scale_to(true, inverse_depth, valid, metric) if compared.any() else np.zeros_like(true)
        yield Scored(index, true, predicted, valid, compared, float(scale))


def _pool_masks(dataset: Any, frame: Any) -> dict[str, np.ndarray]:
    labels, moving = dataset.labels(frame), dataset.moving(frame)
    masks = {}
    if labels is not None:
        masks = {name: labels == i for name, i in zip(dataset.classes.names, dataset.classes.ids)}
    return masks if moving is None else masks | {MOVING: moving, STILL: ~moving}


def pick_frames(dataset: Any, frames: Sequence[Any], count: int) -> list[int]:
    """Numbers of frames spread over all, each the nearest to its place whose true depth is known, if any is."""
    chosen = []
    for place in np.linspace(0, len(frames) - 1, count).astype(int):
        near = sorted(range(len(frames)), key=lambda number, place=place: abs(number - place))
        known = (number for number in near if _is_known(dataset, frames[number]))
        chosen.append(int(next(known, place)))
    return chosen


def _is_known(dataset: Any, frame: Any) -> bool:
    true = dataset.depth(frame)
    return true is not None and bool(select_valid(true).any())


def score_frames(
    dataset: Any, frames: Sequence[Any], inverse_depths: Iterable[np.ndarray], crop: bool = False, metric: bool = False
) -> dict[str, Any]:
    """Score predictions against the data set's depth; each image is scaled by its own median.

    Args:
        frames: those without any valid true depth are passed over.
        inverse_depths: one (H, W) array a frame; 0 = no value: such pixels are not scored.
        crop: Garg crop, for velodyne.
        metric: predictions are in metres, as from stereo, and not scaled.
    Returns:
        `frames`, the number of images scored; means over them of the seven numbers; `abs_rel_moving` and
        `delta1_moving`, pooled over pixels of things that move by themselves (NaN without any), and `abs_rel_still`,
        pooled over all other pixels of frames whose motion is known (NaN without any): compare these two, as `abs_rel`
        is a mean over images; `scale_spread`, the standard deviation over the mean of the images' scales (0: all
        agree); `coverage`, the share of the valid true pixels that have a prediction; `classes`: name -> (abs_rel,
        delta1, pixels), pooled; an empty dictionary if no frame has true depth, NaN for all numbers if no prediction
        has a value there.
    """
    images, sums, scales, valid, compared = [], {}, [], 0, 0
    for pair in compare_frames(dataset, frames, inverse_depths, crop, metric):
        valid, compared = valid + pair.valid.sum(), compared + pair.compared.sum()
        if not pair.compared.any():
            continue
        true, predicted = pair.true[pair.compared], pair.predicted[pair.compared]
        images.append(measure_depth(true, predicted))
        scales.append(pair.scale)
        errors, close = np.abs(predicted - true) / true, np.maximum(predicted / true, true / predicted) < 1.25
        for name, mask in _pool_masks(dataset, frames[pair.index]).items():
            chosen = mask[pair.compared]
            found = errors[chosen].sum(dtype=float), close[chosen].sum(), chosen.sum()
            sums[name] = sums.get(name, 0) + np.array(found, float)
    if not valid:
        return {}
    rows = {name: (*(row[:2] / row[2] if row[2] else [np.nan] * 2), int(row[2])) for name, row in sums.items()}
    moving, still = (rows.pop(name, (np.nan, np.nan, 0)) for name in (MOVING, STILL))
    return {
        "frames": len(images),
        **{key: float(np.mean([image[key] for image in images])) if images else np.nan for key in NUMBERS},
        "abs_rel_moving": float(moving[0]),
        "abs_rel_still": float(still[0]),
        "delta1_moving": float(moving[1]),
        "scale_spread": float(np.std(scales) / np.mean(scales)) if scales else np.nan,
        "coverage": float(compared / valid),
        "classes": {name: (float(abs_rel), float(delta1), n) for name, (abs_rel, delta1, n) in rows.items()},
    }


@dataclass(frozen=True)
class Failure:
    """A badly predicted frame: its index, prediction and truth in metres, relative errors, 0 where not scored. (H, W)

    caption: one line: the frame, its abs_rel and, with labels, the class that contributes most to it.
    """

    index: int
    abs_rel: float
    predicted: np.ndarray
    true: np.ndarray
    errors: np.ndarray
    caption: str


def find_failures(
    dataset: Any, frames: Sequence[Any], inverse_depths: Iterable[np.ndarray], count: int = 3, crop: bool = False,
    metric: bool = False,
) -> list[Failure]:  # fmt: skip
    """The `count` clips of largest abs_rel, worst first, each with its worst frame; fewer if fewer have true depth.

    Other arguments as of `score_frames`; neighbours fail alike, so a clip is shown once.
    """
    worst: list[Failure] = []
    for pair in compare_frames(dataset, frames, inverse_depths, crop, metric):
        if pair.compared.any():
            errors = np.zeros(pair.true.shape)
            true = pair.true[pair.compared].astype(float)
            errors[pair.compared] = np.abs(pair.predicted[pair.compared] - true) / true
            frame, abs_rel = frames[pair.index], float(errors.sum() / pair.compared.sum())
            caption = f"{frame.id}: abs_rel {abs_rel:.2f}{_blame(dataset, frame, errors, pair.compared)}"
            worst.append(Failure(pair.index, abs_rel, pair.predicted, pair.true, errors, caption))
            worst.sort(key=lambda failure: -failure.abs_rel)
            first: dict[str, Failure] = {}
            for failure in worst:
                first.setdefault(frames[failure.index].clip, failure)
            worst = list(first.values())[:count]
    return worst


def _blame(dataset: Any, frame: Any, errors: np.ndarray, compared: np.ndarray) -> str:
    labels = dataset.labels(frame)
    if labels is None or not errors.any():
        return ""
    sums = {name: errors[labels == i].sum() for name, i in zip(dataset.classes.names, dataset.classes.ids)}
    name = max(sums, key=lambda n: sums[n])
    chosen = (labels == dataset.classes.ids[dataset.classes.names.index(name)]) & compared
    if not chosen.any():
        return ""
    return f", {sums[name] / errors.sum():.0%} of it from {name} ({chosen.sum() / compared.sum():.0%} of the pixels)"


def chain_poses(later_from_earlier: np.ndarray) -> np.ndarray:
    """Camera centres of a clip in the coordinates of its first camera. (T - 1, 4, 4) -> (T, 3)"""
    world_from_camera, centres = np.eye(4), [np.zeros(3)]
    for step in later_from_earlier:
        world_from_camera = world_from_camera @ np.linalg.inv(step)
        centres.append(world_from_camera[:3, 3])
    return np.stack(centres)


def align_similarity(points: np.ndarray, target: np.ndarray, with_scale: bool = True) -> tuple[np.ndarray, float]:
    """Rotate, scale and shift `points` onto `target` with the least squared distance (Umeyama 1991, eqs. 40-43).

    Args:
        points, target: (T, 3)
        with_scale: False: only rotate and shift, for tracks in metres.
    Returns:
        The moved points, (T, 3), and the scale. Points that all coincide keep scale 1.
    Raises:
        ValueError: tracks of two lengths, or without points.
    """
    if points.shape != target.shape or not len(points):
        raise ValueError(f"tracks of {points.shape} and {target.shape} cannot be aligned: give as many points of each")
    centre, goal = points.mean(0), target.mean(0)
    left, sizes, right = np.linalg.svd((target - goal).T @ (points - centre))
    signs = np.array([1, 1, np.sign(np.linalg.det(left) * np.linalg.det(right))])
    spread = ((points - centre) ** 2).sum()
    scale = float((sizes * signs).sum() / spread) if with_scale and spread > 0 else 1.0
    return scale * (points - centre) @ ((left * signs) @ right).T + goal, scale


def absolute_trajectory_error(points: np.ndarray, target: np.ndarray, with_scale: bool = True) -> float:
    """How far a track is from the true one after it was aligned as a whole: root mean square, in metres.

    Sturm et al. 2012. Aligned to the whole track, so that tracks of other lengths do not compare.

    Args:
        points: camera centres from `chain_poses`, in scene units. (T, 3)
        target: true ones, in metres. (T, 3)
        with_scale: False for tracks in metres, as from stereo: only rotated and shifted.
    Raises:
        ValueError: as `align_similarity`.
    """
    aligned = align_similarity(points, target, with_scale)[0]
    return float(np.sqrt(((aligned - target) ** 2).sum(1).mean()))


def relative_pose_error(steps: np.ndarray, target: np.ndarray, with_scale: bool = True) -> tuple[float, float]:
    """How far a single step is off: root mean squares of its translation, in metres, and rotation, in degrees.

    Sturm et al. 2012; unlike the absolute error it does not grow with the length of the drive.

    Args:
        steps, target: later_from_earlier, predicted and true. (T, 4, 4)
        with_scale: translations are first multiplied by the one factor that fits all best; False for metres.
    Raises:
        ValueError: different numbers of steps, or none.
    """
    if steps.shape != target.shape or not len(steps):
        raise ValueError(f"steps of {steps.shape} and {target.shape} cannot be compared: give as many of each")
    moves, spread = steps[:, :3, 3], (steps[:, :3, 3] ** 2).sum()
    scale = (moves * target[:, :3, 3]).sum() / spread if with_scale and spread > 0 else 1.0
    scaled = steps.copy()
    scaled[:, :3, 3] = scale * moves
    off = np.linalg.inv(target) @ scaled
    # the arc tangent keeps the digits of tiny angles, which the arc cosine of the trace loses
    twist = np.stack([off[:, i, j] - off[:, j, i] for i, j in ((2, 1), (0, 2), (1, 0))], -1)
    angles = np.arctan2(np.linalg.norm(twist, axis=1), np.trace(off[:, :3, :3], axis1=1, axis2=2) - 1)
    ways = (off[:, :3, 3] ** 2).sum(1)
    return float(np.sqrt(ways.mean())), float(np.degrees(np.sqrt((angles**2).mean())))
