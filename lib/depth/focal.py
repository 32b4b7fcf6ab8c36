"""When a focal length can be learned from video, and what was learned (Gordon et al. 2019; own analysis)."""

from collections.abc import Iterable, Sequence

import numpy as np
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from ..data.cameras import scale_focal_lengths
from ..intrinsics import field_of_view_of


def measure_focal_error(
    pixels: np.ndarray, depth: np.ndarray, intrinsics: np.ndarray, later_from_earlier: np.ndarray,
    factors: Sequence[float],
) -> np.ndarray:  # fmt: skip
    """How far pixels are missed by the best motion that a wrong focal length allows, their depth being known.

    The depth network sees single images, so it cannot bend depth to a wrong focal length only while the camera turns:
    this miss is what teaches the focal length. Without rotation it is 0, whatever the focal length.

    Args:
        pixels: columns and rows. (N, 2)
        depth: of each, along z, true or from a trained network. (N,)
        intrinsics: the right ones. (3, 3)
        later_from_earlier: the right motion. (4, 4)
        factors: wrong focal lengths, as shares of the right one. (F,)
    Returns:
        Root mean square distance in pixels, for each factor. (F,)
    """
    rays = np.linalg.solve(intrinsics, np.c_[pixels, np.ones(len(pixels))].T)  # (3, N)
    rotation, translation = later_from_earlier[:3, :3], later_from_earlier[:3, 3]
    goal = _project(intrinsics, rotation @ (rays * depth) + translation[:, None])
    start = np.r_[Rotation.from_matrix(rotation).as_rotvec(), translation]
    misses = []
    for factor in factors:
        wrong = scale_focal_lengths(intrinsics, factor)
        points = np.linalg.solve(wrong, np.c_[pixels, np.ones(len(pixels))].T) * depth

        def miss(motion: np.ndarray, wrong: np.ndarray = wrong, points: np.ndarray = points) -> np.ndarray:
            moved = Rotation.from_rotvec(motion[:3]).as_matrix() @ points + motion[3:, None]
            return (_project(wrong, moved) - goal).ravel()

        best = least_squares(miss, start, x_scale="jac").fun
        misses.append(np.sqrt((best**2).sum() / len(pixels)))
    return np.array(misses)


def _project(intrinsics: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(3, N) -> pixel coordinates (2, N)"""
    moved = intrinsics @ points
    return moved[:2] / np.maximum(moved[2], 1e-6)


def describe_focal(assumed: np.ndarray, factors: Iterable[np.ndarray], width: int) -> dict[str, float]:
    """What a training with learned intrinsics made of the focal length.

    Args:
        assumed: the intrinsics that learning began with. (3, 3)
        factors: of each clip, what its pairs make of it, see `predict_motion`.
    Returns:
        `focal_length` in pixels of this width, the median over all pairs; `focal_length_spread`, the standard
        deviation over clips of their medians, in pixels, NaN for a single clip; `field_of_view`, degrees;
        `focal_factor`, the same median as a factor on the assumed focal length, see `correct_intrinsics`.
    """
    clips = [np.median(f) for f in factors if len(f)]
    pairs = np.concatenate([f for f in factors if len(f)])
    factor = float(np.median(pairs))
    found = scale_focal_lengths(assumed, factor)
    spread = float(np.std(clips) * assumed[0, 0]) if len(clips) > 1 else np.nan
    return {
        "focal_length": float(found[0, 0]),
        "focal_length_spread": spread,
        "field_of_view": field_of_view_of(found, width),
        "focal_factor": factor,
    }
