"""Driving video, one interface for every source: clips of ordered frames, some of them labelled.

`open_dataset` is the door; `street`, `camvid`, `kitti` hold one reader each. All arrays come at the size that was
asked for: images resized with antialiasing, labels and instances nearest, sparse depth by nearest pixel.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from .labels import ClassSet


@dataclass(frozen=True)
class Frame:
    """One image of a data set.

    id: unique in its data set, stable, usable as a relative path without ending, e.g. "train_03/0007".
    clip: the video it belongs to; frames of one clip are ordered and equally spaced in time.
    split: train, val or test.
    intrinsics: pinhole matrix in pixels at the data set's size, or None if unknown. (3, 3) float64
    time: seconds since the clip began.
    """

    id: str
    clip: str
    split: str
    time: float = 0.0
    intrinsics: np.ndarray | None = field(default=None, compare=False, repr=False)
    labelled: bool = False


class Dataset(ABC):
    """What every reader offers. Readers fill `name`, `classes`, `size`, `_frames` and override the loaders they have.

    Loaders return None where the data set has no such thing.
    """

    name: str
    classes: ClassSet | None = None
    size: tuple[int, int]  # (H, W)
    _frames: list[Frame]

    def frames(self, split: str = "", labelled: bool = False) -> list[Frame]:
        """All frames, or those of one split, or the labelled ones among them, in stable order."""
        return [f for f in self._frames if (not split or f.split == split) and (f.labelled or not labelled)]

    def block(self, frame: Frame) -> str:
        """What a bootstrap draws as one, as its frames show one street: the clip, unless a reader knows better."""
        return frame.clip

    def clips(self, split: str = "", shortest: int = 1) -> list[list[Frame]]:
        """Frames grouped by clip, in time order; only clips of at least `shortest` frames."""
        groups: dict[str, list[Frame]] = {}
        for frame in self.frames(split):
            groups.setdefault(frame.clip, []).append(frame)
        return [clip for clip in groups.values() if len(clip) >= shortest]

    @abstractmethod
    def image(self, frame: Frame) -> np.ndarray:
        """RGB. (H, W, 3) uint8"""

    def labels(self, frame: Frame) -> np.ndarray | None:
        """Train ids, 255 = ignore. (H, W) uint8"""
        return None

    def instances(self, frame: Frame) -> np.ndarray | None:
        """Id of each thing within its clip, 0 = none. (H, W) uint16"""
        return None

    def depth(self, frame: Frame) -> np.ndarray | None:
        """True or measured distance along z in metres; 0 = no value, inf = sky. (H, W) float32"""
        return None

    def moving(self, frame: Frame) -> np.ndarray | None:
        """Pixels on things that move in the world. (H, W) bool"""
        return None

    def points(self, frame: Frame) -> np.ndarray | None:
        """World coordinates of what each pixel sees, in metres; not finite where there is nothing. (H, W, 3)"""
        return None

    def camera_from_world(self, frame: Frame) -> np.ndarray | None:
        """True camera pose. (4, 4) float64"""
        return None


def read_image(path: Path, size: tuple[int, int] | None = None) -> np.ndarray:
    """An image file as RGB, resized with antialiasing if `size` (H, W) is given. (H, W, 3) uint8

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is truncated or no image.
    """
    image = _decode(path, cv2.IMREAD_COLOR)
    image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    return image if size is None else resize_image(image, size)


def read_map(path: Path, size: tuple[int, int] | None = None) -> np.ndarray:
    """A single-channel PNG (8 or 16 bit) as stored, resized nearest if `size` is given. (H, W)

    Raises:
        FileNotFoundError, ValueError: as `read_image`; also a file with more than one channel.
    """
    values = _decode(path, cv2.IMREAD_UNCHANGED)
    if values.ndim != 2:
        raise ValueError(f"{path} has {values.shape[2]} channels; a map of ids needs one")
    return values if size is None else resize_map(values, size)


def _decode(path: Path, mode: int) -> np.ndarray:
    try:
        data = np.frombuffer(Path(path).read_bytes(), np.uint8)
    except FileNotFoundError:
        raise FileNotFoundError(f"missing file: {path}") from None
    # OpenCV pads a file that was cut short with grey and only warns: look for the end mark ourselves
    ends = {b"\x89PNG": b"IEND\xaeB`\x82", b"\xff\xd8\xff": b"\xff\xd9"}
    for begin, end in ends.items():
        if data[: len(begin)].tobytes().startswith(begin) and end not in data[-64:].tobytes():
            raise ValueError(f"{path} is cut short ({len(data)} bytes): copy or download it again")
    image = cv2.imdecode(data, mode) if len(data) else None
    if image is None:
        raise ValueError(f"{path} is not a readable image ({len(data)} bytes): copy or download it again")
    return image


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize (H, W, 3) or (H, W) to `size` (H, W): area averaging when smaller (no aliasing), else bilinear."""
    if image.shape[:2] == tuple(size):
        return image
    smaller = size[0] <= image.shape[0] and size[1] <= image.shape[1]
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)


def resize_map(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize ids or depths (H, W) to `size`: each new pixel takes the old pixel under its centre."""
    if values.shape == tuple(size):
        return values
    rows = ((np.arange(size[0]) + 0.5) * values.shape[0] / size[0]).astype(int)
    columns = ((np.arange(size[1]) + 0.5) * values.shape[1] / size[1]).astype(int)
    return values[rows[:, None], columns]


def find_window(shape: tuple[int, int], size: tuple[int, int], keep_aspect: bool) -> tuple[slice, slice]:
    """The part of a stored image that is used: all of it, or the largest centred part of the shape of `size`.

    Args:
        shape, size: (H, W) of the stored image and of the data set.
    Returns:
        Rows and columns.
    """
    if not keep_aspect:
        return slice(0, shape[0]), slice(0, shape[1])
    height = min(shape[0], round(shape[1] * size[0] / size[1]))
    width = min(shape[1], round(shape[0] * size[1] / size[0]))
    top, left = (shape[0] - height) // 2, (shape[1] - width) // 2
    return slice(top, top + height), slice(left, left + width)


def find_root(data_root: str, folder: str, help_text: str) -> Path:
    """The folder of one data set below the downloads.

    Args:
        data_root: as the parameter; empty means the environment variable DATA_ROOT.
        folder: e.g. "camvid".
        help_text: where to get it, one sentence.
    Raises:
        FileNotFoundError: neither is set, or the folder is not there; says where to get it.
    """
    root = data_root or os.environ.get("DATA_ROOT", "")
    if not root:
        raise FileNotFoundError(
            f"set data_root or the environment variable DATA_ROOT to the folder that holds {folder}/. {help_text}"
        )
    path = Path(root).expanduser() / folder
    if not path.is_dir():
        raise FileNotFoundError(f"no folder {path}. {help_text}")
    return path


def open_dataset(params: "object", name: str = "") -> Dataset:
    """The data set that `params` (a `DepthParams`, or anything with its data fields) describes.

    Args:
        name: another data set at the same size, e.g. one of `params.clips`; empty = `params.dataset`.
            "kitti_odometry:00" keeps only that clip.
    """
    from . import camvid, kitti
    from .street.dataset import Street

    readers: dict[str, Callable[..., Dataset]] = {
        "street": Street,
        "camvid": camvid.CamVid,
        "kitti_raw": kitti.KittiRaw,
        "kitti_odometry": kitti.KittiOdometry,
    }
    name, _, clip = (name or params.dataset).partition(":")
    dataset = readers[name](params)
    if clip:
        dataset._frames = [f for f in dataset._frames if f.clip == clip]
        if not dataset._frames:
            raise FileNotFoundError(f"{name} has no clip {clip!r} below its data_root")
    return dataset
