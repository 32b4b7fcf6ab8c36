"""Is nothing lost? A training of 04 that is killed at random moments must end as one that never was.

    python -m lib.run.kill --kills 20 --workers 0 2 --record

SIGKILL, as from a machine that is taken away: no chance to save. Then the same training is begun again, and so on;
whenever one gets to its end, the sha256 of its tensors is compared with that of a training without interruption. Small
composites of generated streets with their true regions; outputs/reference/kill.json.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import ROOT, artifacts, params
from ..copy_paste import Source, prepare_source
from ..data.street import make_clip
from ..methods.cpcdr import CpcdrTask
from ..parallel import numpy_generator
from ..training import hash_tensors, train
from .reference import REFERENCE

SIZE, FRAMES, STEPS, EVERY = (64, 96), 4, 24, 3  # steps, and between two checkpoints
BEGUN = "begun"


def make_streets() -> list[Source]:
    """Frames of generated streets, cut by class and instance, with their true depth."""
    sources = []
    for number in range(FRAMES):
        clip = make_clip("train", number, 1, *SIZE)
        _, ids = np.unique(clip.labels[0].astype(int) * 1000 + clip.instances[0], return_inverse=True)
        inverse_depth = (1 / np.maximum(clip.depth[0], 1)).astype(np.float32)
        sources.append(prepare_source(clip.images[0], ids.reshape(SIZE).astype(np.uint16) + 1, inverse_depth))
    return sources


def train_here(folder: Path, workers: int) -> str:
    """The training that is killed: begun, or gone on with; the hash of its tensors when it is finished."""
    values = params.TrainingParams(dimensions=16, prototypes=32, pixel_points=100, region_points=100)
    task = CpcdrTask(values, params.AugmentationParams(images=2), make_streets())

    def tell(done: int, history: Any) -> None:
        print(BEGUN, flush=True)

    settings = {"steps": STEPS, "optimizer": "adam", "learning_rate": 1e-3, "checkpoint_every": EVERY}
    train(task, folder, key={}, device=torch.device("cpu"), workers=workers, on_step=tell, **settings)
    return hash_tensors(task.networks.state_dict())


def _read_to_a_step(process: subprocess.Popen) -> str:
    """What it prints up to its first step, or to its end: it may first say that it goes on after another."""
    read = ""
    for line in process.stdout:
        read += line
        if line.strip() == BEGUN:
            break
    return read


def _start(folder: Path, workers: int) -> subprocess.Popen:
    words = [sys.executable, "-m", "lib.run.kill", "--train", str(folder), "--workers", str(workers)]
    return subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def _finish(process: subprocess.Popen, read: str) -> str:
    """The last line that it prints, when the first one was already read."""
    output = process.stdout.read()  # communicate() would pass over what is buffered here
    process.wait()
    if process.returncode:
        raise RuntimeError(f"a training ended with exit code {process.returncode}")
    return (read + output).strip().splitlines()[-1]


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
        process = _start(Path(parent) / "whole", workers)
        read, started = _read_to_a_step(process), time.monotonic()
        expected, seconds = _finish(process, read), time.monotonic() - started
        folder = Path(parent) / "killed"
        while found["kills"] < kills or folder.exists():
            process = _start(folder, workers)
            read = _read_to_a_step(process)
            if read.rstrip().endswith(BEGUN) and found["kills"] < kills:
                try:
                    process.wait(float(random.uniform(0, seconds)))
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.communicate()
                    found["kills"] += 1
                    found["of_resumed"] += "going on" in read
                    continue
            found["finished"] += 1
            found["equal"] += _finish(process, read) == expected
            shutil.rmtree(folder)
    return found


def main(words: list[str] | None = None) -> int:
    """0 if every training that got to its end has the tensors of the uninterrupted one, else 1."""
    parser = argparse.ArgumentParser(prog="python -m lib.run.kill", description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=20, help="for each number of workers (default: 20)")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2], help="that make batches (default: 0 2)")
    parser.add_argument("--record", action="store_true", help="write outputs/reference/kill.json")
    parser.add_argument("--train", help=argparse.SUPPRESS)  # how it calls itself
    chosen = parser.parse_args(words)
    if chosen.train:
        print(train_here(Path(chosen.train), chosen.workers[0]))
        return 0
    found = {f"{workers} workers": kill_and_compare(chosen.kills, workers) for workers in chosen.workers}
    for name, row in found.items():
        print(f"{name}: {row['kills']} kills, {row['of_resumed']} of them of resumed trainings")
        print(f"    {row['equal']} of {row['finished']} trainings that got to their end equal the uninterrupted one")
    if chosen.record:
        about = {"steps": STEPS, "checkpoint_every": EVERY, **artifacts.describe_machine()}
        artifacts.write_json(REFERENCE / "kill.json", {"trainings": found, **about})
    return 0 if all(row["equal"] == row["finished"] > 0 for row in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
