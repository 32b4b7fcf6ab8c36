"""Part 2: cores, memory, disk, device. Packages are imported where they are used: the disk is looked at without any."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Any

from ... import ROOT
from .report import Report, first_sentence

OUTPUTS = Path(os.environ.get("RUNS_ROOT") or ROOT / "outputs")
SHARED = Path("/dev/shm")
LIMITS = Path("/sys/fs/cgroup")  # of a container
LEAST_DISK = 3e9  # bytes; a street run leaves 0.7 GB, its streets 0.3 GB, and files are written aside first
LEAST_MEMORY = 2e9  # the largest process of a street run takes 1.9 GB
LEAST_SHARED = 256e6  # batches travel from the workers through it


def show_machine(report: Report) -> Any:
    """Returns the torch device that `auto` means; None where that cannot be told."""
    parts = {"cores": show_cores, "memory": show_memory, "disk": show_disk, "shared memory": show_shared}
    for what, function in parts.items():
        report.attempt(what, function, report)
    return report.attempt("device", show_device, report)


def name_processor() -> str:
    """Its model where the system says it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine() or "unknown processor"


def count_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read_limit(name: str) -> float | None:
    """A limit of the container that this runs in: cpu.max in cores, memory.max in bytes; None = no such limit."""
    try:
        words = (LIMITS / name).read_text().split()
        return float(words[0]) / (float(words[1]) if len(words) > 1 else 1)
    except (OSError, ValueError, IndexError):
        return None


def show_cores(report: Report) -> None:
    cores, limit = count_cores(), read_limit("cpu.max")
    report.say("cores", f"{cores} usable, {name_processor()}")
    report.attempt("threads", show_threads, report)
    if limit and limit < cores:
        report.warn(f"this container may use {limit:g} of them: export OMP_NUM_THREADS={max(int(limit), 1)} is faster")


def show_threads(report: Report) -> None:
    import torch

    report.say("threads", f"torch computes with {torch.get_num_threads()}; OMP_NUM_THREADS changes it")


def show_memory(report: Report) -> None:
    from ...parallel import free_memory

    total, free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), free_memory()
    limit = read_limit("memory.max")
    if limit and limit < total:
        total, free = limit, min(free, limit)
    report.say("memory", f"{total / 1e9:.1f} GB, {free / 1e9:.1f} GB free")
    if free < LEAST_MEMORY:
        report.warn(
            f"less than {LEAST_MEMORY / 1e9:.0f} GB free: close other programs, or add -p 04.workers=0 to a run"
        )


def existing_folder(path: Path) -> Path:
    """`path`, or the nearest folder above it that is there."""
    return next((p for p in (path, *path.absolute().parents) if p.is_dir()), Path("/"))


def show_disk(report: Report) -> None:
    folder = existing_folder(OUTPUTS)
    free = shutil.disk_usage(folder).free
    report.say("disk", f"{free / 1e9:.0f} GB free for {OUTPUTS}")
    if free < LEAST_DISK:
        report.stop(
            f"less than {LEAST_DISK / 1e9:.0f} GB free in {folder}: free some, or set RUNS_ROOT to another disk"
        )
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
    except OSError as error:
        report.stop(
            f"{folder} is not writable ({error.strerror or error}): change its owner, or set RUNS_ROOT to a folder"
        )


def show_shared(report: Report) -> None:
    if SHARED.is_dir():
        free = shutil.disk_usage(SHARED).free
        if free < LEAST_SHARED:
            report.say("shared memory", f"{free / 1e6:.0f} MB free in {SHARED}")
            report.warn("enough for street, not for larger images: docker run --shm-size=2g, or -p 04.workers=0")


def show_device(report: Report) -> Any:
    import torch

    from ...parallel import pick_device

    with warnings.catch_warnings(record=True) as caught:  # torch says here what is wrong with a driver
        warnings.simplefilter("always")
        device = pick_device("auto")
    report.say("device", f"auto is {device.type}: {describe_device(device)}")
    if device.type == "cpu" and (shutil.which("nvidia-smi") or Path("/proc/driver/nvidia/version").exists()):
        why = f" ({first_sentence(caught[0].message)})" if caught else ""
        report.warn(f"there is an NVIDIA driver, but torch {torch.__version__} finds no GPU{why}: update the driver")
    return device


def describe_device(device: Any) -> str:
    import torch

    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info()
        return f"{torch.cuda.get_device_name()}, {total / 1e9:.0f} GB, {free / 1e9:.0f} GB free"
    if device.type == "mps":
        return "the GPU of this Mac"
    return "no GPU, which is fine for street, tiny, camvid; the papers' own sizes need one"
