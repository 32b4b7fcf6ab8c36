"""Frames of a data set: saved, scored, skipped; which depth and which camera they get."""

from dataclasses import replace

import numpy as np
import pytest

from lib import artifacts
from lib.data import Dataset, Frame
from lib.intrinsics import UNKNOWN, field_of_view_of, intrinsics_from_field_of_view
from lib.params import DepthParams, RegionParams
from lib.regions import FrameGrouper, average_rows, cut_every_source

from .fixtures import INTRINSICS, SIZE, draw_street


class TwoFrames(Dataset):
    name, size = "two frames", SIZE

    def __init__(self):
        self._frames = [Frame("a/0000", "a", "train", 0.0, INTRINSICS, True), Frame("a/0001", "a", "val")]

    def image(self, frame):
        return draw_street(int(frame.id[-1]))[0]

    def labels(self, frame):
        return draw_street()[2].astype(np.uint8) if frame.labelled else None

    def depth(self, frame):
        return np.where(draw_street()[1] > 1 / 40, 1 / draw_street()[1], np.inf) if frame.labelled else None


@pytest.fixture
def depth(tmp_path):
    stage = artifacts.begin("01_depth", DepthParams(run=str(tmp_path), dataset="camvid"))
    for frame in TwoFrames().frames():
        stage.save_inverse_depth(f"inverse_depth/{frame.id}.png", draw_street()[1], 1.0)
    stage.finish({})
    return artifacts.load(str(tmp_path), "01_depth")


def test_frames_are_saved_scored_and_skipped_only_under_the_same_parameters(depth):
    params = RegionParams(run=depth.run, superpixels=60)
    dataset, stage = TwoFrames(), artifacts.begin("02_regions", params, inputs=[depth])
    rows = [FrameGrouper(dataset, depth, stage)(frame) for frame in dataset.frames()]
    assert {"purity", "slic_asa", "grid_boundary_recall", "seconds_per_frame"} <= set(rows[0])
    assert set(rows[1]) == {"regions_per_frame", "seconds_per_frame"}
    means = average_rows(rows)
    assert means["purity"] == rows[0]["purity"]
    assert means["regions_per_frame"] == (rows[0]["regions_per_frame"] + rows[1]["regions_per_frame"]) / 2
    again = FrameGrouper(dataset, depth, artifacts.begin("02_regions", params, inputs=[depth]))
    row = again(dataset.frames()[0])
    assert "seconds_per_frame" not in row
    assert row["purity"] == rows[0]["purity"]
    other = artifacts.begin("02_regions", replace(params, cut=0.3), inputs=[depth])
    assert not other.has("regions/a/0000.png")


def test_true_depth_where_there_is_some(depth):
    params = RegionParams(run=depth.run, superpixels=60, depth="truth")
    dataset, stage = TwoFrames(), artifacts.begin("02_regions", params, inputs=[depth])
    grouper = FrameGrouper(dataset, depth, stage)
    assert (grouper.inverse_depth(dataset.frames()[0]) > 0).all()  # the sky has a value: nearly 0
    with pytest.raises(ValueError, match="no true depth"):
        grouper(dataset.frames()[1])


def test_a_source_that_needs_no_depth_reads_none(depth):
    params = RegionParams(run=depth.run, depth="truth", source="grid", count=6)
    dataset, stage = TwoFrames(), artifacts.begin("02_regions", params, inputs=[depth])
    assert FrameGrouper(dataset, depth, stage)(dataset.frames()[1])["regions_per_frame"] == 6  # has no true depth
    counted = FrameGrouper(dataset, depth, artifacts.begin("02_regions", replace(params, count=0), inputs=[depth]))
    with pytest.raises(ValueError, match="no true depth"):
        counted(dataset.frames()[1])


@pytest.mark.parametrize("source", ["depth", "grid", "truth"])
def test_all_that_is_known_serves_every_source(depth, source):
    params = RegionParams(run=depth.run, superpixels=60, source=source, count=0 if source == "depth" else 6)
    grouper = FrameGrouper(TwoFrames(), depth, artifacts.begin("02_regions", params, inputs=[depth]))
    found = cut_every_source(grouper.observe_all(TwoFrames().frames()[0]), params)
    assert set(found) == {"depth", "slic", "grid", "felzenszwalb", "contours", "truth"}


def test_frames_of_the_camera_that_was_learned_get_its_focal_length(tmp_path):
    def matrix(about, calibrated=False, intrinsics=INTRINSICS, **values):
        stage = artifacts.begin("01_depth", DepthParams(run=str(tmp_path), **{"dataset": "camvid", **values}))
        stage.about |= about
        stage.finish({})
        grouper = FrameGrouper(data, artifacts.load(str(tmp_path), "01_depth"), stage)
        return grouper.intrinsics(Frame("a", "a", "val", intrinsics=intrinsics, calibrated=calibrated))

    data, own = TwoFrames(), {"clips": ("camvid",), "learn_intrinsics": "unknown"}
    data.name = "camvid"
    scaled = INTRINSICS * np.array([[1.5, 1, 1], [1, 1.5, 1], [1, 1, 1]])
    np.testing.assert_allclose(matrix({"focal_factor": 1.5}, **own), scaled)
    np.testing.assert_array_equal(matrix({"focal_factor": 1.5}, calibrated=True, **own), INTRINSICS)
    np.testing.assert_array_equal(matrix({"focal_factor": 1.5}, **own | {"clips": ("street",)}), INTRINSICS)
    np.testing.assert_array_equal(matrix({}, **own), INTRINSICS)
    np.testing.assert_array_equal(matrix({"field_of_view": 50.0}, clips=("camvid",)), INTRINSICS)
    old = field_of_view_of(scaled, SIZE[1])  # a run that says the angle only
    np.testing.assert_allclose(matrix({"field_of_view": old}, **own), scaled)
    bare = matrix({"field_of_view": old, "focal_factor": 1.5}, intrinsics=None, **own)
    np.testing.assert_allclose(np.diag(bare), [60, 60, 1])
    all_of_them = matrix({"focal_factor": 1.5}, **own | {"learn_intrinsics": "all"})
    assert all_of_them[0, 0] == pytest.approx(1.5 * intrinsics_from_field_of_view(UNKNOWN, 64, 128)[0, 0])
