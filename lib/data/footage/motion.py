"""What moves in a video, measured on small grey frames: corners followed from frame to frame, and what stands still."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

MOST_CORNERS = 200  # a frame; twice as many change no finding and take twice the time
LEAST_CORNERS = 8  # fewer say nothing about a pair of frames
CORNER_SPACING = 1 / 50  # of the width, between corners
SEARCH_WINDOW = 1 / 20  # of the width: 15 pixels at 320, the usual size for Lucas-Kanade
RETURN_ERROR = 1.0  # pixels: a corner that is followed forth and back must come back to within
PERSISTENT = 0.8  # a thing fixed to the camera keeps its edges in the mean of all frames; what moves is smeared out
WEAKEST_EDGE = 2.0  # grey levels a pixel; weaker ones are noise
FIXED = 4.0  # grey levels: a date stamp changes less, by compression; distant things that grow change more
MEAN_FRAMES = 60  # enough for the mean image
FIELDS_OF_VIEW = (40, 60, 80, 100)  # degrees that a rotation is tried with, as the camera's is unknown
TURN_ERROR, TURN_RATIO = 1 / 320, 0.25  # of the width, and of the way: what tracking may be off a turn's homography
TURN_POINTS = 0.85  # share of the corners that a turn must explain; driving leaves most of them unexplained
ROTATION_PASSES = 8  # of reweighting
ROTATION_SOFTENING = 1e-3  # of the width, in the weights


@dataclass(frozen=True)
class Motion:
    """Each pair of neighbouring frames of one run. All (P,)

    first: row of the earlier frame. corners: how many were looked for.
    flow: median way of the followed corners as a share of the image width; nan if too few could be followed.
    followed: share of the corners that could be followed; nan if there were too few.
    change: mean difference of grey levels. histogram: share of pixels that change their grey level's class, of 64.
    """

    first: np.ndarray
    corners: np.ndarray
    flow: np.ndarray
    followed: np.ndarray
    change: np.ndarray
    histogram: np.ndarray


@dataclass(frozen=True)
class Still:
    """What does not move with the scene although it has edges: a bonnet, a date stamp.

    mask: edges that are fixed to the camera, and their surroundings. (H, W) bool
    edges: edges across the image that persist in the mean of all frames. (H, W) bool
    change: how much each pixel differs from its usual value in the frames that differ much. Grey levels, (H, W)
    share: of all edges, those that are fixed; near 1 if the camera stands.
    """

    mask: np.ndarray
    edges: np.ndarray
    change: np.ndarray
    share: float


def find_still(gray: np.ndarray) -> Still:
    """Compare the edges of the mean frame with the mean of the frames' edges. (T, H, W) uint8"""
    rows = np.unique(np.linspace(0, len(gray) - 1, min(len(gray), MEAN_FRAMES)).astype(int))
    frames = gray[rows].astype(np.float32)
    across, down = (np.mean([np.abs(_slope(f, axis)) for f in frames], axis=0) for axis in (0, 1))
    mean = frames.mean(axis=0)
    persist = [np.abs(_slope(mean, axis)) for axis in (0, 1)]
    edges = (persist[0] > WEAKEST_EDGE) & (persist[0] > PERSISTENT * across)
    upright = (persist[1] > WEAKEST_EDGE) & (persist[1] > PERSISTENT * down)
    strong = np.maximum(across, down) > WEAKEST_EDGE
    change = np.percentile(np.abs(frames - np.median(frames, axis=0)), 80, axis=0)
    fixed = (edges | upright) & (change < FIXED)
    mask = cv2.dilate(fixed.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)
    return Still(mask, edges, change, float(fixed[strong].mean()) if strong.any() else 1.0)


def _slope(image: np.ndarray, axis: int) -> np.ndarray:
    """Grey levels a pixel, along rows (axis 0: down) or columns (axis 1: across)."""
    return cv2.Sobel(image, cv2.CV_32F, int(axis == 1), int(axis == 0), ksize=3) / 8


def measure_motion(gray: np.ndarray, pairs: np.ndarray, usable: np.ndarray) -> Motion:
    """Follow corners from each frame to the next.

    Args:
        gray: (T, H, W) uint8
        pairs: rows of frames whose next frame belongs to the same run. (P,)
        usable: pixels in which corners are looked for. (H, W) bool
    """
    columns = []
    for t in pairs:
        before, after, count = follow_corners(gray[t], gray[t + 1], usable)
        way = np.linalg.norm(after - before, axis=1) / gray.shape[2]
        flow = np.median(way) if len(way) >= LEAST_CORNERS else np.nan
        followed = len(way) / count if count >= LEAST_CORNERS else np.nan
        change = cv2.absdiff(gray[t], gray[t + 1]).mean()
        columns.append((t, count, flow, followed, change, _compare_histograms(gray[t], gray[t + 1])))
    return Motion(*np.array(columns, float).reshape(-1, 6).T)


def _compare_histograms(a: np.ndarray, b: np.ndarray) -> float:
    counts = [np.bincount(image.ravel() // 4, minlength=64) for image in (a, b)]
    return float(np.abs(counts[0] - counts[1]).sum() / 2 / a.size)


def follow_corners(a: np.ndarray, b: np.ndarray, usable: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Corners of `a` and where they are in `b`, by Lucas-Kanade, kept if they find back. Frames (H, W) uint8

    Returns:
        Pixel coordinates (u, v) in `a` and in `b`, (N, 2) each, and how many corners were looked for.
    """
    width = a.shape[1]
    side = max(7, round(width * SEARCH_WINDOW) // 2 * 2 - 1)
    corners = cv2.goodFeaturesToTrack(a, MOST_CORNERS, 0.01, width * CORNER_SPACING, mask=usable.astype(np.uint8))
    if corners is None:
        return np.zeros((0, 2)), np.zeros((0, 2)), 0
    there, found, _ = cv2.calcOpticalFlowPyrLK(a, b, corners, None, winSize=(side, side), maxLevel=3)
    back, found_back, _ = cv2.calcOpticalFlowPyrLK(b, a, there, None, winSize=(side, side), maxLevel=3)
    close = np.linalg.norm(back - corners, axis=-1)[:, 0] < RETURN_ERROR
    kept = close & (found[:, 0] == 1) & (found_back[:, 0] == 1)
    return corners[kept, 0].astype(float), there[kept, 0].astype(float), len(corners)


def fit_rotation(before: np.ndarray, after: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """How far each point is from where a turn of the camera on the spot would take it, for the turn that fits best.

    A turn moves the image by one homography, whatever the depths; only a camera that moves sees parallax. The turn is
    fitted to the rays of the points (Wahba's problem, by SVD), with weights that forgive moving things.

    Args:
        before, after: pixel coordinates (u, v). (N, 2)
        shape: (H, W) of the frames.
    Returns:
        Distances in shares of the image width. (N,)
    """
    centre, best = (np.array(shape[::-1]) - 1) / 2, np.full(len(before), np.inf)
    for degrees in FIELDS_OF_VIEW:
        focal = shape[1] / 2 / np.tan(np.radians(degrees) / 2)
        rays = [np.c_[(points - centre) / focal, np.ones(len(points))] for points in (before, after)]
        rays = [r / np.linalg.norm(r, axis=1, keepdims=True) for r in rays]
        weights = np.ones(len(before))
        for _ in range(ROTATION_PASSES):
            u, _s, v = np.linalg.svd((rays[1] * weights[:, None]).T @ rays[0])
            turned = rays[0] @ (u @ np.diag([1, 1, np.linalg.det(u @ v)]) @ v).T
            moved = turned[:, :2] / turned[:, 2:] * focal + centre
            error = np.linalg.norm(moved - after, axis=1) / shape[1]
            weights = 1 / (error + ROTATION_SOFTENING)
        if np.median(error) < np.median(best):
            best = error
    return best


def share_of_turns(gray: np.ndarray, pairs: Sequence[tuple[int, int]], usable: np.ndarray) -> float:
    """The share of pairs of frames that a turn on the spot explains; nan if none can be judged.

    Args:
        pairs: rows of two frames between which the image moves by several pixels.
        usable: pixels in which corners are looked for. (H, W) bool
    """
    explained = []
    for a, b in pairs:
        before, after, _ = follow_corners(gray[a], gray[b], usable)
        if len(before) >= LEAST_CORNERS:
            error, flow = fit_rotation(before, after, gray.shape[1:]), np.linalg.norm(after - before, axis=1)
            bound = min(TURN_ERROR, TURN_RATIO * np.median(flow) / gray.shape[2])
            explained.append((error < bound).mean() > TURN_POINTS)
    return float(np.mean(explained)) if explained else np.nan
