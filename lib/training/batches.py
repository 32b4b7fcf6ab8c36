"""Batches made ahead by other processes, and moved to where the networks are."""

import signal
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import cv2
import torch
from torch.utils.data import DataLoader, Dataset


class _Batches(Dataset):
    def __init__(self, sample: Callable[[int], Any]) -> None:
        self.sample = sample

    def __getitem__(self, step: int) -> Any:
        return self.sample(step)


def _begin_worker(_: int) -> None:
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the main process's to handle
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def make_batches(sample: Callable[[int], Any], steps: range, workers: int, pin: bool) -> Iterator[Any]:
    """sample(step) for each step, in order, made ahead by `workers` other processes if there are any."""
    if workers == 0:
        return map(sample, steps)
    options = {"num_workers": workers, "pin_memory": pin, "worker_init_fn": _begin_worker}
    # a fork of a process whose OpenMP or GPU threads are running may hang for ever: start workers from nothing
    options["multiprocessing_context"] = "spawn"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This DataLoader will create")  # more workers than cores: the user's choice
        # its own generator: the loader would otherwise draw a number from torch's global one
        return iter(DataLoader(_Batches(sample), None, sampler=steps, generator=torch.Generator(), **options))


def move(batch: Any, device: torch.device) -> Any:
    """The batch on a device; whole numbers stay what they are, so that nobody has to wait for them to come back."""
    if isinstance(batch, dict):
        return {name: move(value, device) for name, value in batch.items()}
    if isinstance(batch, list | tuple):
        return [move(value, device) for value in batch]
    if isinstance(batch, int):
        return batch
    return torch.as_tensor(batch).to(device, non_blocking=True)


def place(
    batches: Iterable[Any], device: torch.device, execute: Callable[[Any, torch.device], Any] | None = None
) -> Iterator[Any]:
    """Each batch, executed if need be, on a device; on a GPU beside the step that is under way there.

    A stream of its own: whatever asks the GPU for a number while a batch is made waits for that stream alone.
    """
    on_gpu = device.type == "cuda"
    aside = torch.cuda.Stream(device) if on_gpu else None
    for batch in batches:
        with torch.cuda.stream(aside):  # None: as if it were not there
            placed = move(execute(batch, device) if execute else batch, device)
        if not on_gpu:
            yield placed
            continue
        current = torch.cuda.current_stream(device)
        current.wait_stream(aside)
        for value in _list_tensors(placed):
            value.record_stream(current)  # else its memory could be given away while a step reads it
        yield placed


def _list_tensors(batch: Any) -> Iterator[torch.Tensor]:
    if isinstance(batch, torch.Tensor):
        yield batch
    elif isinstance(batch, dict | list | tuple):
        for value in batch.values() if isinstance(batch, dict) else batch:
            yield from _list_tensors(value)
