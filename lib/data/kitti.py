"""KITTI video: raw drives (rectified, "sync") and the odometry sequences, with calibration, poses and velodyne depth.

Raw: date/drive/image_02/data, date/calib_*.txt, drive/oxts, drive/velodyne_points. Odometry: sequences/NN/image_2,
or image_0 where only the grey camera was fetched, calib.txt, times.txt, velodyne, and poses/NN.txt. Images may be png
or jpg. Everything but images and calibration may be missing: no times means 10 Hz, no poses or scans None. Right images
of a stereo pair lie in image_03/data; odometry: image_3 beside image_2, image_1 beside image_0.

The whole image, about 3.3 times as wide as high, is stretched to (height, width), however odd that makes it look, or
with `keep_aspect` its middle part of that shape is taken; the intrinsics follow. A gap in the frame numbers begins a
new clip. Splits: raw "test" are the 28 drives that Eigen et al.'s test frames come from, unless `hold_out` is off, as
in CPCDR, which learns from all drives; odometry "test" are 09 and 10
(as Monodepth2) and 11 to 21 (no poses published). World coordinates are those of the first frame's camera (odometry:
of the left grey one), in metres.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from ..intrinsics import crop_intrinsics, resize_intrinsics
from . import Dataset, Frame, find_root, find_window, list_images, read_image, resize_image
from .files import is_there, list_folders, read_table, read_text
from .layout import invert_pose

RATE = 10.0  # frames a second
OXTS = 30  # numbers of a measurement of the inertial unit; the first six are its pose
EARTH_RADIUS = 6378137.0  # metres, as KITTI's raw data development kit
MIN_DEPTH = 0.1  # metres; nearer points lie behind the camera or on the car
COLUMNS = {"P": 4, "Tr": 4, "R": 3, "T": 1}  # of entries of a calibration, by how their names begin
EIGEN_TEST = {  # date: drives
    "2011_09_26": "2 9 13 20 23 27 29 36 46 48 52 56 59 64 84 86 93 96 101 106 117",
    "2011_09_28": "2",
    "2011_09_29": "71",
    "2011_09_30": "16 18 27",
    "2011_10_03": "27 47",
}


@dataclass
class Drive:
    """One recording: where its files lie and how its camera is mounted."""

    folder: Path
    split: str
    images: dict[int, Path]  # by frame number
    times: list[float]  # seconds, by frame number; empty = 10 Hz
    projection: np.ndarray  # pixels of the stored image from the rectified left grey camera's frame. (3, 4)
    rectified_from_velodyne: np.ndarray | None  # (4, 4)
    scans: str  # path of a scan, to be formatted with its number
    right: Path  # folder of the right camera's images
    projections: tuple[Path, str, str]  # the file of both cameras' projections, and their names there

    def __post_init__(self) -> None:
        self.name, self.stored = self.folder.name, read_image(next(iter(self.images.values()))).shape[:2]
        self.shape = self.stored
        self.camera_from_rectified = np.eye(4)  # a shift along the baseline
        self.camera_from_rectified[:3, 3] = np.linalg.solve(self.projection[:, :3], self.projection[:, 3])
        self.window = find_window(self.shape, self.shape, keep_aspect=False)

    def crop(self, window: tuple[slice, slice]) -> None:
        """From now on use these rows and columns only."""
        self.window = rows, columns = window
        self.shape = (rows.stop - rows.start, columns.stop - columns.start)
        self.projection = crop_intrinsics(self.projection, rows.start, columns.start)

    @cached_property
    def right_images(self) -> dict[int, Path]:
        """By frame number; nothing without a right camera."""
        return _find_images(self.right)

    @cached_property
    def baseline(self) -> float | None:
        """Metres to the right camera; None without one."""
        return read_baseline(*self.projections) if self.right_images else None


class _Kitti(Dataset):
    """Both layouts; each adds `_open_drive` and `_load_poses` (camera_from_world by frame number).

    Raises:
        FileNotFoundError: no folder, no images, no calibration; says where to get them.
        ValueError: calibration, times or a scan cut short.
    """

    pattern: str  # of a drive's folder below `name`
    cameras: tuple[str, ...]  # image folders, the first that has images
    help: str  # where to get the data

    def __init__(self, params: Any) -> None:
        self.size = (params.height, params.width)
        self.keep_aspect, self.crop_bottom, self._hold_out = params.keep_aspect, params.crop_bottom, params.hold_out
        self._at: dict[str, tuple[Drive, int]] = {}
        self._poses: dict[str, dict[int, np.ndarray]] = {}
        self._frames = []
        root = find_root(params.data_root, self.name, self.help)
        for folder in (f for part in list_folders(root) for f in list_folders(part) if f.match(self.pattern)):
            found = [(camera, images) for camera in self.cameras if (images := _find_images(folder / camera))]
            if found:
                drive = self._open_drive(folder, *found[0])
                drive.crop(self.window(drive.shape))
                self._frames += self._make_frames(drive)
        if not self._frames:
            raise FileNotFoundError(f"no images {self.pattern}/{self.cameras[0]}/* in {root}. {self.help}")

    def _make_frames(self, drive: Drive) -> Iterator[Frame]:
        matrix = resize_intrinsics(drive.projection[:, :3], drive.shape, self.size)
        clip, start, part = "", 0.0, 0
        for number in drive.images:
            time = drive.times[number] if drive.times else number / RATE
            if number - 1 not in drive.images:
                part += 1
                clip, start = drive.name + (f"_part{part}" if part > 1 else ""), time
            frame = Frame(f"{drive.name}/{number:06d}", clip, drive.split, time - start, matrix)
            self._at[frame.id] = drive, number
            yield frame

    def image_path(self, frame: Frame) -> Path:
        drive, number = self._at[frame.id]
        return drive.images[number]

    def image(self, frame: Frame) -> np.ndarray:
        drive, number = self._at[frame.id]
        return self._read(drive, drive.images[number])

    def _read(self, drive: Drive, path: Path) -> np.ndarray:
        image = read_image(path)
        if image.shape[:2] != drive.stored:
            sizes = " x ".join(map(str, image.shape[:2])), " x ".join(map(str, drive.stored))
            raise ValueError(f"{path} is {sizes[0]}, others of its drive {sizes[1]}: copy it again")
        return resize_image(image[drive.window], self.size)

    def right_image(self, frame: Frame) -> np.ndarray | None:
        drive, number = self._at[frame.id]
        if drive.right_images and number not in drive.right_images:
            raise FileNotFoundError(f"{drive.images[number]} has no right image in {drive.right}. {self.help}")
        return self._read(drive, drive.right_images[number]) if drive.right_images else None

    def baseline(self, frame: Frame) -> float | None:
        return self._at[frame.id][0].baseline

    def depth(self, frame: Frame) -> np.ndarray | None:
        drive, number = self._at[frame.id]
        path = Path(drive.scans.format(number))
        if drive.rectified_from_velodyne is None or not is_there(path):
            return None
        scan = np.fromfile(path, np.float32)
        if scan.size == 0 or path.stat().st_size % 16:
            raise ValueError(f"{path} is cut short ({path.stat().st_size} bytes): copy or download it again")
        if not np.isfinite(scan).all():
            raise ValueError(f"{path} holds no points, but other bytes: copy or download it again")
        points = np.c_[scan.reshape(-1, 4)[:, :3], np.ones(scan.size // 4)] @ drive.rectified_from_velodyne.T
        return rasterize_depth(points @ drive.projection.T, drive.shape, self.size)

    def camera_from_world(self, frame: Frame) -> np.ndarray | None:
        drive, number = self._at[frame.id]
        if drive.name not in self._poses:
            self._poses[drive.name] = self._load_poses(drive)
        return self._poses[drive.name].get(number)


class KittiRaw(_Kitti):
    """Synced raw drives, left colour camera."""

    name, pattern, cameras = "kitti_raw", "*/*_sync", ("image_02/data",)
    help = "Get synced drives and their date's calibration from cvlibs.net/datasets/kitti/raw_data.php"

    def _open_drive(self, folder: Path, camera: str, images: dict[int, Path]) -> Drive:
        pair = folder.parent / "calib_cam_to_cam.txt", "P_rect_02", "P_rect_03"
        projection, rotation = read_calibration(pair[0], self.help, "P_rect_02", "R_rect_00")
        velodyne, stamps = folder.parent / "calib_velo_to_cam.txt", folder / "image_02" / "timestamps.txt"
        mount = read_calibration(velodyne, self.help, "R", "T") if is_there(velodyne) else None
        rectified = _rigid(rotation) @ _rigid(*mount) if mount else None
        times, right = _read_times(stamps, images), folder / "image_03" / "data"
        date, number = folder.name[:10], folder.name[17:21].lstrip("0")
        split = "test" if self._hold_out and number in EIGEN_TEST.get(date, "").split() else "train"
        scans = str(folder / "velodyne_points" / "data" / "{:010d}.bin")
        return Drive(folder, split, images, times, projection, rectified, scans, right, pair)

    def _load_poses(self, drive: Drive) -> dict[int, np.ndarray]:
        paths = {n: drive.folder / "oxts" / "data" / f"{n:010d}.txt" for n in drive.images}
        oxts = {n: read_table(path, OXTS)[0, :6] for n, path in paths.items() if is_there(path)}
        if not oxts or drive.rectified_from_velodyne is None:
            return {}
        mount = read_calibration(drive.folder.parent / "calib_imu_to_velo.txt", self.help, "R", "T")
        velodyne_from_imu = _rigid(*mount)
        camera_from_imu = drive.camera_from_rectified @ drive.rectified_from_velodyne @ velodyne_from_imu
        map_from_imu = poses_from_oxts(oxts)
        map_from_world = map_from_imu[min(oxts)] @ np.linalg.inv(camera_from_imu)
        return {n: camera_from_imu @ np.linalg.inv(pose) @ map_from_world for n, pose in map_from_imu.items()}


class KittiOdometry(_Kitti):
    """Odometry sequences, left colour camera, else left grey camera."""

    name, pattern, cameras = "kitti_odometry", "sequences/*", ("image_2", "image_0")
    help = "Get the odometry images, calibration and poses from cvlibs.net/datasets/kitti/eval_odometry.php"

    def _open_drive(self, folder: Path, camera: str, images: dict[int, Path]) -> Drive:
        number = int(camera[-1])
        pair, right = (folder / "calib.txt", f"P{number}", f"P{number + 1}"), folder / f"image_{number + 1}"
        (projection,) = read_calibration(pair[0], self.help, pair[1])
        rectified, stamps = None, folder / "times.txt"
        if is_there(folder / "velodyne", folder=True):
            (matrix,) = read_calibration(pair[0], self.help, "Tr")
            rectified = _rigid(matrix[:, :3], matrix[:, 3:])
        times = _read_times(stamps, images)
        split, scans = "train" if folder.name < "09" else "test", str(folder / "velodyne" / "{:06d}.bin")
        return Drive(folder, split, images, times, projection, rectified, scans, right, pair)

    def _load_poses(self, drive: Drive) -> dict[int, np.ndarray]:
        path = drive.folder.parent.parent / "poses" / f"{drive.name}.txt"
        rows = read_table(path, 12).reshape(-1, 3, 4) if is_there(path) else None
        if rows is None:
            return {}
        if len(rows) <= max(drive.images):
            raise ValueError(f"{path} has {len(rows)} poses for a frame {max(drive.images)}: download it again")
        poses = [invert_pose(_rigid(row[:, :3], row[:, 3:]), path) for row in rows]
        return {n: drive.camera_from_rectified @ pose for n, pose in enumerate(poses)}


def read_calibration(path: Path, help_text: str, *keys: str) -> list[np.ndarray]:
    """The entries `keys` of a calibration file of 'key: numbers' lines: P (3, 4), Tr (3, 4), R (3, 3) and T (3, 1).

    Raises:
        FileNotFoundError: no such file.
        ValueError: an entry is missing, cut short or no numbers, or no projection or rotation.
    """
    if not is_there(path):
        raise FileNotFoundError(f"missing calibration {path}. {help_text}")
    lines = dict(line.split(":", 1) for line in read_text(path).splitlines() if ":" in line)
    if missing := [key for key in keys if key not in lines]:
        raise ValueError(f"{path} has no line '{missing[0]}:': it is cut short or another file. {help_text}")
    return [_read_entry(path, key, lines[key], help_text) for key in keys]


def _read_entry(path: Path, key: str, text: str, help_text: str) -> np.ndarray:
    kind = re.match("[A-Za-z]+", key)[0]
    try:
        values = np.array(text.split(), float).reshape(3, COLUMNS[kind])
    except ValueError:
        raise ValueError(f"{path} is cut short or not numbers at '{key}:': download it again. {help_text}") from None
    possible = np.isfinite(values).all() and (kind != "P" or min(np.diag(values)) > 0)
    # the determinant is 1 for a rotation, and the square of the focal length in pixels for a projection
    if not possible or (kind != "T" and np.linalg.det(values[:, :3]) < 0.5):
        raise ValueError(f"{path} has no possible values at '{key}:': download it again. {help_text}")
    return values


def read_baseline(path: Path, left: str, right: str, help_text: str = "") -> float:
    """Metres along x between the centres of two rectified cameras, from their entries in a calibration file.

    Raises:
        FileNotFoundError, ValueError: as `read_calibration`; also if `right` does not lie to the right of `left`.
    """
    # P = K [I | t] puts the centre at -t, and both cameras are shifted against the one that the world is of
    shifts = [np.linalg.solve(p[:, :3], p[:, 3]) for p in read_calibration(path, help_text, left, right)]
    baseline = float(shifts[0][0] - shifts[1][0])
    if baseline <= 0:
        first, second = (re.sub(r"\D", "", key) for key in (left, right))
        text = f"{path} puts camera {second} {baseline:g} m to the right of {first}"
        raise ValueError(f"{text}: download it again. {help_text}".strip())
    return baseline


def rasterize_depth(projected: np.ndarray, shape: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """Depth of projected points as a sparse map.

    Of the points in one pixel of the stored image the nearest is kept (it hides the others); of these, each pixel
    at `size` takes the one closest to its centre, which favours neither near nor far.

    Args:
        projected: (u z, v z, z), u and v in pixels of the stored image, z in metres. (N, 3)
        shape, size: (H, W) of the stored image and of the result.
    Returns:
        Metres, 0 = no point. (H, W) float32
    """
    front = projected[projected[:, 2] > MIN_DEPTH]
    pixels = np.rint(front[:, :2] / front[:, 2:]).astype(int)[:, ::-1]
    inside = ((pixels >= 0) & (pixels < shape)).all(axis=1)
    pixels, z = pixels[inside], front[inside, 2]
    order = np.argsort(-z, kind="stable")  # of several writes to a pixel the last one stands
    full, depth = np.zeros(shape, np.float32), np.zeros(size, np.float32)
    full[tuple(pixels[order].T)] = z[order]
    pixels = np.argwhere(full)
    exact = (pixels + 0.5) * size / shape - 0.5
    target = np.rint(exact).astype(int).clip(0, np.array(size) - 1)
    order = np.argsort(-((exact - target) ** 2).sum(axis=1), kind="stable")
    depth[tuple(target[order].T)] = full[tuple(pixels[order].T)]
    return depth


def poses_from_oxts(oxts: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
    """map_from_imu from latitude, longitude (degrees), altitude (metres), roll, pitch, yaw (radians), by frame number.

    Mercator projection at the first frame's latitude, as KITTI's development kit: x east, y north, z up, metres.
    """
    scale = np.cos(np.radians(oxts[min(oxts)][0])) * EARTH_RADIUS
    poses = {}
    for number, (latitude, longitude, altitude, roll, pitch, yaw) in oxts.items():
        north = scale * np.log(np.tan(np.radians(90 + latitude) / 2))
        attitude = Rotation.from_euler("ZYX", [yaw, pitch, roll]).as_matrix()
        poses[number] = _rigid(attitude, (scale * np.radians(longitude), north, altitude))
    return poses


def _read_times(path: Path, images: dict[int, Path]) -> list[float]:
    """Seconds by frame number, from lines of seconds or of dates and times; nothing where the file is missing."""
    if not is_there(path):
        return []
    lines = read_text(path).splitlines()
    try:
        times = [datetime.fromisoformat(x[:26]).timestamp() if ":" in x else float(x) for x in lines]
    except ValueError:
        times = [np.nan]
    if not np.isfinite(times).all():
        raise ValueError(f"{path} holds no time in every line: download it again")
    if len(times) <= max(images):
        raise ValueError(f"{path} has {len(times)} times for a frame {max(images)}: download it again")
    return times


def _find_images(folder: Path) -> dict[int, Path]:
    """Frame number -> file; nothing where the folder is missing."""
    found: dict[int, Path] = {}
    for path in list_images(folder) if is_there(folder, folder=True) else []:
        if path.stem.isdecimal() and found.setdefault(int(path.stem), path) != path:
            raise ValueError(f"{path} and {found[int(path.stem)]} are one frame: remove one of them")
    return found


def _rigid(rotation: np.ndarray, translation: np.ndarray | float = 0.0) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, np.ravel(translation)
    return matrix
