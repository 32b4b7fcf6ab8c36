"""Prediction at scale that fails: what is refused, full disks, interrupts, errors that name the frame."""

import errno
import os
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from lib.depth import export
from lib.depth.export import write_inverse_depths

from .exporting import LARGEST, Pictures, contents, look, make_stage, names, simple_loop

pytestmark = pytest.mark.usefixtures("no_thread_stays")


@pytest.mark.parametrize("value", [np.nan, np.inf, -1e-3])
def test_a_map_with_impossible_values_is_refused_by_name(tmp_path, value):
    data = Pictures(20)
    bad = data.frames()[10]

    def source(frames, images):
        maps = look(frames, images)
        maps[[frame == bad for frame in frames], 3, 4] = value
        return maps

    with pytest.raises(ValueError, match="frame clip_1/0010: 1 of 240 values are negative or not finite; 0 stands for"):
        write_inverse_depths(make_stage(tmp_path), data, data.frames(), source, LARGEST, batch=8)
    assert set(contents(tmp_path)) == names(data.frames()[:10])


def test_an_error_over_one_frame_names_it_and_keeps_those_before(tmp_path):
    data = Pictures(20)
    expected = simple_loop(tmp_path / "plain", data)

    def source(frames, images):
        if any(frame.id == "clip_1/0011" for frame in frames):
            raise FloatingPointError("the scale is zero")
        return look(frames, images)

    stage = make_stage(tmp_path / "a")
    with pytest.raises(RuntimeError, match="frame clip_1/0011, those before stay: the scale is zero"):
        write_inverse_depths(stage, data, data.frames(), source, LARGEST, batch=8)
    kept = names(data.frames()[:11])
    assert contents(stage.folder) == {name: expected[name] for name in kept}
    stage.continued = True
    assert write_inverse_depths(stage, data, data.frames(), look, LARGEST).found == 11
    assert contents(stage.folder) == expected


def test_an_error_of_the_device_names_the_batch_and_is_not_tried_again(tmp_path):
    data, calls = Pictures(20), []

    def source(frames, images):
        calls.append(len(frames))
        if len(calls) == 2:
            raise RuntimeError("out of memory")
        return look(frames, images)

    with pytest.raises(RuntimeError, match="frames clip_1/0008 to clip_1/0015, those before stay: out of memory"):
        write_inverse_depths(make_stage(tmp_path), data, data.frames(), source, LARGEST, batch=8)
    assert calls == [8, 8]
    assert set(contents(tmp_path)) == names(data.frames()[:8])


@pytest.mark.parametrize(
    "answer",
    [lambda maps: maps[:, :-1], lambda maps: maps[..., None], lambda maps: maps.astype(np.uint16), lambda maps: None],
)
def test_maps_of_another_shape_or_kind_are_refused_by_name(tmp_path, answer):
    data = Pictures(4)
    with pytest.raises(ValueError, match=r"frame clip_0/0000, .* the source gave .* expected \(1, 12, 20\) float32"):
        write_inverse_depths(make_stage(tmp_path), data, data.frames(), lambda f, i: answer(look(f, i)), LARGEST)
    assert not contents(tmp_path)


def test_an_image_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    data, image = Pictures(20), Pictures.image
    missing, short = FileNotFoundError("missing file: 9.png"), ValueError("9.png is cut short: copy it again")
    for error, said in [
        (missing, "missing"),
        (short, "9.png is cut"),
        (OSError(errno.EIO, "the disk fails"), "the disk"),
    ]:

        def read(self, frame, error=error):
            if frame.id == "clip_1/0009":
                raise error
            return image(self, frame)

        monkeypatch.setattr(Pictures, "image", read)
        with pytest.raises(type(error), match=f"image of frame clip_1/0009 cannot be read: {said}"):
            write_inverse_depths(make_stage(tmp_path), data, data.frames(), look, LARGEST, batch=8)
        assert set(contents(tmp_path)) == names(data.frames()[:8])
    monkeypatch.setattr(Pictures, "image", lambda self, frame: image(self, frame)[1:])
    with pytest.raises(
        ValueError, match=r"clip_0/0000 cannot be read: it is \(11, 20, 3\) uint8, expected \(12, 20, 3"
    ):
        write_inverse_depths(make_stage(tmp_path), data, data.frames(), look, LARGEST)


def test_a_full_disk_stops_in_one_sentence_and_harms_nothing(tmp_path, monkeypatch):
    data, sync, calls = Pictures(40), os.fsync, []

    def fill(number):
        calls.append(number)
        if len(calls) > 10:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(number)

    monkeypatch.setattr(os, "fsync", fill)
    stage = make_stage(tmp_path / "a")
    with pytest.raises(
        OSError, match=r"of frame clip_\d/\d+ cannot be written: no space left on the disk .* free some"
    ):
        write_inverse_depths(stage, data, data.frames(), look, LARGEST, batch=4)
    monkeypatch.undo()
    expected = simple_loop(tmp_path / "plain", data)
    assert len(contents(stage.folder)) == 10
    assert contents(stage.folder).items() <= expected.items()
    assert len({name for name, _ in data.reads}) == 40


def test_a_disk_that_will_be_full_is_told_after_a_few_maps(tmp_path, monkeypatch):
    data = Pictures(200)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=20_000))
    with pytest.raises(OSError, match="the other maps need about .* free some, run again") as caught:
        write_inverse_depths(make_stage(tmp_path), data, data.frames(), look, LARGEST, batch=4)
    assert caught.value.errno == errno.ENOSPC
    assert export.TRIED <= len(contents(tmp_path)) <= export.TRIED + 16
    few = data.frames()[: export.TRIED + 4]
    assert write_inverse_depths(make_stage(tmp_path), data, few, look, LARGEST).written == 20


def test_the_interrupt_key_keeps_what_was_predicted(tmp_path):
    data, calls = Pictures(40), []

    def source(frames, images):
        calls.append(frames)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return look(frames, images)

    with pytest.raises(KeyboardInterrupt):
        write_inverse_depths(make_stage(tmp_path / "a"), data, data.frames(), source, LARGEST, batch=4)
    assert set(contents(tmp_path / "a")) == names(data.frames()[:16])
    stage = make_stage(tmp_path / "a", continued=True)
    assert write_inverse_depths(stage, data, data.frames(), look, LARGEST).written == 24
    assert contents(stage.folder) == simple_loop(tmp_path / "plain", data)


def test_wrong_arguments_are_refused_before_anything_is_written(tmp_path):
    data = Pictures(3)
    for frames, largest, batch, text in [
        (data.frames() + data.frames()[:1], LARGEST, 4, "two frames have the id 'clip_0/0000'"),
        (data.frames(), 0.0, 4, "largest = 0.0: both must be positive"),
        (data.frames(), np.inf, 4, "`largest` finite"),
        (data.frames(), LARGEST, 0, "batch = 0"),
    ]:
        with pytest.raises(ValueError, match=text):
            write_inverse_depths(make_stage(tmp_path), data, frames, look, largest, batch=batch)
    assert not data.reads
    assert not contents(tmp_path)
