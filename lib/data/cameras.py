"""Which intrinsics hold for a frame: calibrated, assumed, or learned from video by notebook 01."""

from typing import Any

import numpy as np

from ..intrinsics import UNKNOWN, intrinsics_from_field_of_view
from . import Frame


def intrinsics_of(frame: Frame, params: Any) -> np.ndarray:
    """The frame's matrix, or if there is none, a camera of `params.field_of_view` that looks through the middle.

    With `learn_intrinsics` = all, where learning begins: both focal lengths times one factor, so that the horizontal
    one is that of an unknown angle (70 degrees); the middle and the shape of pixels stay.

    Returns:
        (3, 3) float64
    """
    matrix = frame.intrinsics
    if matrix is None:
        degrees = params.field_of_view or UNKNOWN
        matrix = intrinsics_from_field_of_view(degrees, params.height, params.width)
    if params.learn_intrinsics == "all":
        begin = float(intrinsics_from_field_of_view(UNKNOWN, params.height, params.width)[0, 0])
        return scale_focal_lengths(matrix, begin / matrix[0, 0])
    return matrix


def correct_intrinsics(frame: Frame, params: Any, factor: float = 1.0) -> np.ndarray:
    """The camera to use after the training: the calibration, or where nobody measured it, what was learned. (3, 3)

    Args:
        factor: what learning made of the assumed focal length, see `describe_focal`. A calibrated frame does without,
            also with `learn_intrinsics` = all, which is a check.
    """
    return frame.intrinsics if frame.calibrated else scale_focal_lengths(intrinsics_of(frame, params), factor)


def scale_focal_lengths(matrix: np.ndarray, factor: float) -> np.ndarray:
    """Intrinsics with both focal lengths times `factor`. (3, 3)"""
    return matrix * np.array([[factor, 1, 1], [1, factor, 1], [1, 1, 1]])
