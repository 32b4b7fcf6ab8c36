"""How fast this machine is: seconds of small work that stands for the network and for the grouping of regions.

The work is that of libraries alone, never ours: a record's calibration still means the same when our code gets faster.
"""

import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torchvision
from skimage.segmentation import slic

from ...networks import seed_weights
from ...parallel import pick_device
from .machine import count_cores, name_processor

SIZE, BATCH = (96, 192), 8  # as in the street run
REPEATS, WARM_UP = 5, 2
LONGEST = 4.0  # seconds of one measurement, after which fewer repeats must do
BUSY = 0.5  # load a core, from which on other work is in the way


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
    """Seconds of one training step of a residual network on 8 images."""
    with seed_weights(0):
        network = torchvision.models.resnet18().to(device).train()
    images = torch.from_numpy(np.stack([_make_frame()] * BATCH)).to(device).permute(0, 3, 1, 2).float() / 255

    def step() -> float:
        network.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            loss = network(images).float().square().mean()
        loss.backward()
        return float(loss.detach()) + float(network.conv1.weight.grad.sum())  # waits for a GPU

    return _median_seconds(step)


def measure_grouping() -> float:
    """Seconds of the superpixels of four frames, on one core."""
    frame = _make_frame()
    return _median_seconds(lambda: [slic(frame, n_segments=700, max_num_iter=10, start_label=0) for _ in range(4)])


def calibrate(device: torch.device) -> dict[str, float]:
    """Seconds of both, by name."""
    return {"network": round(measure_network(device), 5), "grouping": round(measure_grouping(), 5)}


def describe_load() -> str:
    """A sentence where other work keeps the cores busy, else empty."""
    load, cores = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0, count_cores()
    return f"other work keeps {min(load, cores):.1f} of {cores} cores busy" if load > BUSY * cores else ""


def describe_processor(wanted: str = "auto") -> dict[str, Any]:
    """The processor, and the calibration of now: what makes seconds of this machine comparable with another's.

    Args:
        wanted: device, as in the parameters.
    """
    device = pick_device(wanted)
    about = {"device": device.type, "processor": name_processor(), "cores": count_cores()}
    return about | {"threads": torch.get_num_threads(), "calibration_seconds": calibrate(device)}
