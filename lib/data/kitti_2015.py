"""KITTI's 200 benchmark images of 2015: semantic and instance labels, stereo disparity, calibration.

Below `kitti_2015/training/`, where data_semantics, data_scene_flow and its calibration unpack: image_2/000000_10.png,
image_3 (the right camera), semantic (Cityscapes' labelIds), instance (labelId * 256 + number), disp_occ_0 (256 d),
calib_cam_to_cam/000000.txt.
Anything but the images may be missing (without calibration, `params.field_of_view` is assumed); frames NN_11.png, the
later ones of the flow benchmark, are not read.

`params.fold` 0..4 names the fifth that is "test": 40 images, drawn once for all with a fixed seed (the papers give no
folds); the rest is "train". Fold 5: all 200 are "test", as CPCDR scores without labels. Images differ by a few pixels
in size. Some of them also occur in KITTI's raw drives: a network that learned from all raw drives may have seen them.
"""

from pathlib import Path
from typing import Any

import numpy as np

from . import Frame, find_root, list_images, read_image, read_size, resize_image
from .files import is_there
from .kitti import read_baseline, read_calibration
from .labels import CITYSCAPES_LABELS
from .layout import Files, FolderDataset, check_partner, need_file, need_files

HELP = "Get data_semantics.zip, and data_scene_flow.zip with its calibration for depth, from cvlibs.net/datasets/kitti"
FOLDS, FOLD_SEED = 5, 2015
SCALE = 256.0  # of disparity
BAND = 256  # of instance ids


class Kitti2015(FolderDataset):
    """The reader; see `FolderDataset` for what it raises."""

    name, help = "kitti_2015", HELP

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        self.classes, self._raw = CITYSCAPES_LABELS[params.label_set or "19"]
        root = find_root(params.data_root, self.name, HELP) / "training"
        images = [p for p in list_images(root / "image_2", HELP) if p.stem.endswith("_10")]
        need_files(images, root / "image_2", HELP)
        folds = np.random.default_rng(FOLD_SEED).permutation(np.arange(len(images)) % FOLDS)
        labelled = is_there(root / "semantic", folder=True)
        for path, fold in zip(images, folds):
            split = "test" if params.fold in (fold, FOLDS) else "train"
            semantic = need_file(root / "semantic" / f"{path.stem}.png", path, HELP) if labelled else None
            files = Files(path, semantic, root / "instance" / f"{path.stem}.png", root / "disp_occ_0")
            calibration, shape = self._calibration(path), read_size(path)
            if calibration is None:
                matrix = self.assume_intrinsics(params.field_of_view, shape)
            else:
                matrix = self.fit_intrinsics(calibration[0], shape)
            known = calibration is not None
            self.add(Frame(path.stem, path.stem, split, 0.0, matrix, labelled=labelled, calibrated=known), files)

    def block(self, frame: Frame) -> str:
        """Ten images in a row: they are in the order of the drives, some seven of each, which the files do not name."""
        return f"{int(frame.id.split('_')[0]) // 10:02d}"

    def _calibration(self, image: Path) -> tuple[np.ndarray, float] | None:
        """Intrinsics of the stored image and baseline in metres; None without the file."""
        path = image.parent.parent / "calib_cam_to_cam" / f"{image.stem.split('_')[0]}.txt"
        if not is_there(path):
            return None
        (left,) = read_calibration(path, HELP, "P_rect_02")
        return left[:, :3], read_baseline(path, "P_rect_02", "P_rect_03", HELP)

    def right_image(self, frame: Frame) -> np.ndarray | None:
        left = self._files[frame.id].image
        folder = left.parent.parent / "image_3"
        if not is_there(folder, folder=True):
            return None
        path = need_file(folder / left.name, left, HELP)
        image = read_image(path)
        check_partner(path, image.shape[:2], read_size(left), same_size=True, help_text=HELP)
        return resize_image(image[self.window(image.shape[:2])], self.size)

    def baseline(self, frame: Frame) -> float | None:
        image = self._files[frame.id].image
        calibration = self._calibration(image)
        has_right = is_there(image.parent.parent / "image_3", folder=True)
        return calibration[1] if calibration and has_right else None

    def labels(self, frame: Frame) -> np.ndarray | None:
        path = self._files[frame.id].labels
        if path is None:
            return None
        return self.fit_map(self._raw.to_train_ids(self.read_partner(frame, path, bits=8), str(path)))

    def instances(self, frame: Frame) -> np.ndarray | None:
        """labelId * 256 + number of each thing that is counted, 0 = none; None without the file. (H, W) uint16"""
        path = self._files[frame.id].instances
        if not is_there(path):
            return None
        ids = self.read_partner(frame, path, bits=16)
        return self.fit_map(np.where(ids % BAND > 0, ids, 0).astype(np.uint16))

    def depth(self, frame: Frame) -> np.ndarray | None:
        """From disparity, where the laser measured one; None without the disparity or the calibration."""
        files = self._files[frame.id]
        path, calibration = files.depth / files.image.name, self._calibration(files.image)
        if calibration is None or not is_there(path):
            return None
        disparity = self.fit_map(self.read_partner(frame, path, bits=16)).astype(np.float32) / SCALE
        matrix, baseline = calibration
        return np.where(disparity > 0, baseline * matrix[0, 0] / np.maximum(disparity, 1e-6), 0).astype(np.float32)
