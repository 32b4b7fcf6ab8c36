"""The matrix of a pinhole camera, in numpy: from a field of view, and after a resize or a crop of the image.

Pixel (0, 0) is the centre of the top-left pixel. Processes that only read frames need no more geometry, and no torch.
"""

import math

import numpy as np

UNKNOWN = 70.0  # degrees: assumed where nobody knows the field of view; dashcams and phones lie between 55 and 90


def intrinsics_from_field_of_view(degrees: float, height: int, width: int) -> np.ndarray:
    """Pinhole matrix of a camera with square pixels that looks through the middle of the image.

    Args:
        degrees: horizontal field of view, edge to edge.
    Returns:
        Intrinsics in pixels of a height x width image. (3, 3) float64
    """
    focal = width / 2 / math.tan(math.radians(degrees) / 2)
    return np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])


def field_of_view_of(intrinsics: np.ndarray, width: int) -> float:
    """Horizontal field of view, edge to edge, in degrees, of a camera with these intrinsics. (3, 3)"""
    return math.degrees(2 * math.atan(width / 2 / float(intrinsics[0, 0])))


def make_resize(from_size: tuple[int, int], to_size: tuple[int, int]) -> np.ndarray:
    """What intrinsics are multiplied with when the image is resized; the centre moves to (c + 0.5) s - 0.5. (3, 3)

    Args:
        from_size, to_size: (height, width) in pixels.
    """
    sy, sx = to_size[0] / from_size[0], to_size[1] / from_size[1]
    return np.array([[sx, 0, 0.5 * sx - 0.5], [0, sy, 0.5 * sy - 0.5], [0, 0, 1]])


def resize_intrinsics(intrinsics: np.ndarray, from_size: tuple[int, int], to_size: tuple[int, int]) -> np.ndarray:
    """Intrinsics after a resize of the image, see `make_resize`. (..., 3, 3)"""
    return make_resize(from_size, to_size) @ intrinsics


def make_crop(top: float, left: float) -> np.ndarray:
    """What intrinsics are multiplied with when the first `top` rows and `left` columns are cut off. (3, 3)"""
    return np.array([[1, 0, -left], [0, 1, -top], [0, 0, 1]], float)


def crop_intrinsics(intrinsics: np.ndarray, top: float, left: float) -> np.ndarray:
    """Intrinsics after a crop of the image, see `make_crop`. (..., 3, 3)"""
    return make_crop(top, left) @ intrinsics


def fit_intrinsics(intrinsics: np.ndarray, window: tuple[slice, slice], size: tuple[int, int]) -> np.ndarray:
    """Intrinsics of a stored image after these rows and columns of it are resized to `size` (H, W). (..., 3, 3)"""
    rows, columns = window
    cut = crop_intrinsics(intrinsics, rows.start, columns.start)
    return resize_intrinsics(cut, (rows.stop - rows.start, columns.stop - columns.start), size)
