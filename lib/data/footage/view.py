"""A video as the checks see it: small grey frames, what stands still in them, and what moves."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from .motion import Motion, Still, find_still, measure_motion, share_of_turns

SHORTEST = 3  # frames
LEAST_STILL_FRAMES = 10  # fewer do not smear out what moves
STANDING = 0.5  # of all edges: where more persist, the camera stands, and nothing is told apart
LOWER_PART = 0.65  # of the uncut height: bonnets begin below; above, far horizons persist too
MIDDLE = slice(1, 3)  # quarters of the width in which a bonnet is looked for
EDGE_WINDOW = 1 / 16  # of the height, in which the curved edge of a bonnet lies there
CLEAR_EDGE = (
    0.7  # of the columns: the bonnets of Cityscapes and of CamVid's 0001TP have 0.75; lane lines less than 0.65
)
FAINT_EDGE, QUIET = 0.5, 0.25  # or half of the columns, if what lies below changes a quarter as much as what is above
SCENE_CHANGE = 3.0  # grey levels: where the scene changes less, the camera stands
REPEATED, LONGEST_REPEAT = 0.05, 5  # of the usual change between frames; more repeats in a row are a halt
CUT_FOLLOWED, CUT_HISTOGRAM = 0.3, 2.5  # of the usual share of followed corners; of the usual change of the histogram
TURN_FLOW = 0.015  # of the width: frames are compared that lie so far apart, as parallax shows then
TURN_PAIRS, TURN_GAP = 30, 60  # pairs of frames that are compared; how many frames they may lie apart


@dataclass(frozen=True)
class View:
    """What the checks read.

    gray: (T, H, W) uint8. times: of each, in seconds. (T,)
    kept: frames of the whole video. seconds: its length. time_steps: between its frames, in seconds. (N - 1,)
    usable: pixels that are neither bonnet nor fixed to the camera. (H, W) bool
    bonnet: share of the height of `gray` that it covers, 0 = there is none.
    step, crop_bottom: what has been done to the file to get these frames.
    """

    gray: np.ndarray
    times: np.ndarray
    kept: int
    seconds: float
    time_steps: np.ndarray
    step: int
    crop_bottom: float
    still: Still
    usable: np.ndarray
    bonnet: float
    motion: Motion

    @cached_property
    def repeated(self) -> np.ndarray:
        """Pairs of equal frames between pairs that differ. (P,) bool"""
        change = self.motion.change
        equal = change <= REPEATED * np.percentile(change, 90)
        stretch = np.cumsum(np.r_[True, equal[1:] != equal[:-1]])
        return equal & (np.bincount(stretch)[stretch] <= LONGEST_REPEAT)

    @cached_property
    def cut(self) -> np.ndarray:
        """Pairs of frames of two scenes: other grey levels, and corners that cannot be followed. (P,) bool"""
        followed, histogram = np.nan_to_num(self.motion.followed), self.motion.histogram
        if self.repeated.all():
            return np.zeros(len(followed), bool)
        usual = np.median(histogram[~self.repeated])
        return (histogram > CUT_HISTOGRAM * usual) & (followed < CUT_FOLLOWED * np.median(followed))

    @cached_property
    def flow(self) -> np.ndarray:
        """Motion of the image from frame to frame where it can be judged, in shares of the width. (<= P,)"""
        return self.motion.flow[self.judged]

    @cached_property
    def judged(self) -> np.ndarray:
        """Pairs of frames whose motion is known: neither a cut, nor repeated, nor without corners. (P,) bool"""
        return np.isfinite(self.motion.flow) & ~self.repeated & ~self.cut

    @cached_property
    def turns(self) -> float:
        """Share of the image motion that a camera turning on the spot explains; nan if too little moves."""
        first, pairs = self.motion.first.astype(int), []
        way = np.where(self.judged, self.motion.flow, np.where(self.repeated, 0, np.nan))
        for k in np.unique(np.linspace(0, len(first) - 1, TURN_PAIRS).astype(int)):
            part = slice(k, k + TURN_GAP)
            together = first[part] == first[k] + np.arange(len(first[part]))
            reached = np.flatnonzero(together & (np.cumsum(way[part]) >= TURN_FLOW))
            if len(reached):
                pairs.append((first[k], first[k] + reached[0] + 1))
        return share_of_turns(self.gray, pairs, self.usable)


def make_view(
    frames: Iterable[np.ndarray],
    times: Sequence[float],
    runs: Sequence[int] | None,
    step: int,
    crop_bottom: float,
    file_times: Sequence[float] | None,
) -> View:
    """Measure a video; arguments as of `check_footage`.

    Raises:
        ValueError: fewer than 3 frames, or arrays that do not fit each other.
    """
    check_ranges(step, crop_bottom)
    frames, times = list(frames), np.asarray(times, float)
    if len(frames) < SHORTEST:
        raise ValueError(f"{len(frames)} frames are too few to check a video: give {SHORTEST} or more")
    kinds = {(frame.shape, str(frame.dtype)) for frame in frames}
    if len(kinds) > 1 or frames[0].shape[2:] != (3,) or frames[0].dtype != np.uint8:
        raise ValueError(f"frames must all be (H, W, 3) uint8 of one size, not {sorted(kinds)[:3]}")
    runs = np.zeros(len(frames), int) if runs is None else np.asarray(runs)
    if not len(frames) == len(times) == len(runs):
        raise ValueError(f"{len(frames)} frames, {len(times)} times and {len(runs)} numbers of runs: give one each")
    pairs = np.flatnonzero(runs[1:] == runs[:-1])
    if not len(pairs):
        raise ValueError("no two frames belong to one run: give runs of neighbouring frames")
    gray = np.stack([cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY) for frame in frames])
    still = find_still(gray)
    bonnet = find_bonnet(still, crop_bottom) if len(gray) >= LEAST_STILL_FRAMES else 0.0
    usable = np.ones(gray.shape[1:], bool)
    if len(gray) >= LEAST_STILL_FRAMES and still.share < STANDING:
        usable = ~still.mask
    usable[gray.shape[1] - round(bonnet * gray.shape[1]) :] = False
    steps, kept = np.diff(times)[pairs], len(frames)
    if file_times is not None:
        times_of_all = np.asarray(file_times, float)
        steps, kept = np.diff(times_of_all), -(-len(times_of_all) // step)
    motion = measure_motion(gray, pairs, usable)
    return View(gray, times, kept, float(steps.sum()), steps, step, crop_bottom, still, usable, bonnet, motion)


def check_ranges(step: int, crop_bottom: float) -> None:
    """Raises ValueError where the two parameters mean nothing."""
    if step < 1 or not 0 <= crop_bottom < 1:
        text = f"crop_bottom = {crop_bottom} and video_step = {step}"
        raise ValueError(f"{text}: they must lie in 0..1 and from 1 on")


def scene_changes(still: Still, crop_bottom: float) -> bool:
    """Does what is neither sky nor bonnet change?"""
    height = len(still.change)
    return bool(np.median(still.change[height // 4 : _lower(height, crop_bottom)]) >= SCENE_CHANGE)


def _lower(height: int, crop_bottom: float) -> int:
    """The row at which the lower part of the uncut image begins."""
    return max(height // 4 + 1, round(height * min(1, LOWER_PART / (1 - crop_bottom))))


def find_bonnet(still: Still, crop_bottom: float = 0.0) -> float:
    """The share of the height, from below, that a bonnet or a bar covers; 0 if there is none.

    Its upper edge stays where it is in the middle of the image, while the road above and even the reflections in it
    move. The edge is curved: it is looked for in a band of rows, from above.
    """
    height, width = still.edges.shape
    middle = slice(MIDDLE.start * width // 4, MIDDLE.stop * width // 4)
    edges, change, band = still.edges[:, middle], still.change[:, middle], max(2, round(height * EDGE_WINDOW))
    best = (0.0, 0.0)  # share of the columns, share of the height
    rows = range(_lower(height, crop_bottom), height - band)
    for top in rows if scene_changes(still, crop_bottom) else ():
        found = edges[top : top + band]
        columns = found.any(axis=0).mean()
        above, below = np.median(change[top - height // 6 : top]), np.median(change[top + band :])
        if columns > best[0] and (columns >= CLEAR_EDGE or (columns >= FAINT_EDGE and below <= QUIET * above)):
            first = np.argmax(found, axis=0)[found.any(axis=0)]
            best = columns, (height - top - np.percentile(first, 10) + 2) / height  # two rows more: the edge is blurred
    return float(best[1])
