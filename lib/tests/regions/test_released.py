"""The released procedure, by parameters: its camera, rows from the bottom, mean height and number of modules."""

import math
from dataclasses import replace

import numpy as np
import pytest

from lib.params import RegionParams
from lib.params.schemas import REGION_PRESETS
from lib.regions import grouping
from lib.regions.grouping import build_graph, group_graph, group_nodes, lift_to_scene, measure_support, weigh_edges

from .fixtures import INTRINSICS, PARAMS, SIZE, draw_graph, draw_street


def transcribe_released_points(disparity):
    """Facts sheet cpcdr sec. 2: normalised intrinsics, rows counted from the bottom, each axis over its spread."""
    height, width = disparity.shape
    fx, fy, cx, cy = 0.58 * width, 1.92 * height, 0.5 * width, 0.5 * height
    points = np.zeros((height, width, 3))
    for r in range(height):
        for c in range(width):
            z = 1 / max(disparity[r, c], 0.005)
            points[r, c] = z * (c - cx) / fx, z * (height - 1 - r - cy) / fy, z
    return points / points.reshape(-1, 3).std(axis=0)


def test_the_released_camera_against_the_transcription():
    _, inverse, _ = draw_street()
    disparity = inverse / inverse.max()  # of a PNG whose largest value is used
    points = lift_to_scene(disparity, grouping.released_intrinsics(*SIZE), 0.005)
    np.testing.assert_allclose(points, transcribe_released_points(disparity.astype(float)), rtol=1e-4, atol=1e-5)


def test_the_released_camera_is_used_whatever_the_own():
    image, inverse, _ = draw_street()
    released = replace(PARAMS, camera="released")
    first, second = (build_graph(image, inverse, k, released) for k in (INTRINSICS, 2 * INTRINSICS))
    assert np.array_equal(first.occlusion, second.occlusion)
    assert not np.array_equal(first.occlusion, build_graph(image, inverse, INTRINSICS, PARAMS).occlusion)


def test_support_at_the_mean_height():
    graph = draw_graph(2)
    found = measure_support(graph.positions, graph.normals, graph.edges, "mean")
    for e, (a, b) in enumerate(graph.edges):
        low, high = (a, b) if graph.positions[a, 1] <= graph.positions[b, 1] else (b, a)
        height = (graph.positions[low, 1] + graph.positions[high, 1]) / 2
        level, other = graph.normals[low, 1], graph.normals[high, 1]
        expected = max(level, 0) * max(level - other, 0) * height**2 if height < 0 else 0
        assert math.isclose(found[e], expected, rel_tol=1e-9, abs_tol=1e-12)
    assert (found < graph.support - 1e-9).any(), "the upper neighbour pulls the mean up"


def test_one_unit_for_all_axes_keeps_shapes():
    _, inverse, _ = draw_street()
    scene = lift_to_scene(inverse, INTRINSICS, 0.005, units="scene")
    metres = np.stack(
        [1 / inverse * ray for ray in (np.indices(SIZE)[1] - 35.5, 20.5 - np.indices(SIZE)[0], np.ones(SIZE))], axis=-1
    ) / [40, 42, 1]  # fmt: skip
    ratio = scene / np.where(metres == 0, 1, metres)
    np.testing.assert_allclose(ratio[metres != 0], ratio[-1, -1, 2], rtol=1e-4)
    np.testing.assert_allclose(np.median(scene[..., 2]), 1, rtol=1e-5)
    np.testing.assert_allclose(lift_to_scene(inverse * 7, INTRINSICS, 0.005, units="scene"), scene, rtol=1e-5)
    far = np.where(inverse > 1 / 40, inverse, 1e-6).astype(np.float32)  # a wall at the horizon is pulled in
    again = lift_to_scene(far, INTRINSICS, 0.005, units="scene")
    assert np.median(again[..., 2][inverse > 1 / 40]) == pytest.approx(1, rel=1e-5), "and sets no unit"
    assert np.isfinite(lift_to_scene(np.full(SIZE, 0.5, np.float32), INTRINSICS, 1.0, units="scene")).all()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("preset", REGION_PRESETS)
def test_presets_end_in_a_partition(preset):
    image, inverse, _ = draw_street()
    params = RegionParams(preset=preset, superpixels=200, smoothing=1.0)
    regions = group_graph(build_graph(image, inverse, INTRINSICS, params), params)
    assert np.array_equal(np.unique(regions), np.arange(1, regions.max() + 1))
    assert np.array_equal(regions, group_graph(build_graph(image, inverse, INTRINSICS, params), params))


def test_the_released_preset_aims_at_ten_modules():
    graph = draw_graph(3, count=300, cells=30)
    params = replace(PARAMS, occlusion_weight=4.0)
    weights = weigh_edges(graph, params)

    def count_modules(**values):
        options = grouping.search_options(replace(params, **values))
        return grouping.find_communities(graph.edges, weights, 300, options=options).max() + 1

    assert count_modules(preferred_modules=10, search="full") == 10
    assert count_modules(search="full") > 12
    options = grouping.search_options(RegionParams(preset="released", search="full"))
    for seed in range(5):  # the released recursion runs forever on most images
        regions = group_nodes(graph.edges, weights, 300, cut=0.9, seed=seed, options=options)
        assert np.array_equal(np.unique(regions), np.arange(regions.max() + 1))


def test_a_full_search_has_the_shorter_codelength():
    graph = draw_graph(4, count=2000, cells=60)
    weights = weigh_edges(graph, replace(PARAMS, occlusion_weight=4.0))

    def measure(search):
        options = grouping.search_options(replace(PARAMS, search=search))
        return grouping.measure_codelength(graph.edges, weights, 2000, options)

    assert measure("full") <= measure("fast") * (1 + 1e-9)
    assert measure("fast") < 1.05 * measure("full")
