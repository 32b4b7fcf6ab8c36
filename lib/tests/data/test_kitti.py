"""KITTI's two layouts: calibration, scans and poses against the truth they were written from; errors."""

import numpy as np
import pytest
import torch

from lib.camera import project
from lib.data import find_window, open_dataset
from lib.data.kitti import KittiOdometry, KittiRaw, rasterize_depth
from lib.intrinsics import resize_intrinsics

from . import fixtures
from .fixtures import SIZE, clip, params, write_kitti_odometry, write_kitti_raw


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kitti")
    write_kitti_raw(folder)
    write_kitti_odometry(folder)
    return folder


@pytest.mark.parametrize(("reader", "frame"), [(KittiRaw, 2), (KittiOdometry, 3)])
def test_a_scan_gives_the_true_depth_where_it_has_a_point(root, reader, frame):
    data = reader(params(root))
    depth, truth = data.depth(data.frames()[frame]), clip().depth[frame]
    measured = depth > 0
    assert measured.sum() == len(np.flatnonzero(np.isfinite(truth))[::7])
    np.testing.assert_allclose(depth[measured], truth[measured], rtol=1e-5)


@pytest.mark.parametrize("reader", [KittiRaw, KittiOdometry])
def test_poses_are_the_true_ones_up_to_the_world_they_start_from(root, reader):
    data = reader(params(root))
    frames = data.frames()[:4]
    poses = [data.camera_from_world(f) for f in frames]
    for t, pose in enumerate(poses):
        moved = pose @ np.linalg.inv(poses[0])
        truth = clip().camera_from_world[t] @ np.linalg.inv(clip().camera_from_world[0])
        np.testing.assert_allclose(moved, truth, atol=2e-4)
    world = np.eye(4) if reader is KittiRaw else np.vstack([np.c_[np.eye(3), fixtures.BASELINE], [0, 0, 0, 1]])
    np.testing.assert_allclose(poses[0], world, atol=1e-6)


def test_images_intrinsics_times_and_splits(root):
    data = KittiRaw(params(root))
    frame = data.frames("test")[3]  # drive 0009 is one of Eigen's test drives
    assert frame.id == "2011_09_26_drive_0009_sync/000003"
    assert frame.time == pytest.approx(0.3)
    np.testing.assert_array_equal(data.image(frame), clip().images[3])
    np.testing.assert_allclose(frame.intrinsics, clip().intrinsics, rtol=1e-9)
    assert data.labels(frame) is None
    small = KittiRaw(params(root, size=(32, 32)))
    expected = resize_intrinsics(clip().intrinsics, SIZE, (32, 32))
    np.testing.assert_allclose(small.frames()[0].intrinsics, expected, rtol=1e-9)
    assert small.image(small.frames()[0]).shape == (32, 32, 3)


def test_small_sparse_depth_is_taken_from_points_inside_each_pixel(root):
    data = KittiRaw(params(root, size=(16, 48)))
    depth, full = data.depth(data.frames()[0]), KittiRaw(params(root)).depth(data.frames()[0])
    for v, u in np.argwhere(depth):
        assert depth[v, u] in full[v * 3 : v * 3 + 3, u * 2 : u * 2 + 2]
    assert (depth > 0).sum() > 0.5 * (full > 0).sum()  # a dense scan thins out little


def test_rasterize_depth_keeps_the_nearest_point_and_drops_what_is_behind():
    points = torch.tensor([[[[0.0, 0.0, 9.0], [0.0, 0.0, 4.0], [0.0, 0.0, -2.0], [30.0, 0.0, 1.0]]]])
    pixels, z = project(points, torch.tensor([[[1.0, 0, 2], [0, 1, 3], [0, 0, 1]]]))
    projected = torch.cat([pixels * z[..., None], z[..., None]], dim=-1)[0, 0].numpy()
    depth = rasterize_depth(projected, (6, 5), (6, 5))
    assert depth[3, 2] == 4
    assert np.count_nonzero(depth) == 1


def test_a_gap_begins_a_new_clip_and_missing_times_mean_10_hz(root):
    data = KittiOdometry(params(root))
    assert {c[0].clip: [f.time for f in c] for c in data.clips()} == {
        "00": [0.0, 0.1, 0.2, pytest.approx(0.3)],
        "04": [0.0, 0.104],
        "04_part2": [0.0, pytest.approx(0.104)],
    }
    gray = data.frames()[-1]
    assert data.image(gray).shape == (*SIZE, 3)
    assert data.depth(gray) is None
    assert data.camera_from_world(gray) is None
    only = open_dataset(params(root, "kitti_raw"), "kitti_odometry:04_part2")
    assert [f.id for f in only.frames()] == ["04/000004", "04/000005"]


def test_errors_name_the_file_and_where_to_get_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder .*kitti_raw.*cvlibs\.net"):
        KittiRaw(params(tmp_path))
    (tmp_path / "kitti_raw").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no images .*image_02.*cvlibs\.net"):
        KittiRaw(params(tmp_path))
    drive = write_kitti_raw(tmp_path)
    scan = drive / "velodyne_points" / "data" / "0000000001.bin"
    scan.write_bytes(scan.read_bytes()[:-7])
    data = KittiRaw(params(tmp_path))
    with pytest.raises(ValueError, match=r"0000000001\.bin is cut short"):
        data.depth(data.frames()[1])
    scan.unlink()
    assert data.depth(data.frames()[1]) is None
    (drive / "image_02" / "timestamps.txt").write_text("2011-09-26 13:08:24.967930880\n")
    with pytest.raises(ValueError, match="1 times for a frame 4"):
        KittiRaw(params(tmp_path))
    calibration = drive.parent / "calib_cam_to_cam.txt"
    calibration.write_text("R_rect_00: 1 0 0 0 1 0 0 0 1\n")
    with pytest.raises(ValueError, match=r"calib_cam_to_cam\.txt has no line 'P_rect_02:'.*cvlibs\.net"):
        KittiRaw(params(tmp_path))
    calibration.unlink()
    with pytest.raises(FileNotFoundError, match=r"missing calibration .*calib_cam_to_cam\.txt\. Get .*cvlibs\.net"):
        KittiRaw(params(tmp_path))


@pytest.mark.real_data
def test_real_raw_drive():
    data = KittiRaw(fixtures.real_params("kitti_raw", (96, 320)))
    (frames,) = data.clips(shortest=50)
    assert frames[-1].time == pytest.approx(5.17, abs=0.02)
    scans = [f for f in frames if data.depth(f) is not None]
    assert [f.id[-3:] for f in scans] == ["008", "024", "040"]
    depth = data.depth(scans[0])
    assert 0.3 < (depth > 0).mean() < 0.5
    assert 2 < depth[depth > 0].min() < depth.max() < 85
    way = [np.linalg.inv(data.camera_from_world(f))[:3, 3] for f in frames]
    assert 45 < way[-1][2] < 65  # metres ahead in 5 s: z is forward
    assert abs(way[-1][1]) < 2


@pytest.mark.real_data
def test_real_odometry_sequences():
    data = KittiOdometry(fixtures.real_params("kitti_odometry", (96, 320)))
    assert {c[0].clip: len(c) for c in data.clips()} == {"00": 200, "04": 51}
    assert data.image(data.frames()[0]).shape == (96, 320, 3)
    start, after = (np.linalg.inv(data.camera_from_world(f))[:3, 3] for f in data.frames()[:11:10])
    assert 7 < (after - start)[2] < 10


def test_a_centre_crop_is_a_part_of_the_whole(root):
    assert find_window((375, 1242), (96, 192), keep_aspect=False) == (slice(0, 375), slice(0, 1242))
    assert find_window((375, 1242), (96, 192), keep_aspect=True) == (slice(0, 375), slice(246, 996))
    assert find_window((360, 480), (96, 192), keep_aspect=True) == (slice(60, 300), slice(0, 480))
    height, width = SIZE
    whole, middle = KittiRaw(params(root)), KittiRaw(params(root, size=(height, width // 2), keep_aspect=True))
    frame, cut = whole.frames()[2], middle.frames()[2]
    columns = slice(width // 4, width // 4 + width // 2)
    np.testing.assert_array_equal(middle.image(cut), whole.image(frame)[:, columns])
    np.testing.assert_array_equal(middle.depth(cut), whole.depth(frame)[:, columns])
    assert cut.intrinsics[0, 2] == pytest.approx(frame.intrinsics[0, 2] - width // 4)
    assert cut.intrinsics[0, 0] == pytest.approx(frame.intrinsics[0, 0])
