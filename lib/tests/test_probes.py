"""Neighbours and over-clusters against slow transcriptions."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors
from torch.nn import functional as F

from lib.data.labels import IGNORE
from lib.evaluation import Cells, count_blocks, count_over_clusters, gather_cells, miou, probes, vote_neighbours


def make_frames(frames=3, dimensions=5, seed=0):
    """Embeddings that follow the labels, with noise: three classes in stripes. (N, D, 8, 16), (N, 32, 64)"""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 3, (frames, 8, 16))
    directions = np.random.default_rng(9).normal(size=(3, dimensions))
    embeddings = directions[small] + 0.3 * rng.normal(size=(*small.shape, dimensions))
    labels = small.repeat(4, axis=1).repeat(4, axis=2).astype(np.uint8)
    labels[:, :, :3] = IGNORE
    return torch.from_numpy(embeddings).float().permute(0, 3, 1, 2), labels


def gather(most=120, seed=0):
    embeddings, labels = make_frames()
    return gather_cells(embeddings.split(2), labels, most, seed)


def test_cells_are_labelled_unit_vectors_of_all_frames():
    embeddings, labels = make_frames()
    found = gather_cells(embeddings.split(2), labels, 30, seed=0)
    assert found.vectors.shape == (30, 5)
    torch.testing.assert_close(found.vectors.norm(dim=1), torch.ones(30))
    assert (found.classes == IGNORE).any(), "cells that nobody labelled are clustered too"
    assert (found.labelled.classes != IGNORE).all()
    assert len(found.labelled.classes) == len(found.labelled.vectors) == (found.classes != IGNORE).sum()
    known = F.normalize(embeddings).permute(0, 2, 3, 1)
    for index, (vector, label) in enumerate(zip(found.vectors, found.classes)):
        frame = index // 10
        row, column = np.argwhere((known[frame] - vector).abs().amax(dim=-1).numpy() < 1e-6)[0]
        assert labels[frame, 4 * row + 2, 4 * column + 2] == label
    assert not torch.equal(found.vectors, gather_cells(embeddings.split(2), labels, 30, seed=1).vectors)
    with pytest.raises(ValueError, match="not one labelled cell"):
        gather_cells(embeddings.split(2), np.full_like(labels, IGNORE), 30, 0)


def test_votes_equal_a_slow_transcription(monkeypatch):
    monkeypatch.setattr(probes, "CHUNK", 7)  # no multiple of anything
    cells, (scored, _) = gather(), make_frames(2, seed=5)
    unit = F.normalize(scored).permute(0, 2, 3, 1).reshape(-1, 5).numpy()
    cells = cells.labelled
    search = NearestNeighbors(n_neighbors=4, metric="cosine", algorithm="brute").fit(cells.vectors.numpy())
    distance, nearest = search.kneighbors(unit)
    votes = np.zeros((len(unit), 3), np.float32)
    for row in range(len(unit)):
        for far, index in zip(distance[row], nearest[row]):
            votes[row, cells.classes[index]] += np.exp(-far / 0.07)
    scores = torch.from_numpy(votes).reshape(2, 8, 16, 3).permute(0, 3, 1, 2)
    expected = F.interpolate(scores, size=(32, 64), mode="bilinear", align_corners=False).argmax(dim=1).numpy()
    found = vote_neighbours(scored.split(1), cells, 3, 4, (32, 64))
    assert (found == expected).mean() > 0.999  # ties
    assert vote_neighbours(scored.split(1), cells, 3, 4000, (32, 64)).shape == found.shape, "all cells vote"


def test_pixels_go_to_the_nearest_centre_and_take_its_name():
    cells, (scored, truth) = gather(), make_frames(2, seed=5)
    centers = probes.fit_centers(cells, 6, seed=0)
    large = F.normalize(F.interpolate(scored, size=(32, 64), mode="bilinear", align_corners=False))
    distance = (large.permute(0, 2, 3, 1)[..., None, :] - centers).norm(dim=-1)
    expected = distance.argmin(dim=-1)
    for index, pixels in enumerate(probes.enlarge_pixels(scored.split(2), (32, 64))):
        torch.testing.assert_close(pixels, large[index].flatten(1).T)
        assert (probes._nearest(pixels, centers).reshape(32, 64) == expected[index]).float().mean() > 0.999
    names = probes.name_centers(cells, centers, 3)
    nearest = (cells.vectors[:, None] - centers).norm(dim=-1).argmin(dim=1)
    for center, name in enumerate(names):
        inside = cells.classes[(nearest == center) & (cells.classes != IGNORE)]
        assert inside.bincount(minlength=3).argmax() == name if len(inside) else name == -1
    blocks = np.array(["b", "a"])
    counts = count_over_clusters(scored.split(1), cells, [(6, 0), (9, 0)], truth, blocks, 3)[6, 0]
    assert counts.shape == (2, 3, 4)
    assert counts.sum() == (truth != IGNORE).sum()
    slow = count_blocks(truth, np.array(names)[expected.numpy()], blocks, 3, 3)
    assert np.abs(counts[:, :, :3] - slow).sum() < 0.002 * slow.sum(), "one pass, many clusterings, blocks in order"
    assert miou(counts.sum(axis=0)) > 0.5, "the embeddings follow the labels"
    with pytest.raises(ValueError, match="cannot make 500 clusters of 120 cells"):
        probes.fit_centers(cells, 500, 0)


def test_a_centre_without_cells_has_no_name():
    cells = Cells(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1]))
    far = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-9.0, -9.0]])
    assert list(probes.name_centers(cells, far, 2)) == [0, 1, -1]
