"""The released procedure as it was written: the same graph as ours on the same superpixels, and nearly its regions."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from lib.params import RegionParams
from lib.regions import grouping, literal
from lib.superpixels import find_edges, segment_superpixels

from .fixtures import draw_street

PARAMS = RegionParams(
    superpixels=120,
    smoothing=1.0,
    camera="released",
    search="full",
    color_weight=0.0,
    occlusion_weight=24.0,
    support_weight=2.5,
    cut=0.05,
    min_inverse_depth=0.02,
)


@pytest.mark.parametrize("height", ["lower", "mean"])
def test_the_same_weights_of_the_same_edges(height):
    image, inverse, _ = draw_street()
    params, ids = replace(PARAMS, support_height=height), segment_superpixels(image, 120)
    graph = literal.connect(ids)
    points = literal.lift_to_scene(inverse, params)
    literal.weigh_edges(graph, literal.measure_superpixels(image, points, ids), params)
    edges = find_edges(ids)
    assert {tuple(sorted(edge)) for edge in graph.edges} == set(map(tuple, edges.tolist()))
    lifted = grouping.lift_to_scene(inverse, grouping.released_intrinsics(*ids.shape), params.min_inverse_depth)
    np.testing.assert_allclose(lifted, points, rtol=1e-4, atol=1e-5)
    positions, normals = grouping.measure_superpixels(lifted, ids)
    support = grouping.measure_support(positions, normals, edges, height)
    ours = grouping.Graph(ids, positions, normals, edges, grouping.measure_occlusion(positions, edges), support, 0)
    weights = [graph[a][b]["weight"] for a, b in edges.tolist()]
    np.testing.assert_allclose(grouping.weigh_edges(ours, params), weights, rtol=1e-3)


def test_nearly_the_same_regions_of_the_same_image():
    """Superpixels differ along their borders, and links come to Infomap in another order, which is another seed."""
    agreement = []
    for seed in range(4):
        image, inverse, _ = draw_street(seed)
        slow = literal.group_regions(image, inverse, PARAMS)
        fast = grouping.group_regions(image, inverse, np.eye(3), PARAMS)
        assert np.array_equal(np.unique(slow), np.arange(1, slow.max() + 1))
        agreement.append(adjusted_rand_score(slow.ravel(), fast.ravel()))
    assert np.mean(agreement) > 0.8


def test_the_recursion_that_never_ended_ends():
    image, inverse, _ = draw_street()
    regions = literal.group_regions(image, inverse, RegionParams(preset="released", superpixels=120))
    assert np.array_equal(np.unique(regions), np.arange(1, regions.max() + 1))
