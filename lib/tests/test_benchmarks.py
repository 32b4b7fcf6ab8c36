"""What notebook 10 measures: the parts give the whole, all is called in turn, and no claim of speed is tested."""

from dataclasses import replace
from functools import partial

import ipywidgets
import numpy as np
import pytest

from lib import benchmarks
from lib.benchmarks import STEPS, time_ours, time_released
from lib.figures.speed import draw_steps
from lib.methods.cpcdr import CpcdrTask
from lib.params import AugmentationParams, ParameterError, RegionParams, SpeedParams, TrainingParams
from lib.regions import literal

PARAMS = RegionParams(superpixels=120, preset="full", camera="released", support_height="mean", search="full")


@pytest.fixture(scope="module")
def views():
    return benchmarks.read_streets(48, 96, 2)


def test_the_steps_give_the_regions_of_the_whole(views):
    for camera in ("own", "released"):
        own = replace(PARAMS, camera=camera)
        regions, seconds = time_ours(views[0], own)
        assert np.array_equal(regions, benchmarks.group_view(views[0], own))
    assert tuple(seconds) == STEPS
    assert min(seconds.values()) >= 0
    regions, seconds = time_released(views[0], PARAMS)
    assert np.array_equal(regions, literal.group_regions(views[0].image, views[0].inverse_depth, PARAMS))
    assert tuple(seconds) == STEPS


def test_medians_over_repeats_and_means_over_frames_in_turn():
    calls = []

    def way(view, name, seconds):
        calls.append(name)
        return None, dict.fromkeys(STEPS, seconds[calls.count(name) - 1])

    ways = {"a": partial(way, name="a", seconds=[9, 1, 5, 3]), "b": partial(way, name="b", seconds=[9, 2, 2, 2])}
    found = benchmarks.profile_grouping(["one frame"], ways, 3)
    assert found == {"a": dict.fromkeys(STEPS, 3000), "b": dict.fromkeys(STEPS, 2000)}, "the first call does not count"
    assert calls == ["a", "b"] * 4
    table = benchmarks.describe_steps(found)
    assert "| b | " + "2000.0 | " * 7 + "14000 | 1.5 |" in table
    assert len(draw_steps(found).axes[0].patches) == 2 * len(STEPS)


def test_choices_are_compared_on_the_same_graph_only(views):
    own = replace(PARAMS, camera="own")
    choices = {
        "full": own,
        "fast": replace(own, search="fast"),
        "many": replace(own, trials=3),
        "other": replace(own, slic_iterations=2),
    }
    found = benchmarks.measure_choices(views, choices, 1)
    assert found["full"]["codelength"] == 0
    assert found["many"]["codelength"] <= 0
    assert found["other"]["codelength"] is None
    for row in found.values():
        assert 0 < row["purity"] <= 1
        assert row["agreement_of_seeds"] <= 1
        assert row["purity_range"][0] <= row["purity"] <= row["purity_range"][1]
        assert row["agreement_error"] >= 0
        assert row["milliseconds"] > 0
    assert "| other | " in (table := benchmarks.describe_choices(found))
    assert len(table.splitlines()) == 6


def test_a_panel_is_timed_by_its_sliders():
    moves = []

    def answer(change):
        moves.append((change["owner"].description, change["new"]))

    sliders = [ipywidgets.FloatSlider(min=low, max=low + 1, description=name) for name, low in (("a", 5), ("b", 9))]
    for slider in sliders:
        slider.observe(answer, names="value")
    status = ipywidgets.HTML("answered in 0.1 s", description="c")
    panel = ipywidgets.Box([*sliders, status])
    assert 0 < benchmarks.time_panel(panel, ("a", "b"), moves=10) < 5
    assert [name for name, _ in moves] == ["a", "b"] * 5
    assert all(low <= value <= low + 1 for (_, value), low in zip(moves, [5, 9] * 5))
    with pytest.raises(ValueError, match="no slider 'c': it has a, b"):
        benchmarks.time_panel(panel, ("a", "c"))
    status.value = "ValueError: too many regions"
    with pytest.raises(RuntimeError, match="was not answered: .*too many regions"):
        benchmarks.time_panel(panel, ("a",))


def test_agreement_of_partitions():
    ids = np.arange(12).reshape(3, 4) // 4
    assert benchmarks.compare_partitions([ids], [ids * 7 + 1]) == 1
    assert benchmarks.compare_partitions([ids], [ids.T.reshape(3, 4)]) < 0.5


def test_many_frames_in_one_process_and_in_two(views):
    found = benchmarks.measure_scaling(views, PARAMS, 2, repeats=1)
    assert found["efficiency"] == pytest.approx(found["one_process"] / found["several_processes"] / 2)
    assert found["peak_memory"] > 10e6


def test_processes_that_disagree_are_no_benchmark(views, monkeypatch):
    results = iter(2 * [[(np.ones(3), 1)], [(np.zeros(3), 1)]])
    monkeypatch.setattr(benchmarks.grouping, "parallel_map", lambda *_: next(results))
    with pytest.raises(RuntimeError, match="different regions"):
        benchmarks.measure_scaling(views[:1], PARAMS, 2, repeats=1)


@pytest.mark.parametrize("wrong", [{"trials": 1}, {"height": 16}, {"smoothing": -1.0}, {"repeats": 0}, {"seeds": 1}])
def test_impossible_parameters(wrong):
    with pytest.raises(ParameterError):
        SpeedParams(**wrong)


@pytest.fixture(scope="module")
def sources():
    return benchmarks.make_sources(benchmarks.read_streets(64, 128, 2), PARAMS)


def test_composites_are_timed_every_way(sources):
    recipe = AugmentationParams(images=2)
    found = benchmarks.time_composites(sources, recipe, {"pixel": 40, "region": 60}, repeats=1)
    assert set(found) == {"released loader", "paste by paste", "all at once", "positives", "pastes"}
    assert min(found.values()) > 0
    table = benchmarks.describe_composites(found, images=4)
    assert "| released loader | " in table
    assert table.count("\n") == 5
    quick = benchmarks.time_composites(sources, recipe, {"pixel": 40, "region": 60}, repeats=1, slow=False)
    assert "released loader" not in quick
    assert benchmarks.describe_composites(quick, images=4).count("\n") == 4


def test_a_step_is_its_parts_and_stays_above_its_floor(sources):
    task = CpcdrTask(
        TrainingParams(prototypes=32, dimensions=16, pixel_points=100, region_points=100),
        AugmentationParams(images=2, copies=(0, 1)),
        sources,
    )
    machine = benchmarks.measure_machine(2)
    found = {"float32": benchmarks.profile_step(task, "float32", machine, 2)}
    row = found["float32"]
    assert row["step"] == pytest.approx(sum(row[part] for part in benchmarks.PARTS))
    assert row["ratio"] > 1
    assert 0.8 < row["operations"] / (4 * 4.84e9 * (64 * 128) / (96 * 192)) < 1.2  # four images, there and back
    assert "| float32 | " in benchmarks.describe_step(found)


def test_a_short_training_is_timed_with_all_that_belongs_to_it(sources):
    values = TrainingParams(prototypes=16, dimensions=8, pixel_points=60, region_points=60)
    task = CpcdrTask(values, AugmentationParams(images=2, copies=(0, 1)), sources)
    found = benchmarks.time_training(task, steps=2, workers=0)
    assert found["images_a_second"] == pytest.approx(4 * 1000 / found["step"])
    assert found["peak_memory"] > 0


def test_losses_are_compared(capsys):
    found = benchmarks.compare_losses(300, 16, 8, 2)
    assert set(found) == {"one by one", "at once"}
    assert min(found.values()) > 0
