"""Inverse depth of tens of thousands of frames: read ahead, predicted, written as 16-bit PNGs; a kill costs nothing.

The source, a network or not, runs in the calling thread. Reading and writing run beside it in threads, not processes:
decoding, encoding and waiting for the disk all let other threads run, and nothing has to be copied or started anew.
"""

import errno
import shutil
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from itertools import islice
from threading import Lock
from typing import Any

import numpy as np
from tqdm import tqdm

from ..artifacts import Stage, read_inverse_depth
from ..data import Dataset, Frame
from ..parallel import open_bar

Source = Callable[[list[Frame], np.ndarray], np.ndarray]
"""Frames and their images (B, H, W, 3) uint8 -> inverse depth (B, H, W) float32, 0 = no value."""

WAITED = {"reading": "reading", "source": "making the maps", "writing": "writing"}
"""What the calling thread waits for, and how a sentence calls it."""

AHEAD = 2  # batches that are being read, and batches that wait to be written
TRIED = 16  # maps after which it is estimated how much space the others will need
STALE = 60  # seconds after which an unfinished file is taken to be left by a killed process


class StoredMaps(Sequence[np.ndarray]):
    """Inverse depth of some frames, each read from its file whenever it is asked for. (H, W) float32 each"""

    def __init__(self, stage: Stage, frames: Sequence[Frame], largest: float) -> None:
        self._stage, self._frames, self._largest = stage, frames, largest

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> np.ndarray:
        return read_inverse_depth(self._stage.path(f"inverse_depth/{self._frames[index].id}.png"), self._largest)


@dataclass(frozen=True)
class Export:
    """What `write_inverse_depths` did.

    written: maps made now. found: maps that were there already, left by an interrupted attempt.
    seconds: wall time, without what a data set makes on its first use.
    reading, source, writing: shares of `seconds` that the calling thread waited for images, spent in the source (a
        network, stereo matching, a file), and waited for files; what is missing to 1 is its own work.
    """

    written: int
    found: int
    seconds: float
    reading: float
    source: float
    writing: float

    @property
    def images_per_second(self) -> float:
        return self.written / self.seconds if self.written else 0.0

    @property
    def bound_by(self) -> str:
        """reading, source or writing, whichever took the largest share; nothing, if nothing was written."""
        return max(WAITED, key=lambda name: getattr(self, name)) if self.written else "nothing"

    def describe(self) -> str:
        """One sentence with rates, for a log: they differ from run to run, so not for a committed notebook."""
        if not self.written:
            return f"nothing to write: {self.found} maps were there already"
        rate, name = self.images_per_second, self.bound_by
        share = 100 * getattr(self, name)
        text = f"{rate:.{0 if rate >= 10 else 1}f} images a second, bound by {WAITED[name]} ({share:.0f} % of the time)"
        return text + f"; {self.found} maps were there already" * bool(self.found)


def write_inverse_depths(
    stage: Stage,
    dataset: Dataset,
    frames: Sequence[Frame],
    source: Source,
    largest: float,
    *,
    batch: int = 16,
    workers: int = 2,
    progress: bool = True,
) -> Export:
    """Write inverse_depth/<frame id>.png of every frame that has none yet; see `artifacts.write_inverse_depth`.

    Files are written aside, flushed to the disk and renamed, so one that is there is whole: that it is there is all
    that is asked when an interrupted attempt goes on. A file depends on its frame alone, not on order or threads. A
    few batches are held (`AHEAD`), however many frames there are. Frames with a file of their own are read side by
    side; others, whose data set keeps them in this process, one at a time.

    Args:
        source: called in this thread, in the order of `frames`, with at most `batch` of them.
        largest: inverse depth that 65535 stands for, 1 / scene unit; larger values are cut to it. Noted in `stage`.
        workers: threads that read, and as many that write; 0 counts as 1.
        progress: images a second and time left, see `lib.parallel.open_bar`.
    Raises:
        ValueError: two frames of one id, a bad `largest` or `batch`; a map that is not (H, W), negative or not finite.
        ValueError, OSError (FileNotFoundError), RuntimeError: reading, predicting or writing failed; names the frame.
            What was predicted before it is written, and no half file stays.
        OSError: the disk is full or, judged by the first `TRIED` maps, will be.
        KeyboardInterrupt: as received, once the maps at hand are written.
    """
    _check(frames, largest, batch)
    stage.about["inverse_depth_largest"] = float(largest)
    left = [frame for frame in frames if not stage.has(f"inverse_depth/{frame.id}.png")]
    # shards and streets are made on first use, by each thread that asks: ask here, for each split and joined part
    for frame in {(frame.split, frame.labelled): frame for frame in reversed(left)}.values():
        _load(dataset, frame)
    clock, started = _Clock(), time.perf_counter()
    with ExitStack() as stack:
        found, wanted = len(frames) - len(left), progress and bool(left)
        bar = stack.enter_context(open_bar("inverse depth", " images", len(frames), found, wanted))
        writing = stack.enter_context(ThreadPoolExecutor(max(workers, 1), "write inverse depth"))
        reading = stack.enter_context(ThreadPoolExecutor(max(workers, 1), "read images"))
        stack.callback(reading.shutdown, cancel_futures=True)  # after an error nobody wants more images
        writer = _Writer(stage, largest, writing, len(left), bar)
        for group, images in clock.walk("reading", _read_ahead(dataset, left, batch, reading)):
            for part, maps in clock.walk("source", _predict(source, group, images)):
                writer.put(part, maps)
                with clock.waits_for("writing"):
                    writer.collect(AHEAD * batch)
        with clock.waits_for("writing"):
            writer.collect(0)
    seconds = time.perf_counter() - started
    _clear_unfinished(stage)
    return Export(len(left), len(frames) - len(left), seconds, **{k: v / seconds for k, v in clock.spent.items()})


def _check(frames: Sequence[Frame], largest: float, batch: int) -> None:
    if batch < 1 or not 0 < largest < np.inf:
        raise ValueError(f"batch = {batch}, largest = {largest}: both must be positive, and `largest` finite")
    if twice := [name for name, count in Counter(frame.id for frame in frames).items() if count > 1]:
        raise ValueError(f"two frames have the id {twice[0]!r}, so their maps would be one file: give each once")


def _clear_unfinished(stage: Stage) -> None:
    """Remove what killed processes left half written; what is younger may be another process at work."""
    for path in (stage.folder / "inverse_depth").rglob(".*.*.png"):  # the names that `write_aside` gives
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > STALE:
                path.unlink()


def _explain(error: Exception, what: str) -> Exception:
    """The same kind of error, as far as callers tell them apart, with the frame in its sentence."""
    if isinstance(error, OSError) and error.errno:
        return OSError(error.errno, f"{what}: {error.strerror or error}")
    kind = next((k for k in (FileNotFoundError, OSError, ValueError) if isinstance(error, k)), RuntimeError)
    return kind(f"{what}: {str(error) or type(error).__name__}")


def _load(dataset: Dataset, frame: Frame) -> np.ndarray:
    try:
        image = dataset.image(frame)
        if image.shape != (*dataset.size, 3) or image.dtype != np.uint8:
            raise ValueError(f"it is {image.shape} {image.dtype}, expected {(*dataset.size, 3)} uint8")
        return image
    except Exception as error:
        raise _explain(error, f"the image of frame {frame.id} cannot be read") from error


def _read_ahead(
    dataset: Dataset, frames: Sequence[Frame], batch: int, pool: ThreadPoolExecutor
) -> Iterator[tuple[list[Frame], np.ndarray]]:
    """Batches of frames with their images, in order, while those of the next `AHEAD` batches are read."""
    one_at_a_time, waiting = Lock(), deque()
    groups = (list(frames[first : first + batch]) for first in range(0, len(frames), batch))

    def read(frame: Frame, image: np.ndarray) -> None:
        # a frame without a file comes from a cache of this process, which need not stand two threads
        with nullcontext() if dataset.image_path(frame) is not None else one_at_a_time:
            image[:] = _load(dataset, frame)

    def begin(groups: Iterable[list[Frame]]) -> None:
        for group in groups:
            images = np.empty((len(group), *dataset.size, 3), np.uint8)
            waiting.append((group, images, [pool.submit(read, *pair) for pair in zip(group, images)]))

    begin(islice(groups, AHEAD))
    while waiting:
        group, images, jobs = waiting.popleft()
        for job in jobs:
            job.result()
        begin(islice(groups, 1))
        yield group, images


def _predict(source: Source, frames: list[Frame], images: np.ndarray) -> Iterator[tuple[list[Frame], np.ndarray]]:
    """The maps of a batch; if it fails over one of its frames, those before it, and then an error that names it."""
    try:
        maps = np.asarray(source(frames, images))
        if maps.shape != images.shape[:3] or maps.dtype.kind != "f":
            raise ValueError(f"the source gave {maps.shape} {maps.dtype}, expected {images.shape[:3]} float32")
    except Exception as error:
        # a RuntimeError is the device's (no memory, a broken kernel): it says nothing about any one frame
        if len(frames) > 1 and not isinstance(error, RuntimeError | MemoryError):
            for i in range(len(frames)):
                yield from _predict(source, frames[i : i + 1], images[i : i + 1])
        which = f"frame {frames[0].id}" if len(frames) == 1 else f"frames {frames[0].id} to {frames[-1].id}"
        raise _explain(error, f"no inverse depth of {which}, those before stay") from error
    yield frames, maps.astype(np.float32, copy=False)


class _Writer:
    """Checks maps and has them written by other threads. count: maps that there will be in all."""

    def __init__(self, stage: Stage, largest: float, pool: ThreadPoolExecutor, count: int, bar: tqdm | None) -> None:
        self._stage, self._largest, self._pool, self._count, self._bar = stage, largest, pool, count, bar
        self._jobs: deque[Future[int]] = deque()
        self._written = self._bytes = 0

    def put(self, frames: list[Frame], maps: np.ndarray) -> None:
        for frame, inverse_depth in zip(frames, maps):
            if not (inverse_depth.min() >= 0 and inverse_depth.max() < np.inf):  # false for NaN
                bad = int((~np.isfinite(inverse_depth) | (inverse_depth < 0)).sum())
                text = f"{bad} of {inverse_depth.size} values are negative or not finite"
                raise ValueError(f"no inverse depth of frame {frame.id}: {text}; 0 stands for no value")
            self._jobs.append(self._pool.submit(self._write, frame, inverse_depth))

    def collect(self, at_most: int) -> None:
        """Wait until at most so many maps are left to write; raises what went wrong with any."""
        while self._jobs and (len(self._jobs) > at_most or self._jobs[0].done()):
            self._note(self._jobs.popleft().result())
        for job in self._jobs:
            if job.done():
                job.result()

    def _write(self, frame: Frame, inverse_depth: np.ndarray) -> int:
        name = f"inverse_depth/{frame.id}.png"
        try:
            self._stage.save_inverse_depth(name, inverse_depth, self._largest)
            return self._stage.path(name).stat().st_size
        except Exception as error:
            raise _explain(error, f"the inverse depth of frame {frame.id} cannot be written") from error

    def _note(self, size: int) -> None:
        self._written, self._bytes = self._written + 1, self._bytes + size
        if self._bar is not None:
            self._bar.update()
        if self._written != TRIED:
            return
        needed, free = self._bytes / TRIED * (self._count - TRIED), shutil.disk_usage(self._stage.folder).free
        if needed > free:
            text = f"the other maps need about {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free on the disk"
            raise OSError(errno.ENOSPC, f"{text}: free some, run again; nothing that was written is lost")


class _Clock:
    """Seconds of the calling thread, by what it waited for."""

    def __init__(self) -> None:
        self.spent = dict.fromkeys(WAITED, 0.0)

    @contextmanager
    def waits_for(self, what: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.spent[what] += time.perf_counter() - started

    def walk(self, what: str, items: Iterator[Any]) -> Iterator[Any]:
        """`items`, with the time that each takes to come."""
        while True:
            with self.waits_for(what):
                item = next(items, None)
            if item is None:
                return
            yield item
