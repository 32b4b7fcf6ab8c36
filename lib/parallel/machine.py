"""What a machine has left, which of its devices is meant, and random numbers that do not depend on who draws first."""

import os
import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

MEMORY_UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, bytes


def numpy_generator(seed: int, *keys: int) -> np.random.Generator:
    """A generator that is a function of (seed, keys) alone, e.g. (seed, step, index): nothing to store on resume."""
    return np.random.default_rng(np.random.SeedSequence([seed, *keys]))


def torch_generator(seed: int, *keys: int) -> "torch.Generator":
    """The same for torch, on the CPU."""
    import torch

    state = np.random.SeedSequence([seed, *keys]).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(state[0]) << 31 | int(state[1]) >> 1)


def use_one_thread() -> None:
    """For a worker: OpenCV starts a thread for each core, whatever the environment says, and each of many would."""
    if "cv2" in sys.modules:
        sys.modules["cv2"].setNumThreads(1)


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


def peak_memory() -> int:
    """Bytes that this process has held at most."""
    try:  # ru_maxrss begins with what the process held that started this one
        lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) * 1024
    except (OSError, KeyError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * MEMORY_UNIT


def pick_device(name: str = "auto") -> "torch.device":
    """The torch device that `name` means; auto = cuda, else mps, else cpu.

    Raises:
        RuntimeError: no device has this name, or it is not on this machine.
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:  # torch answers with the list of all kinds it was ever built for
        raise RuntimeError(f"device must be auto, cuda, mps or cpu, not {name!r}") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise RuntimeError(f"device = {name!r}, but this machine has no CUDA GPU: use device = 'auto' or 'cpu'")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise RuntimeError("device = 'mps', but this machine has no Apple GPU: use device = 'auto' or 'cpu'")
    return device
