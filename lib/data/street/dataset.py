"""The generated streets as a data set: clips of disjoint worlds for train, val and test, everything labelled."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ...intrinsics import intrinsics_from_field_of_view
from ...parallel import parallel_map
from .. import CACHE, Dataset, Frame
from ..labels import STREET
from . import BASELINE, RIGHT_PREFIX, Clip, StreetCamera, find_folder, load_clip, load_right_images

RATE = 10.0  # frames a second
_load = lru_cache(maxsize=32)(load_clip)  # a process keeps its latest clips; a data set pickled to it stays small
_load_right = lru_cache(maxsize=32)(load_right_images)


class Street(Dataset):
    """Frames are drawn on first use, a split at a time, by `params.workers` processes, and kept in `cache`.

    Training clips have `frames_per_clip` frames, clips of val and test `scored_frames_per_clip`. What the camera to the
    right sees is drawn and kept apart, when its first image is asked for.
    """

    name, classes = "street", STREET

    def __init__(self, params: Any, cache: Path = CACHE) -> None:
        self.size = (params.height, params.width)
        self._camera = StreetCamera(params.field_of_view, params.camera_height, params.camera_swing)
        self._cache, self._workers = Path(cache), params.workers
        self._drawn: set[tuple[str, bool]] = set()
        scored = params.scored_frames_per_clip
        self._length = {"train": params.frames_per_clip, "val": scored, "test": scored}
        self._count = {"train": params.train_clips, "val": params.val_clips, "test": params.test_clips}
        matrix = intrinsics_from_field_of_view(params.field_of_view, *self.size)
        self._frames = [
            Frame(f"{split}_{clip:02d}/{t:04d}", f"{split}_{clip:02d}", split, t / RATE, matrix, labelled=True)
            for split, count in self._count.items()
            for clip in range(count)
            for t in range(self._length[split])
        ]

    def _key(self, split: str, index: int) -> tuple[Any, ...]:
        return (split, index, self._length[split], *self.size, self._camera, self._cache)

    def _draw(self, split: str, right: bool) -> None:
        """Fill the cache with a split, so that single frames can then be read quickly."""
        if (split, right) in self._drawn:
            return
        folder = find_folder(self._cache, split, *self.size, self._camera)
        pattern = RIGHT_PREFIX * right + "{:04d}_" + f"{self._length[split]}_*.npz"
        missing = [i for i in range(self._count[split]) if not any(folder.glob(pattern.format(i)))]
        draw = _draw_right if right else _draw_clip
        for _ in parallel_map(draw, [self._key(split, i) for i in missing], min(self._workers, len(missing))):
            pass
        self._drawn.add((split, right))

    def _find(self, frame: Frame) -> tuple[tuple[Any, ...], int]:
        """Key of the frame's clip, and its place there."""
        return self._key(frame.split, int(frame.clip.split("_")[1])), int(frame.id.split("/")[1])

    def _at(self, frame: Frame) -> tuple[Clip, int]:
        self._draw(frame.split, right=False)
        key, t = self._find(frame)
        return _load(*key), t

    def image(self, frame: Frame) -> np.ndarray:
        clip, t = self._at(frame)
        return clip.images[t]

    def right_image(self, frame: Frame) -> np.ndarray:
        self._draw(frame.split, right=True)
        key, t = self._find(frame)
        return _load_right(*key)[t]

    def baseline(self, frame: Frame) -> float:
        return BASELINE

    def labels(self, frame: Frame) -> np.ndarray:
        clip, t = self._at(frame)
        return clip.labels[t]

    def instances(self, frame: Frame) -> np.ndarray:
        clip, t = self._at(frame)
        return clip.instances[t]

    def depth(self, frame: Frame) -> np.ndarray:
        clip, t = self._at(frame)
        return clip.depth[t]

    def moving(self, frame: Frame) -> np.ndarray:
        clip, t = self._at(frame)
        return clip.moving(t)

    def points(self, frame: Frame) -> np.ndarray:
        clip, t = self._at(frame)
        return clip.points(t)

    def camera_from_world(self, frame: Frame) -> np.ndarray:
        clip, t = self._at(frame)
        return clip.camera_from_world[t]


def _draw_clip(key: tuple[Any, ...]) -> None:
    load_clip(*key)


def _draw_right(key: tuple[Any, ...]) -> None:
    load_right_images(*key)
