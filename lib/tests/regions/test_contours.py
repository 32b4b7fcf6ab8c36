"""Contours: strength, watershed, arcs and merging against slow transcriptions; laws of the hierarchy."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.measure import label

from lib.regions import contours

from .fixtures import draw_street


def draw_noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def draw_graph(seed, count=30, chance=0.15):
    """A connected random graph: edges, weights, lengths."""
    rng = np.random.default_rng(seed)
    pairs = [(a, b) for b in range(count) for a in range(b) if a == b - 1 or rng.random() < chance]
    edges = np.array(sorted(pairs))
    return edges, rng.random(len(edges)), rng.integers(1, 9, len(edges))


# --- strength


def test_a_step_of_colour_is_as_strong_at_every_angle():
    rows, columns = np.mgrid[-24:25, -24:25]
    found = []
    for angle in (0.0, 0.3, math.pi / 4, 1.2, math.pi / 2):
        side = np.clip(columns * math.cos(angle) + rows * math.sin(angle) + 0.5, 0, 1)[..., None]  # antialiased
        image = (side * [180, 40, 40] + (1 - side) * [90, 90, 90]).round().astype(np.uint8)
        tensor = contours.measure_gradient(image)[:, 24, 24]
        across = np.array([math.cos(angle), math.sin(angle)])
        matrix = np.array([[tensor[0], tensor[1]], [tensor[1], tensor[2]]])
        found.append(float(contours.find_strength(tensor)))
        assert np.sqrt(across @ matrix @ across) == pytest.approx(found[-1], rel=0.02)  # across the step: all of it
        along = np.array([-across[1], across[0]])
        assert np.sqrt(max(along @ matrix @ along, 0)) < 0.1 * found[-1]
    assert max(found) < 1.05 * min(found)


def test_strength_is_the_larger_eigenvalue():
    steps = np.random.default_rng(0).normal(size=(2, 3, 50))
    tensor = np.stack([(steps[a] * steps[b]).sum(axis=0) for a, b in ((0, 0), (0, 1), (1, 1))])
    slow = [np.linalg.eigvalsh([[xx, xy], [xy, yy]])[1] for xx, xy, yy in tensor.T]
    assert np.allclose(contours.find_strength(tensor) ** 2, slow)


def test_an_even_image_has_no_contour():
    image = np.full((20, 30, 3), 77, np.uint8)
    assert np.allclose(contours.measure_gradient(image), 0, atol=1e-6)
    assert contours.cut_contours(image, 1).max() == 1


# --- basins and arcs


@settings(max_examples=30, deadline=None)
@given(st.integers(8, 40), st.integers(8, 40), st.integers(0, 99), st.booleans(), st.data())
def test_basins_are_connected_and_as_many_as_are_needed(height, width, seed, even, draw):
    image = draw_noise(height, width, seed) if not even else np.zeros((height, width, 3), np.uint8)
    least = draw.draw(st.integers(1, height * width))
    basins = contours.flood_basins(contours.find_strength(contours.measure_gradient(image)), least)
    assert np.array_equal(np.unique(basins), np.arange(basins.max() + 1))
    assert basins.max() + 1 >= least
    assert label(basins, background=-1, connectivity=1).max() == basins.max() + 1


def test_more_basins_than_pixels_are_refused():
    with pytest.raises(ValueError, match="65 basins cannot be cut from 8 x 8 pixels"):
        contours.flood_basins(np.zeros((8, 8)), 65)


def transcribe_arcs(basins, tensor):
    """Pair of basins -> strength of each side between them, side by side."""
    sides = {}
    for r in range(basins.shape[0]):
        for c in range(basins.shape[1]):
            for dr, dc in ((0, 1), (1, 0)):
                if r + dr < basins.shape[0] and c + dc < basins.shape[1] and basins[r, c] != basins[r + dr, c + dc]:
                    a, b = int(basins[r, c]), int(basins[r + dr, c + dc])
                    sign, mean = (1 if a < b else -1), (tensor[:, r, c] + tensor[:, r + dr, c + dc]) / 2
                    sides.setdefault((min(a, b), max(a, b)), []).append((np.array([sign * dc, sign * dr]), mean))
    arcs = {}
    for pair, found in sides.items():
        chord = sum(step for step, _ in found)
        matrices = [np.array([[xx, xy], [xy, yy]]) for _, (xx, xy, yy) in found]
        if np.linalg.norm(chord) >= contours.STRAIGHT * len(found):
            unit = chord / np.linalg.norm(chord)
            strengths = [math.sqrt(max(unit @ matrix @ unit, 0)) for matrix in matrices]
        else:
            strengths = [math.sqrt(np.linalg.eigvalsh(matrix)[1]) for matrix in matrices]
        arcs[pair] = (sum(strengths) / len(strengths), len(strengths))
    return arcs


def test_arcs_against_the_transcription():
    tensor = contours.measure_gradient(draw_street()[0])
    basins = contours.flood_basins(contours.find_strength(tensor))
    slow = transcribe_arcs(basins, tensor.astype(float))
    edges, weights, lengths = contours.weigh_arcs(basins, tensor)
    assert list(map(tuple, edges.tolist())) == sorted(slow)
    assert np.allclose(weights, [slow[pair][0] for pair in sorted(slow)], rtol=1e-4, atol=1e-4)
    assert lengths.tolist() == [slow[pair][1] for pair in sorted(slow)]


# --- merging


def transcribe_merging(edges, weights, lengths, count):
    """Greedy merging that takes every mean anew from the arcs it began with. Heights, and the partition after each."""
    group, heights, partitions = list(range(count)), [], []
    while len(set(group)) > 1:
        sides = {}
        for number, (a, b) in enumerate(edges.tolist()):
            if group[a] != group[b]:
                sides.setdefault(frozenset((group[a], group[b])), []).append(number)
        means = {
            pair: sum(weights[n] * lengths[n] for n in s) / sum(lengths[n] for n in s) for pair, s in sides.items()
        }
        a, b = sorted(min(means, key=means.get))
        heights.append(means[frozenset((a, b))])
        group = [a if g == b else g for g in group]
        partitions.append(frozenset(frozenset(np.flatnonzero(np.array(group) == g).tolist()) for g in set(group)))
    return heights, partitions


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_merging_against_the_transcription(seed, ties):
    edges, weights, lengths = draw_graph(seed)
    if ties:  # whole numbers: their means are the same in any order of summing
        weights = np.random.default_rng(seed).integers(0, 3, len(edges)).astype(float)
    order, heights = contours.order_merges(edges, weights, lengths, 30)
    slow_heights, partitions = transcribe_merging(edges, weights, lengths, 30)
    assert np.allclose([heights[order == merge][0] for merge in range(29)], slow_heights)
    assert np.all(np.diff(slow_heights) >= -1e-12)
    basins = np.arange(30).reshape(5, 6)
    hierarchy = contours.Hierarchy(basins, edges, order, heights)
    for count in (1, 2, 5, 17, 29):
        ids = hierarchy.cut(count)
        parts = frozenset(frozenset(np.flatnonzero(ids.ravel() == i).tolist()) for i in range(1, count + 1))
        assert parts == partitions[29 - count]


def test_an_image_against_the_transcription():
    image = draw_noise(14, 18)
    tensor = contours.measure_gradient(image)
    basins = contours.flood_basins(contours.find_strength(tensor), 25)
    edges, weights, lengths = contours.weigh_arcs(basins, tensor)
    _, partitions = transcribe_merging(edges, weights, lengths, int(basins.max()) + 1)
    ids = contours.cut_contours(image, 25)  # as many were asked for: the same basins
    slow = partitions[int(basins.max()) - 25]
    assert {frozenset(np.unique(basins[ids == i]).tolist()) for i in range(1, 26)} == set(slow)


# --- the hierarchy


def test_cuts_are_nested_exact_and_connected():
    image = draw_street()[0]
    hierarchy = contours.build_hierarchy(image, 60)
    finer = None
    for count in (60, 31, 12, 5, 2, 1):
        ids = hierarchy.cut(count)
        assert np.array_equal(np.unique(ids), np.arange(1, count + 1))
        assert label(ids, background=0, connectivity=1).max() == count
        if finer is not None:  # every finer region lies within one coarser region
            assert len(np.unique(np.stack([finer.ravel(), ids.ravel()]), axis=1).T) == finer.max()
        finer = ids
    assert np.array_equal(ids, contours.cut_contours(image, 1))


def test_a_cut_at_a_height_leaves_the_stronger_contours():
    hierarchy = contours.build_hierarchy(draw_street()[0])
    strongest = hierarchy.contours()
    for share in (0.1, 0.5, 0.9):
        height = float(np.quantile(hierarchy.heights, share))
        ids = hierarchy.cut_at(height)
        before, after, _ = contours._find_sides(ids)
        borders = np.zeros(ids.size, bool)
        borders[before] = borders[after] = True
        assert np.array_equal(borders.reshape(ids.shape), strongest > np.float32(height))
        assert np.array_equal(ids, hierarchy.cut(int(ids.max())))
    assert hierarchy.cut_at(np.inf).max() == 1
    assert hierarchy.cut_at(-1.0).max() == hierarchy.size


def test_heights_are_ultrametric():
    """Of the three heights at which three basins join, the two largest are equal."""
    edges, weights, lengths = draw_graph(3, count=12)
    hierarchy = contours.Hierarchy(np.arange(12)[None], edges, *contours.order_merges(edges, weights, lengths, 12))
    join = np.zeros((12, 12))
    for height in np.unique(hierarchy.heights)[::-1]:
        ids = hierarchy.cut_at(height)[0]
        join[ids[:, None] == ids] = height
    np.fill_diagonal(join, 0)
    assert (join[:, None] <= np.maximum(join[:, :, None], join[None]) + 1e-12).all()


def test_strong_borders_are_found_at_few_regions():
    kind = draw_street()[2]
    colors = np.array([[90, 120, 200], [90, 90, 90], [180, 40, 40], [40, 160, 60]])[kind].astype(np.uint8)
    ids = contours.cut_contours(np.repeat(np.repeat(colors, 3, axis=0), 3, axis=1), 4)
    truth = np.repeat(np.repeat(kind, 3, axis=0), 3, axis=1)
    wrong = sum((ids == i).sum() - np.bincount(truth[ids == i]).max() for i in range(1, 5))
    assert wrong < 0.03 * ids.size


@pytest.mark.parametrize("count", [0, 65])
def test_impossible_numbers_are_refused(count):
    with pytest.raises(ValueError, match="cannot be cut"):
        contours.cut_contours(np.zeros((8, 8, 3), np.uint8), count)


# --- any map of regions


def test_regions_merge_over_their_weakest_edges():
    regions = np.array([[1, 1, 2, 3], [4, 4, 4, 3]], np.uint16)
    edges = np.array([[2, 1], [2, 3], [1, 4], [4, 2], [3, 4], [4, 4]])
    weights = np.array([0.9, 0.1, 0.8, 0.5, 0.6, 0.0])
    merged = contours.merge_regions(regions, edges, weights, 3)
    assert merged.tolist() == [[1, 1, 2, 2], [3, 3, 3, 2]]
    assert merged.dtype == np.uint16
    assert contours.merge_regions(regions, edges, weights, 2).tolist() == [[1, 1, 2, 2], [2, 2, 2, 2]]
    assert contours.merge_regions(regions, edges, weights, 4) is regions
    assert contours.merge_regions(regions, edges, weights, 9) is regions


def test_parallel_edges_count_by_their_length():
    regions = np.array([[1, 2, 3]])
    edges, weights = np.array([[1, 2], [2, 1], [2, 3]]), np.array([0.0, 0.6, 0.4])
    assert contours.merge_regions(regions, edges, weights, 2).tolist() == [[1, 1, 2]]
    lengths = np.array([1, 9, 1])
    assert contours.merge_regions(regions, edges, weights, 2, lengths).tolist() == [[1, 2, 2]]


def test_regions_that_cannot_be_merged_are_refused():
    regions = np.array([[1, 2, 3]])
    with pytest.raises(ValueError, match="2 regions remain where 1 are wanted"):
        contours.merge_regions(regions, np.array([[1, 2]]), np.ones(1), 1)
    with pytest.raises(ValueError, match="at least 1"):
        contours.merge_regions(regions, np.array([[1, 2]]), np.ones(1), 0)
    with pytest.raises(ValueError, match="3 regions remain"):
        contours.merge_regions(regions, np.zeros((0, 2), int), np.ones(0), 2)
