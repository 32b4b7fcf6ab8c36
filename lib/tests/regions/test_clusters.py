"""Learned regions in notebook 02: clusters of a run's prototypes, saved beside the maps that follow them."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lib import artifacts, clusters
from lib.data import Dataset, Frame, read_map
from lib.networks import Embedder
from lib.params import DepthParams, ParameterError, RegionParams, make
from lib.regions import FrameGrouper

from .fixtures import INTRINSICS, SIZE, draw_street


@pytest.fixture
def training(monkeypatch):
    torch.manual_seed(0)
    networks = [Embedder("resnet18", 8).eval(), torch.randn(12, 8)]
    monkeypatch.setattr(clusters, "load_networks", lambda artifact: networks)
    return networks


def test_clusters_are_those_of_the_prototypes(training):
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype(np.uint8)
    found = clusters.learn_clusters(None, 5)(images)
    assert (found.shape, found.dtype, found.max() < 5) == ((2, 64, 64), np.uint8, True)
    training[1] = None
    with pytest.raises(ValueError, match="04 of run 'other' learned no prototypes"):
        clusters.learn_clusters(SimpleNamespace(run="other"), 5)


class Streets(Dataset):
    name, size = "streets", SIZE

    def __init__(self):
        self._frames = [Frame(f"a/{i}", "a", "train", 0.0, INTRINSICS, True) for i in range(9)]

    def image(self, frame):
        return draw_street(int(frame.id[-1]))[0]

    def labels(self, frame):
        return draw_street()[2].astype(np.uint8)


def test_they_are_saved_once_and_followed(tmp_path, monkeypatch):
    by_brightness = lambda training, clusters: lambda images: (images.mean(axis=-1) // 64).astype(np.uint8)  # noqa: E731
    monkeypatch.setattr(clusters, "learn_clusters", by_brightness)
    before = artifacts.begin("01_depth", DepthParams(run=str(tmp_path / "run"), dataset="camvid"))
    dataset = Streets()
    for frame in dataset.frames():
        before.save_inverse_depth(f"inverse_depth/{frame.id}.png", draw_street()[1], 1.0)
    before.finish({})
    depth = artifacts.load(before.params.run, "01_depth")
    params = RegionParams(
        run=before.params.run, source="learned", learned_from="other", superpixels=60, learned_weight=30.0
    )
    stage, frames = artifacts.begin("02_regions", params, inputs=[depth]), dataset.frames()
    clusters.save_clusters(None, dataset, frames, stage, 4)
    maps = [read_map(stage.path(f"clusters/{frame.id}.png")) for frame in frames]
    assert np.array_equal(maps[3], dataset.image(frames[3]).mean(axis=-1) // 64)
    stage.save_image(f"clusters/{frames[0].id}.png", np.zeros(SIZE, np.uint8))
    stage = artifacts.begin("02_regions", params, inputs=[depth])  # after a kill
    clusters.save_clusters(None, dataset, frames, stage, 4)
    assert read_map(stage.path(f"clusters/{frames[0].id}.png")).max() == 0, "what is there is not made again"
    grouper = FrameGrouper(dataset, depth, stage)
    assert np.array_equal(grouper.observe(frames[1], dataset.image(frames[1])).clusters, maps[1])
    assert grouper(frames[1])["regions_per_frame"] >= 1


def test_a_run_cannot_learn_from_what_comes_after_it():
    with pytest.raises(ParameterError, match="learned_from must be another run than 'a'"):
        make(RegionParams, {"run": "a", "source": "learned", "learned_from": "a"})
    with pytest.raises(ParameterError, match="source = 'learned' and learned_from"):
        make(RegionParams, {"run": "a", "source": "learned"})
