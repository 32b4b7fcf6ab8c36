"""Losses of depth from video: numbered definitions against slow transcriptions, laws, walls of known depth."""

import math

import numpy as np
import torch

from lib import camera, depth
from lib.depth.losses import smoothness, ssim_error

from .fixtures import SIZE, K


def slow_ssim(a, b):
    """Wang et al. 2004, eq. 13, with uniform 3 x 3 windows, written out for one channel."""
    height, width = len(a), len(a[0])
    inside = lambda i, n: -i if i < 0 else 2 * n - 2 - i if i >= n else i  # noqa: E731
    out = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            at = [(inside(y + j, height), inside(x + i, width)) for j in (-1, 0, 1) for i in (-1, 0, 1)]
            p, q = [float(a[r][c]) for r, c in at], [float(b[r][c]) for r, c in at]
            mp, mq = sum(p) / 9, sum(q) / 9
            vp, vq = sum((v - mp) ** 2 for v in p) / 9, sum((v - mq) ** 2 for v in q) / 9
            cov = sum((v - mp) * (w - mq) for v, w in zip(p, q)) / 9
            ssim = (2 * mp * mq + 1e-4) * (2 * cov + 9e-4) / ((mp**2 + mq**2 + 1e-4) * (vp + vq + 9e-4))
            out[y, x] = min(max((1 - ssim) / 2, 0), 1)
    return out


def test_ssim_equals_its_definition(rng):
    a, b = torch.rand(2, 1, 1, 6, 7, generator=rng, dtype=torch.float64)
    np.testing.assert_allclose(ssim_error(a, b)[0, 0], slow_ssim(a[0, 0], b[0, 0]), atol=1e-9)


def test_several_pictures_share_a_target(rng):
    pictures_, targets = torch.rand(6, 3, 7, 8, generator=rng), torch.rand(2, 3, 7, 8, generator=rng)
    one_by_one = [ssim_error(pictures_[i : i + 1], targets[i // 3 : i // 3 + 1])[0] for i in range(6)]
    torch.testing.assert_close(ssim_error(pictures_, targets), torch.stack(one_by_one))


def test_photometric_error_is_zero_for_equal_pictures_and_mixes_both_terms(rng):
    a, b = torch.rand(2, 2, 3, 8, 9, generator=rng)
    assert not depth.photometric_error(a, a, 0.85).any()
    torch.testing.assert_close(depth.photometric_error(a, b, 0.0), (a - b).abs().mean(1))
    torch.testing.assert_close(depth.photometric_error(a, b, 1.0), ssim_error(a, b).mean(1))


def test_minimum_and_mask_pixel_by_pixel(rng):
    warped, still = torch.rand(2, 2, 2, 4, 5, generator=rng)
    error, teaches = depth.minimum_reprojection(warped, still)
    for b, y, x in np.ndindex(2, 4, 5):
        best, rest = min(warped[b, :, y, x].tolist()), min(still[b, :, y, x].tolist())
        assert teaches[b, y, x] == (best < rest)
        assert error[b, y, x] == min(best, rest)
    assert not depth.minimum_reprojection(still, still)[1].any()
    assert depth.minimum_reprojection(still, still, auto_mask=False)[1].all()


def test_a_right_image_teaches_where_its_neighbours_must_not():
    warped = torch.tensor([[0.5, 0.1, 0.1, 0.5]]).reshape(1, 1, 1, 4)
    still = torch.tensor([[0.2, 0.2, 0.2, 0.2]]).reshape(1, 1, 1, 4)
    right = torch.tensor([0.3, 0.3, 0.05, math.inf]).reshape(1, 1, 4)
    error, teaches = depth.minimum_reprojection(warped, still, right=right)
    torch.testing.assert_close(error.flatten(), torch.tensor([0.3, 0.1, 0.05, 0.2]))
    assert teaches.flatten().tolist() == [True, True, True, False]
    assert depth.minimum_reprojection(warped, still, False, right)[1].all()


def test_smoothness_forgets_the_unit_and_forgives_edges(rng):
    inverse_depth, image = torch.rand(2, 1, 6, 8, generator=rng) + 0.1, torch.rand(2, 3, 6, 8, generator=rng)
    torch.testing.assert_close(smoothness(5 * inverse_depth, image), smoothness(inverse_depth, image))
    assert smoothness(torch.ones(1, 1, 6, 8), image[:1]) == 0
    step, edge = torch.ones(1, 1, 6, 8), torch.zeros(1, 3, 6, 8)
    step[..., 4:], edge[..., 4:] = 2, 1
    assert smoothness(step, edge) < smoothness(step, torch.zeros_like(edge)) / 2


def test_a_camera_at_rest_rebuilds_its_picture(rng):
    image, near = torch.rand(1, 3, *SIZE, generator=rng), 0.1 + torch.rand(1, *SIZE, generator=rng)
    rebuilt = depth.reproject(image, near, torch.from_numpy(K)[None].float(), torch.eye(4)[None])
    torch.testing.assert_close(rebuilt, image, atol=1e-4, rtol=0)


def test_a_wall_moves_by_focal_length_times_motion_over_depth(rng):
    """At depth 4, half a unit sideways moves all pixels by f / 8."""
    image, matrix = torch.rand(1, 3, *SIZE, generator=rng, dtype=torch.float64), torch.from_numpy(K)[None].clone()
    matrix[:, 0, 0] = matrix[:, 1, 1] = 16.0
    pose = camera.rigid_transform(torch.zeros(1, 3).double(), torch.tensor([[0.5, 0, 0]]).double())
    rebuilt = depth.reproject(image, torch.full((1, *SIZE), 0.25, dtype=torch.float64), matrix, pose)
    torch.testing.assert_close(rebuilt[..., :-2], image[..., 2:], atol=1e-6, rtol=0)


def test_the_search_finds_the_depth_of_a_wall(rng):
    """The source is the wall at depth 4 seen after half a unit sideways, so the loss is lowest at 4."""
    source, matrix = torch.rand(1, 3, *SIZE, generator=rng), torch.from_numpy(K)[None].float()
    pose = camera.rigid_transform(torch.zeros(1, 3), torch.tensor([[0.5, 0, 0]]))
    target = depth.reproject(source, torch.full((1, *SIZE), 0.25), matrix, pose)
    depths = torch.tensor([1.0, 2.0, 3.0, 4.0, 6.0, 12.0])
    places, errors = depth.search_depth(target[0], source[0], matrix[0], pose[0], (20, 15), depths, 0.85)
    assert depths[errors.argmin()] == 4
    torch.testing.assert_close(places[:, 1], torch.full((6,), 15.0), atol=1e-3, rtol=0)  # the epipolar line is level
    height, width = SIZE
    for u, v in ((20, 15), (0, 0), (width - 1, height - 1), (0, 7)):  # the patch is cut at a border, and mirrored there
        _, errors = depth.search_depth(target[0], source[0], matrix[0], pose[0], (u, v), depths, 0.85)
        for value, error in zip(depths, errors):
            whole = depth.reproject(source, torch.full((1, *SIZE), 1 / float(value)), matrix, pose)
            expected = depth.photometric_error(whole, target, 0.85)[0, v, u]
            torch.testing.assert_close(error, expected, atol=1e-5, rtol=1e-4)
