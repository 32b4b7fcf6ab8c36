"""Equations 1 to 3 and the communities of communities, against slow transcriptions; any depth gives a partition."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from infomap import Infomap

from lib.parallel import parallel_map
from lib.params import RegionParams
from lib.params.schemas import REGION_PRESETS
from lib.regions import group_nodes, group_regions, grouping, lift_to_scene, metrics
from lib.regions.grouping import measure_contrast, measure_support, weigh_edges
from lib.superpixels import find_edges, segment_superpixels

from .fixtures import INTRINSICS, PARAMS, SIZE, draw_graph, draw_street, transcribe_weight


def test_weights_against_the_equations():
    graph, params = draw_graph(0), replace(PARAMS, occlusion_weight=7.0, support_weight=2.0, bias=-1.5)
    weights = weigh_edges(graph, params)
    for e, (a, b) in enumerate(graph.edges):
        ends = graph.positions[a], graph.normals[a], graph.positions[b], graph.normals[b]
        assert np.allclose((graph.occlusion[e], graph.support[e], weights[e]), transcribe_weight(*ends, 7.0, 2.0, -1.5))
    assert (graph.support > 0).any()
    assert (graph.support == 0).any()


def test_color_adds_to_the_sum_and_only_with_a_weight():
    graph = draw_graph(0)
    plain, colored = weigh_edges(graph, PARAMS), weigh_edges(graph, replace(PARAMS, color_weight=0.1))
    before, after = np.log(plain / (1 - plain)), np.log(colored / (1 - colored))
    assert np.allclose(after - before, 0.1 * graph.contrast)
    assert np.array_equal(plain, weigh_edges(replace(graph, contrast=0 * graph.contrast), PARAMS))


def test_contrast_is_the_distance_of_mean_lab_colours():
    image, ids = np.zeros((4, 8, 3), np.uint8), np.zeros((4, 8), int)
    image[:, 4:], ids[:, 4:] = 255, 1  # black beside white
    assert measure_contrast(image, ids, find_edges(ids)) == pytest.approx([100], abs=0.1)


def test_order_within_an_edge_does_not_matter():
    graph = draw_graph(1)
    turned = measure_support(graph.positions, graph.normals, graph.edges[:, ::-1])
    assert np.array_equal(turned, graph.support)


def run_infomap(edges, count, seed=1, trials=1):
    """The same program called from plain dictionaries: {(a, b): W} -> {node: module}."""
    options = "--two-level --silent --flow-model undirected --teleportation-probability 0"
    network = Infomap(f"{options} {grouping.FAST} --seed {seed} --num-trials {trials}")
    for node in range(count):
        network.add_node(node)
    for (a, b), weight in edges.items():
        network.add_link(a, b, 1 / weight)
    return network.run().modules()


def transcribe_grouping(edges, nodes, cut):
    """The recursion of the released code with dictionaries, plus its missing stop. Returns sets of nodes."""
    if not edges:
        return [{node} for node in nodes]
    number = {node: i for i, node in enumerate(nodes)}
    modules = run_infomap({(number[a], number[b]): w for (a, b), w in edges.items()}, len(nodes))
    groups = {}
    for node in nodes:
        groups.setdefault(modules[number[node]], set()).add(node)
    module_of = {node: m for m, group in groups.items() for node in group}
    crossing = {}
    for (a, b), weight in edges.items():
        m, n = sorted((module_of[a], module_of[b]))
        if m != n:
            crossing.setdefault((m, n), []).append(weight)
    active = {m for pair, weights in crossing.items() if min(weights) < cut for m in pair}
    if not active or len(active) == len(nodes):
        return list(groups.values())
    done = [group for m, group in groups.items() if m not in active]
    merged = {pair: sum(w) / len(w) for pair, w in crossing.items() if set(pair) <= active}
    for group in transcribe_grouping(dict(sorted(merged.items())), sorted(active), cut):
        done.append(set().union(*(groups[m] for m in group)))
    return done


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("cut", [0.1, 0.2, 0.5])
def test_grouping_against_the_transcription(seed, cut):
    graph = draw_graph(seed, count=80, cells=15)
    weights = weigh_edges(graph, replace(PARAMS, occlusion_weight=6.0))
    regions = group_nodes(graph.edges, weights, 80, cut)
    slow = transcribe_grouping({(a, b): w for (a, b), w in zip(graph.edges.tolist(), weights)}, list(range(80)), cut)
    assert {frozenset(np.flatnonzero(regions == r).tolist()) for r in np.unique(regions)} == set(map(frozenset, slow))
    assert np.array_equal(np.unique(regions), np.arange(len(slow)))


def test_whole_frame_against_the_transcription():
    image, inverse, _ = draw_street()
    ids = segment_superpixels(image, 60)
    points, count = lift_to_scene(inverse, INTRINSICS, 0.005), int(ids.max()) + 1
    down, across = np.gradient(points, axis=0) / points[..., 2:], np.gradient(points, axis=1) / points[..., 2:]
    mean = [points[ids == i].mean(axis=0) for i in range(count)]
    normal = [np.cross(across[ids == i].mean(axis=0), down[ids == i].mean(axis=0)) for i in range(count)]
    normal = [n / np.linalg.norm(n) for n in normal]
    p = PARAMS
    constants = (p.occlusion_weight, p.support_weight, p.bias)
    weights = {
        (a, b): transcribe_weight(mean[a], normal[a], mean[b], normal[b], *constants)[2]
        for a, b in find_edges(ids).tolist()
    }
    slow = np.zeros(SIZE, int)
    for r, group in enumerate(transcribe_grouping(weights, list(range(count)), p.cut)):
        slow[np.isin(ids, list(group))] = r
    regions = group_regions(image, inverse, INTRINSICS, p)
    pairs = np.unique(np.stack([regions.ravel(), slow.ravel()]), axis=1).shape[1]
    assert pairs == regions.max() == slow.max() + 1


def test_grouping_ends_where_nothing_merges(monkeypatch):
    monkeypatch.setattr(grouping, "find_communities", lambda edges, weights, count, *_: np.arange(count))
    edges = np.array([[0, 1], [1, 2]])
    assert group_nodes(edges, np.array([0.05, 0.05]), 3, cut=0.2).tolist() == [0, 1, 2]


def test_every_round_hands_on_fewer_nodes(monkeypatch):
    counts, find = [], grouping.find_communities
    monkeypatch.setattr(grouping, "find_communities", lambda *a: counts.append(a[2]) or find(*a))
    graph = draw_graph(3, count=200, cells=20)
    group_nodes(graph.edges, weigh_edges(graph, replace(PARAMS, occlusion_weight=4.0)), 200, cut=0.9)
    assert len(counts) >= 2
    assert all(a > b for a, b in itertools.pairwise(counts))


def test_isolated_nodes_and_separate_parts():
    assert group_nodes(np.zeros((0, 2), int), np.zeros(0), 1, cut=0.2).tolist() == [0]
    assert group_nodes(np.zeros((0, 2), int), np.zeros(0), 3, cut=0.2).tolist() == [0, 1, 2]
    edges = np.array([[0, 1], [0, 2], [1, 2], [3, 4], [3, 5], [4, 5]])  # two triangles; node 6 alone
    regions = group_nodes(edges, np.full(6, 0.02), 7, cut=0.2)
    assert len(set(regions[:3])) == len(set(regions[3:6])) == 1
    assert len(set(regions)) == 3


def test_strong_bias_stays_finite():
    graph = draw_graph(4)
    for bias in (-1e4, 1e4):
        weights = weigh_edges(graph, replace(PARAMS, bias=bias))
        assert group_nodes(graph.edges, weights, 40, 0.2).shape == (40,)


def test_regions_follow_the_boxes():
    image, inverse, kind = draw_street()
    regions = group_regions(image, inverse, INTRINSICS, replace(PARAMS, superpixels=300, support_weight=100.0))
    assert metrics.purity(regions, kind.astype(np.uint8)) > 0.95


@st.composite
def draw_frames(draw):
    """Any image, any depth that can be read, any way to group it."""
    size = draw(st.integers(2, 40)), draw(st.integers(2, 60))
    kind = draw(st.sampled_from(["noise", "constant", "sparse", "tiny", "tower", "sky"]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    image = rng.integers(0, 256, (*size, 3)).astype(np.uint8)
    if draw(st.booleans()):
        image[:] = image[0, 0]  # one colour
    inverse = np.full(size, np.float32(rng.uniform(1e-6, 1e3)))
    if kind != "constant":
        inverse = inverse * rng.lognormal(0, {"noise": 0.5, "tower": 4}.get(kind, 1), size).astype(np.float32)
    if kind in ("sparse", "sky"):
        inverse[rng.random(size) < 0.95 if kind == "sparse" else slice(size[0] // 2)] = 0
        inverse[-1, 0] = 1
    if kind == "tiny":
        inverse[: size[0] // 2] = 1e-30
    params = RegionParams(
        superpixels=draw(st.integers(1, size[0] * size[1])),
        preset=draw(st.sampled_from(["none", *REGION_PRESETS])),
        units=draw(st.sampled_from(["axes", "scene"])),
        smoothing=draw(st.sampled_from([0.0, 1.0])),
        slic_iterations=draw(st.sampled_from([1, 3, 10])),
        trials=draw(st.sampled_from([1, 2])),
        cut=draw(st.sampled_from([0.0, 0.05, 0.5, 1.0])),
        seed=draw(st.integers(0, 5)),
    )
    return image, inverse, params


@settings(max_examples=120, deadline=None)
@given(draw_frames())
def test_any_depth_gives_a_partition(frame):
    image, inverse, params = frame
    regions = group_regions(image, inverse, INTRINSICS, params)
    assert regions.dtype == np.uint16
    assert regions.shape == image.shape[:2]
    assert np.array_equal(np.unique(regions), np.arange(1, regions.max() + 1))
    assert np.array_equal(regions, group_regions(image, inverse, INTRINSICS, params))


def test_other_processes_give_the_same_regions():
    image, inverse, _ = draw_street()
    here = group_regions(image, inverse, INTRINSICS, PARAMS)
    for there in parallel_map(_group_street, [0, 0], workers=2):
        assert np.array_equal(here, there)


def _group_street(seed):
    image, inverse, _ = draw_street(seed)
    return group_regions(image, inverse, INTRINSICS, PARAMS)
