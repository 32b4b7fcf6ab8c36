"""The task of depth from video: its loss and gradients, stereo and bonnets, the focal length, what changes by step."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from lib import camera, depth
from lib.data import Frame
from lib.depth.focal import measure_focal_error
from lib.depth.task import average_parts, find_missing, list_sources, scale_focal
from lib.intrinsics import field_of_view_of
from lib.parallel import numpy_generator

from .fixtures import PARAMS, SIZE, K


def test_the_loss_is_finite_and_teaches_every_weight(task):
    task.networks.train()
    for step in (0, 3, 7):  # cells of 4, 2 and 1
        loss, numbers = task.loss(task.sample(step), step)
        task.networks.zero_grad()
        loss.backward()
        assert math.isfinite(loss.item())
        assert 0 <= numbers["teaching"] <= 1
        gradients = [p.grad for p in task.networks.parameters()]
        assert all(g is not None and torch.isfinite(g).all() for g in gradients)
    assert any(g.abs().max() > 0 for g in gradients)


def test_half_precision_is_for_the_networks_only(task):
    """What a GPU does with autocast: the geometry stays exact enough that the loss is nearly the same."""
    task.networks.eval()
    batch = task.sample(0)
    with torch.no_grad():
        loss, _ = task.loss(batch, 7)
        with torch.autocast("cpu", torch.bfloat16):
            half, _ = task.loss(batch, 7)
            assert depth.predict_views(task.networks, batch["inputs"])[0].dtype == torch.float32
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(loss.item(), rel=0.05)


def test_a_right_image_teaches_metres(rng):
    """A wall at 4 m: the right image rebuilds the left one at the true depth alone, mirrored or not."""
    matrix, wall = torch.from_numpy(K)[None].float(), torch.full((1, *SIZE), 0.25)
    matrix[:, 0, 0] = matrix[:, 1, 1] = 16.0
    left = torch.rand(1, 3, *SIZE, generator=rng)
    for mirrored in (False, True):
        right = left.roll(2 if mirrored else -2, 3)  # baseline 0.5: 16 * 0.5 / 4 = 2 pixels
        batch = {"images": left[:, None].repeat(1, 3, 1, 1, 1), "right": right}
        batch["shift"] = torch.tensor([-0.5 if mirrored else 0.5])
        sources, poses = list_sources(batch, torch.eye(4).repeat(1, 2, 1, 1))
        assert sources.shape == (1, 3, 3, *SIZE)
        inside = slice(4, -4)
        rebuilt = depth.reproject(right, wall, matrix, poses[:, 2])[..., inside]
        torch.testing.assert_close(rebuilt, left[..., inside], atol=1e-4, rtol=0)
    batch["shift"] = torch.zeros(1)
    assert find_missing(batch).flatten().tolist() == [math.inf]
    assert find_missing({}) is None


def test_stereo_and_bonnets_reach_the_loss(triplets):
    half = np.zeros(SIZE, bool)
    half[SIZE[0] // 2 :] = True
    whole = replace(triplets, right=triplets.images, baselines=np.array([0.5, 0, 0.5, 0, 0.5], np.float32))
    stereo = depth.DepthTask(replace(PARAMS, stereo=True), whole, steps=8)
    batch = stereo.sample(0)
    assert batch["right"].shape == (3, 3, *SIZE)
    assert math.isfinite(stereo.loss(batch, 7)[0].item())
    exact = replace(PARAMS, align=False)
    masked = depth.DepthTask(exact, replace(triplets, bonnets=(half,)), steps=8)
    batch = masked.sample(0)
    assert batch["bonnet"].float().mean() == 0.5
    free = {name: value for name, value in batch.items() if name != "bonnet"}
    loss, numbers = masked.loss(batch, 7)
    assert loss < masked.loss(free, 7)[0]
    assert numbers["teaching"] <= 0.5
    changed = batch | {"images": batch["images"].clone()}
    changed["images"][:, :, :, SIZE[0] // 2 + 2 :] = 0.5  # what the bonnet shows does not matter, but to smoothness
    plain = depth.DepthTask(replace(exact, smoothness=0.0), replace(triplets, bonnets=(half,)), steps=8)
    plain.networks.eval()
    torch.testing.assert_close(plain.loss(changed, 7)[0], plain.loss(batch, 7)[0], atol=1e-3, rtol=0)


def test_the_focal_length_is_shared_by_a_video_and_learned(triplets):
    values = torch.tensor([[0.1, 0.3], [0.3, 0.5], [1.0, 1.0]])
    torch.testing.assert_close(average_parts(values, torch.tensor([4, 4, 7])), torch.tensor([0.3, 0.3, 1.0]))
    matrix = torch.from_numpy(K)[None].float()
    wider = scale_focal(matrix, torch.tensor([math.log(2.0)]))
    torch.testing.assert_close(wider[0, 0, 0], 2 * matrix[0, 0, 0])
    assert torch.equal(wider[:, :2, 2], matrix[:, :2, 2])
    params = replace(PARAMS, learn_intrinsics="all")
    task = depth.DepthTask(params, replace(triplets, focal_is_learned=np.ones(5, bool)), steps=8)
    batch = task.sample(0)
    loss, numbers = task.loss(batch, 7)
    assert numbers["focal_length"] == pytest.approx(K[0, 0], rel=1e-5), "it begins with what was assumed"
    loss.backward()
    assert task.networks.pose.head[-1].bias.grad[6] != 0
    known = depth.DepthTask(params, triplets, steps=8)  # calibrated triplets keep their focal length
    known.networks.pose.head[-1].bias.data[6] = 1.0
    assert known.loss(known.sample(0), 7)[1]["focal_length"] == pytest.approx(K[0, 0], rel=1e-5)


@pytest.mark.parametrize("learn", ["unknown", "all"])
def test_a_start_on_streets_leaves_the_focal_length_to_be_learned(triplets, learn):
    params = replace(PARAMS, learn_intrinsics=learn, start_steps=1)
    like = depth.street_like(params, K)
    np.testing.assert_allclose(depth.intrinsics_of(Frame("a/0", "a", "train", intrinsics=K), like), K)
    free = replace(triplets, focal_is_learned=np.ones(5, bool))
    task = depth.DepthTask(params, free, steps=8, networks=depth.build_networks(like))
    loss, numbers = task.loss(task.sample(0), 7)
    loss.backward()
    assert "focal_length" in numbers
    assert task.networks.pose.head[-1].bias.grad[6] != 0


def test_a_wrong_focal_length_shows_only_in_turns():
    rng = numpy_generator(0, 3)
    pixels, near = rng.uniform(0, SIZE[::-1], (200, 2)), rng.uniform(3, 50, 200)
    ahead, turning = np.eye(4), np.eye(4)
    ahead[2, 3] = turning[2, 3] = -1.0
    turning[:3, :3] = camera.rotation_from_axis_angle(torch.tensor([[0, 0.04, 0]], dtype=torch.float64))[0].numpy()
    factors = (0.8, 0.9, 1.0, 1.1, 1.25)
    assert measure_focal_error(pixels, near, K, ahead, factors).max() < 1e-3
    misses = measure_focal_error(pixels, near, K, turning, factors)
    assert misses[2] < 1e-6
    assert misses[0] > misses[1] > 0.05
    assert misses[4] > misses[3] > 0.05


def test_what_was_learned_is_said_in_pixels_degrees_and_as_a_factor():
    about = depth.describe_focal(K, [np.array([1.1, 1.2]), np.zeros(0), np.array([1.3])], SIZE[1])
    assert about["focal_factor"] == pytest.approx(1.2)
    assert about["focal_length"] == pytest.approx(1.2 * K[0, 0])
    assert about["focal_length_spread"] == pytest.approx(0.075 * K[0, 0])
    assert math.isnan(depth.describe_focal(K, [np.array([1.1, 1.2])], SIZE[1])["focal_length_spread"]), "of one clip"
    assert about["field_of_view"] == pytest.approx(field_of_view_of(np.diag([1.2, 1.2, 1]) @ K, SIZE[1]))


def test_the_mask_begins_late(triplets):
    batch = depth.DepthTask(PARAMS, triplets, steps=10).sample(0)
    task = depth.DepthTask(replace(PARAMS, mask_from=0.7), triplets, steps=10)
    shares = [float(task.loss(batch, step)[1]["teaching"]) for step in (6, 7)]
    assert shares[0] == 1 > shares[1]


def test_cells_become_finer(triplets):
    task = depth.DepthTask(PARAMS, triplets, steps=8)
    assert [task.pooling(step) for step in range(8)] == [4, 4, 2, 2, 1, 1, 1, 1]
    assert depth.DepthTask(replace(PARAMS, coarse_to_fine=False), triplets, steps=8).pooling(0) == 1
