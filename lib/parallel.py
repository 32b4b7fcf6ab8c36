"""Many frames at once, and random numbers that do not depend on who draws them first."""

import os
import pickle
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from joblib import Parallel, delayed


def numpy_generator(seed: int, *keys: int) -> np.random.Generator:
    """A generator that is a function of (seed, keys) alone, e.g. (seed, step, index): nothing to store on resume."""
    return np.random.default_rng(np.random.SeedSequence([seed, *keys]))


def torch_generator(seed: int, *keys: int) -> torch.Generator:
    """The same for torch, on the CPU."""
    state = np.random.SeedSequence([seed, *keys]).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(state[0]) << 31 | int(state[1]) >> 1)


def parallel_map(function: Callable[..., Any], items: Iterable[Any], workers: int = 1) -> Iterator[Any]:
    """`function(item)` for each item, in order, as soon as it is there; one process for each of `workers`.

    Workers use one thread each, so that `workers` is also the number of cores in use.
    """
    if workers <= 1:
        yield from map(function, items)
        return
    with TemporaryDirectory() as folder:
        # sent once, not with every item: a function may carry the list of all frames of a data set
        sent = Path(folder) / "function"
        sent.write_bytes(pickle.dumps(function))
        with Parallel(
            n_jobs=workers,
            return_as="generator",
            pre_dispatch="2 * n_jobs",
            inner_max_num_threads=1,
            backend="loky",
        ) as pool:
            yield from pool(delayed(_call)(str(sent), item) for item in items)


def _call(sent: str, item: Any) -> Any:
    return _receive(sent)(item)


@lru_cache(maxsize=1)
def _receive(sent: str) -> Callable[..., Any]:
    return pickle.loads(Path(sent).read_bytes())  # our own, written a moment ago by the process that started this one


def fits_memory(size: float) -> bool:
    """Would this many bytes take at most half of the memory that is free?"""
    return size <= free_memory() / 2


def free_memory() -> float:
    """Bytes that can still be taken without swapping; half of all where the system does not say."""
    try:
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        return float(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2


def pick_device(name: str = "auto") -> torch.device:
    """The torch device that `name` means; auto = cuda, else mps, else cpu.

    Raises:
        RuntimeError: the named device is not on this machine.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise RuntimeError(f"device = {name!r}, but this machine has no CUDA GPU: use device = 'auto' or 'cpu'")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise RuntimeError("device = 'mps', but this machine has no Apple GPU: use device = 'auto' or 'cpu'")
    return device
