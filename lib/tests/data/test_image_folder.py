"""Any folder of images, with or without 16-bit maps beside it."""

import numpy as np
import pytest
from PIL import Image

from lib.data import open_dataset, read_image, read_size
from lib.data.files import resize_image, resize_map
from lib.data.images import ImageFolder
from lib.intrinsics import intrinsics_from_field_of_view, resize_intrinsics

from .fixtures import SIZE, params, write_image
from .layouts import MAP_STEP, shoot, write_images


def read(root, **more):
    return ImageFolder(params(root, path=str(root / "images"), **more))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    return folder, write_images(folder)


def test_every_folder_is_a_clip_in_natural_order(written):
    data = read(written[0])
    assert {clip[0].clip: [f.id for f in clip] for clip in data.clips()} == {
        "a": [f"a/frame{n}" for n in range(1, 12)],
        "a_val": ["a/frame12"],  # the last tenth
        "b": [f"b/frame{n}" for n in range(1, 6)],
    }
    assert {clip[0].clip: clip[0].split for clip in data.clips()} == {"a": "train", "a_val": "val", "b": "train"}
    for clip in data.clips():
        assert [f.time for f in clip] == pytest.approx([n / 30 for n in range(len(clip))])
    for frame in data.frames():
        np.testing.assert_array_equal(data.image(frame), written[1][frame.id].image)
        assert not frame.labelled
        assert data.labels(frame) is data.depth(frame) is None


def test_folders_named_after_splits_make_the_splits(tmp_path):
    write_images(tmp_path, {"train/x": 2, "val/x": 1, "test": 1, "other": 1})
    found = {f.id: f.split for f in read(tmp_path).frames()}
    assert found == {
        "other/frame1": "train",
        "test/frame1": "test",
        "train/x/frame1": "train",
        "train/x/frame2": "train",
        "val/x/frame1": "val",
    }


def test_of_ten_folders_one_is_held_out(tmp_path):
    write_images(tmp_path, {f"drive{n}": 1 for n in range(1, 11)})
    data = read(tmp_path)
    assert [f.id for f in data.frames("val")] == ["drive10/frame1"]
    assert len(data.frames("train")) == 9


def test_folders_that_share_a_name_never_share_a_clip(tmp_path):
    write_images(tmp_path, {".": 11, "images": 2, "images_val": 2})
    data = read(tmp_path)
    assert sorted(len(clip) for clip in data.clips()) == [1, 2, 2, 10]
    for clip in data.clips():
        assert len({f.id.rpartition("/")[0] for f in clip}) == 1


def test_links_to_folders_are_not_followed_but_links_to_images_are(tmp_path):
    write_images(tmp_path, {"a": 2})
    (tmp_path / "images" / "a" / "again").symlink_to(tmp_path / "images", target_is_directory=True)
    (tmp_path / "images" / "a" / "frame3.png").symlink_to(tmp_path / "images" / "a" / "frame1.png")
    (tmp_path / "images" / ".hidden").mkdir()
    (tmp_path / "images" / "a" / "notes.txt").write_text("")
    assert [f.id for f in read(tmp_path).frames()] == ["a/frame1", "a/frame2", "a/frame3"]


def test_intrinsics_follow_the_field_of_view_and_nobody_measured_them(written, monkeypatch):
    data = read(written[0], size=(24, 32), field_of_view=75.0)
    expected = resize_intrinsics(intrinsics_from_field_of_view(75.0, *SIZE), SIZE, (24, 32))
    np.testing.assert_allclose(data.frames()[0].intrinsics, expected)
    opened = []
    monkeypatch.setattr("lib.data.images.read_size", lambda path: opened.append(path) or SIZE)
    unknown = read(written[0], size=(24, 32), field_of_view=0.0)
    assert [path.parent.name for path in opened] == ["a", "b"], "one image of each folder"
    expected = resize_intrinsics(intrinsics_from_field_of_view(70.0, *SIZE), SIZE, (24, 32))
    for frame in unknown.frames():
        np.testing.assert_allclose(frame.intrinsics, expected)
    assert not any(frame.calibrated for frame in data.frames() + unknown.frames())


@pytest.mark.parametrize("ending", ["jpg", "tif", "webp", "png"])
def test_a_photograph_is_turned_as_its_camera_noted(tmp_path, ending):
    path, exif = tmp_path / "images" / f"a.{ending}", Image.Exif()
    exif[0x0112] = 6  # the top is on the right
    path.parent.mkdir()
    Image.fromarray(shoot(0, 0).image).save(path, exif=exif, quality=95)
    assert read_size(path) == read_image(path).shape[:2] == SIZE[::-1]
    assert np.abs(np.rot90(read_image(path)).astype(int) - shoot(0, 0).image).mean() < 8
    data = read(tmp_path, size=SIZE[::-1], field_of_view=60.0)
    np.testing.assert_allclose(data.frames()[0].intrinsics, intrinsics_from_field_of_view(60.0, *SIZE[::-1]))


@pytest.mark.parametrize("kind", ["inverse_depth", "depth"])
def test_maps_beside_the_images_are_depth(written, kind):
    root, shots = written
    more = {"path": str(root / "images"), "maps": str(root / "maps"), "map_step": MAP_STEP, "map_kind": kind}
    data = open_dataset(params(root, "images", **more))
    for frame in data.frames():
        np.testing.assert_array_equal(data.image(frame), shots[frame.id].image)
        code = np.maximum(np.rint(1 / (shots[frame.id].depth * MAP_STEP)), 1)
        values = code * MAP_STEP if kind == "depth" else 1 / (code * MAP_STEP)
        np.testing.assert_allclose(data.depth(frame), values, rtol=1e-6)


def test_maps_may_have_another_size_and_holes(tmp_path):
    write_images(tmp_path, {"a": 1})
    code = np.arange(24 * 48, dtype=np.uint16).reshape(24, 48)
    write_image(tmp_path / "maps" / "a" / "frame1.png", code)
    more = {"path": str(tmp_path / "images"), "maps": str(tmp_path / "maps"), "map_step": 0.5}
    data = open_dataset(params(tmp_path, "images", **more))
    depth = data.depth(data.frames()[0])
    full = resize_map(code, SIZE)
    assert depth[0, 0] == 0  # 0 is no value
    np.testing.assert_allclose(depth[full > 0], 2 / full[full > 0])
    square = open_dataset(params(tmp_path, "images", size=(32, 32), keep_aspect=True, **more))
    np.testing.assert_array_equal(square.depth(square.frames()[0]), np.where(
        resize_map(code[:, 12:36], (32, 32)) > 0, 2 / np.maximum(resize_map(code[:, 12:36], (32, 32)), 1), 0
    ).astype(np.float32))  # fmt: skip
    image = resize_image(shoot(0, 0).image[:, 24:72], (32, 32))
    np.testing.assert_array_equal(square.image(square.frames()[0]), image)
