"""Depth from a stereo pair by semi-global matching (Hirschmueller 2008), as OpenCV has it."""

from typing import Any

import cv2
import numpy as np

from ...data import Dataset, Frame
from ..triplets import intrinsics_of
from .interface import DepthSource, need_frames

NEAREST = 2.0  # metres; nothing nearer is searched for
BLOCK = 5  # pixels; side of the windows that are compared
CHANNELS = 3
UNIQUE = 5  # percent by which the best disparity must beat the second best
SPECKLE = 50  # pixels; smaller islands of another disparity are taken for errors
AGREE = 1.0  # pixels that the disparities of left and right may differ by
SMALL = 256  # pixels of width; narrower images are compared at twice their size: measured to pay there, not above
STEPS = 16  # OpenCV's disparities: steps a pixel, and what their number must be a multiple of


class Stereo(DepthSource):
    """Right images of the data set, compared with the left ones; holes where a pixel is seen from one side only."""

    name, about = "stereo", "measured between left and right images by semi-global matching"
    advice = "choose a data set with stereo pairs, or another source"

    def __init__(self, params: Any, dataset: Dataset) -> None:
        super().__init__()
        self._dataset, self._params, self.largest = dataset, params, 1 / params.min_depth
        need_frames(dataset, lambda frame: dataset.baseline(frame) is not None, "no right image", self.advice)

    def _predict(self, frames: list[Frame], images: np.ndarray) -> np.ndarray:
        return np.stack([self._match(frame, left) for frame, left in zip(frames, images)])

    def _match(self, frame: Frame, left: np.ndarray) -> np.ndarray:
        right, baseline = self._dataset.right_image(frame), self._dataset.baseline(frame)
        if right is None or baseline is None:
            raise ValueError(f"{self._dataset.name} has no right image of {frame.id}; {self.advice}")
        factor = intrinsics_of(frame, self._params)[0, 0] * baseline  # disparity in pixels times depth in metres
        disparity = match_stereo(left, right, factor / max(self._params.min_depth, NEAREST))
        # none that can be told from 0: half a step stands for it, as 0 would mean "no value"
        return np.nan_to_num(np.maximum(disparity, 0.5 / STEPS) / factor).astype(np.float32)


def match_stereo(left: np.ndarray, right: np.ndarray, largest: float) -> np.ndarray:
    """Disparity of each pixel of the left image: its column less that of the same point in the right one.

    Args:
        left, right: a rectified pair. (H, W, 3) uint8
        largest: disparity in pixels that is searched up to.
    Returns:
        Pixels, NaN where left and right do not agree on one. (H, W) float32
    """
    scale = 2 if left.shape[1] < SMALL else 1
    if scale > 1:
        left, right = (cv2.resize(a, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC) for a in (left, right))
    count = STEPS * int(np.clip(np.ceil(largest * scale / STEPS), 1, -(-left.shape[1] // STEPS)))
    matcher = cv2.StereoSGBM_create(
        minDisparity=0,
        numDisparities=count,
        blockSize=BLOCK,
        P1=8 * CHANNELS * BLOCK**2,  # OpenCV's documentation gives both formulas
        P2=32 * CHANNELS * BLOCK**2,
        uniquenessRatio=UNIQUE,
        mode=cv2.STEREO_SGBM_MODE_SGBM_3WAY,
    )
    found = _search(matcher, left, right)
    # mirrored, the right camera is the left one
    mirrored = (np.ascontiguousarray(a[:, ::-1]) for a in (right, left))
    found = _agree(found, _search(matcher, *mirrored)[:, ::-1])
    cv2.filterSpeckles(found, -STEPS, SPECKLE * scale**2, STEPS)
    disparity = np.where(found >= 0, found / np.float32(STEPS), np.nan).astype(np.float32)
    return _shrink(disparity, scale) / scale


def _search(matcher: Any, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Disparity in sixteenths of a pixel, negative = none. (H, W) int16"""
    count = matcher.getNumDisparities()
    # OpenCV leaves out the first `count` columns, although all but the near things there can be seen in both
    padded = (cv2.copyMakeBorder(a, 0, 0, count, 0, cv2.BORDER_REPLICATE) for a in (left, right))
    return matcher.compute(*padded)[:, count:]


def _agree(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """`left` where the pixel it leads to leads back, else -STEPS. (H, W) int16"""
    target = np.arange(left.shape[1]) - np.rint(left / STEPS).astype(int)
    back = np.take_along_axis(right, target.clip(0, left.shape[1] - 1), axis=1)
    agrees = (left >= 0) & (back >= 0) & (target >= 0) & (np.abs(back - left) <= AGREE * STEPS)
    return np.where(agrees, left, -STEPS).astype(np.int16)


def _shrink(values: np.ndarray, scale: int) -> np.ndarray:
    """The median of the known values in each scale x scale cell, NaN without any."""
    height, width = (side // scale for side in values.shape)
    cells = values.reshape(height, scale, width, scale).swapaxes(1, 2).reshape(height, width, -1)
    cells, count = np.sort(cells, axis=-1), np.isfinite(cells).sum(-1, keepdims=True)  # sorting puts NaN last
    middles = np.concatenate([(count - 1) // 2, count // 2], axis=-1)  # -1 and 0 without any: both NaN
    return np.take_along_axis(cells, middles, axis=-1).mean(-1)
