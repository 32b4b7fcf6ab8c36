"""Motion found for given depth: against a generated street's own, with a bonnet, and where pictures do not tell."""

import numpy as np
import torch

from lib import depth
from lib.data.street import make_clip
from lib.depth.alignment import refine_poses

from .fixtures import K


def test_motion_is_found_for_given_depth():
    """A generated street with its true depth, from a start that is off by a third of the way."""
    clip = make_clip("train", 3, 3, 96, 192)
    images = depth.to_tensor(clip.images, torch.zeros(()))[None]
    poses = clip.camera_from_world[[0, 2]] @ np.linalg.inv(clip.camera_from_world[1])
    true = torch.from_numpy(poses)[None].float()
    inverse = torch.from_numpy(1 / np.minimum(clip.depth[1], 1e4))[None]
    lens, start = torch.from_numpy(clip.intrinsics)[None].float(), torch.eye(4).repeat(1, 2, 1, 1)
    start[0, :, 2, 3] = true[0, :, 2, 3] * 2 / 3
    found = refine_poses(images[:, ::2], images[:, 1], inverse, lens, start)
    off = torch.linalg.inv(true) @ found
    assert off[..., :3, 3].norm(dim=-1).max() < 0.15 * true[..., :3, 3].norm(dim=-1).min()
    assert (off[..., :3, :3] - torch.eye(3)).abs().max() < 0.005
    twice = start.clone()
    twice[..., :3, 3] *= 2
    doubled = refine_poses(images[:, ::2], images[:, 1], inverse / 2, lens, twice)
    torch.testing.assert_close(doubled[..., :3, 3], 2 * found[..., :3, 3], atol=0.02, rtol=0.02)


def test_a_bonnet_does_not_move_the_camera(rng):
    images, lens = torch.rand(2, 3, 3, 64, 96, generator=rng), torch.from_numpy(K)[None].float().expand(2, 3, 3)
    images[1, :, :, :40] = images[0, :, :, :40]
    bonnet = torch.zeros(2, 64, 96, dtype=torch.bool)
    bonnet[:, 32:] = True
    start = torch.eye(4).repeat(2, 2, 1, 1)
    sources, target, near = images[:, ::2], images[:, 1], torch.full((2, 64, 96), 0.1)
    sources[..., 32:, :] = 0.3  # what a bonnet reflects
    found = refine_poses(sources, target, near, lens, start, bonnet)
    assert torch.isfinite(found).all()
    free = refine_poses(sources, target, near, lens, start)
    assert (found[0] - found[1]).abs().max() < (free[0] - free[1]).abs().max()


def test_pictures_that_do_not_tell_keep_the_motion():
    images, start = torch.full((1, 3, 3, 64, 96), 0.5), torch.eye(4).repeat(1, 2, 1, 1)
    start[..., 2, 3] = 0.7
    lens = torch.from_numpy(K)[None].float()
    found = refine_poses(images[:, ::2], images[:, 1], torch.full((1, 64, 96), 0.1), lens, start)
    torch.testing.assert_close(found, start)
