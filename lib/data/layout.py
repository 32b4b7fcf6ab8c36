"""What readers of image folders share: files by frame, one window for images and maps, checks between the two."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import Dataset, Frame, read_image, read_map, resize_image, resize_map
from .files import read_size, read_text

ASPECT_TOLERANCE = 0.02  # how far the shape of a map may be off its image's: depth cameras round differently
POSE_TOLERANCE = 0.05  # how far the determinant of a rotation may be off 1


@dataclass(frozen=True)
class Files:
    """Where the image of a frame lies, and what belongs to it; None = there is no such thing."""

    image: Path
    labels: Path | None = None
    instances: Path | None = None
    depth: Path | None = None


class FolderDataset(Dataset):
    """Base of readers whose every frame is a file. They fill `name`, `classes` and, by `add`, the frames.

    Raises (every reader of this kind): FileNotFoundError: no folder, or a file without its partner; ValueError: a file
    that is cut short, of the wrong kind, or of another size than its partner.
    """

    help = ""  # where to get the data set, one sentence

    def __init__(self, params: Any) -> None:
        self.size = (params.height, params.width)
        self.keep_aspect, self.crop_bottom = params.keep_aspect, params.crop_bottom
        self._frames: list[Frame] = []
        self._files: dict[str, Files] = {}
        self._assumed: dict[tuple[float, tuple[int, int]], np.ndarray] = {}

    def add(self, frame: Frame, files: Files) -> None:
        """One frame more.

        Raises:
            ValueError: its id is taken: two files would become one.
        """
        if frame.id in self._files:
            raise ValueError(f"{files.image} and {self._files[frame.id].image} have one id {frame.id!r}: rename one")
        self._files[frame.id] = files
        self._frames.append(frame)

    def assume_intrinsics(self, degrees: float, shape: tuple[int, int]) -> np.ndarray:
        if (degrees, shape) not in self._assumed:  # one array for all images of a shape
            self._assumed[degrees, shape] = super().assume_intrinsics(degrees, shape)
        return self._assumed[degrees, shape]

    def image_path(self, frame: Frame) -> Path:
        return self._files[frame.id].image

    def image(self, frame: Frame) -> np.ndarray:
        image = read_image(self._files[frame.id].image)
        return resize_image(image[self.window(image.shape[:2])], self.size)

    def read_partner(self, frame: Frame, path: Path, bits: int = 0, same_size: bool = True) -> np.ndarray:
        """A map beside the frame's image, at the size it is stored at. (H, W)

        Args:
            same_size: its size must be the image's; else only the shape, to a fiftieth.
        Raises:
            ValueError: it is not.
        """
        values, shape = read_map(path, bits=bits), read_size(self._files[frame.id].image)
        check_partner(path, values.shape, shape, same_size, self.help)
        return values

    def fit_map(self, values: np.ndarray) -> np.ndarray:
        """A stored map, cut to the window and resized nearest. (H, W) -> `size`"""
        return resize_map(values[self.window(values.shape)], self.size)

    def check_labels(self, labels: np.ndarray, path: Path) -> np.ndarray:
        """Train ids at the data set's size, after a check that they are some."""
        self.classes.check(labels, str(path))
        return self.fit_map(labels)


def check_partner(
    path: Path, found: tuple[int, int], shape: tuple[int, int], same_size: bool, help_text: str = ""
) -> None:
    """Does a map of shape `found` fit the image of `shape`?

    Raises:
        ValueError: no; says which file.
    """
    off = abs(found[0] * shape[1] / (found[1] * shape[0]) - 1)
    if off > ASPECT_TOLERANCE or (same_size and tuple(found) != tuple(shape)):
        text = f"{path} is {found[0]} x {found[1]}, but its image {shape[0]} x {shape[1]}: copy both anew."
        raise ValueError(f"{text} {help_text}".strip())


def need_file(path: Path, owner: Path, help_text: str) -> Path:
    """`path`, which belongs to `owner`.

    Raises:
        FileNotFoundError: it is missing.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{owner} has no partner {path}. {help_text}")
    return path


def need_files(paths: Sequence[Path], where: Path, help_text: str) -> Sequence[Path]:
    """`paths`, if there are any.

    Raises:
        FileNotFoundError: there is none.
    """
    if not paths:
        raise FileNotFoundError(f"no images in {where}. {help_text}")
    return paths


def read_list(path: Path) -> list[str]:
    """The first word of each line of a text file, e.g. an official list of image names.

    Raises:
        ValueError: a name occurs twice, or the file is empty or no text.
    """
    names = [line.split()[0] for line in read_text(path).splitlines() if line.strip()]
    if not names:
        raise ValueError(f"{path} is empty: download it again")
    if len(set(names)) < len(names):
        twice = next(n for i, n in enumerate(names) if n in names[:i])
        raise ValueError(f"{path} names {twice!r} twice: download it again")
    return names


def invert_pose(pose: np.ndarray, path: Path) -> np.ndarray:
    """The inverse of a camera's pose that stands in the file `path`. (4, 4)

    Raises:
        ValueError: it is none: its rotation changes sizes.
    """
    if abs(np.linalg.det(pose[:3, :3]) - 1) > POSE_TOLERANCE:
        raise ValueError(f"{path} holds a pose that is no rotation and shift: download it again")
    return np.linalg.inv(pose)


def split_evenly(names: Iterable[str], every: int) -> dict[str, str]:
    """train or val for each name: every so manyth, in order, is val. For data sets without an official split."""
    return {name: "val" if i % every == every - 1 else "train" for i, name in enumerate(sorted(names))}
