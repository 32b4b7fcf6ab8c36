"""Networks of depth from video: shapes and ranges, the seed, the matching of shifts, the order of poses."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from lib import camera, depth
from lib.depth.motion import SHIFT, match_shifts

from .fixtures import PARAMS, SIZE


@pytest.mark.parametrize("encoder", ["small", "light", "resnet18", "resnet50"])
def test_outputs_have_their_shapes_and_range(encoder, rng):
    networks = depth.build_networks(replace(PARAMS, encoder=encoder, scales=4))
    images = torch.rand(2, 3, *SIZE, generator=rng)
    for scale, m in enumerate(networks.depth(images)):
        assert m.shape == (2, 1, SIZE[0] >> scale, SIZE[1] >> scale)
        assert 1 / PARAMS.max_depth <= m.min() <= m.max() <= 1 / PARAMS.min_depth
    angle, translation, focal = networks.pose(images, images)
    assert angle.shape == translation.shape == (2, 3)
    assert focal.shape == (2, 0)
    assert (translation[:, 2] < 0).all(), "it starts out driving forward: points come nearer"


def test_weights_depend_on_the_seed_alone():
    state = torch.random.get_rng_state()
    one, two, other = (depth.build_networks(replace(PARAMS, seed=s)).state_dict() for s in (0, 0, 1))
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert not torch.equal(one["pose.head.0.weight"], other["pose.head.0.weight"])
    assert torch.equal(state, torch.random.get_rng_state())


def test_a_shifted_picture_matches_best_at_its_shift(rng):
    """Four pixels to the right and two up are (+2, -1) in the halved frame."""
    earlier = torch.rand(1, 3, *SIZE, generator=rng)
    best = match_shifts(earlier, earlier.roll((-2, 4), (2, 3)))[0, :, 6:-6, 6:-6].argmax(0)
    side = 2 * SHIFT + 1
    assert ((best // side - SHIFT == -1) & (best % side - SHIFT == 2)).float().mean() > 0.95


def test_poses_of_both_neighbours_come_from_ordered_pairs(task, rng):
    images = torch.rand(2, 3, 3, *SIZE, generator=rng)
    networks = task.networks.eval()
    poses, focal = depth.predict_views(networks, images)
    assert focal.numel() == 0
    middle_from_earlier = camera.rigid_transform(*networks.pose(images[:, 0], images[:, 1])[:2])
    later_from_middle = camera.rigid_transform(*networks.pose(images[:, 1], images[:, 2])[:2])
    torch.testing.assert_close(poses[:, 0] @ middle_from_earlier, torch.eye(4).expand(2, 4, 4), atol=1e-5, rtol=0)
    torch.testing.assert_close(poses[:, 1], later_from_middle, atol=1e-5, rtol=0)
    motion, factors = depth.predict_motion(networks, (images[0].permute(0, 2, 3, 1) * 255).byte().numpy())
    assert motion.shape == (2, 4, 4)
    assert factors.shape == (0,)


def test_depth_from_elsewhere_has_no_network_for_other_images():
    with pytest.raises(ValueError, match="run 'mine' is measured, not learned"):
        depth.load_depth_network(SimpleNamespace(run="mine", params=replace(PARAMS, source="measured")))
