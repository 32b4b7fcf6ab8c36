"""Any video of a driving camera: a file that OpenCV decodes, a folder of such files, or a folder of frames.

A video file is decoded once, from its beginning to its end, into a cache of resized frames below outputs/data/video
(or DATA_CACHE): to jump within a file is slow, and in some files lands on another frame. Frames of a folder are read
where they lie. Every `video_step`th frame is kept; the last tenth of each clip is held out of training, as split "val".
"""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import CACHE as DATA_CACHE
from .. import Dataset, Frame, read_image, resize_image
from .cache import ensure_cache, map_frames
from .decode import (
    FOLDER_RATE,
    VideoInfo,
    describe_gap,
    first_frame,
    list_clips,
    list_frames,
    probe_video,
    read_video,
)

__all__ = ["Video", "VideoInfo", "list_clips", "probe_video", "read_video"]

CACHE = DATA_CACHE / "video"
CACHE_VERSION = 1  # of the cache's format
SHORTEST = 3  # kept frames of a clip: depth is learned from triplets
LOWEST = 8  # rows of the image that must be left above the bonnet
HELD_SHARE = 10  # one frame in so many is held out of training ...
HELD_LEAST, HELD_FROM = 3, 12  # ... but at least 3 of a clip that keeps 12 or more
LONGEST_NAME = 60  # letters of a clip's name


@dataclass(frozen=True)
class Clip:
    """One clip: where it lies, the kept frames' numbers in the file and times in seconds, and the cache or images."""

    path: Path
    shape: tuple[int, int]  # (H, W) of a stored frame
    total: int  # frames in the file
    numbers: list[int]
    times: list[float]
    cache: Path | None = None  # folder of the cache of a video file
    images: tuple[Path, ...] = ()  # the kept frames of a folder


class Video(Dataset):
    """The reader of `params.path`: each video file, or the folder of frames, is a clip.

    Frame ids are "<clip>/<number in the file>". All frames are of split "train", but for the last tenth of each clip,
    which is split "val", in a clip "<clip>_val". No camera is calibrated: `params.field_of_view` is that of the
    whole stored frame. `notes` holds a sentence for each file that lacks frames.

    Raises:
        FileNotFoundError, ValueError: as `list_clips` and `read_video`; also a clip of fewer than 3 kept frames, or a
            crop_bottom that leaves nothing.
        OSError: the disk has no room for the cache.
    """

    name = "video"

    def __init__(self, params: Any, cache: Path = CACHE) -> None:
        self.size, self.keep_aspect = (params.height, params.width), params.keep_aspect
        self.crop_bottom, self._step, self._root = params.crop_bottom, params.video_step, Path(cache)
        self.notes: list[str] = []
        self._frames: list[Frame] = []
        self._at: dict[str, tuple[str, int]] = {}  # frame id -> name of its clip, and its place among the kept frames
        paths = list_clips(params.path)
        self._clips = {name: self._open(path) for name, path in zip(name_clips(paths), paths)}
        for name, clip in self._clips.items():
            self._add(name, clip, self.assume_intrinsics(params.field_of_view, clip.shape))

    def _open(self, path: Path) -> Clip:
        images = list_frames(path) if path.is_dir() else []
        shape = (read_image(images[0]) if images else first_frame(path)).shape[:2]
        self._check_window(path, shape)
        if images:
            numbers = list(range(0, len(images), self._step))
            times = [n / FOLDER_RATE for n in numbers]
            clip = Clip(path, shape, len(images), numbers, times, images=tuple(images[n] for n in numbers))
        else:
            folder = self._root / self._key(path, shape)
            about = ensure_cache(path, self._step, self.window(shape), self.size, folder)
            clip = Clip(path, shape, about["frames"], about["numbers"], about["times"], cache=folder)
            self.notes += filter(None, [describe_gap(path, clip.total, about["announced"])])
        if len(clip.numbers) < SHORTEST:
            raise ValueError(
                f"{path} has {clip.total} frames, of which video_step = {self._step} keeps {len(clip.numbers)}: too "
                f"short for a clip, which needs {SHORTEST}; use a smaller video_step or a longer video"
            )
        return clip

    def _check_window(self, path: Path, shape: tuple[int, int]) -> None:
        rows = shape[0] - round(self.crop_bottom * shape[0])
        if not 0 <= self.crop_bottom < 1 or rows < LOWEST:
            raise ValueError(
                f"crop_bottom = {self.crop_bottom} leaves {min(max(rows, 0), shape[0])} of the {shape[0]} rows of "
                f"{path}: it is the share of the height that is cut off below, e.g. 0.15"
            )

    def _key(self, path: Path, shape: tuple[int, int]) -> str:
        stat, window = path.stat(), [[part.start, part.stop] for part in self.window(shape)]
        key = [CACHE_VERSION, str(path), stat.st_size, stat.st_mtime_ns, self._step, window, self.size]
        return hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]

    def _add(self, name: str, clip: Clip, intrinsics: np.ndarray) -> None:
        count = len(clip.numbers)
        train = count - max(count // HELD_SHARE, HELD_LEAST if count >= HELD_FROM else 0)
        for place, (number, time) in enumerate(zip(clip.numbers, clip.times)):
            part, split, first = (name, "train", 0) if place < train else (f"{name}_val", "val", train)
            frame = Frame(f"{name}/{number:06d}", part, split, time - clip.times[first], intrinsics, calibrated=False)
            self._at[frame.id] = name, place
            self._frames.append(frame)

    def image_path(self, frame: Frame) -> Path | None:
        name, place = self._at[frame.id]
        return self._clips[name].images[place] if self._clips[name].images else None

    def image(self, frame: Frame) -> np.ndarray:
        name, place = self._at[frame.id]
        clip = self._clips[name]
        if clip.cache is None:
            image = read_image(clip.images[place])
            return resize_image(image[self.window(image.shape[:2])], self.size)
        try:
            frames = map_frames(clip.cache)
        except (OSError, ValueError):  # removed or damaged since
            ensure_cache(clip.path, self._step, self.window(clip.shape), self.size, clip.cache)
            frames = map_frames(clip.cache)
        return np.array(frames[place])


def name_clips(paths: list[Path]) -> list[str]:
    """A name for each clip: its file's stem, safe as a part of a path, and unlike all others and their "_val"."""
    names, taken = [], set()
    for path in paths:
        stem = path.name if path.is_dir() else path.stem
        stem = re.sub(r"[^\w.-]+", "_", stem).strip("._")[:LONGEST_NAME] or "clip"
        number, name = 1, stem
        while {name.casefold(), f"{name}_val".casefold()} & taken:
            number += 1
            name = f"{stem}_{number}"
        taken |= {name.casefold(), f"{name}_val".casefold()}
        names.append(name)
    return names
