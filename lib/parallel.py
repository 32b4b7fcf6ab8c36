"""Many frames at once, and random numbers that do not depend on who draws them first."""

from collections.abc import Callable, Iterable, Iterator
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
    with Parallel(
        n_jobs=workers,
        return_as="generator",
        pre_dispatch="2 * n_jobs",
        inner_max_num_threads=1,
        backend="loky",
    ) as pool:
        yield from pool(delayed(function)(item) for item in items)


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
