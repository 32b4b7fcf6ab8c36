"""Triplets: which frames they are, the order of batches, mirrors and changes of color."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lib import depth
from lib.depth.triplets import draw_color_change
from lib.intrinsics import UNKNOWN, field_of_view_of, intrinsics_from_field_of_view
from lib.parallel import numpy_generator

from .fixtures import PARAMS, SIZE, K, Memory

OBLONG = np.array([[50.0, 0, 45.0], [0, 60.0, 20.0], [0, 0, 1]])


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


def test_triplets_are_neighbours_of_one_clip(monkeypatch):
    dataset = Memory()
    monkeypatch.setattr("lib.depth.triplets.open_dataset", lambda params, name: dataset)
    made = depth.read_triplets(replace(PARAMS, clips=("street", "street"), frame_step=2))
    assert made.members.tolist() == [[0, 2, 4], [1, 3, 5], [6, 8, 10], [7, 9, 11]]
    np.testing.assert_allclose(made.intrinsics[0], K, rtol=1e-6)  # no calibration: from the field of view
    with pytest.raises(ValueError, match="name longer videos"):
        depth.read_triplets(replace(PARAMS, frame_step=4))


class Filmed(Memory):
    """Frames of a camera with oblong pixels and its middle elsewhere."""

    def __init__(self, calibrated):
        super().__init__()
        self._frames = [replace(f, intrinsics=OBLONG, calibrated=calibrated) for f in self._frames]


def test_what_nobody_measured_is_learned_and_what_is_calibrated_refused(monkeypatch):
    """An assumed matrix, as CamVid's frames have it, is no calibration."""
    sets = {"camvid": Filmed(calibrated=False), "street": Filmed(calibrated=True)}
    monkeypatch.setattr("lib.depth.triplets.open_dataset", lambda params, name: sets[name])
    unknown = replace(PARAMS, learn_intrinsics="unknown")
    made = depth.read_triplets(replace(unknown, clips=("camvid", "street")))
    assert made.focal_is_learned.tolist() == [True] * 4 + [False] * 4
    np.testing.assert_allclose(made.intrinsics, np.repeat(OBLONG[None], 8, 0), rtol=1e-6)
    with pytest.raises(ValueError, match=r"\['street'\] are calibrated.*set learn_intrinsics = no, or all to learn it"):
        depth.read_triplets(unknown)
    assert depth.read_triplets(replace(PARAMS, learn_intrinsics="all")).focal_is_learned.all()
    assert not depth.read_triplets(PARAMS).focal_is_learned.any()
    start = depth.street_like(replace(unknown, clips=("camvid",), dataset="camvid"), OBLONG)
    assert not depth.read_triplets(start).focal_is_learned.any(), "the start on streets is not refused"


@pytest.mark.parametrize("calibrated", [False, True])
def test_learning_all_begins_at_an_unknown_angle_and_keeps_the_rest(calibrated):
    frame = Filmed(calibrated).frames()[0]
    begin = depth.intrinsics_of(frame, replace(PARAMS, learn_intrinsics="all"))
    assert field_of_view_of(begin, SIZE[1]) == pytest.approx(UNKNOWN)
    assert begin[1, 1] / begin[0, 0] == pytest.approx(OBLONG[1, 1] / OBLONG[0, 0])
    np.testing.assert_array_equal(begin[:, 2], OBLONG[:, 2])
    for learn in ("no", "unknown"):
        np.testing.assert_array_equal(depth.intrinsics_of(frame, replace(PARAMS, learn_intrinsics=learn)), OBLONG)


def test_what_was_learned_corrects_only_what_nobody_measured():
    assumed, measured = (Filmed(calibrated).frames()[0] for calibrated in (False, True))
    for learn in ("no", "unknown", "all"):
        params = replace(PARAMS, learn_intrinsics=learn)
        np.testing.assert_array_equal(depth.correct_intrinsics(measured, params, 1.2), OBLONG)
        found, begin = depth.correct_intrinsics(assumed, params, 1.2), depth.intrinsics_of(assumed, params)
        np.testing.assert_allclose(np.diag(found), np.diag(begin) * [1.2, 1.2, 1])
        np.testing.assert_array_equal(found[:, 2], OBLONG[:, 2])
        np.testing.assert_array_equal(depth.correct_intrinsics(assumed, params), begin)
    bare = Memory().frames()[0]
    np.testing.assert_allclose(np.diag(depth.correct_intrinsics(bare, PARAMS, 2.0)), np.diag(K) * [2, 2, 1])


def test_streets_like_a_camera_have_its_focal_length():
    matrix = intrinsics_from_field_of_view(47.0, *SIZE)
    assert depth.street_like(PARAMS, matrix).field_of_view == pytest.approx(47.0)
