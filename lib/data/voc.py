"""Pascal VOC 2012, with the larger training list that the Semantic Boundaries annotations allow.

Below `VOCdevkit/VOC2012/`: JPEGImages, SegmentationClass (palette images), ImageSets/Segmentation/train.txt and
val.txt. If SegmentationClassAug and a list train_aug.txt (or trainaug.txt) are there, they take the place of train
(10,582 images in place of 1,464). 21 classes with the background; 255, the outlines, is ignored. Photographs, no video.
"""

from pathlib import Path
from typing import Any

import numpy as np

from . import Frame, find_root
from .files import is_there
from .labels import VOC_21
from .layout import Files, FolderDataset, need_file, need_files, read_list

HELP = "Get VOCtrainval_11-May-2012.tar from host.robots.ox.ac.uk/pascal/VOC/voc2012"
AUGMENTED = ("train_aug.txt", "trainaug.txt")


class VOC(FolderDataset):
    """The reader; see `FolderDataset` for what it raises."""

    name, classes, help = "voc", VOC_21, HELP

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        root = find_root(params.data_root, "VOCdevkit/VOC2012", HELP)
        lists = root / "ImageSets" / "Segmentation"
        more = next((lists / name for name in AUGMENTED if is_there(lists / name)), None)
        augmented = more is not None and is_there(root / "SegmentationClassAug", folder=True)
        held = set(read_list(need_file(lists / "val.txt", root, HELP)))
        train = read_list(more if augmented else need_file(lists / "train.txt", root, HELP))
        # lists with paths name images and labels: the stem of the first is the image's name
        names = {Path(n).stem: "train" for n in train} | {Path(n).stem: "val" for n in held}
        for stem, split in sorted(names.items()):
            image = need_file(root / "JPEGImages" / f"{stem}.jpg", lists, HELP)
            folder = "SegmentationClassAug" if augmented and split == "train" else "SegmentationClass"
            labels = need_file(root / folder / f"{stem}.png", image, HELP)
            self.add(Frame(stem, stem, split, labelled=True), Files(image, labels))
        need_files(self._frames, lists, HELP)

    def labels(self, frame: Frame) -> np.ndarray:
        path = self._files[frame.id].labels
        return self.check_labels(self.read_partner(frame, path, bits=8), path)
