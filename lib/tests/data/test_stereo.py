"""Right images and baselines: geometry of the generated pairs, and each reader's layout, windows, errors."""

import shutil

import cv2
import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from lib.data import open_dataset
from lib.data.cityscapes import Cityscapes
from lib.data.kitti import KittiOdometry, KittiRaw
from lib.data.kitti_2015 import Kitti2015
from lib.data.prepared import Prepared
from lib.data.street import BASELINE, load_clip, load_right_images, make_clip
from lib.data.street.dataset import Street

from .fixtures import SIZE, clip, params, real_params, write_image, write_kitti_odometry, write_kitti_raw
from .layouts import CITYSCAPES_BASELINE, KITTI_BASELINE, write_cityscapes, write_images, write_kitti_2015

RIGHT_SHIFT = np.array([-0.47, 0.003, 0.0027])  # of the invented right camera against the rectified grey one, metres


def mark(number: int) -> np.ndarray:
    """A picture that no other equals."""
    return np.roll(clip().images[number % 6], 7 + number, axis=1)


def line(key: str, matrix: np.ndarray, shift: np.ndarray) -> str:
    values = matrix @ np.c_[np.eye(3), shift]
    return f"{key}: " + " ".join(f"{v:.12e}" for v in values.ravel()) + "\n"


def street_params(**more):
    counts = {"train_clips": 1, "val_clips": 1, "test_clips": 1, "frames_per_clip": 3, "scored_frames_per_clip": 2}
    return params("", "street", camera_height=1.6, camera_swing=0.0, **{**counts, **more})


def warp(right: np.ndarray, depth: np.ndarray, factor: float) -> tuple[np.ndarray, np.ndarray]:
    """The right image looked up where each left pixel lies, and which of these places are inside."""
    rows, columns = np.mgrid[: depth.shape[0], : depth.shape[1]].astype(float)
    places = columns - factor / depth
    looked = [map_coordinates(right[..., c].astype(float), [rows, places], order=1, mode="nearest") for c in range(3)]
    return np.stack(looked, -1), places >= 0


@pytest.mark.parametrize("index", range(3))
def test_the_right_street_image_warped_with_true_depth_is_the_left_one(index):
    left, right = (make_clip("val", index, 1, 96, 192, right=side) for side in (False, True))
    factor, depth = left.intrinsics[0, 0] * BASELINE, left.depth[0].astype(float)
    warped, inside = warp(right.images[0], depth, factor)
    rows, columns = np.mgrid[:96, :192].astype(float)
    there = map_coordinates(1 / right.depth[0].astype(float), [rows, columns - factor / depth], order=1)
    seen = np.where(np.isfinite(depth), depth, 0) * there  # 1 where the right camera sees the same surface
    visible = inside & (abs(seen - 1) < 0.05)
    assert visible.mean() > 0.3
    error, still = (abs(a - left.images[0]).mean(-1)[visible] for a in (warped, right.images[0].astype(float)))
    assert np.median(error) < 3  # noise of two sensors is 1.3 levels on average
    assert np.mean(error < 12) > 0.93
    assert error.mean() < still.mean() / 5


def test_both_street_cameras_look_the_same_way_at_the_same_time():
    left, right = (make_clip("train", 0, 2, *SIZE, right=side) for side in (False, True))
    for a, b in zip(left.camera_from_world, right.camera_from_world):
        np.testing.assert_allclose(b @ np.linalg.inv(a) @ [0, 0, 0, 1], [-BASELINE, 0, 0, 1], atol=1e-9)
        np.testing.assert_allclose(b[:3, :3], a[:3, :3])
    np.testing.assert_array_equal(left.world_from_instance, right.world_from_instance)
    sky = np.isinf(left.depth[0]) & np.isinf(right.depth[0])
    assert (left.images[0][sky] != right.images[0][sky]).any()  # each sensor has noise of its own


def test_right_street_images_are_kept_in_files_of_their_own(tmp_path):
    arguments = ("val", 0, 2, 32, 64)
    load_clip(*arguments, cache=tmp_path)
    (left,) = (p for p in tmp_path.rglob("*") if p.is_file())
    before = left.read_bytes()
    drawn = load_right_images(*arguments, cache=tmp_path)
    (right,) = (p for p in tmp_path.rglob("*") if p.is_file() and p != left)
    np.testing.assert_array_equal(drawn, make_clip(*arguments, right=True).images)
    np.testing.assert_array_equal(drawn, load_right_images(*arguments))
    right.write_bytes(right.read_bytes()[:100])
    np.testing.assert_array_equal(drawn, load_right_images(*arguments, cache=tmp_path))
    assert left.read_bytes() == before


def test_right_images_asked_for_first_do_not_stand_in_for_the_left(tmp_path):
    street, again = (Street(street_params(), cache=tmp_path) for _ in range(2))
    for frame in street.frames("train"):
        right, left = street.right_image(frame), street.image(frame)
        assert right.shape == left.shape
        assert right.dtype == np.uint8
        np.testing.assert_array_equal(right, again.right_image(frame))
        assert (right != left).any()
        assert street.baseline(frame) == BASELINE == 0.54
    assert not list(tmp_path.rglob("*/val/*"))  # only what was asked for


@pytest.fixture
def raw(tmp_path):
    """A raw drive with right images; both cameras have an offset."""
    drive = write_kitti_raw(tmp_path)
    with open(tmp_path / "kitti_raw" / "2011_09_26" / "calib_cam_to_cam.txt", "a") as file:
        file.write(line("P_rect_03", clip().intrinsics, RIGHT_SHIFT))
    for n in range(5):
        write_image(drive / "image_03" / "data" / f"{n:010d}.png", mark(n))
    return tmp_path


def test_kitti_raw_baseline_takes_both_offsets_away(raw):
    data = KittiRaw(params(raw))
    for n, frame in enumerate(data.frames()):
        np.testing.assert_array_equal(data.right_image(frame), mark(n))
        assert data.baseline(frame) == pytest.approx(0.06 + 0.47, abs=1e-9)


def test_right_images_go_through_the_same_window(raw):
    more = {"size": (32, 40), "keep_aspect": True, "crop_bottom": 0.25}
    data = KittiRaw(params(raw, **more))
    for path in (raw / "kitti_raw").rglob("image_02/data/*.png"):
        shutil.copy(path.parents[2] / "image_03" / "data" / path.name, path)
    for frame in data.frames():  # now left and right are one
        np.testing.assert_array_equal(data.right_image(frame), data.image(frame))


def test_a_missing_or_odd_right_image_is_named(raw):
    (folder,) = (raw / "kitti_raw").rglob("image_03/data")
    (folder / "0000000002.png").unlink()
    write_image(folder / "0000000003.png", mark(3)[:-4])
    data = KittiRaw(params(raw))
    frames = data.frames()
    assert data.right_image(frames[1]) is not None
    with pytest.raises(FileNotFoundError, match="0000000002.png has no right image in .*image_03"):
        data.right_image(frames[2])
    with pytest.raises(ValueError, match="0000000003.png is 44 x 96, others of its drive 48 x 96"):
        data.right_image(frames[3])
    shutil.rmtree(folder)
    data = KittiRaw(params(raw))
    assert data.right_image(frames[1]) is data.baseline(frames[1]) is None


def test_swapped_cameras_are_refused(raw):
    path = raw / "kitti_raw" / "2011_09_26" / "calib_cam_to_cam.txt"
    path.write_text(
        path.read_text().replace("P_rect_03", "P_rect_03_old") + line("P_rect_03", clip().intrinsics, [1, 0, 0])
    )
    data = KittiRaw(params(raw))
    with pytest.raises(ValueError, match="puts camera 03 -0.94 m to the right of 02"):
        data.baseline(data.frames()[0])


def test_kitti_odometry_has_a_pair_in_colour_and_one_in_grey(tmp_path):
    base = write_kitti_odometry(tmp_path) / "sequences"
    for name, folder, numbers in (("00", "image_3", range(4)), ("04", "image_1", (0, 1, 4, 5))):
        with open(base / name / "calib.txt", "a") as file:
            file.write(line("P1", clip().intrinsics, [-0.5, 0, 0]) + line("P3", clip().intrinsics, RIGHT_SHIFT))
        for n in numbers:
            write_image(base / name / folder / f"{n:06d}.png", mark(n))
    data = KittiOdometry(params(tmp_path))
    baselines = {frame.clip[:2]: data.baseline(frame) for frame in data.frames()}
    assert baselines == {"00": pytest.approx(0.53), "04": pytest.approx(0.5)}
    for frame in data.frames():
        np.testing.assert_array_equal(data.right_image(frame), mark(int(frame.id[-6:])))


def test_kitti_2015(tmp_path):
    write_kitti_2015(tmp_path, images=5)
    data = Kitti2015(params(tmp_path))
    frame = data.frames()[0]
    assert data.right_image(frame) is data.baseline(frame) is None
    folder = data.image_path(frame).parent.parent / "image_3"
    write_image(folder / "000000_10.png", mark(0))
    np.testing.assert_array_equal(data.right_image(frame), mark(0))
    assert data.baseline(frame) == pytest.approx(KITTI_BASELINE)
    with pytest.raises(FileNotFoundError, match="000001_10.png has no partner .*image_3"):
        data.right_image(data.frames()[1])
    write_image(folder / "000000_10.png", mark(0)[:, :-9])
    with pytest.raises(ValueError, match="image_3.*is 48 x 87, but its image 48 x 96"):
        data.right_image(frame)
    shutil.rmtree(folder.parent / "calib_cam_to_cam")
    assert data.baseline(frame) is None


def test_cityscapes_has_right_images_of_each_kind(tmp_path):
    write_cityscapes(tmp_path)
    data = Cityscapes(params(tmp_path))
    train, val = data.frames("train"), data.frames("val")
    assert data.right_image(train[0]) is data.baseline(train[0]) is data.right_image(val[0]) is None
    annotated = next(f for f in train if f.labelled)
    for number, frame in enumerate(train):
        left = data.image_path(frame)
        folder = tmp_path / "cityscapes" / "rightImg8bit_sequence" / "train" / left.parent.name
        write_image(folder / f"{frame.id}_rightImg8bit.png", mark(number))
    for number, frame in enumerate(train):
        np.testing.assert_array_equal(data.right_image(frame), mark(number))
        assert data.baseline(frame) == pytest.approx(CITYSCAPES_BASELINE)
    city = data.image_path(annotated).parent.name  # the annotated frames' own folder goes before the sequences
    write_image(
        tmp_path / "cityscapes" / "rightImg8bit" / "train" / city / f"{annotated.id}_rightImg8bit.png", mark(99)
    )
    np.testing.assert_array_equal(data.right_image(annotated), mark(99))
    assert data.right_image(val[0]) is None
    (folder / f"{train[-1].id}_rightImg8bit.png").unlink()
    with pytest.raises(FileNotFoundError, match=f"{train[-1].id}_rightImg8bit.png. Get rightImg8bit"):
        data.right_image(train[-1])


def test_wrappers_hand_them_on(raw, tmp_path, monkeypatch):
    write_kitti_2015(raw, images=5)
    write_images(raw, {"a": 3})
    joined = open_dataset(params(raw, "kitti_raw", scored_dataset="kitti_2015"))
    here, there = joined.frames()[0], joined.frames(labelled=True)[0]
    np.testing.assert_array_equal(joined.right_image(here), mark(0))
    assert joined.baseline(here) == pytest.approx(0.53)
    assert joined.right_image(there) is joined.baseline(there) is None
    ready = Prepared(KittiRaw(params(raw)), 1, cache=tmp_path / "shards")
    np.testing.assert_array_equal(ready.right_image(here), mark(0))
    assert ready.baseline(here) == pytest.approx(0.53)
    photographs = open_dataset(params(raw, "images", path=str(raw / "images")))
    assert photographs.right_image(photographs.frames()[0]) is photographs.baseline(photographs.frames()[0]) is None


@pytest.mark.real_data
def test_real_kitti_pair_agrees_with_the_scans():
    data = KittiRaw(real_params("kitti_raw", (188, 620)))
    frame = next(f for f in data.frames() if data.depth(f) is not None)
    assert data.baseline(frame) == pytest.approx(0.5327, abs=2e-4)
    depth = data.depth(frame).astype(float)
    measured = (depth > 4) & (depth < 40)
    depth[~measured] = np.inf
    # blurred, as the scan is some milliseconds apart; brightness differs between the cameras
    left, right = (cv2.GaussianBlur(a, (5, 5), 0) for a in (data.image(frame), data.right_image(frame)))

    def agreement(baseline: float) -> float:
        warped, inside = warp(right, depth, frame.intrinsics[0, 0] * baseline)
        return np.corrcoef(*(a[measured & inside].mean(-1) for a in (warped, left)))[0, 1]

    tried = {b: agreement(b) for b in (-0.5327, 0, 0.3, 0.5327, 0.8)}
    assert max(tried, key=tried.get) == 0.5327, tried
