"""Frames made once: the reader's own pixels, whole or not at all, whatever happens in between."""

import json
import os
import pickle
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from lib.data import open_dataset, prepared
from lib.data.images import ImageFolder
from lib.data.joined import Joined, WithMaps
from lib.data.prepared import FrameImages, Prepared, Shards, build, describe_time, estimate, gather_images
from lib.data.street.dataset import Street
from lib.parallel import parallel_map
from lib.params import DepthParams

from .fixtures import SIZE, params, write_image
from .layouts import write_images, write_kitti_2015

ITEM = SIZE[0] * SIZE[1] * 3  # bytes of a frame


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch):
    monkeypatch.setattr(prepared, "SHARD_BYTES", 3 * ITEM)  # three frames a shard


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    write_images(folder, {"a": 8})
    return folder


def read(root, **more):
    return ImageFolder(params(root, path=str(root / "images"), **more))


def make(root, cache, workers=1, **more):
    return Prepared(read(root, **more), workers, cache)


def same(data, own):
    return all(np.array_equal(data.image(f), own.image(f)) for f in own.frames())


def files(folder):
    return {p.relative_to(folder): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_prepared_images_are_the_readers_own_to_the_last_bit(root, tmp_path):
    for more in ({}, {"size": (32, 32), "keep_aspect": True}, {"size": (32, 64), "crop_bottom": 0.2}):
        data = make(root, tmp_path, **more)
        assert same(data, read(root, **more))
        assert [f.id for f in data.frames()] == [f.id for f in read(root, **more).frames()]
        assert data.is_prepared
        assert data.image_path(data.frames()[0]) == read(root).image_path(data.frames()[0])
    assert len(list(tmp_path.iterdir())) == 3  # sizes and windows do not share shards


def test_what_another_version_stored_is_not_read(root, tmp_path, monkeypatch):
    folders = {make(root, tmp_path).shards.folder}
    monkeypatch.setattr(prepared, "CACHE_VERSION", prepared.CACHE_VERSION + 1)
    assert make(root, tmp_path).shards.folder not in folders


def test_nothing_is_made_before_an_image_is_asked_for_and_then_only_once(root, tmp_path, monkeypatch):
    data = make(root, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
    data.image(data.frames()[0])
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "cache").rglob("*")}
    monkeypatch.setattr(ImageFolder, "image", None)  # the reader is not asked again
    again = make(root, tmp_path / "cache")
    assert [again.image(f).shape for f in again.frames()] == [(*SIZE, 3)] * 8
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "cache").rglob("*")} == before


@pytest.mark.parametrize("harm", ["lost", "cut", "flipped", "no seal", "empty seal", "foreign seal"])
@pytest.mark.parametrize("in_use", [False, True])
def test_a_damaged_shard_is_made_again_and_the_others_stay(root, tmp_path, harm, in_use):
    data = make(root, tmp_path)
    shards = data.prepare()
    assert shards.shards == 3
    whole, path, seal = files(tmp_path), shards.path(1, "image"), shards.folder / "00001.json"
    if in_use:
        [data.image(f) for f in data.frames()]
    content = path.read_bytes()
    if harm == "lost":
        path.unlink()
    elif harm == "cut":
        path.write_bytes(content[:-100])
    elif harm == "flipped":
        path.unlink()  # another file, as after a copy: what is in use is not changed below the reader
        path.write_bytes(content[:-7] + bytes([content[-7] ^ 0xFF]) + content[-6:])
    elif harm == "no seal":
        seal.unlink()
    else:
        seal.write_text("{}" if harm == "empty seal" else '["other"]')
    kept = shards.path(0, "image").stat().st_mtime_ns
    again = data if in_use else make(root, tmp_path)
    again.prepare(verify=harm == "flipped" or in_use)
    assert files(tmp_path) == whole
    assert shards.path(0, "image").stat().st_mtime_ns == kept
    assert same(again, read(root))


def test_a_flipped_byte_is_found_without_asking_when_an_attempt_was_interrupted(root, tmp_path):
    shards = make(root, tmp_path).prepare()
    whole, path = files(tmp_path), shards.path(0, "image")
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    shards.path(2, "image").unlink()
    make(root, tmp_path).prepare()
    assert files(tmp_path) == whole


def test_a_killed_attempt_goes_on_where_it_stopped(root, tmp_path, monkeypatch):
    data, made = make(root, tmp_path), []
    write = Shards.write

    def stop(self, shard, load):
        if shard == 2 and not made.count("stopped"):
            made.append("stopped")
            raise KeyboardInterrupt
        made.append(shard)
        write(self, shard, load)

    monkeypatch.setattr(Shards, "write", stop)
    with pytest.raises(KeyboardInterrupt):
        data.prepare()
    assert not data.shards.is_sealed(2)
    data.prepare()
    assert made == [0, 1, "stopped", 2]
    assert same(data, read(root))


@pytest.mark.parametrize("call", ["save", "replace", "load"])
def test_nothing_half_written_stands_under_the_final_name(root, tmp_path, monkeypatch, call):
    data = make(root, tmp_path)

    def fail(*args, **kwargs):
        if call == "save":  # the disk fills up in the middle of a file
            args[0].write_bytes(b"\x93NUMPY half")
        raise OSError(28, "No space left on device")

    target = {"save": (np, "save"), "replace": (prepared.write_aside.__wrapped__.__globals__["os"], "replace")}
    if call == "load":
        monkeypatch.setattr(prepared, "_load_image", lambda *_: (_ for _ in ()).throw(ValueError("a.png is cut short")))
    else:
        monkeypatch.setattr(*target[call], fail)
    with pytest.raises((OSError, ValueError)) as caught:
        data.prepare()
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("*.npy"))
    assert not list(tmp_path.rglob("*.json"))
    monkeypatch.undo()
    monkeypatch.setattr(prepared, "SHARD_BYTES", 3 * ITEM)
    assert same(make(root, tmp_path), read(root))


def test_a_shard_that_does_not_read_back_is_never_sealed(root, tmp_path, monkeypatch):
    save = np.save
    monkeypatch.setattr(np, "save", lambda path, array: save(path, array ^ 1))
    with pytest.raises(OSError, match=r"00000\.image\.npy does not hold what was written: is the disk failing\?"):
        make(root, tmp_path).prepare()
    assert not list(tmp_path.rglob("*.json"))


def test_what_a_killed_process_left_is_cleared_away_in_time(root, tmp_path):
    data = make(root, tmp_path)
    data.shards.folder.mkdir()
    old, new = (data.shards.folder / f".00000.image.{n}.npy" for n in (1, 2))
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    data.prepare()
    assert (old.exists(), new.exists()) == (False, True)  # another process may be writing the new one


def test_too_little_space_is_refused_before_anything_is_written(root, tmp_path, monkeypatch):
    data = make(root, tmp_path / "cache")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=8 * ITEM))  # and five percent
    text = r"frames of images: 8 items, 0\.0 GB to write, about \d+ s, 0 GB free: free some space, or make height and"
    with pytest.raises(OSError, match=text):
        data.image(data.frames()[0])
    assert not (tmp_path / "cache").exists()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=9 * ITEM))
    assert same(data, read(root))


def test_size_and_time_are_said_before_anything_is_written(root, tmp_path, monkeypatch, capsys):
    data = make(root, tmp_path)
    data.prepare()
    assert capsys.readouterr().out == ""  # not worth a word
    said = []
    monkeypatch.setattr(prepared, "QUIET", 0.0)
    monkeypatch.setattr("builtins.print", lambda text: said.append((text, len(list(tmp_path.rglob("*.npy"))))))
    make(root, tmp_path, size=(32, 64)).prepare()
    ((text, written),) = said
    assert written == 3  # of the first
    assert text.startswith("frames of images: 8 items, 0.0 GB to write, about 0 s, ")


def test_the_estimate_is_that_of_the_missing_part():
    shards = Shards(None, 10_000, {"image": ((1000, 1000), "uint8")}, shard_bytes=50_000_000)
    per_item = 0.002
    clock = iter(np.arange(10) * 4 * per_item)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepared.time, "perf_counter", lambda: next(clock))
        loaded = []
        assert estimate(shards, loaded.append, 1, 200) == pytest.approx((10.0, 20.0))
        assert loaded == [0, 3333, 6666, 9999]
        assert estimate(shards, loaded.append, 4, 20) == pytest.approx((1.0, 0.5))
    assert [describe_time(s) for s in (3, 200, 9000, 400_000)] == ["3 s", "3.3 min", "2.5 h", "4.6 d"]


def test_a_changed_file_is_prepared_anew(tmp_path):
    shots = write_images(tmp_path, {"a": 4})
    folders = {make(tmp_path, tmp_path / "cache").shards.folder}
    path = tmp_path / "images" / "a" / "frame2.png"
    write_image(path, shots["a/frame1"].image)
    folders.add(make(tmp_path, tmp_path / "cache").shards.folder)
    os.utime(path, (0, 0))  # as long as before, but of another day
    folders.add(make(tmp_path, tmp_path / "cache").shards.folder)
    path.unlink()
    folders.add(make(tmp_path, tmp_path / "cache").shards.folder)
    write_image(path.with_name("frame9.png"), shots["a/frame2"].image)
    data = make(tmp_path, tmp_path / "cache")
    folders.add(make(tmp_path, tmp_path / "cache").shards.folder)
    assert len(folders) == 5
    assert make(tmp_path, tmp_path / "cache").shards.folder in folders
    path.with_name("frame9.png").unlink()
    with pytest.raises(ValueError, match=r"cannot read .*frame9\.png: No such file or directory; copy it again or"):
        data.image(data.frames()[0])


def test_other_processes_get_the_same_arrays_and_make_nothing(root, tmp_path):
    data = make(root, tmp_path, workers=2)
    sent = pickle.dumps(data)  # makes the shards here, once
    assert all(data.shards.is_sealed(i, verify=True) for i in range(3))
    for i, image in enumerate(parallel_map(FrameImages([(data, data.frames())]).__getitem__, range(8), 2)):
        np.testing.assert_array_equal(image, read(root).image(data.frames()[i]))
    data.image(data.frames()[0])
    assert len(pickle.dumps(data)) < len(sent) + 500  # no pixels travel
    assert same(pickle.loads(sent), read(root))


def test_an_error_in_another_process_is_one_sentence_too(tmp_path):
    write_images(tmp_path, {"a": 8})
    path = tmp_path / "images" / "a" / "frame2.png"  # none of the four that the estimate reads
    path.write_bytes(path.read_bytes()[:200])
    data = make(tmp_path, tmp_path / "cache", workers=2)
    with pytest.raises(ValueError, match=r"frame2\.png is cut short \(200 bytes\)[^\n]*$"):
        data.prepare()
    assert not data.shards.is_sealed(0)


def test_only_data_sets_with_files_are_prepared(root, tmp_path, monkeypatch):
    write_kitti_2015(tmp_path, images=3)
    monkeypatch.setattr(prepared, "CACHE", tmp_path / "cache")
    values = {"path": str(root / "images"), "prepare": True, "scored_dataset": "kitti_2015"}
    data = open_dataset(params(tmp_path, "images", maps=str(root / "maps"), fold=5, **{**values, "scored_dataset": ""}))
    assert isinstance(data, WithMaps)
    assert data.is_prepared
    joined = open_dataset(params(tmp_path, "images", fold=5, **values))
    assert isinstance(joined, Joined)
    plain = open_dataset(params(tmp_path, "images", fold=5, **{**values, "prepare": False}))
    assert same(joined, plain)
    assert {p.name.split("-")[0] for p in (tmp_path / "cache").iterdir()} == {"images", "kitti_2015"}
    assert not Prepared.pays(Street(DepthParams()))


def test_many_frames_are_stacked_or_read_when_asked_for(root, tmp_path, monkeypatch):
    data, own = make(root, tmp_path), read(root)
    frames = data.frames()
    expected = np.stack([own.image(f) for f in own.frames()])
    stacked = gather_images([(data, frames[:3]), (own, frames[3:])])
    assert isinstance(stacked, np.ndarray)
    np.testing.assert_array_equal(stacked, expected)
    monkeypatch.setattr(prepared, "READY_BYTES", 1)
    assert isinstance(gather_images([(data, frames[:3]), (own, frames[3:])]), np.ndarray)  # one is not prepared
    lazy = gather_images([(data, frames[:3]), (data, frames[3:])])
    assert isinstance(lazy, FrameImages)
    monkeypatch.setattr(prepared, "fits_memory", lambda size: False)
    assert isinstance(gather_images([(own, frames)]), FrameImages)
    assert len(lazy) == 8
    for index in (2, -1, np.array([5]), np.array([[0, 7, 3], [1, 1, 2]])):
        np.testing.assert_array_equal(lazy[index], expected[index])
    np.testing.assert_array_equal(np.stack(list(lazy)), expected)


def test_items_are_counted_like_those_of_a_list(tmp_path):
    shards = Shards(tmp_path, 6, {"value": ((), "float64"), "map": ((2, 3), "uint16")})
    build(shards, lambda i: {"value": np.array(i / 7), "map": np.full((2, 3), i, np.uint16)}, 1, "numbers")
    assert [float(shards.read(i, "value")) for i in range(6)] == [i / 7 for i in range(6)]
    assert shards.read(-1, "map").tolist() == [[5] * 3] * 2
    for beyond in (6, -7):
        with pytest.raises(IndexError):
            shards.read(beyond, "value")
    with pytest.raises(ValueError, match=r"map is \(3, 2\) uint16, expected \(2, 3\) uint16"):
        Shards(tmp_path / "b", 1, {"map": ((2, 3), "uint16")}).write(0, lambda i: {"map": np.zeros((3, 2), np.uint16)})
    assert json.loads((tmp_path / "00000.json").read_text()).keys() == {"00000.value.npy", "00000.map.npy"}
