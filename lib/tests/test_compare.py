import json

import numpy as np
import pytest

from lib import artifacts, params
from lib.run import compare, reference


def make_confusions(seed, hit, blocks):
    """Two classes, of which a share of `hit` is right, a little more or less from block to block."""
    rng = np.random.default_rng(seed)
    right = np.rint(1000 * np.clip(hit + rng.uniform(-0.05, 0.05, blocks), 0, 1)).astype(np.int64)
    table = np.zeros((blocks, 2, 3), np.int64)
    table[:, [0, 1], [0, 1]], table[:, [0, 1], [1, 0]] = right[:, None], 1000 - right[:, None]
    return dict.fromkeys(("miou", "miou_greedy", "miou_by_members"), table)


def make_run(folder, regions, seed, miou, blocks=("a", "b", "c", "d"), **values):
    run = str(folder / f"{seed}-{miou}")
    training = artifacts.begin("04_training", params.TrainingParams(run=run, seed=seed, **values), [regions])
    training.finish({"effective_rank": 5.0})
    inputs = [artifacts.load(run, "04_training")]
    evaluation = artifacts.begin(
        "05_evaluation", params.EvaluationParams(run=run), [regions.source("01_depth"), *inputs]
    )
    evaluation.save_arrays("confusions.npz", blocks=np.array(blocks), **make_confusions(seed, miou, len(blocks)))
    evaluation.save_image("features.png", np.zeros((2, 2, 3), np.uint8))
    evaluation.finish({"miou": miou, "miou_by_members": 0.1, "miou_greedy": 0.4, "accuracy": 0.5})
    return run


def make_regions(folder, dataset="street", fold=0):
    artifacts.begin("01_depth", params.DepthParams(run=str(folder), dataset=dataset, fold=fold)).finish({})
    depth = artifacts.load(str(folder), "01_depth")
    artifacts.begin("02_regions", params.RegionParams(run=str(folder)), [depth]).finish({})
    return artifacts.load(str(folder), "02_regions")


def test_settings_over_seeds_and_differences_seed_by_seed(tmp_path, capsys, monkeypatch):
    regions = make_regions(tmp_path / "base")
    pasted = [make_run(tmp_path, regions, seed, miou) for seed, miou in ((0, 0.3), (1, 0.5), (2, 0.9))]
    plain = [make_run(tmp_path, regions, seed, miou, paste=False) for seed, miou in ((1, 0.25), (0, 0.2))]
    for module in (compare, reference):
        monkeypatch.setattr(module, "REFERENCE", tmp_path / "outputs" / "reference")
    (tmp_path / "outputs" / "reference").mkdir(parents=True)
    assert compare.main([*pasted, *plain, "--record", "paste"]) == 0
    assert "04.paste = True: seeds 0, 1, 2" in capsys.readouterr().out
    found = json.loads((tmp_path / "outputs" / "reference" / "compare_paste.json").read_text())
    assert set(found["settings"]) == {"04.paste = True", "04.paste = False"}
    assert found["settings"]["04.paste = True"]["mean"]["miou"] == pytest.approx(17 / 30)
    assert found["settings"]["04.paste = False"]["range"]["miou"] == [0.2, 0.25]
    assert found["first_minus_second"]["seeds"] == [0, 1]
    assert found["first_minus_second"]["miou"] == pytest.approx([0.1, 0.25])
    one = found["settings"]["04.paste = True"]["estimate"]["accuracy"]
    assert one["value"] == pytest.approx(17 / 30, abs=0.03)
    assert one["low"] < one["value"] < one["high"]
    assert (one["seeds"], one["blocks"]) == (3, 4)
    difference = found["first_minus_second"]["estimate"]["accuracy"]
    assert difference["value"] == pytest.approx(0.175, abs=0.03)
    assert (difference["seeds"], difference["verdict"]) == (2, "not decided")  # two seeds that differ by 0.15
    assert difference["smallest"] is None


def test_an_interval_of_one_seed_says_what_it_is_about(tmp_path, capsys):
    regions = make_regions(tmp_path / "base")
    runs = [make_run(tmp_path, regions, 0, 0.8), make_run(tmp_path, regions, 0, 0.4, paste=False)]
    assert compare.main(runs) == 0
    told = capsys.readouterr().out
    assert "not decided" in told
    assert "fewer than 3 seeds decide nothing" in told
    assert "a single seed: its interval is about clips, and says nothing about other seeds" in told
    single = make_run(tmp_path, regions, 3, 0.7, blocks=("a",))
    assert compare.main([single]) == 0
    assert "1 clips or parts" in capsys.readouterr().out


def test_three_settings_are_compared_with_the_first(tmp_path, capsys):
    regions = make_regions(tmp_path / "base")
    runs = [
        make_run(tmp_path, regions, seed, 0.1 * steps / 100 + 0.05 * seed, steps=steps)
        for steps in (100, 300, 500)
        for seed in (0, 1, 2)
    ]
    runs += [make_run(tmp_path, regions, 9, 0.9, steps=900)]
    found = compare.collect(compare.read_runs(runs))
    assert found["first_minus_second"] is None
    differences = list(found["minus_first"].values())
    assert [d and round(d["miou"][0], 2) for d in differences] == [0.2, 0.4, None]
    assert differences[0]["estimate"]["miou"]["verdict"] == "shown"
    assert differences[0]["estimate"]["miou"]["corrected"] == "shown"
    assert compare.main(runs) == 0
    told = capsys.readouterr().out
    assert "04.steps = 500, minus the first, seeds 0, 1, 2" in told
    assert "04.steps = 900, minus the first: no seed is in both, so nothing is compared" in told


def test_two_settings_without_a_common_seed(tmp_path, capsys):
    regions = make_regions(tmp_path / "base")
    runs = [make_run(tmp_path, regions, 0, 0.3), make_run(tmp_path, regions, 1, 0.5, paste=False)]
    assert compare.main(runs) == 0
    assert "first minus second: no seed is in both" in capsys.readouterr().out


def test_what_else_is_merged_is_compared_over_the_same_seeds(tmp_path, capsys):
    regions, runs = make_regions(tmp_path / "base"), []
    for seed in (0, 1, 2):
        runs.append(make_run(tmp_path, regions, seed, 0.5 + 0.02 * seed))
        evaluation = artifacts.load(runs[-1], "05_evaluation")
        stage = artifacts.begin(
            "05_evaluation", evaluation.params, [regions.source("01_depth"), artifacts.load(runs[-1], "04_training")]
        )
        ours = make_confusions(seed, 0.5 + 0.02 * seed, 4)
        better = {"miou_by_pixels": make_confusions(seed, 0.8 + 0.02 * seed, 4)["miou"]}
        stage.save_arrays("confusions.npz", blocks=np.array(list("abcd")), **ours | better)
        numbers = {name: evaluation.metrics[name] for name in compare.NEEDED if name in evaluation.metrics}
        stage.finish(numbers | {"miou_by_pixels": 0.8 + 0.02 * seed})
    (group,) = compare.collect(compare.read_runs(runs))["settings"].values()
    assert group["minus_miou"]["miou_by_pixels"]["value"] == pytest.approx(0.37, abs=0.05)
    assert group["minus_miou"]["miou_by_pixels"]["verdict"] == "shown"
    assert compare.main(runs) == 0
    assert "what else is merged, minus miou" in capsys.readouterr().out


def test_folds_are_one_run_over_the_blocks_of_all(tmp_path, capsys):
    runs, parts = [], []
    for fold, blocks in enumerate((("a", "b"), ("b", "c", "d"))):
        regions = make_regions(tmp_path / f"fold{fold}", "camvid", fold)
        for seed in (0, 1):
            runs.append(make_run(tmp_path / f"fold{fold}", regions, seed, 0.4 + 0.2 * fold, blocks=blocks))
            parts.append(make_confusions(seed, 0.4 + 0.2 * fold, len(blocks))["miou"])
    rows = compare.join_folds(compare.read_runs(runs))
    assert [row["setting"]["01.fold"] for row in rows] == ["0, 1"] * 2
    expected = np.stack([parts[0][0], parts[0][1] + parts[2][0], parts[2][1], parts[2][2]])
    assert rows[0]["confusions"]["blocks"].tolist() == list("abcd")
    assert np.array_equal(rows[0]["confusions"]["miou"], expected)
    assert rows[0]["metrics"]["miou"] == pytest.approx(float(compare.miou(expected.sum(axis=0))))
    assert compare.main(runs) == 0
    assert "one setting: seeds 0, 1; 4 clips or parts" in capsys.readouterr().out
    assert compare.main([runs[0], runs[2], runs[3], runs[1]]) == 0
    assert "one setting: seeds 0, 1; 4 clips or parts" in capsys.readouterr().out, "in whichever order they are given"
    assert compare.main(runs[:3]) == 1
    assert "here are [0, 1]; [0]" in capsys.readouterr().err


@pytest.mark.parametrize("dataset", ["street", "camvid"])
def test_a_recorded_comparison_keeps_no_photograph(tmp_path, monkeypatch, dataset):
    run = make_run(tmp_path, make_regions(tmp_path / "base", dataset), 0, 0.3)
    monkeypatch.setattr(compare, "REFERENCE", tmp_path)
    monkeypatch.setattr(reference, "REFERENCE", tmp_path)
    assert compare.main([run, "--record", "x"]) == 0
    assert (tmp_path / "compare_x.png").is_file() == (dataset == "street")


def test_what_cannot_be_compared_is_one_sentence(tmp_path, capsys):
    first, other = make_regions(tmp_path / "base"), make_regions(tmp_path / "other")
    runs = [make_run(tmp_path, first, 0, 0.3), make_run(tmp_path, other, 1, 0.4), make_run(tmp_path, first, 0, 0.5)]
    assert compare.main(runs[:2]) == 1
    assert "different regions" in capsys.readouterr().err
    apart = make_run(tmp_path, first, 1, 0.6, blocks=("a", "b"))
    assert compare.main([runs[0], apart]) == 1
    assert "scored on different clips" in capsys.readouterr().err
    assert compare.main([runs[0], runs[2]]) == 1
    assert "seed 0 occurs twice" in capsys.readouterr().err
    old = artifacts.begin(
        "05_evaluation", params.EvaluationParams(run=runs[1]), [artifacts.load(runs[1], "04_training")]
    )
    old.finish({"miou": 0.4})
    assert compare.main([runs[1]]) == 1
    assert "has no miou_by_members, miou_greedy, accuracy" in capsys.readouterr().err
    assert compare.main([str(tmp_path / "nothing")]) == 1
    assert "does not exist" in capsys.readouterr().err


def test_a_run_that_merges_by_members_has_that_score(tmp_path, capsys):
    """Its 05 keeps the score by members as its own, and that by prototypes beside it."""
    regions = make_regions(tmp_path / "base")
    paper, other = (make_run(tmp_path, regions, 0, miou) for miou in (0.3, 0.6))
    inputs = [regions.source("01_depth"), artifacts.load(other, "04_training")]
    values = params.EvaluationParams(run=other, represent="members")
    evaluation = artifacts.begin("05_evaluation", values, inputs)
    found = make_confusions(0, 0.6, 4)
    found.pop("miou_by_members")
    evaluation.save_arrays("confusions.npz", blocks=np.array(list("abcd")), **found)
    evaluation.finish({"miou": 0.6, "miou_by_prototypes": 0.3, "miou_greedy": 0.4, "accuracy": 0.5})
    assert compare.main([paper, other]) == 0
    assert "miou_by_members     0.600" in capsys.readouterr().out
