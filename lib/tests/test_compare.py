import json

import pytest

from lib import artifacts, params
from lib.run import compare


def make_run(folder, regions, seed, miou, **values):
    run = str(folder / f"{seed}-{miou}")
    training = artifacts.begin("04_training", params.TrainingParams(run=run, seed=seed, **values), [regions])
    training.finish({"effective_rank": 5.0})
    inputs = [artifacts.load(run, "04_training")]
    evaluation = artifacts.begin("05_evaluation", params.EvaluationParams(run=run), inputs)
    evaluation.finish({"miou": miou, "miou_by_members": 0.1, "miou_greedy": 0.4, "accuracy": 0.5})
    return run


def make_regions(folder):
    artifacts.begin("02_regions", params.RegionParams(run=str(folder))).finish({})
    return artifacts.load(str(folder), "02_regions")


def test_settings_over_seeds_and_differences_seed_by_seed(tmp_path, capsys, monkeypatch):
    regions = make_regions(tmp_path / "base")
    pasted = [make_run(tmp_path, regions, seed, miou) for seed, miou in ((0, 0.3), (1, 0.5), (2, 0.9))]
    plain = [make_run(tmp_path, regions, seed, miou, paste=False) for seed, miou in ((1, 0.25), (0, 0.2))]
    monkeypatch.setattr(compare, "REFERENCE", tmp_path / "outputs" / "reference")
    (tmp_path / "outputs" / "reference").mkdir(parents=True)
    assert compare.main([*pasted, *plain, "--record", "paste"]) == 0
    assert "04.paste = True: seeds 0, 1, 2" in capsys.readouterr().out
    found = json.loads((tmp_path / "outputs" / "reference" / "compare_paste.json").read_text())
    assert set(found["settings"]) == {"04.paste = True", "04.paste = False"}
    assert found["settings"]["04.paste = True"]["mean"]["miou"] == pytest.approx(17 / 30)
    assert found["settings"]["04.paste = False"]["range"]["miou"] == [0.2, 0.25]
    assert found["first_minus_second"]["seeds"] == [0, 1]
    assert found["first_minus_second"]["miou"] == pytest.approx([0.1, 0.25])


def test_what_cannot_be_compared_is_one_sentence(tmp_path, capsys):
    first, other = make_regions(tmp_path / "base"), make_regions(tmp_path / "other")
    runs = [make_run(tmp_path, first, 0, 0.3), make_run(tmp_path, other, 1, 0.4), make_run(tmp_path, first, 0, 0.5)]
    assert compare.main(runs[:2]) == 1
    assert "different regions" in capsys.readouterr().err
    assert compare.main([runs[0], runs[2]]) == 1
    assert "seed 0 occurs twice" in capsys.readouterr().err
    assert compare.main([str(tmp_path / "nothing")]) == 1
    assert "does not exist" in capsys.readouterr().err
