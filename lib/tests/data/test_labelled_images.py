"""GTA5, Pascal VOC, COCO-Stuff and ScanNet: labels by independent names, splits, palettes, depth, poses."""

import cv2
import numpy as np
import pytest
from PIL import Image

from lib.data.coco_stuff import CocoStuff
from lib.data.gta5 import GTA5
from lib.data.labels import CITYSCAPES_19, COCO_27, SCANNET_20, VOC_21
from lib.data.scannet import ScanNet
from lib.data.voc import VOC
from lib.intrinsics import intrinsics_from_field_of_view

from .fixtures import SIZE, params, write_image
from .layouts import VOID, shoot, write_coco_stuff, write_gta5, write_scannet, write_voc

VOC_NAMES = {"person": "person", "rider": "person", "car": "car", "bus": "bus", "train": "train"}
VOC_NAMES |= {"motorcycle": "motorbike", "bicycle": "bicycle"}  # all else is background
COCO_NAMES = {
    "road": "ground", "sidewalk": "ground", "building": "building", "wall": "wall", "fence": "structural",
    "pole": "structural", "traffic light": "outdoor", "traffic sign": "outdoor", "vegetation": "plant",
    "terrain": "plant", "sky": "sky", "person": "person", "rider": "person",
}  # fmt: skip
NYU_NAMES = {"road": "floor", "building": "wall", "wall": "door", "car": "bed", "bicycle": "refrigerator"}


def check_names(labels, truth, classes, name_of):
    """Every pixel of a Cityscapes class has the class that its name leads to; void stays void."""
    for train_id, name in enumerate(CITYSCAPES_19.names):
        expected = name_of(name)
        assert (labels[truth == train_id] == (VOID if expected is None else classes.names.index(expected))).all()
    assert (labels[truth == VOID] == VOID).all()


def close(image, truth):
    return np.abs(image.astype(int) - truth).mean() < 8  # jpg of a tiny picture


def test_gta5_has_labelids_behind_its_palette(tmp_path):
    shots = write_gta5(tmp_path)
    data = GTA5(params(tmp_path))
    assert [len(data.frames(split)) for split in ("train", "val", "test")] == [9, 1, 0]
    assert data.frames("val")[0].id == "00010"
    for frame in data.frames():
        np.testing.assert_array_equal(data.image(frame), shots[frame.id].image)
        np.testing.assert_array_equal(data.labels(frame), shots[frame.id].labels)
    assert all(len(clip) == 1 for clip in data.clips())


def test_gta5_follows_the_official_lists_and_ignores_licence_plates(tmp_path):
    shots = write_gta5(tmp_path, images=6, split=True)
    data = GTA5(params(tmp_path))
    found = {split: [f.id for f in data.frames(split)] for split in ("train", "val", "test")}
    assert found == {"train": ["00001", "00002", "00003"], "val": ["00004"], "test": ["00005"]}
    plates = np.full(SIZE, 34, np.uint8)
    write_image(tmp_path / "gta5" / "labels" / "00001.png", plates)
    assert (data.labels(data.frames()[0]) == VOID).all()
    assert (data.labels(data.frames()[1]) == shots["00002"].labels).all()


def test_gta5_leaves_out_pairs_of_two_sizes_and_says_how_many(tmp_path, capsys):
    write_gta5(tmp_path, images=6)
    GTA5(params(tmp_path))
    assert capsys.readouterr().out == ""
    for stem in ("00002", "00005"):
        write_image(tmp_path / "gta5" / "labels" / f"{stem}.png", np.full((48, 48), 7, np.uint8))
    data = GTA5(params(tmp_path))
    assert data.left_out == ["00002", "00005"]
    assert [f.id for f in data.frames()] == ["00001", "00003", "00004", "00006"]
    assert all(data.labels(f).shape == SIZE for f in data.frames())
    (line,) = capsys.readouterr().out.splitlines()
    assert line == "gta5: 2 labels differ in size from their image and are left out, first 00002"


def test_gta5_compares_sizes_without_decoding(tmp_path, monkeypatch):
    write_gta5(tmp_path, images=3)
    monkeypatch.setattr(Image.Image, "load", None)
    monkeypatch.setattr(cv2, "imdecode", None)
    assert len(GTA5(params(tmp_path)).frames()) == 3


def test_voc_reads_ids_and_not_colours(tmp_path):
    shots = write_voc(tmp_path)
    data = VOC(params(tmp_path))
    assert [len(data.frames(split)) for split in ("train", "val")] == [4, 3]
    for frame in data.frames():
        assert close(data.image(frame), shots[frame.id].image)
        check_names(data.labels(frame), shots[frame.id].labels, VOC_21, lambda name: VOC_NAMES.get(name, "background"))


def test_the_augmented_list_takes_the_place_of_train_and_never_of_val(tmp_path):
    shots = write_voc(tmp_path, augmented=3)
    data = VOC(params(tmp_path))
    assert [len(data.frames(split)) for split in ("train", "val")] == [7, 3]
    for frame in data.frames():
        folder = "SegmentationClassAug" if frame.split == "train" else "SegmentationClass"
        assert data._files[frame.id].labels.parent.name == folder
        check_names(data.labels(frame), shots[frame.id].labels, VOC_21, lambda name: VOC_NAMES.get(name, "background"))
    held = {f.id for f in data.frames("val")}
    lists = tmp_path / "VOCdevkit" / "VOC2012" / "ImageSets" / "Segmentation"
    with (lists / "train_aug.txt").open("a") as file:  # some of these lists have images of val
        file.write(f"{min(held)}\n")
    assert {f.id for f in VOC(params(tmp_path)).frames("val")} == held
    (lists / "train_aug.txt").rename(lists / "trainaug.txt")
    assert len(VOC(params(tmp_path)).frames("train")) == 7
    (lists / "trainaug.txt").unlink()
    assert len(VOC(params(tmp_path)).frames("train")) == 4


def test_coco_is_27_groups(tmp_path):
    shots = write_coco_stuff(tmp_path)
    data = CocoStuff(params(tmp_path))
    assert [len(data.frames(split)) for split in ("train", "val")] == [12, 4]
    for frame in data.frames():
        truth = shots[frame.id]
        if truth.labels.shape == SIZE:  # the others are stretched
            assert close(data.image(frame), truth.image)
            check_names(data.labels(frame), truth.labels, COCO_27, lambda name: COCO_NAMES.get(name, "vehicle"))
        assert data.labels(frame).shape == SIZE


def test_coco_photographs_of_every_shape_are_cut_in_the_middle(tmp_path):
    shots = write_coco_stuff(tmp_path)
    data = CocoStuff(params(tmp_path, size=(48, 48), keep_aspect=True))
    for frame in data.frames():
        truth = shots[frame.id]
        left = (truth.labels.shape[1] - 48) // 2
        middle = truth.labels[:, left : left + 48]
        check_names(data.labels(frame), middle, COCO_27, lambda name: COCO_NAMES.get(name, "vehicle"))
        assert close(data.image(frame), truth.image[:, left : left + 48])


def test_cocos_curated_lists_replace_the_folders(tmp_path):
    shots = write_coco_stuff(tmp_path, train=5, val=3, curated=True)
    frames = CocoStuff(params(tmp_path)).frames()
    assert {f.id for f in frames} == set(list(shots)[:4]) | set(list(shots)[5:7])


def test_scannets_sensor_depth_has_holes_and_covers_the_image(tmp_path):
    shots = write_scannet(tmp_path)
    data = ScanNet(params(tmp_path, size=(24, 48)))
    for frame in data.frames():
        truth, depth = shots[frame.id].depth[1::2, 1::2], data.depth(frame)
        known = np.isfinite(truth) & (truth < 60)
        assert (depth[~known] == 0).all()
        np.testing.assert_allclose(depth[known], truth[known], atol=0.0005001)
        np.testing.assert_allclose(np.diag(frame.intrinsics)[:2], np.diag(shots[frame.id].intrinsics)[:2] / 2)


def test_scannets_labels_poses_and_clips(tmp_path):
    shots = write_scannet(tmp_path)
    data = ScanNet(params(tmp_path))
    assert [[f.time for f in clip] for clip in data.clips()] == [[0, pytest.approx(10 / 3), pytest.approx(20 / 3)]] * 2
    for frame in data.frames():
        truth, labels = shots[frame.id], data.labels(frame)
        assert close(data.image(frame), truth.image)
        for name, other in NYU_NAMES.items():
            here = truth.labels == CITYSCAPES_19.names.index(name)
            assert (labels[here] == SCANNET_20.names.index(other)).all()
        for name in ("sidewalk", "terrain", "sky"):  # NYU40 has more classes than the benchmark
            assert (labels[truth.labels == CITYSCAPES_19.names.index(name)] == VOID).all()
        if frame.id.endswith("000200"):
            assert data.camera_from_world(frame) is None  # the tracking was lost
        else:
            np.testing.assert_allclose(data.camera_from_world(frame), truth.camera_from_world, atol=1e-6)


def test_scannets_export_is_video_at_30_hz_without_labels(tmp_path):
    write_scannet(tmp_path, frames=5, video=True)
    color = tmp_path / "scannet" / "scans" / "scene0001_00" / "color"
    (color / "2.jpg").unlink()
    data = ScanNet(params(tmp_path))
    clips = {clip[0].clip: [round(f.time * 30) for f in clip] for clip in data.clips()}
    assert clips == {
        "scene0000_00_000000": [0, 1, 2, 3, 4],
        "scene0001_00_000000": [0, 1],
        "scene0001_00_000003": [0, 1],
    }
    frame = data.frames()[1]
    assert data.labels(frame) is None
    assert not frame.labelled
    assert data.depth(frame).max() > 1
    np.testing.assert_allclose(frame.intrinsics, shoot(0, 0).intrinsics, atol=1e-6)
    assert frame.calibrated
    (tmp_path / "scannet" / "scans" / "scene0000_00" / "intrinsic" / "intrinsic_color.txt").unlink()
    assumed, *_, measured = ScanNet(params(tmp_path)).frames()
    np.testing.assert_allclose(assumed.intrinsics, intrinsics_from_field_of_view(60.0, *SIZE))
    assert (assumed.calibrated, measured.calibrated) == (False, True)


def test_scannets_official_lists_make_the_splits(tmp_path):
    write_scannet(tmp_path, scenes=3, frames=1)
    assert {f.split for f in ScanNet(params(tmp_path)).frames()} == {"train"}
    for name, scene in (("val", 1), ("test", 2)):
        (tmp_path / "scannet" / f"scannetv2_{name}.txt").write_text(f"scene{scene:04d}_00\n")
    found = {f.id[:12]: f.split for f in ScanNet(params(tmp_path)).frames()}
    assert found == {"scene0000_00": "train", "scene0001_00": "val", "scene0002_00": "test"}
