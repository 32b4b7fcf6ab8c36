"""Resized frames of a video file on disk: made by one walk through the file, read frame by frame."""

import errno
import shutil
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ...artifacts.files import read_json, write_aside, write_json
from .. import resize_image
from .decode import count_announced, grab_frames, retrieve

STALE = 600  # seconds without a write after which an unfinished file is taken to be left by a killed process
HEADER = {"descr": "|u1", "fortran_order": False}  # of a .npy file of uint8
Window = tuple[slice, slice]  # rows and columns of the stored image that are used


def ensure_cache(path: Path, step: int, window: Window, size: tuple[int, int], folder: Path) -> dict[str, Any]:
    """Decode every `step`th frame of a file into folder/frames.npy, unless that is there and whole.

    Args:
        window: rows and columns of the stored image.
        size: (H, W) of the frames in the cache.
    Returns:
        What is written beside the frames, in about.json: `frames` that could be decoded, frames `announced` by the
        header, and of the kept ones their `numbers` in the file and `times` in seconds.
    Raises:
        ValueError: no video, or one without frames.
        OSError: the disk has no room for the frames.
    """
    about = _check_cache(folder, size)
    if about is None:
        about = _write_cache(path, step, window, size, folder)
        map_frames.cache_clear()
    return about


@lru_cache(maxsize=64)
def map_frames(folder: Path) -> np.ndarray:
    """The frames of a cache, read from disk as they are used. (N, H, W, 3) uint8"""
    return np.load(folder / "frames.npy", mmap_mode="r")


def _check_cache(folder: Path, size: tuple[int, int]) -> dict[str, Any] | None:
    """What stands in about.json if the cache is whole, else None."""
    try:
        about = read_json(folder / "about.json")
        frames = np.load(folder / "frames.npy", mmap_mode="r")
        whole = frames.shape == (len(about["times"]), *size, 3) and frames.dtype == np.uint8
        return about if whole and len(about["numbers"]) == len(about["times"]) else None
    except (OSError, ValueError, EOFError, KeyError, TypeError):
        return None


def _write_cache(path: Path, step: int, window: Window, size: tuple[int, int], folder: Path) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(".frames.*"):
        if time.time() - left.stat().st_mtime > STALE:
            left.unlink(missing_ok=True)
    announced = next(count_announced(capture) for _, _, capture in grab_frames(path))
    _check_space(path, -(-announced // step), size, folder)
    about = {"source": path.name, "frames": 0, "announced": announced, "numbers": [], "times": []}
    with write_aside(folder / "frames.npy") as aside, open(aside, "wb") as file:
        _write_header(file, 0, size)
        for index, seconds, capture in grab_frames(path):
            if index % step == 0:
                image = retrieve(capture)
                if image is None:
                    break
                file.write(resize_image(image[window], size).tobytes())
                about["numbers"].append(index)
                about["times"].append(seconds)
            about["frames"] = index + 1
        file.seek(0)
        _write_header(file, len(about["times"]), size)
    write_json(folder / "about.json", about)
    return about


def _write_header(file: Any, count: int, size: tuple[int, int]) -> None:
    """Of a .npy file; its length does not depend on `count`, as numpy leaves room for the first axis to grow."""
    np.lib.format.write_array_header_1_0(file, {**HEADER, "shape": (count, *size, 3)})


def _check_space(path: Path, count: int, size: tuple[int, int], folder: Path) -> None:
    needed, free = count * size[0] * size[1] * 3, shutil.disk_usage(folder).free
    if needed > free:
        raise OSError(
            errno.ENOSPC,
            f"{count} frames of {path.name} at {size[0]} x {size[1]} need {needed / 1e9:.1f} GB in {folder.parent}, "
            f"where {free / 1e9:.1f} GB are free: free some, or use a larger video_step or smaller frames",
        )
