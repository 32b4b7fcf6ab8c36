"""Depth from elsewhere: each source against the truth, its units, its controls, and what it says when it cannot."""

from types import SimpleNamespace

import numpy as np
import pytest

from lib.data import open_dataset
from lib.data.kitti import KittiRaw
from lib.depth import build_networks, predict_inverse_depth, select_valid
from lib.depth.sources import FAR, DepthSource, derange, find_largest, match_stereo, open_source
from lib.tests.data.fixtures import params, write_kitti_raw
from lib.tests.data.layouts import MAP_STEP, shoot, write_images

from .fixtures import depth_params, take

FOREIGN = {"accept_noncommercial": False, "batch": 2, "device": "cpu", "min_depth": 0.5, "source": "measured"}


def relative_error(dataset, frames, maps) -> float:
    """Mean over images of |d - d*| / d* where there is a value, not scaled, capped at 80 m as in the scores."""
    errors = []
    for frame, values in zip(frames, maps):
        true = dataset.depth(frame)
        use = select_valid(true) & (values > 0)
        errors.append(np.mean(abs(np.minimum(1 / values[use], 80) / true[use] - 1)))
    return float(np.mean(errors))


def test_the_largest_value_is_the_sources_own_or_looked_for(street):
    frames = street.frames("val")
    assert find_largest(open_source(depth_params("constant"), street), street, frames) == 1
    unknown = open_source(depth_params("measured"), street)
    unknown.largest = None
    nearest = max(1 / street.depth(frame).min() for frame in frames)
    assert find_largest(unknown, street, frames) == pytest.approx(1.5 * nearest, rel=1e-5)


def test_learned_is_the_networks_prediction(street):
    values, frames = depth_params("learned"), street.frames("val")
    networks = build_networks(values)
    images = np.stack([street.image(f) for f in frames])
    source = open_source(values, street, networks)
    np.testing.assert_array_equal(take(source, street, frames), predict_inverse_depth(networks, images))
    assert (source.name, source.metric, source.unit, source.largest) == ("learned", False, "1 / scene unit", 2.0)
    stereo = open_source(depth_params("learned", stereo=True), street, networks)
    assert (stereo.metric, stereo.unit) == (True, "1 / metre")
    with pytest.raises(ValueError, match="source = learned needs trained networks"):
        open_source(values, street)


def test_measured_is_the_truth_and_the_sky_is_far(street):
    source, frames = open_source(depth_params("measured"), street), street.frames("val")
    true = np.stack([street.depth(f) for f in frames])
    maps, sky = take(source, street, frames), np.isinf(true)
    np.testing.assert_allclose(maps[~sky], 1 / true[~sky], rtol=1e-6)
    assert sky.any()
    assert (maps[sky] == np.float32(FAR)).all()
    assert (source.name, source.metric, source.unit) == ("measured", True, "1 / metre")


def test_measured_keeps_holes_and_names_the_frame_without_a_scan(tmp_path):
    drive = write_kitti_raw(tmp_path)
    values = params(tmp_path, "kitti_raw", **FOREIGN)
    data = KittiRaw(values)
    source, frames = open_source(values, data), data.frames()
    maps = take(source, data, frames)
    depth = np.stack([data.depth(f) for f in frames])
    np.testing.assert_array_equal(maps > 0, depth > 0)
    assert 0.02 < np.mean(maps > 0) < 0.5
    np.testing.assert_allclose(maps[maps > 0], 1 / depth[depth > 0], rtol=1e-6)
    (drive / "velodyne_points" / "data" / "0000000002.bin").unlink()
    with pytest.raises(ValueError, match="kitti_raw has no measured depth at .*/000002; give a folder"):
        take(source, data, frames)
    with pytest.raises(ValueError, match="kitti_raw: 1 of 5 frames tried have no measured depth, first .*/000002"):
        open_source(values, data)


def test_measured_from_a_folder_of_maps_has_no_known_unit(tmp_path):
    write_images(tmp_path, {"a": 4})
    values = params(tmp_path, "images", path=str(tmp_path / "images"), **FOREIGN)
    with pytest.raises(ValueError, match="images: 4 of 4 frames tried have no measured depth, first .*; give a folder"):
        open_source(values, open_dataset(values))
    values.maps, values.map_step = str(tmp_path / "maps"), MAP_STEP
    data = open_dataset(values)
    source = open_source(values, data)
    maps = take(source, data, data.frames())
    assert (source.metric, source.unit, source.largest) == (False, "an unknown unit", None)
    true = shoot(0, 0).depth
    assert abs(maps[0] - np.where(np.isfinite(true), 1 / true, MAP_STEP)).max() <= MAP_STEP * 0.51


def test_constant_is_one_everywhere(street):
    source, frames = open_source(depth_params("constant"), street), street.frames("val")
    assert (take(source, street, frames) == 1).all()
    assert not source.metric


@pytest.mark.parametrize(
    "sizes", [(3, 2, 2, 1), (2, 2), (5, 5), (1, 1), (4, 3, 1), (12,) * 4, (2,), (7,), (3, 1), (9, 2, 1)]
)
def test_a_derangement_leaves_no_frame_in_its_clip(sizes):
    clips = np.repeat([f"clip {i}" for i in range(len(sizes))], sizes)
    for seed in range(5):
        partner = derange(list(clips), seed)
        np.testing.assert_array_equal(partner, derange(list(clips), seed))
        assert (partner != np.arange(len(clips))).all()
        if len(sizes) > 1:
            assert (clips[partner] != clips).all()
        if len(sizes) == 1 or 2 * max(sizes) <= sum(sizes):
            assert sorted(partner) == list(range(len(clips)))
    if sum(sizes) > 4:
        assert len({tuple(derange(list(clips), seed)) for seed in range(5)}) > 1


def test_one_frame_cannot_be_shuffled():
    with pytest.raises(ValueError, match="at least 2 frames to exchange depth between, not 1"):
        derange(["a"], 0)


def test_shuffled_gives_every_frame_the_map_of_another_clip(street):
    values, frames = depth_params("shuffled", seed=4), street.frames()
    source, measured = open_source(values, street), open_source(depth_params("measured"), street)
    maps, true = take(source, street, frames), take(measured, street, frames)
    np.testing.assert_array_equal(maps, take(open_source(values, street), street, frames))
    found = [[i for i, t in enumerate(true) if np.array_equal(t, values)] for values in maps]
    assert all(len(matches) == 1 for matches in found)
    assert all(frames[i].clip != frame.clip for (i,), frame in zip(found, frames))
    assert {i for (i,) in found} == set(range(len(frames)))
    np.testing.assert_array_equal(source(frames[4:6], true[4:6]), maps[4:6])  # whatever else is asked for
    assert (source.name, source.metric) == ("shuffled measured", True)
    assert relative_error(street, frames, maps) > 0.2
    networks = build_networks(values)
    assert open_source(values, street, networks).name == "shuffled learned"
    with pytest.raises(ValueError, match="street has no frame elsewhere"):
        source([SimpleNamespace(id="elsewhere")], true[:1])


def test_stereo_measures_depth_in_metres(street):
    source, frames = open_source(depth_params("stereo"), street), street.frames("val")
    maps = take(source, street, frames)
    assert (source.name, source.metric, source.unit) == ("stereo", True, "1 / metre")
    valid = np.stack([select_valid(street.depth(f)) for f in frames])
    assert 0.8 < (maps > 0)[valid].mean() < 1  # holes where only one camera sees
    same = [np.where(v, 1 / np.median(street.depth(f)[v]), 0) for f, v in zip(frames, valid)]  # told the scale
    assert relative_error(street, frames, maps) < relative_error(street, frames, same) / 4
    ratio = [np.median(street.depth(f)[u] * m[u]) for f, m, u in zip(frames, maps, valid & (maps > 0))]
    np.testing.assert_allclose(ratio, 1, atol=0.04)
    sky = np.stack([np.isinf(street.depth(f)) for f in frames]) & (maps > 0)
    assert np.median(maps[sky]) < 0.02


@pytest.mark.parametrize("width", [160, 320])  # below and above the width that is doubled
@pytest.mark.parametrize("shift", [3, 11])
def test_a_shifted_picture_has_that_disparity(width, shift):
    noise = np.random.default_rng(shift).integers(0, 256, (48, width + shift, 3), dtype=np.uint8)
    left, right = noise[:, :width], noise[:, shift:]  # column x of the left one is x - shift of the right one
    disparity = match_stereo(left, right, largest=20)
    known = np.isfinite(disparity)
    assert known[:, shift + 4 : -4].mean() > 0.95
    assert not known[:, : shift - 2].any()  # the right camera does not see these
    assert np.median(abs(disparity[known] - shift)) < 0.1
    assert np.mean(abs(disparity[known] - shift) < 0.5) > 0.98


def test_stereo_needs_right_images(tmp_path):
    write_images(tmp_path, {"a": 2})
    data = open_dataset(params(tmp_path, "images", path=str(tmp_path / "images")))
    with pytest.raises(
        ValueError, match="images: 2 of 2 frames tried have no right image, first .*; choose a data set"
    ):
        open_source(depth_params("stereo"), data)


def test_values_that_are_none_are_refused(street):
    class Broken(DepthSource):
        name, about, value = "broken", "nowhere", np.nan

        def _predict(self, frames, images):
            return np.full(images.shape[:3], self.value)

    source, frames = Broken(), street.frames("val")[:2]
    for source.value in (np.nan, np.inf, -1.0):
        with pytest.raises(ValueError, match="broken gives NaN, infinite or negative inverse depth at val_00/0000"):
            take(source, street, frames)
    source._predict = lambda frames, images: np.ones((2, 8, 8))
    with pytest.raises(ValueError, match=r"broken gives \(2, 8, 8\) for 2 frames"):
        take(source, street, frames)
    with pytest.raises(ValueError, match="unknown source 'guessed'"):
        open_source(SimpleNamespace(source="guessed"), street)
