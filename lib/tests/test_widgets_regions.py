"""The knobs of notebook 02, turned without a browser; and the cloud of points they turn."""

import html
import math
import os
import re
import shlex
from dataclasses import replace

import cv2
import ipywidgets
import numpy as np
import pytest

from lib.camera import unproject
from lib.data.street import make_clip
from lib.figures import region_cloud as cloud
from lib.figures import regions as pictures
from lib.figures.region_cloud import Viewpoint
from lib.params import RegionParams, read_file
from lib.regions import build_graph, group_graph, purity, weigh_edges
from lib.run.__main__ import read_arguments
from lib.run.chain import read_run
from lib.widgets import regions as widgets

PARAMS = RegionParams(superpixels=150)
VIEWS = [
    Viewpoint(orthographic=flat, **where)
    for flat in (False, True)
    for where in ({}, {"azimuth": 30.0, "elevation": 20.0}, {"azimuth": -120.0, "elevation": 5.0, "distance": 2.0})
]


@pytest.fixture(scope="module")
def world():
    """A generated street with its true inverse depth: image, inverse depth, intrinsics, labels."""
    clip = make_clip("val", 0, 1, 48, 96)
    inverse = np.clip(1 / clip.depth[0], 1e-6, None).astype(np.float32)
    return clip.images[0], inverse, clip.intrinsics, clip.labels[0]


@pytest.fixture(scope="module")
def graph(world):
    image, inverse, matrix, _ = world
    return build_graph(image, inverse, matrix, PARAMS)


@pytest.fixture
def panel(world, graph):
    image, inverse, matrix, labels = world
    return widgets.explore_weights(image, graph, PARAMS, inverse, matrix, labels)


def knob(panel, name):
    return next(child for child in panel.children if getattr(child, "description", None) == name)


def images(panel):
    return [child.value for child in panel.children if isinstance(child, ipywidgets.Image)]


def texts(panel):
    """The message of the button, and the line above the pictures."""
    return [child.value for child in panel.children if isinstance(child, ipywidgets.HTML)][:2]


# --- the cloud: geometry


def test_axes_of_the_viewer_are_a_turned_frame():
    assert np.array_equal(Viewpoint().axes(), np.eye(3))
    for view in VIEWS:
        assert np.allclose(view.axes() @ view.axes().T, np.eye(3))
        assert np.linalg.det(view.axes()) == pytest.approx(1)
        assert view.axes()[0, 1] == 0  # the horizon stays level
    right, up, forward = Viewpoint(azimuth=90).axes()
    assert np.allclose([right, up, forward], [[0, 0, 1], [0, 1, 0], [-1, 0, 0]])  # from the right, z to the right
    assert np.allclose(Viewpoint(elevation=90).axes(), [[1, 0, 0], [0, 0, 1], [0, -1, 0]])  # a map: z is up


def test_pixels_keep_the_true_shape_of_the_scene(world):
    _, inverse, matrix, _ = world
    holes = inverse.copy()
    holes[5, 7] = 0
    points = cloud.lift_pixels(holes, matrix, 0.02)
    assert np.isnan(points[5, 7]).all()
    points[5, 7] = cloud.lift_pixels(inverse, matrix, 0.02)[5, 7]
    depth = 1 / np.maximum(inverse / inverse.max(), 0.02)
    true = unproject(*map(_batch, (depth, matrix)))[0].numpy() * [1, -1, 1]
    unit = true[..., 2].mean() / points[..., 2].mean()
    np.testing.assert_allclose(points * unit, true, rtol=1e-4, atol=1e-4)
    assert (points[0, :, 1] > 0).all()  # the first row looks up
    assert (points[-1, :, 1] < 0).all()


def _batch(array):
    import torch

    return torch.from_numpy(np.asarray(array, np.float32))[None]


def transcribe_projection(point, matrix, view, pivot):
    """Turn the scene around the pivot, first about the height axis, then about the picture's horizontal one."""
    x, y, z = point[0], point[1], point[2] - pivot
    a, e = math.radians(view.azimuth), math.radians(view.elevation)
    x, z = x * math.cos(a) + z * math.sin(a), -x * math.sin(a) + z * math.cos(a)
    y, z = y * math.cos(e) + z * math.sin(e), -y * math.sin(e) + z * math.cos(e)
    z += view.distance * pivot
    over = view.distance * pivot if view.orthographic else z
    return matrix[0, 2] + matrix[0, 0] * x / over, matrix[1, 2] - matrix[1, 1] * y / over, z, point[2] / over


@pytest.mark.parametrize("view", VIEWS)
def test_projection_against_the_transcription(view):
    points = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32) + np.float32([0, 0, 5])
    matrix = np.array([[60.0, 0, 47.5], [0, 70.0, 20.5], [0, 0, 1]])
    places, depth, spacing = cloud.project_points(points, matrix, view)
    pivot = float(np.median(points[:, 2]))
    slow = [transcribe_projection(point, matrix, view, pivot) for point in points.astype(float)]
    fast = np.column_stack([places, depth, spacing])
    np.testing.assert_allclose(fast, slow, rtol=1e-3, atol=1e-3)


# --- the cloud: what hides what


def transcribe_picture(points, matrix, view, zoom):
    """Point by point: a square on the z-buffer."""
    height, width = points.shape[:2]
    places, depth, spacing = cloud.project_points(points.reshape(-1, 3), matrix, view)
    sides = sorted({math.ceil(side * zoom) for side in cloud.SIDES})
    pivot = np.nanmedian(points[..., 2])
    picture, buffer = np.full((height * zoom, width * zoom), -1), np.full((height * zoom, width * zoom), np.inf)
    for i, ((u, v), z) in enumerate(zip(places, depth)):
        if not np.isfinite(z) or (not view.orthographic and z <= cloud.NEAR * pivot):
            continue
        side = next((s for s in sides if s >= np.float32(zoom) * spacing[i] - 0.1), sides[-1])
        left, top = (round(float((place + np.float32(0.5)) * zoom - 0.5 - (side - 1) / 2)) for place in (u, v))
        square = np.s_[max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)]
        nearer = buffer[square] > z
        picture[square][nearer], buffer[square][nearer] = i, z
    return picture


@pytest.mark.parametrize("zoom", [1, 3])
@pytest.mark.parametrize("view", VIEWS)
def test_picture_against_the_transcription(world, view, zoom):
    _, inverse, matrix, _ = world
    holes = np.where(np.random.default_rng(0).random(inverse.shape) < 0.1, 0, inverse)
    points = cloud.lift_pixels(holes, matrix, 0.02)
    visible = cloud.find_visible(points, matrix, view, zoom)
    slow = transcribe_picture(points, matrix, view, zoom)
    assert (visible >= 0).mean() > 0.02
    assert (visible == slow).mean() > 0.998  # where a corner falls on half a pixel, rounding may decide otherwise


@pytest.mark.parametrize("zoom", [1, 2, 5, 8])
def test_where_the_camera_stood_the_picture_is_the_frame(zoom):
    rng, matrix = np.random.default_rng(zoom), np.array([[60.0, 0, 35.3], [0, 50.0, 20.9], [0, 0, 1]])
    inverse = rng.lognormal(0, 1, (40, 70)).astype(np.float32)
    points = cloud.lift_pixels(inverse, matrix, 0.01)
    frame = np.arange(40 * 70).reshape(40, 70).repeat(zoom, 0).repeat(zoom, 1)
    assert np.array_equal(cloud.find_visible(points, matrix, Viewpoint(), zoom), frame)


def test_unit_of_depth_does_not_matter(world):
    _, inverse, matrix, _ = world
    seen = [
        cloud.find_visible(cloud.lift_pixels(inverse * np.float32(factor), matrix, 0.02), matrix, VIEWS[1])
        for factor in (1, 4, 0.125)
    ]
    assert np.array_equal(seen[0], seen[1])
    assert np.array_equal(seen[0], seen[2])


def test_the_nearest_shows_from_either_side():
    points = np.float32([[[0, 0, 5], [0, 0, 1], [0, 0, 3]]])  # one behind the other
    matrix = np.array([[40.0, 0, 1], [0, 40.0, 0], [0, 0, 1]])
    for flat in (False, True):
        for azimuth, nearest in ((0, 1), (180, 0)):
            seen = cloud.find_visible(points, matrix, Viewpoint(azimuth, distance=1.5, orthographic=flat))
            assert seen[0, 1] == nearest


def test_parallel_rays_show_equal_things_equally_large():
    ends = np.float32([[-1, 0, 4], [1, 0, 4], [-1, 0, 8], [1, 0, 8], [0, 0, 6]])  # two bars of one length
    matrix = np.array([[40.0, 0, 22], [0, 40.0, 22], [0, 0, 1]])
    flat, deep = (cloud.project_points(ends, matrix, Viewpoint(orthographic=o))[0][:, 0] for o in (True, False))
    assert flat[1] - flat[0] == flat[3] - flat[2] == pytest.approx(40 * 2 / 6, rel=1e-5)
    assert deep[1] - deep[0] == pytest.approx(40 * 2 / 4)
    assert deep[3] - deep[2] == pytest.approx(40 * 2 / 8)


def test_axes_and_background_are_painted(world):
    image, inverse, matrix, _ = world
    points = cloud.lift_pixels(inverse, matrix, 0.02)
    empty = np.full(image.shape[:2], -1, np.int32)
    one, other = (cloud.paint_cloud(empty, image, Viewpoint(azimuth=a)) for a in (0, 60))
    assert (one[0, -1] == cloud.BACKGROUND).all()
    assert (one != other).any()
    seen = cloud.paint_cloud(cloud.find_visible(points, matrix, Viewpoint(), 4), image, Viewpoint())
    assert np.array_equal(seen[:, 192:], pictures.enlarge(image, 4)[:, 192:])  # the axes stand on the left
    behind = cloud.find_visible(points, matrix, Viewpoint(azimuth=180, distance=0.01))
    assert behind.shape == image.shape[:2]  # nothing or little in view is no error


# --- pictures of the steps


def test_colours_stay_when_ids_move_on(graph):
    regions = group_graph(graph, PARAMS)
    before = pictures.color_steadily(regions, graph.superpixels)
    assert np.array_equal(before, pictures.color_steadily(regions + 3, graph.superpixels))
    halved = regions.copy()
    halved[(regions == 1) & (np.arange(regions.shape[1]) > 48)] = regions.max() + 1
    after = pictures.color_steadily(halved, graph.superpixels)
    assert np.array_equal(after[halved <= regions.max()], before[halved <= regions.max()])
    assert len(np.unique(before.reshape(-1, 3), axis=0)) == regions.max()


def test_only_weak_edges_are_painted(world, graph):
    image, ends, weights = world[0], pictures.find_ends(graph), np.zeros(len(graph.edges))
    assert np.array_equal(pictures.paint_edges(image, ends, weights, 2), pictures.enlarge(image // 2, 2))
    weights[7] = pictures.LIKELY
    red = (pictures.paint_edges(image, ends, weights, 2) != pictures.enlarge(image // 2, 2)).any(axis=2)
    both = np.isin(graph.superpixels, graph.edges[7])
    assert red.any()
    assert (red & pictures.enlarge(both, 2)).sum() > 0.6 * red.sum()


def test_borders_are_white_and_the_rest_keeps_its_colour(graph):
    regions = group_graph(graph, PARAMS)
    colors = pictures.color_steadily(regions, graph.superpixels)
    picture = pictures.paint_regions(colors, regions, 3)
    same = (picture == pictures.enlarge(colors, 3)).all(axis=2)
    assert (same | (picture == 255).all(axis=2)).all()
    assert same[1::3, 1::3].all()  # the middle of an enlarged pixel is no border
    assert not same.all()


# --- the panel: what changes, and what is computed


@pytest.fixture
def counts(monkeypatch):
    """How often the steps were computed."""
    found = dict.fromkeys(("build_graph", "lift_pixels", "group_graph", "find_visible"), 0)

    def count(name, function):
        def call(*arguments):
            found[name] += 1
            return function(*arguments)

        monkeypatch.setattr(widgets, name, call)

    for name in found:
        count(name, getattr(widgets, name))
    return found


@pytest.mark.parametrize(
    ("name", "value", "changed", "computed"),
    [
        ("w_ocln", 60.0, (True, True), {"group_graph"}),
        ("w_sup", 1500.0, (True, True), {"group_graph"}),
        ("b", 0.0, (True, True), {"group_graph"}),
        ("cut", 0.5, (True, True), {"group_graph"}),
        ("colour", 0.5, (True, True), {"group_graph"}),
        ("superpixels", 300, (True, True), {"build_graph", "group_graph"}),
        ("azimuth", -60.0, (False, True), {"find_visible"}),
        ("elevation", 60.0, (False, True), {"find_visible"}),
        ("distance", 3.0, (False, True), {"find_visible"}),
        ("projection", True, (False, True), {"find_visible"}),
        ("coloured by", "image", (False, True), set()),
    ],
)
def test_a_move_changes_its_pictures_and_computes_no_more_than_it_must(
    counts, panel, name, value, changed, computed
):  # fmt: skip
    assert counts == {"build_graph": 0, "lift_pixels": 1, "group_graph": 1, "find_visible": 1}
    before, start = images(panel), dict(counts)
    knob(panel, name).value = value
    assert tuple(a != b for a, b in zip(before, images(panel))) == changed
    assert counts == {step: start[step] + (step in computed) for step in counts}
    assert re.search(r"answered in \d+\.\d\d s", texts(panel)[1])


def test_visited_numbers_of_superpixels_are_kept(counts, panel):
    first = images(panel)
    for count in (300, 150, 300, 75, 150, 75, 300):
        knob(panel, "superpixels").value = count
        knob(panel, "w_ocln").value += 1
    assert counts["build_graph"] == 2  # 300 and 75; that of 150 was given
    assert counts["lift_pixels"] == counts["find_visible"] == 1
    knob(panel, "superpixels").value, knob(panel, "w_ocln").value = 150, PARAMS.occlusion_weight
    assert images(panel) == first


def test_the_pictures_are_those_of_the_values(world, panel):
    image, inverse, matrix, labels = world
    moved = replace(PARAMS, superpixels=300, occlusion_weight=20.0, support_weight=100.0, bias=-3.0, cut=0.1)
    moved = replace(moved, color_weight=0.05)
    for name, value in zip(
        ("superpixels", "w_ocln", "w_sup", "b", "cut", "colour"), (300, 20.0, 100.0, -3.0, 0.1, 0.05)
    ):
        knob(panel, name).value = value
    there = build_graph(image, inverse, matrix, moved)
    regions = group_graph(there, moved)
    assert f"<b>{regions.max()} regions</b> of {len(there.positions)} superpixels" in texts(panel)[1]
    assert f"purity {purity(regions, labels):.3f}" in texts(panel)[1]
    shown = cv2.imdecode(np.frombuffer(images(panel)[0], np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    edges = pictures.paint_edges(image, pictures.find_ends(there), weigh_edges(there, moved), 8)
    assert shown.shape == (48 * 8, 2 * 96 * 8 + 8, 3)
    assert np.abs(shown[:, : 96 * 8].astype(int) - edges).mean() < 3  # JPEG


def test_without_labels_or_depth_there_is_less_to_see(world, graph):
    image, inverse, matrix, labels = world
    for without in (None, np.full_like(labels, 255)):
        bare = widgets.explore_weights(image, graph, PARAMS, inverse, matrix, without)
        assert "purity" not in texts(bare)[1]
    flat = widgets.explore_weights(image, graph, PARAMS, labels=labels)
    assert len(images(flat)) == 1
    assert not any(getattr(child, "description", "") in ("superpixels", "azimuth") for child in flat.children)
    before = images(flat)
    knob(flat, "w_ocln").value = 60.0
    assert images(flat) != before


def test_arrays_that_do_not_fit_are_refused(world, graph):
    image, inverse, matrix, labels = world
    with pytest.raises(ValueError, match="inverse_depth .* differ in size"):
        widgets.explore_weights(image, graph, PARAMS, inverse[:-1], matrix)
    with pytest.raises(ValueError, match="labels .* differ in size"):
        widgets.explore_weights(image, graph, PARAMS, labels=labels[:, :-1])
    with pytest.raises(ValueError, match="superpixels .* differ in size"):
        widgets.explore_weights(image[:-1], graph, PARAMS)
    with pytest.raises(ValueError, match="both inverse_depth and intrinsics"):
        widgets.explore_weights(image, graph, PARAMS, inverse)


def test_errors_are_shown_and_the_panel_goes_on(monkeypatch, panel):
    def refuse(*_):
        raise ValueError("70000 regions do not fit into 16 bits")

    before = images(panel)
    with monkeypatch.context() as patch:
        patch.setattr(widgets, "group_graph", refuse)
        knob(panel, "w_ocln").value = 33.0
        assert "70000 regions do not fit" in texts(panel)[1]
        assert "still those of earlier values" in texts(panel)[1]
        assert images(panel) == before
        knob(panel, "azimuth").value = -45.0  # the cloud turns all the same, and does not hide that
        assert "still those of earlier values" in texts(panel)[1]
        assert images(panel)[1] != before[1]
    with monkeypatch.context() as patch:
        patch.setattr(widgets, "find_visible", lambda *_: 1 / 0)
        knob(panel, "azimuth").value = 45.0
        assert "ZeroDivisionError" in texts(panel)[1]
    knob(panel, "w_ocln").value = 20.0
    assert re.search(r"regions</b> .* answered in", texts(panel)[1])


def test_sliders_reach_where_they_start_and_a_preset_can_be_turned(world):
    image, inverse, matrix, _ = world
    params = RegionParams(superpixels=137, preset="full")
    far = replace(PARAMS, superpixels=137, occlusion_weight=90.0, bias=1.0, cut=0.7)
    for start in (params, far):
        panel = widgets.explore_weights(image, build_graph(image, inverse, matrix, start), start, inverse, matrix)
        for name, (label, *_) in widgets.CONSTANTS.items():
            assert knob(panel, label).value == getattr(start, name)
        assert knob(panel, "superpixels").value == 137
        before = images(panel)
        knob(panel, "w_ocln").value = 3.0
        assert images(panel) != before


def test_numbers_of_superpixels_to_choose_from():
    assert widgets.count_choices(10000, 384 * 768)[0] == 1200  # an eighth, to two digits
    assert widgets.count_choices(10000, 384 * 768)[-1] == 40000
    for start, pixels in ((1, 40), (500, 64 * 128), (137, 48 * 96), (4608, 48 * 96)):
        choices = widgets.count_choices(start, pixels)
        assert start in choices
        assert choices == sorted(set(choices))
        assert all(count <= pixels // 4 or count == start for count in choices)
        assert choices[0] >= 1


# --- the button


def press(panel, path):
    knob(panel, "file").value = str(path)
    knob(panel, "write parameters").click()
    return html.unescape(texts(panel)[0])


def test_the_file_says_what_the_sliders_say_and_can_be_run(panel, tmp_path):
    path = tmp_path / "my streets" / "02_regions.yaml"
    knob(panel, "w_ocln").value, knob(panel, "superpixels").value = 12.5, 300
    knob(panel, "cut").value = 0.1 + 0.2  # 0.30000000000000004
    message = press(panel, path)
    chosen = replace(PARAMS, occlusion_weight=12.5, superpixels=300, cut=0.3)
    assert read_file(RegionParams, path) == replace(chosen, run="my streets", upstream="tiny")
    lines = path.read_text().splitlines()
    assert lines[0].startswith("# 02_regions of the run my streets")
    assert lines[1:] == [
        "run: my streets", "upstream: tiny", "superpixels: 300", "occlusion_weight: 12.5", "cut: 0.3"
    ]  # fmt: skip
    words = shlex.split(re.search("<code>(.*)</code>", message).group(1))
    assert words[:3] == ["python", "-m", "lib.run"]
    arguments = read_arguments(words[3:])
    assert arguments.only == "02"
    values = read_run(path.parent, {}, path.parent.name, "")  # as lib.run does
    assert str(path.parent) == arguments.params
    assert values["02_regions"] == read_file(RegionParams, path)
    assert os.listdir(path.parent) == ["02_regions.yaml"]  # nothing is left beside it


def test_upstream_stays_and_a_run_of_the_same_name_needs_none():
    given = replace(PARAMS, run="a", upstream="b")
    assert "upstream: b" in widgets.write_text(given, "c")
    assert "upstream" not in widgets.write_text(replace(PARAMS, run="a"), "a")
    assert "run: '2024'" in widgets.write_text(PARAMS, "2024")  # a name, and no number
    assert "bias: 1.0e-05" in widgets.write_text(replace(PARAMS, bias=1e-5), "a")


def test_a_foreign_file_is_replaced_only_at_a_second_click(panel, tmp_path):
    path = tmp_path / "mine" / "02_regions.yaml"
    path.parent.mkdir()
    path.write_text("superpixels: 9\n")
    assert "was not written by this panel: click again" in press(panel, path)
    assert path.read_text() == "superpixels: 9\n"
    assert "Wrote" in press(panel, tmp_path / "other")
    assert "click again" in press(panel, path)  # the first click was for another moment
    path.write_text("superpixels: 8\n")  # meanwhile it became another file
    assert "click again" in press(panel, path)
    assert path.read_text() == "superpixels: 8\n"
    assert press(panel, path).startswith("Replaced")
    knob(panel, "w_ocln").value = 30.0
    assert press(panel, path).startswith("Replaced")  # our own: at once
    assert read_file(RegionParams, path).occlusion_weight == 30.0
    path.write_text(path.read_text() + "cut: 0.2\n")  # edited by hand: no longer ours
    assert "click again" in press(panel, path)


def test_places_that_cannot_be_written_are_said(panel, tmp_path):
    (tmp_path / "file").write_text("")
    assert "no file is named" in press(panel, "  ")
    assert "call the file 02_regions.yaml" in press(panel, tmp_path / "regions.yaml")
    assert "Error" in press(panel, tmp_path / "file" / "02_regions.yaml")
    (tmp_path / "mine" / "02_regions.yaml").mkdir(parents=True)
    assert "Error" in press(panel, tmp_path / "mine")
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["02_regions.yaml", "file", "mine"]


def test_a_relative_path_lies_in_the_project(monkeypatch, panel, tmp_path):
    assert knob(panel, "file").value == "params/tiny-explored/02_regions.yaml"
    monkeypatch.setattr(widgets, "ROOT", tmp_path)
    monkeypatch.chdir("/")
    assert "python -m lib.run params/tiny-explored --only 02" in press(panel, knob(panel, "file").value)
    assert read_file(RegionParams, tmp_path / "params/tiny-explored/02_regions.yaml").run == "tiny-explored"
