"""Confusion, matching and scores against brute force, slow transcriptions and torchmetrics; errors."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torchmetrics.functional.segmentation import mean_iou

from lib import artifacts, params
from lib.data.labels import CAMVID_11, IGNORE
from lib.evaluation import (
    MATCHINGS,
    UNNAMED,
    count_blocks,
    count_pairs,
    find_run_without_paste,
    match_by_count,
    match_by_iou,
    match_greedily,
    measure_overlap,
    merge_columns,
    name_clusters,
    normalize_score,
    read_labelled,
    score,
)


def random_maps(seed, classes=4, clusters=4, ignored=0.1):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, (2, 9, 11)).astype(np.uint8)
    predicted = np.where(rng.random(truth.shape) < 0.5, truth % clusters, rng.integers(0, clusters, truth.shape))
    truth[rng.random(truth.shape) < ignored] = IGNORE
    return truth, predicted


def slow_pairs(truth, predicted, classes, clusters):
    pairs = [[0] * clusters for _ in range(classes)]
    for t, p in zip(truth.ravel(), predicted.ravel()):
        if t != IGNORE:
            pairs[t][p] += 1
    return np.array(pairs)


def slow_iou(truth, predicted, c, k):
    a, b = (truth == c) & (truth != IGNORE), (predicted == k) & (truth != IGNORE)
    return (a & b).sum() / max((a | b).sum(), 1)


@pytest.mark.parametrize("clusters", [3, 4, 6])
def test_pairs_and_overlap_are_counts_of_pixels(clusters):
    truth, predicted = random_maps(clusters, 4, clusters)
    pairs = count_pairs(truth, predicted, 4, clusters)
    np.testing.assert_array_equal(pairs, slow_pairs(truth, predicted, 4, clusters))
    assert pairs.sum() == (truth != IGNORE).sum()
    slow = [[slow_iou(truth, predicted, c, k) for k in range(clusters)] for c in range(4)]
    np.testing.assert_allclose(measure_overlap(pairs), slow)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("clusters", [3, 4, 5])
def test_matching_is_the_best_of_all_one_to_one_namings(seed, clusters):
    truth, predicted = random_maps(seed, 4, clusters)
    pairs = count_pairs(truth, predicted, 4, clusters)
    for match, gain in ((match_by_iou, measure_overlap(pairs)), (match_by_count, pairs)):
        if clusters <= 4:
            totals = [sum(gain[c, k] for k, c in enumerate(p)) for p in itertools.permutations(range(4), clusters)]
        else:
            totals = [sum(gain[c, k] for c, k in enumerate(p)) for p in itertools.permutations(range(clusters), 4)]
        names = match(pairs)
        assert len(set(names[names != UNNAMED])) == min(4, clusters)
        assert sum(gain[c, k] for k, c in enumerate(names) if c != UNNAMED) == pytest.approx(max(totals))


def test_matching_by_iou_never_scores_below_matching_by_count():
    rng = np.random.default_rng(0)
    for _ in range(50):
        pairs = rng.integers(0, 100, (5, 5)) ** 2
        by_iou, by_count = (score(name_clusters(pairs, match(pairs))) for match in (match_by_iou, match_by_count))
        assert by_iou.miou >= by_count.miou - 1e-12
        assert by_iou.accuracy <= by_count.accuracy + 1e-12


def test_greedy_naming_takes_the_majority_and_shares_classes():
    pairs = np.array([[9, 8, 0, 0], [1, 2, 5, 0]])
    names = match_greedily(pairs)
    np.testing.assert_array_equal(names, [0, 0, 1, UNNAMED])
    np.testing.assert_array_equal(name_clusters(pairs, names), [[17, 0, 0], [3, 5, 0]])
    assert score(name_clusters(pairs, names)).accuracy == 22 / 25
    best = max(score(name_clusters(pairs, np.array(p))).accuracy for p in itertools.product((0, 1), repeat=4))
    assert best == 22 / 25  # no naming gets more pixels right


@pytest.mark.parametrize("seed", range(5))
def test_miou_equals_torchmetrics(seed):
    truth, predicted = random_maps(seed)
    result = score(name_clusters(count_pairs(truth, predicted, 4, 4), np.arange(4)))
    # torchmetrics has no ignore label: give those pixels a fifth class on both sides, and leave it out
    valid = truth != IGNORE
    a = torch.from_numpy(np.where(valid, truth, 4).astype(np.int64)).reshape(1, 1, -1)
    b = torch.from_numpy(np.where(valid, predicted, 4).astype(np.int64)).reshape(1, 1, -1)
    expected = mean_iou(b, a, num_classes=5, per_class=True, input_format="index")[0, :4]
    np.testing.assert_allclose(result.iou, expected, atol=1e-6)
    assert result.miou == pytest.approx(float(expected.mean()), abs=1e-6)
    assert result.accuracy == pytest.approx((truth == predicted)[valid].mean())
    assert result.counted == 4


def test_classes_absent_from_the_truth_do_not_count():
    truth, predicted = np.array([0, 0, 1, IGNORE]), np.array([0, 2, 1, 1])
    result = score(name_clusters(count_pairs(truth, predicted, 3, 3), np.arange(3)))
    np.testing.assert_allclose(result.iou, [0.5, 1, np.nan])
    assert (result.miou, result.counted) == (0.75, 2)
    unnamed = score(name_clusters(count_pairs(truth, predicted, 3, 3), np.array([0, 1, UNNAMED])))
    assert unnamed.iou[0] == 0.5  # missed, and nobody's false alarm
    with pytest.raises(ValueError, match="not one labelled pixel"):
        score(np.zeros((3, 4), int))


def test_merging_prototypes_first_or_naming_them_by_cluster_is_the_same():
    rng = np.random.default_rng(1)
    pairs, clusters = rng.integers(0, 50, (4, 20)), rng.permutation(np.arange(20) % 4)
    merged = merge_columns(pairs, clusters)
    for k in range(4):
        np.testing.assert_array_equal(merged[:, k], pairs[:, clusters == k].sum(axis=1))
    for match in MATCHINGS.values():
        names = match(merged)
        np.testing.assert_array_equal(name_clusters(merged, names), name_clusters(pairs, names[clusters]))


def test_normalized_score():
    assert normalize_score(0.3, 0.3, 0.8) == 0
    assert normalize_score(0.8, 0.3, 0.8) == 1
    assert normalize_score(0.5, 0.3, None) is None
    assert normalize_score(0.5, 0.3, 0.2) is None


def test_counts_of_blocks_are_those_of_their_frames():
    truth, predicted = random_maps(3)
    truth, predicted = np.concatenate([truth] * 2), np.concatenate([predicted, predicted[::-1]])
    blocks = np.array(["b", "a", "b", "c"])
    found = count_blocks(truth, predicted, blocks, 4, 4)
    assert found.shape == (3, 4, 4)
    np.testing.assert_array_equal(found[1], slow_pairs(truth[[0, 2]], predicted[[0, 2]], 4, 4))
    clusters, names = np.array([2, 0, 0, 1]), np.array([3, UNNAMED, 1])
    together = name_clusters(merge_columns(found, clusters), names)
    for block, table in zip(found, together):
        np.testing.assert_array_equal(name_clusters(merge_columns(block, clusters), names), table)


def test_wrong_shapes_and_values_are_refused():
    with pytest.raises(ValueError, match=r"labels are \(2, 3\) but the prediction is \(3, 2\)"):
        count_pairs(np.zeros((2, 3)), np.zeros((3, 2)), 2, 2)
    with pytest.raises(ValueError, match=r"class indices must lie in 0\.\.1, found 0\.\.2"):
        count_pairs(np.array([0, 2]), np.array([0, 0]), 2, 2)
    with pytest.raises(ValueError, match=r"cluster indices must lie in 0\.\.1, found -1\.\.0"):
        count_pairs(np.array([0, 1]), np.array([0, -1]), 2, 2)


def test_a_data_set_without_labels_is_refused():
    frame = SimpleNamespace(id="a", clip="a")
    data = SimpleNamespace(name="kitti_raw", classes=None, frames=lambda split, labelled: [])
    with pytest.raises(ValueError, match="kitti_raw has no labelled frames in split 'test'"):
        read_labelled(data, "test")
    data = SimpleNamespace(name="x", classes=CAMVID_11, frames=lambda split, labelled: [frame])
    data.labels, data.image = lambda f: np.array([[3, 12]], np.uint8), lambda f: np.zeros((1, 2, 3), np.uint8)
    with pytest.raises(ValueError, match=r"x, split val: label values \[12\]"):
        read_labelled(data, "val")
    data.labels = lambda f: np.array([[3, 255]], np.uint8)
    frames, images, truth = read_labelled(data, "val")
    assert (frames, images.shape, truth.tolist()) == ([frame], (1, 1, 2, 3), [[[3, 255]]])


def test_the_run_without_paste_has_the_same_inputs_and_parameters(tmp_path, monkeypatch):
    monkeypatch.setattr(artifacts.stages, "OUTPUTS", tmp_path)

    def make(name, run, inputs=(), **values):
        artifacts.begin(name, params.make(params.SCHEMAS[name], {"run": run, **values}), list(inputs)).finish({})
        return artifacts.load(run, name)

    recipe, other = make("03_augmentation", "ours"), make("03_augmentation", "foreign", seed=1)
    ours = make("04_training", "ours", [recipe])
    make("04_training", "ours-seed1", [recipe], upstream="ours", paste=False, seed=1)
    make("04_training", "foreign", [other], paste=False)
    for name, text in (("torn", "{"), ("strange", "{}")):
        (tmp_path / name / "04_training").mkdir(parents=True)
        (tmp_path / name / "04_training" / "manifest.json").write_text(text)
    assert find_run_without_paste(ours) is None
    plain = make("04_training", "plain", [recipe], upstream="ours", paste=False, workers=3)  # workers change nothing
    assert find_run_without_paste(ours) == plain
