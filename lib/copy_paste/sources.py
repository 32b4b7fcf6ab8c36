"""Images to take regions from, with what all pastes of an image share."""

from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage

LEVELS = 4  # of the image pyramid; a paste is rarely below 1/8 of its source's size


@dataclass(frozen=True)
class Source:
    """An image to take regions from, with what all its pastes share.

    pyramid: the image and smaller copies, each half the last, with an unused channel: OpenCV warps four channels in
        half the time of three. LEVELS times (h, w, 4) uint8
    regions: 1..R, 0 = none. (H, W) uint16
    inverse_depth: not negative; 0 = no value, which hides nothing. (H, W) float32
    boxes: top, left, height, width of each region in pixels; row 0 the image. (R + 1, 4)
    means: mean RGB of each region; row 0 the image's. (R + 1, 3)
    """

    pyramid: tuple[np.ndarray, ...]
    regions: np.ndarray
    inverse_depth: np.ndarray
    boxes: np.ndarray
    means: np.ndarray


def prepare_source(image: np.ndarray, regions: np.ndarray, inverse_depth: np.ndarray) -> Source:
    """Everything about one image that stays the same between items. Arguments as in `Source`; image (H, W, 3) uint8.

    Raises:
        ValueError: sizes differ, the image is not uint8, or the inverse depth is negative or not finite.
    """
    if not image.shape == (*regions.shape, 3) == (*inverse_depth.shape, 3):
        sizes = f"image {image.shape}, regions {regions.shape}, inverse depth {inverse_depth.shape}"
        raise ValueError(f"{sizes}: all three must have one height and width, so run 01 and 02 at one size")
    if image.dtype != np.uint8:
        raise ValueError(f"the image must be uint8 RGB, not {image.dtype}")
    if not (np.isfinite(inverse_depth).all() and inverse_depth.min() >= 0):
        raise ValueError("inverse depth must be finite and not negative: write 0 where there is no value")
    pyramid = [cv2.cvtColor(image, cv2.COLOR_RGB2RGBA)]
    for _ in range(LEVELS - 1):
        height, width = pyramid[-1].shape[:2]
        pyramid.append(cv2.resize(pyramid[-1], ((width + 1) // 2, (height + 1) // 2), interpolation=cv2.INTER_AREA))
    boxes = np.zeros((int(regions.max()) + 1, 4), np.intp)
    boxes[0, 2:] = regions.shape
    for region, found in enumerate(ndimage.find_objects(regions.astype(np.intp)), start=1):
        if found is not None:
            boxes[region] = *(part.start for part in found), *(part.stop - part.start for part in found)
    flat, pixels = regions.ravel(), np.maximum(np.bincount(regions.ravel()), 1)
    means = np.stack([np.bincount(flat, image[..., c].ravel()) / pixels for c in range(3)], axis=1)
    means[0] = image.mean(axis=(0, 1))
    return Source(tuple(pyramid), regions, inverse_depth.astype(np.float32), boxes, means)
