"""Frames and times of one clip: a video file that OpenCV decodes, or a folder of frames."""

import errno
import math
import os
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from .. import list_images, read_image, read_size
from ..files import ENDINGS, natural_key

VIDEO_ENDINGS = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts")
VIDEO_ENDINGS += (".wmv", ".asf", ".flv", ".3gp", ".ogv", ".mjpeg")
"""What counts as a video inside a folder; a file that is named itself may end in anything."""
FOLDER_RATE = 30.0  # frames a second, assumed of a folder of images, which has no clock
MISSING_SHARE, MISSING_LEAST = 0.02, 2  # more missing frames than this are worth a note; headers often err by one
MOST_ANNOUNCED = 1e9  # frames; what a header says beyond it is no count


@dataclass(frozen=True)
class VideoInfo:
    """What a video file or a folder of frames holds.

    frames: as counted by decoding to the end. rate: frames a second, mean. size: (H, W) of a frame in pixels.
    times: seconds from the beginning of every frame, never decreasing; of a folder at 30 Hz. (N,) float64
    is_folder: a folder of frames. announced: frames by the file's header, 0 = it does not say.
    """

    path: Path
    frames: int
    rate: float
    size: tuple[int, int]
    times: np.ndarray = field(repr=False, compare=False)
    is_folder: bool = False
    announced: int = 0

    @property
    def note(self) -> str:
        """One sentence if frames are missing, e.g. as the file is cut short; else empty."""
        return describe_gap(self.path, self.frames, self.announced)


def list_clips(path: str | Path) -> list[Path]:
    """The clips at `path`: itself, if a video file or a folder of frames, or the video files in it, sorted.

    Raises:
        FileNotFoundError: there is no such file or folder, or nothing to see in it.
        ValueError: it cannot be read, is a single picture, or a folder with both videos and pictures.
    """
    path = check_path(path)
    if path.is_file() and path.suffix.lower() in ENDINGS:
        raise ValueError(f"{path} is a single picture: name the folder of frames, {path.parent}")
    if path.is_file():
        return [path]
    images, names = list_images(path), sorted(os.listdir(path), key=natural_key)
    videos = [path / n for n in names if n.lower().endswith(VIDEO_ENDINGS) and not n.startswith(".")]
    if images and videos:
        raise ValueError(
            f"{path} holds videos ({len(videos)}) and pictures ({len(images)}): "
            "name one video file, or move one kind away"
        )
    if not images and not videos:
        below = any((path / n).is_dir() for n in names)
        remedy = "it has folders, name one of them" if below else "put frames or videos into it"
        raise FileNotFoundError(f"no images and no video files in {path}: {remedy}")
    return videos or [path]


def probe_video(path: str | Path) -> VideoInfo:
    """Count the frames of one clip and read their times. A video file is decoded to its end, once in a process.

    Args:
        path: a video file or a folder of frames.
    Raises:
        FileNotFoundError, ValueError: as `read_video`.
    """
    path = _one_clip(path)
    if path.is_dir():
        images = list_frames(path)
        times, size = np.arange(len(images)) / FOLDER_RATE, read_image(images[0]).shape[:2]
        return VideoInfo(path, len(images), FOLDER_RATE, size, times, is_folder=True)
    stat = path.stat()
    return _probe_file(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=32)
def _probe_file(path: Path, *_: int) -> VideoInfo:
    times = []
    for index, seconds, capture in grab_frames(path):
        times.append(seconds)
        if not index:
            announced, rate = count_announced(capture), _rate(capture)
    if times[-1] > times[0]:
        rate = (len(times) - 1) / (times[-1] - times[0])
    return VideoInfo(path, len(times), rate, first_frame(path).shape[:2], np.array(times), announced=announced)


def read_video(
    path: str | Path, step: int = 1, start: float = 0.0, seconds: float = 0.0, wanted: Container[int] | None = None
) -> Iterator[tuple[int, float, np.ndarray]]:
    """The frames of one clip in order, as far as they can be decoded.

    Args:
        path: a video file or a folder of frames (in an order in which frame2 comes before frame10).
        step: every so manyth frame, counted from the file's first.
        start, seconds: the part of the video; 0 seconds = to its end.
        wanted: only frames with these numbers; None = all.
    Yields:
        Number of the frame in the file, its time in seconds, and the image, RGB (H, W, 3) uint8.
    Raises:
        FileNotFoundError: no such file, or a folder without images.
        ValueError: no video, an empty or unreadable file, frames of different sizes, a step below 1.
    """
    path = _one_clip(path)
    if step < 1:
        raise ValueError(f"video_step must be 1 or more, not {step}")
    end = start + seconds if seconds > 0 else math.inf
    for index, at, source in _walk_folder(path) if path.is_dir() else grab_frames(path):
        if at >= end:
            return
        if index % step or at < start or (wanted is not None and index not in wanted):
            continue
        image = read_image(source) if isinstance(source, Path) else retrieve(source)
        if image is None:  # damaged from here on
            return
        yield index, at, image


def grab_frames(path: Path) -> Iterator[tuple[int, float, cv2.VideoCapture]]:
    """Walk a video file; yields number, time in seconds and the decoder, from which the image can be retrieved.

    Raises:
        ValueError: it cannot be opened as a video, or has no frames.
    """
    # a decoder's complaints about a damaged file say nothing to a reader: frames are counted instead
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    capture, index, last = cv2.VideoCapture(str(path)), 0, 0.0
    try:
        if not capture.isOpened():
            raise ValueError(
                f"{path} is not a video that OpenCV can decode, or it was cut short and lost its index: "
                f"copy it again, or convert it: ffmpeg -i {path.name} -pix_fmt yuv420p converted.mp4"
            )
        rate = _rate(capture)
        while capture.grab():
            stamp = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            last = max(last, stamp if stamp > 0 else index / rate)  # without a clock, at the header's rate
            yield index, last, capture
            index += 1
    finally:
        capture.release()
    if not index:
        raise ValueError(f"{path} has no frames that can be decoded: copy it again or choose another file")


def first_frame(path: Path) -> np.ndarray:
    """The first image of a clip, RGB. (H, W, 3) uint8

    Raises:
        FileNotFoundError, ValueError: as `read_video`; also if no image can be decoded.
    """
    for _number, _seconds, image in read_video(path):
        return image
    raise ValueError(f"{path} has no frames that can be decoded: copy it again or choose another file")


def count_announced(capture: cv2.VideoCapture) -> int:
    """How many frames the header announces, which need not be there; 0 = it does not say."""
    count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    return int(count) if 0 < count < MOST_ANNOUNCED else 0


def describe_gap(path: Path, frames: int, announced: int) -> str:
    """One sentence if a file has fewer frames than it announces; else empty."""
    if announced - frames <= max(MISSING_LEAST, MISSING_SHARE * announced):
        return ""
    return (
        f"{path} announces {announced} frames, of which {frames} could be decoded: "
        "it is used up to there; if it should be longer, copy it again"
    )


def list_frames(folder: Path) -> list[Path]:
    """The frames in a folder, in natural order.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the folder cannot be read, or its frames differ in size.
    """
    images = sorted(list_images(folder), key=natural_key)
    if not images:
        raise FileNotFoundError(f"no images in {folder}: name a video file or a folder of frames")
    first = read_size(images[0])
    for image in images:
        if (size := read_size(image)) != first:
            raise ValueError(
                f"{folder} holds frames of different sizes, {images[0].name} of {first[0]} x {first[1]} and "
                f"{image.name} of {size[0]} x {size[1]}: a clip needs one size, so move the others away"
            )
    return images


def check_path(path: str | Path) -> Path:
    """`path`, as it is on the disk.

    Raises:
        FileNotFoundError: there is no such file or folder.
        ValueError: it is empty, leads in a circle, or may not be read.
    """
    if not str(path):
        raise ValueError("path is empty: name a video file, a folder of them, or a folder of frames")
    path = Path(path).expanduser().absolute()
    try:
        size = path.stat().st_size
        if path.is_file():
            path.open("rb").close()
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"no video file or folder {path}: correct `path`") from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ValueError(f"{path} is a link that leads in a circle: name the video file itself") from None
        raise ValueError(f"cannot read {path}: {error.strerror}; change its permissions or copy it") from None
    if path.is_file() and not size:
        raise ValueError(f"{path} is empty (0 bytes): copy or record it again")
    return path


def _one_clip(path: str | Path) -> Path:
    clips = list_clips(path)
    if len(clips) > 1:
        raise ValueError(f"{path} is a folder of {len(clips)} videos: name one of them, e.g. {clips[0].name}")
    return clips[0]


def _walk_folder(folder: Path) -> Iterator[tuple[int, float, Path]]:
    for index, image in enumerate(list_frames(folder)):
        yield index, index / FOLDER_RATE, image


def _rate(capture: cv2.VideoCapture) -> float:
    rate = capture.get(cv2.CAP_PROP_FPS)
    return rate if 0 < rate < math.inf else FOLDER_RATE


def retrieve(capture: cv2.VideoCapture) -> np.ndarray | None:
    """The image that was grabbed last, RGB; None if it cannot be decoded. (H, W, 3) uint8"""
    done, image = capture.retrieve()
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB) if done else None
