import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.regions import metrics

from .fixtures import draw_street


def test_scores_of_perfect_and_of_no_regions():
    _, _, kind = draw_street()
    labels = kind.astype(np.uint8)
    segments = metrics.find_true_segments(labels)
    perfect = metrics.score_regions(segments, labels)
    assert perfect == {"purity": 1, "asa": 1, "boundary_recall": 1, "under_segmentation": 0}
    one = metrics.score_regions(np.ones(kind.shape, int), labels)
    assert one["purity"] == np.bincount(kind.ravel()).max() / kind.size
    assert one["boundary_recall"] == 0


def test_what_is_wrong_in_impure_regions():
    regions, labels = np.repeat([[1, 1, 1, 2]], 4, axis=0), np.repeat([[0, 0, 7, 255]], 4, axis=0).astype(np.uint8)
    labels[3, 3] = 7
    impure, commonest = metrics.find_impure(regions, labels)
    assert np.array_equal(impure, labels * (regions == 1) == 7)
    assert (commonest == np.where(regions == 1, 0, 7)).all()
    counts, thin = metrics.count_mixtures(regions, labels, superpixels=4)  # 2 x 2 pixels: the strip of 7 is thinner
    assert (counts.sum(), counts[7, 0], thin) == (4, 4, 4)
    assert metrics.count_mixtures(regions, labels, superpixels=16)[1] == 0


@given(st.integers(0, 999), st.integers(1, 6))
def test_thin_things_against_squares(seed, side):
    labels = np.random.default_rng(seed).integers(0, 2, (7, 8)).astype(np.uint8).repeat(3, axis=0).repeat(3, axis=1)
    labels[5], labels[:, 8] = 2, 255
    reach = side - 1
    padded = np.pad(labels, reach, mode="edge")  # classes go on beyond the border
    covered = np.zeros(padded.shape, bool)
    for r in range(padded.shape[0] - reach):
        for c in range(padded.shape[1] - reach):
            square = padded[r : r + side, c : c + side]
            covered[r : r + side, c : c + side] |= (square == square[0, 0]).all()
    middle = np.s_[reach : reach + labels.shape[0], reach : reach + labels.shape[1]]
    found, expected = metrics.find_thin(labels, side), ~covered[middle]
    inside = np.s_[side:-side, side:-side]
    assert np.array_equal(found[inside], expected[inside])
    assert (found >= expected).all()  # squares whose middle lies beyond the border do not count


def test_scores_against_loops():
    rng = np.random.default_rng(5)
    regions, labels = rng.integers(1, 6, (12, 14)), rng.integers(0, 3, (12, 14)).astype(np.uint8)
    labels[rng.random(labels.shape) < 0.2] = 255
    pixels = [(r, g) for r, g in zip(regions.ravel(), labels.ravel()) if g != 255]
    best = sum(max(sum(p == (r, g) for p in pixels) for g in range(3)) for r in range(1, 6))
    assert metrics.purity(regions, labels) == pytest.approx(best / len(pixels))
    segments = metrics.find_true_segments(labels)
    pixels = [(r, g) for r, g in zip(regions.ravel(), segments.ravel()) if g]
    error = 0
    for r, g in set(pixels):
        inside = pixels.count((r, g))
        error += min(inside, sum(p[0] == r for p in pixels) - inside)
    assert metrics.under_segmentation(regions, segments) == pytest.approx(error / len(pixels))


def test_things_of_one_class_are_apart_only_with_instances():
    labels, instances = np.full((6, 8), 3, np.uint8), np.zeros((6, 8), np.uint16)
    instances[:, 4:] = 1
    assert metrics.find_true_segments(labels).max() == 1
    assert metrics.find_true_segments(labels, instances).max() == 2
    labels[:, 0] = 255
    assert (metrics.find_true_segments(labels)[:, 0] == 0).all()


def test_border_found_within_the_tolerance_only():
    labels = np.zeros((20, 20), np.uint8)
    labels[:, 10:] = 1
    segments = metrics.find_true_segments(labels)
    recall = [metrics.boundary_recall((np.arange(20) >= c) + np.ones((20, 1), int), segments) for c in (10, 11, 13)]
    assert recall == [1, 1, 0]


def test_nothing_to_score_and_other_sizes_are_refused():
    with pytest.raises(ValueError, match="no labelled pixel"):
        metrics.purity(np.ones((4, 4), int), np.full((4, 4), 255, np.uint8))
    with pytest.raises(ValueError, match="differ in size"):
        metrics.score_regions(np.ones((4, 4), int), np.zeros((4, 5), np.uint8))


@given(st.integers(8, 60), st.integers(8, 60), st.integers(1, 60))
def test_grid_has_exactly_as_many_cells(height, width, count):
    grid = metrics.cut_grid((height, width), count)
    assert grid.min() == 1
    assert len(np.unique(grid)) <= count
    if count <= min(height, width):
        assert len(np.unique(grid)) == count


def test_plain_slic_comes_close_to_the_number():
    image, _, _ = draw_street()
    for count in (1, 10, 40):
        ids = metrics.cut_slic(image, count)
        assert ids.min() == 1
        assert abs(int(ids.max()) - count) <= max(1, count // 5)
