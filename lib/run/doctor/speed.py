"""How fast this machine is beside the one that outputs/reference was recorded on: the same small work on both."""

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ... import artifacts, params
from ...networks import Embedder, seed_weights
from ...parallel import pick_device
from ...regions import group_regions
from ..reference import REFERENCE
from .machine import count_cores, name_processor

SIZE, BATCH = (96, 192), 8  # as in the street run
REPEATS, WARM_UP = 5, 2
LONGEST = 4.0  # seconds of one measurement, after which fewer repeats must do
BUSY = 0.5  # load a core, from which on other work is in the way


@dataclass(frozen=True)
class Speed:
    """Seconds here over seconds on the reference machine, for what the device does and what the cores do."""

    network: float = 1.0
    grouping: float = 1.0


def _median_seconds(function: Callable[[], Any]) -> float:
    seconds, began = [], time.perf_counter()
    while len(seconds) < WARM_UP + REPEATS and (len(seconds) <= 1 or time.perf_counter() - began < LONGEST):
        started = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[min(WARM_UP, len(seconds) - 1) :])


def _make_frame() -> np.ndarray:
    """Something like a street: blocks of colour with a little noise. (H, W, 3) uint8"""
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 256, (SIZE[0] // 12, SIZE[1] // 12, 3)).repeat(12, 0).repeat(12, 1)
    return (blocks + rng.integers(-8, 9, blocks.shape)).clip(0, 255).astype(np.uint8)


def measure_network(device: torch.device) -> float:
    """Seconds of one training step of the embedder on 8 images, as the engine takes it."""
    with seed_weights(0):
        embedder = Embedder("resnet18", 64).to(device).train()
    images = torch.from_numpy(np.stack([_make_frame()] * BATCH)).to(device)

    def step() -> float:
        embedder.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            loss = embedder(images).float().square().mean()
        loss.backward()
        return float(loss.detach()) + float(next(embedder.parameters()).grad.sum())  # waits for a GPU

    return _median_seconds(step)


def measure_grouping() -> float:
    """Seconds of the regions of four frames, on one core."""
    frame, height = _make_frame(), SIZE[0]
    inverse_depth = np.linspace(0.02, 1, height, dtype=np.float32)[:, None].repeat(SIZE[1], 1)
    intrinsics = np.array([[SIZE[1] / 2, 0, SIZE[1] / 2], [0, SIZE[1] / 2, height / 2], [0, 0, 1.0]])
    values = params.RegionParams(superpixels=700, cut=0.05)
    return _median_seconds(lambda: [group_regions(frame, inverse_depth, intrinsics, values) for _ in range(4)])


def calibrate(device: torch.device) -> dict[str, float]:
    return {"network": round(measure_network(device), 5), "grouping": round(measure_grouping(), 5)}


def describe_load() -> str:
    """A sentence where other work keeps the cores busy, else empty."""
    load, cores = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0, count_cores()
    return f"other work keeps {min(load, cores):.1f} of {cores} cores busy" if load > BUSY * cores else ""


def record() -> str:
    """Keep this machine's seconds as outputs/reference/machine.json; one line about it.

    Raises:
        RuntimeError: the machine is busy, and every estimate would be wrong.
    """
    if busy := describe_load():
        raise RuntimeError(f"{busy}: do it again when it is quiet")
    device = pick_device()
    seconds = calibrate(device)
    versions = {"torch": torch.__version__, "numpy": np.__version__}
    about = {"device": device.type, "processor": name_processor(), "cores": count_cores()}
    about |= {"threads": torch.get_num_threads(), "versions": versions, "calibration_seconds": seconds}
    artifacts.write_json(REFERENCE / "machine.json", about)
    return f"recorded outputs/reference/machine.json: {seconds}"


def compare(device: torch.device) -> tuple[Speed, str]:
    """This machine beside the reference's, measured now, and a sentence about it."""
    machine = artifacts.read_json(REFERENCE / "machine.json")
    here, there = calibrate(device), machine["calibration_seconds"]
    speed = Speed(**{name: here[name] / there[name] for name in ("network", "grouping")})
    return speed, (
        f"here {speed.network:.2f} times the reference's seconds for the network, {speed.grouping:.2f} for the "
        f"grouping; the reference: {machine['cores']} cores of {machine['processor']}, {machine['device']}"
    )
