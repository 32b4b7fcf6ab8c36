"""Data sets put together: frames of one to learn from, labels of another to score on, maps from a third."""

from types import SimpleNamespace

import numpy as np
import pytest

from lib.data import open_dataset
from lib.data.gta5 import GTA5
from lib.data.images import ImageFolder
from lib.data.joined import Joined
from lib.data.kitti import KittiRaw
from lib.data.kitti_2015 import Kitti2015

from .fixtures import clip, params, write_kitti_raw
from .layouts import write_gta5, write_images, write_kitti_2015


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("joined")
    write_kitti_raw(folder)
    write_kitti_2015(folder)
    write_images(folder, {"a": 3})
    write_gta5(folder, images=3)
    return folder


def test_one_is_learned_from_and_the_other_scored(root):
    data = open_dataset(params(root, "kitti_raw", scored_dataset="kitti_2015", fold=5))
    raw, labelled = KittiRaw(params(root)), Kitti2015(params(root, fold=5))
    assert [f.id for f in data.frames()] == [f.id for f in raw.frames() + labelled.frames()]
    assert [f.id for f in data.frames(labelled=True)] == [f.id for f in labelled.frames()]
    assert data.classes is labelled.classes
    assert data.name == "kitti_raw and kitti_2015"
    assert len({f.id for f in data.frames()}) == len(data.frames())


def test_every_frame_is_read_by_its_own_reader(root):
    data = open_dataset(params(root, "kitti_raw", scored_dataset="kitti_2015"))
    raw, labelled = KittiRaw(params(root)), Kitti2015(params(root))
    for frame in data.frames():
        own = labelled if frame.id.endswith("_10") else raw
        np.testing.assert_array_equal(data.image(frame), own.image(frame))
        np.testing.assert_array_equal(data.depth(frame), own.depth(frame))
        assert data.image_path(frame) == own.image_path(frame)
        assert data.block(frame) == own.block(frame)
        assert data.reader(frame) == own.name
        assert frame.calibrated
        assert (data.labels(frame) is None) == (own is raw)
        assert (data.instances(frame) is None) == (own is raw)
        assert (data.camera_from_world(frame) is None) == (own is labelled)


def test_labels_of_the_learned_data_set_are_out_of_sight(root):
    data = open_dataset(params(root, "kitti_2015", scored_dataset="", fold=5))
    assert all(f.labelled for f in data.frames())
    learned = ImageFolder(params(root, path=str(root / "images")))
    game = GTA5(params(root))
    joined = Joined(game, data)
    assert {f.calibrated for f in joined.frames() if f.labelled} == {True}
    assert {f.calibrated for f in joined.frames() if not f.labelled} == {False}, "nobody measured the game's camera"
    assert joined.frames(labelled=True) == data.frames()
    assert all(f.labelled for f in game.frames())
    with pytest.raises(ValueError, match="images has no labelled frames: choose another scored_dataset"):
        Joined(data, learned)
    with pytest.raises(ValueError, match="kitti_2015 and kitti_2015 share the frame '000000_10'"):
        Joined(data, data)


def test_a_named_clip_is_of_one_data_set_alone(root):
    values = params(root, "kitti_raw", scored_dataset="kitti_2015")
    one = open_dataset(values, "kitti_raw:2011_09_26_drive_0009_sync")
    assert len(one.frames()) == 5
    np.testing.assert_array_equal(one.image(one.frames()[1]), clip().images[1])


def test_what_a_data_set_gives_passes_through(root):
    """Even what only generated streets have."""
    given = {name: object() for name in ("image", "moving", "points", "camera_from_world", "block", "image_path")}
    scored = Kitti2015(params(root))
    for name, value in given.items():
        setattr(scored, name, lambda frame, value=value: value)
    data = Joined(ImageFolder(params(root, path=str(root / "images"))), scored)
    frame = SimpleNamespace(id="000003_10")
    assert {name: getattr(data, name)(frame) for name in given} == given
