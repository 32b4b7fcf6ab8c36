"""Intervals over seeds and clips: against textbook formulas, and by simulation of comparisons without any effect."""

import dataclasses
import json
import math

import numpy as np
import pytest
from scipy import stats

from lib.evaluation import (
    accuracy,
    class_iou,
    compare_left_out,
    compare_paired,
    correct_for_many,
    estimate,
    estimate_left_out,
    miou,
    pseudo_values,
    rows_from_json,
    rows_to_json,
    score,
)

CLASSES = 6


def draw(rng, seeds, blocks, between_seeds=0.4, between_blocks=0.5, rest=0.3, shared=None):
    """Confusions of a network that errs: hits of each class vary with the seed, the block and both together."""
    hard = rng.normal(0, between_blocks, (blocks, CLASSES)) if shared is None else shared
    seed_effect = rng.normal(0, between_seeds, (seeds, 1, CLASSES))
    logits = np.linspace(2.5, 0, CLASSES) + seed_effect + hard + rng.normal(0, rest, (seeds, blocks, CLASSES))
    hits = 1 / (1 + np.exp(-logits))
    found = np.empty((seeds, blocks, CLASSES, CLASSES))
    found[:] = ((1 - hits) / (CLASSES - 1))[..., None]
    found[..., range(CLASSES), range(CLASSES)] = hits
    return 1e5 * found * np.linspace(1, 0.1, CLASSES)[:, None], hard


def test_many_scores_at_once_are_those_of_each():
    rng = np.random.default_rng(4)
    confusions = rng.integers(0, 9, (3, 5, CLASSES, CLASSES + 1))
    confusions[1, 2, 3] = 0  # a class that the truth does not hold
    for index in np.ndindex(3, 5):
        one = score(confusions[index])
        assert miou(confusions)[index] == pytest.approx(one.miou)
        assert accuracy(confusions)[index] == pytest.approx(float(one.accuracy))
        for c, iou in enumerate(np.nan_to_num(one.iou)):
            assert class_iou(c)(confusions)[index] == pytest.approx(iou)


def test_of_a_mean_the_interval_is_students():
    """A statistic that is a plain mean over blocks has pseudo-values that are the blocks' own."""
    rng = np.random.default_rng(0)
    confusions, _ = draw(rng, 1, 9)
    own = np.array([accuracy(block) for block in confusions[0]])
    np.testing.assert_allclose(pseudo_values(confusions, accuracy)[0], own)
    found = estimate(confusions, accuracy)
    low, high = stats.t.interval(0.95, 8, own.mean(), stats.sem(own))
    assert (found.value, found.low, found.high) == pytest.approx((own.mean(), low, high))
    assert (found.seeds, found.blocks, found.freedom) == (1, 9, 8)


def test_seeds_and_blocks_are_told_apart():
    rng = np.random.default_rng(1)
    seeds_matter = estimate(draw(rng, 12, 60, between_seeds=0.6, between_blocks=0.05, rest=0.05)[0])
    blocks_matter = estimate(draw(rng, 12, 60, between_seeds=0.02, between_blocks=0.6, rest=0.05)[0])
    assert seeds_matter.between_seeds > 5 * seeds_matter.between_blocks / math.sqrt(60)
    assert blocks_matter.between_seeds < 0.3 * blocks_matter.between_blocks
    assert seeds_matter.freedom < 20  # hangs on twelve seeds
    assert blocks_matter.freedom > 40


@pytest.mark.parametrize(("seeds", "blocks", "between_seeds"), [(3, 24, 0.4), (8, 24, 0.4), (3, 12, 0.8)])
def test_comparing_a_setting_with_itself_shows_something_once_in_twenty(seeds, blocks, between_seeds):
    """A/A: of 1,000 paired comparisons of one setting with itself, the interval holds 0 in 93 to 97 %."""
    rng, held, single = np.random.default_rng(seeds + blocks), 0, 0
    truth = miou(draw(rng, 40, 400, between_seeds)[0].sum(axis=1)).mean()
    for _ in range(1000):
        first, hard = draw(rng, seeds, blocks, between_seeds)
        second, _ = draw(rng, seeds, blocks, between_seeds, shared=hard)
        held += compare_paired(first, second).verdict == "not shown"
        found = estimate(first)
        single += found.low <= truth <= found.high
    assert 930 <= held <= 970
    assert 920 <= single <= 980


def test_an_effect_of_the_smallest_size_is_shown_four_times_in_five():
    rng, shown, smallest = np.random.default_rng(5), 0, []
    for _ in range(300):
        first, hard = draw(rng, 8, 24)
        smallest.append(compare_paired(first, draw(rng, 8, 24, shared=hard)[0]).smallest)
    effect = float(np.median(smallest))
    for _ in range(300):
        first, hard = draw(rng, 8, 24)
        second, _ = draw(rng, 8, 24, shared=hard)
        shifted = compare_paired(first, second)
        shown += shifted.low + effect > 0
    assert 0.7 < shown / 300 < 0.9


def test_what_cannot_be_told():
    rng = np.random.default_rng(3)
    single = estimate(draw(rng, 3, 1)[0])
    assert math.isnan(single.low)
    assert single.value > 0
    assert single.verdict == "not decided", "nothing can be said of other clips"
    with pytest.raises(ValueError, match=r"same seeds and blocks on both sides, not \(2, 4\) and \(2, 5\)"):
        compare_paired(draw(rng, 2, 4)[0], draw(rng, 2, 5)[0])
    same, _ = draw(rng, 2, 4)
    nothing = compare_paired(same, same)
    assert (nothing.value, nothing.low, nothing.high, nothing.verdict) == (0, 0, 0, "not decided")


@pytest.mark.parametrize("seeds", [1, 2])
def test_few_seeds_decide_nothing(seeds):
    """A setting compared with itself over one seed lies beside 0 most of the time: clips alone are no witnesses."""
    rng, beside = np.random.default_rng(seeds), 0
    for _ in range(200):
        first, hard = draw(rng, seeds, 24)
        found = compare_paired(first, draw(rng, seeds, 24, shared=hard)[0])
        assert found.verdict == "not decided"
        assert math.isnan(found.smallest)
        assert found.to_json()["smallest"] is None
        beside += not found.low <= 0 <= found.high
    assert (beside > 100) == (seeds == 1)


def test_of_many_nothings_none_is_shown_nineteen_times_in_twenty():
    """Twelve comparisons of settings with themselves: one alone shows something in half of the tables."""
    rng, alone, together = np.random.default_rng(7), 0, 0
    for _ in range(500):
        found = []
        for _ in range(12):
            first, hard = draw(rng, 3, 24)
            found.append(compare_paired(first, draw(rng, 3, 24, shared=hard)[0]))
        alone += any(each.verdict != "not shown" for each in found)
        together += any(verdict != "not shown" for verdict in correct_for_many(found))
    assert 0.35 < alone / 500 < 0.6
    assert 0.03 <= together / 500 <= 0.07


def test_many_differences_stand_step_by_step():
    base = compare_paired(draw(np.random.default_rng(0), 3, 9)[0], draw(np.random.default_rng(1), 3, 9)[0])

    def make(p, sign=1, seeds=21):
        value = sign * float(stats.t.isf(p / 2, 20)) * 0.01
        reach = float(stats.t.ppf(0.975, 20)) * 0.01
        return dataclasses.replace(
            base, value=value, low=value - reach, high=value + reach, error=0.01, freedom=20, seeds=seeds
        )

    found = [make(0.04), make(0.012, -1), make(0.001), make(0.024), make(1e-9, seeds=2)]
    assert [each.p for each in found[:4]] == pytest.approx([0.04, 0.012, 0.001, 0.024])
    assert [each.verdict for each in found] == ["shown", "reversed", "shown", "shown", "not decided"]
    assert correct_for_many(found) == ["shown", "reversed", "shown", "shown", "not decided"], (
        "0.0125, 0.0167, 0.025, 0.05"
    )
    assert correct_for_many([make(0.001), make(0.03), make(0.02)]) == ["shown", "shown", "shown"]
    assert correct_for_many([make(0.001), make(0.03), make(0.026)]) == ["shown", "not shown", "not shown"]
    assert correct_for_many([]) == []
    few = make(0.04, seeds=3)
    assert few.p > 0.05
    assert correct_for_many([few]) == ["shown"], "of one alone, the interval decides"
    same, _ = draw(np.random.default_rng(2), 3, 4)
    assert compare_paired(same, same).p == 1


def test_scores_without_a_confusion_come_from_leaving_out():
    """Average precision has none; where there is one, both ways give the same."""
    rng, numbers = np.random.default_rng(1), dataclasses.astuple
    sides = [draw(rng, 3, 7)[0] for _ in range(2)]
    left_out = []
    for side in sides:
        totals = miou(side.sum(axis=1))
        without = np.stack([miou(np.delete(side, block, axis=1).sum(axis=1)) for block in range(7)], axis=1)
        left_out.append((totals, without))
        assert numbers(estimate_left_out(totals, without)) == pytest.approx(numbers(estimate(side)))
    assert numbers(compare_left_out(*left_out)) == pytest.approx(numbers(compare_paired(*sides)))
    alone = estimate_left_out(np.array([0.5]), np.zeros((1, 0)))
    assert alone.value == 0.5
    assert math.isnan(alone.low)
    with pytest.raises(ValueError, match="same seeds and blocks"):
        compare_left_out(left_out[0], (left_out[1][0], left_out[1][1][:, :3]))


def test_an_estimate_as_text_and_as_json():
    found = estimate(draw(np.random.default_rng(2), 3, 5)[0])
    assert f"{found}" == f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"
    assert f"{found:+}".startswith(f"{found.value:+.3f} [+")
    assert found.to_json()["smallest"] == pytest.approx(found.smallest)
    alone = estimate(draw(np.random.default_rng(2), 1, 1)[0])
    assert f"{alone}" == f"{alone.value:.3f}"
    assert alone.to_json()["low"] is None


def test_rows_come_back_from_json_as_they_were():
    one, other = (draw(np.random.default_rng(seed), 3, 5)[0] for seed in (0, 1))
    rows = [
        {"start": "random", "miou": estimate(one[:1, :1]), "minus_first": None},
        {"start": "own", "miou": estimate(other), "minus_first": compare_paired(other, one)},
    ]
    again = rows_from_json(json.loads(json.dumps(rows_to_json(rows))))
    assert [row["start"] for row in again] == ["random", "own"]
    assert math.isnan(again[0]["miou"].low)
    assert again[0]["minus_first"] is None
    assert again[1] == rows[1]
    assert again[1]["minus_first"].verdict == rows[1]["minus_first"].verdict
