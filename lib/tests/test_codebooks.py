"""Directions that name pixels without a label: what is merged, and that each way finds what lies apart."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lib import codebooks
from lib.clustering import map_prototypes
from lib.codebooks import (
    CHOICES,
    CODES,
    Codebook,
    choose_grouping,
    fit_codes,
    group_directions,
    make_codebooks,
    map_codes,
)

from .test_clustering import Colors

PROTOTYPES = torch.tensor([[1.0, 0, 0], [0, 0, 1], [0.9, 0.1, 0], [0, 1, 0]])


def make_images(count=9):
    """Red above blue, each in many shades."""
    images = np.zeros((count, 16, 24, 3), np.uint8)
    images[:, :8, :, 0] = images[:, 8:, :, 2] = 180
    return images + np.random.default_rng(0).integers(0, 60, images.shape).astype(np.uint8)


@pytest.fixture
def books():
    return make_codebooks(Colors(), PROTOTYPES, make_images(), 2, "average", (0, 3))


def test_every_way_to_merge_finds_what_lies_apart(books):
    assert list(books) == [
        "prototypes", "pixels, seed 0", "pixels, seed 3", "k-means of pixels, seed 0", "k-means of pixels, seed 3",
    ]  # fmt: skip
    assert len(books["prototypes"].groupings) == 3 + 2 * 2, "agglomeration of three things, two kinds of k-means"
    images = make_images(2)
    maps = map_codes(Colors(), books, images)
    top, bottom = (slice(None), slice(None, 5)), (slice(None), slice(11, None))
    for name, book in books.items():
        assert maps[name].shape == images.shape[:3]
        for group in book.groupings.values():
            clusters = group(2)
            assert clusters.dtype == np.int64
            assert len(clusters) == len(book.directions)
            found = clusters[maps[name]]
            assert len(np.unique(found[top])) == len(np.unique(found[bottom])) == 1
            assert found[0, 0, 0] != found[0, -1, 0], name


def test_one_way_alone_is_that_of_all(books):
    images = make_images()
    for represent in CHOICES:
        name, group = choose_grouping(books, represent)
        directions, clusters = group_directions(Colors(), PROTOTYPES, images, 2, represent, "average", 0)
        assert torch.equal(directions, books[name].directions)
        assert np.array_equal(clusters, group(2))
    assert choose_grouping(books, "pixels")[0] == "pixels, seed 0"


def test_maps_of_many_books_are_those_of_each(books):
    images = make_images(3)
    maps = map_codes(Colors(), books, images, mirrored=True)
    for name, book in books.items():
        assert np.array_equal(maps[name], map_prototypes(Colors(), book.directions, images, mirrored=True))
        assert maps[name].dtype == np.uint8
    large = {"many": Codebook(F.normalize(torch.randn(300, 3)), {})}
    assert map_codes(Colors(), large, images)["many"].dtype == np.uint16


def test_codes_are_the_means_of_their_cells_as_directions():
    rng = torch.Generator().manual_seed(0)
    cells = F.normalize(torch.eye(4).repeat_interleave(20, 0) + 0.05 * torch.randn(80, 4, generator=rng))
    codes = fit_codes(cells, 4, seed=1)
    torch.testing.assert_close(codes.norm(dim=1), torch.ones(4))
    expected = F.normalize(cells.reshape(4, 20, 4).mean(dim=1))
    assert torch.allclose((codes @ expected.T).max(dim=1).values, torch.ones(4), atol=1e-5)
    assert torch.equal(fit_codes(cells, 4, seed=1), codes)
    assert len(fit_codes(cells, 100, seed=0)) == 80, "no more than cells"


def test_what_a_book_can_be_merged_into(books):
    assert [books["prototypes"].can_make(k) for k in (2, 4, 5)] == [True, True, False]
    assert [books["pixels, seed 0"].can_make(k) for k in (2, 2 * CODES, 2 * CODES + 1)] == [True, True, False]
    assert [books["k-means of pixels, seed 0"].can_make(k) for k in (1, 2, 3)] == [False, True, False]


def test_a_few_cells_of_every_frame_are_looked_at(monkeypatch):
    """As many of each, whatever the number of frames; others for each seed of k-means."""
    seen = []
    monkeypatch.setattr(codebooks, "CELLS", 18)
    monkeypatch.setattr(codebooks, "fit_codes", lambda cells, *_: seen.append(cells) or torch.eye(3))
    make_codebooks(Colors(), PROTOTYPES, make_images(), 2, "average", (0, 1))
    assert [tuple(cells.shape) for cells in seen] == [(18, 3)] * 4
    assert torch.equal(seen[0], seen[2]), "seed 0, four directions a cluster and one"
    assert not torch.equal(seen[0], seen[1])
    assert (seen[0][::2].argmax(dim=1) != seen[0][1::2].argmax(dim=1)).any(), "drawn, not the first"
