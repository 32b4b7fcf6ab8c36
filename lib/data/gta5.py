"""GTA5 ("Playing for Data"): frames of a game with Cityscapes' labelIds.

Below `gta5/`: images/00001.png, labels/00001.png (palette images), and split.mat if it was fetched. Without it every
tenth image is "val". A few labels of the release differ in size from their image: reading one says so.
"""

from typing import Any

import numpy as np
from scipy.io import loadmat

from . import Frame, find_root, list_images
from .labels import CITYSCAPES_LABELS
from .layout import Files, FolderDataset, need_file, need_files, split_evenly

HELP = "Get images, labels and split.mat from download.visinf.tu-darmstadt.de/data/from_games"
EVERY = 10


class GTA5(FolderDataset):
    """The reader; see `FolderDataset` for what it raises."""

    name, help = "gta5", HELP

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        self.classes, self._raw = CITYSCAPES_LABELS["19"]
        root = find_root(params.data_root, self.name, HELP)
        images = {p.stem: p for p in list_images(root / "images", HELP)}
        need_files(list(images), root / "images", HELP)
        split = split_evenly(images, EVERY)
        if (root / "split.mat").is_file():
            try:
                found = loadmat(root / "split.mat")
                split = {f"{i:05d}": s for s in ("train", "val", "test") for i in found[f"{s}Ids"].ravel()}
            except (ValueError, KeyError, NotImplementedError, OSError):
                raise ValueError(f"{root / 'split.mat'} is not GTA5's split file: download it again. {HELP}") from None
        for stem, path in images.items():
            if stem in split:
                labels = need_file(root / "labels" / f"{stem}.png", path, HELP)
                self.add(Frame(stem, stem, split[stem], labelled=True), Files(path, labels))

    def labels(self, frame: Frame) -> np.ndarray:
        path = self._files[frame.id].labels
        return self.fit_map(self._raw.to_train_ids(self.read_partner(frame, path, bits=8), str(path)))
