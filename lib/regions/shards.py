"""All frames of a data set through the grouping, shard by shard, on the cores of this machine or on a cluster.

A shard is a few frames that one worker takes. Each map is saved when it is made, and a finished shard leaves a file
with the rows of its frames and what they were made from. So a run that is killed, anywhere and any number of times,
goes on with the shards that are missing, and in those with the maps that are missing.
"""

import hashlib
import json
import os
import platform
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from ..artifacts import Stage, read_json, write_json
from ..data import Frame
from ..parallel import WorkerDied, explain, open_bar, parallel_map, peak_memory

LARGEST = 64  # frames of a shard
PARTS = 128  # shards there are at least, about, if frames suffice: so that many workers end at the same time
TRIES = 3  # times that a shard may lose its worker
STALE = 60  # seconds after which an unfinished file is taken to be left by a killed process
PAPER = 89250  # frames that CPCDR groups: 30 of each of Cityscapes' 2975 training clips


@dataclass(frozen=True)
class Shard:
    """Frames that one worker takes. number: its place among the shards of a list of frames."""

    number: int
    frames: tuple[Frame, ...]

    def __str__(self) -> str:
        return f"shard {self.number} (frames {self.frames[0].id} to {self.frames[-1].id})"


@dataclass(frozen=True)
class GroupedFrames:
    """What `group_frames` did.

    rows: of each frame what the grouper says about it, in the order of the frames; see `FrameGrouper`.
    made, found: frames of the shards that were made now, and of those that were there already.
    seconds: wall time. busy: seconds that workers spent on frames, summed; both of this call alone.
    workers: processes that were asked for; of a cluster, those that took part.
    seconds_per_frame: that a worker takes to read a frame, group it and save its map while the others are at work too;
        without scores, if any frame is without labels; 0 = none was grouped now.
    peak_memory: bytes that the largest worker held.
    """

    rows: list[dict[str, float]]
    made: int
    found: int
    seconds: float
    busy: float
    workers: int
    seconds_per_frame: float
    peak_memory: int

    @property
    def busy_share(self) -> float:
        """Share of the workers' time that they spent on frames: the rest is starting, sending and waiting. 0..1"""
        return self.busy / (self.workers * self.seconds) if self.made else 0.0

    def estimate_hours(self, frames: int = PAPER) -> float:
        """How long as many frames take these workers, without what it takes to start them; 0 = nothing was measured."""
        return self.seconds_per_frame * frames / max(self.workers, 1) / 3600

    def describe(self) -> str:
        """Two sentences with times, for a log: they differ from run to run, so not for a committed notebook."""
        there = f"; {self.found} maps were there already" * bool(self.found)
        if not self.made:
            return f"nothing to group{there}"
        who = "1 worker" if self.workers == 1 else f"{self.workers} workers"
        text = f"{self.made} frames in {self.seconds:.1f} s on {who}, busy {100 * self.busy_share:.0f} % of the time"
        text += f", with {self.peak_memory / 1e6:.0f} MB at most in each{there}"
        if not self.seconds_per_frame:
            return text
        hours = f"{PAPER} of them, as many as CPCDR has, would take {who} {self.estimate_hours():.1f} h"
        return f"{text}. {self.seconds_per_frame:.3f} s a frame and worker: {hours}"


def cut_shards(frames: Sequence[Frame], size: int = 0) -> list[Shard]:
    """Shards of frames that follow each other; a function of the list alone, whoever and however many work on it.

    Args:
        size: frames of a shard, the last may be shorter; 0 = such that there are `PARTS`, at most `LARGEST`.
    """
    size = size or min(LARGEST, -(-len(frames) // PARTS)) or 1
    return [Shard(n, tuple(frames[at : at + size])) for n, at in enumerate(range(0, len(frames), size))]


def group_frames(
    grouper: Callable[[Frame], dict[str, float]],
    frames: Sequence[Frame],
    workers: int = 1,
    scheduler: str = "",
    shard: int = 0,
    progress: bool = True,
) -> GroupedFrames:
    """Group every frame that an earlier call with the same parameters, inputs and code has not; see `FrameGrouper`.

    Maps depend on their frame alone: not on shards, workers or who was killed. A worker that dies is replaced, a few
    times; a shard that was at work in each of these accidents is then tried alone, which tells the guilty from its
    neighbours. Two calls may work in one folder: they write the same files.

    Args:
        grouper: callable on a frame, with the `stage` it saves regions/<frame id>.png in; sent to other processes.
        workers, scheduler: as in `parallel_map`. The folder of the stage must be at the same place for all workers.
        shard: frames of a shard, see `cut_shards`.
        progress: a bar, see `open_bar`.
    Raises:
        ValueError: two frames of one id.
        ValueError, OSError (FileNotFoundError), RuntimeError: a frame failed; names it. What is finished stays.
        RuntimeError: a shard kills its workers; a worker does not see the stage's folder.
        The others of `parallel_map`.
    """
    if twice := [name for name, count in Counter(frame.id for frame in frames).items() if count > 1]:
        raise ValueError(f"two frames have the id {twice[0]!r}, so their maps would be one file: give each once")
    work, shards = _Work(grouper, _hash_key(grouper.stage), uuid4().hex[:8]), cut_shards(frames, shard)
    started = time.perf_counter()
    records = work.begin(shards)
    left = [s for s in shards if s.number not in records]
    open_frames = sum(len(s.frames) for s in left)
    with open_bar("regions", " frames", len(frames), len(frames) - open_frames, progress) as bar:
        for done, record in _run(work, left, workers, scheduler):
            records[done.number] = record
            if bar is not None:
                bar.update(len(done.frames))
    seconds = time.perf_counter() - started
    _clear_unfinished(grouper.stage)
    now = [(s.frames, records[s.number]) for s in left]
    return GroupedFrames(
        rows=[row for s in shards for row in records[s.number]["rows"]],
        made=open_frames,
        found=len(frames) - open_frames,
        seconds=seconds,
        busy=sum(sum(record["seconds"]) for _, record in now),
        workers=len({record["worker"] for _, record in now}) if scheduler else max(workers, 1),
        seconds_per_frame=_time_a_frame(now),
        peak_memory=max((record["peak_memory_bytes"] for _, record in now), default=0),
    )


def _time_a_frame(now: list[tuple[tuple[Frame, ...], dict[str, Any]]]) -> float:
    """Mean seconds of the frames that were grouped, not found; those without labels, if there are any. 0 = none"""
    times: dict[bool, list[float]] = {False: [], True: []}
    for frames, record in now:
        for frame, row, seconds in zip(frames, record["rows"], record["seconds"]):
            if "seconds_per_frame" in row:
                times[frame.labelled].append(seconds)
    chosen = times[False] or times[True]
    return sum(chosen) / len(chosen) if chosen else 0.0


def _hash_key(stage: Stage) -> str:
    """What must be the same for a shard to be still good: parameters, inputs, code, sources; as one hash."""
    return hashlib.sha256(json.dumps(stage.resume_key("lib.regions")).encode()).hexdigest()


@dataclass(frozen=True)
class _Work:
    """Callable on a shard, sent to other processes: groups its frames and leaves shards/<number>.json.

    made_from: as `_hash_key` gives it.
    call: tells its marks from those of another call in the same folder.
    """

    grouper: Callable[[Frame], dict[str, float]]
    made_from: str
    call: str

    @property
    def folder(self) -> Path:
        return self.grouper.stage.folder / "shards"

    def begin(self, shards: Sequence[Shard]) -> dict[int, dict[str, Any]]:
        """Say in the folder what is being made; what lies there of it already, by the number of the shard."""
        self.grouper.stage.path("shards/plan.json")  # makes the folder
        write_json(self.folder / "plan.json", {"made_from": self.made_from, "shards": len(shards)})
        return {shard.number: found for shard in shards if (found := self.read(shard))}

    def __call__(self, shard: Shard) -> dict[str, Any]:
        """What the shard leaves, as it lies in its file: who began the work may not see a file yet that was written
        on another machine."""
        self._check_folder()
        if self.read(shard) is None:  # or another call has made it meanwhile
            self._make(shard)
        if (made := self.read(shard)) is None:
            raise RuntimeError(f"{shard} was made, and is gone: does something else write or clear in {self.folder}?")
        return made

    def _check_folder(self) -> None:
        plan = self.folder / "plan.json"
        if not plan.is_file():
            raise RuntimeError(
                f"a worker on {platform.node()} does not see {plan}: the folder of the run must be on a disk that all "
                "machines share, at the same place"
            )
        if read_json(plan)["made_from"] != self.made_from:
            raise RuntimeError(f"another call, with other parameters or inputs, works in {self.folder.parent}: end one")

    def _make(self, shard: Shard) -> None:
        rows, seconds = [], []
        try:
            for frame in shard.frames:
                self.mark(shard).write_text(frame.id)
                started = time.perf_counter()
                try:
                    rows.append(self.grouper(frame))
                except Exception as error:
                    raise explain(error, f"frame {frame.id} cannot be grouped") from error
                seconds.append(time.perf_counter() - started)
            about = {"made_from": self.made_from, "frames": [frame.id for frame in shard.frames], "rows": rows}
            about |= {"seconds": seconds, "worker": f"{platform.node()}:{os.getpid()}"}
            write_json(self.folder / f"{shard.number:05d}.json", about | {"peak_memory_bytes": peak_memory()})
        finally:
            self.mark(shard).unlink(missing_ok=True)  # it stays if this process is killed, and says where

    def mark(self, shard: Shard) -> Path:
        """Names the frame that is being grouped."""
        return self.folder / f".{shard.number:05d}.{self.call}.at"

    def read(self, shard: Shard) -> dict[str, Any] | None:
        """What a finished shard left; None if it is missing, damaged or made from something else, or a map is gone."""
        ids = [frame.id for frame in shard.frames]
        maps = self.grouper.stage.folder / "regions"
        with suppress(OSError, ValueError, KeyError, TypeError):
            found = read_json(self.folder / f"{shard.number:05d}.json")
            same = (found["made_from"], found["frames"]) == (self.made_from, ids)
            if same and len(found["rows"]) == len(ids) and all((maps / f"{name}.png").is_file() for name in ids):
                return found
        return None


def _run(work: _Work, shards: Sequence[Shard], workers: int, scheduler: str) -> Iterator[tuple[Shard, dict[str, Any]]]:
    """Make the shards, starting again when workers die; yields each with what it left."""
    left: dict[int, Shard] = {shard.number: shard for shard in shards}
    deaths: Counter[int | None] = Counter()
    while left:
        suspects = [shard for shard in left.values() if deaths[shard.number] >= TRIES - 1]
        batch = suspects[:1] or list(left.values())
        # more than one asked for: then the work is done in other processes, and this one survives
        processes = max(2, min(workers, len(batch))) if workers > 1 else 1
        try:
            for made, shard in zip(parallel_map(work, batch, processes, scheduler), batch):  # in this order: to its end
                yield left.pop(shard.number), made
            continue
        except WorkerDied as error:
            died = error
        for shard in list(left.values()):
            if made := work.read(shard):
                yield left.pop(shard.number), made
        _count_deaths(work, list(left.values()), deaths, bool(suspects), died)
        # the maps that lie there are of this very work: `artifacts.begin` keeps none of other parameters or inputs
        work.grouper.stage.continued = True


def _count_deaths(work: _Work, left: list[Shard], deaths: Counter[int | None], alone: bool, died: WorkerDied) -> None:
    """Note which shards were at work in an accident, in `deaths`; None counts accidents in which none was.

    Raises:
        RuntimeError: it was one alone, or there were too many accidents before any shard began.
    """
    places = {shard: work.mark(shard).read_text() for shard in left if work.mark(shard).is_file()}
    deaths.update([shard.number for shard in places] or [None])
    if alone and places:
        shard, frame = next(iter(places.items()))
        raise RuntimeError(
            f"{shard} has killed its worker {TRIES} times, now at frame {frame}: is there memory enough? workers = 1 "
            "shows what happens; the other shards that are finished stay"
        ) from died
    if deaths[None] >= TRIES:
        raise RuntimeError(f"workers die before they begin a shard: {died}") from died
    print(f"a worker died ({', '.join(places.values()) or 'before its first frame'}); starting again, nothing is lost")


def _clear_unfinished(stage: Stage) -> None:
    """Remove what killed processes left half written; what is younger may be another process at work."""
    # the names that `write_aside` gives, and marks, of which one may be as old as a frame takes
    for pattern, oldest in (("regions/**/.*.*.png", STALE), ("shards/.*.*.json", STALE), ("shards/.*.at", 60 * STALE)):
        for path in stage.folder.glob(pattern):
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > oldest:
                    path.unlink()
