"""Single image files and what fits them to a size: read, checked, cut, resized. Every error is one sentence.

Images are resized with antialiasing; ids and sparse depths take the old pixel under each new centre.
"""

import io
import os
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

ENDS = {b"\x89PNG": b"IEND\xaeB`\x82", b"\xff\xd8\xff": b"\xff\xd9"}  # how a file begins: how it must end
ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
PALETTE = 3  # colour type of a PNG whose pixels are rows of a table: ids with colours to look at


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
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    for begin, end in ENDS.items():
        # OpenCV pads a file that was cut short with grey and only warns: look for the end mark ourselves
        if data.startswith(begin) and end not in data[-64:]:
            raise ValueError(f"{path} is cut short ({len(data)} bytes): copy or download it again")
    if not data:
        raise ValueError(f"{path} is empty: copy or download it again")
    return data


def _is_png(data: bytes, bits: int = 0, color_type: int = -1) -> bool:
    """A PNG, of this many bits a channel and this colour type, if they are given."""
    found = data.startswith(b"\x89PNG") and len(data) > 26
    return found and bits in (0, data[24]) and color_type in (-1, data[25])


def _decode(path: Path, data: bytes, mode: int) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), mode)
    if image is None:
        raise ValueError(f"{path} is not a readable image ({len(data)} bytes): copy or download it again")
    return image


def read_image(path: Path, size: tuple[int, int] | None = None) -> np.ndarray:
    """An image file as RGB, resized with antialiasing if `size` (H, W) is given; grey becomes three equal channels.

    Returns:
        (H, W, 3) uint8
    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is truncated, no image, or has 16 bits a channel.
    """
    data = read_bytes(path)
    if _is_png(data, bits=16):
        raise ValueError(f"{path} has 16 bits a channel, an image needs 8: is it a map of depth or ids?")
    image = cv2.cvtColor(_decode(path, data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
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
    if _is_png(data, color_type=PALETTE):
        try:
            values = np.array(Image.open(io.BytesIO(data)))
        except (UnidentifiedImageError, OSError, SyntaxError):
            raise ValueError(f"{path} is not a readable image: copy or download it again") from None
    else:
        values = _decode(path, data, cv2.IMREAD_UNCHANGED)
    if values.ndim != 2:
        raise ValueError(f"{path} has {values.shape[2]} channels; a map needs one: is it a colour picture of it?")
    if bits and values.dtype.itemsize * 8 != bits:
        raise ValueError(f"{path} has {values.dtype.itemsize * 8} bits, expected {bits}: is it another kind of map?")
    return values if size is None else resize_map(values, size)


def read_size(path: Path) -> tuple[int, int]:
    """Height and width, from the header alone.

    Raises:
        FileNotFoundError, ValueError: missing, or no image.
    """
    try:
        with Image.open(path) as image:
            return image.size[::-1]
    except FileNotFoundError:
        raise FileNotFoundError(f"missing file: {path}") from None
    except (UnidentifiedImageError, OSError):
        raise ValueError(f"{path} is not a readable image: copy or download it again") from None


def list_images(folder: Path, help_text: str = "") -> list[Path]:
    """Image files directly in a folder, by name.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: it cannot be read.
    """
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if entry.name.lower().endswith(ENDINGS))
    except FileNotFoundError:
        raise FileNotFoundError(f"no folder {folder}. {help_text}".strip()) from None
    except OSError as error:
        raise ValueError(f"cannot read the folder {folder}: {error.strerror}") from None
    return [Path(folder) / name for name in names if not name.startswith(".")]


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
