"""Short trainings of 01 without its notebook: their scores, and how long their steps take."""

import hashlib
import io
import json
import math
import time
from collections.abc import Mapping
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import artifacts, data, depth, params
from ..parallel import pick_device
from ..training import train

ROUNDS, STEPS_A_ROUND = 7, 3  # of the timing


def train_and_score(values: params.DepthParams, folder: Path) -> dict[str, float]:
    """One training and its scores; read from `folder` if they are there and the code is the same.

    Raises:
        ValueError: the data set has no frames of the split.
    """
    known = {"params": params.decisive(values), "code": artifacts.hash_modules("lib.run.trials")}
    name = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:16]
    result = folder / name / "scores.json"
    if result.is_file():
        return artifacts.read_json(result)["scores"]
    dataset = data.open_dataset(values)
    frames = dataset.frames(values.split)
    if not frames:
        raise ValueError(f"{dataset.name} has no frames of the split {values.split}: there is nothing to choose by")
    with redirect_stdout(io.StringIO()):  # two that report their steps at once are not to be read
        networks = _learn(values, result.parent, known)
    images = np.stack([dataset.image(frame) for frame in frames])
    predicted, velodyne = depth.predict_inverse_depth(networks, images), depth.is_velodyne(dataset, values)
    scores = depth.score_frames(dataset, frames, predicted, crop=velodyne, metric=values.stereo)
    scores = {key: value if math.isfinite(value) else None for key, value in scores.items() if key != "classes"}
    artifacts.write_json(result, {**known, "scores": scores})
    return scores


def _learn(values: params.DepthParams, folder: Path, key: dict[str, Any]) -> depth.DepthNetworks:
    """What 01 does: leave out what must not teach, start on generated streets if wanted, then learn from `clips`."""
    options = {
        "optimizer": "adam",
        "warmup_steps": values.warmup_steps,
        "device": pick_device(values.device),
        "precision": "auto" if pick_device(values.device).type == "cuda" else "float32",  # as 01
        "key": key,
    }
    triplets, start = depth.leave_out(values, depth.read_triplets(values))[0], None
    if values.start_steps:
        like = depth.street_like(values, triplets.intrinsics[0])
        start = depth.DepthTask(like, depth.read_triplets(like), like.start_steps)
        train(start, folder / "start", steps=like.start_steps, learning_rate=like.start_learning_rate, **options)
    task = depth.DepthTask(values, triplets, values.steps, start and start.networks)
    train(task, folder, steps=values.steps, learning_rate=values.learning_rate, **options)
    return task.networks


def time_steps(settings: Mapping[str, params.DepthParams]) -> dict[str, float]:
    """Milliseconds of a training step of each setting: medians over rounds in which each had its turn."""
    turns = {}
    for name, values in settings.items():
        task = depth.DepthTask(values, depth.read_triplets(values), ROUNDS * STEPS_A_ROUND)
        task.networks.to(pick_device(values.device)).train()
        turns[name] = partial(_take_steps, task, torch.optim.Adam(task.networks.parameters()))
    seconds = {name: [] for name in turns}
    for _ in range(ROUNDS):
        for name, turn in turns.items():
            seconds[name].append(turn())
    return {name: 1000 * float(np.median(values[1:])) for name, values in seconds.items()}


def _take_steps(task: depth.DepthTask, update: torch.optim.Optimizer) -> float:
    """Mean seconds of a step at full resolution, the last kind of a coarse-to-fine training."""
    started, last = time.perf_counter(), task.steps - 1
    for _ in range(STEPS_A_ROUND):
        batch = {k: v.to(next(task.networks.parameters()).device) for k, v in task.sample(last).items()}
        loss, numbers = task.loss(batch, last)
        update.zero_grad()
        loss.backward()
        update.step()
        loss.item(), numbers["teaching"].item()  # wait for the device
    return (time.perf_counter() - started) / STEPS_A_ROUND
