"""Where a training step of 04 spends its time, and how near that is to what the machine can do."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch.nn.functional import normalize
from torch.utils.flop_counter import FlopCounterMode

from ..methods.cpcdr import CpcdrTask
from ..prototypes import average_groups, balance_codes, compare_assignments, contrast_groups
from ..training.engine import Settings, make_optimizer, pick_precision

PARTS = ("network, forward", "loss and its gradient", "network, backward", "update of the weights")
PASSES = 20  # over the N x K matrices of the loss, reading and writing
TRAFFIC = 8  # numbers of 4 bytes that Adam reads and writes for each weight, its gradient included


def measure_machine(repeats: int = 5) -> dict[str, float]:
    """What the processor does at best with all threads: operations a second of matrix products, bytes a second."""
    found = {}
    for name, kind in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        a, b = (torch.randn(1536, 1536).to(kind) for _ in range(2))
        found[name] = 2 * 1536**3 / _median(lambda a=a, b=b: a @ b, repeats)
    values = torch.ones(1 << 25)
    found["bytes"] = 2 * 4 * len(values) / _median(lambda: values.mul_(1.0), repeats)
    return found


def _median(work: Any, repeats: int) -> float:
    work()
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds))


def profile_step(task: CpcdrTask, precision: str, machine: Mapping[str, float], repeats: int) -> dict[str, float]:
    """Milliseconds of the parts of a step on the CPU, all threads, on the wall; medians.

    Args:
        precision: float32 or bfloat16.
        machine: of `measure_machine`.
    Returns:
        Each of `PARTS`, and `step`; `operations` of the step, `bytes` of the loss and the update that memory must
        move; `floor`, the milliseconds that both would take at the machine's best; `ratio` of the step to it;
        `images_a_second`, without the making of batches.
    """
    device = torch.device("cpu")
    settings = Settings(steps=1, learning_rate=1e-3, key={}, device=device, optimizer="adam", precision=precision)
    half = pick_precision(precision, device) == torch.bfloat16
    networks, batch = task.networks.train(), task.make_batch(0)
    update = make_optimizer(settings, networks)
    taken: dict[str, list[float]] = {part: [] for part in PARTS}

    def embed() -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            return networks["embedder"](batch["images"])

    for repeat in range(repeats + 1):
        moments = [time.perf_counter()]
        embeddings = embed()
        moments.append(time.perf_counter())
        leaf = embeddings.detach().requires_grad_()
        task.compare(leaf, batch)[0].backward()
        moments.append(time.perf_counter())
        embeddings.backward(leaf.grad)
        moments.append(time.perf_counter())
        update.step()
        networks.zero_grad(set_to_none=True)
        moments.append(time.perf_counter())
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
    moved = 4 * (PASSES * samples * count + TRAFFIC * sum(p.numel() for p in weights))
    best = network / machine["bfloat16" if half else "float32"] + loss / machine["float32"] + moved / machine["bytes"]
    return {
        "operations": float(network + loss),
        "bytes": float(moved),
        "floor": 1000 * best,
        "ratio": milliseconds / (1000 * best),
        "images_a_second": 1000 * len(batch["images"]) / milliseconds,
    }


def compare_losses(samples: int, prototypes: int, dimensions: int, repeats: int) -> dict[str, float]:
    """Milliseconds of the loss and its gradient: one step of eqs. 4 to 6 after the other, and all at once."""
    generator = torch.Generator().manual_seed(0)
    z, c = (normalize(torch.randn(n, dimensions, generator=generator)) for n in (samples, prototypes))
    z, c, groups = z.requires_grad_(), c.requires_grad_(), torch.arange(samples) // 3

    def step_by_step() -> None:
        scores = z @ c.T
        targets = average_groups(balance_codes(scores.detach(), 0.01, 3), groups)
        compare_assignments(scores, targets, 0.1).backward()

    def at_once() -> None:
        contrast_groups(z, c, groups, int(groups.max()) + 1, 0.1, 0.01, 3)[0].backward()

    return {name: 1000 * _median(work, repeats) for name, work in (("one by one", step_by_step), ("at once", at_once))}


def describe_step(found: Mapping[str, Mapping[str, float]]) -> str:
    """The table of `profile_step` in Markdown, a row a precision."""
    lines = [
        f"| milliseconds | {' | '.join(PARTS)} | step | floor | ratio | images/s |",
        "|---" * (len(PARTS) + 5) + "|",
    ]
    for name, row in found.items():
        cells = " | ".join(f"{row[part]:.0f}" for part in (*PARTS, "step", "floor"))
        lines.append(f"| {name} | {cells} | {row['ratio']:.1f} | {row['images_a_second']:.0f} |")
    return "\n".join(lines)
