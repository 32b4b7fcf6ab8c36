"""Small copies of the official folder layouts, drawn by the street generator: the readers are tested everywhere.

The calibration, scans and poses are made from the generator's true depth and poses, with invented but plausible
mounts, so that what a reader returns can be compared with the truth.
"""

import os
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from lib import ROOT
from lib.data.street import Clip, make_clip

SIZE = (48, 96)
LATITUDE, LONGITUDE, EARTH_RADIUS = 49.0, 8.4, 6378137.0
CAMVID_FROM_STREET = {0: 3, 1: 4, 2: 1, 3: 1, 4: 7, 5: 2, 7: 6, 8: 5, 9: 11, 10: 0, 11: 9, 13: 8}
RECTIFY = Rotation.from_euler("xyz", [0.01, -0.02, 0.005]).as_matrix()
BASELINE = np.array([0.06, 0.001, 0.003])  # from the left grey to the left colour camera, metres
VELODYNE_R = Rotation.from_euler("xyz", [-1.57, 1.56, 0.01]).as_matrix()  # camera 0 from velodyne
VELODYNE_T = np.array([-0.004, -0.08, -0.27])
IMU_R, IMU_T = Rotation.from_euler("z", 0.015).as_matrix(), np.array([-0.8, 0.32, -0.8])  # velodyne from imu


def params(root: Path, dataset: str = "camvid", size: tuple[int, int] = SIZE, **more: object) -> SimpleNamespace:
    """The data fields of `DepthParams`."""
    fields = {"data_root": str(root), "dataset": dataset, "height": size[0], "width": size[1], "fold": 0}
    fields |= {"keep_aspect": False, "crop_bottom": 0.0, "hold_out": True, "sequences": True, "annotations": "fine"}
    fields |= {"label_set": "", "maps": "", "map_kind": "inverse_depth", "map_step": 1.0, "path": "", "video_step": 1}
    fields |= {"scored_dataset": "", "prepare": False, "workers": 1}
    return SimpleNamespace(**{**fields, "field_of_view": 60.0, **more})


def find_real_data(folder: str) -> Path | None:
    """The real sample of a data set, if it is on this machine."""
    roots = filter(None, (os.environ.get("DATA_ROOT"), ROOT.parent / "shared" / "data"))
    return next((Path(root) / folder for root in roots if (Path(root) / folder).is_dir()), None)


def real_params(folder: str, size: tuple[int, int], **more: object) -> SimpleNamespace:
    """Parameters of the real sample data; skips the test where it is absent."""
    found = find_real_data(folder)
    if found is None:
        pytest.skip(f"no real data: set DATA_ROOT to a folder with {folder}/")
    return params(found.parent, folder, size, **more)


@cache
def clip(frames: int = 6) -> Clip:
    return make_clip("train", 3, frames, *SIZE)


def write_image(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image[..., ::-1] if image.ndim == 3 else image)


def write_camvid(root: Path, singles: int = 6) -> dict[str, int]:
    """SegNet's layout without test; returns stem -> frame of `clip`."""
    drives = {"0006R0_f{:05d}": 930, "0001TP_{:06d}": 6690, "0016E5_{:05d}": 390}
    stems = {name.format(start + 30 * i): i for name, start in drives.items() for i in range(singles)}
    video = {f"0016E5_{7959 + 2 * i:05d}": i for i in range(5)}
    table = np.full(256, 11, np.uint8)
    table[list(CAMVID_FROM_STREET)] = list(CAMVID_FROM_STREET.values())
    for folder, frames in (("train", stems), ("val", video)):
        for stem, t in frames.items():
            write_image(root / "camvid" / folder / f"{stem}.png", clip().images[t])
            write_image(root / "camvid" / f"{folder}annot" / f"{stem}.png", table[clip().labels[t]])
    return stems | video


def _rigid(rotation: np.ndarray, translation: np.ndarray) -> np.ndarray:
    return np.vstack([np.c_[rotation, translation], [0, 0, 0, 1]])


def _line(key: str, values: np.ndarray) -> str:
    return f"{key}: " + " ".join(f"{v:.12e}" for v in np.ravel(values)) + "\n"


def _projection() -> np.ndarray:
    return clip().intrinsics @ np.c_[np.eye(3), BASELINE]


def _scan(t: int, camera_from_velodyne: np.ndarray) -> np.ndarray:
    """Every seventh pixel's point in velodyne coordinates, with a reflectance. (N, 4) float32"""
    v, u = np.nonzero(np.isfinite(clip().depth[t]))
    v, u = v[::7], u[::7]
    rays = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(clip().intrinsics).T
    points = np.c_[rays * clip().depth[t][v, u, None], np.ones(len(u))] @ np.linalg.inv(camera_from_velodyne).T
    points[:, 3] = 0.5
    return points.astype(np.float32)


def _oxts(t: int, camera_from_imu: np.ndarray) -> np.ndarray:
    """Latitude, longitude, altitude, roll, pitch, yaw of the true pose; the road runs north."""
    map_from_world = np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1.0]])  # x, y down, z -> e, n, up

    def pose(frame: int) -> np.ndarray:
        return map_from_world @ np.linalg.inv(clip().camera_from_world[frame]) @ camera_from_imu

    scale = np.cos(np.radians(LATITUDE)) * EARTH_RADIUS
    shift = scale * np.log(np.tan(np.radians(45 + LATITUDE / 2)))
    east, north, up = pose(t)[:3, 3] - pose(0)[:3, 3]
    latitude = np.degrees(2 * np.arctan(np.exp((north + shift) / scale))) - 90
    yaw, pitch, roll = Rotation.from_matrix(pose(t)[:3, :3]).as_euler("ZYX")
    return np.array([latitude, LONGITUDE + np.degrees(east / scale), up, roll, pitch, yaw])


def write_kitti_raw(root: Path, numbers: tuple[int, ...] = (0, 1, 2, 3, 4)) -> Path:
    """One raw drive whose frame number n is frame n of `clip`; returns the drive's folder."""
    date = root / "kitti_raw" / "2011_09_26"
    drive = date / "2011_09_26_drive_0009_sync"
    camera_from_velodyne = _rigid(np.eye(3), BASELINE) @ _rigid(RECTIFY, np.zeros(3)) @ _rigid(VELODYNE_R, VELODYNE_T)
    for n in numbers:
        write_image(drive / "image_02" / "data" / f"{n:010d}.png", clip().images[n])
        for folder in ("velodyne_points/data", "oxts/data"):
            (drive / folder).mkdir(parents=True, exist_ok=True)
        _scan(n, camera_from_velodyne).tofile(drive / "velodyne_points" / "data" / f"{n:010d}.bin")
        values = [*_oxts(n, camera_from_velodyne @ _rigid(IMU_R, IMU_T)), *np.zeros(24)]
        (drive / "oxts" / "data" / f"{n:010d}.txt").write_text(" ".join(f"{v:.15g}" for v in values) + "\n")
    stamps = [f"2011-09-26 13:08:{24 + n * 0.1:012.9f}\n" for n in range(max(numbers) + 1)]
    (drive / "image_02" / "timestamps.txt").write_text("".join(stamps))
    rectified = _line("R_rect_00", RECTIFY) + _line("P_rect_02", _projection())
    (date / "calib_cam_to_cam.txt").write_text("calib_time: 09-Jan-2012 13:57:47\n" + rectified)
    (date / "calib_velo_to_cam.txt").write_text(_line("R", VELODYNE_R) + _line("T", VELODYNE_T))
    (date / "calib_imu_to_velo.txt").write_text(_line("R", IMU_R) + _line("T", IMU_T))
    return drive


def write_kitti_odometry(root: Path) -> Path:
    """Sequence 00 in colour, without times; 04 in grey with times and a gap; returns the root of the layout."""
    base = root / "kitti_odometry"
    velodyne = _rigid(VELODYNE_R, VELODYNE_T)
    camera_from_velodyne = _rigid(np.eye(3), BASELINE) @ velodyne
    for n in range(4):
        write_image(base / "sequences" / "00" / "image_2" / f"{n:06d}.png", clip().images[n])
        (base / "sequences" / "00" / "velodyne").mkdir(exist_ok=True)
        _scan(n, camera_from_velodyne).tofile(base / "sequences" / "00" / "velodyne" / f"{n:06d}.bin")
    for n in (0, 1, 4, 5):
        gray = cv2.cvtColor(clip().images[n], cv2.COLOR_RGB2GRAY)
        write_image(base / "sequences" / "04" / "image_0" / f"{n:06d}.jpg", gray)
    left = clip().intrinsics @ np.eye(3, 4)
    calibration = _line("P0", left) + _line("P2", _projection()) + _line("Tr", velodyne[:3])
    for name in ("00", "04"):
        (base / "sequences" / name / "calib.txt").write_text(calibration)
    (base / "sequences" / "04" / "times.txt").write_text("".join(f"{0.104 * n:.6e}\n" for n in range(6)))
    (base / "poses").mkdir()
    colour_from_gray = _rigid(np.eye(3), BASELINE)
    first = np.linalg.inv(colour_from_gray) @ clip().camera_from_world[0]  # grey camera 0 from the street's world
    world_from_gray = [first @ np.linalg.inv(c) @ colour_from_gray for c in clip().camera_from_world[:4]]
    rows = "".join(" ".join(f"{v:.12e}" for v in np.ravel(pose[:3])) + "\n" for pose in world_from_gray)
    (base / "poses" / "00.txt").write_text(rows)
    return base
