"""One loop for every task.

On the CPU a resumed training equals an uninterrupted one bit for bit: batches are a function of the step, all other
state is in the checkpoint, and torch's deterministic algorithms are on (same machine, same number of threads); on a
GPU with `deterministic`.
"""

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from copy import copy
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from ..networks import synchronize_batch_norms
from ..parallel import peak_memory, pick_device
from ..parallel.ranks import count_ranks, max_ranks, own_rank, sum_gradients, sum_ranks
from .batches import make_batches, move, place
from .checkpoints import Checkpoints, History
from .events import EventWriter
from .processes import train_in_processes
from .signals import deferred_signals

SILENCE = 60.0  # seconds after which there is another line, for the log of a long night
SCHEDULES = ("cosine", "poly")  # of learning rates
POLY_POWER = 0.9
READ_EVERY = 10  # steps between two looks at the numbers on a GPU: each look waits for it


class Task(Protocol):
    """What can be trained: `networks`; `sample`, step -> batch of CPU tensors, a function of the step (and a seed)
    alone, sent to other processes; `loss`, the scalar to minimise and numbers to log. What a method must remember from
    step to step (a memory bank, a teacher) are buffers or parts of `networks`: checkpoints have them all.

    For more than one process also `for_rank(rank, ranks)`, the task of one of them: its `sample` makes a share of the
    batch, and the losses of all add up to the loss.
    """

    networks: nn.Module
    sample: Callable[[int], Any]

    def loss(self, batch: Any, step: int) -> tuple[Tensor, dict[str, Any]]: ...


@dataclass(frozen=True)
class Settings:
    """How to train. What may change on a resume: steps, device, workers, processes and the intervals.

    steps, learning_rate, final_learning_rate, warmup_steps, schedule: see `learning_rate_at`.
    key: whatever decides the result and must be equal to go on (`Stage.resume_key`); JSON-ready.
    optimizer: sgd or adam. momentum: of SGD; Adam's first beta.
    device: where; with several processes of one machine on GPUs, each takes one.
    precision: of convolutions and products of matrices. float32, bfloat16, or auto: bfloat16 where the device has
        instructions for it (GPUs, some CPUs). Weights, their updates and what a task excepts stay float32.
    deterministic: on a GPU too, the same tensors from the same start; slower. On the CPU it is always so.
    compiled: by torch.compile; where that fails, as it is (of processes that torchrun started: an error).
    workers: processes that make batches ahead; 0 = none. With several processes, of each.
    processes: that train together (`Task.for_rank`), each with a share of every batch.
    checkpoint_every, picture_every: in steps; picture_every 0 = only before the first step and after the last.
    tensorboard: write numbers and pictures into `folder`/tensorboard as well.
    reports: lines that are printed, evenly spread; 0 = only one a minute.
    """

    steps: int
    learning_rate: float
    key: dict[str, Any]
    device: torch.device
    optimizer: str = "sgd"
    final_learning_rate: float = 0.0
    warmup_steps: int = 0
    schedule: str = "cosine"
    momentum: float = 0.9
    weight_decay: float = 0.0
    precision: str = "auto"
    deterministic: bool = False
    compiled: bool = False
    workers: int = 0
    processes: int = 1
    checkpoint_every: int = 200
    picture_every: int = 0
    tensorboard: bool = False
    reports: int = 5


def read_settings(params: Any) -> dict[str, Any]:
    """Those of `Settings` that a parameter class has, under the same names; its device, found on this machine."""
    found = {field.name: getattr(params, field.name) for field in fields(Settings) if hasattr(params, field.name)}
    return found | {"device": pick_device(params.device)}


def learning_rate_at(
    step: int, steps: int, peak: float, final: float = 0.0, warmup_steps: int = 0, schedule: str = "cosine"
) -> float:
    """Rate of a step, 0 <= step < steps: linear up to `peak` over the warm-up, then down to `final`.

    Args:
        schedule: cosine, half of one; or poly, the share of steps that is left to the power `POLY_POWER`, as semantic
            segmentation is trained with labels (facts/evaluation.md sec. 5).
    Raises:
        ValueError: no such schedule.
    """
    if schedule not in SCHEDULES:
        raise ValueError(f"schedule must be {' or '.join(SCHEDULES)}, not {schedule!r}")
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    if schedule == "poly":
        return final + (peak - final) * (1 - (step - warmup_steps) / (steps - warmup_steps)) ** POLY_POWER
    share = (step - warmup_steps) / max(steps - 1 - warmup_steps, 1)
    return final + (peak - final) * (1 + math.cos(math.pi * share)) / 2


def pick_precision(name: str, device: torch.device) -> torch.dtype:
    """The number format that `Settings.precision` means on a device.

    Raises:
        ValueError: no such name.
    """
    if name not in ("auto", "float32", "bfloat16"):
        raise ValueError(f"precision must be auto, float32 or bfloat16, not {name!r}")
    tests = (getattr(torch.cpu, f"_is_{kind}_supported", bool) for kind in ("avx512_bf16", "amx_tile"))
    native = device.type == "cpu" and any(test() for test in tests)
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if name == "bfloat16" or (name == "auto" and native) else torch.float32


@contextmanager
def _deterministic(on: bool) -> Iterator[None]:
    settings = torch.utils.deterministic
    before = torch.are_deterministic_algorithms_enabled(), settings.fill_uninitialized_memory
    if on:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS starts, which refuses without it
    torch.use_deterministic_algorithms(on)
    settings.fill_uninitialized_memory = False  # it costs time and changes no result
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        settings.fill_uninitialized_memory = before[1]


def make_optimizer(settings: Settings, networks: nn.Module) -> torch.optim.Optimizer:
    """The optimiser that the settings name, at rate 0: each step sets its own.

    Raises:
        ValueError: no such optimiser.
    """
    trained = [p for p in networks.parameters() if p.requires_grad]
    same = {"lr": 0.0, "weight_decay": settings.weight_decay, "fused": True}  # one pass over memory
    if settings.device.type not in ("cpu", "cuda"):
        same.pop("fused")
    if settings.optimizer == "sgd":
        return torch.optim.SGD(trained, momentum=settings.momentum, **same)
    if settings.optimizer == "adam":
        return torch.optim.Adam(trained, betas=(settings.momentum, 0.999), **same)
    raise ValueError(f"optimizer must be sgd or adam, not {settings.optimizer!r}")


def _differentiate(task: Task, batch: Any, step: int, settings: Settings) -> tuple[Tensor, dict[str, Any]]:
    """Gradients of a step, of all processes together; the loss and what the task logs."""
    half = pick_precision(settings.precision, settings.device) == torch.bfloat16
    with torch.autocast(settings.device.type, torch.bfloat16, enabled=half):
        loss, numbers = task.loss(batch, step)
    task.networks.zero_grad(set_to_none=True)
    loss.backward()
    sum_gradients(list(task.networks.parameters()))
    return sum_ranks(loss.detach().clone()), numbers


def _compile(task: Task, batch: Any, settings: Settings) -> bool:
    """Compile the parts of the networks, and take a step that changes nothing, to see whether that works here."""
    parts = list(task.networks.children()) or [task.networks]
    if count_ranks() > 1:  # one that fails here would leave the others waiting for it: `_try_to_compile` was before
        for part in parts:
            part.compile()
        return True
    works, state = True, {name: value.clone() for name, value in task.networks.state_dict().items()}
    for part in parts:
        part.compile()
    try:
        _differentiate(task, batch, 0, settings)
    except Exception as error:  # whatever a missing compiler or an unknown operation makes it raise
        works = False
        for part in parts:
            part._compiled_call_impl = None
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else ""
        print(f"torch.compile does not work here, so training goes on without ({type(error).__name__}: {reason})")
    task.networks.load_state_dict(state)
    task.networks.zero_grad(set_to_none=True)
    return works


def _try_to_compile(task: Task, settings: Settings) -> bool:
    """Would it work in the processes of a training that are about to start? The task is left as it was."""
    first, device = copy(task).for_rank(0, settings.processes), settings.device
    task.networks.to(device).train()
    works = _compile(first, move(first.sample(0), device), settings)
    for part in list(task.networks.children()) or [task.networks]:
        part._compiled_call_impl = None
    task.networks.to("cpu")
    return works


def _measure_memory(device: torch.device) -> dict[str, int]:
    gpu = {"the GPU's": torch.cuda.max_memory_reserved(device)} if device.type == "cuda" else {}
    return {"memory": peak_memory(), **gpu}


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
    on_step: Callable[[int, History], None] | None = None,
    on_picture: Callable[[nn.Module], dict[str, np.ndarray]] | None = None,
    watch: Callable[[History], dict[str, str]] | None = None,
    **settings: Any,
) -> History:
    """Train `task.networks` for `steps` steps, or go on where an interrupted call with the same key stopped.

    A finished training returns at once. With more steps than before, the cosine runs to the new end from where it is;
    with fewer than were made, training begins anew. Checkpoints of a training with another key are set aside, not
    deleted.

    Args:
        folder: gets history.json and checkpoints/.
        on_step: called after each step with the number of steps made and the history, which on a GPU may lag by a few.
        on_picture: what it makes of the networks, arrays by name, is kept in `History.pictures`.
        watch: looks at the history whenever numbers came in; what it finds wrong, name -> sentence, is printed and
            kept in `History.warnings`, once until it is no longer found.
        settings: see `Settings`. With `processes` above 1, task, on_picture and watch are sent to other processes.
    Raises:
        FloatingPointError: the loss, or a weight that is to be saved, is not finite; the last checkpoint is intact.
        OSError: the disk is full; the checkpoints that were there are intact.
        KeyboardInterrupt: as received, after the step was finished and a checkpoint written.
        WorkerDied: one of several processes was killed; the last checkpoint is intact.
    """
    chosen, folder = Settings(**settings), Path(folder)
    alone = count_ranks() == 1
    if chosen.processes > 1 and alone and not Checkpoints(folder, chosen.key).is_finished(chosen.steps):
        rest = {"on_picture": on_picture, "watch": watch, **settings}
        if chosen.compiled and hasattr(task, "for_rank"):
            rest["compiled"] = _try_to_compile(task, chosen)
        train_in_processes(task, folder, chosen.processes, chosen.device, rest, on_step)
    with _deterministic(chosen.deterministic or chosen.device.type == "cpu"):
        return _Training(task, folder, chosen, on_step, on_picture, watch).run()


class _Training:
    def __init__(self, task, folder, settings, on_step, on_picture, watch) -> None:
        self.task, self.folder, self.settings = task, folder, settings
        self.on_step, self.on_picture, self.watch = on_step, on_picture, watch
        self.first = own_rank() == 0  # of several processes, the one that saves and reports
        self.networks = task.networks.to(settings.device).train()
        if count_ranks() > 1:
            synchronize_batch_norms(self.networks)
        self.update = make_optimizer(settings, self.networks)
        self.checkpoints = Checkpoints(folder, settings.key)
        self.history = self.checkpoints.load(self.networks, self.update, settings.steps)
        self.warned = set(watch(self.history)) if watch else set()  # a resumed training does not repeat a warning
        self.events: EventWriter | None = None
        self.before, self.started = self.history.train_seconds, time.perf_counter()
        self.began_with, self.last_line = len(self.history), self.started

    def run(self) -> History:
        settings, device = self.settings, self.settings.device
        if self.first:
            self.history.save(self.folder)
        remaining = range(len(self.history), settings.steps)
        if not remaining:
            if not self.history.pictures:  # trained without a look
                self._look(len(self.history))
            return self.history
        if settings.tensorboard and self.first:
            self.events = EventWriter(self.folder / "tensorboard", self.history)
        if remaining.start:
            self._say(f"going on after step {remaining.start}")
        else:
            self._look(0)
        with (
            deferred_signals() as received,
            closing(self.events) if self.events else nullcontext(),
            closing(make_batches(self.task.sample, remaining, settings.workers, device.type == "cuda")) as batches,
            closing(place(batches, device)) as placed,
        ):
            waiting: list[dict[str, Any]] = []
            for step, batch in zip(remaining, placed):
                if settings.compiled and step == remaining.start:
                    _compile(self.task, batch, settings)
                waiting.append(self._take_step(batch, step))
                if self._after(step + 1, waiting, received):
                    raise KeyboardInterrupt(f"stopped after step {step + 1}; run again to go on")
        return self.history

    def _take_step(self, batch: Any, step: int) -> dict[str, Any]:
        own = self.settings
        ends = own.learning_rate, own.final_learning_rate
        rate = learning_rate_at(step, own.steps, *ends, own.warmup_steps, own.schedule)
        for group in self.update.param_groups:
            group["lr"] = rate
        loss, numbers = _differentiate(self.task, batch, step, own)
        self.update.step()
        return {"loss": loss, "learning_rate": rate, **numbers}

    def _after(self, done: int, waiting: list[dict[str, Any]], received: list[int]) -> bool:
        """What happens between two steps; returns whether to stop."""
        own, last = self.settings, done == self.settings.steps
        tell = own.reports > 0 and (last or done % max(own.steps // own.reports, 1) == 0)
        save = last or done % own.checkpoint_every == 0
        look = last or (own.picture_every and done % own.picture_every == 0)
        ready = tell or save or look or own.device.type == "cpu" or done % READ_EVERY == 0
        stop = ready and self._asked_to_stop(received)
        if ready:
            _read(waiting, self.history)
            self._listen()
        if look:
            self._look(done)
        if tell or (ready and time.perf_counter() - self.last_line > SILENCE):
            self._tell(done, with_speed=not tell)
        if self.on_step and self.first:
            if done % READ_EVERY == 1:
                self.history.memory = _measure_memory(own.device)
            self.on_step(done, self.history)
        stop = stop or (ready and count_ranks() == 1 and bool(received))  # it may have come just now
        if (stop or save) and self.first:
            self.history.train_seconds = self.before + time.perf_counter() - self.started
            self.checkpoints.save(self.networks, self.update, self.history)
            self.history.save(self.folder)
        if self.events and (look or save or stop):
            self.events.write(self.history)
        return stop

    def _tell(self, done: int, with_speed: bool) -> None:
        steps, rate = self.settings.steps, self.history.columns["learning_rate"][-1]
        sentence = f"step {done} of {steps}: loss {self.history.mean_of_last('loss'):.3f}, rate {rate:.2g}"
        if with_speed:
            seconds = (time.perf_counter() - self.started) / (done - self.began_with)
            sentence += f", {1 / seconds:.2g} steps a second, {seconds * (steps - done) / 60:.0f} minutes left"
        self._say(sentence)

    def _asked_to_stop(self, received: list[int]) -> bool:
        if count_ranks() == 1:
            return bool(received)
        return bool(max_ranks(torch.tensor(float(bool(received)), device=self.settings.device)))

    def _listen(self) -> None:
        found = self.watch(self.history) if self.watch and self.first else {}
        if new := [sentence for name, sentence in found.items() if name not in self.warned]:
            self.history.warnings[len(self.history)] = "; ".join(new)
            self._say(f"after step {len(self.history)}: {self.history.warnings[len(self.history)]}")
        self.warned = set(found)

    def _look(self, done: int) -> None:
        if self.on_picture and self.first:
            with torch.compiler.set_stance("force_eager"):  # a few images, in evaluation mode: not worth another graph
                self.history.pictures[done] = self.on_picture(self.networks)

    def _say(self, sentence: str) -> None:
        self.last_line = time.perf_counter()
        if self.first:
            print(sentence, flush=True)
