"""Depth metrics (Eigen et al. 2014; facts/evaluation.md sec. 9) and driven trajectories against the true ones."""

from typing import Any

import numpy as np

CAP = 80.0  # metres: farther true depth is left out, farther predictions count as this
FLOOR = 1e-3  # metres
GARG = (0.40810811, 0.99189189), (0.03594771, 0.96405229)  # rows, columns as shares: what velodyne reaches in KITTI


def select_valid(depth: np.ndarray, crop: bool = False) -> np.ndarray:
    """Pixels that are scored: measured, nearer than 80 m (so no sky), inside the Garg crop if wanted. (H, W) bool"""
    valid = (depth > FLOOR) & (depth < CAP)
    if crop:
        inside = np.zeros_like(valid)
        inside[tuple(slice(int(a * n), int(b * n)) for (a, b), n in zip(GARG, depth.shape))] = True
        valid &= inside
    return valid


def scale_to(depth: np.ndarray, inverse_depth: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Predicted depth in metres after median scaling on the valid pixels of this image. (H, W)"""
    predicted = 1 / np.maximum(inverse_depth, 1e-6)
    return np.clip(predicted * (np.median(depth[valid]) / np.median(predicted[valid])), FLOOR, CAP)


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


def score_frames(dataset: Any, frames: list[Any], inverse_depths: Any, crop: bool = False) -> dict[str, Any]:
    """Score predictions against the data set's depth; each image is scaled by its own median.

    Args:
        frames: those without any valid true depth are passed over.
        inverse_depths: one (H, W) array a frame.
        crop: Garg crop, for velodyne.
    Returns:
        `frames`, the number of images scored; means over them of the seven numbers; `abs_rel_moving`, pooled over
        pixels of moving things (NaN without any); `classes`: name -> (abs_rel, delta1, pixels), pooled; an empty
        dictionary if no frame has true depth.
    """
    images, pools = [], {}
    for frame, inverse_depth in zip(frames, inverse_depths, strict=True):
        true = dataset.depth(frame)
        valid = None if true is None else select_valid(true, crop)
        if valid is None or not valid.any():
            continue
        predicted = scale_to(true, inverse_depth, valid)
        images.append(measure_depth(true[valid], predicted[valid]))
        masks, labels, moving = {}, dataset.labels(frame), dataset.moving(frame)
        if labels is not None:
            masks = {name: labels == i for name, i in zip(dataset.classes.names, dataset.classes.ids)}
        if moving is not None:
            masks["abs_rel_moving"] = moving
        for name, mask in masks.items():
            pools.setdefault(name, []).append((true[mask & valid], predicted[mask & valid]))
    if not images:
        return {}
    joined = {name: [np.concatenate(side) for side in zip(*pairs)] for name, pairs in pools.items()}
    moving = joined.pop("abs_rel_moving", (np.zeros(0), np.zeros(0)))
    nan = {"abs_rel": np.nan, "delta1": np.nan}
    rows = {name: (measure_depth(*pair) if len(pair[0]) else nan, len(pair[0])) for name, pair in joined.items()}
    return {
        "frames": len(images),
        **{key: float(np.mean([image[key] for image in images])) for key in images[0]},
        "abs_rel_moving": float(measure_depth(*moving)["abs_rel"]) if len(moving[0]) else np.nan,
        "classes": {name: (float(row["abs_rel"]), float(row["delta1"]), n) for name, (row, n) in rows.items()},
    }


def chain_poses(later_from_earlier: np.ndarray) -> np.ndarray:
    """Camera centres of a clip in the coordinates of its first camera. (T - 1, 4, 4) -> (T, 3)"""
    world_from_camera, centres = np.eye(4), [np.zeros(3)]
    for step in later_from_earlier:
        world_from_camera = world_from_camera @ np.linalg.inv(step)
        centres.append(world_from_camera[:3, 3])
    return np.stack(centres)


def align_similarity(points: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, float]:
    """Rotate, scale and shift `points` onto `target` with the least squared distance (Umeyama 1991, eqs. 40-43).

    Args:
        points, target: (T, 3)
    Returns:
        The moved points, (T, 3), and the scale. Points that all coincide keep scale 1.
    """
    centre, goal = points.mean(0), target.mean(0)
    left, sizes, right = np.linalg.svd((target - goal).T @ (points - centre))
    signs = np.array([1, 1, np.sign(np.linalg.det(left) * np.linalg.det(right))])
    spread = ((points - centre) ** 2).sum()
    scale = float((sizes * signs).sum() / spread) if spread > 0 else 1.0
    return scale * (points - centre) @ ((left * signs) @ right).T + goal, scale
