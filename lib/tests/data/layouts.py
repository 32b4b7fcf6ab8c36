"""Small copies of the layouts of labelled data sets, drawn by the street generator; CamVid and KITTI: `fixtures`.

Every writer makes PARENT/<the data set's folder> with the official names and returns frame id -> `Shot`, the truth. The
generator's 12 classes are dealt out over Cityscapes' 19, so that every row of every table is used: some cars are buses,
some people ride. The lowest rows are void, some things are a crowd without a number.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

from lib.data.labels import CITYSCAPES_19, VOC_21, ClassSet
from lib.data.street import Clip, make_clip

from .fixtures import SIZE, write_image

FRAMES, SCENES = 5, 4  # of a clip; clips that pictures are taken from in turn
DEALT = {13: (13, 14, 15, 16, 17, 18), 11: (11, 12), 7: (7, 6)}  # train id of the generator -> train ids by instance
THINGS = (11, 12, 13, 14, 15, 16, 17, 18)
CROWD = 7  # every so manyth thing has no number of its own
VOID = 255
LABEL_IDS = {0: 7, 1: 8, 2: 11, 3: 12, 4: 13, 5: 17, 6: 19, 7: 20, 8: 21, 9: 22, 10: 23, 11: 24, 12: 25, 13: 26}
LABEL_IDS |= {14: 27, 15: 28, 16: 31, 17: 32, 18: 33, VOID: 1}  # void is the ego vehicle
VOC_IDS = {i: 0 for i in range(19)} | {11: 15, 12: 15, 13: 7, 15: 6, 16: 19, 17: 14, 18: 2, VOID: VOID}
COCO_IDS = {0: 148, 1: 139, 2: 95, 3: 171, 4: 112, 5: 137, 6: 9, 7: 12, 8: 168, 9: 123, 10: 156, 11: 0, 12: 0, 13: 2}
COCO_IDS |= {14: 7, 15: 5, 16: 6, 17: 3, 18: 1, VOID: VOID}  # as stored: road, pavement, building-other, ...
NYU40 = {0: 2, 1: 20, 2: 1, 3: 8, 4: 9, 5: 39, 6: 11, 7: 16, 8: 3, 9: 40, 10: 22, 11: 5, 12: 6, 13: 4, 14: 7}
NYU40 |= {15: 10, 16: 12, 17: 14, 18: 24, VOID: 0}  # a street furnished as a flat; 20, 40 and 22 are not scored
CITIES = {"train": {"aachen": 2, "bochum": 2}, "val": {"frankfurt": 2, "munster": 1}}  # snippets of each city
ANNOTATED = 19  # number of a snippet's annotated frame
CITYSCAPES_BASELINE, KITTI_BASELINE = 0.209313, 0.53  # metres
FOLDERS = {"a": 12, "b": 5}  # images of each folder
MAP_STEP = 1e-5  # 1/m, of the maps beside a folder of images


@dataclass(frozen=True)
class Shot:
    """One image with everything a reader may give back, at the size it is stored at.

    labels: Cityscapes train ids, 0 to 18 and 255. things: number of each counted thing, 0 = none.
    """

    image: np.ndarray
    labels: np.ndarray
    things: np.ndarray
    depth: np.ndarray
    intrinsics: np.ndarray
    camera_from_world: np.ndarray

    def cut(self, width: int) -> "Shot":
        """The left part of it."""
        maps = (np.ascontiguousarray(a[:, :width]) for a in (self.image, self.labels, self.things, self.depth))
        return Shot(*maps, self.intrinsics, self.camera_from_world)


@cache
def _scene(index: int, frames: int, size: tuple[int, int]) -> Clip:
    return make_clip("train", 3 + index, frames, *size)


@cache
def shoot(scene: int, frame: int, size: tuple[int, int] = SIZE, frames: int = FRAMES) -> Shot:
    """One frame of a generated clip, its things dealt out over the 19 classes."""
    clip = _scene(scene, frames, size)
    street, instances = clip.labels[frame], clip.instances[frame]
    labels = street.copy()
    for train_id, dealt in DEALT.items():
        here = street == train_id
        labels[here] = np.array(dealt, np.uint8)[instances[here] % len(dealt)]
    labels[-max(size[0] // 24, 1) :] = VOID
    counted = np.isin(labels, THINGS) & (instances % CROWD > 0)
    things = np.where(counted, instances, 0).astype(np.uint16)
    return Shot(clip.images[frame], labels, things, clip.depth[frame], clip.intrinsics, clip.camera_from_world[frame])


def pick(number: int, size: tuple[int, int] = SIZE) -> Shot:
    """The shots of all scenes in turn: neighbours show different streets."""
    return shoot(number % SCENES, number // SCENES % FRAMES, size)


def convert(values: np.ndarray, table: Mapping[int, int], kind: type = np.uint8) -> np.ndarray:
    """Every value by its row of the table, which must have one."""
    assert set(np.unique(values).tolist()) <= set(table)
    lookup = np.zeros(max(table) + 1, kind)
    lookup[list(table)] = list(table.values())
    return lookup[values]


def number_things(shot: Shot, band: int, first: int) -> np.ndarray:
    """Instance ids: labelId * band + number within the class, counted from `first`. (H, W) uint16

    What has no number is its bare labelId where numbers begin at 0, else labelId * band.
    """
    label_ids = convert(shot.labels, LABEL_IDS, np.uint16)
    ids = label_ids * band if first else label_ids.copy()
    for label_id in np.unique(label_ids[shot.things > 0]).tolist():
        members = np.unique(shot.things[(label_ids == label_id) & (shot.things > 0)]).tolist()
        for number, thing in enumerate(members, start=first):
            ids[(label_ids == label_id) & (shot.things == thing)] = label_id * band + number
    return ids


def write_palette(path: Path, ids: np.ndarray, classes: ClassSet) -> None:
    """A palette PNG: each pixel is an id, its colour only to look at."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(ids)
    image.putpalette(classes.color_table().ravel().tolist())
    image.save(path)


def write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def write_matrix(path: Path, matrix: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, matrix, fmt="%.9f")


def write_cityscapes(
    root: Path,
    cities: Mapping[str, Mapping[str, int]] = CITIES,
    around: int = 2,
    size: tuple[int, int] = SIZE,
    coarse: bool = False,
) -> dict[str, Shot]:
    """leftImg8bit, leftImg8bit_sequence (train), gtFine, camera and disparity; the shots of all frames.

    Args:
        cities: split -> city -> number of its snippets.
        around: frames before and after each annotated one of train.
        coarse: gtCoarse too, with the split train_extra.
    """
    base, shots = root / "cityscapes", {}
    cities = {**cities, "train_extra": {"augsburg": 1}} if coarse else cities
    snippets = [(s, city, n) for s, found in cities.items() for city, count in found.items() for n in range(count)]
    for scene, (split, city, snippet) in enumerate(snippets):
        reach = around if split == "train" else 0
        for frame in range(2 * reach + 1):
            stem = f"{city}_{snippet:06d}_{ANNOTATED - reach + frame:06d}"
            shots[stem] = shot = shoot(scene, frame, size, max(2 * reach + 1, FRAMES) if reach else 1)
            if split == "train":
                folder = base / "leftImg8bit_sequence" / split / city
                write_image(folder / f"{stem}_leftImg8bit.png", shot.image)
        _write_annotated(base, split, f"{city}_{snippet:06d}_{ANNOTATED:06d}", shots, coarse)
    return shots


def _write_annotated(base: Path, split: str, stem: str, shots: dict[str, Shot], coarse: bool) -> None:
    city, shot = stem.split("_")[0], shots[stem]
    write_image(base / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png", shot.image)
    for ground in ["gtFine"] * (split != "train_extra") + ["gtCoarse"] * coarse:
        folder = base / ground / split / city
        write_image(folder / f"{stem}_{ground}_labelIds.png", convert(shot.labels, LABEL_IDS))
        write_image(folder / f"{stem}_{ground}_instanceIds.png", number_things(shot, 1000, 0))
    height, width = shot.labels.shape
    disparity = np.where(np.isfinite(shot.depth), CITYSCAPES_BASELINE * shot.intrinsics[0, 0] / shot.depth, 0)
    code = (np.rint(256 * disparity) + 1).astype(np.uint16)
    code[:, 0] = 0  # nothing was measured there
    write_image(base / "disparity" / split / city / f"{stem}_disparity.png", code)
    corner = np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])  # sizes scale from the corner, pixels have their centres
    matrix = np.diag([2048 / width, 1024 / height, 1]) @ (shot.intrinsics + corner) - corner
    camera = {"fx": matrix[0, 0], "fy": matrix[1, 1], "u0": matrix[0, 2], "v0": matrix[1, 2]}
    extrinsic = {"baseline": CITYSCAPES_BASELINE, "pitch": 0.038, "roll": 0.0, "x": 1.7, "y": 0.1, "yaw": 0, "z": 1.22}
    path = base / "camera" / split / city / f"{stem}_camera.json"
    write_text(path, json.dumps({"extrinsic": extrinsic, "intrinsic": camera}, indent=4))


def write_kitti_2015(root: Path, images: int = 10, size: tuple[int, int] = SIZE) -> dict[str, Shot]:
    """data_semantics and data_scene_flow with calibration; images differ a little in width, as the real ones."""
    base, shots = root / "kitti_2015" / "training", {}
    for n in range(images):
        stem = f"{n:06d}_10"
        shots[stem] = shot = pick(n, size).cut(size[1] - n % 3)
        write_image(base / "image_2" / f"{stem}.png", shot.image)
        write_image(base / "semantic" / f"{stem}.png", convert(shot.labels, LABEL_IDS))
        write_image(base / "instance" / f"{stem}.png", number_things(shot, 256, 1))
        disparity = KITTI_BASELINE * shot.intrinsics[0, 0] / shot.depth  # 0 in the sky: not measured
        write_image(base / "disp_occ_0" / f"{stem}.png", np.rint(256 * disparity).astype(np.uint16))
        text = "calib_time: 09-Jan-2012 13:57:47\n"
        for camera, shift in (("02", 0.06), ("03", 0.06 - KITTI_BASELINE)):
            projection = shot.intrinsics @ np.c_[np.eye(3), [shift, 0, 0]]
            text += f"P_rect_{camera}: {' '.join(f'{v:.12e}' for v in projection.ravel())}\n"
        write_text(base / "calib_cam_to_cam" / f"{n:06d}.txt", text)
    write_image(base / "image_2" / "000000_11.png", pick(0, size).image)
    return shots


def write_gta5(root: Path, images: int = 10, split: bool = False, size: tuple[int, int] = SIZE) -> dict[str, Shot]:
    """images and labels; with `split` the official lists, of which the last three images are val, test and none."""
    base, shots = root / "gta5", {f"{n:05d}": pick(n, size) for n in range(1, images + 1)}
    for stem, shot in shots.items():
        write_image(base / "images" / f"{stem}.png", shot.image)
        write_palette(base / "labels" / f"{stem}.png", convert(shot.labels, LABEL_IDS), CITYSCAPES_19)
    if split:
        ids = {"train": range(1, images - 2), "val": [images - 2], "test": [images - 1]}
        savemat(base / "split.mat", {f"{name}Ids": np.array(numbers)[:, None] for name, numbers in ids.items()})
    return shots


def write_voc(
    root: Path, train: int = 4, val: int = 3, augmented: int = 0, size: tuple[int, int] = SIZE
) -> dict[str, Shot]:
    """VOC 2012's devkit, photographs as jpg; `augmented` more images have labels in SegmentationClassAug only."""
    base, shots = root / "VOCdevkit" / "VOC2012", {}
    names = [f"2007_{32 + n:06d}" for n in range(train + val)] + [f"2008_{2 + n:06d}" for n in range(augmented)]
    for n, stem in enumerate(names):
        shots[stem] = shot = pick(n, size)
        write_image(base / "JPEGImages" / f"{stem}.jpg", shot.image)
        ids = convert(shot.labels, VOC_IDS)
        if n < train + val:
            write_palette(base / "SegmentationClass" / f"{stem}.png", ids, VOC_21)
        if augmented and not train <= n < train + val:
            write_image(base / "SegmentationClassAug" / f"{stem}.png", ids)  # these come as grey PNGs
    lists = {"train": names[:train], "val": names[train : train + val]}
    for name, listed in lists.items():
        write_text(base / "ImageSets" / "Segmentation" / f"{name}.txt", "".join(f"{stem}\n" for stem in listed))
    if augmented:
        lines = (f"/JPEGImages/{s}.jpg /SegmentationClassAug/{s}.png\n" for s in names if s not in lists["val"])
        write_text(base / "ImageSets" / "Segmentation" / "train_aug.txt", "".join(lines))
    return shots


def write_coco_stuff(
    root: Path, train: int = 12, val: int = 4, curated: bool = False, size: tuple[int, int] = SIZE
) -> dict[str, Shot]:
    """Photographs of two shapes and their pixel maps; with `curated` lists that leave out the last of each split."""
    base, shots = root / "cocostuff", {}
    for n in range(train + val):
        split, stem = "train" if n < train else "val", f"{139 * n + 9:012d}"
        shots[f"{split}/{stem}"] = shot = pick(n, size).cut(size[1] if n % 2 else size[1] * 3 // 4)
        write_image(base / "images" / f"{split}2017" / f"{stem}.jpg", shot.image)
        write_image(base / "annotations" / f"{split}2017" / f"{stem}.png", convert(shot.labels, COCO_IDS))
    if curated:
        for split in ("train", "val"):
            stems = [name.split("/")[1] for name in shots if name.startswith(split)][:-1]
            path = base / "curated" / f"{split}2017" / "Coco164kFull_Stuff_Coarse_7.txt"
            write_text(path, "".join(f"{stem}\n" for stem in stems))
    return shots


def write_scannet(
    root: Path, scenes: int = 2, frames: int = 3, video: bool = False, size: tuple[int, int] = SIZE
) -> dict[str, Shot]:
    """scannet_frames_25k, or with `video` the export of SensReader; depth has half the images' size, and holes.

    The last frame of every scene has no pose: the tracking was lost.
    """
    base, shots = root / "scannet" / ("scans" if video else "scannet_frames_25k"), {}
    for index in range(scenes):
        scene = base / f"scene{index:04d}_00"
        for frame in range(frames):
            number = frame if video else 100 * frame
            stem = str(number) if video else f"{number:06d}"
            shots[f"{scene.name}/{number:06d}"] = shot = shoot(index, frame, size)
            write_image(scene / "color" / f"{stem}.jpg", shot.image)
            millimetres = np.where(np.isfinite(shot.depth) & (shot.depth < 60), np.rint(1000 * shot.depth), 0)
            write_image(scene / "depth" / f"{stem}.png", millimetres[1::2, 1::2].astype(np.uint16))
            pose = np.linalg.inv(shot.camera_from_world) if frame < frames - 1 else np.full((4, 4), -np.inf)
            write_matrix(scene / "pose" / f"{stem}.txt", pose)
            if not video:
                write_image(scene / "label" / f"{stem}.png", convert(shot.labels, NYU40))
        matrix = np.eye(4)
        matrix[:3, :3] = shot.intrinsics
        write_matrix(scene / ("intrinsic/intrinsic_color.txt" if video else "intrinsics_color.txt"), matrix)
    return shots


def write_images(root: Path, folders: Mapping[str, int] = FOLDERS, size: tuple[int, int] = SIZE) -> dict[str, Shot]:
    """images/FOLDER/frame1.png, ... frame12.png and, under the same names below maps/, 16 bits of inverse depth."""
    shots = {}
    for scene, (folder, count) in enumerate(folders.items()):
        for n in range(count):
            name = (Path(folder) / f"frame{n + 1}").as_posix()
            shots[name] = shot = shoot(scene % SCENES, n % FRAMES, size)
            write_image(root / "images" / f"{name}.png", shot.image)
            code = np.maximum(np.rint(1 / (shot.depth * MAP_STEP)), 1).astype(np.uint16)  # the sky is 1
            write_image(root / "maps" / f"{name}.png", code)
    return shots
