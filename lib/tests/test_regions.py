import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from infomap import Infomap

from lib import artifacts
from lib.data import Dataset, Frame
from lib.figures import regions as pictures
from lib.intrinsics import UNKNOWN, field_of_view_of, intrinsics_from_field_of_view
from lib.parallel import parallel_map
from lib.params import DepthParams, RegionParams
from lib.regions import FrameGrouper, average_rows, group_nodes, group_regions, grouping, lift_to_scene, metrics
from lib.regions.grouping import (
    Graph,
    measure_contrast,
    measure_occlusion,
    measure_superpixels,
    measure_support,
    weigh_edges,
)
from lib.superpixels import find_edges, segment_superpixels
from lib.widgets.regions import explore_weights

PARAMS = RegionParams(
    superpixels=60,
    smoothing=1.0,
    occlusion_weight=12.0,
    support_weight=20.0,
    color_weight=0.0,
    cut=0.1,
    min_inverse_depth=0.01,
)
INTRINSICS = np.array([[40.0, 0, 35.5], [0, 42.0, 20.5], [0, 0, 1]])
SIZE = (48, 72)


def draw_street(seed=0):
    """A level road under a camera, a wall far off, two boxes on the road. Image and inverse depth."""
    rng = np.random.default_rng(seed)
    v, u = np.mgrid[: SIZE[0], : SIZE[1]]
    inverse = np.maximum((v - INTRINSICS[1, 2]) / INTRINSICS[1, 1] / 1.6, 1 / 40)
    kind = (inverse > 1 / 40).astype(int)
    for box, (left, right, top, bottom, depth) in enumerate([(8, 20, 14, 40, 3.5), (44, 60, 10, 34, 5.0)]):
        inside = (u >= left) & (u < right) & (v >= top) & (v < bottom)
        inverse, kind = np.where(inside, 1 / depth, inverse), np.where(inside, box + 2, kind)
    colors = np.array([[90, 120, 200], [90, 90, 90], [180, 40, 40], [40, 160, 60]])[kind]
    image = np.clip(colors + rng.normal(0, 8, colors.shape), 0, 255).astype(np.uint8)
    return image, inverse.astype(np.float32), kind


# --- geometry


def transcribe_points(inverse, intrinsics, min_share):
    """Pixel by pixel as the paper has it: y counts rows from the bottom, each axis over its standard deviation."""
    height, width = inverse.shape
    matrix = intrinsics.copy()
    matrix[1, 2] = height - 1 - intrinsics[1, 2]
    points = np.zeros((height, width, 3))
    for r in range(height):
        for c in range(width):
            z = 1 / max(inverse[r, c], min_share * inverse.max())
            points[r, c] = z * np.linalg.inv(matrix) @ [c, height - 1 - r, 1]
    return points / points.reshape(-1, 3).std(axis=0)


def test_points_against_the_transcription():
    _, inverse, _ = draw_street()
    points = lift_to_scene(inverse, INTRINSICS, 0.1)
    assert np.allclose(points, transcribe_points(inverse.astype(float), INTRINSICS, 0.1), rtol=1e-4, atol=1e-5)
    assert np.allclose(points.reshape(-1, 3).std(axis=0), 1, atol=1e-4)


def test_scale_of_depth_does_not_matter():
    image, inverse, _ = draw_street()
    points, reference = lift_to_scene(inverse, INTRINSICS, 0.005), group_regions(image, inverse, INTRINSICS, PARAMS)
    for factor in (3, 1 / 3, 4, 1e4):
        scaled = inverse / np.float32(factor)
        assert np.allclose(lift_to_scene(scaled, INTRINSICS, 0.005), points, rtol=1e-5)
        assert np.array_equal(group_regions(image, scaled, INTRINSICS, PARAMS), reference)


def test_normals_of_level_and_upright_surfaces():
    image, inverse, kind = draw_street()
    ids = segment_superpixels(image, 60)
    points = lift_to_scene(inverse, INTRINSICS, 0.005)
    positions, normals = measure_superpixels(points, ids)
    inside = [np.unique(kind[ids == i]) for i in range(len(positions))]
    road = [i for i, k in enumerate(inside) if k.tolist() == [1]]
    wall = [i for i, k in enumerate(inside) if k.tolist() == [0]]
    assert (normals[road, 1] > 0.95).mean() > 0.8
    assert (np.abs(normals[wall, 1]) < 0.3).mean() > 0.8
    assert (positions[road, 1] < 0).all()  # below the camera
    assert np.allclose(np.linalg.norm(normals, axis=1), 1)


def test_pixels_without_value_take_the_nearest():
    _, inverse, _ = draw_street()
    holes = inverse.copy()
    holes[5, 7] = 0
    filled = inverse.copy()
    filled[5, 7] = inverse[5, 6]  # the same wall all around
    assert np.array_equal(lift_to_scene(holes, INTRINSICS, 0.005), lift_to_scene(filled, INTRINSICS, 0.005))


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.1])
def test_damaged_depth_is_refused(value):
    image, inverse, _ = draw_street()
    inverse[3, 4] = value
    with pytest.raises(ValueError, match="finite and >= 0"):
        group_regions(image, inverse, INTRINSICS, PARAMS)


def test_depth_without_values_or_of_another_size_is_refused():
    image, inverse, _ = draw_street()
    with pytest.raises(ValueError, match="no value at all"):
        group_regions(image, inverse * 0, INTRINSICS, PARAMS)
    with pytest.raises(ValueError, match="differ in size"):
        group_regions(image, inverse[:-1], INTRINSICS, PARAMS)


# --- equations 1 to 3


def transcribe_weight(p1, n1, p2, n2, w_ocln, w_sup, b):
    """Eqs. 1-3 for one edge; S1 is the lower one."""
    if p1[1] > p2[1]:
        p1, n1, p2, n2 = p2, n2, p1, n1
    (x1, y1, z1), (x2, y2, z2) = p1, p2
    d_ocln = math.sqrt((x1 - x2) ** 2 + (y1 - y2) ** 2 + (z1 - z2) ** 2) / (z1 + z2)
    d_sup = max(n1[1], 0) * max(n1[1] - n2[1], 0) * y1**2 if y1 < 0 else 0.0
    return d_ocln, d_sup, 1 / (1 + math.exp(-(w_ocln * d_ocln + w_sup * d_sup + b)))


def draw_graph(seed, count=40, cells=12):
    """Superpixels of a random map with random places and normals."""
    rng = np.random.default_rng(seed)
    ids = np.arange(count).repeat(3)[rng.permutation(3 * count)].reshape(cells, -1)
    positions = rng.normal(size=(count, 3)) * [1, 1, 0.3] + [0, 0, 3]
    normals = rng.normal(size=(count, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    edges = find_edges(ids)
    distances = measure_occlusion(positions, edges), measure_support(positions, normals, edges)
    return Graph(ids, positions, normals, edges, *distances, contrast=rng.uniform(0, 30, len(edges)))


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


# --- iterated Infomap


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


# --- frames


def test_regions_follow_the_boxes():
    image, inverse, kind = draw_street()
    regions = group_regions(image, inverse, INTRINSICS, replace(PARAMS, superpixels=300, support_weight=100.0))
    assert metrics.purity(regions, kind.astype(np.uint8)) > 0.95


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["noise", "constant", "sparse", "tiny", "tower"]))
def test_any_depth_gives_a_partition(seed, kind):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (*SIZE, 3)).astype(np.uint8)
    inverse = np.full(SIZE, np.float32(rng.uniform(1e-6, 1e3)))
    if kind != "constant":
        inverse = inverse * rng.lognormal(0, {"noise": 0.5, "tower": 4}.get(kind, 1), SIZE).astype(np.float32)
    if kind == "sparse":
        inverse[rng.random(SIZE) < 0.95] = 0
        inverse[0, 0] = 1
    if kind == "tiny":
        inverse[:20] = 1e-30
    regions = group_regions(image, inverse, INTRINSICS, PARAMS)
    assert regions.dtype == np.uint16
    assert np.array_equal(np.unique(regions), np.arange(1, regions.max() + 1))
    assert np.array_equal(regions, group_regions(image, inverse, INTRINSICS, PARAMS))


def test_other_processes_give_the_same_regions():
    image, inverse, _ = draw_street()
    here = group_regions(image, inverse, INTRINSICS, PARAMS)
    for there in parallel_map(_group_street, [0, 0], workers=2):
        assert np.array_equal(here, there)


def _group_street(seed):
    image, inverse, _ = draw_street(seed)
    return group_regions(image, inverse, INTRINSICS, PARAMS)


class TwoFrames(Dataset):
    name, size = "two frames", SIZE

    def __init__(self):
        self._frames = [Frame("a/0000", "a", "train", 0.0, INTRINSICS, True), Frame("a/0001", "a", "val")]

    def image(self, frame):
        return draw_street(int(frame.id[-1]))[0]

    def labels(self, frame):
        return draw_street()[2].astype(np.uint8) if frame.labelled else None

    def depth(self, frame):
        return np.where(draw_street()[1] > 1 / 40, 1 / draw_street()[1], np.inf) if frame.labelled else None


@pytest.fixture
def depth(tmp_path):
    stage = artifacts.begin("01_depth", DepthParams(run=str(tmp_path), dataset="camvid"))
    for frame in TwoFrames().frames():
        stage.save_inverse_depth(f"inverse_depth/{frame.id}.png", draw_street()[1], 1.0)
    stage.finish({})
    return artifacts.load(str(tmp_path), "01_depth")


def test_frames_are_saved_scored_and_skipped_only_under_the_same_parameters(depth):
    params = RegionParams(run=depth.run, superpixels=60)
    dataset, stage = TwoFrames(), artifacts.begin("02_regions", params, inputs=[depth])
    rows = [FrameGrouper(dataset, depth, stage)(frame) for frame in dataset.frames()]
    assert {"purity", "slic_asa", "grid_boundary_recall", "seconds_per_frame"} <= set(rows[0])
    assert set(rows[1]) == {"regions_per_frame", "seconds_per_frame"}
    means = average_rows(rows)
    assert means["purity"] == rows[0]["purity"]
    assert means["regions_per_frame"] == (rows[0]["regions_per_frame"] + rows[1]["regions_per_frame"]) / 2
    again = FrameGrouper(dataset, depth, artifacts.begin("02_regions", params, inputs=[depth]))
    row = again(dataset.frames()[0])
    assert "seconds_per_frame" not in row
    assert row["purity"] == rows[0]["purity"]
    other = artifacts.begin("02_regions", replace(params, cut=0.3), inputs=[depth])
    assert not other.has("regions/a/0000.png")


def test_true_depth_where_there_is_some(depth):
    params = RegionParams(run=depth.run, superpixels=60, depth="truth")
    dataset, stage = TwoFrames(), artifacts.begin("02_regions", params, inputs=[depth])
    grouper = FrameGrouper(dataset, depth, stage)
    assert (grouper.inverse_depth(dataset.frames()[0]) > 0).all()  # the sky has a value: nearly 0
    with pytest.raises(ValueError, match="no true depth"):
        grouper(dataset.frames()[1])


def test_frames_of_the_camera_that_was_learned_get_its_focal_length(tmp_path):
    def matrix(about, calibrated=False, intrinsics=INTRINSICS, **values):
        stage = artifacts.begin("01_depth", DepthParams(run=str(tmp_path), **{"dataset": "camvid", **values}))
        stage.about |= about
        stage.finish({})
        grouper = FrameGrouper(data, artifacts.load(str(tmp_path), "01_depth"), stage)
        return grouper.intrinsics(Frame("a", "a", "val", intrinsics=intrinsics, calibrated=calibrated))

    data, own = TwoFrames(), {"clips": ("camvid",), "learn_intrinsics": "unknown"}
    data.name = "camvid"
    scaled = INTRINSICS * np.array([[1.5, 1, 1], [1, 1.5, 1], [1, 1, 1]])
    np.testing.assert_allclose(matrix({"focal_factor": 1.5}, **own), scaled)
    np.testing.assert_array_equal(matrix({"focal_factor": 1.5}, calibrated=True, **own), INTRINSICS)
    np.testing.assert_array_equal(matrix({"focal_factor": 1.5}, **own | {"clips": ("street",)}), INTRINSICS)
    np.testing.assert_array_equal(matrix({}, **own), INTRINSICS)
    np.testing.assert_array_equal(matrix({"field_of_view": 50.0}, clips=("camvid",)), INTRINSICS)
    old = field_of_view_of(scaled, SIZE[1])  # a run that says the angle only
    np.testing.assert_allclose(matrix({"field_of_view": old}, **own), scaled)
    bare = matrix({"field_of_view": old, "focal_factor": 1.5}, intrinsics=None, **own)
    np.testing.assert_allclose(np.diag(bare), [60, 60, 1])
    all_of_them = matrix({"focal_factor": 1.5}, **own | {"learn_intrinsics": "all"})
    assert all_of_them[0, 0] == pytest.approx(1.5 * intrinsics_from_field_of_view(UNKNOWN, 64, 128)[0, 0])


# --- pictures


def test_every_picture_is_drawn_and_the_panel_answers():
    image, inverse, kind = draw_street()
    graph = grouping.build_graph(image, inverse, INTRINSICS, PARAMS)
    regions, weights = grouping.group_graph(graph, PARAMS), weigh_edges(graph, PARAMS)
    labels = np.where(kind == 3, 255, kind).astype(np.uint8)
    scores = {prefix + name: 0.5 for prefix in ("", "slic_", "grid_") for name in pictures.SCORES}
    drawn = [
        pictures.draw_superpixels(image, inverse, graph.superpixels),
        pictures.draw_nodes(graph),
        pictures.draw_boundaries(image, graph, graph.occlusion.argmax(), graph.support.argmax()),
        pictures.draw_grouping(image, graph, weights, regions),
        pictures.draw_weights(weights, PARAMS.cut, weights > 0.5),
        pictures.draw_candidates(image, [regions, regions], ["a", "b"]),
        pictures.draw_scores(scores),
        pictures.draw_failures([image], [regions], [labels]),
    ]
    assert all(len(picture._repr_mimebundle_()) == 1 for picture in drawn)
    panel = explore_weights(image, graph, PARAMS)
    before = panel.children[-1].value
    panel.children[0].value = 60.0
    assert panel.children[-1].value != before
