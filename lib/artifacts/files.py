"""Single files: written aside and renamed, hashed, described by shape and dtype."""

import errno
import hashlib
import json
import os
import struct
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

LARGEST_CODE = 65535  # of a 16-bit PNG
PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # colour type -> channels


@contextmanager
def write_aside(path: Path) -> Iterator[Path]:
    """Give a path beside `path` to write to; on success it takes the name `path`, on failure it is removed.

    Raises:
        OSError: the disk is full; says so in one sentence. What `path` held before is still there.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield aside
        with open(aside, "rb") as file:
            os.fsync(file.fileno())
        os.replace(aside, path)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise OSError(
                errno.ENOSPC,
                f"no space left on the disk while writing {path.name}; free some, run again; nothing finished is lost",
            ) from error
        raise
    finally:
        aside.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """JSON, indented, keys in the given order; NaN is refused."""
    text = json.dumps(value, indent=1, allow_nan=False, default=_plain)
    with write_aside(path) as aside:
        aside.write_text(text + "\n")


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        ValueError: the file is damaged; names it.
    """
    try:
        return json.loads(Path(path).read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is damaged ({error}): delete it and run again") from error


def write_image(path: Path, image: np.ndarray) -> None:
    """PNG of an RGB image (H, W, 3) uint8, or of ids (H, W) uint8 or uint16."""
    if image.ndim == 3:
        image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".png", image)
    if not done:
        raise ValueError(f"{path.name}: cannot encode an array of {image.shape} {image.dtype} as PNG")
    with write_aside(path) as aside:
        aside.write_bytes(data.tobytes())


def write_inverse_depth(path: Path, inverse_depth: np.ndarray, largest: float) -> None:
    """16-bit PNG of inverse depth: 0 = no value; far and sky = 1; 65535 = `largest`.

    Args:
        inverse_depth: in 1 / scene unit; 0 or NaN = no value; tiny or negative infinity of depth = sky. (H, W)
        largest: what 65535 stands for; belongs into the manifest (`stage.about`).
    """
    missing = ~np.isfinite(inverse_depth) | (inverse_depth <= 0)
    code = np.clip(np.rint(np.where(missing, 0, inverse_depth) * (LARGEST_CODE / largest)), 1, LARGEST_CODE)
    write_image(path, np.where(missing, 0, code).astype(np.uint16))


def read_inverse_depth(path: Path, largest: float) -> np.ndarray:
    """Inverse depth as written by `write_inverse_depth`; 0 = no value. (H, W) float32"""
    code = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if code is None or code.dtype != np.uint16:
        raise ValueError(f"{path} is no 16-bit PNG of inverse depth")
    return code.astype(np.float32) * np.float32(largest / LARGEST_CODE)


def hash_file(path: Path) -> str:
    """sha256 of the bytes, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_files(paths: Sequence[Path]) -> list[str]:
    """`hash_file` of many: on several threads, and once in a process as long as length and date stay."""
    keys = [(path, path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda key: _hash_unchanged(*key), keys))


@lru_cache(maxsize=1 << 20)
def _hash_unchanged(path: Path, size: int, date: int) -> str:
    return hash_file(path)


def fingerprint(path: Path) -> list[Any]:
    """What changes when another file takes the name `path`: length and date; of a folder those of its files.

    Returns:
        JSON-ready; empty if there is nothing.
    """
    if path.is_file():
        return [path.stat().st_size, path.stat().st_mtime_ns]
    if not path.is_dir():
        return []
    found = [(entry.name, entry.stat().st_size, entry.stat().st_mtime_ns) for entry in os.scandir(path)]
    return [len(found), hashlib.sha256(json.dumps(sorted(found)).encode()).hexdigest()]


def describe(path: Path) -> dict[str, Any]:
    """sha256, bytes and, for the formats that artefacts use, shape and dtype, read from the header."""
    about: dict[str, Any] = {"sha256": hash_file(path), "bytes": path.stat().st_size}
    if path.suffix == ".png":
        with open(path, "rb") as file:
            width, height, bits, kind = struct.unpack(">IIBB", file.read(26)[16:])
        channels = PNG_CHANNELS[kind]
        about |= {"shape": [height, width] + [channels] * (channels > 1), "dtype": f"uint{bits}"}
    elif path.suffix == ".npz":
        with np.load(path) as arrays:
            about["arrays"] = {k: {"shape": list(arrays[k].shape), "dtype": str(arrays[k].dtype)} for k in arrays.files}
    elif path.suffix == ".safetensors":
        with open(path, "rb") as file:
            header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        about["arrays"] = {
            k: {"shape": v["shape"], "dtype": v["dtype"]} for k, v in header.items() if k != "__metadata__"
        }
    return about
