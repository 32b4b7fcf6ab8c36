"""ScanNet: indoor video with a depth sensor, 20 classes.

Either `scannet/scannet_frames_25k/SCENE/{color,depth,pose,label,instance}/000000.*` with intrinsics_color.txt (one
frame in a hundred, labels as NYU40 ids), or `scannet/scans/SCENE/{color,depth,pose}/0.*` with intrinsic/*.txt as the
SensReader exports them (every frame, no labels here). Depth is 16 bits of millimetres, 0 where the sensor saw nothing:
it has holes. It is coarser than the image and covers the same view. The official lists scannetv2_val.txt and
scannetv2_test.txt beside the scenes' folder make the splits; without them every tenth scene is "val". Of a scene
without its intrinsics `params.field_of_view` is assumed.
"""

from pathlib import Path
from typing import Any

import numpy as np

from . import Frame, find_root, list_images, read_size
from .files import is_there, list_folders, read_table
from .labels import NYU40_IDS, SCANNET_20
from .layout import Files, FolderDataset, invert_pose, need_file, need_files, read_list, split_evenly

HELP = "Ask for ScanNet at scan-net.org; scannet_frames_25k.zip is enough"
LAYOUTS = (("scannet_frames_25k", "intrinsics_color.txt"), ("scans", "intrinsic/intrinsic_color.txt"))
MILLIMETRES = 1000.0
RATE = 30.0  # frames a second of the exported video
SKIP = {"scannet_frames_25k": 100, "scans": 1}  # numbers between neighbouring frames
EVERY = 10


class ScanNet(FolderDataset):
    """The reader; see `FolderDataset` for what it raises."""

    name, classes, help = "scannet", SCANNET_20, HELP

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        root = find_root(params.data_root, self.name, HELP)
        layout, camera = next(((f, c) for f, c in LAYOUTS if is_there(root / f, folder=True)), LAYOUTS[0])
        scenes = [p for p in list_folders(root / layout, HELP) if p.name.startswith("scene")]
        need_files(scenes, root / layout, HELP)
        split = split_evenly([p.name for p in scenes], EVERY)
        for name in ("val", "test"):
            if is_there(path := root / f"scannetv2_{name}.txt"):
                listed = set(read_list(path))
                split = {s: name if s in listed else "train" if split[s] == name else split[s] for s in split}
        for scene in scenes:
            self._add_scene(scene, split[scene.name], scene / camera, SKIP[layout], params.field_of_view)

    def _add_scene(self, scene: Path, split: str, camera: Path, skip: int, degrees: float) -> None:
        images = sorted(need_files(list_images(scene / "color", HELP), scene / "color", HELP), key=_number)
        shape, calibrated = read_size(images[0]), is_there(camera)
        matrix = self.assume_intrinsics(degrees, shape)
        if calibrated:
            stored = _read_matrix(camera)[:3, :3]
            if min(stored[0, 0], stored[1, 1], stored[2, 2]) <= 0:
                raise ValueError(f"{camera} holds no intrinsics: download it again. {HELP}")
            matrix = self.fit_intrinsics(stored, shape)
        before, start, clip = None, 0, ""
        for path in images:
            number = _number(path)
            if before is None or number - before != skip:
                start, clip = number, f"{scene.name}_{number:06d}"
            before = number
            depth, labels = scene / "depth" / f"{path.stem}.png", scene / "label" / f"{path.stem}.png"
            if is_there(scene / "depth", folder=True):
                need_file(depth, path, HELP)
            if labelled := is_there(labels.parent, folder=True):
                need_file(labels, path, HELP)
            name, time = f"{scene.name}/{number:06d}", (number - start) / RATE
            frame = Frame(name, clip, split, time, matrix, labelled=labelled, calibrated=calibrated)
            self.add(frame, Files(path, labels if labelled else None, None, depth))

    def labels(self, frame: Frame) -> np.ndarray | None:
        path = self._files[frame.id].labels
        if path is None:
            return None
        raw = self.read_partner(frame, path, same_size=False)
        return self.fit_map(NYU40_IDS.to_train_ids(raw, str(path)))

    def depth(self, frame: Frame) -> np.ndarray | None:
        path = self._files[frame.id].depth
        if not is_there(path):
            return None
        return self.fit_map(self.read_partner(frame, path, bits=16, same_size=False)).astype(np.float32) / MILLIMETRES

    def camera_from_world(self, frame: Frame) -> np.ndarray | None:
        image = self._files[frame.id].image
        path = image.parent.parent / "pose" / f"{image.stem}.txt"
        if not is_there(path):
            return None
        world_from_camera = _read_matrix(path, finite=False)
        if not np.isfinite(world_from_camera).all():  # the tracking was lost
            return None
        return invert_pose(world_from_camera, path)


def _number(path: Path) -> int:
    if not path.stem.isdigit():
        raise ValueError(f"{path} is not named by a frame number: remove it. {HELP}")
    return int(path.stem)


def _read_matrix(path: Path, finite: bool = True) -> np.ndarray:
    matrix = read_table(path, 4, finite)
    if len(matrix) != 4:
        raise ValueError(f"{path} holds no 4 x 4 matrix: it is cut short or another file. {HELP}")
    return matrix
