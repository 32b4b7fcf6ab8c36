"""The interface of all readers, single files, and the generated streets behind it."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

from lib.data import Frame, find_root, open_dataset, read_image, read_map, resize_image, resize_map
from lib.data.street import StreetCamera, make_clip
from lib.data.street.dataset import Street
from lib.depth.triplets import read_triplets
from lib.params import DepthParams

from . import fixtures
from .fixtures import params, write_camvid, write_image

SMALL = DepthParams(
    height=64,
    width=64,
    workers=1,
    train_clips=2,
    val_clips=1,
    test_clips=1,
    frames_per_clip=3,
    scored_frames_per_clip=2,
)


@pytest.fixture(scope="module")
def street(tmp_path_factory):
    return Street(SMALL, cache=tmp_path_factory.mktemp("cache"))


def test_streets_are_the_generators_own(street):
    assert [len(street.frames(split)) for split in ("train", "val", "test")] == [6, 2, 2]
    frame = street.frames("train", labelled=True)[4]
    assert (frame.id, frame.clip, frame.time) == ("train_01/0001", "train_01", 0.1)
    clip = make_clip("train", 1, 3, 64, 64, StreetCamera(SMALL.field_of_view, SMALL.camera_height))
    np.testing.assert_array_equal(street.image(frame), clip.images[1])
    np.testing.assert_array_equal(street.labels(frame), clip.labels[1])
    np.testing.assert_array_equal(street.instances(frame), clip.instances[1])
    np.testing.assert_array_equal(street.depth(frame), clip.depth[1])
    np.testing.assert_array_equal(street.moving(frame), clip.moving(1))
    np.testing.assert_array_equal(street.points(frame), clip.points(1))
    np.testing.assert_array_equal(street.camera_from_world(frame), clip.camera_from_world[1])
    np.testing.assert_allclose(frame.intrinsics, clip.intrinsics)
    street.classes.check(street.labels(frame), frame.id)


def test_a_frame_without_a_matrix_is_not_calibrated():
    bare, known = Frame("a", "a", "train"), Frame("a", "a", "train", intrinsics=np.eye(3))
    assert (bare.calibrated, known.calibrated) == (False, True)
    assumed = replace(known, calibrated=False)
    for copy in (replace(assumed, labelled=True), pickle.loads(pickle.dumps(assumed))):
        assert not copy.calibrated
    assert bare == known == assumed, "the camera does not make another frame"


def test_a_drawn_street_is_read_back_and_travels_light(street):
    [street.image(f) for f in street.frames()]
    files = sorted(street._cache.rglob("*.npz"))
    assert len(files) == 4
    times = [f.stat().st_mtime_ns for f in files]
    again = Street(SMALL, cache=street._cache)
    for frame in street.frames():
        np.testing.assert_array_equal(again.image(frame), street.image(frame))
    assert [f.stat().st_mtime_ns for f in files] == times
    assert len(pickle.dumps(street)) < 20_000


def test_ids_are_unique_and_clips_are_in_order(street):
    assert len({f.id for f in street.frames()}) == len(street.frames())
    assert [[f.id for f in c] for c in street.clips("val")] == [["val_00/0000", "val_00/0001"]]
    assert len(street.clips(shortest=3)) == 2


def test_open_dataset_knows_every_reader_and_single_clips(tmp_path):
    fixtures.write_camvid(tmp_path)
    data = open_dataset(params(tmp_path), "camvid:0016E5_07959")
    assert len(data.frames()) == 5
    with pytest.raises(FileNotFoundError, match="camvid has no clip 'nowhere'"):
        open_dataset(params(tmp_path), "camvid:nowhere")
    assert open_dataset(SMALL).name == "street"


def test_a_video_with_too_few_frames_is_refused(tmp_path):
    write_camvid(tmp_path)
    clips = ("camvid:0006R0_f00930",)
    with pytest.raises(ValueError, match=r"none of the clips .*0006R0_f00930.* has 3 frames"):
        read_triplets(replace(DepthParams(), dataset="camvid", data_root=str(tmp_path), clips=clips))


def test_missing_cut_and_corrupt_images_are_refused(tmp_path):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (40, 60, 3)).astype(np.uint8)
    with pytest.raises(FileNotFoundError, match=r"missing file: .*none\.png"):
        read_image(tmp_path / "none.png")
    for ending in ("png", "jpg"):
        path = tmp_path / f"a.{ending}"
        write_image(path, image)
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(ValueError, match=rf"a\.{ending} is cut short \(\d+ bytes\): copy or download it again"):
            read_image(path)
    for content in (b"", rng.bytes(500)):
        (tmp_path / "b.png").write_bytes(content)
        with pytest.raises(ValueError, match=r"b\.png is (empty|not a readable image)"):
            read_image(tmp_path / "b.png")
    write_image(tmp_path / "c.png", image)
    np.testing.assert_array_equal(read_image(tmp_path / "c.png"), image)
    with pytest.raises(ValueError, match="has 3 channels; a map needs one"):
        read_map(tmp_path / "c.png")


def test_resizing_averages_images_and_never_mixes_ids():
    image = np.arange(16, dtype=np.uint8).reshape(4, 4) * 8
    np.testing.assert_allclose(resize_image(image, (2, 2)), image.reshape(2, 2, 2, 2).mean((1, 3)), atol=1)
    ids = np.array([[0, 255], [7, 3]], np.uint16)
    np.testing.assert_array_equal(resize_map(ids, (4, 6)), np.kron(ids, np.ones((2, 3), np.uint16)))
    big = np.random.default_rng(0).integers(0, 60_000, (9, 9))
    assert set(np.unique(resize_map(big, (4, 5)))) <= set(np.unique(big))


def test_the_root_of_the_downloads(tmp_path, monkeypatch):
    monkeypatch.delenv("DATA_ROOT", raising=False)
    with pytest.raises(
        FileNotFoundError, match=r"set data_root or the environment variable DATA_ROOT .*x/\. Get x there"
    ):
        find_root("", "x", "Get x there.")
    (tmp_path / "x").mkdir()
    monkeypatch.setenv("DATA_ROOT", str(tmp_path))
    assert find_root("", "x", "") == tmp_path / "x"
