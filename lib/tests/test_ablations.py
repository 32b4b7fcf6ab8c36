"""One factor at a time: settings, equal numbers of images, outcomes that are kept, paired rows."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from lib import ablations
from lib.ablations import SCORES, Ground, Setting, list_settings, plan_training, run_all, run_setting, summarise
from lib.data.labels import STREET
from lib.figures.ablations import draw_effects
from lib.finetuning import Lesson
from lib.params import AblationParams, AugmentationParams, TrainingParams

from .methods.test_cpcdr import SMALL, make_sources

BASE = Setting(4, 0.5, "depth")
BLOCKS = {run: np.array([f"{run}{i}" for i in range(6)]) for run in "ab"}
VALUES = AblationParams(seeds=(0,), images=2, steps=2, batch=2, finetune_steps=2, workers=0, device="cpu", fraction=1.0)


def make_ground(run="here"):
    rng, sources = np.random.default_rng(0), make_sources()
    images = np.stack([source.pyramid[0][..., :3] for source in sources])
    labels = (rng.random(images.shape[:3]) < 0.5).astype(np.uint8)
    blocks = np.array(["a", "b", "b", "c", "c"])
    lesson = Lesson(
        STREET.subset("two", (0, 1)), list(range(5)), images, labels, list(range(5)), images, labels, blocks
    )
    training = SimpleNamespace(params=TrainingParams(**SMALL, precision="float32"))
    manifest = {"files": {"regions/a.png": {"sha256": "abc"}}}
    part = SimpleNamespace(manifest=manifest, params=SimpleNamespace(source="depth"))
    recipe = AugmentationParams(images=2)
    return Ground(run, None, part, part, training, recipe, lesson, (images, labels), {"depth": sources})


def test_settings_differ_from_the_base_in_one_thing():
    found = list_settings(BASE, (0, 2, 4), (0.0, 1.0), ("grid", "depth"))
    assert found[0] == BASE
    assert [str(s) for s in found[1:]] == [
        "M 0, lambda 0.5, depth regions",
        "M 2, lambda 0.5, depth regions",
        "M 4, lambda 0, depth regions",
        "M 4, lambda 1, depth regions",
        "M 4, lambda 0.5, grid regions",
    ], "what equals the base stands once"
    assert [str(s) for s in list_settings(BASE, (0,), (), (), floor=True)][-1] == "random weights"


def test_all_settings_see_as_many_images():
    values, ground = replace(VALUES, images=8, steps=30), make_ground()
    seen = {}
    for images in (0, 2, 4, 8):
        recipe, training = plan_training(Setting(images, 0.5, "depth"), ground, values, seed=3)
        seen[images] = 2 * recipe.images * training.steps
        assert training.paste == (images > 0)
        assert (training.seed, training.start) == (3, "random")
    assert set(seen.values()) == {480}


def test_an_outcome_is_kept(tmp_path, monkeypatch):
    ground, setting = make_ground(), Setting(2, 0.5, "depth")
    first = run_setting(setting, 0, ground, VALUES, tmp_path)
    assert all(first[score].shape == (3, 2, 3) for score in SCORES)
    assert len({first[score].sum() for score in SCORES}) == 1
    assert len(first["losses"]) == 2
    assert [path.name for path in next(tmp_path.iterdir()).iterdir()] == ["outcome.npz"]

    def refuse(*_, **__):
        raise AssertionError("trained again")

    monkeypatch.setattr(ablations, "train", refuse)
    again = run_setting(setting, 0, ground, replace(VALUES, seeds=(0, 1), vary_regions=("grid",)), tmp_path)
    np.testing.assert_array_equal(again["clusters"], first["clusters"])
    for other in (replace(setting, pixel_weight=1.0), replace(setting, images=0)):
        with pytest.raises(AssertionError, match="trained again"):
            run_setting(other, 0, ground, VALUES, tmp_path)
    with pytest.raises(AssertionError, match="trained again"):
        run_setting(setting, 0, replace(ground, frames="of another fold"), VALUES, tmp_path)


def test_the_floor_is_the_base_before_its_training(tmp_path, monkeypatch):
    ground, floor = make_ground(), Setting(2, 0.5, "depth", trained=False)
    trained = []
    monkeypatch.setattr(ablations, "train", lambda task, place, **_: trained.append(place.name))
    found = run_setting(floor, 0, ground, VALUES, tmp_path)
    assert trained == ["labelled"], "the training with labels alone"
    assert len(found["losses"]) == 0
    assert len({found[score].sum() for score in SCORES}) == 1


def test_seed_by_seed(tmp_path, monkeypatch):
    monkeypatch.setattr(ablations, "open_ground", lambda run, *_: run)
    monkeypatch.setattr(ablations, "run_setting", lambda setting, seed, ground, *_: (str(setting), seed, ground))
    settings = [Setting(2, 0.5, "depth"), Setting(0, 0.5, "depth")]
    found = list(run_all(settings, ("a", "b"), replace(VALUES, seeds=(0, 1)), tmp_path))
    assert [(seed, run) for (_, seed, run), _ in found] == [(s, r) for s in (0, 1) for r in ("a", "a", "b", "b")]
    assert all(outcome == (str(key[0]), key[1], key[2]) for key, outcome in found)


def make_outcome(rng, hits):
    hit = rng.integers(hits - 5, hits + 5, (6, 2))
    confusion = np.stack([np.stack([h, 100 - h, 0 * h], axis=1)[:, :] for h in hit.T], axis=1)
    confusion[:, 1] = confusion[:, 1, [1, 0, 2]]
    return dict.fromkeys(SCORES, confusion)


def test_rows_are_paired_and_runs_are_further_blocks():
    rng, other = np.random.default_rng(0), replace(BASE, images=0)
    outcomes = {}
    for seed in (0, 1, 2):
        for run in ("a", "b"):
            outcomes[BASE, seed, run] = make_outcome(rng, 80)
            outcomes[other, seed, run] = make_outcome(rng, 60)
    rows = summarise(outcomes, BLOCKS)
    assert [row["setting"] for row in rows] == [str(BASE), str(other)]
    assert rows[0]["minus_base"] is None
    assert rows[1]["clusters"]["blocks"] == 12
    assert rows[1]["minus_base"]["clusters"]["verdict"] == "reversed"
    assert rows[1]["minus_base"]["clusters"]["smallest"] > 0
    outcomes.pop((other, 2, "b"))
    assert summarise(outcomes, BLOCKS)[1]["seeds"] == [0, 1], "a night that was stopped"
    assert summarise(outcomes, BLOCKS)[0]["seeds"] == [0, 1, 2]
    assert ": worse" in ablations.describe_rows(rows)
    assert len(draw_effects(rows).axes) == 3


def test_each_run_is_shown_by_itself_and_a_floor_has_clusters_alone():
    rng, outcomes, other = np.random.default_rng(0), {}, Setting(0, 0.5, "depth")
    for setting, hits in ((BASE, (80, 60)), (other, (60, 70))):
        for seed in range(3):
            for run, hit in zip("ab", hits):
                hit = rng.integers(hit - 3, hit + 3, (5, 1, 1))
                table = np.concatenate([np.eye(2)[None] * hit + np.eye(2)[::-1] * (100 - hit), np.zeros((5, 2, 1))], 2)
                outcomes[setting, seed, run] = dict.fromkeys(SCORES, table.astype(np.int64))
    floors = {(seed, run): outcomes[other, seed, run]["clusters"] for seed in range(3) for run in "ab"}
    blocks = {run: np.array([f"{run}{i}" for i in range(5)]) for run in "ab"}
    rows = summarise(outcomes, blocks, floors)
    difference = rows[1]["minus_base"]["clusters"]
    assert difference["by_run"][0] < -0.1 < 0.05 < difference["by_run"][1], "two drives that do not agree"
    assert [row["setting"] for row in rows] == [str(BASE), str(other), ablations.COLOR]
    assert set(rows[2]) & set(SCORES) == {"clusters"}
    assert rows[2]["minus_base"]["clusters"]["value"] == pytest.approx(difference["value"])
    assert len(ablations.correct_rows(rows)) == 3, "greedy scores are no part of it"
    told = ablations.describe_rows(rows)
    assert "; by run -" in told
    assert rows[0]["clusters"]["blocks"] == 10
    shared = summarise(outcomes, dict.fromkeys("ab", blocks["a"]), floors)
    assert shared[0]["clusters"]["blocks"] == 5, "scored by both runs, and yet the same drives"
    assert shared[0]["clusters"]["value"] == pytest.approx(rows[0]["clusters"]["value"])
    assert len(draw_effects(rows).axes) == 3


def test_what_does_not_stand_beside_all_others_is_told():
    shown = {"value": 0.1, "low": 0.001, "high": 0.199, "error": 0.0475, "freedom": 20.0, "seeds": 3, "blocks": 9}
    shown |= {"between_seeds": 0.0, "between_blocks": 0.0, "smallest": 0.14, "verdict": "shown"}
    plain = {score: {**shown, "value": 0.5} for score in SCORES}
    rows = [{"setting": "base", "varied": {}, "seeds": [0, 1, 2], **plain, "minus_base": None}]
    rows += [{**rows[0], "setting": name, "minus_base": dict.fromkeys(SCORES, shown)} for name in ("a", "b", "c")]
    assert set(ablations.correct_rows(rows).values()) == {"not shown"}
    told = ablations.describe_rows(rows)
    assert told.count("better, but not beside all others (Holm)") == 6
    texts = [text.get_text() for text in draw_effects(rows).legends[0].get_texts()]
    assert "not beside all others (Holm)" in texts
