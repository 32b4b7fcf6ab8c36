"""Frames decoded and resized once, into shards on the disk: large data sets are then read as fast as memory allows.

`Shards` keeps arrays of many items; `Prepared` puts one in front of a data set. A shard is written aside, renamed, read
back and sealed with the hash of its bytes; what is there after a kill stays, what is missing is made.
"""

import errno
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from ..artifacts import hash_file, read_json, write_aside, write_json
from ..parallel import fits_memory, parallel_map
from . import CACHE as DATA_CACHE
from . import Dataset, Frame
from .joined import Wrapper

CACHE = DATA_CACHE / "prepared"
CACHE_VERSION = 1  # raise it when what is stored changes (resizing, window, layout): older shards are then not read
SHARD_BYTES = 128 << 20
TRIED = 4  # items read to estimate how long all will take
READY_BYTES = 1 << 30  # prepared frames beyond this are read when asked for
SPARE = 1.05  # of the space needed, that must be free
QUIET = 0.1  # gigabytes that are written without a word
STALE = 3600  # seconds after which an unfinished file is taken to be left by a killed process


@dataclass(frozen=True)
class Shards:
    """Arrays of many items, some items a file; made by `build`, read by memory mapping.

    arrays: name -> shape and dtype of one item.
    shard_bytes: that a file should hold at most, if one item leaves the choice.
    """

    folder: Path
    count: int
    arrays: Mapping[str, tuple[tuple[int, ...], str]]
    shard_bytes: int = field(default_factory=lambda: SHARD_BYTES)

    @property
    def item_bytes(self) -> int:
        return sum(int(np.prod(shape)) * np.dtype(kind).itemsize for shape, kind in self.arrays.values())

    @property
    def per_shard(self) -> int:
        return max(self.shard_bytes // self.item_bytes, 1)

    @property
    def shards(self) -> int:
        return -(-self.count // self.per_shard)

    def path(self, shard: int, name: str) -> Path:
        return self.folder / f"{shard:05d}.{name}.npy"

    def read(self, index: int, name: str) -> np.ndarray:
        """One item's array, a copy."""
        shard, row = divmod(range(self.count)[index], self.per_shard)
        # mapped for this one item: thousands of shards, kept open, would pass the limit of open files
        return np.array(np.load(self.path(shard, name), mmap_mode="r")[row])

    def is_sealed(self, shard: int, verify: bool = False) -> bool:
        """Was the shard finished, and are its files still as long (`verify`: the same) as they were then?"""
        seal = self.folder / f"{shard:05d}.json"
        try:
            files = read_json(seal)
            return all(
                path.stat().st_size == files[path.name]["bytes"]
                and (not verify or hash_file(path) == files[path.name]["sha256"])
                for path in (self.path(shard, name) for name in self.arrays)
            )
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def write(self, shard: int, load: Callable[[int], Mapping[str, np.ndarray]]) -> None:
        """Make one shard: `load(index)` gives the arrays of an item."""
        items = [load(i) for i in range(shard * self.per_shard, min((shard + 1) * self.per_shard, self.count))]
        seal = {}
        for name, (shape, kind) in self.arrays.items():
            stacked = np.stack([item[name] for item in items])
            if stacked.shape[1:] != tuple(shape) or stacked.dtype != np.dtype(kind):
                raise ValueError(f"{name} is {stacked.shape[1:]} {stacked.dtype}, expected {shape} {kind}")
            path = self.path(shard, name)
            with write_aside(path) as aside:
                np.save(aside, stacked)
            if not np.array_equal(np.load(path, mmap_mode="r"), stacked):
                raise OSError(errno.EIO, f"{path} does not hold what was written: is the disk failing?")
            seal[path.name] = {"bytes": path.stat().st_size, "sha256": hash_file(path)}
        write_json(self.folder / f"{shard:05d}.json", seal)


@dataclass(frozen=True)
class _Writer:
    """Callable on a shard's number, sent to other processes."""

    shards: Shards
    load: Callable[[int], Mapping[str, np.ndarray]]

    def __call__(self, shard: int) -> int:
        self.shards.write(shard, self.load)
        return shard


def estimate(shards: Shards, load: Callable[[int], Any], workers: int, missing: int) -> tuple[float, float]:
    """Gigabytes and seconds that `missing` shards will take, from the time of a few items."""
    tried = np.linspace(0, shards.count - 1, min(TRIED, shards.count)).astype(int).tolist()
    started = time.perf_counter()
    for index in tried:
        load(index)
    items = min(missing * shards.per_shard, shards.count)
    return items * shards.item_bytes / 1e9, (time.perf_counter() - started) / len(tried) * items / max(workers, 1)


def build(
    shards: Shards, load: Callable[[int], Mapping[str, np.ndarray]], workers: int, title: str, verify: bool = False
) -> None:
    """Make the shards that are missing; says how much it will be and how long it will take before it starts.

    Args:
        load: index of an item -> its arrays; sent to other processes.
        verify: read everything that is there and make again what is not as it was written.
    Raises:
        OSError: not enough space on the disk, before anything is written.
    """
    missing = [i for i in range(shards.shards) if not shards.is_sealed(i, verify)]
    if not missing:
        return
    if len(missing) < shards.shards and not verify:  # an interrupted attempt: look at what it left
        missing = [i for i in range(shards.shards) if i in set(missing) or not shards.is_sealed(i, verify=True)]
    size, seconds = estimate(shards, load, workers, len(missing))
    there = next(p for p in (shards.folder, *shards.folder.parents) if p.exists())
    free = shutil.disk_usage(there).free / 1e9
    text = f"{title}: {shards.count} items, {size:.1f} GB to write, about {describe_time(seconds)}, {free:.0f} GB free"
    if size * SPARE > free:
        raise OSError(errno.ENOSPC, f"{text}: free some space, or make height and width smaller")
    if size > QUIET:
        print(text)
    for left in shards.folder.glob(".*"):
        if time.time() - left.stat().st_mtime > STALE:
            left.unlink(missing_ok=True)
    for done, _ in enumerate(parallel_map(_Writer(shards, load), missing, min(workers, len(missing))), start=1):
        if len(missing) >= 10 and done % -(-len(missing) // 10) == 0:
            print(f"{title}: {done} of {len(missing)} shards")


def describe_time(seconds: float) -> str:
    """Seconds as a reader would say them."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


class Prepared(Wrapper):
    """A data set whose images are read from shards, which are made when the first image is asked for.

    Images are the reader's own, to the last bit. The shards' name holds a hash of everything that decides them: the
    version, reader, size, window, and the name, length and date of every file. They lie in `cache`, else in `CACHE`.
    """

    def __init__(self, dataset: Dataset, workers: int, cache: Path | None = None) -> None:
        super().__init__(dataset, dataset.frames())
        self._workers, self._cache = workers, Path(cache or CACHE)
        self._all = list(self._frames)  # `_frames` may be cut down to a clip later
        self._row = {frame.id: i for i, frame in enumerate(self._all)}
        self._built = False

    @staticmethod
    def pays(dataset: Dataset) -> bool:
        """Has the data set files to decode? Generated streets and videos keep their frames by themselves."""
        return bool(dataset.frames()) and dataset.image_path(dataset.frames()[0]) is not None

    @cached_property
    def shards(self) -> Shards:
        """Where the images lie, or will lie."""
        about = [CACHE_VERSION, self.name, *self.size, self.keep_aspect, self.crop_bottom, SHARD_BYTES]
        for frame in self._all:
            path = self._dataset.image_path(frame)
            try:
                found = path.stat()
            except OSError as error:
                raise ValueError(f"cannot read {path}: {error.strerror}; copy it again or remove it") from None
            about.append([frame.id, path.name, found.st_size, found.st_mtime_ns])
        key = hashlib.sha256(json.dumps(about).encode()).hexdigest()[:12]
        folder = self._cache / f"{self.name}-{self.size[0]}x{self.size[1]}-{key}"
        return Shards(folder, len(self._row), {"image": ((*self.size, 3), "uint8")})

    def __getstate__(self) -> dict[str, Any]:
        if not self._built:  # or every process that it is sent to would make all shards
            self.prepare()
        return self.__dict__

    def load(self, index: int) -> dict[str, np.ndarray]:
        """The arrays of one item, from the reader."""
        return _load_image(self._dataset, self._all, index)

    def prepare(self, verify: bool = False) -> Shards:
        """Make what is missing; see `build`."""
        load = partial(_load_image, self._dataset, self._all)
        build(self.shards, load, self._workers, f"frames of {self.name}", verify)
        self._built = True
        return self.shards

    @property
    def is_prepared(self) -> bool:
        return True

    def image(self, frame: Frame) -> np.ndarray:
        if not self._built:
            self.prepare()
        return self.shards.read(self._row[frame.id], "image")


def _load_image(dataset: Dataset, frames: Sequence[Frame], index: int) -> dict[str, np.ndarray]:
    return {"image": dataset.image(frames[index])}


def need_video(dataset: Dataset, shortest: int, name: str) -> None:
    """Can depth be learned from the data set?

    Args:
        shortest: frames that a clip needs for one triplet.
        name: as in `params.clips`: DATASET = its train split, DATASET:CLIP = that whole clip.
    Raises:
        ValueError: no clip is that long; says what is missing, and where the reader knows it, where to get it.
    """
    if dataset.clips("" if ":" in name else "train", shortest):
        return
    while isinstance(dataset, Wrapper):
        dataset = dataset._dataset
    why = getattr(dataset, "no_video", "") or "name longer videos in `clips` or make frame_step smaller"
    help_text = getattr(dataset, "help", "")
    raise ValueError(f"{name} has no clip of {shortest} frames to learn from: {why}. {help_text}".strip())


def gather_images(
    parts: Sequence[tuple[Dataset, Sequence[Frame]]], workers: int = 0, right: bool = False
) -> "np.ndarray | FrameImages":
    """Images of many frames: in memory, or where that would take too much, read when they are asked for.

    With `right`, what the right camera sees, black where there is none. Too much is half of the memory that is
    free, for this process and each of `workers`, which get a copy; or, of prepared frames, a gigabyte.
    """
    items = FrameImages(parts, right)
    size = len(items) * 3 * int(np.prod(parts[0][0].size))
    ready = all(dataset.is_prepared for dataset, _ in parts)
    if fits_memory(size * (1 + workers)) and not (ready and size > READY_BYTES):
        return np.stack([items[i] for i in range(len(items))])
    return items


class FrameImages(Sequence):
    """Images of many frames as if stacked, (N, H, W, 3), but read when they are asked for.

    An index array of any shape gives an array of that shape + (H, W, 3).
    """

    def __init__(self, parts: Sequence[tuple[Dataset, Sequence[Frame]]], right: bool = False) -> None:
        self._items = [(dataset, frame) for dataset, frames in parts for frame in frames]
        self._right = right

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: Any) -> np.ndarray:
        if np.ndim(index) == 0:
            dataset, frame = self._items[int(index)]
            image = dataset.right_image(frame) if self._right else dataset.image(frame)
            return np.zeros((*dataset.size, 3), np.uint8) if image is None else image
        return np.stack([self[i] for i in index])
