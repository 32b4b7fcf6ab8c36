"""Data sets put together: what one lacks, another gives."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from . import Dataset, Frame, read_map, resize_map
from .files import is_there, read_size
from .layout import check_partner


class Wrapper(Dataset):
    """A data set that asks others; `_of` says which. Derived classes override what they do better."""

    def __init__(self, dataset: Dataset, frames: list[Frame]) -> None:
        self._dataset, self._frames = dataset, frames
        self.name, self.classes, self.size = dataset.name, dataset.classes, dataset.size
        self.keep_aspect, self.crop_bottom = dataset.keep_aspect, dataset.crop_bottom

    def _of(self, frame: Frame) -> Dataset:
        return self._dataset

    @property
    def is_prepared(self) -> bool:
        return self._dataset.is_prepared

    def block(self, frame: Frame) -> str:
        return self._of(frame).block(frame)

    def reader(self, frame: Frame) -> str:
        return self._of(frame).reader(frame)

    def image(self, frame: Frame) -> np.ndarray:
        return self._of(frame).image(frame)

    def image_path(self, frame: Frame) -> Path | None:
        return self._of(frame).image_path(frame)

    def right_image(self, frame: Frame) -> np.ndarray | None:
        return self._of(frame).right_image(frame)

    def baseline(self, frame: Frame) -> float | None:
        return self._of(frame).baseline(frame)

    def labels(self, frame: Frame) -> np.ndarray | None:
        return self._of(frame).labels(frame)

    def instances(self, frame: Frame) -> np.ndarray | None:
        return self._of(frame).instances(frame)

    def depth(self, frame: Frame) -> np.ndarray | None:
        return self._of(frame).depth(frame)

    def moving(self, frame: Frame) -> np.ndarray | None:
        return self._of(frame).moving(frame)

    def points(self, frame: Frame) -> np.ndarray | None:
        return self._of(frame).points(frame)

    def camera_from_world(self, frame: Frame) -> np.ndarray | None:
        return self._of(frame).camera_from_world(frame)


class Joined(Wrapper):
    """Frames of one data set to learn from, without its labels, and the labelled frames of another to score on.

    For data whose video and labels are apart: KITTI's raw drives and its 200 labelled images.

    Raises:
        ValueError: the second has no labelled frame, or the two share an id.
    """

    def __init__(self, learned: Dataset, scored: Dataset) -> None:
        extra = [f for f in scored.frames() if f.labelled]
        if not extra:
            raise ValueError(f"{scored.name} has no labelled frames: choose another scored_dataset, or none")
        super().__init__(learned, [replace(f, labelled=False) for f in learned.frames()] + extra)
        self.name, self.classes, self._scored = f"{learned.name} and {scored.name}", scored.classes, scored
        self._extra = {f.id for f in extra}
        if both := self._extra & {f.id for f in learned.frames()}:
            raise ValueError(f"{learned.name} and {scored.name} share the frame {min(both)!r}: join two different ones")

    def _of(self, frame: Frame) -> Dataset:
        return self._scored if frame.id in self._extra else self._dataset


class WithMaps(Wrapper):
    """A data set whose depth comes from a folder of 16-bit maps: another network, a stereo pair, a scanner.

    `params.maps`/FRAME ID.png belongs to each frame, at the stored size of its image or any other of that shape.
    `params.map_kind` says whether values are `inverse_depth` (or a disparity) or `depth` (or, for boreholes, a transit
    time); `map_step` is one step of 16 bits; 0 = no value. Set 02's `depth = "truth"` to use them.

    Raises:
        FileNotFoundError: no such folder, or a frame without its map (looked for in all frames, at the start).
    """

    def __init__(self, dataset: Dataset, params: Any) -> None:
        super().__init__(dataset, dataset.frames())
        self._folder, self._params = Path(params.maps).expanduser(), params
        if not is_there(self._folder, folder=True):
            raise FileNotFoundError(f"no folder {self._folder}: `maps` must name a folder of 16-bit PNGs")
        if missing := [f.id for f in self._frames if not is_there(self._path(f))]:
            first = self._path(Frame(missing[0], "", ""))
            text = f"`maps` has no map of {len(missing)} of {len(self._frames)} frames, first {first}"
            raise FileNotFoundError(f"{text}: every frame needs a 16-bit PNG named like its image")

    def _path(self, frame: Frame) -> Path:
        return self._folder / f"{frame.id}.png"

    def depth(self, frame: Frame) -> np.ndarray:
        path, image = self._path(frame), self._dataset.image_path(frame)
        code = read_map(path, bits=16)
        if image is not None:
            check_partner(path, code.shape, read_size(image), same_size=False)
        code = resize_map(code[self._dataset.window(code.shape)], self.size).astype(np.float32)
        values = code * np.float32(self._params.map_step)
        if self._params.map_kind == "depth":
            return values
        return np.divide(1, values, out=np.zeros_like(values), where=values > 0)
