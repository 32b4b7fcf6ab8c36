"""Regions as points: means, majorities and sizes against loops."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lib.artifacts.files import write_image
from lib.data.labels import IGNORE, STREET
from lib.evaluation import average_regions, find_region_maps
from lib.figures.evaluation import draw_regions


def test_regions_are_means_of_their_cells():
    rng = np.random.default_rng(0)
    embeddings = torch.from_numpy(rng.normal(size=(2, 3, 4, 6))).float()
    cells = rng.integers(0, 4, (2, 4, 6))
    labels = rng.choice([0, 1, 2, IGNORE], (2, 4, 6)).astype(np.uint8)
    grow = lambda maps: maps.repeat(4, axis=1).repeat(4, axis=2)  # noqa: E731
    found = average_regions(embeddings, grow(cells), grow(labels), smallest=2)
    unit = (embeddings / embeddings.norm(dim=1, keepdim=True)).numpy()
    expected = []
    for frame in range(2):
        for region in range(1, 4):
            inside = cells[frame] == region
            own = labels[frame][inside & (labels[frame] != IGNORE)]
            if len(own) >= 2:
                counts = np.bincount(own, minlength=3)
                expected.append((unit[frame][:, inside].mean(axis=1), counts.argmax(), inside.sum()))
    assert len(found.vectors) == len(expected) > 3
    for index, (vector, label, size) in enumerate(expected):
        np.testing.assert_allclose(found.vectors[index], vector, rtol=1e-5)
        assert (found.classes[index], found.cells[index]) == (label, size)
    assert len(draw_regions(found, STREET, 0).axes) == 1  # too few for neighbours
    with pytest.raises(ValueError, match="no region has 99 labelled cells"):
        average_regions(embeddings, grow(cells), grow(labels), smallest=99)


def test_only_frames_with_regions_are_looked_at(tmp_path):
    frames = [SimpleNamespace(id=f"clip/{i}") for i in range(9)]
    for i in (0, 1, 2, 3, 5, 8):
        write_image(tmp_path / f"{i}.png", np.full((8, 8), i, np.uint16))
    files = {f"regions/clip/{i}.png": {} for i in (0, 1, 2, 3, 5, 8)}
    made = SimpleNamespace(manifest={"files": files}, path=lambda name: tmp_path / name.split("/")[-1])
    rows, maps = find_region_maps(frames, made, most=3)
    assert rows.tolist() == [0, 2, 5]
    assert maps[:, 0, 0].tolist() == [0, 2, 5]
    assert len(find_region_maps(frames, SimpleNamespace(manifest={"files": {}}))[0]) == 0


def test_many_regions_are_drawn_twice():
    rng = np.random.default_rng(1)
    cells = np.arange(2 * 6 * 8).reshape(2, 6, 8) // 2 + 1
    labels = rng.integers(0, 12, cells.shape).astype(np.uint8)
    grown = cells.repeat(4, axis=1).repeat(4, axis=2), labels.repeat(4, axis=1).repeat(4, axis=2)
    points = average_regions(torch.randn(2, 5, 6, 8), *grown, smallest=1)
    assert len(points.cells) == 48
    assert len(draw_regions(points, STREET, 0).axes) == 2
