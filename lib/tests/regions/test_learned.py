"""Learned clusters: the vote of the pixels, the term in eq. 3, and what it does to regions."""

import math
from dataclasses import replace

import numpy as np
import pytest

from lib.regions import grouping, learned
from lib.superpixels import find_edges

from .fixtures import INTRINSICS, PARAMS, SIZE, draw_graph, draw_street

LEARNED = replace(PARAMS, source="learned", learned_from="a run", learned_weight=4.0)


def test_vote_against_loops():
    rng = np.random.default_rng(0)
    superpixels, clusters = rng.integers(0, 9, (24, 36)), rng.integers(0, 5, (7, 10)) * 1000
    found = learned.vote_clusters(clusters, superpixels)
    votes = [{} for _ in range(9)]
    for r in range(24):
        for c in range(36):
            seen = clusters[math.floor((r + 0.5) * 7 / 24), math.floor((c + 0.5) * 10 / 36)]
            votes[superpixels[r, c]][seen] = votes[superpixels[r, c]].get(seen, 0) + 1
    for superpixel, counts in enumerate(votes):
        assert counts[found[superpixel]] == max(counts.values())
        assert found[superpixel] == min(cluster for cluster, n in counts.items() if n == max(counts.values()))


def test_vote_at_any_resolution():
    superpixels = np.arange(6).reshape(2, 3).repeat(8, axis=0).repeat(8, axis=1)
    wanted = np.array([3, 0, 3, 7, 7, 1])
    for zoom in (1, 2, 8, 24):
        clusters = wanted.reshape(2, 3).repeat(zoom, axis=0).repeat(zoom, axis=1)
        assert learned.vote_clusters(clusters, superpixels).tolist() == wanted.tolist()


@pytest.mark.parametrize(
    "clusters", [np.zeros((2, 3)), np.zeros((2, 3, 1), int), np.full((2, 3), -1), np.zeros((0, 3), int)]
)
def test_what_is_no_map_of_clusters_is_refused(clusters):
    with pytest.raises(ValueError, match="clusters must be a map"):
        learned.vote_clusters(clusters, np.zeros((4, 6), int))


@pytest.mark.parametrize("color_weight", [0.0, 0.1])
@pytest.mark.parametrize("preset", ["none", "full"])
def test_the_term_joins_the_sum_of_equation_3(color_weight, preset):
    graph, params = draw_graph(2), replace(LEARNED, color_weight=color_weight, preset=preset, learned_weight=2.5)
    clusters = np.where(graph.superpixels % 3 == 0, 8, 1)
    weights = grouping.weigh_edges(graph, params, learned.weigh_clusters(graph, clusters, params))
    for e, (a, b) in enumerate(graph.edges):
        total = params.occlusion_weight * graph.occlusion[e] + params.support_weight * graph.support[e]
        total += params.color_weight * graph.contrast[e] + params.bias + 2.5 * ((a % 3 == 0) != (b % 3 == 0))
        assert weights[e] == pytest.approx(1 / (1 + math.exp(-total)), rel=1e-9)


def test_one_cluster_gives_the_regions_of_depth():
    image, inverse, _ = draw_street()
    found = learned.group_learned(image, inverse, INTRINSICS, np.full((3, 4), 5), LEARNED)
    assert np.array_equal(found, grouping.group_regions(image, inverse, INTRINSICS, PARAMS))
    halves = np.repeat([[0, 1]], 4, axis=0)
    unweighted = learned.group_learned(image, inverse, INTRINSICS, halves, replace(LEARNED, learned_weight=0.0))
    assert np.array_equal(unweighted, found)


def test_clusters_part_what_depth_joins():
    """A painting on a wall of constant depth: depth sees one thing, clusters see two."""
    image, inverse = np.full((*SIZE, 3), 90, np.uint8), np.full(SIZE, 0.2, np.float32)
    clusters = np.zeros(SIZE, int)
    clusters[12:36, 18:54] = 1
    params = replace(LEARNED, superpixels=216, learned_weight=12.0)
    superpixels = grouping.build_graph(image, inverse, INTRINSICS, params).superpixels
    voted = learned.vote_clusters(clusters, superpixels)[superpixels]
    found = learned.group_learned(image, inverse, INTRINSICS, clusters, params)
    assert all(len(np.unique(voted[found == i])) == 1 for i in range(1, found.max() + 1))
    alone = grouping.group_regions(image, inverse, INTRINSICS, params)
    assert any(len(np.unique(voted[alone == i])) == 2 for i in range(1, alone.max() + 1))


def test_merged_to_a_number():
    image, inverse, kind = draw_street()
    params = replace(LEARNED, superpixels=300, bias=-6.0)
    clusters = kind // 2
    own = learned.group_learned(image, inverse, INTRINSICS, clusters, params)
    count = int(own.max())
    for fewer in (count - 1, max(count // 2, 1), 1):
        found = learned.group_learned(image, inverse, INTRINSICS, clusters, params, fewer)
        assert found.max() == fewer
        assert len(np.unique(np.stack([own, found]).reshape(2, -1), axis=1).T) == count  # whole regions were merged
    for more in (0, count, count + 7):
        assert np.array_equal(learned.group_learned(image, inverse, INTRINSICS, clusters, params, more), own)


def test_the_weakest_border_between_regions_goes_first():
    image, inverse, kind = draw_street()
    params = replace(LEARNED, superpixels=300)
    graph = grouping.build_graph(image, inverse, INTRINSICS, params)
    extra = learned.weigh_clusters(graph, kind, params)
    own, weights = grouping.group_graph(graph, params, extra), grouping.weigh_edges(graph, params, extra)
    merged = learned.group_learned(image, inverse, INTRINSICS, kind, params, int(own.max()) - 1)
    region_of = {int(s): int(r) for s, r in zip(graph.superpixels.ravel(), own.ravel())}
    between = {}
    for (a, b), weight in zip(graph.edges.tolist(), weights):
        if region_of[a] != region_of[b]:
            between.setdefault(tuple(sorted((region_of[a], region_of[b]))), []).append(weight)
    means = {pair: np.mean(w) for pair, w in between.items()}
    first, second = min(means, key=means.get)
    assert len(np.unique(merged[(own == first) | (own == second)])) == 1
    assert np.array_equal(find_edges(graph.superpixels), graph.edges)
