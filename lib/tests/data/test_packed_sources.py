"""What is pasted, packed on the disk: the same as in memory; and of many shards none is kept open."""

import json
import os
import pickle
import resource

import cv2
import numpy as np
import pytest

from lib.artifacts import Artifact
from lib.artifacts.files import write_image, write_inverse_depth
from lib.data import open_dataset, prepared
from lib.data.prepared import FrameImages, Shards, build, gather_images
from lib.methods import sources

from .fixtures import SIZE, params
from .layouts import MAP_STEP, write_images


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch):
    monkeypatch.setattr(prepared, "SHARD_BYTES", 4 * SIZE[0] * SIZE[1] * 4)  # four frames a shard


def seal(folder, name, files, about, **values):
    """What `artifacts.load` gives for a finished stage."""
    (folder / "manifest.json").write_text(json.dumps(values))
    manifest = {"params": values, "files": dict.fromkeys(files), "about": about}
    return Artifact(name, "some/run", folder, manifest, {})


@pytest.fixture(params=["predicted", "truth"])
def stages(request, tmp_path):
    """Regions and inverse depth of every frame as 01 and 02 leave them, and the depth that 02 was told to use."""
    write_images(tmp_path, {"a": 8})
    values = {"path": str(tmp_path / "images"), "maps": str(tmp_path / "maps"), "map_step": MAP_STEP}
    data = open_dataset(params(tmp_path, "images", **values))
    rng, largest = np.random.default_rng(0), 10 / 3  # no power of two: rounding would show
    names = {"01_depth": [], "02_regions": []}
    for name in names:
        (tmp_path / name).mkdir()
    for frame in data.frames():
        inverse_depth = rng.uniform(-0.1, largest, SIZE).clip(0)
        names["01_depth"].append(f"inverse_depth/{frame.id}.png")
        write_inverse_depth(tmp_path / "01_depth" / names["01_depth"][-1], inverse_depth, largest)
        regions = cv2.resize(rng.integers(0, 300, (6, 12)).astype(np.uint16), SIZE[::-1], interpolation=0)
        names["02_regions"].append(f"regions/{frame.id}.png")
        write_image(tmp_path / "02_regions" / names["02_regions"][-1], regions)
    depth = seal(tmp_path / "01_depth", "01_depth", names["01_depth"], {"inverse_depth_largest": largest})
    regions = seal(tmp_path / "02_regions", "02_regions", names["02_regions"], {}, depth=request.param)
    return data, depth, regions


def test_packed_sources_equal_those_in_memory(stages, tmp_path, monkeypatch):
    data, depth, regions = stages
    frames = data.frames("train")
    inside = sources.read_sources(data, frames, depth, regions)
    assert isinstance(inside, list)
    monkeypatch.setattr(sources, "fits_memory", lambda size: False)
    monkeypatch.setattr(sources, "CACHE", tmp_path / "cache")
    packed = sources.read_sources(data, frames, depth, regions)
    assert isinstance(packed, sources.PackedSources)
    assert len(packed) == len(inside) == len(list(packed))
    for a, b in zip(packed, inside):
        for x, y in zip(a.pyramid, b.pyramid):
            np.testing.assert_array_equal(x, y)
        for name in ("regions", "boxes", "means"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
        if regions.params.depth == "predicted":
            np.testing.assert_array_equal(a.inverse_depth, b.inverse_depth)
        else:  # the data set's own depth is rounded to 16 bits
            half_step = b.inverse_depth.max() / 65535
            np.testing.assert_allclose(a.inverse_depth, b.inverse_depth, atol=0.51 * half_step)
        np.testing.assert_array_equal(a.inverse_depth > 0, b.inverse_depth > 0)  # far is not "no value"
    np.testing.assert_array_equal(packed[-1].regions, inside[-1].regions)
    assert len(pickle.dumps(packed)) < 20_000


def test_every_process_that_is_sent_the_sources_needs_its_own_memory(stages, tmp_path, monkeypatch):
    data, depth, regions = stages
    asked, frames = [], data.frames("train")
    monkeypatch.setattr(sources, "CACHE", tmp_path / "cache")
    one = len(frames) * sources.BYTES_PER_PIXEL * SIZE[0] * SIZE[1]
    monkeypatch.setattr(sources, "fits_memory", lambda size: asked.append(size) or size <= 2 * one)
    kinds = [type(sources.read_sources(data, frames, depth, regions, workers)) for workers in (0, 1, 2)]
    assert asked == [one, 2 * one, 3 * one]
    assert kinds == [list, list, sources.PackedSources]


def test_maps_are_packed_once_for_the_same_depth_and_regions(stages, tmp_path, monkeypatch):
    data, depth, regions = stages
    monkeypatch.setattr(sources, "CACHE", tmp_path / "cache")
    first = sources.pack_sources(data, data.frames(), depth, regions)
    times = {p: p.stat().st_mtime_ns for p in (tmp_path / "cache").rglob("*")}
    again = sources.pack_sources(data, data.frames(), depth, regions)
    assert again.shards.folder == first.shards.folder
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "cache").rglob("*")} == times
    (regions.folder / "manifest.json").write_text("another")
    changed = sources.pack_sources(data, data.frames(), depth, regions)
    fewer = sources.pack_sources(data, data.frames()[:2], depth, regions)
    monkeypatch.setattr(sources, "CACHE_VERSION", 2)
    newer = sources.pack_sources(data, data.frames(), depth, regions)
    assert len({s.shards.folder for s in (first, changed, fewer, newer)}) == 4


@pytest.fixture
def few_files():
    """At most 64 files more than are open now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = {int(number) for number in os.listdir("/proc/self/fd")}
    free = [number for number in range(len(used) + 65) if number not in used]
    resource.setrlimit(resource.RLIMIT_NOFILE, (free[64], hard))  # of numbers: there may be gaps below the highest
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


needs_proc = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="open files are counted in /proc")


@needs_proc
def test_reading_keeps_no_file_open(tmp_path, few_files):
    shards = Shards(tmp_path, 150, {"value": ((), "float64"), "map": ((2, 3), "uint16")}, shard_bytes=1)
    build(shards, lambda i: {"value": np.array(i / 7), "map": np.full((2, 3), i, np.uint16)}, 1, "numbers")
    assert shards.shards == 150
    kept = [(shards.read(i, "value"), shards.read(i, "map")) for i in range(150)]
    assert [float(value) for value, _ in kept] == [i / 7 for i in range(150)]
    assert [int(ids.max()) for _, ids in kept] == list(range(150))


@needs_proc
def test_a_run_reads_more_shards_than_files_may_be_open(tmp_path, monkeypatch, few_files):
    write_images(tmp_path, {"a": 120}, size=(16, 32))
    monkeypatch.setattr(prepared, "SHARD_BYTES", 1)  # a frame a shard
    monkeypatch.setattr(prepared, "READY_BYTES", 1)
    monkeypatch.setattr(prepared, "CACHE", tmp_path / "cache")
    values = {"path": str(tmp_path / "images"), "size": (16, 32), "prepare": True}
    data = open_dataset(params(tmp_path, "images", **values))
    assert data.shards.shards == 120
    images = gather_images([(data, data.frames())])
    assert isinstance(images, FrameImages)
    own = open_dataset(params(tmp_path, "images", **{**values, "prepare": False}))
    expected = np.stack([own.image(f) for f in own.frames()])
    np.testing.assert_array_equal(images[np.arange(120).reshape(40, 3)], expected.reshape(40, 3, 16, 32, 3))
    np.testing.assert_array_equal(np.stack(list(images)), expected)
