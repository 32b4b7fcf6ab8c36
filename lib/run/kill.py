"""Is nothing lost? A training of 04 that is killed at random moments must end as one that never was.

    python -m lib.run.kill --kills 20 --workers 0 2 --record

SIGKILL, as from a machine that is taken away: no chance to save. Then the same training is begun again, and so on;
whenever one gets to its end, the sha256 of its tensors (weights, state of the optimiser, history) is compared with that
of a training without interruption. Small composites of generated streets with their true regions;
outputs/reference/kill.json.
"""

import argparse
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from contextlib import redirect_stdout
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import artifacts, params
from ..copy_paste import Source, prepare_source
from ..data.street import make_clip
from ..methods.cpcdr import CpcdrTask
from ..parallel import numpy_generator
from ..training import hash_tensors, train
from .reference import REFERENCE

SIZE, FRAMES, STEPS, EVERY = (64, 96), 4, 24, 3  # steps, and between two checkpoints
LOADED = ["lib.methods.cpcdr", "lib.training", "lib.data.street"]  # what a training is made of


def make_streets() -> list[Source]:
    """Frames of generated streets, cut by class and instance, with their true depth."""
    sources = []
    for number in range(FRAMES):
        clip = make_clip("train", number, 1, *SIZE)
        _, ids = np.unique(clip.labels[0].astype(int) * 1000 + clip.instances[0], return_inverse=True)
        inverse_depth = (1 / np.maximum(clip.depth[0], 1)).astype(np.float32)
        sources.append(prepare_source(clip.images[0], ids.reshape(SIZE).astype(np.uint16) + 1, inverse_depth))
    return sources


def train_and_tell(folder: Path, workers: int, end: Connection) -> None:
    """The training that is killed: begun, or gone on with. Sends a word for each step, and then a hash."""
    # workers that it was starting when it was killed complain: into a file
    os.dup2(os.open(_name_log(folder), os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    values = params.TrainingParams(dimensions=16, prototypes=32, pixel_points=100, region_points=100)
    task = CpcdrTask(values, params.AugmentationParams(images=2), make_streets())
    settings = {"steps": STEPS, "optimizer": "adam", "learning_rate": 1e-3, "checkpoint_every": EVERY, "key": {}}
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        train(
            task, folder, device=torch.device("cpu"), workers=workers, on_step=lambda *_: end.send("step"), **settings
        )
    end.send(hash_state(folder / "checkpoints" / f"checkpoint_{STEPS:06d}.pt"))


def _name_log(folder: Path) -> Path:
    return folder.with_suffix(".log")


def hash_state(path: Path) -> str:
    """The hash of all tensors of a checkpoint."""
    state = torch.load(path, weights_only=True)
    moments = {f"{i} {name}": value for i, row in state["optimizer"]["state"].items() for name, value in row.items()}
    return hash_tensors({**state["networks"], **moments, **state["columns"]})


class _Attempt:
    """A training in a process of its own."""

    def __init__(self, folder: Path, workers: int) -> None:
        # forked from a process that has loaded the packages and computed nothing: no time is lost on loading them
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(LOADED)
        self.end, theirs = context.Pipe(duplex=False)
        self.process = context.Process(target=train_and_tell, args=(folder, workers, theirs))
        self.log = _name_log(folder)
        self.process.start()
        theirs.close()
        self.started = time.monotonic()

    def kill(self, seconds: float) -> str:
        """SIGKILL after so many seconds: "before its first step" or "later"; or "too late", if it has ended by then."""
        if wait([self.process.sentinel], seconds):
            return "too late"
        self.process.kill()
        self.process.join()
        return "later" if self.end.poll() and self._receive() else "before its first step"

    def _receive(self) -> str:
        try:
            return self.end.recv()
        except EOFError:
            return ""

    def finish(self) -> tuple[str, float]:
        """Its hash, and the seconds that it took.

        Raises:
            RuntimeError: it failed by itself.
        """
        while (word := self._receive()) == "step":
            pass
        self.process.join()
        if not word:
            last = self.log.read_text().strip().splitlines()[-1:] if self.log.is_file() else []
            raise RuntimeError(f"a training ended by itself, with exit code {self.process.exitcode}: {' '.join(last)}")
        return word, time.monotonic() - self.started


def kill_and_compare(kills: int, workers: int, seed: int = 0) -> dict[str, Any]:
    """Kill `kills` times, at moments drawn evenly over what an uninterrupted training takes, its start included.

    Returns:
        kills; before_first_step, how many of them came while it was loading or beginning; of_resumed, how many hit a
        training that had been killed before; finished, trainings that got to their end; equal, those with the tensors
        of the uninterrupted one.
    Raises:
        RuntimeError: a training failed by itself.
    """
    random = numpy_generator(seed, workers)
    found = dict.fromkeys(("kills", "before_first_step", "of_resumed", "finished", "equal"), 0)
    with tempfile.TemporaryDirectory() as parent:
        _Attempt(Path(parent) / "warm", workers).finish()  # the first one also waits for the packages
        expected, seconds = _Attempt(Path(parent) / "whole", workers).finish()
        folder = Path(parent) / "killed"
        while found["kills"] < kills or folder.exists():
            resumed, attempt = any(folder.glob("checkpoints/*.pt")), _Attempt(folder, workers)
            when = attempt.kill(float(random.uniform(0, seconds))) if found["kills"] < kills else "too late"
            if when == "too late":
                found["finished"] += 1
                found["equal"] += attempt.finish()[0] == expected
                shutil.rmtree(folder)
            else:
                found["kills"] += 1
                found["before_first_step"] += when == "before its first step"
                found["of_resumed"] += resumed
    return found


def main(words: list[str] | None = None) -> int:
    """0 if every training that got to its end has the tensors of the uninterrupted one, else 1."""
    parser = argparse.ArgumentParser(prog="python -m lib.run.kill", description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=20, help="for each number of workers (default: 20)")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2], help="that make batches (default: 0 2)")
    parser.add_argument("--record", action="store_true", help="write outputs/reference/kill.json")
    chosen = parser.parse_args(words)
    found = {}
    for workers in chosen.workers:
        row = found[f"{workers} workers"] = kill_and_compare(chosen.kills, workers)
        early, resumed = row["before_first_step"], row["of_resumed"]
        print(f"{workers} workers: {row['kills']} kills, {early} before the first step, {resumed} of resumed trainings")
        print(f"    {row['equal']} of {row['finished']} trainings that got to their end equal the uninterrupted one")
    if chosen.record:
        about = {"steps": STEPS, "checkpoint_every": EVERY, **artifacts.describe_machine()}
        artifacts.write_json(REFERENCE / "kill.json", {"trainings": found, **about})
    return 0 if all(row["equal"] == row["finished"] > 0 for row in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
