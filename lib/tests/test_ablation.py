"""One thing at a time: reading what is varied, training only what is missing, differences seed by seed."""

import pytest

from lib import artifacts, data, params
from lib.run import ablation, trials

SMALL = """
run: street
height: 64
width: 64
train_clips: 1
frames_per_clip: 3
val_clips: 1
scored_frames_per_clip: 1
steps: 2
batch: 1
split: test
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(artifacts.stages, "OUTPUTS", tmp_path / "outputs")
    (tmp_path / "01_depth.yaml").write_text(SMALL)
    return tmp_path


def test_what_is_varied_is_read_as_yaml():
    assert ablation.parse_changes("auto_mask=false") == {"auto_mask": False}
    assert ablation.parse_changes("train_clips=32,encoder=light") == {"train_clips": 32, "encoder": "light"}
    both = {"clips": ["street", "camvid:0001TP"], "learn_intrinsics": "no"}
    assert ablation.parse_changes("clips=[street,camvid:0001TP],learn_intrinsics=no") == both
    for word in ("scales", "scales=", "", "scales=[4"):
        with pytest.raises(params.ParameterError, match="write name=value"):
            ablation.parse_changes(word)


def test_never_on_the_clips_of_the_report(folder):
    settings = ablation.read_settings(folder, ["scales=4"])
    assert list(settings) == ["as it is", "scales=4"]
    assert [values.split for values in settings.values()] == ["val", "val"]
    assert [values.scales for values in settings.values()] == [1, 4]


def test_a_wrong_name_is_said_before_anything_is_trained(folder, capsys):
    assert ablation.main([str(folder), "--vary", "scale=4"]) == 1
    assert "scales" in capsys.readouterr().err
    assert ablation.main([str(folder / "none")]) == 1
    assert "none" in capsys.readouterr().err


def test_what_is_there_is_not_trained_again(folder, monkeypatch, capsys):
    words = [str(folder), "--vary", "scales=2", "--seeds", "0", "1", "--processes", "1"]
    monkeypatch.setattr(trials, "ROUNDS", 2)
    assert ablation.main(words) == 0
    first = capsys.readouterr().out
    assert "4 of 4: seed 1" in first
    assert len(list((artifacts.run_folder("ablation")).glob("*/scores.json"))) == 4
    monkeypatch.setattr(trials, "train", None)  # would end in an error
    assert ablation.main(words) == 0
    assert capsys.readouterr().out.splitlines()[:4] == first.splitlines()[:4]


def test_differences_are_taken_seed_by_seed(folder):
    settings = ablation.read_settings(folder, ["scales=4"])
    values = [(0.30, 0.5, 0.6), (0.28, 0.6, 0.5), (0.25, 0.6, 0.6), (0.27, 0.7, 0.7)]
    scores = [dict(zip(ablation.SHOWN, row)) | {"frames": 36} for row in values]
    found = ablation.collect(settings, [0, 1], scores, {"as it is": 100.0, "scales=4": 150.0})
    row = found["settings"]["scales=4"]
    assert row["mean"]["abs_rel"] == pytest.approx(0.26)
    assert row["minus_first"]["abs_rel"] == pytest.approx([-0.05, -0.01])
    assert "| scales=4 | 0.260 (0.250 to 0.270) | -0.050 to -0.010 | 0.650 (0.600 to 0.700) |" in ablation.describe(
        found
    )
    assert "| as it is | 0.290 (0.280 to 0.300) |  | 0.550 (0.500 to 0.600) |" in ablation.describe(found)


def test_without_clips_to_choose_by_nothing_is_trained(folder, monkeypatch, capsys):
    monkeypatch.setattr(trials, "train", None)  # would end in an error
    monkeypatch.setattr(data.street.dataset.Street, "frames", lambda self, split="", labelled=False: [])
    assert ablation.main([str(folder), "--processes", "1"]) == 1
    assert "no frames of the split val" in capsys.readouterr().err


def test_a_setting_starts_and_leaves_out_as_the_notebook_does(folder, monkeypatch, capsys):
    called = []
    monkeypatch.setattr(trials.depth, "leave_out", lambda values, triplets: called.append("left out") or (triplets, ""))
    train = trials.train
    monkeypatch.setattr(trials, "train", lambda *a, **k: called.append(k["steps"]) or train(*a, **k))
    monkeypatch.setattr(ablation, "time_steps", lambda settings: dict.fromkeys(settings, 1.0))
    words = [str(folder), "--vary", "start_steps=1,min_change=0.001", "--seeds", "0", "--processes", "1"]
    assert ablation.main(words) == 0
    assert called == ["left out", 2, "left out", 1, 2]
