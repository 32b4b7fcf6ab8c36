"""Merging of prototypes and assignment of pixels against slow transcriptions; the floor; errors."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lib import clustering
from lib.clustering import (
    assign_codes,
    assign_color_position,
    assign_prototypes,
    average_members,
    cluster_vectors,
    describe_pixels,
    fit_color_position,
    map_prototypes,
)
from lib.networks import Embedder, seed_weights


def random_vectors(seed, count=20, dimensions=6):
    return torch.randn(count, dimensions, generator=torch.Generator().manual_seed(seed))


def slow_average_linkage(vectors, clusters):
    """Merge the two groups whose members are, on average, at the smallest cosine distance; again and again."""
    unit = vectors / vectors.norm(dim=1, keepdim=True)
    distance = (1 - unit @ unit.T).tolist()
    groups = [{i} for i in range(len(vectors))]
    while len(groups) > clusters:
        best = None
        for a in range(len(groups)):
            for b in range(a):
                mean = sum(distance[i][j] for i in groups[a] for j in groups[b]) / (len(groups[a]) * len(groups[b]))
                if best is None or mean < best[0]:
                    best = (mean, a, b)
        groups[best[2]] |= groups.pop(best[1])
    return {frozenset(g) for g in groups}


def as_groups(labels):
    return {frozenset(np.flatnonzero(labels == k).tolist()) for k in range(int(labels.max()) + 1)}


@pytest.mark.parametrize("seed", range(4))
def test_merging_is_average_linkage_of_cosine_distances(seed):
    vectors = random_vectors(seed)
    found = cluster_vectors(vectors, 5)
    assert as_groups(found.numpy()) == slow_average_linkage(vectors, 5)
    sizes = found.bincount().tolist()
    assert sizes == sorted(sizes, reverse=True)
    lengths = torch.rand(20, 1, generator=torch.Generator().manual_seed(9)) + 0.1
    assert torch.equal(cluster_vectors(vectors * lengths, 5), found)  # only directions count


def test_unused_vectors_join_the_nearest_used_one():
    vectors = torch.tensor([[1.0, 0, 0], [0.9, 0.1, 0], [0, 1, 0], [0, 0.1, 1.0]])
    found = cluster_vectors(vectors, 2, members=torch.tensor([3, 0, 5, 0]))
    assert found[0] == found[1] != found[2] == found[3]
    assert int(cluster_vectors(vectors, 3, members=torch.tensor([3, 0, 5, 0])).max()) == 1  # no more than are used
    assert not cluster_vectors(vectors, 3, members=torch.tensor([0, 0, 5, 0])).any()
    with pytest.raises(ValueError, match="cannot make 5 clusters of 4 prototypes"):
        cluster_vectors(vectors, 5)


def test_members_are_averaged_over_all_batches():
    embeddings, prototypes = (
        torch.randn(3, 4, 5, 6, generator=torch.Generator().manual_seed(0)),
        random_vectors(1, 5, 4),
    )
    prototypes = torch.cat([prototypes, -embeddings.mean((0, 2, 3))[None]])  # the last is nearest to few or none
    means, members = average_members(embeddings.split(2), prototypes)
    rows = [[] for _ in prototypes]
    for image in embeddings:
        for y in range(5):
            for x in range(6):
                unit = image[:, y, x] / image[:, y, x].norm()
                rows[int(torch.stack([unit @ p / p.norm() for p in prototypes]).argmax())].append(unit)
    assert members.tolist() == [len(r) for r in rows]
    for k, row in enumerate(rows):
        torch.testing.assert_close(means[k], torch.stack(row).mean(0) if row else prototypes[k] / prototypes[k].norm())


def test_pixels_go_to_the_prototype_of_largest_cosine_after_bilinear_upsampling(monkeypatch):
    embeddings, prototypes = torch.randn(2, 6, 3, 4, generator=torch.Generator().manual_seed(0)), random_vectors(2, 9)
    expected = torch.empty(2, 8, 10, dtype=torch.long)
    for b in range(2):
        for i in range(8):
            for j in range(10):
                y, x = ((i + 0.5) * 3 / 8 - 0.5), ((j + 0.5) * 4 / 10 - 0.5)
                y, x = min(max(y, 0), 2), min(max(x, 0), 3)
                y0, x0 = min(int(y), 1), min(int(x), 2)
                fy, fx = y - y0, x - x0
                e = embeddings[b]
                top = e[:, y0, x0] * (1 - fx) + e[:, y0, x0 + 1] * fx
                low = e[:, y0 + 1, x0] * (1 - fx) + e[:, y0 + 1, x0 + 1] * fx
                pixel = top * (1 - fy) + low * fy
                expected[b, i, j] = F.cosine_similarity(pixel[None], prototypes).argmax()
    assert torch.equal(assign_prototypes(embeddings, prototypes, (8, 10)), expected)
    monkeypatch.setattr(clustering, "CHUNK", 7)
    found = assign_codes(embeddings, [prototypes, prototypes.flip(0)], (8, 10))
    assert torch.equal(found[0], expected)
    assert torch.equal(found[1], len(prototypes) - 1 - expected)


class Colors(torch.nn.Module):
    """Stands in for an embedder: colour, averaged over 4 x 4 pixels."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, images):
        return F.avg_pool2d(images.permute(0, 3, 1, 2).float() * self.weight, 4) + 1


def test_frames_are_mapped_without_labels():
    images = np.zeros((9, 16, 24, 3), np.uint8)
    images[:, :8, :, 0] = images[:, 8:, :, 2] = 255
    prototypes = torch.tensor([[1.0, 0, 0], [0, 0, 1], [0.9, 0.1, 0], [0, 1, 0]])
    maps = map_prototypes(Colors(), prototypes, images)
    assert maps.shape == (9, 16, 24)
    assert maps.dtype == np.uint16
    assert (maps[:, :6] == 0).all()
    assert (maps[:, 10:] == 1).all()


def test_the_mean_with_the_mirrored_image_knows_no_left_and_right():
    with seed_weights(0):
        embedder, prototypes = Embedder("resnet18", 8), torch.randn(5, 8)
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 64, 3)).astype(np.uint8)
    turned = np.ascontiguousarray(images[:, :, ::-1])
    both = [map_prototypes(embedder, prototypes, x, mirrored=True) for x in (images, turned)]
    assert (both[0] == both[1][:, :, ::-1]).mean() > 0.99  # rounding decides near borders
    plain = [map_prototypes(embedder, prototypes, x) for x in (images, turned)]
    assert (plain[0] == plain[1][:, :, ::-1]).mean() < 0.99


def test_the_floor_sees_colour_and_position_only():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 8, 12, 3)).astype(np.uint8)
    features = describe_pixels(images, 2.0).reshape(3, 8, 12, 5)
    np.testing.assert_allclose(features[0, :, 3, 4], (np.arange(8) + 0.5) / 8 * 2)
    np.testing.assert_allclose(features[2, 5, :, 3], (np.arange(12) + 0.5) / 12 * 2)
    white = describe_pixels(np.full((1, 1, 1, 3), 255, np.uint8), 0.0)[0]
    np.testing.assert_allclose(white, [1, 0, 0, 0, 0], atol=1e-3)
    images[:, :4], images[:, 4:] = 20, 230
    model = fit_color_position(images, 2, 0.0, seed=0)
    found = assign_color_position(model, images, 0.0)
    assert found.shape == (3, 8, 12)
    assert (found[:, :4] == found[0, 0, 0]).all()
    assert (found[:, 4:] == 1 - found[0, 0, 0]).all()
    again = assign_color_position(fit_color_position(images, 2, 0.0, seed=0), images, 0.0)
    np.testing.assert_array_equal(found, again)
