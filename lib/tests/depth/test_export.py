"""Prediction at scale: the same files as the plain loop, in any order, after a kill, what bounds it, its progress."""

import io
import os
import signal
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import IPython
import IPython.display
import numpy as np
import pytest

import lib.data.street
from lib import artifacts
from lib.data.joined import Joined
from lib.data.street.dataset import Street
from lib.depth import export
from lib.depth.export import Export, StoredMaps, write_inverse_depths

from .exporting import LARGEST, SIZE, Pictures, contents, look, make_stage, names, simple_loop

pytestmark = pytest.mark.usefixtures("no_thread_stays")


def test_the_same_files_as_the_plain_loop_whatever_the_batch_the_workers_and_the_order(tmp_path):
    data = Pictures(21)
    expected = simple_loop(tmp_path / "plain", data)
    assert len(expected) == 21
    for number, (batch, workers, step) in enumerate([(16, 2, 1), (4, 3, -1), (1, 0, 1), (50, 1, -1)]):
        stage, asked = make_stage(tmp_path / str(number)), []

        def source(frames, images, asked=asked):
            asked.append([frame.id for frame in frames])
            return look(frames, images)

        frames = data.frames()[::step]
        done = write_inverse_depths(stage, data, frames, source, LARGEST, batch=batch, workers=workers)
        assert contents(stage.folder) == expected
        assert [name for group in asked for name in group] == [frame.id for frame in frames]
        assert max(map(len, asked)) == min(batch, 21)
        assert (done.written, done.found) == (21, 0)
        assert stage.about == {"inverse_depth_largest": LARGEST}
    assert artifacts.read_inverse_depth(stage.folder / "inverse_depth/clip_0/0003.png", LARGEST).shape == SIZE


def be_killed(folder):
    """In a child of this process, which is killed when the sixth batch is predicted. Nothing in it uses torch."""
    calls = []

    def source(frames, images):
        calls.append(frames)
        if len(calls) == 6:
            os.kill(os.getpid(), signal.SIGKILL)
        return look(frames, images)

    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        signal.alarm(30)
        data = Pictures(30)
        write_inverse_depths(make_stage(folder), data, data.frames(), source, LARGEST, batch=4)
    finally:
        os._exit(1)


def test_after_a_kill_only_what_is_missing_is_made(tmp_path):
    assert be_killed(tmp_path / "run") == -signal.SIGKILL
    data = Pictures(30)
    expected = simple_loop(tmp_path / "plain", data)
    stage = make_stage(tmp_path / "run", continued=True)
    there = {n: b for n, b in contents(stage.folder).items() if n in expected}
    assert 12 <= len(there) <= 20  # five batches were predicted; at most two of them waited to be written
    unfinished = stage.folder / "inverse_depth/clip_0/.0001.4711.png"
    unfinished.write_bytes(b"half")
    os.utime(unfinished, (0, 0))
    dates = {name: (stage.folder / name).stat().st_mtime_ns for name in there}
    data.reads.clear()
    done = write_inverse_depths(stage, data, data.frames(), look, LARGEST, batch=4)
    assert (done.written, done.found) == (30 - len(there), len(there))
    assert {n for n, _ in data.reads} == {f.id for f in data.frames() if not names([f]) & set(there)}
    assert {n: b for n, b in contents(stage.folder).items() if n in expected} == expected
    assert {name: (stage.folder / name).stat().st_mtime_ns for name in there} == dates
    assert not unfinished.exists()


def test_nothing_left_asks_nothing(tmp_path):
    data = Pictures(5)
    write_inverse_depths(make_stage(tmp_path), data, data.frames(), look, LARGEST)
    data.reads.clear()
    stage = make_stage(tmp_path, continued=True)
    done = write_inverse_depths(stage, data, data.frames(), None, LARGEST)
    assert not data.reads
    assert (done.written, done.found, done.images_per_second, done.bound_by) == (0, 5, 0.0, "nothing")
    assert done.describe() == "nothing to write: 5 maps were there already"
    assert stage.about["inverse_depth_largest"] == LARGEST
    assert write_inverse_depths(stage, data, [], look, LARGEST).found == 0


def test_only_a_few_batches_are_held(tmp_path, monkeypatch):
    data, done, ahead = Pictures(96), [], []
    sync, go = os.fsync, threading.Event()

    def source(frames, images):
        ahead.append((len(data.reads), 4 * len(ahead), len(done)))
        if len(ahead) > export.AHEAD:  # with these, more maps wait than may, so that the next call waits for files
            go.set()
        return look(frames, images)

    def slow(number):
        assert go.wait(10)
        done.append(number)
        sync(number)

    monkeypatch.setattr(os, "fsync", slow)
    write_inverse_depths(make_stage(tmp_path), data, data.frames(), source, LARGEST, batch=4)
    assert len(ahead) == 24
    for read, predicted, written in ahead:
        assert read <= 1 + predicted + 4 * (export.AHEAD + 1)  # 1: the first frame, which is asked for by itself
        assert predicted <= written + 4 * export.AHEAD


def test_frames_without_files_are_read_one_at_a_time_and_made_in_the_calling_thread(tmp_path):
    lone, several = Pictures(24, files=False, seconds=0.002), Pictures(24, seconds=0.01)
    for i, data in enumerate((lone, several)):
        data._frames[12:] = [replace(f, split="val") for f in data._frames[12:]]
        write_inverse_depths(make_stage(tmp_path / str(i)), data, data.frames(), look, LARGEST, workers=3)
        first = {name for name, thread in data.reads if thread is threading.main_thread()}
        assert first == {data.frames()[0].id, data.frames()[12].id} == {name for name, _ in data.reads[:2]}
    assert lone.most == 1
    assert several.most > 1


def test_generated_streets_are_drawn_once_also_joined_with_others(tmp_path, monkeypatch):
    counts = {"train_clips": 2, "val_clips": 1, "test_clips": 1, "frames_per_clip": 2, "scored_frames_per_clip": 1}
    values = SimpleNamespace(
        height=16, width=32, field_of_view=80.0, camera_height=1.6, camera_swing=0.0, workers=1, **counts
    )
    street, files = Street(values, tmp_path / "cache"), Pictures(4)
    files.size = street.size
    files.image = lambda frame: np.full((16, 32, 3), 128, np.uint8)
    drawn, make = Counter(), lib.data.street.make_clip
    count = lambda *key, **side: drawn.update([key[:2]]) or make(*key, **side)  # noqa: E731
    monkeypatch.setattr(lib.data.street, "make_clip", count)
    data = Joined(files, street)
    write_inverse_depths(make_stage(tmp_path / "a"), data, data.frames(), look, LARGEST, workers=3)
    assert drawn == {("train", 0): 1, ("train", 1): 1, ("val", 0): 1, ("test", 0): 1}
    again, stage = Street(values, tmp_path / "cache"), make_stage(tmp_path / "b")
    for frame in again.frames():
        stage.save_inverse_depth(f"inverse_depth/{frame.id}.png", look([frame], again.image(frame)[None])[0], LARGEST)
    assert contents(tmp_path / "b").items() <= contents(tmp_path / "a").items()


def test_what_bounds_it_is_found(tmp_path, monkeypatch):
    def slow(frames, images):
        time.sleep(0.08)
        return look(frames, images)

    def run(name, data, source):
        return write_inverse_depths(make_stage(tmp_path / name), data, data.frames(), source, LARGEST, batch=4)

    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda _: None)
    assert run("reading", Pictures(16, files=False, seconds=0.02), look).bound_by == "reading"
    made = run("source", Pictures(16), slow)
    assert made.bound_by == "source"
    assert made.images_per_second == 16 / made.seconds < 16 / 0.32
    assert 0 < made.source < made.source + made.reading + made.writing <= 1
    monkeypatch.setattr(os, "fsync", lambda number: time.sleep(0.04) or sync(number))
    assert run("writing", Pictures(16), look).bound_by == "writing"


def test_the_sentence():
    done = Export(610, 0, 10.0, 0.1, 0.78, 0.05)
    assert done.describe() == "61 images a second, bound by making the maps (78 % of the time)"
    slow = Export(6, 4, 10.0, 0.1, 0.2, 0.65)
    assert slow.describe() == "0.6 images a second, bound by writing (65 % of the time); 4 maps were there already"


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_is_shown_on_a_terminal_and_leaves_nothing(tmp_path, monkeypatch, capfd):
    data = Pictures(6)
    write_inverse_depths(make_stage(tmp_path), data, data.frames(), look, LARGEST)
    assert capfd.readouterr() == ("", "")
    for wanted in (True, False):
        terminal = Terminal()
        monkeypatch.setattr(sys, "stderr", terminal)
        write_inverse_depths(make_stage(tmp_path), data, data.frames(), look, LARGEST, progress=wanted)
        monkeypatch.undo()
        lines = terminal.getvalue().split("\r")
        assert any("inverse depth" in line and "images" in line for line in lines) == wanted
        assert not lines[-1].strip()
        assert "\n" not in terminal.getvalue()
    assert capfd.readouterr() == ("", "")


def test_progress_in_a_notebook_needs_somebody_who_looks(tmp_path, monkeypatch):
    shown, data = [], Pictures(6)
    update = lambda content, raw: shown.append(content["text/plain"])  # noqa: E731
    monkeypatch.setattr(IPython.display, "display", lambda *_, **__: SimpleNamespace(update=update))
    for attended in (False, True):
        kernel = SimpleNamespace(_allow_stdin=attended)
        monkeypatch.setattr(IPython, "get_ipython", lambda kernel=kernel: SimpleNamespace(kernel=kernel))
        write_inverse_depths(make_stage(tmp_path), data, data.frames(), look, LARGEST)
        assert bool(shown) == attended
    assert any(text.startswith("inverse depth:") for text in shown)
    assert shown[-1] == ""


def test_stored_maps_are_read_one_at_a_time(tmp_path):
    data, stage = Pictures(3), make_stage(tmp_path)
    write_inverse_depths(stage, data, data.frames(), look, LARGEST)
    maps = StoredMaps(stage, data.frames(), LARGEST)
    assert len(maps) == 3
    again = look(data.frames(), np.stack([data.image(frame) for frame in data.frames()]))
    np.testing.assert_allclose(list(maps), np.minimum(again, LARGEST), atol=LARGEST / 65535)
    with pytest.raises(IndexError):
        maps[3]
