"""One loop for every task.

On the CPU a resumed training equals an uninterrupted one bit for bit: batches are a function of the step, all other
state is in the checkpoint, and torch's deterministic algorithms are on (same machine, same number of threads).
"""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from .checkpoints import Checkpoints, History

LINES = 5  # printed a training
READ_EVERY = 10  # steps between two looks at the numbers on a GPU: each look waits for it


class Task(Protocol):
    """What can be trained: `networks`; `sample`, step -> batch of CPU tensors, a function of the step (and a seed)
    alone, sent to other processes; `loss`, the scalar to minimise and numbers to log."""

    networks: nn.Module
    sample: Callable[[int], Any]

    def loss(self, batch: Any, step: int) -> tuple[Tensor, dict[str, Any]]: ...


def learning_rate_at(step: int, steps: int, peak: float, final: float = 0.0, warmup_steps: int = 0) -> float:
    """Rate of a step, 0 <= step < steps: linear up to `peak` over the warm-up, then half a cosine down to `final`."""
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    share = (step - warmup_steps) / max(steps - 1 - warmup_steps, 1)
    return final + (peak - final) * (1 + math.cos(math.pi * share)) / 2


class _Batches(Dataset):
    def __init__(self, sample: Callable[[int], Any]) -> None:
        self.sample = sample

    def __getitem__(self, step: int) -> Any:
        return self.sample(step)


def _begin_worker(_: int) -> None:
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the main process's to handle
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _make_batches(sample: Callable[[int], Any], steps: range, workers: int, pin: bool) -> Iterator[Any]:
    """sample(step) for each step, in order, made ahead by other processes if there are any."""
    if workers == 0:
        return map(sample, steps)
    options = {"num_workers": workers, "pin_memory": pin, "worker_init_fn": _begin_worker}
    # a fork of a process whose OpenMP or GPU threads are running may hang for ever: start workers from nothing
    options["multiprocessing_context"] = "spawn"
    # its own generator: the loader would otherwise draw a number from torch's global one
    return iter(DataLoader(_Batches(sample), None, sampler=steps, generator=torch.Generator(), **options))


def _move(batch: Any, device: torch.device) -> Any:
    if isinstance(batch, dict):
        return {name: _move(value, device) for name, value in batch.items()}
    if isinstance(batch, list | tuple):
        return [_move(value, device) for value in batch]
    return torch.as_tensor(batch).to(device, non_blocking=True)


@contextmanager
def _deterministic(on: bool) -> Iterator[None]:
    """torch's deterministic algorithms; on a GPU some of ours have none, so it is for the CPU."""
    settings = torch.utils.deterministic
    before = torch.are_deterministic_algorithms_enabled(), settings.fill_uninitialized_memory
    torch.use_deterministic_algorithms(on)
    settings.fill_uninitialized_memory = False  # it costs time and changes no result
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        settings.fill_uninitialized_memory = before[1]


@contextmanager
def _deferred_signals() -> Iterator[list[int]]:
    """Ctrl-C and SIGTERM wait for the end of a step: they are put into the list. A second Ctrl-C does not wait."""
    received: list[int] = []

    def receive(number: int, _: Any) -> None:
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    before = {number: signal.signal(number, receive) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _make_optimizer(name: str, networks: nn.Module, momentum: float, weight_decay: float) -> torch.optim.Optimizer:
    trained = [p for p in networks.parameters() if p.requires_grad]
    if name == "sgd":
        return torch.optim.SGD(trained, lr=0.0, momentum=momentum, weight_decay=weight_decay)
    if name == "adam":
        return torch.optim.Adam(trained, lr=0.0, betas=(momentum, 0.999), weight_decay=weight_decay)
    raise ValueError(f"optimizer must be sgd or adam, not {name!r}")


def _take_step(task: Task, update: torch.optim.Optimizer, batch: Any, step: int, rate: float) -> dict[str, Any]:
    for group in update.param_groups:
        group["lr"] = rate
    device = next(task.networks.parameters()).device.type
    with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
        loss, numbers = task.loss(batch, step)
    update.zero_grad(set_to_none=True)
    loss.backward()
    update.step()
    return {"loss": loss.detach(), "learning_rate": rate, **numbers}


def _read(waiting: list[dict[str, Any]], history: History) -> None:
    """Move the numbers of the latest steps into the history; until here they stay on their device."""
    for row in waiting:
        numbers = {name: float(value) for name, value in row.items()}
        if not math.isfinite(numbers["loss"]):
            where = f"the loss is {numbers['loss']} at step {len(history)}, rate {numbers['learning_rate']:.2g}"
            raise FloatingPointError(
                f"{where}: lower learning_rate or look at the inputs; the last checkpoint is intact"
            )
        for name, number in numbers.items():
            history.columns.setdefault(name, []).append(number)
    waiting.clear()


def train(
    task: Task,
    folder: Path,
    *,
    steps: int,
    learning_rate: float,
    device: torch.device,
    key: dict[str, Any],
    optimizer: str = "sgd",
    final_learning_rate: float = 0.0,
    warmup_steps: int = 0,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    workers: int = 0,
    checkpoint_every: int = 200,
    on_step: Callable[[int, History], None] | None = None,
    pictures_every: int = 0,
    on_picture: Callable[[int], dict[str, np.ndarray]] | None = None,
) -> History:
    """Train `task.networks` for `steps` steps, or go on where an interrupted call with the same key stopped.

    A finished training returns at once. `steps`, `workers`, `device` and the intervals may change between calls: with
    more steps the cosine runs to the new end from where it is; with fewer than were made, training begins anew.
    Checkpoints of a training with another key are set aside, not deleted. On a CUDA device bfloat16 autocast is on.

    Args:
        folder: gets history.json and checkpoints/.
        key: whatever decides the result and must be equal to go on (`Stage.resume_key`); JSON-ready.
        momentum: of SGD; Adam's first beta.
        workers: processes that make batches ahead; 0 = none.
        on_step: called after each step with the number of steps made and the history, which on a GPU may lag by a few.
        pictures_every, on_picture: before the first step, every so many, and after the last, the arrays that
            `on_picture(steps made)` returns are kept in `History.pictures`.
    Raises:
        FloatingPointError: the loss is not finite; the last checkpoint is intact.
        OSError: the disk is full; the checkpoints that were there are intact.
        KeyboardInterrupt: as received, after the step was finished and a checkpoint written.
    """
    folder, started = Path(folder), time.perf_counter()
    networks = task.networks.to(device).train()
    update = _make_optimizer(optimizer, networks, momentum, weight_decay)
    checkpoints = Checkpoints(folder, key)
    history = checkpoints.load(networks, update, steps)
    history.save(folder)
    before, waiting, remaining = history.train_seconds, [], range(len(history), steps)

    def look(done: int) -> None:
        if on_picture:
            history.pictures[done] = on_picture(done)

    if not remaining:
        return history
    look(remaining.start) if remaining.start == 0 else print(f"going on after step {remaining.start}")
    with _deterministic(device.type == "cpu"), _deferred_signals() as received:
        batches = _make_batches(task.sample, remaining, workers, device.type == "cuda")
        for step, batch in zip(remaining, batches):
            rate = learning_rate_at(step, steps, learning_rate, final_learning_rate, warmup_steps)
            waiting.append(_take_step(task, update, _move(batch, device), step, rate))
            done, last = step + 1, step + 1 == steps
            tell = last or done % max(steps // LINES, 1) == 0
            if tell or device.type == "cpu" or done % READ_EVERY == 0:
                _read(waiting, history)
            if last or (pictures_every and done % pictures_every == 0):
                look(done)
            if tell:
                print(f"step {done} of {steps}: loss {history.mean_of_last('loss'):.3f}, rate {rate:.2g}")
            if on_step:
                on_step(done, history)
            stop = bool(received)
            if stop or last or done % checkpoint_every == 0:
                _read(waiting, history)
                history.train_seconds = before + time.perf_counter() - started
                checkpoints.save(networks, update, history)
                history.save(folder)
            if stop:
                raise KeyboardInterrupt(f"stopped after step {done}; run again to go on")
    return history
