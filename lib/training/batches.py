"""Batches made ahead by other processes, and moved to where the networks are."""

import signal
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

import cv2
import torch
from torch.utils.data import DataLoader, Dataset

from ..parallel import WorkerDied
from .signals import hidden_from_children

GRACE = 0.5  # seconds in which a process that was killed is known to have ended


class _Batches(Dataset):
    def __init__(self, sample: Callable[[int], Any]) -> None:
        self.sample = sample

    def __getitem__(self, step: int) -> Any:
        return self.sample(step)


def _begin_worker(_: int) -> None:
    cv2.setNumThreads(1)
    # Ctrl-C, and SIGTERM to a whole group of processes, are the main process's to handle: it saves, and then ends us
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def make_batches(sample: Callable[[int], Any], steps: range, workers: int, pin: bool) -> Iterator[Any]:
    """sample(step) for each step, in order, made ahead by `workers` other processes if there are any.

    Close it to end them.
    """
    if workers == 0:
        yield from map(sample, steps)
        return
    options = {"num_workers": workers, "pin_memory": pin, "worker_init_fn": _begin_worker}
    # a fork of a process whose OpenMP or GPU threads are running may hang for ever: start workers from nothing
    options["multiprocessing_context"] = "spawn"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This DataLoader will create")  # more workers than cores: the user's choice
        # its own generator: the loader would otherwise draw a number from torch's global one
        with hidden_from_children():
            loader = iter(DataLoader(_Batches(sample), None, sampler=steps, generator=torch.Generator(), **options))
    try:
        yield from loader
    except Exception as error:
        raise _translate(error, loader._workers) from error
    finally:
        # a notebook keeps the traceback of an error, and with it the loader; and a worker that crashes on its way out
        # has done its work: torch would put that in the place of whatever ended the training
        with suppress(RuntimeError):
            loader._shutdown_workers()


def _translate(error: Exception, workers: Iterable[Any]) -> Exception:
    """What a worker raised, in its own words: torch puts the whole of its traceback into them.

    A worker that was killed shows itself late: by what torch says, or by a tensor that it can no longer hand over.
    """
    text, name, died = str(error), type(error).__name__, False
    if isinstance(error, EOFError | ConnectionError | FileNotFoundError):
        try:
            for worker in workers:
                worker.join(GRACE)
            died = any(worker.exitcode for worker in workers)
        except RuntimeError:  # torch's own answer to the signal, which may come at any moment
            died = True
    if died or "exited unexpectedly" in text or "DataLoader worker (pid" in text:
        what = "a process that makes batches was killed or crashed: is there memory for so many?"
        return WorkerDied(f"{what} Fewer workers need less; run again to go on from the last checkpoint")
    lines = text.splitlines()
    told = [i for i, line in enumerate(lines) if line.partition(": ")[0].rpartition(".")[2] == name]
    if text.startswith("Caught ") and "DataLoader worker" in text and told:
        return type(error)("\n".join(lines[told[-1] :]).partition(": ")[2].strip())
    return error


def move(batch: Any, device: torch.device) -> Any:
    """The batch on a device; whole numbers stay what they are, so that nobody has to wait for them to come back.

    What has a method `to` is asked for what it is there: that of a batch that was only drawn makes it.
    """
    if isinstance(batch, dict):
        return {name: move(value, device) for name, value in batch.items()}
    if isinstance(batch, list | tuple):
        return [move(value, device) for value in batch]
    if isinstance(batch, int):
        return batch
    return (batch if hasattr(batch, "to") else torch.as_tensor(batch)).to(device, non_blocking=True)


def place(batches: Iterable[Any], device: torch.device) -> Iterator[Any]:
    """Each batch on a device; on a GPU one ahead, and beside the step that is under way there.

    A stream of its own: whatever asks the GPU for a number while a batch is made waits for that stream alone.
    """
    if device.type != "cuda":
        yield from (move(batch, device) for batch in batches)
        return
    aside, waiting = torch.cuda.Stream(device), []
    for batch in batches:
        with torch.cuda.stream(aside):
            waiting.append((move(batch, device), aside.record_event()))
        if len(waiting) > 1:
            yield _take(*waiting.pop(0), device)
    for placed in waiting:
        yield _take(*placed, device)


def _take(batch: Any, made: "torch.cuda.Event", device: torch.device) -> Any:
    current = torch.cuda.current_stream(device)
    current.wait_event(made)
    for value in _list_tensors(batch):
        value.record_stream(current)  # else its memory could be given away while a step reads it
    return batch


def _list_tensors(batch: Any) -> Iterator[torch.Tensor]:
    if isinstance(batch, torch.Tensor):
        yield batch
    elif isinstance(batch, dict | list):
        for value in batch.values() if isinstance(batch, dict) else batch:
            yield from _list_tensors(value)
