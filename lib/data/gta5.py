"""GTA5 ("Playing for Data"): frames of a game with Cityscapes' labelIds.

Below `gta5/`: images/00001.png, labels/00001.png (palette images), and split.mat if it was fetched. Without it every
tenth image is "val". A few labels of the release differ in size from their image: such pairs are left out, and how
many is said when the data set is opened. Beside labelIds there is 34, the licence plate, which is ignored. The game's
camera is not known: intrinsics follow from `params.field_of_view`.
"""

from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat

from . import Frame, find_root, list_images, read_size
from .files import is_there
from .labels import CITYSCAPES_LABELS, IGNORE, RawIds
from .layout import Files, FolderDataset, need_file, need_files, split_evenly

HELP = "Get images, labels and split.mat from download.visinf.tu-darmstadt.de/data/from_games"
EVERY = 10
LICENCE_PLATE = 34


class GTA5(FolderDataset):
    """The reader; see `FolderDataset` for what it raises. `left_out`: names of images whose labels do not fit."""

    name, help = "gta5", HELP

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        self.classes, raw = CITYSCAPES_LABELS["19"]
        self._raw = RawIds("labelIds of GTA5 (0 to 34)", raw.table | {LICENCE_PLATE: IGNORE})
        root = find_root(params.data_root, self.name, HELP)
        images = need_files(list_images(root / "images", HELP), root / "images", HELP)
        split, lists = split_evenly([p.stem for p in images], EVERY), root / "split.mat"
        if is_there(lists):
            split = _read_split(lists)
        self.left_out: list[str] = []
        for path in images:
            if path.stem in split:
                labels = need_file(root / "labels" / f"{path.stem}.png", path, HELP)
                shape = read_size(path)
                if shape != read_size(labels):
                    self.left_out.append(path.stem)
                    continue
                matrix = self.assume_intrinsics(params.field_of_view, shape)
                frame = Frame(path.stem, path.stem, split[path.stem], 0.0, matrix, labelled=True, calibrated=False)
                self.add(frame, Files(path, labels))
        if self.left_out and not self._frames:
            raise ValueError(
                f"all labels in {root / 'labels'} differ in size from their images: copy both anew. {HELP}"
            )
        if not self._frames:
            raise ValueError(f"{lists} names none of the images beside it: download both again. {HELP}")
        if self.left_out:
            print(
                f"gta5: {len(self.left_out)} labels differ in size from their image and are left out, "
                f"first {self.left_out[0]}"
            )

    def labels(self, frame: Frame) -> np.ndarray:
        path = self._files[frame.id].labels
        return self.fit_map(self._raw.to_train_ids(self.read_partner(frame, path, bits=8), str(path)))


def _read_split(path: Path) -> dict[str, str]:
    """Image name -> split, from the official lists."""
    try:
        found = loadmat(path)
        return {f"{i:05d}": s for s in ("train", "val", "test") for i in found[f"{s}Ids"].ravel()}
    except Exception:  # damaged bytes lead scipy into errors of every kind
        raise ValueError(f"{path} is not GTA5's split file: download it again. {HELP}") from None
