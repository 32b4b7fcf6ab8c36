"""A run as one file: the same labels, any number of images, nothing of lib needed, nothing written that differs."""

import json
import subprocess
import sys
from importlib.util import find_spec

import cv2
import numpy as np
import pytest
import torch

from lib import artifacts, inference
from lib.data.labels import STREET
from lib.inference import export
from lib.run import export as command
from lib.run import segment

from .data import fixtures
from .trained import SIZE, make_run

LACKING = [name for name in export.NEEDED if find_spec(name) is None]
NO_ONNX = pytest.mark.skipif(bool(LACKING), reason=f"no {', '.join(LACKING)}: pip install depth-regions[onnx]")
PLAIN = """
import json, sys
import numpy as np
images = np.load(sys.argv[1])
if sys.argv[2].endswith(".onnx"):
    import onnxruntime
    labels = onnxruntime.InferenceSession(sys.argv[2]).run(None, {"images": images})[0]
else:
    import torch
    labels = torch.export.load(sys.argv[2]).module()(torch.from_numpy(images)).numpy()
np.save(sys.argv[3], labels)
print(json.dumps([name for name in sys.modules if name.split(".")[0] in ("lib", "torch")]))
"""  # the README's lines


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with names, exported with labels of its own size."""
    folder = tmp_path_factory.mktemp("outputs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(artifacts.stages, "OUTPUTS", folder)
        patch.setattr(export, "ROUNDS", 1)
        make_run("x")
        assert command.main(["x", "--device", "cpu"]) == 0
        yield folder


@pytest.fixture(scope="module")
def images():
    noise = np.random.default_rng(0).integers(0, 256, (1, *SIZE, 3)).astype(np.uint8)
    return np.concatenate([noise, [cv2.resize(image, SIZE[::-1]) for image in fixtures.clip().images]])


@pytest.fixture(scope="module")
def trained(run):
    return inference.load_segmenter("x", "prototypes", 4, torch.device("cpu"))


def load_plain(path, images, folder):
    """Labels of a model file, by a program that knows nothing of lib; and which modules it loaded."""
    np.save(folder / "images.npy", images)
    words = [sys.executable, "-P", "-c", PLAIN, folder / "images.npy", path, folder / "labels.npy"]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=folder)
    return np.load(folder / "labels.npy"), json.loads(done.stdout)


def same_share(found, expected):
    assert found.shape == expected.shape
    assert found.dtype == np.uint8
    return (found == expected).mean()


def test_torch_gives_the_same_labels_for_any_number_of_images(run, images, trained):
    model = inference.load_model(run / "x" / "exported" / "x.pt2", torch.device("cpu"))
    for count in (1, 2, len(images)):
        expected = trained.labels(images[:count], SIZE)
        assert len(np.unique(expected)) >= 3
        assert same_share(model(images[:count]), expected) >= 1 - export.TOLERANCE
    assert (model.label_size, model.device) == (SIZE, "cpu")


def test_a_torch_file_needs_nothing_of_lib(run, images, trained, tmp_path):
    labels, modules = load_plain(run / "x" / "exported" / "x.pt2", images, tmp_path)
    assert not [name for name in modules if name.split(".")[0] == "lib"]
    assert same_share(labels, trained.labels(images, SIZE)) >= 1 - export.TOLERANCE


def test_what_stands_beside_it_says_what_it_is(run, trained):
    path = run / "x" / "exported" / "x.pt2"
    about = artifacts.read_json(path.with_name("x.pt2.json"))
    assert (about["input"]["size"], about["output"]["size"], about["naming"]) == ([*SIZE], [*SIZE], "prototypes")
    assert {entry["name"] for entry in about["labels"].values()} == {*STREET.names, "no name"}
    assert about["manifests"] == trained.digests
    assert about["sha256"] == artifacts.hash_file(path)
    assert about["check"]["pixels"] == 8 * SIZE[0] * SIZE[1]
    assert about["check"]["differ"] <= about["check"]["pixels"] * 1e-4
    assert set(about["frames_per_second"]) == {"run", "x.pt2"}
    assert str(artifacts.stages.ROOT).encode() not in path.read_bytes(), "a path of this machine"


@NO_ONNX
def test_onnx_gives_the_same_labels_without_torch(run, images, trained, tmp_path, capsys):
    path = tmp_path / "model.onnx"
    assert command.main(["x", "--out", str(path), "--device", "cpu", "--size", "96"]) == 0
    text = capsys.readouterr().out
    assert "of 110592 pixels of 8 frames" in text
    assert "labels 96 x 144, medians in turn: run " in text
    expected = trained.labels(images, (96, 144))
    model = inference.load_model(path, torch.device("cpu"))
    for count in (1, len(images)):
        assert same_share(model(images[:count]), expected[:count]) >= 1 - export.TOLERANCE
    labels, modules = load_plain(path, images, tmp_path)
    assert not modules, "neither lib nor torch"
    assert same_share(labels, expected) >= 1 - export.TOLERANCE


def test_onnx_without_the_extra_is_one_sentence(run, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(export, "find_spec", lambda name: None)
    assert command.main(["x", "--format", "onnx", "--out", str(tmp_path / "m.onnx")]) == 1
    assert capsys.readouterr().err == 'ONNX needs onnxruntime: pip install "depth-regions[onnx]"\n'
    assert not list(tmp_path.iterdir())


def test_a_folder_is_segmented_by_the_model_as_by_the_run(run, tmp_path, capsys):
    for number in range(3):
        fixtures.write_image(tmp_path / "photos" / f"{number}.png", fixtures.clip().images[number])
    words, path = ["x", str(tmp_path / "photos"), "--device", "cpu", "--no-overlay"], run / "x" / "exported" / "x.pt2"
    assert segment.main([*words, "--out", str(tmp_path / "run")]) == 0
    assert segment.main([*words, "--out", str(tmp_path / "model"), "--model", str(path)]) == 0
    for number in range(3):
        maps = [cv2.imread(str(tmp_path / way / "labels" / f"{number}.png"), -1) for way in ("run", "model")]
        assert (maps[0] != maps[1]).mean() <= export.TOLERANCE
    capsys.readouterr()
    for more, sentence in (
        (("--size", "96"), "makes labels of 64 rows, and size asks for 96: leave size out"),
        (("--naming", "clusters"), "was exported with the naming prototypes, not clusters: leave naming out"),
    ):
        assert segment.main([*words, "--out", str(tmp_path / "other"), "--model", str(path), *more]) == 1
        assert sentence in capsys.readouterr().err
    make_run("z", named=False)
    assert segment.main(["z", *words[1:], "--model", str(path)]) == 1
    assert "was exported from another run, or from z before it changed" in capsys.readouterr().err


def test_a_damaged_or_foreign_model_is_refused(run, tmp_path):
    path = tmp_path / "x.pt2"
    path.write_bytes((run / "x" / "exported" / "x.pt2").read_bytes()[:-1])
    with pytest.raises(FileNotFoundError, match=r"no file .*x\.pt2\.json: export the model first"):
        inference.load_model(path, torch.device("cpu"))
    (tmp_path / "x.pt2.json").write_bytes((run / "x" / "exported" / "x.pt2.json").read_bytes())
    with pytest.raises(ValueError, match=r"x\.pt2 is damaged, or not the model that x\.pt2\.json describes"):
        inference.load_model(path, torch.device("cpu"))


def test_a_model_with_other_labels_is_not_written(run, trained, images, tmp_path, monkeypatch):
    path = tmp_path / "x.pt2"
    path.write_bytes(b"an older model")
    with pytest.raises(ValueError, match=r"x\.pt2 is there, and was not exported from a run: choose another name"):
        inference.export_model(trained, path, images)
    (tmp_path / "x.pt2.json").write_text("{}")
    monkeypatch.setattr(export, "_write", lambda graph, size, aside, kind: aside.write_bytes(b"a newer one"))
    monkeypatch.setattr(export, "_open", lambda *_: None)
    monkeypatch.setattr(export, "compare_labels", lambda *_: inference.Comparison(1, 1000, 1, {}))
    with pytest.raises(ValueError, match="not written: 1 of 1000 pixels get another label than from the run"):
        inference.export_model(trained, path, images)
    assert path.read_bytes() == b"an older model"
    assert len(list(tmp_path.iterdir())) == 2


def test_formats_and_endings_agree(run, capsys, tmp_path):
    for words, code, sentence in (
        (["x", "--out", str(tmp_path / "m.pt")], 2, "ends in .pt2 or .onnx, not in '.pt'"),
        (["x", "--format", "onnx", "--out", str(tmp_path / "m.pt2")], 2, "and --format says onnx: drop one"),
        (["nobody"], 1, "04_training of run 'nobody' does not exist"),
        (["x", "--frames", str(tmp_path / "none")], 1, "no video file or folder"),
    ):
        assert command.main(words) == code
        assert sentence in capsys.readouterr().err
    assert command.choose_file("x", "onnx", "") == run / "x" / "exported" / "x.onnx"
