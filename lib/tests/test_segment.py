"""One call for videos and folders of images: labels at the stored size, resumed, refused, timed."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from lib import artifacts, inference
from lib.data import read_image, read_map, resize_map
from lib.data.labels import STREET
from lib.data.video import read_video
from lib.figures.video import VideoFile
from lib.inference import frames
from lib.inference.apply import CHUNK
from lib.params import ParameterError
from lib.run import chain
from lib.run import segment as command

from .data import fixtures
from .trained import IDS, SIZE, make_run


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """A run with names, x, and one without, y."""
    folder = tmp_path_factory.mktemp("outputs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(artifacts.stages, "OUTPUTS", folder)
        make_run("x")
        make_run("y", named=False)
        yield folder


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Path:
    return write_film(tmp_path_factory.mktemp("films") / "a.mp4")


def write_film(path, repeats: int = 2) -> Path:
    with VideoFile(path, 10, fixtures.SIZE, codecs=("mp4v",)) as video:
        for image in [*fixtures.clip().images] * repeats:
            video.write(image)
    return path


def write_images(folder, sizes=((48, 96), (30, 41))) -> Path:
    for number, size in enumerate(sizes):
        fixtures.write_image(folder / f"frame{number + 9}.png", cv2.resize(fixtures.clip().images[number], size[::-1]))
    return folder


def read_maps(folder) -> dict[str, np.ndarray]:
    return {path.stem: read_map(path) for path in sorted((folder / "labels").glob("*.png"))}


def run(capsys, *words) -> tuple[int, str, str]:
    code = command.main([str(word) for word in words])
    return code, *capsys.readouterr()


def test_a_video_becomes_labels_a_legend_and_an_overlay(outputs, film, tmp_path, capsys):
    code, out, _ = run(capsys, "x", film, "--out", tmp_path / "out", "--device", "cpu")
    assert code == 0
    line = (
        "12 frames in N s: N a second in total, N without pictures, N the network alone; cpu, 64 x 96, labels 64 x 96"
    )
    assert re.fullmatch(line.replace("N", r"\d+\.\d"), out.splitlines()[-1])
    maps = read_maps(tmp_path / "out")
    assert list(maps) == [f"{number:06d}" for number in range(12)]
    assert {labels.shape for labels in maps.values()} == {fixtures.SIZE}
    assert set(IDS) >= set(np.unique(np.stack(list(maps.values())))) > {maps["000000"][0, 0]}
    images = [image for *_, image in read_video(film)]
    trained = inference.load_segmenter("x", "prototypes", 4, torch.device("cpu"))
    small = np.stack([cv2.resize(image, SIZE[::-1]) for image in images[:CHUNK]])
    expected = resize_map(trained.labels(small, SIZE)[3], fixtures.SIZE)
    np.testing.assert_array_equal(maps["000003"], expected)
    legend = artifacts.read_json(tmp_path / "out" / "legend.json")
    assert legend["labels"]["10"] == {"name": "sky", "color": list(STREET.colors[STREET.names.index("sky")])}
    assert legend["labels"]["255"]["name"] == "no name"
    overlay = [image for *_, image in read_video(tmp_path / "out" / "overlay.mp4")]
    assert len(overlay) == 12
    assert overlay[0].shape[0] > fixtures.SIZE[0], "the legend is below"


def test_images_of_any_size_keep_their_size_and_name(outputs, tmp_path, capsys):
    folder = write_images(tmp_path / "photos")
    fixtures.write_image(folder / "frame9.jpg", np.zeros((20, 20, 3), np.uint8))
    assert run(capsys, "x", folder, "--out", tmp_path / "out")[0] == 0
    maps = read_maps(tmp_path / "out")
    assert {name: labels.shape for name, labels in maps.items()} == {
        "frame10": (30, 41), "frame9.jpg": (20, 20), "frame9.png": (48, 96)
    }  # fmt: skip
    assert (tmp_path / "out" / "overlay" / "frame10.png").is_file()
    single = tmp_path / "single"
    assert run(capsys, "x", folder / "frame10.png", "--out", single, "--no-overlay")[0] == 0
    np.testing.assert_array_equal(read_maps(single)["frame10"], maps["frame10"])
    assert not (single / "overlay").exists()
    assert run(capsys, "x", folder, "--out", tmp_path / "part", "--start", 1 / 30, "--seconds", 1 / 30)[0] == 0
    assert list(read_maps(tmp_path / "part")) == ["frame9.png"], "the second of three, 1/30 s apart"


def test_a_folder_of_videos_has_a_folder_each(outputs, tmp_path, capsys):
    for name in ("a.mp4", "b.mp4"):
        write_film(tmp_path / "films" / name, 1)
    code, _, _ = run(capsys, "x", tmp_path / "films", "--out", tmp_path / "out", "--step", 2)
    assert code == 0
    for name in ("a", "b"):
        assert list(read_maps(tmp_path / "out" / name)) == ["000000", "000002", "000004"]
        assert (tmp_path / "out" / name / "overlay.mp4").is_file()


def test_the_bonnet_and_what_is_cut_off_have_no_name(outputs, tmp_path, monkeypatch):
    monkeypatch.setattr(inference.runs, "run_folder", artifacts.run_folder)
    path = write_images(tmp_path / "photos", [(40, 100)])
    for keep_aspect, columns in ((False, slice(0, 100)), (True, slice(27, 72))):
        out = tmp_path / str(keep_aspect)
        inference.segment("x", path, out, crop_bottom=0.25, keep_aspect=keep_aspect, naming="clusters")
        labels, inside = read_maps(out)["frame9"], np.zeros((40, 100), bool)
        inside[:30, columns] = True
        assert (labels[~inside] == 255).all()
        assert (labels[inside] != 255).any()
        small = cv2.resize(read_image(path / "frame9.png")[:30, columns], SIZE[::-1])
        trained = inference.load_segmenter("x", "clusters", 4, torch.device("cpu"))
        expected = trained.labels(small[None], SIZE)[0]
        np.testing.assert_array_equal(labels[:30, columns], resize_map(expected, (30, columns.stop - columns.start)))


def test_what_is_left_open_comes_from_the_run_for_its_own_video(outputs, film, tmp_path):
    make_run("own", dataset="video", clips=("video",), path=str(film), crop_bottom=0.5, keep_aspect=True)
    done = inference.segment("own", film, tmp_path / "own", seconds=0.1)
    settings = artifacts.read_json(done.folder / "segment.json")["settings"]
    assert (settings["crop_bottom"], settings["keep_aspect"], done.made) == (0.5, True, 1)
    assert (read_maps(done.folder)["000000"][24:] == 255).all()
    other = inference.segment("own", write_film(tmp_path / "b.mp4", 1), tmp_path / "other", seconds=0.1)
    assert artifacts.read_json(other.folder / "segment.json")["settings"]["crop_bottom"] == 0


def test_more_rows_make_smoother_borders_and_groups_need_no_names(outputs, film, tmp_path):
    done = inference.segment("y", film, tmp_path / "out", size=96, clusters=3, seconds=0.2)
    assert (done.label_size, done.made, done.folder) == ((96, 144), 2, tmp_path / "out")
    assert set(np.unique(np.stack(list(read_maps(done.folder).values())))) <= {0, 1, 2}
    legend = artifacts.read_json(done.folder / "legend.json")
    assert [legend["labels"][str(i)]["name"] for i in range(3)] == ["group 0", "group 1", "group 2"]
    assert inference.default_folder("y", film) == outputs / "y" / "segmented" / "a"


def test_an_interrupted_call_goes_on_where_it_stopped(outputs, film, tmp_path, capsys, monkeypatch):
    out, words = tmp_path / "out", ("x", film, "--out", tmp_path / "out")
    whole = run(capsys, "x", film, "--out", tmp_path / "whole")
    calls = []

    def stop(self, *arguments):
        calls.append(len(arguments[0]))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(self, *arguments)

    original = inference.Segmenter.labels
    monkeypatch.setattr(inference.Segmenter, "labels", stop)
    code, _, error = run(capsys, *words)
    assert (code, error) == (130, "interrupted; the same command goes on where it stopped\n")
    made = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    assert (calls, len(made), whole[0]) == ([CHUNK, 12 - CHUNK], CHUNK, 0)
    assert not list(out.glob("*.mp4")), "no half video"
    code, text, _ = run(capsys, *words)
    assert code == 0
    assert f"{12 - CHUNK} frames ({CHUNK} more were there)" in text
    assert all(path.stat().st_mtime_ns == time for path, time in made.items())
    for name, labels in read_maps(tmp_path / "whole").items():
        np.testing.assert_array_equal(read_maps(out)[name], labels)
    assert "nothing to do: the labels of all 12 frames" in run(capsys, *words)[1]
    (out / "overlay.mp4").unlink()
    assert "nothing to do" in run(capsys, *words)[1]
    assert (out / "overlay.mp4").is_file(), "drawn from the labels"


def test_other_settings_stop_and_force_begins_anew(outputs, tmp_path, capsys):
    path, out = write_images(tmp_path / "photos"), tmp_path / "out"
    assert run(capsys, "x", path, "--out", out)[0] == 0
    (out / "mine.txt").write_text("kept")
    code, _, error = run(capsys, "x", path, "--out", out, "--size", 96)
    assert code == 1
    assert error.count("\n") == 1
    assert f"{out} holds a segmentation with other settings (size: 64 there, 96 now): choose another folder" in error
    assert run(capsys, "x", path, "--out", out, "--force", "--no-overlay")[0] == 0
    assert list(read_maps(out)) == ["frame10", "frame9"]
    assert (out / "mine.txt").is_file()
    assert not list(out.glob("overlay/*"))
    code, _, error = run(capsys, "x", path, "--out", path)
    assert code == 1
    assert "is not empty and holds no segmentation (frame9.png)" in error


def test_images_that_come_go_or_change_are_all_that_is_done_anew(outputs, tmp_path, capsys):
    path, out = write_images(tmp_path / "photos", ((48, 96),) * 4), tmp_path / "out"
    assert "4 frames in" in run(capsys, "x", path, "--out", out)[1]
    kept = (out / "labels" / "frame9.png").stat().st_mtime_ns
    (path / "frame10.png").unlink()
    fixtures.write_image(path / "frame11.png", np.zeros((20, 30, 3), np.uint8))
    fixtures.write_image(path / "new.png", np.zeros((20, 30, 3), np.uint8))
    code, text, _ = run(capsys, "x", path, "--out", out)
    assert code == 0
    assert "2 frames (2 more were there)" in text
    assert {name: labels.shape for name, labels in read_maps(out).items()} == {
        "frame11": (20, 30), "frame12": (48, 96), "frame9": (48, 96), "new": (20, 30)
    }  # fmt: skip
    assert len(list(out.glob("overlay/*.png"))) == 4
    assert (out / "labels" / "frame9.png").stat().st_mtime_ns == kept


def test_one_bad_image_costs_no_other(outputs, tmp_path, capsys):
    path, out = write_images(tmp_path / "photos", ((48, 96),) * 3), tmp_path / "out"
    whole = (path / "frame10.png").read_bytes()
    (path / "frame10.png").write_bytes(whole[:300])
    code, text, error = run(capsys, "x", path, "--out", out)
    assert code == 1
    assert "2 frames in" in text
    assert "frame10.png is cut short" in error
    assert "1 of the images could not be read" in error
    (path / "frame10.png").write_bytes(whole)
    code, text, _ = run(capsys, "x", path, "--out", out)
    assert code == 0
    assert "1 frame (2 more were there)" in text


def test_names_of_results_never_meet(tmp_path):
    for name in ("x.png", "x.jpg", "x.png.jpg"):
        fixtures.write_image(tmp_path / name, np.zeros((8, 8, 3), np.uint8))
    (clip,) = frames.find_clips(tmp_path)
    assert len(set(clip.names)) == 3


def test_names_of_another_network_are_refused(outputs):
    make_run("first"), make_run("second")
    values = artifacts.load("second", "05_evaluation").params
    stage = artifacts.begin("05_evaluation", values, [artifacts.load("first", "04_training")])
    stage.save_arrays("names.npz", prototypes=np.array(IDS, np.uint8), clusters=np.array(IDS, np.uint8))
    stage.finish({})
    with pytest.raises(ValueError, match="05_evaluation of run 'second' named the prototypes of another 04"):
        inference.load_segmenter("second", "prototypes", 12, torch.device("cpu"))


def test_where_pixels_were_merged_their_directions_name(outputs):
    make_run("first")
    made = artifacts.load("first", "05_evaluation")
    stage = artifacts.begin("05_evaluation", made.params, [artifacts.load("first", "04_training")])
    directions = np.eye(8, dtype=np.float32)[:3]
    stage.save_arrays("names.npz", prototypes=np.array(IDS), clusters=np.array(IDS[:3]), directions=directions)
    stage.finish({})
    found = {n: inference.load_segmenter("first", n, 12, torch.device("cpu")) for n in ("prototypes", "clusters")}
    assert found["prototypes"].prototypes.shape == (len(IDS), 8)
    np.testing.assert_array_equal(found["clusters"].prototypes.cpu(), directions)
    assert found["clusters"].labels_of.tolist() == list(IDS[:3])


def test_a_video_that_was_cut_short_is_told(outputs, film, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(frames, "count_announced", lambda capture: 40)
    code, text, _ = run(capsys, "x", film, "--out", tmp_path / "out", "--no-overlay")
    assert code == 0
    assert "announces 40 frames, of which 12 could be decoded" in text


def test_wrong_words_are_one_sentence(outputs, film, tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("no video")
    (tmp_path / "empty").mkdir()
    broken = write_images(tmp_path / "broken", [(48, 96)])
    (broken / "frame9.png").write_bytes((broken / "frame9.png").read_bytes()[:300])
    (outputs / "half" / "04_training").mkdir(parents=True)
    out = ("--out", tmp_path / "out")
    for words, code, sentence in (
        (("nobody", film), 1, "04_training of run 'nobody' does not exist: run notebook 04_training"),
        (("half", film), 1, "04_training of run 'half' is unfinished"),
        (("x", tmp_path / "none.mp4"), 1, "no video file or folder"),
        (("x", tmp_path / "notes.txt"), 1, "is not a video that OpenCV can decode"),
        (("x", tmp_path / "empty"), 1, "no images and no video files in"),
        (("x", broken), 1, "frame9.png is cut short"),
        (("x", film, *out, "--start", 60), 1, "a.mp4 has no frame from second 60 on: choose another start"),
        (("x", film, *out, "--crop-bottom", 0.95), 2, "crop_bottom must be -1 or lie in 0..0.9, not 0.95"),
        (("x", film, *out, "--step", 0), 2, "step must be positive, not 0"),
        (
            ("x", film, *out, "--model", tmp_path / "m.pth"),
            1,
            "a model ends in .pt2 or .onnx, not in '.pth'",
        ),
        (("x", film, *out, "--model", tmp_path / "m.pt2"), 1, "export the model first, python -m lib.run.export RUN"),
    ):
        found, _, error = run(capsys, *words)
        assert (found, error.count("\n")) == (code, 1), error
        assert sentence in error
    assert not (outputs / "nobody").exists(), "a wrong name leaves no folder"
    with chain.only_run(tmp_path / "held"):
        assert run(capsys, "x", film, "--out", tmp_path / "held")[0] == chain.BUSY
    with pytest.raises(ParameterError, match="did you mean 'size'"):
        inference.segment("x", film, sizes=3)
