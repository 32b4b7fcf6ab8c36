"""Is nothing lost? A training of 04 that is killed at random moments must end as one that never was.

    python -m lib.run.kill --kills 20 --workers 0 2 --record

SIGKILL, as from a machine that is taken away: no chance to save. Then the same training is begun again, and so on;
whenever one gets to its end, the sha256 of its tensors is compared with that of a training without interruption. Small
composites of generated streets with their true regions; outputs/reference/kill.json.
"""

import argparse
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from contextlib import redirect_stdout
from dataclasses import dataclass
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
    """The training that is killed: begun, or gone on with. Sends each step it made, and the hash of its tensors."""
    values = params.TrainingParams(dimensions=16, prototypes=32, pixel_points=100, region_points=100)
    task = CpcdrTask(values, params.AugmentationParams(images=2), make_streets())
    settings = {"steps": STEPS, "optimizer": "adam", "learning_rate": 1e-3, "checkpoint_every": EVERY}
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        train(
            task,
            folder,
            key={},
            device=torch.device("cpu"),
            workers=workers,
            on_step=lambda done, _: end.send(done),
            **settings,
        )
    end.send(hash_tensors(task.networks.state_dict()))


@dataclass
class _Attempt:
    """A training in a process of its own, from its first step on."""

    folder: Path
    workers: int

    def __post_init__(self) -> None:
        # forked from a process that has loaded the packages and computed nothing: no time is lost on loading them
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(LOADED)
        self.end, theirs = context.Pipe(duplex=False)
        self.process = context.Process(target=train_and_tell, args=(self.folder, self.workers, theirs))
        self.process.start()
        theirs.close()
        self.first = self._receive()  # the number of a step, unless none was left to make
        self.started = time.monotonic()

    def _receive(self) -> int | str:
        try:
            return self.end.recv()
        except EOFError:
            self.process.join()
            raise RuntimeError(f"a training ended by itself, with exit code {self.process.exitcode}") from None

    def kill(self, seconds: float) -> bool:
        """SIGKILL after so many seconds from the first step on; False if it has ended by then."""
        if isinstance(self.first, str) or wait([self.process.sentinel], seconds):
            return False
        self.process.kill()
        self.process.join()
        return True

    def finish(self) -> tuple[str, float]:
        """The hash of its tensors, and the seconds from its first step to its end."""
        word = self.first
        while isinstance(word, int):
            word = self._receive()
        self.process.join()
        return word, time.monotonic() - self.started


def kill_and_compare(kills: int, workers: int, seed: int = 0) -> dict[str, Any]:
    """Kill `kills` times, at moments drawn evenly over what an uninterrupted training takes from its first step on.

    Returns:
        kills; of_resumed, how many of them hit a training that had been killed before; finished, trainings that got to
        their end; equal, those with the tensors of the uninterrupted one.
    Raises:
        RuntimeError: a training failed by itself.
    """
    random, found = numpy_generator(seed, workers), {"kills": 0, "of_resumed": 0, "finished": 0, "equal": 0}
    with tempfile.TemporaryDirectory() as parent:
        expected, seconds = _Attempt(Path(parent) / "whole", workers).finish()
        folder = Path(parent) / "killed"
        while found["kills"] < kills or folder.exists():
            attempt = _Attempt(folder, workers)
            if found["kills"] < kills and attempt.kill(float(random.uniform(0, seconds))):
                found["kills"] += 1
                found["of_resumed"] += attempt.first > 1
            else:
                found["finished"] += 1
                found["equal"] += attempt.finish()[0] == expected
                shutil.rmtree(folder)
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
        print(f"{workers} workers: {row['kills']} kills, {row['of_resumed']} of them of resumed trainings")
        print(f"    {row['equal']} of {row['finished']} trainings that got to their end equal the uninterrupted one")
    if chosen.record:
        about = {"steps": STEPS, "checkpoint_every": EVERY, **artifacts.describe_machine()}
        artifacts.write_json(REFERENCE / "kill.json", {"trainings": found, **about})
    return 0 if all(row["equal"] == row["finished"] > 0 for row in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
