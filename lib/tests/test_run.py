import os
import subprocess
import sys
import time

import pytest

from lib import ROOT, artifacts, params
from lib.run import __main__ as command
from lib.run import chain, reference

EMPTY = {name: {} for name in params.SCHEMAS}


def make_stage(run, name, inputs=(), **values):
    stage = artifacts.begin(name, params.make(params.SCHEMAS[name], {"run": str(run), **values}), list(inputs))
    stage.finish({"purity": 0.5})
    return artifacts.load(str(run), name)


def test_overrides():
    assert chain.parse_overrides(["04_training.steps=500", "4.paste=false"]) == {
        "04_training": {"steps": 500, "paste": False}
    }
    for wrong in ("steps=5", "04_training.steps", "07.steps=5", "04.steps=["):
        with pytest.raises(params.ParameterError):
            chain.parse_overrides([wrong])


def test_seeds_share_the_regions_of_the_run(tmp_path, monkeypatch):
    values = chain.read_run(ROOT / "params" / "street", {}, "mine", "")
    own, other = chain.vary_seed(values, 0), chain.vary_seed(values, 7)
    assert own["04_training"] == values["04_training"]
    assert own["05_evaluation"] == values["05_evaluation"]
    training, evaluation = other["04_training"], other["05_evaluation"]
    assert (training.run, training.upstream, training.seed) == ("mine-seed7", "mine", 7)
    assert (evaluation.run, evaluation.upstream, evaluation.split) == ("mine-seed7", "", "test")
    ran, compared = [], []
    monkeypatch.setattr(artifacts.stages, "OUTPUTS", tmp_path)
    monkeypatch.setattr(chain, "execute", lambda name, values: ran.append((values.run, name[:2])))
    monkeypatch.setattr(command.compare, "main", lambda runs: compared.extend(runs) or 0)
    out = ["--out", str(tmp_path / "outputs" / "mine")]
    assert command.main(["params/street", *out, "--seeds", "0", "7"]) == 0
    assert ran == [("mine", n) for n in ("01", "02", "03", "04", "05")] + [("mine-seed7", "04"), ("mine-seed7", "05")]
    assert compared == ["mine", "mine-seed7"]
    with pytest.raises(SystemExit):
        command.main(["params/street", *out, "--seeds", "0", "--to", "03"])


def test_each_fold_has_a_chain_of_its_own(tmp_path, monkeypatch, capsys):
    ran, compared = [], []
    monkeypatch.setattr(artifacts.stages, "OUTPUTS", tmp_path)
    monkeypatch.setattr(
        chain, "execute", lambda name, values: ran.append((values.run, name[:2], getattr(values, "fold", "")))
    )
    monkeypatch.setattr(command.compare, "main", lambda runs: compared.extend(runs) or 0)
    out = ["--out", str(tmp_path / "outputs" / "mine")]
    assert command.main(["params/camvid", *out, "--folds", "0", "2"]) == 0
    chained = ("02", "03", "04", "05")
    assert ran == [
        *(("mine", "01", 0), *(("mine", n, "") for n in chained)),
        *(("mine-fold2", "01", 2), *(("mine-fold2", n, "") for n in chained)),
    ]
    assert compared == ["mine", "mine-fold2"]
    ran.clear(), compared.clear()
    assert command.main(["params/camvid", *out, "--folds", "1", "2", "--seeds", "0", "5"]) == 0
    assert list(dict.fromkeys(run for run, *_ in ran)) == [
        "mine-fold1", "mine-fold1-seed5", "mine-fold2", "mine-fold2-seed5",
    ], "not that of the parameters"  # fmt: skip
    assert [name for run, name, _ in ran if run == "mine-fold2-seed5"] == ["04", "05"]
    assert compared == ["mine-fold1", "mine-fold1-seed5", "mine-fold2", "mine-fold2-seed5"]
    assert command.main(["params/camvid", *out, "--folds", "0", "4"]) == chain.BAD_PARAMETER
    assert "camvid has folds 0 to 3, and no 4" in capsys.readouterr().err
    assert command.main(["params/street", *out, "--folds", "0", "1"]) == chain.BAD_PARAMETER
    assert "--folds: street has none" in capsys.readouterr().err
    assert command.main(["params/camvid", *out, "--folds", "1", "-p", "05.upstream=x"]) == chain.BAD_PARAMETER
    assert "leave upstream empty" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        command.main(["params/camvid", *out, "--folds", "0", "--only", "04"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["params/street", "-p", "04.stepz=5"], "did you mean 'steps'"),
        (["params/nowhere"], "no folder"),
        (["params/street", "--to", "99"], "no notebook '99'"),
    ],
)
def test_a_wrong_word_stops_before_anything_runs(words, message, capsys, tmp_path):
    assert command.main([*words, "--out", str(tmp_path / "out")]) == chain.BAD_PARAMETER
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_stray_file_among_the_parameters_is_named(tmp_path):
    (tmp_path / "04_trianing.yaml").write_text("steps: 3\n")
    with pytest.raises(params.ParameterError, match="04_trianing"):
        chain.read_run(tmp_path, {}, "x", "")


def test_up_to_date(tmp_path, monkeypatch):
    values = params.DepthParams(run=str(tmp_path))
    assert not chain.is_current("01_depth", values)
    depth = make_stage(tmp_path, "01_depth")
    make_stage(tmp_path, "02_regions", [depth])
    assert chain.is_current("01_depth", values)
    assert chain.is_current("01_depth", params.make(params.DepthParams, {"run": str(tmp_path), "workers": 7}))
    assert not chain.is_current("01_depth", params.make(params.DepthParams, {"run": str(tmp_path), "steps": 7}))
    assert chain.is_current("02_regions", params.RegionParams(run=str(tmp_path)))
    make_stage(tmp_path, "01_depth", seed=3)
    assert not chain.is_current("02_regions", params.RegionParams(run=str(tmp_path))), "its input changed"
    monkeypatch.setattr(artifacts, "hash_code", lambda name, also: "other code")
    assert not chain.is_current("01_depth", params.make(params.DepthParams, {"run": str(tmp_path), "seed": 3}))


def test_the_chain_skips_what_is_done_and_stops_at_a_failure(tmp_path, monkeypatch):
    ran = []

    def execute(name, values):
        ran.append(name)
        if name == "03_augmentation":
            raise chain.papermill.PapermillExecutionError(3, 3, "x", "ValueError", "bad", [])

    monkeypatch.setattr(chain, "execute", execute)
    make_stage(tmp_path, "01_depth")
    values = {name: params.make(schema, {"run": str(tmp_path)}) for name, schema in params.SCHEMAS.items()}
    assert chain.run_chain(values, "01_depth", "05_evaluation") == chain.FAILED
    assert ran == ["02_regions", "03_augmentation"]
    assert "purity 0.5" in chain.score_table(str(tmp_path))


def test_the_log_says_how_fast_a_stage_was(tmp_path, caplog):
    stage = artifacts.begin("01_depth", params.DepthParams(run=str(tmp_path)))
    stage.about |= {"prediction": "30 images a second", "field_of_view": 70.0}
    stage.finish({})
    with caplog.at_level("INFO", logger="lib.run"):
        chain._log_rates(tmp_path / "01_depth" / "manifest.json")
        chain._log_rates(tmp_path / "02_regions" / "manifest.json")
    assert [record.getMessage() for record in caplog.records] == ["prediction: 30 images a second"]


def test_two_runs_do_not_share_a_folder(tmp_path):
    with chain.only_run(tmp_path), pytest.raises(BlockingIOError, match="another run"), chain.only_run(tmp_path):
        pass


def test_bare_papermill_stops_on_a_typo(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "papermill", str(ROOT / "notebooks" / "02_regions.ipynb"), str(tmp_path / "out.ipynb"),
         "-p", "superpixel", "3", "-p", "run", str(tmp_path / "run"), "-k", "python3", "--no-progress-bar"],
        capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode != 0
    assert "did you mean 'superpixels'" in done.stderr
    assert not (tmp_path / "run").exists(), "nothing was computed"


def make_run(run, purity, dataset="street", device="auto"):
    depth = artifacts.begin("01_depth", params.DepthParams(run=str(run), dataset=dataset, device=device))
    depth.finish({"abs_rel": 0.2, "rmse": None})
    regions = artifacts.begin("02_regions", params.RegionParams(run=str(run)), [artifacts.load(str(run), "01_depth")])
    regions.finish({"purity": purity, "seconds_per_frame": purity})


def test_a_recorded_run_is_its_own_reference(tmp_path, monkeypatch):
    monkeypatch.setattr(artifacts.stages, "OUTPUTS", tmp_path / "outputs")
    monkeypatch.setattr(reference, "REFERENCE", tmp_path / "reference")
    (tmp_path / "reference").mkdir()
    make_run("x", purity=0.88, device="cpu")
    assert reference.compare("x") == [], "nothing to compare with"
    assert "recorded" in reference.record("x")
    found = artifacts.read_json(tmp_path / "reference" / "x.json")
    assert found["stages"]["02_regions"]["metrics"]["purity"]["value"] == 0.88
    assert set(found["machine"]["calibration_seconds"]) == {"network", "grouping"}, "so that seconds can be compared"
    assert found["machine"]["device"] == "cpu"
    assert {"seed", "git_commit", "git_dirty", "seconds"} <= set(found["stages"]["01_depth"])
    assert reference.compare("x") == []
    make_run("x", purity=0.8)  # speed changes as well, and is no news
    assert [line.split(" lies")[0] for line in reference.compare("x")] == ["02_regions purity 0.8"]


def test_a_late_record_is_not_calibrated(tmp_path, monkeypatch):
    monkeypatch.setattr(artifacts.stages, "OUTPUTS", tmp_path / "outputs")
    monkeypatch.setattr(reference, "REFERENCE", tmp_path / "reference")
    monkeypatch.setattr(reference, "_calibrate", lambda run: pytest.fail("that was another day"))
    (tmp_path / "reference").mkdir()
    make_run("x", purity=0.88)
    for path in (tmp_path / "outputs" / "x").glob("*/manifest.json"):
        os.utime(path, (time.time() - 7200,) * 2)
    assert "long ago" in reference.record("x")
    assert "machine" not in artifacts.read_json(tmp_path / "reference" / "x.json")


def test_a_record_of_uncommitted_code_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(artifacts.stages, "OUTPUTS", tmp_path / "outputs")
    monkeypatch.setattr(reference, "REFERENCE", tmp_path / "reference")
    monkeypatch.setattr(reference, "_calibrate", lambda run: {})
    (tmp_path / "reference").mkdir()
    for dirty in (True, False):
        monkeypatch.setattr(artifacts.stages, "_git_state", lambda dirty=dirty: {"git_commit": "c", "git_dirty": dirty})
        make_run("x", purity=0.88)
        assert ("never committed" in reference.record("x")) == dirty
