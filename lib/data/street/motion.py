"""How the camera and the things move: poses as functions of time, so that frame t never needs frame t + 1.

Time runs in frames of 0.1 s. Where the camera stops, the car ahead of it stops too.
"""

from dataclasses import dataclass

import numpy as np

from .things import rotation

SECONDS = 0.1  # a frame
SWING_SECONDS = 2.0  # from left to right and back


@dataclass(frozen=True)
class Mover:
    """A path: "lane" keeps d and drives along z; "lead" keeps z metres ahead of the camera; "cross" walks over.

    `d`: metres right of the road's centre; `z`: position (or gap) at time 0; `speed`: m/s along the path.
    """

    kind: str
    d: float
    z: float
    speed: float


def drive(style, frames: int) -> np.ndarray:
    """The camera's distance along z at each frame: cruising, and braking to a halt in stop-and-go clips. (T,)"""
    fine = 10
    t = np.arange(frames * fine) * (SECONDS / fine)
    speed = style.speed * (1 + 0.06 * np.sin(0.5 * t + style.sway[0]))
    if style.stop_at is not None:
        brake = np.clip((style.stop_at - t) / 2.0, 0, 1)  # two seconds from cruising to standing
        start = np.clip((t - style.stop_at - style.stop_for) / 3.0, 0, 1)
        speed = speed * np.maximum(brake, start)
    return np.concatenate([[0.0], np.cumsum(speed)])[: frames * fine : fine] * (SECONDS / fine)


def camera_poses(style, road, z: np.ndarray, height: float, swing: float = 0.0) -> np.ndarray:
    """world_from_camera while driving in the right lane, swaying with the distance driven. (T, 4, 4)

    `swing`: degrees a second that the camera also turns left and right, at most.
    """
    poses, (p0, p1, p2, p3, p4, p5) = [], style.sway
    turns = 2 * np.pi / SWING_SECONDS
    for t, s in enumerate(z):
        d = style.lane_width * (style.lanes - 0.5) + 0.15 * np.sin(s / 17 + p0)
        pose = np.eye(4)
        yaw = float(road.heading(s + 3.0)) + 0.012 * np.sin(s / 9 + p1)
        yaw += np.radians(swing) / turns * np.sin(turns * t * SECONDS + p4) if swing else 0.0
        pitch = float(road.pitch(s + 1.5)) + 0.006 * np.sin(s / 1.9 + p2) + 0.004 * np.sin(s / 5.1 + p3)
        pose[:3, :3] = rotation(yaw, pitch, 0.006 * np.sin(s / 4.3 + p4))
        x = float(road.centre(s)) + d
        bounce = 0.02 * np.sin(s / 1.4 + p5)
        pose[:3, 3] = x, -float(road.height(np.float64(x), np.float64(s))) - height - bounce, s
        poses.append(pose)
    return np.stack(poses)


def thing_poses(movers: dict[int, Mover], count: int, road, z_camera: np.ndarray) -> np.ndarray:
    """world_from_instance at each frame; identity for id 0 and for what never moves. (T, I+1, 4, 4)"""
    poses = np.tile(np.eye(4), (len(z_camera), count + 1, 1, 1))
    for number, m in movers.items():
        for t, ahead in enumerate(z_camera):
            seconds = t * SECONDS
            if m.kind == "cross":
                poses[t, number] = road.frame(m.d + m.speed * seconds, m.z, np.pi / 2 * np.sign(m.speed))
            elif m.kind == "lead":
                poses[t, number] = road.frame(m.d, ahead + m.z + 0.8 * np.sin(ahead / 9), sloped=True)
            else:
                yaw = 0.0 if m.speed > 0 else np.pi
                poses[t, number] = road.frame(m.d, m.z + m.speed * seconds, yaw, sloped=abs(m.speed) > 3)
    return poses
