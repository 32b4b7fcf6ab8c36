"""Depth metrics against slow references in plain Python and against numeric optimisation."""

import math
import tracemalloc
from statistics import median

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from matplotlib.figure import Figure

from lib import depth
from lib.data import Dataset, Frame
from lib.data.labels import STREET
from lib.depth.metrics import (
    NUMBERS,
    find_failures,
    measure_depth,
)
from lib.figures import depth as pictures
from lib.parallel import numpy_generator

SIZE = (7, 11)


class Maps(Dataset):
    """Truth that is given; every frame is a clip of its own."""

    name, classes = "street", STREET

    def __init__(self, true, labels=None, moving=None):
        self.true, self.kinds, self.moves, self.size = true, labels, moving, SIZE
        self._frames = [Frame(f"{i}/0", str(i), "val") for i in range(len(true))]

    def image(self, frame):
        return np.zeros((*self.size, 3), np.uint8)

    def depth(self, frame):
        return self.true[int(frame.clip)]

    def labels(self, frame):
        return None if self.kinds is None else self.kinds[int(frame.clip)]

    def moving(self, frame):
        return None if self.moves is None else self.moves[int(frame.clip)]


# the seven numbers


def slow_numbers(pairs):
    """Eigen et al. 2014, one pixel after the other. [(true, predicted), ...] in metres"""
    if not pairs:
        return dict.fromkeys(NUMBERS, math.nan)
    n = len(pairs)
    return {
        "abs_rel": math.fsum(abs(p - t) / t for t, p in pairs) / n,
        "sq_rel": math.fsum((p - t) ** 2 / t for t, p in pairs) / n,
        "rmse": math.sqrt(math.fsum((p - t) ** 2 for t, p in pairs) / n),
        "rmse_log": math.sqrt(math.fsum((math.log(p) - math.log(t)) ** 2 for t, p in pairs) / n),
        **{f"delta{k}": sum(max(p / t, t / p) < 1.25**k for t, p in pairs) / n for k in (1, 2, 3)},
    }


def slow_scores(true, inverse, labels, moving, crop, metric):
    """What `score_frames` says, with loops over floats."""
    images, scales, pools, valid, compared = [], [], {}, 0, 0
    for t, i, kinds, moves in zip(true, inverse, labels, moving):
        height, width, places = len(t), len(t[0]), []
        top, bottom = (int(0.40810811 * height), int(0.99189189 * height)) if crop else (0, height)
        left, right = (int(0.03594771 * width), int(0.96405229 * width)) if crop else (0, width)
        for y in range(top, bottom):
            places += [(y, x) for x in range(left, right) if 1e-3 < t[y][x] < 80]
        seen = [(y, x) for y, x in places if i[y][x] > 0]
        valid, compared = valid + len(places), compared + len(seen)
        if not seen:
            continue
        scale = median(float(t[y][x]) for y, x in seen) / median(1 / float(i[y][x]) for y, x in seen)
        pairs = {}
        for y, x in seen:
            metres = 1 / float(i[y][x]) * (1 if metric else scale)
            pairs[y, x] = float(t[y][x]), min(max(metres, 1e-3), 80.0)
        images.append(slow_numbers(list(pairs.values())))
        scales.append(scale)
        for (y, x), pair in pairs.items():
            pools.setdefault(int(kinds[y][x]), []).append(pair)
            pools.setdefault("moving" if moves[y][x] else "still", []).append(pair)
    if not valid:
        return {}
    rows = {name: (slow_numbers(pools.get(i, [])), len(pools.get(i, []))) for name, i in zip(STREET.names, STREET.ids)}
    moving = slow_numbers(pools.get("moving", []))
    average = math.fsum(scales) / max(len(scales), 1)
    spread = math.sqrt(math.fsum((s - average) ** 2 for s in scales) / max(len(scales), 1))
    return {
        "frames": len(images),
        **{name: math.fsum(image[name] for image in images) / len(images) if images else math.nan for name in NUMBERS},
        "abs_rel_moving": moving["abs_rel"],
        "abs_rel_still": slow_numbers(pools.get("still", []))["abs_rel"],
        "delta1_moving": moving["delta1"],
        "scale_spread": spread / average if scales else math.nan,
        "coverage": compared / valid,
        "classes": {name: (row["abs_rel"], row["delta1"], count) for name, (row, count) in rows.items() if images},
    }


def assert_same(scores, reference, relative=1e-6):
    assert list(scores) == list(reference)
    for name, value in reference.items():
        if name == "classes":
            assert list(scores[name]) == list(value)
            for row in value:
                assert scores[name][row] == pytest.approx(value[row], rel=relative, abs=1e-9, nan_ok=True), row
        else:
            assert scores[name] == pytest.approx(value, rel=relative, abs=1e-9, nan_ok=True), name


TRUE = st.one_of(st.floats(0.5, 79.5), st.sampled_from([0.0, math.inf, 80.0, 200.0]))
INVERSE = st.one_of(st.floats(1e-3, 5), st.floats(1e-3, 5), st.just(0.0))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_scores_equal_a_slow_reference(data):
    """Missing truth, sky, holes in the prediction, crop, and both ways of scaling."""
    count = data.draw(st.integers(1, 3))
    stack = lambda kind, elements: data.draw(hnp.arrays(kind, (count, *SIZE), elements=elements))  # noqa: E731
    true, inverse = stack(float, TRUE), stack(float, INVERSE)
    labels, moving = stack(np.uint8, st.sampled_from([0, 2, 10, 13, 255])), stack(bool, st.booleans())
    crop, metric = data.draw(st.booleans()), data.draw(st.booleans())
    dataset = Maps(true, labels, moving)
    scores = depth.score_frames(dataset, dataset.frames(), iter(inverse), crop, metric)
    assert_same(scores, slow_scores(true.tolist(), inverse.tolist(), labels, moving, crop, metric))


def draw_frames(count=4, size=SIZE, seed=0):
    rng = numpy_generator(seed, 9)
    true = rng.uniform(2, 60, (count, *size))
    inverse = rng.uniform(0.5, 2, (count, *size)) / true
    return true, inverse, rng.choice([0, 2, 13], (count, *size)).astype(np.uint8), rng.random((count, *size)) < 0.3


def test_maps_of_single_precision_are_scored_in_double():
    true, inverse, labels, moving = draw_frames(2, (64, 128))
    true, inverse = true.astype(np.float32), inverse.astype(np.float32)
    dataset = Maps(true, labels, moving)
    scores = depth.score_frames(dataset, dataset.frames(), inverse)
    assert_same(scores, slow_scores(true.tolist(), inverse.tolist(), labels, moving, False, False))
    assert scores["coverage"] == 1


def test_metrics_equal_their_definitions():
    true, predicted = [2.0, 10.0, 40.0], [2.4, 9.0, 70.0]
    expected = slow_numbers(list(zip(true, predicted)))
    assert expected["abs_rel"] == pytest.approx((0.2 + 0.1 + 0.75) / 3)
    assert expected["delta1"] == pytest.approx(2 / 3)
    assert measure_depth(np.array(true), np.array(predicted)) == pytest.approx(expected)


def test_perfect_depth_up_to_scale_scores_perfectly():
    true, _, _, moving = draw_frames()
    dataset = Maps(true, np.full((4, *SIZE), 13, np.uint8), moving)
    scores = depth.score_frames(dataset, dataset.frames(), 1 / (7 * true))
    assert scores["abs_rel"] < 1e-6
    assert scores["rmse"] < 1e-4
    assert scores["delta1"] == scores["delta1_moving"] == scores["coverage"] == 1
    assert scores["abs_rel_moving"] < 1e-6
    assert scores["scale_spread"] < 1e-9
    assert scores["classes"]["car"][2] == true.size
    assert math.isnan(scores["classes"]["road"][0])
    blind = Maps([None] * 4)
    assert depth.score_frames(blind, blind.frames(), true) == {}


def test_what_moves_and_what_stands_are_pooled_alike():
    """Pools over pixels, whose mean by their sizes is that of all pixels; frames of unknown motion are in neither."""
    true, inverse, _, moving = draw_frames(3)
    moving[0], moving[1, 1:] = False, True
    dataset = Maps(true, moving=[moving[0], moving[1], None])
    scores = depth.score_frames(dataset, dataset.frames(), inverse)
    metres = [depth.scale_to(t, i, depth.select_valid(t)) for t, i in zip(true, inverse)]
    errors = (np.abs(metres - true) / true)[:2]
    assert scores["abs_rel_moving"] == pytest.approx(errors[moving[:2]].mean())
    assert scores["abs_rel_still"] == pytest.approx(errors[~moving[:2]].mean())
    blind = Maps(true)
    unknown = depth.score_frames(blind, blind.frames(), inverse)
    assert math.isnan(unknown["abs_rel_still"])
    assert math.isnan(unknown["abs_rel_moving"])


def test_scores_hold_no_pixels_of_earlier_frames():
    """Of 40 frames of 2 MB each, a few at most are in memory at once."""
    true = np.random.default_rng(0).uniform(2, 60, (512, 512))
    dataset = Maps([true] * 40, [np.zeros(true.shape, np.uint8)] * 40, [true > 30] * 40)
    tracemalloc.start()
    depth.score_frames(dataset, dataset.frames(), (1 / true for _ in range(40)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * true.nbytes


def test_metric_predictions_are_not_scaled():
    true = draw_frames()[0]
    dataset = Maps(true)
    wrong = depth.score_frames(dataset, dataset.frames(), 1 / (1.5 * true), metric=True)
    assert wrong["abs_rel"] == pytest.approx(np.mean(np.minimum(1.5 * true, 80) / true - 1))
    assert wrong["scale_spread"] < 1e-9
    assert depth.score_frames(dataset, dataset.frames(), 1 / true, metric=True)["abs_rel"] < 1e-9
    factors = np.array([1, 2, 3, 4])
    scores = depth.score_frames(dataset, dataset.frames(), factors[:, None, None] / true)
    assert scores["abs_rel"] < 1e-9
    assert scores["scale_spread"] == pytest.approx(np.std(factors) / np.mean(factors))


def test_pixels_without_a_prediction_are_not_scored():
    """A hole is no depth of a million metres: it lowers the coverage and nothing else."""
    true = draw_frames()[0]
    inverse = 1 / true
    inverse[:, :2] = [[[0.0], [np.nan]]]
    dataset = Maps(true)
    scores = depth.score_frames(dataset, dataset.frames(), inverse)
    assert scores["abs_rel"] < 1e-9
    assert scores["coverage"] == pytest.approx(1 - 2 / SIZE[0])
    valid = depth.select_valid(true[0])
    metres = depth.scale_to(true[0], inverse[0], valid)
    assert not metres[:2].any()
    np.testing.assert_allclose(metres[2:], true[0, 2:])
    nothing = depth.score_frames(dataset, dataset.frames(), np.zeros_like(true))
    assert (nothing["frames"], nothing["coverage"]) == (0, 0)
    assert all(math.isnan(nothing[name]) for name in NUMBERS)
    with pytest.raises(ValueError, match="no valid pixel has both a true and a predicted depth"):
        depth.scale_to(true[0], np.zeros(SIZE), valid)
    assert not depth.scale_to(true[0], np.zeros(SIZE), valid, metric=True).any()


def test_maps_of_two_sizes_are_refused():
    true = draw_frames()[0]
    dataset = Maps(true)
    with pytest.raises(ValueError, match=r"true depth is \(7, 11\), predicted \(7, 10\): resize one of them first"):
        depth.score_frames(dataset, dataset.frames(), 1 / true[..., :-1])


def test_frames_without_truth_are_not_counted():
    true, inverse, _, _ = draw_frames(6)
    dataset = Maps([true[0], None, None, true[3], np.zeros(SIZE), None])
    assert depth.score_frames(dataset, dataset.frames(), inverse)["frames"] == 2


def test_sky_far_and_missing_pixels_are_not_scored():
    true = np.full((10, 20), 5.0)
    true[0], true[1], true[2] = np.inf, 0, 81
    assert depth.select_valid(true).sum() == 7 * 20


@pytest.mark.parametrize(
    ("size", "bounds"),
    # 375 x 1242: the bounds that Monodepth2's evaluation prints for an image of this size
    [((375, 1242), (153, 371, 44, 1197)), ((370, 1226), (151, 366, 44, 1181)), ((100, 100), (40, 99, 3, 96))],
)
def test_the_garg_crop_at_its_bounds(size, bounds):
    """Rows from 0.40810811 to 0.99189189 of the height, columns from 0.03594771 to 0.96405229 of the width."""
    crop = depth.select_valid(np.full(size, 5.0), crop=True)
    top, bottom, left, right = bounds
    assert top <= 0.40810811 * size[0] < top + 1
    assert bottom <= 0.99189189 * size[0] < bottom + 1
    assert left <= 0.03594771 * size[1] < left + 1
    assert right <= 0.96405229 * size[1] < right + 1
    assert crop[top:bottom, left:right].all()
    assert crop.sum() == (bottom - top) * (right - left)


# the worst frames


def test_failures_are_the_worst_frames_and_name_the_class_to_blame():
    true, _, labels, _ = draw_frames(5)
    labels[:, :5] = 0
    factors, inverse = (1.0, 3.0, 1.5, 4.0, 2.0), 1 / true
    for i, factor in enumerate(factors):
        labels[i, 5:] = 13
        inverse[i, 5:] /= factor  # the cars are too far, the scale is that of the road
    dataset = Maps(true, labels)
    found = find_failures(dataset, dataset.frames(), iter(inverse), count=3)
    assert [failure.index for failure in found] == [3, 1, 4]
    each = [depth.score_frames(dataset, [f], [m])["abs_rel"] for f, m in zip(dataset.frames(), inverse)]
    assert [failure.abs_rel for failure in found] == pytest.approx([each[3], each[1], each[4]])
    cars = found[0].errors[5:].sum() / found[0].errors.sum()
    assert found[0].caption == f"3/0: abs_rel {each[3]:.2f}, {cars:.0%} of it from car (29% of the pixels)"
    figure = pictures.draw_failures(
        [dataset.image(dataset.frames()[f.index]) for f in found],
        [pictures.invert_depth(f.predicted) for f in found],
        [f.true for f in found],
        [f.errors for f in found],
        [f.caption for f in found],
    )
    assert isinstance(figure, Figure)
    assert [axes.texts[0].get_text() for axes in figure.axes[::4]] == [f.caption for f in found]
    assert len(figure.axes) == 12
    assert figure.axes[-1].get_xlabel().startswith("error")
    with pytest.raises(ValueError, match="there is no frame to show"):
        pictures.draw_failures([], [], [], [], [])


def test_frames_to_look_at_are_spread_and_have_truth():
    true = draw_frames(9)[0]
    true[[0, 1, 4]] = 0
    dataset = Maps(true)
    assert depth.pick_frames(dataset, dataset.frames(), 3) == [2, 3, 8]
    dataset = Maps(np.zeros_like(true))
    assert depth.pick_frames(dataset, dataset.frames(), 2) == [0, 8], "none has: those at their places"


def test_a_clip_fails_once():
    true, inverse, _, _ = draw_frames(4)
    dataset = Maps(true)
    dataset._frames = [Frame(f"{i}/0", str(i // 2 * 2), "val") for i in range(4)]  # two clips
    assert len(find_failures(dataset, dataset.frames(), inverse, count=4)) == 2
