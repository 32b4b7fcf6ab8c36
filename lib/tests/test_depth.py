"""Depth from video: numbered definitions against slow transcriptions, laws of the loss, sampling, pictures."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from lib import camera, depth
from lib.data import Dataset, Frame
from lib.data.labels import STREET
from lib.data.street import make_clip
from lib.depth.alignment import refine_poses
from lib.depth.focal import measure_focal_error
from lib.depth.losses import smoothness, ssim_error
from lib.depth.motion import match_shifts
from lib.depth.task import average_parts, find_missing, list_sources, scale_focal
from lib.depth.triplets import draw_color_change
from lib.figures import depth as pictures
from lib.parallel import numpy_generator, torch_generator
from lib.params import DepthParams
from lib.widgets.depth import explore_pixel, show_pixel

SIZE = (64, 96)
PARAMS = DepthParams(height=SIZE[0], width=SIZE[1], batch=3, scales=2)
K = camera.intrinsics_from_field_of_view(80.0, *SIZE).numpy()


@pytest.fixture
def rng():
    return torch_generator(0, 2)


@pytest.fixture(scope="module")
def triplets():
    images = numpy_generator(0, 4).integers(0, 256, (7, *SIZE, 3), dtype=np.uint8)
    members = np.arange(5)[:, None] + np.arange(3)
    matrix = K.copy()
    matrix[0, 2] += 3  # a principal point off the middle, which a flip must move
    matrices = np.repeat(matrix[None], 5, 0).astype(np.float32)
    return depth.Triplets(images, members, matrices, np.zeros(5, bool), np.zeros(5, int))


@pytest.fixture(scope="module")
def task(triplets):
    return depth.DepthTask(PARAMS, triplets, steps=8)


# losses


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


# networks


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
    from lib.depth.motion import SHIFT

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


# task


def test_batches_are_a_function_of_the_step(task, triplets):
    again = depth.DepthTask(PARAMS, triplets, steps=8)
    for step in (5, 0):
        one, two = task.sample(step), again.sample(step)
        assert all(torch.equal(one[k], two[k]) for k in one)
    assert not torch.equal(task.sample(0)["images"], task.sample(1)["images"])


def test_an_epoch_sees_each_triplet_once(triplets):
    sample = depth.DepthTask(replace(PARAMS, batch=5, flip_probability=0.0), triplets, steps=8).sample
    middles = sample(3)["images"][:, 1].permute(0, 2, 3, 1).mul(255).round().byte().numpy()
    assert sorted(m.tobytes() for m in middles) == sorted(triplets.images[i].tobytes() for i in range(1, 6))


def test_a_mirrored_frame_has_a_mirrored_principal_point(triplets):
    plain, mirrored = (
        depth.DepthTask(replace(PARAMS, flip_probability=p), triplets, steps=8).sample(2) for p in (0.0, 1.0)
    )
    assert torch.equal(mirrored["images"], plain["images"].flip(-1))
    centre = plain["intrinsics"][:, 0, 2]
    torch.testing.assert_close(mirrored["intrinsics"][:, 0, 2], SIZE[1] - 1 - centre)


def test_colors_change_for_the_networks_only(triplets):
    plain, jittered = (
        depth.DepthTask(replace(PARAMS, jitter_probability=p, flip_probability=0.0), triplets, steps=8).sample(2)
        for p in (0.0, 1.0)
    )
    assert torch.equal(plain["images"], plain["inputs"])
    assert torch.equal(jittered["images"], plain["images"])
    assert not torch.equal(jittered["images"], jittered["inputs"])


def test_a_color_change_keeps_gray_gray():
    """Hue and saturation act on what is not gray; brightness and contrast scale it, about the mean 0.5 here."""
    for seed in range(5):
        matrix, share = draw_color_change(numpy_generator(seed))
        out = matrix @ np.full(3, 0.5) + share * 0.5
        assert np.ptp(out) < 2e-3  # the YIQ table has three digits
        assert 0.79 < out.mean() / 0.5 < 1.21


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


def test_the_mask_begins_late(triplets):
    batch = depth.DepthTask(PARAMS, triplets, steps=10).sample(0)
    task = depth.DepthTask(replace(PARAMS, mask_from=0.7), triplets, steps=10)
    shares = [float(task.loss(batch, step)[1]["teaching"]) for step in (6, 7)]
    assert shares[0] == 1 > shares[1]


def test_pictures_that_do_not_tell_keep_the_motion():
    images, start = torch.full((1, 3, 3, 64, 96), 0.5), torch.eye(4).repeat(1, 2, 1, 1)
    start[..., 2, 3] = 0.7
    lens = torch.from_numpy(K)[None].float()
    found = refine_poses(images[:, ::2], images[:, 1], torch.full((1, 64, 96), 0.1), lens, start)
    torch.testing.assert_close(found, start)


def test_cells_become_finer(triplets):
    task = depth.DepthTask(PARAMS, triplets, steps=8)
    assert [task.pooling(step) for step in range(8)] == [4, 4, 2, 2, 1, 1, 1, 1]
    assert depth.DepthTask(replace(PARAMS, coarse_to_fine=False), triplets, steps=8).pooling(0) == 1


class Memory(Dataset):
    """A few frames with truth, in memory."""

    name, classes, size = "street", STREET, SIZE

    def __init__(self, count=6, truth=True):
        rng = numpy_generator(0, 9)
        self._frames = [Frame(f"a/{i}", "a", "train", i / 10) for i in range(count)]
        self.images = rng.integers(0, 256, (count, *SIZE, 3), dtype=np.uint8)
        self.true = rng.uniform(2, 60, (count, *SIZE)).astype(np.float32) if truth else [None] * count

    def _number(self, frame):
        return int(frame.id.split("/")[1])

    def image(self, frame):
        return self.images[self._number(frame)]

    def depth(self, frame):
        return self.true[self._number(frame)]

    def labels(self, frame):
        return np.full(SIZE, 13, np.uint8) if self.depth(frame) is not None else None

    def moving(self, frame):
        return np.arange(SIZE[1])[None] + np.zeros(SIZE) < 10


def test_triplets_are_neighbours_of_one_clip(monkeypatch):
    dataset = Memory()
    monkeypatch.setattr("lib.depth.triplets.open_dataset", lambda params, name: dataset)
    made = depth.read_triplets(replace(PARAMS, clips=("street", "street"), frame_step=2))
    assert made.members.tolist() == [[0, 2, 4], [1, 3, 5], [6, 8, 10], [7, 9, 11]]
    np.testing.assert_allclose(made.intrinsics[0], K, rtol=1e-6)  # no calibration: from the field of view
    with pytest.raises(ValueError, match="name longer videos"):
        depth.read_triplets(replace(PARAMS, frame_step=4))


def test_streets_like_a_camera_have_its_focal_length():
    matrix = camera.intrinsics_from_field_of_view(47.0, *SIZE).numpy()
    assert depth.street_like(PARAMS, matrix).field_of_view == pytest.approx(47.0)


# pictures


def test_pictures_of_frames_of_which_some_have_truth():
    dataset = Memory()
    dataset.true = [None, dataset.true[1]]
    images, frames = dataset.images[:2], dataset.frames()[:2]
    titles = [axes.get_title() for axes in pictures.draw_clip(dataset, frames).axes]
    assert "true depth" in titles
    inverse = np.full((2, *SIZE), 0.1)
    mixed = pictures.draw_depth(images, inverse, dataset.true, 1 / inverse)
    assert [axes.get_title() for axes in mixed.axes][2:4] == ["true depth", "error (white: > 50 %)"]
    blind = pictures.draw_depth(images, inverse, [None, None], 1 / inverse)
    assert [axes.get_title() for axes in blind.axes] == ["frame", "predicted depth", "", ""]


def test_pictures_and_panel_are_drawn(task, triplets):
    dataset, frames = Memory(), Memory().frames()
    figure = show_pixel(task.networks, triplets.images[:2], K, 0.85, 20, 10)
    assert isinstance(figure, Figure)
    assert isinstance(pictures.draw_clip(dataset, frames[:2]), Figure)
    assert isinstance(pictures.draw_clip(Memory(truth=False), frames[:2]), Figure)
    masks = depth.explain_triplet(task.networks, triplets.images[:3], K, PARAMS)
    assert isinstance(pictures.draw_masks(triplets.images[1], *masks), Figure)
    box = explore_pixel(task.networks, triplets.images[:2], K, 0.85)
    before = box.children[-1].value
    box.children[0].value = 3
    assert box.children[-1].value != before
