"""Where a training step of 04 spends its time, and how near that is to what the machine can do."""

import tempfile
import time
from collections.abc import Mapping
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import normalize
from torch.utils.flop_counter import FlopCounterMode

from ..methods.cpcdr import CpcdrTask
from ..parallel import peak_memory
from ..prototypes import average_groups, balance_codes, compare_assignments, contrast_groups
from ..training import train
from ..training.batches import move
from ..training.engine import Settings, make_optimizer, pick_precision

PARTS = ("network, forward", "loss and its gradient", "network, backward", "update of the weights")
PASSES = 14
"""Over N x K numbers, reading or writing, that the loss needs if each of its steps were a single one.

Scores are written, and read for the totals of the prototypes; read, and written as codes of the first iteration; those
are read twice in each of the two others, and once for the means of groups; scores and codes are read for the error,
which is written, and read twice for the gradients.
"""
TRAFFIC = 8  # numbers of 4 bytes that Adam reads and writes for each weight, its gradient included


def measure_machine(repeats: int = 5, device: torch.device | str = "cpu") -> dict[str, float]:
    """What a device does at best: operations a second of matrix products by number format, `bytes` a second."""
    device = torch.device(device)
    side, numbers = (1536, 1 << 25) if device.type == "cpu" else (8192, 1 << 29)
    found, before = {}, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32  # as convolutions do it
    for name, kind in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        a, b = (torch.randn(side, side, device=device).to(kind) for _ in range(2))
        found[name] = 2 * side**3 / _median(lambda a=a, b=b: a @ b, repeats, device)
    torch.backends.cuda.matmul.allow_tf32 = before
    values = torch.ones(numbers, device=device)
    found["bytes"] = 2 * 4 * len(values) / _median(lambda: values.mul_(1.0), repeats, device)
    return found


def now(device: torch.device) -> float:
    """Seconds, when all that was asked of the device is done."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return time.perf_counter()


def _median(work: Any, repeats: int, device: torch.device) -> float:
    work()
    seconds = []
    for _ in range(repeats):
        started = now(device)
        work()
        seconds.append(now(device) - started)
    return float(np.median(seconds))


def profile_step(
    task: CpcdrTask, precision: str, machine: Mapping[str, float], repeats: int, device: torch.device | str = "cpu"
) -> dict[str, float]:
    """Milliseconds of the parts of a step, on a CPU with all threads, on the wall; medians.

    Args:
        precision: float32 or bfloat16.
        machine: of `measure_machine`.
    Returns:
        Each of `PARTS`, and `step`; `operations` of the step, `bytes` of the loss and the update that memory must
        move; `floor`, the milliseconds that both would take at the machine's best, and `loss_floor`, those of the loss
        among them; `ratio` of the step to its floor; `images_a_second`, without the making of batches.
    """
    device = torch.device(device)
    settings = Settings(steps=1, learning_rate=1e-3, key={}, device=device, optimizer="adam", precision=precision)
    half = pick_precision(precision, device) == torch.bfloat16
    networks, batch = task.networks.to(device).train(), move(task.make_batch(0), device)
    update = make_optimizer(settings, networks)
    taken: dict[str, list[float]] = {part: [] for part in PARTS}

    def embed() -> torch.Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            return networks["embedder"](batch["images"])

    for repeat in range(repeats + 1):
        moments = [now(device)]
        embeddings = embed()
        moments.append(now(device))
        leaf = embeddings.detach().requires_grad_()
        task.compare(leaf, batch)[0].backward()
        moments.append(now(device))
        embeddings.backward(leaf.grad)
        moments.append(now(device))
        update.step()
        networks.zero_grad(set_to_none=True)
        moments.append(now(device))
        if repeat:
            for part, seconds in zip(PARTS, np.diff(moments)):
                taken[part].append(1000 * seconds)
    found = {part: float(np.median(values)) for part, values in taken.items()}
    found["step"] = sum(found.values())
    return found | _measure_floor(task, batch, embed, machine, half, found["step"])


def _measure_floor(task, batch, embed, machine, half, milliseconds) -> dict[str, float]:
    with FlopCounterMode(display=False) as counter:
        embed().float().square().mean().backward()
    task.networks.zero_grad(set_to_none=True)
    samples = sum(len(value) for name, value in batch.items() if name.endswith("_view"))
    (count, dimensions), weights = task.networks["prototypes"].weight.shape, task.networks.parameters()
    network, loss = counter.get_total_flops(), 6 * samples * count * dimensions
    passed, updated = 4 * PASSES * samples * count, 4 * TRAFFIC * sum(p.numel() for p in weights)
    least = loss / machine["float32"] + passed / machine["bytes"]
    best = network / machine["bfloat16" if half else "float32"] + least + updated / machine["bytes"]
    return {
        "operations": float(network + loss),
        "bytes": float(passed + updated),
        "floor": 1000 * best,
        "loss_floor": 1000 * least,
        "ratio": milliseconds / (1000 * best),
        "images_a_second": 1000 * len(batch["images"]) / milliseconds,
    }


def time_training(task: CpcdrTask, steps: int, workers: int, device: torch.device | str = "cpu") -> dict[str, float]:
    """A short training with everything that belongs to it, its networks changed by it.

    Args:
        steps: that are timed, after as many that are not.
    Returns:
        `images_a_second`; `step`, the milliseconds between two steps; `peak_memory` in bytes, on a GPU of what tensors
        take there, otherwise of the whole process.
    """
    device, moments = torch.device(device), {}
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)

    def tell(done: int, _: Any) -> None:
        if done in (steps, 2 * steps):
            moments[done] = now(device)

    settings = {"learning_rate": 1e-3, "optimizer": "adam", "workers": workers, "device": device}
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(StringIO()):
        train(task, Path(folder), steps=2 * steps, key={}, on_step=tell, checkpoint_every=3 * steps, **settings)
    seconds = (moments[2 * steps] - moments[steps]) / steps
    held = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak_memory()
    images = 2 * task.sample.recipe.images * task.params.items
    return {"images_a_second": images / seconds, "step": 1000 * seconds, "peak_memory": float(held)}


def compare_losses(
    samples: int, prototypes: int, dimensions: int, repeats: int, device: torch.device | str = "cpu"
) -> dict[str, float]:
    """Milliseconds of the loss and its gradient: one step of eqs. 4 to 6 after the other, and all at once."""
    device = torch.device(device)
    generator = torch.Generator().manual_seed(0)
    z, c = (normalize(torch.randn(n, dimensions, generator=generator)).to(device) for n in (samples, prototypes))
    z, c, groups = z.requires_grad_(), c.requires_grad_(), torch.arange(samples, device=device) // 3

    def step_by_step() -> None:
        scores = z @ c.T
        targets = average_groups(balance_codes(scores.detach(), 0.01, 3), groups)
        compare_assignments(scores, targets, 0.1).backward()

    def at_once() -> None:
        contrast_groups(z, c, groups, int(groups.max()) + 1, 0.1, 0.01, 3)[0].backward()

    ways = {"one by one": step_by_step, "at once": at_once}
    return {name: 1000 * _median(work, repeats, device) for name, work in ways.items()}


def describe_step(found: Mapping[str, Mapping[str, float]]) -> str:
    """The table of `profile_step` in Markdown, a row a precision."""
    lines = [
        f"| milliseconds | {' | '.join(PARTS)} | step | floor | of it, of the loss | ratio | images/s |",
        "|---" * (len(PARTS) + 6) + "|",
    ]
    for name, row in found.items():
        cells = " | ".join(f"{row[part]:.0f}" for part in (*PARTS, "step", "floor", "loss_floor"))
        lines.append(f"| {name} | {cells} | {row['ratio']:.1f} | {row['images_a_second']:.0f} |")
    return "\n".join(lines)
