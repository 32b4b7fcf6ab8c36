"""Trajectories and steps of the camera: alignment, errors, chaining, beside numeric searches and definitions."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import least_squares, minimize_scalar
from scipy.spatial.transform import Rotation

from lib import camera, depth
from lib.depth.metrics import absolute_trajectory_error, relative_pose_error
from lib.parallel import torch_generator


def draw_track(seed, length=9):
    return np.cumsum(np.random.default_rng(seed).normal(size=(length, 3)), 0)


def turn_of(*axis_angle):
    return Rotation.from_rotvec(axis_angle).as_matrix()


def test_a_turned_and_stretched_track_is_found_again():
    track, turn = draw_track(3), turn_of(0.4, -1.0, 0.2)
    aligned, scale = depth.align_similarity(0.2 * track @ turn.T + [1, 2, 3], track)
    np.testing.assert_allclose(aligned, track, atol=1e-9)
    assert scale == pytest.approx(5)
    mirrored, _ = depth.align_similarity(track * [1, 1, -1], track)
    assert np.abs(mirrored - track).max() > 0.1, "a mirror is no similarity of motion"
    assert depth.align_similarity(np.zeros((4, 3)), track[:4])[1] == 1
    rigid, scale = depth.align_similarity(track @ turn.T + [1, 2, 3], track, with_scale=False)
    np.testing.assert_allclose(rigid, track, atol=1e-9)
    assert scale == 1
    with pytest.raises(ValueError, match=r"tracks of \(8, 3\) and \(9, 3\) cannot be aligned"):
        depth.align_similarity(track[:-1], track)


def search_error(points, target, with_scale):
    """The smallest root mean square over rotation, scale and shift, by numeric search from several starts."""

    def distances(p):
        scale = math.exp(p[6]) if with_scale else 1.0
        return (scale * points @ Rotation.from_rotvec(p[:3]).as_matrix().T + p[3:6] - target).ravel()

    starts = [np.r_[axis, np.zeros(4)] for axis in np.vstack([np.zeros(3), 2 * np.eye(3), -2 * np.eye(3)])]
    found = [least_squares(distances, start, xtol=1e-12, ftol=1e-12, gtol=1e-12).fun for start in starts]
    return min(math.sqrt((f**2).sum() / len(points)) for f in found)


@pytest.mark.parametrize("with_scale", [True, False])
@pytest.mark.parametrize("kind", ["any", "noisy", "straight", "mirrored"])
def test_the_trajectory_error_is_the_smallest_there_is(kind, with_scale):
    target = draw_track(5)
    other = {
        "any": draw_track(6),
        "noisy": 0.3 * target @ turn_of(1.0, 0.3, -0.5).T + 0.1 * draw_track(7),
        "straight": np.arange(9)[:, None] * np.array([[0.0, 0.0, 1.0]]),
        "mirrored": target * [1, 1, -1],
    }[kind]
    error = absolute_trajectory_error(other, target, with_scale)
    assert error == pytest.approx(search_error(other, target, with_scale), rel=1e-6)


def test_the_trajectory_error_of_a_turned_track_is_zero_and_in_metres():
    track = draw_track(1)
    moved = 0.2 * track @ turn_of(0.1, 0.9, -0.4).T + 7
    assert absolute_trajectory_error(moved, track) < 1e-9
    assert absolute_trajectory_error(moved, track, with_scale=False) > 1
    line = np.array([[0.0, 0, 0], [0, 0, 1], [0, 0, 2]])
    assert absolute_trajectory_error(line * [1, 1, 2], line, with_scale=False) == pytest.approx(math.sqrt(2 / 3))


def draw_steps(seed, count=6, size=0.5):
    values = size * torch.randn(2, count, 3, generator=torch_generator(0, seed), dtype=torch.float64)
    return camera.rigid_transform(*values).numpy()


def test_the_relative_error_of_steps_equals_its_definition():
    steps, target = draw_steps(5), draw_steps(6)

    def translation_error(scale):
        ways = []
        for step, true in zip(steps, target):
            off = np.linalg.inv(true) @ np.block([[step[:3, :3], scale * step[:3, 3:]], [np.array([[0, 0, 0, 1]])]])
            ways.append(np.linalg.norm(off[:3, 3]))
        return math.sqrt(np.mean(np.square(ways)))

    turns = [Rotation.from_matrix(t[:3, :3].T @ s[:3, :3]).magnitude() for s, t in zip(steps, target)]
    degrees = math.degrees(math.sqrt(np.mean(np.square(turns))))
    assert relative_pose_error(steps, target, False) == pytest.approx((translation_error(1.0), degrees))
    best = minimize_scalar(translation_error, bounds=(-10, 10), method="bounded", options={"xatol": 1e-9}).fun
    assert relative_pose_error(steps, target) == pytest.approx((best, degrees))
    scaled = target.copy()
    scaled[:, :3, 3] /= 7
    assert relative_pose_error(scaled, target) == pytest.approx((0, 0), abs=1e-9)
    tiny = camera.rigid_transform(*torch.tensor([[[0, 1e-7, 0.0]], [[0, 0, 0.0]]], dtype=torch.float64)).numpy()
    assert relative_pose_error(tiny, np.eye(4)[None])[1] == pytest.approx(math.degrees(1e-7))
    with pytest.raises(ValueError, match=r"steps of \(5, 4, 4\) and \(6, 4, 4\) cannot be compared"):
        relative_pose_error(steps[:-1], target)


def test_chained_steps_lead_where_the_camera_was():
    steps = draw_steps(5, 5, 1.0)
    camera_from_world, centres = np.eye(4), [np.zeros(3)]
    for step in steps:
        camera_from_world = step @ camera_from_world
        centres.append(np.linalg.inv(camera_from_world)[:3, 3])
    np.testing.assert_allclose(depth.chain_poses(steps), np.stack(centres), atol=1e-9)
