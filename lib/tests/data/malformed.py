"""What can be wrong with a download: over a hundred ways to spoil one file of a layout that is as it should be."""

import re
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from .fixtures import write_camvid, write_image, write_kitti_odometry, write_kitti_raw
from .layouts import (
    shoot,
    write_cityscapes,
    write_coco_stuff,
    write_gta5,
    write_images,
    write_kitti_2015,
    write_scannet,
    write_voc,
)

Spoil = Callable[[Path], Any]


def write_video(root: Path) -> None:
    for t in range(4):
        write_image(root / "video" / "clip" / f"{t}.png", shoot(0, t).image)


def write_two_cities(root: Path) -> None:
    write_cityscapes(root, {"train": {"aachen": 1}, "val": {"munster": 1}}, around=1)


LAYOUTS: dict[str, tuple[Callable[[Path], Any], str]] = {  # data set -> writer, and the folder that cases are below
    "camvid": (partial(write_camvid, singles=2), "camvid"),
    "kitti_raw": (partial(write_kitti_raw, numbers=(0, 1)), "kitti_raw/2011_09_26"),
    "kitti_odometry": (write_kitti_odometry, "kitti_odometry"),
    "kitti_2015": (partial(write_kitti_2015, images=3), "kitti_2015/training"),
    "cityscapes": (write_two_cities, "cityscapes"),
    "gta5": (partial(write_gta5, images=5, split=True), "gta5"),
    "voc": (partial(write_voc, train=2, val=1, augmented=1), "VOCdevkit/VOC2012"),
    "coco_stuff": (partial(write_coco_stuff, train=3, val=2, curated=True), "cocostuff"),
    "scannet": (partial(write_scannet, scenes=1, frames=2), "scannet/scannet_frames_25k/scene0000_00"),
    "images": (partial(write_images, folders={"a": 2, "b": 2}), "images"),
    "video": (write_video, "video"),
}
SETTINGS = {"images": {"path": "images", "maps": "maps"}, "video": {"path": "video/clip"}}  # relative to the root


def nothing(path: Path) -> None:
    """It is the parameter that is wrong."""


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def damage(path: Path) -> None:
    """Other bytes near the end: the pixels of a PNG no longer add up."""
    content = path.read_bytes()
    path.write_bytes(content[:-60] + bytes(20) + content[-40:])


def fill(content: bytes | str) -> Spoil:
    return lambda path: path.write_bytes(content.encode() if isinstance(content, str) else content)


def draw(value: int, *shape: int) -> Spoil:
    """An image of one value in its place."""
    return lambda path: write_image(path, np.full(shape or (48, 96), value, np.uint8))


def draw_all(path: Path) -> None:
    for file in path.iterdir():
        draw(7, 48, 48)(file)


def change(function: Callable[[np.ndarray], np.ndarray]) -> Spoil:
    return lambda path: write_image(path, function(cv2.imread(str(path), cv2.IMREAD_UNCHANGED)))


def swap(old: str, new: str) -> Spoil:
    def spoil(path: Path) -> None:
        assert re.search(old, path.read_text(), re.S)
        path.write_text(re.sub(old, new, path.read_text(), count=1, flags=re.S))

    return spoil


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def as_folder(path: Path) -> None:
    remove(path)
    path.mkdir()


def as_file(path: Path) -> None:
    remove(path)
    path.touch()


def as_loop(path: Path) -> None:
    remove(path)
    path.symlink_to(path)


def copy(other: str) -> Spoil:
    return lambda path: shutil.copy(path.parent / other, path)


def remove_all(folder: str, pattern: str = "*", but: int = 0) -> Spoil:
    """What lies in a folder, as seen from the path."""
    return lambda path: [remove(p) for p in sorted((path / folder).glob(pattern))[but:]]


def rename_all(folder: str) -> Spoil:
    return lambda path: [p.rename(p.with_name(f"9{p.name}")) for p in list((path.parent / folder).iterdir())]


WIDER = change(lambda m: m.astype(np.uint16) + 300)
EIGHT = change(lambda m: (m // 256).astype(np.uint8))
HALF = change(lambda m: m[::2, ::2])
NARROW = change(lambda m: m[:, ::2])
COLOUR = change(lambda m: cv2.merge([m.astype(np.uint8)] * 3))
IMAGE = "leftImg8bit/val/munster/munster_000000_000019_leftImg8bit.png"
DISPARITY = "disparity/val/munster/munster_000000_000019_disparity.png"
LABELS = "gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png"
INSTANCES = "gtFine/train/aachen/aachen_000000_000019_gtFine_instanceIds.png"
CAMERA = "camera/train/aachen/aachen_000000_000019_camera.json"
DRIVE, CALIBRATION = "2011_09_26_drive_0009_sync", "calib_cam_to_cam/000001.txt"
SCAN, OXTS, STAMPS = (f"{DRIVE}/{n}" for n in ("velodyne_points/data/0000000001.bin", "oxts/data/0000000001.txt",
                                               "image_02/timestamps.txt"))  # fmt: skip
LISTS, PHOTO = "ImageSets/Segmentation", "val2017/000000000426"
CITYSCAPES = [  # title, file, what is done to it, what the message must say
    ("an image is cut short", IMAGE, cut, "is cut short"),
    ("an image is empty", IMAGE, fill(""), "is empty|not a readable image"),
    ("an image is text", IMAGE, fill("not found"), "is not a readable image"),
    ("an image has 16 bits", IMAGE, WIDER, "has 16 bits a channel, an image needs 8"),
    ("an image is damaged inside", IMAGE, damage, "is not a readable image"),
    ("an image has no label", LABELS, remove, "has no partner"),
    ("labels are cut short", LABELS, cut, "is cut short"),
    ("labels are smaller", LABELS, HALF, "is 24 x 48, but its image 48 x 96"),
    ("labels are a colour picture", LABELS, COLOUR, "has 3 channels; a map needs one"),
    ("labels have 16 bits", LABELS, WIDER, "holds uint16 values, expected uint8"),
    ("labels are out of range", LABELS, change(lambda m: m + 30), "are no Cityscapes labelIds"),
    ("labels are a folder", LABELS, as_folder, "has no partner"),
    ("labels are a link to themselves", LABELS, as_loop, "has no partner"),
    ("instances have 8 bits", INSTANCES, EIGHT, "holds uint8 values, expected uint16"),
    ("instances are smaller", INSTANCES, HALF, "is 24 x 48, but its image 48 x 96"),
    ("instances link nowhere", INSTANCES, as_loop, "link that leads nowhere"),
    ("a disparity has 8 bits", DISPARITY, EIGHT, "holds uint8 values, expected uint16"),
    ("a disparity is cut short", DISPARITY, cut, "is cut short"),
    ("a camera file is cut short", CAMERA, cut, "is no camera file"),
    ("a camera file is another", CAMERA, fill("[]"), "is no camera file"),
    ("a camera file is no text", CAMERA, fill(b"\xff\xfe\x00"), "is no text file"),
    ("a focal length is NaN", CAMERA, swap('"fx": [^,]*', '"fx": NaN'), "is no camera file"),
    ("a focal length is negative", CAMERA, swap('"fy": ', '"fy": -'), "is no camera file"),
    ("a baseline is zero", CAMERA, swap('line": [^,]*', 'line": 0'), "is no camera file"),
    ("a frame is there twice", IMAGE.replace("png", "jpg"), copy(Path(IMAGE).name), "are one frame"),
    ("an image is misnamed", f"{IMAGE[:24]}new_{IMAGE[-15:]}", copy(Path(IMAGE).name), "is not named CITY_SEQUENCE"),
    ("there are no images", "leftImg8bit", remove_all("..", "leftImg8bit*/*"), "no images in"),
    ("a folder of labels is a file", "gtFine/train", as_file, "is no folder"),
    ("a folder of images is a file", "leftImg8bit/val", as_file, "is no folder"),
    ("a folder links to itself", "leftImg8bit_sequence/train", as_loop, "link that leads nowhere"),
    ("a city links to itself", "leftImg8bit/train/aachen", as_loop, "link that leads nowhere"),
]
KITTI_2015 = [
    ("an image has no label", "semantic/000001_10.png", remove, "has no partner"),
    ("labels are smaller", "semantic/000001_10.png", HALF, "is 24 x 48, but its image 48 x 95"),
    ("labels are instances", "semantic/000001_10.png", copy("../instance/000001_10.png"), "expected uint8"),
    ("instances are labels", "instance/000001_10.png", copy("../semantic/000001_10.png"), "expected uint16"),
    ("a disparity has 8 bits", "disp_occ_0/000001_10.png", EIGHT, "expected uint16"),
    ("a disparity is another's", "disp_occ_0/000001_10.png", copy("000000_10.png"), "is 48 x 96, but its image"),
    ("a calibration is cut short", CALIBRATION, cut, "cut short"),
    ("a calibration is NaN", CALIBRATION, swap("02: [^ ]*", "02: nan"), "has no possible values at 'P_rect_02:'"),
    ("cameras are in one place", CALIBRATION, swap("(?<=02)(.*)(P_rect_03).*", r"\1\2\1"), "puts camera 03 0 m to"),
    ("a focal length is negative", CALIBRATION, swap("P_rect_02: ", "P_rect_02: -"), "has no possible values"),
    ("there are only later frames", "image_2", remove_all(".", "*_10.png"), "no images in"),
]
GTA5 = [
    ("all labels differ in size", "labels", draw_all, "differ in size"),
    ("labels are out of range", "labels/00002.png", draw(35), "are no labelIds of GTA5"),
    ("a palette is cut short", "labels/00002.png", cut, "is cut short|damaged"),
    ("a palette is damaged inside", "labels/00002.png", damage, "is not a readable image"),
    ("an image has no label", "labels/00002.png", remove, "has no partner"),
    ("the lists are text", "split.mat", fill("train: 1"), "is not GTA5's split file"),
    ("the lists are cut short", "split.mat", cut, "is not GTA5's split file"),
    ("the lists name other images", "split.mat", rename_all("images"), "none of the images beside it"),
]
VOC = [
    ("a listed image is missing", "JPEGImages/2007_000032.jpg", remove, "has no partner"),
    ("a label is missing", "SegmentationClassAug/2007_000033.png", remove, "has no partner"),
    ("a list is missing", f"{LISTS}/val.txt", remove, "has no partner"),
    ("a list is empty", f"{LISTS}/val.txt", fill("\n\n"), "is empty"),
    ("a list names an image twice", f"{LISTS}/val.txt", swap("(.*)", r"\1\1"), "twice"),
    ("a list is no text", f"{LISTS}/val.txt", fill(b"\x1f\x8b\x08\xff"), "is no text file"),
    ("labels are colours", "SegmentationClass/2007_000034.png", draw(0, 48, 96, 3), "has 3 channels"),
    ("labels are another set's", "SegmentationClassAug/2007_000033.png", draw(26), r"\[26\] are no train ids"),
]
COCO_STUFF = [
    ("an annotation is missing", f"annotations/{PHOTO}.png", remove, "has no partner"),
    ("an annotation counts from 1", f"annotations/{PHOTO}.png", draw(182), "are no COCO-Stuff ids"),
    ("an annotation has 16 bits", f"annotations/{PHOTO}.png", WIDER, "expected uint8"),
    ("a photograph is cut short", f"images/{PHOTO}.jpg", cut, "is cut short"),
    ("a split is missing", "images/val2017", remove, "has no partner"),
    ("a split is empty", "images/train2017", remove_all("../..", "*/train2017/*"), "no images in"),
    ("a list names another", "curated/val2017/Coco164kFull_Stuff_Coarse_7.txt", fill("000000000001"), "has no partner"),
]
SCANNET = [
    ("an image is not named by a number", "color/first.jpg", copy("000000.jpg"), "is not named by a frame number"),
    ("a number is there twice", "color/000000.png", copy("000000.jpg"), "have one id"),
    ("intrinsics are 3 x 3", "intrinsics_color.txt", fill("50 0 30\n0 50 20\n0 0 1\n"), "holds no"),
    ("intrinsics are NaN", "intrinsics_color.txt", swap("^[^ ]*", "nan"), "holds no rows of 4 numbers"),
    ("a focal length is zero", "intrinsics_color.txt", swap("^[^ ]*", "0"), "holds no intrinsics"),
    ("a depth is missing", "depth/000100.png", remove, "has no partner"),
    ("a depth has 8 bits", "depth/000100.png", EIGHT, "expected uint16"),
    ("a depth has another shape", "depth/000100.png", NARROW, "is 24 x 24, but its image 48 x 96"),
    ("a pose is cut short", "pose/000000.txt", cut, "holds no"),
    ("a pose is no rotation", "pose/000000.txt", fill("0 0 0 0\n" * 4), "no rotation"),
    ("labels are raw ids", "label/000100.png", change(lambda m: m.astype(np.uint16) + 1000), "are no NYU40 ids"),
    ("there is no folder of images", "color", remove, "no folder"),
    ("a folder of images is empty", "color", remove_all("."), "no images in"),
]
IMAGES = [
    ("there is no such folder", ".", remove, "no folder"),
    ("the folder is a file", ".", as_file, "is no folder"),
    ("the folder is empty", ".", remove_all("."), "no images in"),
    ("the folder links to itself", ".", as_loop, "link that leads nowhere"),
    ("two images have one name", "a/frame1.jpg", copy("frame1.png"), "have one id"),
    ("an image is text", "a/frame1.png", fill("<html>"), "is not a readable image"),
    ("a map is missing", "../maps/b/frame2.png", remove, "has no map of 1 of 4 frames"),
    ("a map has 8 bits", "../maps/b/frame2.png", EIGHT, "expected uint16"),
    ("a map has another shape", "../maps/b/frame2.png", NARROW, "is 48 x 48, but its image 48 x 96"),
    ("maps are a file", "../maps", as_file, "is no folder"),
    ("maps are not there", "../maps", remove, "no folder"),
]
CAMVID = [
    ("labels have 16 bits", "valannot/0016E5_07961.png", WIDER, "expected uint8"),
    ("labels are raw labelIds", "valannot/0016E5_07961.png", change(lambda m: m + 20), "look like raw labelIds"),
    ("labels are smaller", "valannot/0016E5_07961.png", HALF, "but its image"),
    ("a label is missing", "valannot/0016E5_07961.png", remove, "has no label"),
    ("a frame is in two folders", "train/0016E5_07961.png", copy("../val/0016E5_07961.png"), "has no label|one frame"),
    ("an image is cut short", "val/0016E5_07961.png", cut, "is cut short"),
    ("there are no images", "val", remove_all("."), "no images"),
    ("a folder is a file", "train", as_file, "is no folder"),
]
KITTI_RAW = [
    ("there is no calibration", "calib_cam_to_cam.txt", remove, "missing calibration"),
    ("a calibration is cut short", "calib_cam_to_cam.txt", swap("(?<=P_rect_02:.{60}).*", ""), "cut short"),
    ("a calibration is NaN", "calib_velo_to_cam.txt", swap("T: [^ ]*", "T: nan"), "has no possible values"),
    ("a calibration is text", "calib_velo_to_cam.txt", swap("T: [^ ]*", "T: left"), "not numbers"),
    ("a calibration is no text", "calib_cam_to_cam.txt", fill(b"\x89PNG\xff"), "is no text file"),
    ("a rotation is zero", "calib_imu_to_velo.txt", swap("R: [^\n]*", "R:" + " 0" * 9), "has no possible values"),
    ("times are text", STAMPS, fill("now\nthen\n"), "holds no time in every line"),
    ("times are too few", STAMPS, swap("\n.*", "\n"), "has 1 times for a frame 1"),
    ("a scan is cut short", SCAN, fill(b"1234567"), "is cut short"),
    ("a scan is NaN", SCAN, fill(np.full(8, np.nan, np.float32).tobytes()), "holds no points"),
    ("a pose is cut short", OXTS, cut, "holds no rows of 30 numbers"),
    ("a pose is text", OXTS, fill("here"), "holds no rows of 30 numbers"),
    ("an image is damaged", f"{DRIVE}/image_02/data/0000000000.png", damage, "is not a readable image"),
    ("an image is smaller", f"{DRIVE}/image_02/data/0000000001.png", HALF, "is 24 x 48, others of its drive 48 x 96"),
    ("a number is there twice", f"{DRIVE}/image_02/data/1.png", copy("0000000001.png"), "are one frame"),
    ("a folder of images is a file", f"{DRIVE}/image_02/data", as_file, "is no folder"),
]
KITTI_ODOMETRY = [
    ("a calibration is infinite", "sequences/00/calib.txt", swap("P2: [^ ]*", "P2: inf"), "has no possible values"),
    ("a mount is missing", "sequences/00/calib.txt", swap("Tr: [^\n]*", ""), "has no line 'Tr:'"),
    ("times are text", "sequences/04/times.txt", fill("a b c"), "holds no time in every line"),
    ("poses are too few", "poses/00.txt", swap("\n.*", "\n"), "has 1 poses for a frame 3"),
    ("poses are cut short", "poses/00.txt", swap(" [^ ]*$", "\n"), "holds no rows of 12 numbers"),
    ("a pose is no rotation", "poses/00.txt", fill((" 0" * 12 + "\n") * 4), "no rotation"),
    ("there are no images", ".", remove_all("sequences"), "no images"),
]
VIDEO = [
    ("a video is empty", "drive.mp4", Path.touch, "is empty"),
    ("a video is text", "drive.mp4", fill("<html>"), "is not a video"),
    ("there is no such video", "none.mp4", nothing, "no video file or folder"),
    ("a folder has no images", "clip", remove_all("."), "no images"),
    ("a folder has too few images", "clip", remove_all(".", but=2), "too short"),
    ("frames differ in size", "clip", lambda path: HALF(path / "2.png"), "frames of different sizes"),
    ("the path is a picture", "clip/0.png", nothing, "is a single picture"),
    ("the path links to itself", "clip", as_loop, "leads in a circle"),
]
CASES = {
    "camvid": CAMVID,
    "kitti_raw": KITTI_RAW,
    "kitti_odometry": KITTI_ODOMETRY,
    "kitti_2015": KITTI_2015,
    "cityscapes": CITYSCAPES,
    "gta5": GTA5,
    "voc": VOC,
    "coco_stuff": COCO_STUFF,
    "scannet": SCANNET,
    "images": IMAGES,
    "video": VIDEO,
}
