"""A finished run on other images: what is looked at, at which size, and under which names."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lib import artifacts, inference
from lib.data import find_window, load_reader
from lib.data.cameras import correct_intrinsics
from lib.data.labels import CITYSCAPES_7, COCO_27, STREET
from lib.depth import build_networks
from lib.figures.video import VideoFile
from lib.intrinsics import intrinsics_from_field_of_view
from lib.networks import Embedder, save_networks
from lib.params import AugmentationParams, DepthParams, RegionParams, TrainingParams, VideoParams

from .data import fixtures

OWN = DepthParams(dataset="video", clips=("video",), path="/films/a.mp4", video_step=3, crop_bottom=0.2)


def test_what_is_left_open_comes_from_the_run_for_its_own_video_only():
    own = inference.choose_footage(VideoParams(), OWN)
    assert (own.path, own.video_step, own.crop_bottom, own.field_of_view) == (Path("/films/a.mp4"), 3, 0.2, 80.0)
    other = inference.choose_footage(VideoParams(path="/films/b.mp4"), OWN)
    assert (other.path, other.video_step, other.crop_bottom, other.field_of_view) == (Path("/films/b.mp4"), 1, 0.0, 0.0)
    one = inference.choose_footage(VideoParams(path="/films/a.mp4"), replace(OWN, path="/films"))
    assert (one.video_step, one.crop_bottom) == (3, 0.2), "one of the files that it learned from"
    told = inference.choose_footage(VideoParams(video_step=2, crop_bottom=0.0, field_of_view=60.0), OWN)
    assert (told.video_step, told.crop_bottom, told.field_of_view) == (2, 0.0, 60.0)
    assert inference.choose_footage(VideoParams(), DepthParams()).path is None, "a generated street"


def test_the_camera_that_was_learned_is_that_of_its_own_video_only():
    assert inference.choose_footage(VideoParams(), OWN).learned
    assert inference.choose_footage(VideoParams(path="/films/a.mp4", crop_bottom=0.0), OWN).learned
    for params in (VideoParams(path="/films/b.mp4"), VideoParams(field_of_view=60.0)):
        assert not inference.choose_footage(params, OWN).learned
    for other in (replace(OWN, clips=("kitti_raw",)), DepthParams()):
        assert not inference.choose_footage(VideoParams(), other).learned


def test_videos_have_even_sides_and_the_shape_of_the_run():
    for height in (33, 128, 360):
        size = inference.output_size((64, 128), height)
        assert size[0] % 2 == size[1] % 2 == 0
        assert size[1] / size[0] == pytest.approx(2, rel=0.05)


def test_classes_are_those_of_the_scored_data_set():
    assert inference.class_set(DepthParams()) is STREET
    assert inference.class_set(DepthParams(dataset="kitti_raw", scored_dataset="coco_stuff")) is COCO_27
    assert inference.class_set(DepthParams(dataset="cityscapes", label_set="7")) is CITYSCAPES_7


def test_groups_without_names_differ_in_colour():
    classes = inference.name_groups(12)
    assert len(set(classes.colors)) == len(classes.names) == 12
    table = classes.color_table().astype(int)
    apart = np.abs(table[:12, None] - table[None, :12]).sum(axis=2) + 999 * np.eye(12, dtype=int)
    assert apart.min() > 40


@pytest.fixture
def run(tmp_path, monkeypatch):
    """01 to 04 of a run with random networks, finished; no 05."""
    monkeypatch.setattr(artifacts.stages, "OUTPUTS", tmp_path / "outputs")
    values = DepthParams(run="x")
    stage = artifacts.begin("01_depth", values)
    stage.save_tensors("depth.safetensors", build_networks(values).depth.state_dict())
    stage.about["field_of_view"] = 50.0
    stage.finish({})
    made = [artifacts.load("x", "01_depth")]
    schemas = {"02_regions": RegionParams(run="x", superpixels=100), "03_augmentation": AugmentationParams(run="x")}
    for name, params in schemas.items():
        artifacts.begin(name, params, list(made)).finish({})
        made.append(artifacts.load("x", name))
    stage = artifacts.begin("04_training", TrainingParams(run="x"), made)
    save_networks(stage, Embedder("resnet18", 8), torch.eye(8)[:6])
    stage.finish({})
    return tmp_path


def film(path):
    with VideoFile(path, 10, fixtures.SIZE, codecs=("mp4v",)) as video:
        for image in fixtures.clip().images:
            video.write(image)
    return path


def test_a_video_becomes_a_map_a_frame_and_goes_on_where_it_stopped(run):
    trained = inference.load_run("x", "prototypes", 4, torch.device("cpu"))
    assert not trained.named
    assert trained.field_of_view == 50
    assert len(set(trained.labels_of)) == 4
    params = VideoParams(run="x", path=str(film(run / "a.mp4")), output_height=48, workers=1)
    look = inference.choose_footage(params, trained.stages[0].params)
    stage = artifacts.begin("11_your_video", params, trained.stages)
    names = inference.observe_video(trained, look, params, stage)
    assert names == [f"{i:06d}" for i in range(6)]
    made = {p: p.stat().st_mtime_ns for p in stage.folder.rglob("*.png")}
    assert len(made) == 18
    next(p for p in made if p.parent.name == "regions").unlink()
    again = artifacts.begin("11_your_video", params, trained.stages)
    assert inference.observe_video(trained, look, params, again) == names
    kept = [p for p, time in made.items() if p.is_file() and p.stat().st_mtime_ns == time]
    assert len(kept) == 15, "one frame was made anew"
    views = list(inference.read_views(replace(look, crop_bottom=0.25, field_of_view=90.0), params, trained))
    assert views[0].small.shape == (64, 128, 3)
    assert views[0].intrinsics[0, 0] < next(inference.read_views(look, params, trained)).intrinsics[0, 0]
    film(run / "a.mp4")  # another film under the old name
    assert not artifacts.begin("11_your_video", params, trained.stages).continued


@pytest.mark.parametrize("learn", ["no", "unknown", "all"])
@pytest.mark.parametrize("keep_aspect", [False, True])
def test_what_was_learned_is_measured_on_the_window_that_is_used(run, keep_aspect, learn):
    """What 01 found for its stretched or cut frames holds for a view of the same video, cut otherwise."""
    values = {"dataset": "video", "clips": ("video",), "path": str(film(run / "a.mp4")), "height": 64, "width": 64}
    values |= {"keep_aspect": keep_aspect, "crop_bottom": 0.25, "field_of_view": 0.0, "learn_intrinsics": learn}
    learned, params = DepthParams(run="x", **values), VideoParams(run="x", crop_bottom=0.0)
    known = load_reader("video")(learned, cache=run / "cache").frames()[0]
    found = correct_intrinsics(known, learned, 1.3)
    rows, columns = find_window(fixtures.SIZE, (64, 64), keep_aspect, 0.25)
    stored = found[0, 0] * (columns.stop - columns.start) / 64  # in pixels of the file
    trained = inference.load_run("x", "prototypes", 4, torch.device("cpu"))
    assert trained.focal_factor is None, "a run of before this was kept"
    own = SimpleNamespace(params=learned)
    trained = replace(trained, stages=[own], size=(64, 64), focal_factor=1.3)
    look = inference.choose_footage(params, learned)
    view = next(inference.read_views(look, params, trained))
    np.testing.assert_allclose(np.diag(view.intrinsics), [stored * 64 / 48, stored * 64 / 48, 1])
    np.testing.assert_allclose(view.intrinsics[:2, 2], 31.5)
    assert found[1, 1] == pytest.approx(stored * 64 / (rows.stop - rows.start))
    before = next(inference.read_views(look, params, replace(trained, focal_factor=None)))
    np.testing.assert_allclose(before.intrinsics, intrinsics_from_field_of_view(50.0, 64, 64))
    told = inference.choose_footage(replace(params, field_of_view=90.0), learned)
    view = next(inference.read_views(told, params, trained))
    assert view.intrinsics[0, 0] == pytest.approx(48 * 64 / 48)


def test_a_video_without_the_part_that_was_asked_for(run):
    trained = inference.load_run("x", "prototypes", 4, torch.device("cpu"))
    params = VideoParams(run="x", path=str(film(run / "a.mp4")), start=60.0)
    look = inference.choose_footage(params, trained.stages[0].params)
    with pytest.raises(ValueError, match=r"a\.mp4 has no frame from second 60 on"):
        inference.observe_video(trained, look, params, artifacts.begin("11_your_video", params, trained.stages))
