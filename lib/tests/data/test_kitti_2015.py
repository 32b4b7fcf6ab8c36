"""KITTI's 200 benchmark images: folds, labels, instances, disparity and calibration against the truth."""

import shutil

import numpy as np
import pytest

from lib.data import read_size
from lib.data.kitti_2015 import Kitti2015
from lib.data.labels import CITYSCAPES_27
from lib.intrinsics import intrinsics_from_field_of_view, resize_intrinsics

from .fixtures import SIZE, params
from .layouts import KITTI_BASELINE, LABEL_IDS, VOID, convert, write_kitti_2015


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kitti_2015")
    return folder, write_kitti_2015(folder)


def pairs(written, **more):
    """Reader, frames at the size they are stored at, and truths: images differ in width, so a reader for each width."""
    for cut in range(3):
        data = Kitti2015(params(written[0], size=(SIZE[0], SIZE[1] - cut), **more))
        for frame in data.frames():
            if written[1][frame.id].labels.shape == data.size:
                yield data, frame, written[1][frame.id]


def test_every_image_is_tested_in_exactly_one_fold(written):
    folds = [Kitti2015(params(written[0], fold=fold)) for fold in range(5)]
    tested = [{f.id for f in data.frames("test")} for data in folds]
    assert [len(ids) for ids in tested] == [2] * 5
    assert set().union(*tested) == set(written[1])
    for data, ids in zip(folds, tested):
        assert {f.id for f in data.frames("train")} == set(written[1]) - ids
        assert not data.frames("val")
    assert len(Kitti2015(params(written[0], fold=5)).frames("test")) == 10
    assert tested == [{f.id for f in Kitti2015(params(written[0], fold=k)).frames("test")} for k in range(5)]


def test_later_frames_of_the_flow_benchmark_are_not_read(written):
    data = Kitti2015(params(written[0]))
    assert [f.id for f in data.frames()] == [f"{n:06d}_10" for n in range(10)]
    assert len(data.clips()) == 10
    assert {data.block(f) for f in data.frames()} == {"00"}, "ten in a row are not independent"
    assert all(f.labelled for f in data.frames())


def test_images_labels_and_calibration_are_the_true_ones(written):
    seen = set()
    for data, frame, truth in pairs(written):
        np.testing.assert_array_equal(data.image(frame), truth.image)
        np.testing.assert_array_equal(data.labels(frame), truth.labels)
        np.testing.assert_allclose(frame.intrinsics, truth.intrinsics, atol=1e-9)
        assert frame.calibrated
        seen |= {frame.id}
    assert seen == set(written[1])


def test_27_classes_follow_the_names(written):
    for data, frame, truth in pairs(written, label_set="27"):
        for train_id, name in ((0, "road"), (5, "pole"), (13, "car"), (18, "bicycle")):
            assert (data.labels(frame)[truth.labels == train_id] == CITYSCAPES_27.names.index(name)).all()
        np.testing.assert_array_equal(data.labels(frame) == VOID, truth.labels == VOID)


def test_instances_are_the_numbered_things(written):
    for data, frame, truth in pairs(written):
        ids = data.instances(frame)
        np.testing.assert_array_equal(ids > 0, truth.things > 0)
        both = {*zip(ids.ravel().tolist(), truth.things.ravel().tolist())}
        assert len({a for a, _ in both}) == len(both) == len({b for _, b in both})
        np.testing.assert_array_equal(ids[ids > 0] // 256, convert(truth.labels, LABEL_IDS)[ids > 0])


def test_disparity_becomes_true_depth_to_half_a_step(written):
    for data, frame, truth in pairs(written):
        depth, factor = data.depth(frame), KITTI_BASELINE * truth.intrinsics[0, 0]
        assert (depth[~np.isfinite(truth.depth)] == 0).all()
        measured = depth > 0
        assert measured.mean() > 0.5
        assert np.abs(factor / depth[measured] - factor / truth.depth[measured]).max() <= 0.5 / 256 + 1e-5


def test_depth_is_in_metres_whatever_the_size(written):
    small = Kitti2015(params(written[0], size=(24, 48)))
    for frame in small.frames():
        found = small.depth(frame)
        assert np.isin(np.rint(found[found > 0] * 1e4), np.rint(stored_depth(written, frame.id) * 1e4)).all()


def stored_depth(written, frame_id):
    height, width = written[1][frame_id].labels.shape
    data = Kitti2015(params(written[0], size=(height, width)))
    return data.depth(next(f for f in data.frames() if f.id == frame_id))


def test_anything_but_images_may_be_missing(tmp_path):
    write_kitti_2015(tmp_path, images=5)
    base = tmp_path / "kitti_2015" / "training"
    for folder in ("calib_cam_to_cam", "instance"):
        shutil.rmtree(base / folder)
    data = Kitti2015(params(tmp_path))
    frame = data.frames()[0]
    assert data.depth(frame) is data.instances(frame) is None
    shape = read_size(data.image_path(frame))
    assumed = resize_intrinsics(intrinsics_from_field_of_view(60.0, *shape), shape, data.size)
    np.testing.assert_allclose(frame.intrinsics, assumed)
    assert not frame.calibrated
    assert frame.labelled
    shutil.rmtree(base / "semantic")
    data = Kitti2015(params(tmp_path))
    assert not data.frames(labelled=True)
    assert data.labels(data.frames()[0]) is None
