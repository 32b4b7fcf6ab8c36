"""COCO-Stuff 164k, its 182 classes grouped into 27 (PiCIE's table).

Below `cocostuff/`, as PiCIE and STEGO arrange it: images/train2017/*.jpg, annotations/train2017/*.png (the pixel maps
of stuffthingmaps_trainval2017, ids 0 to 181 and 255), the same for val2017, and, if wanted, the curated lists
curated/train2017/Coco164kFull_Stuff_Coarse_7.txt and curated/val2017/..., which then replace the whole folders.
train2017 is "train", val2017 "val". Photographs, no video.
"""

from pathlib import Path
from typing import Any

import numpy as np

from . import Frame, find_root, list_images
from .files import is_there
from .labels import COCO_27, COCO_STUFF_IDS
from .layout import Files, FolderDataset, need_file, need_files, read_list

HELP = "Get train2017.zip, val2017.zip and stuffthingmaps_trainval2017.zip from github.com/nightrome/cocostuff"
CURATED = "Coco164kFull_Stuff_Coarse_7.txt"


class CocoStuff(FolderDataset):
    """The reader; see `FolderDataset` for what it raises."""

    name, classes, help = "coco_stuff", COCO_27, HELP

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        root = find_root(params.data_root, "cocostuff", HELP)
        for split in ("train", "val"):
            folder = root / "images" / f"{split}2017"
            for image in self._list(root / "curated" / f"{split}2017" / CURATED, folder):
                labels = need_file(root / "annotations" / folder.name / f"{image.stem}.png", image, HELP)
                self.add(Frame(f"{split}/{image.stem}", image.stem, split, labelled=True), Files(image, labels))

    @staticmethod
    def _list(curated: Path, folder: Path) -> list[Path]:
        if is_there(curated):
            return [need_file(folder / f"{Path(name).stem}.jpg", curated, HELP) for name in sorted(read_list(curated))]
        return list(need_files(list_images(folder, HELP), folder, HELP))

    def labels(self, frame: Frame) -> np.ndarray:
        path = self._files[frame.id].labels
        return self.fit_map(COCO_STUFF_IDS.to_train_ids(self.read_partner(frame, path, bits=8), str(path)))
