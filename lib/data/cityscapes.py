"""Cityscapes: annotated images, the video around them, cameras, disparity, and 19, 27 or 7 classes.

Below `cityscapes/`, as the archives unpack: leftImg8bit/SPLIT/CITY/*_leftImg8bit.png, leftImg8bit_sequence (30 frames
at 17 Hz around each annotated one, the 20th), gtFine (train, val) and gtCoarse (train, val, train_extra) with
*_labelIds.png and *_instanceIds.png, camera/*_camera.json, disparity/*_disparity.png, and the right camera's images in
rightImg8bit and rightImg8bit_sequence. Images may be jpg. Anything but the left images may be missing. Splits are the
official folders; train_extra counts as train, and is read with `annotations = "coarse"` only. Frames of videos belong
to train; test, whose labels are not public, is not read.

Only labelIds are read, and every one is converted by a table: raw ids can never pass for train ids.
"""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from . import Frame, find_root, read_image, read_size, resize_image
from .files import ENDINGS, is_there, list_folders, list_images, read_text
from .labels import CITYSCAPES_LABELS
from .layout import Files, FolderDataset, check_partner, need_file, need_files

HELP = "Get leftImg8bit_trainvaltest, gtFine_trainvaltest and camera_trainvaltest from cityscapes-dataset.com"
RIGHT_HELP = "Get rightImg8bit_trainvaltest or rightImg8bit_sequence_trainvaltest from cityscapes-dataset.com"
RATE = 17.0  # frames a second
SNIPPETS = 11  # of 30 frames, that make 20 s
SOURCE_SIZE = (1024, 2048)  # that calibrations are for
TYPICAL_CAMERA = (2262.5, 2265.3, 1097.0, 513.1)  # fx, fy, cx, cy where no file says better (facts/cpcdr.md sec. 2)
TYPICAL_BASELINE = 0.209  # metres
FOLDERS = {"fine": {"train": "train", "val": "val"}, "coarse": {"train": "train", "val": "val", "train_extra": "train"}}
NAME = re.compile(r"(.+_\d{6})_(\d{6})_leftImg8bit\.\w+$")
CAMERA_FRAME = re.compile(r"_(\d{6})_camera\.json$")


class Cityscapes(FolderDataset):
    """The reader; see `FolderDataset` for what it raises."""

    name, help = "cityscapes", HELP
    no_video = ""  # why depth cannot be learned from these frames, as far as the reader knows

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        self.classes, self._raw = CITYSCAPES_LABELS[params.label_set or "19"]
        self._root, self._fine = find_root(params.data_root, self.name, HELP), params.annotations == "fine"
        self._shape: tuple[int, int] | None = None  # of stored images: all have one
        self._cameras: dict[str, tuple[np.ndarray, float]] = {}  # of each clip
        found = False
        for folder, split in FOLDERS[params.annotations].items():
            images = _find_images(self._root / "leftImg8bit" / folder)
            if split == "train" and params.sequences:
                video = _find_images(self._root / "leftImg8bit_sequence" / folder)
                images, found = video | images, found or bool(video)
            self._add_split(folder, split, dict(sorted(images.items())))
        need_files(self._frames, self._root / "leftImg8bit", HELP)
        if not found:
            self.no_video = self._miss_video(params.sequences)

    def _miss_video(self, sequences: bool) -> str:
        if not sequences:
            return "sequences is off, so that only annotated images are read: set sequences = true"
        folder = self._root / "leftImg8bit_sequence" / "train"
        missing = "no images in" if folder.is_dir() else "no"
        text = f"{missing} leftImg8bit_sequence/train below {self._root}: depth cannot be learned from these frames"
        return f"{text}; get leftImg8bit_sequence_trainvaltest"

    def _add_split(self, folder: str, split: str, images: dict[str, Path]) -> None:
        ground = "gtFine" if self._fine else "gtCoarse"
        labelled = is_there(self._root / ground / folder, folder=True)
        before, start, clip = ("", -2), 0, ""
        for stem, path in images.items():
            city = path.parent.name
            sequence, number = _parse(path)
            if before != (sequence, number - 1):
                start, clip = number, f"{sequence}_{number:06d}"
            before = (sequence, number)
            labels = instances = None
            if labelled and path.parent.parent.parent.name == "leftImg8bit":
                labels = self._root / ground / folder / city / f"{stem}_{ground}_labelIds.png"
                need_file(labels, path, HELP)
                instances = labels.with_name(f"{stem}_{ground}_instanceIds.png")
            matrix, _ = self._camera(folder, city, clip, path)
            frame = Frame(stem, clip, split, (number - start) / RATE, matrix, labelled=labels is not None)
            self.add(frame, Files(path, labels, instances, self._root / "disparity" / folder / city))

    def block(self, frame: Frame) -> str:
        """Some 20 s of a drive, 17 frames a second: most sequences are snippets of 30 frames, one after the other."""
        sequence, number = _parse(self._files[frame.id].image)
        city, snippet = sequence.rsplit("_", 1)
        return f"{city}_{int(snippet) // SNIPPETS}_{number // (30 * SNIPPETS)}"

    def _camera(self, folder: str, city: str, clip: str, image: Path) -> tuple[np.ndarray, float]:
        """Intrinsics at the data set's size and baseline in metres, of a clip: one file serves all its frames."""
        if clip not in self._cameras:
            self._shape = self._shape or read_size(image)
            sequence, first = clip.rsplit("_", 1)
            files = sorted((self._root / "camera" / folder / city).glob(f"{sequence}_*_camera.json"))
            near = [p for p in files if 0 <= int(CAMERA_FRAME.search(p.name)[1]) - int(first) < 30]
            (fx, fy, cx, cy), baseline = _read_camera(near[0]) if near else (TYPICAL_CAMERA, TYPICAL_BASELINE)
            sy, sx = self._shape[0] / SOURCE_SIZE[0], self._shape[1] / SOURCE_SIZE[1]
            matrix = [[fx * sx, 0, (cx + 0.5) * sx - 0.5], [0, fy * sy, (cy + 0.5) * sy - 0.5], [0, 0, 1]]
            self._cameras[clip] = self.fit_intrinsics(np.array(matrix), self._shape), baseline
        return self._cameras[clip]

    def _find_right(self, frame: Frame) -> list[Path]:
        """Where the frame's right image may lie, without its ending; nowhere if that split has no right images."""
        left = self._files[frame.id].image
        city, split, kind = (folder.name for folder in left.parents[:3])
        kinds = [kind.replace("left", "right"), "rightImg8bit_sequence"]  # the sequences hold the annotated frames too
        folders = [self._root / kind / split for kind in dict.fromkeys(kinds)]
        name = f"{frame.id}_rightImg8bit"
        return [folder / city / name for folder in folders if is_there(folder, folder=True)]

    def right_image(self, frame: Frame) -> np.ndarray | None:
        places = self._find_right(frame)
        files = [path for place in places for end in ENDINGS if is_there(path := place.with_name(place.name + end))]
        if not places:
            return None
        left = self._files[frame.id].image
        path = files[0] if files else need_file(places[0].with_name(f"{places[0].name}{left.suffix}"), left, RIGHT_HELP)
        image = read_image(path)
        check_partner(path, image.shape[:2], read_size(left), same_size=True, help_text=RIGHT_HELP)
        return resize_image(image[self.window(image.shape[:2])], self.size)

    def baseline(self, frame: Frame) -> float | None:
        return self._cameras[frame.clip][1] if self._find_right(frame) else None

    def labels(self, frame: Frame) -> np.ndarray | None:
        path = self._files[frame.id].labels
        if path is None:
            return None
        raw = self.read_partner(frame, path, bits=8)
        return self.fit_map(self._raw.to_train_ids(raw, str(path)))

    def instances(self, frame: Frame) -> np.ndarray | None:
        """labelId * 1000 + number of each thing that is counted, 0 = none; None without the file. (H, W) uint16"""
        path = self._files[frame.id].instances
        if path is None or not is_there(path):
            return None
        ids = self.read_partner(frame, path, bits=16)
        return self.fit_map(np.where(ids >= 1000, ids, 0).astype(np.uint16))

    def depth(self, frame: Frame) -> np.ndarray | None:
        """From disparity, stored as 256 d + 1, and the baseline; None without the file."""
        path = self._files[frame.id].depth / f"{frame.id}_disparity.png"
        if not is_there(path):
            return None
        code = self.fit_map(self.read_partner(frame, path, bits=16)).astype(np.float32)
        matrix, baseline = self._cameras[frame.clip]
        # the disparity is in pixels of the stored width, the focal length in pixels of ours
        _, columns = self.window(self._shape)
        focal = matrix[0, 0] * (columns.stop - columns.start) / self.size[1]
        with np.errstate(divide="ignore"):
            return np.where(code > 1, baseline * focal * 256 / (code - 1), 0).astype(np.float32)


def _find_images(folder: Path) -> dict[str, Path]:
    """Frame id -> file, of all cities; nothing where the folder is missing.

    Raises:
        ValueError: a folder cannot be read, or two files are one frame.
    """
    found: dict[str, Path] = {}
    for city in list_folders(folder) if is_there(folder, folder=True) else []:
        for path in list_images(city):
            stem, kind, _ = path.stem.rpartition("_leftImg8bit")
            if kind and found.setdefault(stem, path) != path:
                raise ValueError(f"{path} and {found[stem]} are one frame: remove one of them")
    return found


def _parse(path: Path) -> tuple[str, int]:
    """City and sequence, e.g. "aachen_000000", and frame number."""
    match = NAME.match(path.name)
    if not match:
        raise ValueError(f"{path} is not named CITY_SEQUENCE_FRAME_leftImg8bit: rename or remove it. {HELP}")
    return match[1], int(match[2])


def _read_camera(path: Path) -> tuple[tuple[float, ...], float]:
    """fx, fy, cx, cy in pixels of 2048 x 1024, and the baseline in metres."""
    text = read_text(path)
    try:
        content = json.loads(text)
        values = [float(content["intrinsic"][key]) for key in ("fx", "fy", "u0", "v0")]
        values.append(float(content["extrinsic"]["baseline"]))
    except (ValueError, KeyError, TypeError):
        values = [0.0]
    if not (np.isfinite(values).all() and min(values) > 0):
        raise ValueError(f"{path} is no camera file of Cityscapes, or cut short: download it again. {HELP}")
    return tuple(values[:4]), values[4]
