import errno
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from lib import artifacts, params


def make_depth(run, **values):
    stage = artifacts.begin("01_depth", params.make(params.DepthParams, {"run": str(run), **values}))
    stage.save_tensors("depth.safetensors", {"weight": torch.arange(6.0).reshape(2, 3)}, encoder="small")
    stage.save_inverse_depth("inverse_depth/a/0.png", np.full((4, 8), 0.5), largest=2.0)
    stage.finish({"abs_rel": 0.2, "rmse": None}, units={"inverse_depth": "1 / scene unit"})
    return artifacts.load(str(run), "01_depth")


def test_what_is_saved_comes_back(tmp_path):
    depth = make_depth(tmp_path)
    assert depth.params.run == str(tmp_path)
    assert depth.metrics["abs_rel"] == 0.2
    assert depth.metrics["rmse"] is None
    values = artifacts.read_inverse_depth(depth.path("inverse_depth/a/0.png"), depth.about["inverse_depth_largest"])
    assert np.allclose(values, 0.5, atol=2 / 65535)
    about = depth.manifest["files"]["inverse_depth/a/0.png"]
    assert (about["shape"], about["dtype"], about["unit"]) == ([4, 8], "uint16", "1 / scene unit")
    for name in ("code", "versions", "device", "seconds", "peak_memory_bytes", "git_commit", "git_dirty"):
        assert name in depth.manifest


def test_inverse_depth_codes(tmp_path):
    values = np.array([[0, np.nan, 1e-9, 1.0, 2.0, 5.0]])
    artifacts.write_inverse_depth(tmp_path / "x.png", values, largest=2.0)
    back = artifacts.read_inverse_depth(tmp_path / "x.png", largest=65535)  # so that values are codes
    assert back.tolist() == [[0, 0, 1, 32768, 65535, 65535]]  # 0 no value, 1 sky, the rest to scale


def test_missing_unfinished_and_damaged_stages_say_what_to_run(tmp_path):
    with pytest.raises(artifacts.ArtifactError, match="does not exist: run notebook 01_depth .*--to 01"):
        artifacts.load(str(tmp_path / "street"), "01_depth")  # as params/street is there
    with pytest.raises(artifacts.ArtifactError, match="does not exist: run notebook 01_depth .* first$"):
        artifacts.load(str(tmp_path), "01_depth")
    depth = make_depth(tmp_path)
    picture = depth.path("inverse_depth/a/0.png")
    content = picture.read_bytes()
    picture.write_bytes(content[:-1] + b"!")
    with pytest.raises(artifacts.ArtifactError, match="changed since it was made"):
        artifacts.load(str(tmp_path), "01_depth")
    picture.unlink()
    with pytest.raises(artifacts.ArtifactError, match="is missing"):
        artifacts.load(str(tmp_path), "01_depth")
    (tmp_path / "01_depth" / "manifest.json").unlink()
    with pytest.raises(artifacts.ArtifactError, match="is unfinished"):
        artifacts.load(str(tmp_path), "01_depth")


def test_a_stage_made_from_an_older_input_is_refused(tmp_path):
    depth = make_depth(tmp_path)
    regions = artifacts.begin("02_regions", params.RegionParams(run=str(tmp_path)), [depth])
    regions.finish({"purity": 0.9})
    assert artifacts.load(str(tmp_path), "02_regions").metrics["purity"] == 0.9
    make_depth(tmp_path, seed=1)
    with pytest.raises(artifacts.ArtifactError, match="01_depth .* changed since 02_regions was made"):
        artifacts.load(str(tmp_path), "02_regions")


def test_a_stage_finds_its_sources_in_whichever_run_they_lie(tmp_path):
    depth = make_depth(tmp_path / "first")
    values = params.RegionParams(run=str(tmp_path / "second"), upstream=depth.run)
    artifacts.begin("02_regions", values, [depth]).finish({})
    regions = artifacts.load(values.run, "02_regions")
    assert regions.source("01_depth").folder == depth.folder
    with pytest.raises(artifacts.ArtifactError, match="was not made from 03_augmentation"):
        regions.source("03_augmentation")
    make_depth(tmp_path / "first", seed=1)
    with pytest.raises(artifacts.ArtifactError, match="changed since 02_regions was made"):
        artifacts.load(values.run, "02_regions")


def test_a_stage_made_from_several_runs_hangs_on_all_of_them(tmp_path):
    folds = [make_depth(tmp_path / name) for name in ("a", "b")]
    values = params.AblationParams(run=str(tmp_path / "c"))
    artifacts.begin("09_ablations", values, folds).finish({})
    assert artifacts.load(values.run, "09_ablations").source("01_depth").folder == folds[0].folder
    make_depth(tmp_path / "b", seed=1)
    with pytest.raises(artifacts.ArtifactError, match="01_depth of run .*b' changed since 09_ablations was made"):
        artifacts.load(values.run, "09_ablations")


def test_an_interrupted_attempt_goes_on_only_if_nothing_changed(tmp_path):
    def begin(**values):
        return artifacts.begin("01_depth", params.make(params.DepthParams, {"run": str(tmp_path), **values}))

    stage = begin()
    stage.save_json("part.json", 1)
    stage.path("checkpoint").mkdir()
    stage.path("checkpoint/a.pt").write_text("x")
    assert begin().has("part.json")
    assert begin(workers=1).has("part.json"), "workers do not change what is computed"
    changed = begin(seed=1)
    assert not changed.has("part.json")
    assert not (tmp_path / "01_depth" / "part.json").exists()
    assert (tmp_path / "01_depth" / "checkpoint" / "a.pt").exists(), "training judges its checkpoints itself"


def test_a_full_disk_harms_nothing(tmp_path, monkeypatch):
    path = tmp_path / "x.json"
    artifacts.write_json(path, 1)

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"no space left on the disk while writing x.json; free some"):
        artifacts.write_json(path, 2)
    assert artifacts.read_json(path) == 1
    assert os.listdir(tmp_path) == ["x.json"]


def test_a_killed_writer_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.json"
    artifacts.write_json(path, "old")
    code = (
        "import os, signal, sys; from pathlib import Path; from lib.artifacts import write_aside\n"
        "with write_aside(Path(sys.argv[1])) as aside:\n"
        "    aside.write_text('ne'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)]).returncode == -9
    assert artifacts.read_json(path) == "old"


def test_expectations_stop_on_generated_streets_only(tmp_path):
    street = artifacts.begin("01_depth", params.DepthParams(run=str(tmp_path / "a")))
    assert "met" in artifacts.expect(street, "delta1", 0.9, at_least=0.8)
    with pytest.raises(AssertionError, match="delta1 is 0.100, expected >= 0.8"):
        artifacts.expect(street, "delta1", 0.1, at_least=0.8)
    assert "not met (0.100)" in artifacts.expect(street, "delta1", 0.1, at_least=0.8, required=False)
    real = artifacts.begin(
        "01_depth", params.make(params.DepthParams, {"run": str(tmp_path / "b"), "dataset": "camvid"})
    )
    assert "not met (0.100)" in artifacts.expect(real, "delta1", 0.1, at_least=0.8)
    real.finish({})
    recorded = artifacts.read_json(tmp_path / "b" / "01_depth" / "metrics.json")["expectations"]["delta1"]
    assert recorded == {"value": 0.1, "expected": ">= 0.8", "met": False}


def test_code_hash_ignores_comments_and_pictures_but_not_code(tmp_path, monkeypatch):
    from lib.artifacts import code

    behind = code.modules_behind({"lib.camera", "lib.figures"})
    assert "lib.camera" in behind
    assert not any(name.startswith("lib.figures") for name in behind)
    import ast

    assert code._tree_hash(ast.parse("def f():\n    'doc'\n    return 1  # why")) == code._tree_hash(
        ast.parse("def f():\n    return 1")
    )
    assert code._tree_hash(ast.parse("x = 1")) != code._tree_hash(ast.parse("x = 2"))
