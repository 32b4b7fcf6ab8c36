"""Generated streets with exact ground truth: the exam `street-v2`."""

import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

VERSION = "street-v2"
CLASSES = (0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 13)  # Cityscapes train ids that occur
BASELINE = 0.54  # metres from the left camera to the right one, as KITTI's
RIGHT_PREFIX = "right_"  # of its files
RIGHT_NOISE = 1 << 20  # added to a frame's number: the two cameras have sensors of their own


@dataclass(frozen=True)
class StreetCamera:
    """The camera: horizontal field of view in degrees (20 to 110), height above the road in metres, and how fast it
    swings left and right at most, degrees a second: a car turns by 20 to 40 at a crossing, which these roads lack."""

    field_of_view: float = 80.0
    height: float = 1.6
    swing: float = 0.0


@dataclass(frozen=True)
class Clip:
    """One drive of T frames with its ground truth. Camera axes: x right, y down, z forward; metres.

    images (T, H, W, 3) uint8 RGB; depth (T, H, W) float32 along z, inf for sky; labels (T, H, W) uint8
    Cityscapes train ids; instances (T, H, W) uint16, one id per thing and clip, 0 = ground and sky;
    intrinsics (3, 3) in pixels; camera_from_world (T, 4, 4); world_from_instance (T, I+1, 4, 4), the rigid
    pose of each thing at each frame, identity for id 0 and for what never moves.
    """

    images: np.ndarray
    depth: np.ndarray
    labels: np.ndarray
    instances: np.ndarray
    intrinsics: np.ndarray
    camera_from_world: np.ndarray
    world_from_instance: np.ndarray

    def moving(self, t: int) -> np.ndarray:
        """Pixels on things in motion at frame t: between t and t + 1, at the last frame between t - 1 and t. (H, W)"""
        t = self._frame(t)
        a, b = (t, t + 1) if t + 1 < len(self.images) else (max(t - 1, 0), t)
        moves = np.abs(self.world_from_instance[b] - self.world_from_instance[a]).max((1, 2)) > 1e-9
        return moves[self.instances[t]]

    def motion(self, t: int) -> np.ndarray:
        """World displacement in metres of what each pixel sees, from frame t to t + 1; 0 where static. (H, W, 3)

        Raises:
            ValueError: t is the last frame or beyond.
        """
        t = self._frame(t)
        if t + 1 >= len(self.images):
            raise ValueError(f"frame {t} is the clip's last: motion needs the next frame, ask for one more frame")
        step = self.world_from_instance[t + 1] @ np.linalg.inv(self.world_from_instance[t]) - np.eye(4)
        points, moving = self.points(t), self.moving(t)
        out = np.zeros_like(points)
        move = step[self.instances[t][moving]]
        out[moving] = np.einsum("nij,nj->ni", move[:, :3, :3], points[moving]) + move[:, :3, 3]
        return out.astype(np.float32)

    def points(self, t: int) -> np.ndarray:
        """World coordinates in metres of what each pixel sees, nan for sky. (H, W, 3) float64"""
        t = self._frame(t)
        height, width = self.depth.shape[1:]
        v, u = np.mgrid[:height, :width]
        rays = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(self.intrinsics).T
        depth = np.where(np.isfinite(self.depth[t]), self.depth[t], np.nan)
        pose = np.linalg.inv(self.camera_from_world[t])
        return (rays * depth[..., None]) @ pose[:3, :3].T + pose[:3, 3]

    def _frame(self, t):
        if not -len(self.images) <= t < len(self.images):
            raise ValueError(f"frame {t} is outside this clip of {len(self.images)} frames")
        return t % len(self.images)


def make_clip(
    split: str,
    index: int,
    frames: int,
    height: int,
    width: int,
    camera: StreetCamera = StreetCamera(),
    right: bool = False,
) -> Clip:
    """Render clip `index` of a split: a pure function of its arguments.

    Args:
        split: "train", "val" or "test": disjoint worlds.
        index: number of the clip, from 0.
        frames: T, at 10 frames a second; frame t does not depend on it.
        height, width: picture size in pixels, at least 16.
        right: as seen from BASELINE to the right, along the camera's own x axis, at the same instants.

    Raises:
        ValueError: unknown split, negative index, or a size or camera out of range.
    """
    from .motion import SECONDS, camera_poses, drive, thing_poses
    from .render import render
    from .style import make_style
    from .world import make_world

    _check(split, index, frames, height, width, camera)
    style = make_style(split, index)
    z = drive(style, frames)
    reach = z[-1] + style.speed * 1.15 * frames * SECONDS + 180
    world = make_world(style, z[-1] + 180, reach)
    focal = width / 2 / np.tan(np.radians(camera.field_of_view) / 2)
    intrinsics = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
    world_from_camera = camera_poses(style, world.road, z, camera.height, camera.swing)
    if right:
        world_from_camera[:, :3, 3] += BASELINE * world_from_camera[:, :3, 0]
    poses = thing_poses(world.movers, world.count, world.road, z)
    size, first = (height, width), RIGHT_NOISE * right
    rendered = [render(world, poses[t], world_from_camera[t], intrinsics, size, first + t) for t in range(frames)]
    return Clip(*(np.stack(a) for a in zip(*rendered)), intrinsics, np.linalg.inv(world_from_camera), poses)


def _check(split, index, frames, height, width, camera):
    if split not in ("train", "val", "test"):
        raise ValueError(f"unknown split {split!r}: choose train, val or test")
    if index < 0 or frames < 1:
        raise ValueError(f"clip {index} with {frames} frames: the index starts at 0, a clip has at least 1 frame")
    if height < 16 or width < 16:
        raise ValueError(f"pictures of {height}x{width} pixels are too small: use at least 16x16")
    if not (20 <= camera.field_of_view <= 110 and 0.5 <= camera.height <= 4 and 0 <= camera.swing <= 60):
        raise ValueError(f"{camera}: field_of_view must be 20 to 110 degrees, height 0.5 to 4 metres, swing 0 to 60")


def load_clip(
    split: str,
    index: int,
    frames: int,
    height: int,
    width: int,
    camera: StreetCamera = StreetCamera(),
    cache: Path | None = None,
) -> Clip:
    """`make_clip`, kept as one file under cache/street-v2; made again only if absent, truncated or of another key.

    Without a cache folder the clip is made and not kept.

    Raises:
        ValueError: as make_clip.
    """
    return Clip(**_load(cache, (split, index, frames, height, width, camera), [f.name for f in fields(Clip)]))


def load_right_images(
    split: str,
    index: int,
    frames: int,
    height: int,
    width: int,
    camera: StreetCamera = StreetCamera(),
    cache: Path | None = None,
) -> np.ndarray:
    """The clip of these arguments seen from BASELINE to the right; kept beside it, in a file of its own.

    Returns:
        (T, H, W, 3) uint8 RGB
    Raises:
        ValueError: as make_clip.
    """
    return _load(cache, (split, index, frames, height, width, camera), ["images"], right=True)["images"]


def _load(cache, arguments, names, right=False) -> dict[str, np.ndarray]:
    """Arrays of the clip `make_clip(*arguments, right)`: from the cache, else made, and kept if there is a cache."""
    _check(*arguments)
    if cache is not None:
        path, key = _place(cache, *arguments, *((RIGHT_PREFIX, BASELINE) if right else ()))
        stored = _read(path, key, names)
        if stored is not None:
            return stored
    clip = make_clip(*arguments, right=right)
    made = {name: getattr(clip, name) for name in names}
    if cache is not None:
        _write(path, key, made)
    return made


def find_folder(cache: Path, split: str, height: int, width: int, camera: StreetCamera) -> Path:
    """Where clips of a split are kept, one file each; those of the right camera begin with RIGHT_PREFIX."""
    swing = f"_swing{camera.swing:g}" if camera.swing else ""
    return Path(cache) / VERSION / f"{height}x{width}_{camera.field_of_view:g}deg_{camera.height:g}m{swing}" / split


def _place(cache, split, index, frames, height, width, camera, prefix="", *more):
    """File of a clip, and the key that it must hold."""
    given = {name: value for name, value in asdict(camera).items() if name != "swing" or value}
    key = json.dumps([VERSION, split, index, frames, height, width, given, *more])
    name = f"{prefix}{index:04d}_{frames}_{hashlib.sha256(key.encode()).hexdigest()[:8]}.npz"
    return find_folder(cache, split, height, width, camera) / name, key


def _read(path, key, names) -> dict[str, np.ndarray] | None:
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in names} if str(stored["key"]) == key else None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _write(path, key, arrays: Mapping[str, np.ndarray]):
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, aside = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, key=np.array(key), **arrays)
        os.replace(aside, path)
    except BaseException:
        os.unlink(aside)
        raise


def load_clips(
    split: str,
    count: int,
    frames: int,
    height: int,
    width: int,
    camera: StreetCamera = StreetCamera(),
    cache: Path | None = None,
    workers: int = 1,
) -> list[Clip]:
    """Clips 0 to count - 1 of a split, from the cache or rendered by `workers` processes.

    Raises:
        ValueError: as make_clip.
    """
    from joblib import Parallel, delayed

    _check(split, 0, frames, height, width, camera)
    job = delayed(load_clip)
    return Parallel(n_jobs=workers)(job(split, i, frames, height, width, camera, cache=cache) for i in range(count))
