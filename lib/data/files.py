"""Single image files and what fits them to a size: read, checked, cut, resized. Every error is one sentence.

Images are resized with antialiasing; ids and sparse depths take the old pixel under each new centre.
"""

import io
import os
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

ENDS = {b"\x89PNG": b"IEND\xaeB`\x82", b"\xff\xd8\xff": b"\xff\xd9"}  # how a file begins: how it must end
ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
GREY, PALETTE = 0, 3  # colour types of PNGs; pixels of a palette are rows of a table: ids with colours to look at
ORIENTATION, SIDEWAYS = 0x0112, (5, 6, 7, 8)  # EXIF's tag, and its values for cameras that were held upright


def read_bytes(path: Path) -> bytes:
    """The bytes of an image file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: empty, cut short, a folder, or not readable; says which.
    """
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"missing file: {path}") from None
    except OSError as error:  # a folder, no permission, links that lead in a circle, a failing disk
        raise ValueError(f"cannot read {path}: {error.strerror}; mend or replace it") from None
    for begin, end in ENDS.items():
        # OpenCV pads a file that was cut short with grey and only warns: look for the end mark ourselves
        if data.startswith(begin) and end not in data[-64:] and not _is_whole(data):
            raise ValueError(f"{path} is cut short ({len(data)} bytes): copy or download it again")
    if not data:
        raise ValueError(f"{path} is empty: copy or download it again")
    return data


def _is_whole(data: bytes) -> bool:
    """Can all pixels be decoded? Slow, but some phones write more behind the end of an image."""
    try:
        Image.open(io.BytesIO(data)).load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return False
    return True


def read_text(path: Path) -> str:
    """The content of a text file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not readable, or no text.
    """
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise FileNotFoundError(f"missing file: {path}") from None
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}; mend or replace it") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is no text file: download it again") from None


def read_table(path: Path, columns: int, finite: bool = True) -> np.ndarray:
    """The numbers of a text file. (N, columns) float64

    Raises:
        FileNotFoundError, ValueError: as `read_text`; also no numbers, no full rows, or with `finite` NaN or infinity.
    """
    words = read_text(path).split()
    try:
        values = np.array(words, float)
    except ValueError:
        values = np.zeros(0)
    if not values.size or values.size % columns or (finite and not np.isfinite(values).all()):
        raise ValueError(f"{path} holds no rows of {columns} numbers, or is cut short: download it again")
    return values.reshape(-1, columns)


def is_there(path: Path, folder: bool = False) -> bool:
    """Is there such a file, or folder? For what may be missing.

    Raises:
        ValueError: something else has its name, e.g. a link that leads nowhere or in a circle.
    """
    try:
        if path.is_dir() if folder else path.is_file():
            return True
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}; mend or replace it") from None
    if os.path.lexists(path):
        kind = "folder" if folder else "file"
        raise ValueError(f"{path} is no {kind}, or a link that leads nowhere: mend or remove it")
    return False


def _png_kind(data: bytes) -> tuple[int, int]:
    """Bits a channel and colour type of a PNG; (0, -1) for any other file."""
    return (data[24], data[25]) if data.startswith(b"\x89PNG") and len(data) > 26 else (0, -1)


def _decode(path: Path, data: bytes, mode: int) -> np.ndarray:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), mode)
    except cv2.error:  # a header that promises more pixels than there can be
        image = None
    if image is None:
        raise ValueError(f"{path} is not a readable image ({len(data)} bytes): copy or download it again")
    return image


def read_image(path: Path, size: tuple[int, int] | None = None) -> np.ndarray:
    """An image file as RGB, resized with antialiasing if `size` (H, W) is given; grey becomes three equal channels.

    Photographs are turned as their camera noted.

    Returns:
        (H, W, 3) uint8
    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is truncated, no image, or has 16 bits a channel.
    """
    image = _decode(path, read_bytes(path), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    if image.dtype != np.uint8:
        bits = image.dtype.itemsize * 8
        raise ValueError(f"{path} has {bits} bits a channel, an image needs 8: is it a map of depth or ids?")
    image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    return image if size is None else resize_image(image, size)


def read_map(path: Path, size: tuple[int, int] | None = None, bits: int = 0) -> np.ndarray:
    """A single-channel image as stored: ids, palette ids (not their colours), or 16-bit values.

    Args:
        size: (H, W) to resize to, nearest; None = as stored.
        bits: 8 or 16 if it must be one of them; 0 = either.
    Returns:
        (H, W) uint8 or uint16
    Raises:
        FileNotFoundError, ValueError: as `read_image`; also more than one channel, or another number of bits.
    """
    data = read_bytes(path)
    depth, color_type = _png_kind(data)
    if color_type == GREY and depth < 8:
        raise ValueError(f"{path} has {depth} bits, expected 8 or 16: fewer are read as shades, write it anew with 8")
    if color_type == PALETTE:
        try:
            Image.open(io.BytesIO(data)).verify()  # the checksums, which reading leaves out
            values = np.array(Image.open(io.BytesIO(data)))
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
            raise ValueError(f"{path} is not a readable image: copy or download it again") from None
    else:
        values = _decode(path, data, cv2.IMREAD_UNCHANGED)
    if values.ndim != 2:
        raise ValueError(f"{path} has {values.shape[2]} channels; a map needs one: is it a colour picture of it?")
    if values.dtype not in (np.uint8, np.uint16) or bits not in (0, values.dtype.itemsize * 8):
        expected = f"uint{bits}" if bits else "uint8 or uint16"
        raise ValueError(f"{path} holds {values.dtype} values, expected {expected}: is it another kind of map?")
    return values if size is None else resize_map(values, size)


def read_size(path: Path) -> tuple[int, int]:
    """Height and width of what `read_image` gives, from the header alone.

    Raises:
        FileNotFoundError, ValueError: missing, or no image.
    """
    try:
        with Image.open(path) as image:
            turned = "exif" in image.info and image.getexif().get(ORIENTATION) in SIDEWAYS  # PIL itself turns a TIFF
            return image.size if turned else image.size[::-1]
    except FileNotFoundError:
        raise FileNotFoundError(f"missing file: {path}") from None
    except (UnidentifiedImageError, Image.DecompressionBombError):
        raise ValueError(f"{path} is not a readable image: copy or download it again") from None
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror or 'damaged'}; mend or replace it") from None


def list_images(folder: Path, help_text: str = "") -> list[Path]:
    """Image files directly in a folder, by name.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: it cannot be read.
    """
    return [path for path in _list(folder, help_text) if path.name.lower().endswith(ENDINGS)]


def list_folders(folder: Path, help_text: str = "") -> list[Path]:
    """Folders directly in a folder, by name.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: it cannot be read, or has a link that leads nowhere, which may have been a folder.
    """
    paths = _list(folder, help_text)
    return [p for p in paths if p.is_dir() or (p.is_symlink() and not p.exists() and is_there(p, folder=True))]


def _list(folder: Path, help_text: str) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
    except FileNotFoundError:
        raise FileNotFoundError(f"no folder {folder}. {help_text}".strip()) from None
    except OSError as error:
        raise ValueError(f"cannot read the folder {folder}: {error.strerror}; mend or replace it") from None
    return [Path(folder) / name for name in names]


def natural_key(path: str | Path) -> tuple[list[Any], str]:
    """A sort key that takes digits as numbers: frame2 before frame10; capitals count only where all else is equal."""
    parts = re.split(r"(\d+)", Path(path).as_posix().casefold())
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], str(path)


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize (H, W, 3) or (H, W) to `size` (H, W): area averaging when smaller (no aliasing), else bilinear."""
    if image.shape[:2] == tuple(size):
        return image
    smaller = size[0] <= image.shape[0] and size[1] <= image.shape[1]
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)


def resize_map(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize ids or depths (H, W) to `size`: each new pixel takes the old pixel under its centre."""
    if values.shape == tuple(size):
        return values
    rows = ((np.arange(size[0]) + 0.5) * values.shape[0] / size[0]).astype(int)
    columns = ((np.arange(size[1]) + 0.5) * values.shape[1] / size[1]).astype(int)
    return values[rows[:, None], columns]


def find_window(
    shape: tuple[int, int], size: tuple[int, int], keep_aspect: bool, crop_bottom: float = 0.0
) -> tuple[slice, slice]:
    """The part of a stored image that is used: all of it, or the largest centred part of the shape of `size`.

    Args:
        shape, size: (H, W) of the stored image and of the data set.
        crop_bottom: share of the stored height that is cut off first, below: the bonnet.
    Returns:
        Rows and columns.
    """
    shape = (max(shape[0] - round(crop_bottom * shape[0]), 1), shape[1])
    if not keep_aspect:
        return slice(0, shape[0]), slice(0, shape[1])
    height = max(min(shape[0], round(shape[1] * size[0] / size[1])), 1)
    width = max(min(shape[1], round(shape[0] * size[1] / size[0])), 1)
    top, left = (shape[0] - height) // 2, (shape[1] - width) // 2
    return slice(top, top + height), slice(left, left + width)
