"""Driving video and photographs, one interface for every source: clips of ordered frames, some of them labelled.

`open_dataset` is the door; `params.DATASETS` lists what it opens, one module each. All arrays come at the size that
was asked for: images resized with antialiasing, labels and instances nearest, sparse depth by nearest pixel. `files`
reads single files, `layout` is the common part of readers of image folders, `prepared` keeps resized frames, `joined`
puts data sets together, `cameras` says which intrinsics hold, `footage` asks whether a video is fit.
"""

import os
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from .. import ROOT
from ..intrinsics import UNKNOWN, fit_intrinsics, intrinsics_from_field_of_view
from ..params import DATASETS
from .files import (
    find_window,
    list_images,
    read_image,
    read_map,
    read_size,
    resize_image,
    resize_map,
)
from .labels import ClassSet

__all__ = [
    "Dataset",
    "Frame",
    "find_root",
    "find_window",
    "list_images",
    "load_reader",
    "open_dataset",
    "read_image",
    "read_map",
    "read_size",
    "resize_image",
    "resize_map",
]


CACHE = Path(os.environ.get("DATA_CACHE") or ROOT / "outputs" / "data")
"""What is made once from data and kept: generated streets, prepared frames. DATA_CACHE puts it on another disk."""


@dataclass(frozen=True)
class Frame:
    """One image of a data set.

    id: unique in its data set, stable, usable as a relative path without ending, e.g. "train_03/0007".
    clip: the video it belongs to; frames of one clip are ordered and equally spaced in time.
    split: train, val or test.
    intrinsics: pinhole matrix in pixels at the data set's size; None if not even the shape of the stored image is
        known without opening it. (3, 3) float64
    calibrated: False = nobody measured the camera: `intrinsics` follow from `params.field_of_view`, or 70 degrees
        where that is 0 too. Never True without `intrinsics`.
    time: seconds since the clip began.
    """

    id: str
    clip: str
    split: str
    time: float = 0.0
    intrinsics: np.ndarray | None = field(default=None, compare=False, repr=False)
    labelled: bool = False
    calibrated: bool = field(default=True, compare=False)

    def __post_init__(self) -> None:
        if self.intrinsics is None:
            object.__setattr__(self, "calibrated", False)


class Dataset(ABC):
    """What every reader offers. Readers fill `name`, `classes`, `size`, `_frames` and override the loaders they have.

    Loaders return None where the data set has no such thing.
    """

    name: str
    classes: ClassSet | None = None
    size: tuple[int, int]  # (H, W)
    keep_aspect: bool = False  # cut, not stretch, what has another shape
    crop_bottom: float = 0.0  # share of the stored height that is left out below
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

    @property
    def is_prepared(self) -> bool:
        """Are images read from shards, as fast as the disk (see `prepared`)?"""
        return False

    def window(self, shape: tuple[int, int]) -> tuple[slice, slice]:
        """Rows and columns of a stored array of this shape (H, W) that are used; see `find_window`."""
        return find_window(shape, self.size, self.keep_aspect, self.crop_bottom)

    def fit_intrinsics(self, matrix: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """Intrinsics of a stored image of this shape (H, W), at the data set's window and size. (3, 3)"""
        return fit_intrinsics(np.asarray(matrix, float), self.window(shape), self.size)

    def assume_intrinsics(self, degrees: float, shape: tuple[int, int]) -> np.ndarray:
        """`fit_intrinsics` of a camera that nobody measured, whose stored images have this shape (H, W). (3, 3)

        Args:
            degrees: horizontal field of view of the whole stored image; 0 = unknown: 70.
        """
        return self.fit_intrinsics(intrinsics_from_field_of_view(degrees or UNKNOWN, *shape), shape)

    def reader(self, frame: Frame) -> str:
        """Name of the data set that the frame is read from: of several put together, one of them."""
        return self.name

    @abstractmethod
    def image(self, frame: Frame) -> np.ndarray:
        """RGB. (H, W, 3) uint8"""

    def image_path(self, frame: Frame) -> Path | None:
        """The file that `image` reads; None where frames have no file of their own."""
        return None

    def right_image(self, frame: Frame) -> np.ndarray | None:
        """What a second camera sees, `baseline` to the right of the first; cut and resized as `image`, rows agree: the
        point at column x of `image` is at x - focal length * baseline / depth. (H, W, 3) uint8

        Raises:
            FileNotFoundError: the recording has right images, but this one is missing.
        """
        return None

    def baseline(self, frame: Frame) -> float | None:
        """Metres along x from the camera to that of `right_image`, > 0; None without right images or calibration."""
        return None

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


def load_reader(name: str) -> type[Dataset]:
    """The reader of a data set, by its name in `params.DATASETS`; its module is loaded only now."""
    module, _, reader = DATASETS[name].partition(":")
    return getattr(import_module(f".{module}", __package__), reader)


def open_dataset(params: Any, name: str = "") -> Dataset:
    """The data set that `params` (a `DepthParams`, or anything with its data fields) describes.

    Args:
        name: another data set at the same size, e.g. one of `params.clips`; empty = `params.dataset`, with the labelled
            frames of `params.scored_dataset` and the maps of `params.maps`. "kitti_odometry:00" keeps only that clip.
    """
    from .joined import Joined, WithMaps
    from .prepared import Prepared

    def read(name: str) -> Dataset:
        if name in ("images", "video") and not params.path:
            raise ValueError(f"path is empty: let it name your {name}, e.g. -p 01.path=FILE_OR_FOLDER")
        dataset = load_reader(name)(params)
        return Prepared(dataset, params.workers) if params.prepare and Prepared.pays(dataset) else dataset

    known, _, clip = (name or params.dataset).partition(":")
    dataset = read(known)
    if not name:
        dataset = Joined(dataset, read(params.scored_dataset)) if params.scored_dataset else dataset
        dataset = WithMaps(dataset, params) if params.maps else dataset
    if clip:
        dataset._frames = [f for f in dataset._frames if f.clip == clip]
        if not dataset._frames:
            raise FileNotFoundError(f"{known} has no clip {clip!r} below its data_root")
    return dataset
