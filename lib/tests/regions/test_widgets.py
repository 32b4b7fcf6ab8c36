"""The knobs of notebook 02, turned without a browser."""

import html
import os
import re
import shlex
from dataclasses import replace

import cv2
import ipywidgets
import numpy as np
import pytest

from lib.figures import regions as pictures
from lib.params import RegionParams, read_file
from lib.regions import build_graph, group_graph, purity, weigh_edges
from lib.run.__main__ import read_arguments
from lib.run.chain import read_run
from lib.widgets import regions as widgets

from .fixtures import PANEL as PARAMS


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
