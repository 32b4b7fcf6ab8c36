"""`torchrun -m lib.training RUN`: parameters from files and words, and a training that the notebook finds."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from lib import ROOT, artifacts, params
from lib.tests.methods.test_cpcdr import SMALL, make_task
from lib.training import __main__ as command


def test_parameters_come_from_the_run_and_the_command():
    values = command.read_parameters("street", ["steps=7", "items=2", "processes=2", "start=12"])
    assert (values.run, values.steps, values.items, values.processes, values.start) == ("street", 7, 2, 2, "12")
    assert values.warmup_steps == 50  # params/street
    assert command.read_parameters("nothing", []).run == "nothing"  # the defaults
    for word, sentence in (("steps", "write name=value"), ("stepss=3", "stepss"), ("steps=many", "steps")):
        with pytest.raises(params.ParameterError, match=sentence):
            command.read_parameters("street", [word])


def test_a_wrong_parameter_is_one_sentence(capsys, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert command.main(["street", "-p", "items=4"]) == 2
    assert "3 processes cannot share 4 items" in capsys.readouterr().err


def test_a_start_that_cannot_be_is_one_sentence(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(artifacts.stages, "OUTPUTS", tmp_path)
    (tmp_path / "mine" / "04_training").mkdir(parents=True)
    monkeypatch.setattr(artifacts, "load", lambda run, name: None)
    assert command.main(["mine", "-p", "start=mine"]) == 1
    assert "start = 'mine' is this run itself" in capsys.readouterr().err


def test_a_gpu_that_is_not_there_is_one_sentence(capsys, monkeypatch):
    monkeypatch.setattr(command.torch.cuda, "is_available", lambda: False)
    assert command.main(["mine", "-p", "device=cuda"]) == 1
    assert "this machine has no CUDA GPU" in capsys.readouterr().err


RANK = """
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from lib import artifacts
from lib.tests.methods.test_cpcdr import make_sources, make_task
from lib.training import __main__ as command


def make_artifact(name):
    about = SimpleNamespace(dataset="street")
    return SimpleNamespace(name=name, run="mine", digest=name, params=about, source=make_artifact)


artifacts.stages.OUTPUTS = Path(sys.argv[1])
artifacts.load = lambda run, name: make_artifact(name)
command.open_task = lambda values, *_: make_task(sources=make_sources(8), items=values.items)
command.open_dataset = lambda params: None
command.choose_views = lambda dataset: ([], np.zeros((1, 32, 64, 3), np.uint8))
sys.exit(command.main(sys.argv[2:]))
"""


def test_torchrun_trains_in_two_processes_as_in_one(tmp_path):
    (tmp_path / "rank.py").write_text(RANK)
    settings = {**SMALL, "steps": 3, "warmup_steps": 1, "items": 2, "precision": "float32", "device": "cpu"}
    words = [
        str(tmp_path / "rank.py"),
        "OUTPUTS",
        "mine",
        *(w for k, v in settings.items() for w in ("-p", f"{k}={v}")),
    ]
    losses = {}
    for ranks, launch in ((1, []), (2, ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"])):
        words[1] = str(tmp_path / str(ranks))
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        found = subprocess.run([sys.executable, *launch, *words], env=environment, capture_output=True, text=True)
        assert found.returncode == 0, found.stderr
        assert found.stdout.count("finished in") == 1
        folder = tmp_path / str(ranks) / "mine" / "04_training"
        assert (folder / "checkpoints" / "checkpoint_000003.pt").is_file()
        losses[ranks] = json.loads((folder / "history.json").read_text())["columns"]["loss"]
    np.testing.assert_allclose(losses[2][0], losses[1][0], rtol=1e-5)
    np.testing.assert_allclose(losses[2], losses[1], rtol=0.01)  # then rounding grows from step to step
    assert losses[2] != losses[1], "the second was one process too"


def test_what_it_trains_the_notebook_finds(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(artifacts.stages, "OUTPUTS", tmp_path)

    def make_artifact(name):
        about = SimpleNamespace(dataset="street")
        return SimpleNamespace(name=name, run="mine", digest=name, params=about, source=make_artifact)

    monkeypatch.setattr(artifacts, "load", lambda run, name: make_artifact(name))
    monkeypatch.setattr(command, "open_task", lambda values, *_: make_task())
    views = np.zeros((2, 32, 64, 3), np.uint8)
    monkeypatch.setattr(command, "open_dataset", lambda params: None)
    monkeypatch.setattr(command, "choose_views", lambda dataset: ([], views))
    words = ["mine", *(w for k, v in {**SMALL, "steps": 3, "warmup_steps": 1}.items() for w in ("-p", f"{k}={v}"))]
    assert command.main(words) == 0
    assert "step 3 of 3" in capsys.readouterr().out
    assert (tmp_path / "mine" / "04_training" / "checkpoints" / "checkpoint_000003.pt").is_file()
    values = command.read_parameters("mine", words[2::2])
    inputs = [make_artifact(name) for name in ("01_depth", "02_regions", "03_augmentation")]
    key = artifacts.begin("04_training", values, inputs).resume_key("lib.methods.cpcdr", "lib.training")
    history = command.train(make_task(), tmp_path / "mine" / "04_training", key=key, **command.read_settings(values))
    assert len(history) == 3
    assert set(history.pictures) == {0, 3}  # for the replay of 04
    assert history.pictures[3]["prototypes"].shape == (2, 8, 16)
    assert "step" not in capsys.readouterr().out  # at once
