"""Pictures that move: a video file written frame by frame, and what is drawn into its frames.

Colours are those of all figures: class colours over the image, inverse depth bright where near. What scales a frame is
given once for the whole video, so that nothing flickers.
"""

import math
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..artifacts.files import write_aside
from ..data import resize_map
from ..data.labels import IGNORE
from . import blend, color_depth

CODECS = ("vp09", "mp4v")  # VP9 plays in browsers; MPEG-4 is there where VP9 is not, and plays in VLC
NEAR_PERCENTILE = 98  # of inverse depth: brightest, as in `color_depth`
ROW = 22  # pixels, of a line of the legend
FONT, FONT_SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.45


class VideoFile:
    """An mp4 that frames are written to; used in a `with` block, at whose end the file gets its name.

    Until then it is written aside: a stopped program leaves no half video, and what was there before stays.

    Args:
        path: ends in .mp4; its folder is made.
        rate: frames a second.
        size: (H, W) of the frames. Odd sizes lose their last row or column, as codecs need even ones.
    Raises:
        ValueError: another ending, a rate or size that is no video, a frame of another size, or no frame at all.
        OSError: the codec is missing or the disk is full.
    """

    def __init__(self, path: str | Path, rate: float, size: tuple[int, int], codecs: Sequence[str] = CODECS) -> None:
        self.path, self.frames, self.size, self._rate = Path(path), 0, tuple(size), rate
        if self.path.suffix.lower() != ".mp4":
            raise ValueError(f"{self.path.name}: a video is written as .mp4; choose a name that ends so")
        if not (0 < rate < math.inf) or min(size) < 2:
            raise ValueError(f"{self.path.name}: {rate} frames a second of {size[0]} x {size[1]} pixels are no video")
        self._even, self._codecs = (size[0] // 2 * 2, size[1] // 2 * 2), codecs

    def __enter__(self) -> "VideoFile":
        with ExitStack() as stack:
            self._aside = stack.enter_context(write_aside(self.path))
            for codec in self._codecs:
                code = cv2.VideoWriter_fourcc(*codec)
                self._writer = cv2.VideoWriter(str(self._aside), code, self._rate, self._even[::-1])
                if self._writer.isOpened():
                    self._stack = stack.pop_all()
                    return self
            raise OSError(f"OpenCV cannot write {self.path} as {' or '.join(self._codecs)}: is its folder writable?")

    def write(self, frame: np.ndarray) -> None:
        """Append a frame. RGB (H, W, 3) uint8"""
        if frame.shape != (*self.size, 3) or frame.dtype != np.uint8:
            raise ValueError(
                f"{self.path.name}: frame {self.frames} is {frame.shape} {frame.dtype}, the video is "
                f"{(*self.size, 3)} uint8"
            )
        self._writer.write(cv2.cvtColor(frame[: self._even[0], : self._even[1]], cv2.COLOR_RGB2BGR))
        self.frames += 1

    def __exit__(self, *error: Any) -> None:
        self._writer.release()
        if error[0]:
            self._stack.__exit__(*error)
            return
        with self._stack:
            self._check()

    def _check(self) -> None:
        """OpenCV is silent about a full disk: count what can be read back."""
        if not self.frames:
            raise ValueError(f"{self.path.name}: no frame was written, so there is no video")
        capture = cv2.VideoCapture(str(self._aside))
        count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0
        capture.release()
        if count != self.frames:
            raise OSError(f"{self.path} holds {count} of {self.frames} frames: is the disk full? free some, run again")


def overlay_labels(
    image: np.ndarray, labels: np.ndarray, colors: np.ndarray, opacity: float = 0.5, outline: bool = True
) -> np.ndarray:
    """Class colours laid over an image; where the label is 255, nothing is known and the image stays as it is.

    Args:
        image: RGB. (H, W, 3) uint8
        labels: train ids or cluster numbers; a map of another size is enlarged, nearest. (h, w) uint8
        colors: RGB of every value. (256, 3) uint8
        opacity: 0 = image, 1 = colours.
        outline: draw the borders between labels in full colour.
    Returns:
        RGB. (H, W, 3) uint8
    """
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity must lie in 0..1, not {opacity}")
    labels = resize_map(labels, image.shape[:2])
    painted, known = colors[labels], labels != IGNORE
    drawn = np.where(known[..., None], blend(image, painted, opacity), image)
    if outline:
        border = np.zeros(labels.shape, bool)
        border[:, 1:] |= labels[:, 1:] != labels[:, :-1]
        border[1:] |= labels[1:] != labels[:-1]
        drawn[border & known] = painted[border & known]
    return drawn


def find_nearest(inverse_depths: Iterable[np.ndarray]) -> float:
    """One range for a whole video: the inverse depth that `color_inverse_depth` draws brightest.

    Args:
        inverse_depths: some maps of the video; 0 or not finite = no value. (H, W) each
    """
    values = [values[np.isfinite(values) & (values > 0)] for values in inverse_depths]
    values = np.concatenate(values) if values else np.zeros(0)
    return float(np.percentile(values, NEAR_PERCENTILE)) if len(values) else 1.0


def color_inverse_depth(inverse_depth: np.ndarray, largest: float) -> np.ndarray:
    """Inverse depth as RGB, as in all figures: bright = near, dark = far, grey = no value. (H, W) -> (H, W, 3) uint8

    Args:
        largest: what is brightest, the same for all frames (`find_nearest`).
    """
    return color_depth(inverse_depth, largest)


def draw_legend(names: Sequence[str], colors: np.ndarray, width: int) -> np.ndarray:
    """Names beside their colours, in as many lines as they need, to be stacked below a frame.

    Args:
        names: of the classes; one that does not fit a line alone is cut at its end.
        colors: RGB of each. (K, 3) uint8
        width: of the picture in pixels.
    Returns:
        RGB on white. (h, width, 3) uint8
    """
    places, x, y = [], 0, 0
    for name in names:
        need = ROW + cv2.getTextSize(name, FONT, FONT_SCALE, 1)[0][0] + ROW // 2
        if x and x + need > width:
            x, y = 0, y + ROW
        places.append((x, y))
        x += need
    picture = np.full((y + ROW, width, 3), 255, np.uint8)
    for name, color, (x, y) in zip(names, colors, places):
        picture[y + 5 : y + ROW - 5, x + 5 : x + ROW - 5] = color
        cv2.putText(picture, name, (x + ROW, y + ROW - 7), FONT, FONT_SCALE, (0, 0, 0), 1, cv2.LINE_AA)
    return picture
