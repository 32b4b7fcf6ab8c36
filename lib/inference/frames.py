"""The frames of what is to be segmented: a video, several, a folder of images of any sizes, or one image."""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from ..artifacts.files import fingerprint
from ..data import list_images, read_image
from ..data.files import ENDINGS, natural_key
from ..data.video import list_clips, name_clips, read_video
from ..data.video.decode import FOLDER_RATE, check_path, count_announced, describe_gap, grab_frames

Skip = Callable[[str], bool]
"""Name of a frame -> nothing is to be done for it, so that it need not be decoded."""


@dataclass(frozen=True)
class Clip:
    """A video file, or images that are taken one after the other.

    name: of its folder among the results; empty if it is the only one. images: empty for a video.
    """

    name: str
    path: Path
    images: tuple[Path, ...] = ()

    @cached_property
    def names(self) -> list[str]:
        """A name for the results of each image: without its ending, unless two would have the same."""
        often = Counter(image.stem for image in self.images)
        found = [image.name if often[image.stem] > 1 else image.stem for image in self.images]
        # x.png, x.jpg and x.png.jpg: the stem of the last is the name of the first
        return found if len(set(found)) == len(found) else [image.name for image in self.images]

    @cached_property
    def header(self) -> tuple[float, int]:
        """Frames a second, and how many frames a video's header announces; 0 = it does not say.

        Raises:
            ValueError: not a video that can be decoded.
        """
        if self.images:
            return FOLDER_RATE, len(self.images)
        for _index, _seconds, capture in grab_frames(self.path):
            rate = capture.get(cv2.CAP_PROP_FPS)
            found = rate if 0 < rate < math.inf else FOLDER_RATE, count_announced(capture)
            break
        return found  # a video without frames is an error above


def find_clips(path: str | Path) -> list[Clip]:
    """What there is to segment at `path`.

    Raises:
        FileNotFoundError, ValueError: nothing there, nothing to see in it, or it cannot be read; says which.
    """
    path = check_path(path)
    if path.is_file() and path.suffix.lower() in ENDINGS:
        return [Clip("", path, (path,))]
    found = list_clips(path)
    if found == [path]:
        images = sorted(list_images(path), key=natural_key) if path.is_dir() else ()
        return [Clip("", path, tuple(images))]
    return [Clip(name, video) for name, video in zip(name_clips(found), found)]


def hash_videos(clips: list[Clip]) -> str:
    """Changes when another video takes the name of one of them, or one is added or taken away."""
    files = [clip.path for clip in clips if not clip.images]
    return hashlib.sha256(json.dumps([(file.name, fingerprint(file)) for file in files]).encode()).hexdigest()


def hash_images(clips: list[Clip]) -> dict[str, str]:
    """Name of the results of each image -> what changes when another image takes its place."""
    found = {}
    for clip in clips:
        for name, image in zip(clip.names, clip.images):
            known = json.dumps([image.name, fingerprint(image)]).encode()
            found[f"{clip.name}/{name}" if clip.name else name] = hashlib.sha256(known).hexdigest()[:16]
    return found


@dataclass
class Walk:
    """The part of a clip that is asked for, in order; iterated once.

    step, start, seconds: as `data.video.read_video`; images are taken to be 1/30 s apart.
    seen: frames of that part so far, with those that were skipped. last: number of the last one, -1 = none.
    unread: a sentence on each image that could not be read; the walk goes on with the next.
    """

    clip: Clip
    step: int
    start: float
    seconds: float
    skip: Skip
    seen: int = field(default=0, init=False)
    last: int = field(default=-1, init=False)
    unread: list[str] = field(default_factory=list, init=False)

    @property
    def expected(self) -> int | None:
        """How many frames there will be, as far as the header says; None = it does not."""
        rate, count = self.clip.header
        left = max(count - round(self.start * rate), 0)
        wanted = min(left, round(self.seconds * rate)) if self.seconds else left
        return -(-wanted // self.step) if count else None

    @property
    def note(self) -> str:
        """One sentence if a video that was walked to its end had fewer frames than it announces; else empty."""
        if self.clip.images or self.seconds:
            return ""
        return describe_gap(self.clip.path, self.last + self.step, self.clip.header[1])

    def __iter__(self) -> Iterator[tuple[str, np.ndarray]]:
        """Name and image, RGB (H, W, 3) uint8, of each frame that is not skipped."""
        if not self.clip.images:
            for number, _seconds, image in read_video(self.clip.path, self.step, self.start, self.seconds, self):
                yield f"{number:06d}", image
            return
        end = self.start + self.seconds if self.seconds else math.inf
        for number, (name, image) in enumerate(zip(self.clip.names, self.clip.images)):
            inside = self.start <= number / FOLDER_RATE < end
            if inside and number % self.step == 0 and not self._passes(number, name):
                try:
                    found = read_image(image)
                except (OSError, ValueError) as error:  # one bad image of thousands must not cost a night
                    self.unread.append(" ".join(str(error).split()))
                    continue
                yield name, found

    def __contains__(self, number: int) -> bool:
        """Is the frame with this number to be decoded? Asked once for each, in order."""
        return not self._passes(number, f"{number:06d}")

    def _passes(self, number: int, name: str) -> bool:
        self.seen, self.last = self.seen + 1, number
        return self.skip(name)
