"""A training in several processes of this machine, started from a notebook or a script: ranks of one program.

Each is a fresh process (spawn: a fork of one that has touched a GPU hangs) with a copy of the task; the first one
saves, and reports to the process that started them, which shows it. When all are done, that one finds the finished
training in its folder.
"""

import os
import pickle
import signal
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import redirect_stdout
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import distributed, multiprocessing

from ..parallel import WorkerDied
from .checkpoints import History
from .signals import deferred_signals, hidden_from_children

SILENCE = timedelta(minutes=30)  # after which a rank gives up on the others
PATIENCE = 20.0  # seconds that a rank gets to save and end before it is killed
GRACE = 3.0  # seconds in which the rank that failed first is found
POLL = 0.2  # seconds between two looks at Ctrl-C


class _Lines:
    """Standard output of a rank: what it prints goes to the process that started it."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def write(self, text: str) -> int:
        if text.strip():
            self.connection.send(("line", text.rstrip("\n")))
        return len(text)

    def flush(self) -> None:
        pass


class _Report:
    """The `on_step` of the first rank: sends what is new in the history."""

    def __init__(self, connection: Connection) -> None:
        self.connection, self.sent, self.pictures = connection, 0, set()

    def __call__(self, done: int, history: History) -> None:
        columns = {name: values[self.sent :] for name, values in history.columns.items()}
        pictures = {step: arrays for step, arrays in history.pictures.items() if step not in self.pictures}
        self.connection.send(("step", (done, self.sent, columns, pictures, history.warnings, history.memory)))
        self.sent, self.pictures = len(history), set(history.pictures)


def find_backend(device: torch.device) -> str:
    """How ranks speak to each other: nccl between GPUs, gloo otherwise."""
    return "nccl" if device.type == "cuda" else "gloo"


def pick_rank_device(device: torch.device, local_rank: int) -> torch.device:
    """The device of a rank: on GPUs, its own.

    Raises:
        RuntimeError: the machine has fewer GPUs than ranks.
    """
    if device.type != "cuda":
        return device
    if local_rank >= torch.cuda.device_count():
        have = torch.cuda.device_count()
        raise RuntimeError(f"process {local_rank + 1} of the training has no GPU, this machine has {have}: start fewer")
    torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank)


def _run_rank(rank: int, ranks: int, folder: str, threads: int, connection: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where a system cannot hide it from children
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    try:
        task, target, options = pickle.loads((Path(folder) / "task").read_bytes())
        with redirect_stdout(_Lines(connection)):
            options["device"] = pick_rank_device(options["device"], rank)
            meeting = f"file://{folder}/meeting"
            backend = find_backend(options["device"])
            distributed.init_process_group(backend, meeting, SILENCE, world_size=ranks, rank=rank)
            from .engine import train  # which imports this module

            train(task.for_rank(rank, ranks), target, on_step=_Report(connection) if rank == 0 else None, **options)
            distributed.destroy_process_group()
        return
    except KeyboardInterrupt as error:
        connection.send(("stopped", str(error)))
        code = 0
    except Exception as error:
        error.add_note(f"in process {rank + 1} of {ranks} of the training:\n{traceback.format_exc()}")
        connection.send(("error", _sendable(error)))
        code = 1
    os._exit(code)  # a process group that was not taken down may crash the interpreter when that takes itself down


def _end_with_parent() -> None:
    """A rank whose parent was killed would wait for the others, and hold its GPU."""
    wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def _sendable(error: Exception) -> Exception:
    try:
        return pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")


def train_in_processes(
    task: Any,
    folder: Path,
    processes: int,
    device: torch.device,
    options: dict[str, Any],
    on_step: Callable[[int, History], None] | None,
) -> None:
    """Run `engine.train` as `processes` ranks until it is finished.

    Args:
        options: of `train`, all of them picklable.
    Raises:
        WorkerDied: a rank was killed; the others are ended.
        KeyboardInterrupt: as received, after a checkpoint was written.
        Exception: what a rank raised.
    """
    if not hasattr(task, "for_rank"):
        raise ValueError(f"processes = {processes}, but {type(task).__name__} trains in one process only")
    context, threads = multiprocessing.get_context("spawn"), max(torch.get_num_threads() // processes, 1)
    with TemporaryDirectory() as meeting:
        (Path(meeting) / "task").write_bytes(pickle.dumps((task, folder, options)))
        ranks, ends = [], []
        try:
            for rank in range(processes):
                ours, theirs = context.Pipe(duplex=False)
                ranks.append(context.Process(target=_run_rank, args=(rank, processes, meeting, threads, theirs)))
                ends.append(ours)
                with hidden_from_children():  # it sends SIGTERM to them instead
                    ranks[-1].start()
                theirs.close()
            _Followed(ranks, ends, on_step).follow()
        finally:
            _end(ranks)


def _terminate(ranks: list[Any]) -> None:
    for rank in ranks:
        if rank.is_alive():
            rank.terminate()


def _end(ranks: list[Any]) -> None:
    """Ask all that are alive to end, and kill those that have not done so after `PATIENCE`."""
    begun = [rank for rank in ranks if rank.pid]
    _terminate(begun)
    last_moment = time.monotonic() + PATIENCE
    for rank in begun:
        rank.join(max(last_moment - time.monotonic(), 0))
        if rank.is_alive():
            rank.kill()
            rank.join()


class _Followed:
    """Ranks at work, and what came from them."""

    def __init__(self, ranks: list[Any], ends: list[Connection], on_step: Callable | None) -> None:
        self.ranks, self.on_step = ranks, on_step
        self.open = {end: rank for rank, end in enumerate(ends)}
        self.history, self.stopped, self.asked = History(), "", 0
        self.errors: list[Exception] = []
        self.killed: dict[int, int] = {}  # rank -> signal

    def follow(self) -> None:
        """Show what the first rank reports until all have ended, or one has failed; raise what went wrong."""
        last_moment = None
        with deferred_signals() as received:
            while self.open and (last_moment is None or time.monotonic() < last_moment):
                for end in wait(list(self.open), timeout=POLL):
                    self._receive(end)
                if len(received) > self.asked:
                    self.asked = len(received)
                    _terminate(self.ranks)  # they finish the step and save
                if last_moment is None and (self.errors or self.killed):
                    last_moment = time.monotonic() + GRACE  # one that fails takes others with it: who was first?
        self._raise()

    def _receive(self, end: Connection) -> None:
        try:
            kind, content = end.recv()
        except EOFError:
            rank = self.open.pop(end)
            self.ranks[rank].join()
            code = self.ranks[rank].exitcode
            if code < 0:
                self.killed[rank] = -code
            elif code > 0 and not self.errors and not self.asked:  # it ended before it could say why
                what = f"process {rank + 1} of {len(self.ranks)} of the training ended with exit code {code}"
                self.errors.append(WorkerDied(f"{what}: its last words are on the terminal"))
            return
        if kind == "line":
            print(content, flush=True)
        elif kind == "step":
            self._keep(*content)
        elif kind == "stopped":
            self.stopped = content
        else:
            self.errors.append(content)

    def _keep(self, done: int, first: int, columns: dict, pictures: dict, warnings: dict, memory: dict) -> None:
        for name, values in columns.items():
            self.history.columns.setdefault(name, [])[first:] = values
        self.history.pictures |= pictures
        self.history.warnings, self.history.memory = warnings, memory
        if self.on_step:
            self.on_step(done, self.history)

    def _raise(self) -> None:
        if self.asked and set(self.killed.values()) <= {signal.SIGTERM} and not self.errors:
            raise KeyboardInterrupt(self.stopped or "stopped before the first step; run again to go on")
        for rank, number in self.killed.items():
            raise WorkerDied(
                f"process {rank + 1} of {len(self.ranks)} of the training was ended by signal {number}, so all were "
                "stopped: run again to go on from the last checkpoint"
            )
        if self.errors:
            raise self.errors[0]
        if self.stopped:
            raise KeyboardInterrupt(self.stopped)
