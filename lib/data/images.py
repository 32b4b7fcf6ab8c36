"""Any folder of images, with subfolders: photographs, boreholes, frames that somebody extracted.

`params.path` is the folder. Images of one folder, in natural order (2 before 10), are one clip: if they are video, they
should be equally spaced in time; if not, learn depth from other `clips`, or give `maps`. A subfolder called train, val
or test names the split of what is below it; else every tenth clip is "val", or of fewer than ten clips the last tenth
of each. There are no labels and no calibration: intrinsics follow from `params.field_of_view`, of each image's own
shape; where that is 0, of the first image in its folder, so that not every file is opened. With `params.maps`, a folder
of the same structure holds a 16-bit map for every image (depth, disparity, a borehole's transit time; see
`joined.WithMaps`).
"""

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from . import Frame, read_size
from .files import ENDINGS, is_there, natural_key
from .layout import Files, FolderDataset, need_files

RATE = 30.0  # frames a second, assumed
HELP = "`path` must name a folder with png, jpg, bmp, tif or webp images"
SPLITS = ("train", "val", "test")
EVERY = 10


class ImageFolder(FolderDataset):
    """The reader; see `FolderDataset` for what it raises."""

    name, help = "images", HELP

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        root = Path(params.path).expanduser()
        folders = _group_images(root)
        splits = _split(root, folders)
        for folder, paths in folders.items():
            whole = folder.relative_to(root).as_posix() if folder != root else root.resolve().name or self.name
            whole = _find_free(whole, folders.keys() - {folder}, root)
            first_held = len(paths) - (0 if splits[folder] else len(paths) // EVERY)
            for index, path in enumerate(paths):
                clip, split, first = whole, splits[folder] or "train", 0
                if index >= first_held:
                    clip, split, first = _find_free(f"{whole}_val", folders, root), "val", first_held
                stem = path.relative_to(root).with_suffix("").as_posix()
                if params.field_of_view or not index:
                    matrix = self.assume_intrinsics(params.field_of_view, read_size(path))
                self.add(Frame(stem, clip, split, (index - first) / RATE, matrix, calibrated=False), Files(path))


def _find_free(name: str, folders: Collection[Path], root: Path) -> str:
    """`name`, or with as many "_" as it takes not to be that of one of the folders below `root`."""
    while root / name in folders:
        name += "_"
    return name


def _group_images(root: Path) -> dict[Path, list[Path]]:
    """Images by folder; links are not followed, so that they cannot lead in a circle.

    Raises:
        FileNotFoundError: no such folder, or no image below it.
        ValueError: a folder cannot be read.
    """
    if not is_there(root, folder=True):
        raise FileNotFoundError(f"no folder {root}. {HELP}")

    def stop(error: OSError) -> None:
        raise ValueError(f"cannot read the folder {error.filename}: {error.strerror}; mend or replace it") from None

    found = {}
    for folder, below, names in os.walk(root, onerror=stop):
        below[:] = sorted(name for name in below if not name.startswith("."))
        paths = [Path(folder, n) for n in names if n.lower().endswith(ENDINGS) and not n.startswith(".")]
        if paths:
            found[Path(folder)] = sorted(paths, key=natural_key)
    need_files(list(found), root, HELP)
    return dict(sorted(found.items(), key=lambda item: natural_key(item[0])))


def _split(root: Path, folders: dict[Path, list[Path]]) -> dict[Path, str]:
    """The split of each folder; empty = the last tenth of its images is val."""
    named = {f: next((part for part in f.relative_to(root).parts if part in SPLITS), "") for f in folders}
    if any(named.values()):
        return {f: split or "train" for f, split in named.items()}
    if len(folders) < EVERY:
        return named
    return {f: "val" if i % EVERY == EVERY - 1 else "train" for i, f in enumerate(folders)}
