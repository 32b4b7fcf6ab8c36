"""Preparing a run from the command line: what it says, what it writes, and how it ends."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import yaml

from lib import ROOT
from lib.artifacts import stages
from lib.data import open_dataset, prepared
from lib.data.prepared import Shards
from lib.run import chain, prepare

from .data import fixtures, layouts

SIZE = (64, 96)
ITEM = SIZE[0] * SIZE[1] * 3  # bytes of a frame
WRITERS = {
    "images": lambda root: layouts.write_images(root, {"a": 7}, size=SIZE),
    "cityscapes": lambda root: layouts.write_cityscapes(root, {"train": {"aachen": 1}, "val": {"munster": 1}}),
    "kitti_raw": fixtures.write_kitti_raw,
    "kitti_2015": layouts.write_kitti_2015,
}


@pytest.fixture
def night(tmp_path, monkeypatch):
    """Data sets and a folder of parameters for them; caches and runs of this test alone."""
    monkeypatch.setattr(prepared, "SHARD_BYTES", 2 * ITEM)  # two frames a shard
    monkeypatch.setattr(prepared, "CACHE", tmp_path / "cache" / "prepared")
    monkeypatch.setattr(stages, "OUTPUTS", tmp_path / "runs")

    def write(*datasets, **values):
        for name in datasets:
            WRITERS.get(name, lambda _: None)(tmp_path / "data")
        values = {"dataset": datasets[0], "height": SIZE[0], "width": SIZE[1], "workers": 1} | values
        if datasets[0] == "images":
            values |= {"path": str(tmp_path / "data" / "images")}
        (tmp_path / "params").mkdir(exist_ok=True)
        (tmp_path / "params" / "01_depth.yaml").write_text(yaml.safe_dump(values))
        return [str(tmp_path / "params"), "--data-root", str(tmp_path / "data")]

    return write


def written(tmp_path):
    return {p.relative_to(tmp_path): p.read_bytes() for p in sorted((tmp_path / "cache").rglob("*")) if p.is_file()}


def test_an_estimate_writes_nothing_and_says_how_much_and_how_long(night, tmp_path, capsys):
    words = night("images", clips=["street"])
    assert prepare.main([*words, "--estimate"]) == 0
    said, about = (
        capsys.readouterr().out,
        r"7 frames, 0 of 4 shards are there, 0\.00 GB to write, about \d+ s with 1 work",
    )
    assert re.search(f"images: {about}", said)
    assert re.search(rf"disk of {tmp_path}: 0\.00 GB needed, \d+ GB free", said)
    assert not (tmp_path / "cache").exists()
    assert not (tmp_path / "runs").exists()


def test_it_prepares_all_and_then_has_nothing_to_do(night, tmp_path, capsys):
    words = night("images", clips=["street"])
    assert prepare.main(words) == 0
    assert capsys.readouterr().out.endswith("ready\n")
    before = written(tmp_path)
    assert len(before) == 8  # four shards and their seals
    assert prepare.main(words) == 0
    assert "4 of 4 shards are there, 0.00 GB to write, nothing to do" in capsys.readouterr().out
    assert written(tmp_path) == before
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [("-p 01.hight=64", "did you mean 'height'"), ("-p 01.height=65", "multiples of 32"), ("-p height=64", "NOTEBOOK")],
)
def test_a_wrong_parameter_is_2(night, tmp_path, capsys, change, says):
    assert prepare.main([*night("images"), *change.split()]) == chain.BAD_PARAMETER == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("words", [[], ["params/street", "--clean"]])
def test_parameters_or_clean_but_not_both(words, capsys):
    with pytest.raises(SystemExit) as stopped:
        prepare.main(words)
    assert stopped.value.code == 2
    assert "give a folder of parameters" in capsys.readouterr().err


def test_no_data_is_1(night, tmp_path, capsys):
    words = night("cityscapes", clips=["cityscapes"])
    shutil.rmtree(tmp_path / "data")
    assert prepare.main(words) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"no folder {tmp_path / 'data' / 'cityscapes'}. Get leftImg8bit" in error


def test_too_little_space_is_1_and_nothing_is_written(night, tmp_path, capsys, monkeypatch):
    words = night("images", clips=["street"])
    pixels = 7 * SIZE[0] * SIZE[1]
    needed = pixels * (3 + 4 + 1.06 + 0.1)  # frames, packed maps, 01 and 02
    for free, code in ((needed, 1), (needed * 1.06, 0)):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: SimpleNamespace(free=free))
        for more in (["--estimate"], []):
            assert prepare.main([*words, *more]) == code
            said = capsys.readouterr().out
            assert ("not enough: free some (see --clean), set DATA_CACHE or RUNS_ROOT to another" in said) == (
                code == 1
            )
        assert (tmp_path / "cache").exists() == (code == 0)


def test_each_disk_is_asked_for_what_lies_on_it(night, tmp_path, capsys, monkeypatch):
    words, pixels = night("images", clips=["street"]), 7 * SIZE[0] * SIZE[1]
    cache, runs = 7 * pixels, 1.16 * pixels
    (tmp_path / "runs").mkdir()
    monkeypatch.setattr(prepare, "find_disk", lambda path: (path, 1 + ("runs" in path.parts)))
    for of_cache, of_runs, code in ((1.1, 1.1, 0), (1.1, 0.9, 1), (0.9, 1.1, 1)):
        free = {prepared.CACHE: of_cache * cache, stages.OUTPUTS: of_runs * runs}
        monkeypatch.setattr(shutil, "disk_usage", lambda path, free=free: SimpleNamespace(free=free[path]))
        assert prepare.main([*words, "--estimate"]) == code
        assert capsys.readouterr().out.count("disk of") == 2


def test_what_01_and_02_wrote_is_not_counted_twice(night, tmp_path, monkeypatch):
    words, pixels = night("images", clips=["street"]), 7 * SIZE[0] * SIZE[1]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=7 * pixels * 1.06))
    assert prepare.main([*words, "--estimate"]) == 1
    for name, share in prepare.PNG_BYTES.items():
        (tmp_path / "runs" / "params" / name).mkdir(parents=True)
        (tmp_path / "runs" / "params" / name / "a.png").write_bytes(bytes(int(share * pixels) + 1))
    assert prepare.main([*words, "--estimate"]) == 0


def test_interrupted_and_resumed(night, tmp_path, capsys, monkeypatch):
    words, write = night("images", clips=["street"]), Shards.write

    def stop(self, shard, load):
        if shard == 2:
            raise KeyboardInterrupt
        write(self, shard, load)

    with monkeypatch.context() as patch:
        patch.setattr(Shards, "write", stop)
        assert prepare.main(words) == 130
    assert capsys.readouterr().err == "interrupted; the same command goes on where it stopped\n"
    kept = {p: p.stat().st_mtime_ns for p in prepared.CACHE.rglob("*.npy")}
    assert len(kept) == 2
    assert prepare.main(words) == 0
    assert "2 of 4 shards are there" in capsys.readouterr().out
    assert {p: p.stat().st_mtime_ns for p in kept} == kept
    assert len(written(tmp_path)) == 8


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_the_interrupt_key_leaves_one_line(night, tmp_path):
    words = night("images", clips=["street"])
    slow = (
        "import sys, time; from lib.run import prepare; from lib.data import prepared\n"
        "prepared.Shards.write = lambda *_: (print('begun', flush=True), time.sleep(60))\n"
        "sys.exit(prepare.main(sys.argv[1:]))"
    )
    environment = os.environ | {"DATA_CACHE": str(tmp_path / "cache"), "RUNS_ROOT": str(tmp_path / "runs")}
    process = subprocess.Popen(
        [sys.executable, "-c", slow, *words], cwd=ROOT, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # a test in the background
    )  # fmt: skip
    assert any("begun" in line for line in process.stdout)
    os.killpg(process.pid, signal.SIGINT)  # as the key does: to all its processes
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == "interrupted; the same command goes on where it stopped\n"


def test_verify_mends_a_flipped_byte(night, tmp_path, capsys):
    words = night("images", clips=["street"])
    assert prepare.main(words) == 0
    before = written(tmp_path)
    path = next(prepared.CACHE.rglob("00001.image.npy"))
    content = path.read_bytes()
    path.write_bytes(content[:-9] + bytes([content[-9] ^ 0xFF]) + content[-8:])
    assert prepare.main(words) == 0
    assert written(tmp_path) != before  # as long as before: only reading it tells
    assert prepare.main([*words, "--verify"]) == 0
    assert written(tmp_path) == before
    assert capsys.readouterr().err == ""


def test_a_data_set_that_keeps_its_frames_by_itself(night, tmp_path, capsys):
    assert prepare.main(night("street")) == 0
    assert capsys.readouterr().out == "street keeps its frames by itself: there is nothing to prepare\n"
    assert not (tmp_path / "cache").exists()


def test_both_parts_of_joined_data_sets_are_listed_once(night, tmp_path, capsys):
    clips = ["kitti_raw", "kitti_raw:2011_09_26_drive_0009_sync"]
    words = night("kitti_raw", "kitti_2015", scored_dataset="kitti_2015", fold=5, hold_out=False, clips=clips)
    assert prepare.main(words) == 0
    said = capsys.readouterr().out
    listed = re.findall(r"^(\w+): (\d+) frames", said, re.M)
    assert listed == [("kitti_raw", "5"), ("kitti_2015", "10")]
    assert {p.name.split("-")[0] for p in prepared.CACHE.iterdir()} == {"kitti_raw", "kitti_2015"}
    folders = re.findall(r"^    in (.*)$", said, re.M)
    assert sorted(folders) == sorted(str(p) for p in prepared.CACHE.iterdir())
    values = chain.read_run(tmp_path / "params", {"01_depth": {"prepare": True}}, "x", words[2])["01_depth"]
    data = open_dataset(values)
    assert all(data.image(f).shape == (*SIZE, 3) for f in data.frames())
    assert capsys.readouterr().out == ""  # nothing is left to make


def test_a_video_of_another_data_set_is_prepared_too(night, capsys):
    assert prepare.main(night("kitti_2015", "kitti_raw", clips=["kitti_raw"], hold_out=False, fold=5)) == 0
    assert {p.name.split("-")[0] for p in prepared.CACHE.iterdir()} == {"kitti_raw", "kitti_2015"}


def test_no_video_is_said_before_anything_is_written(night, tmp_path, capsys):
    words = night("cityscapes", clips=["cityscapes"])
    assert prepare.main([*words, "--estimate"]) == 0
    shutil.rmtree(tmp_path / "data" / "cityscapes" / "leftImg8bit_sequence")
    capsys.readouterr()
    for more in (["--estimate"], []):
        assert prepare.main([*words, *more]) == 1
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.count("\n") == 1
        assert f"no leftImg8bit_sequence/train below {tmp_path / 'data' / 'cityscapes'}: depth cannot be" in said.err
    assert not (tmp_path / "cache").exists()
    night("cityscapes", clips=["street"])  # depth comes from elsewhere: annotated images will do
    assert prepare.main([*words, "--estimate"]) == 0
    night("cityscapes", clips=["street", "kitti_raw"])
    fixtures.write_kitti_raw(tmp_path / "data")
    assert prepare.main([*words, "--estimate", "-p", "01.frame_step=3"]) == 0  # streets are long enough
    assert "kitti_raw has no clip of 7 frames to learn from: name longer videos" in capsys.readouterr().out


def make_cache(name, size=1000, days=0.0):
    folder = prepared.CACHE / name
    folder.mkdir(parents=True)
    for number in range(2):
        path = folder / f"{number:05d}.image.npy"
        path.write_bytes(bytes(size))
        last = time.time() - 86400 * (days + number)
        os.utime(path, (last, last))
    return folder


def test_clean_lists_size_and_age(night, tmp_path, capsys):
    assert prepare.main(["--clean"]) == 0
    assert capsys.readouterr().out == f"nothing in {prepared.CACHE}\n"
    make_cache("cityscapes-384x768-0123", size=10_000_000, days=12)
    make_cache("maps-run-4567", days=3)
    assert prepare.main(["--clean"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:] == [
        "    cityscapes-384x768-0123: 0.02 GB, last read or written 12 days ago",
        "    maps-run-4567: 0.00 GB, last read or written 3 days ago",
    ]
    assert len(written(tmp_path)) == 4


def test_clean_removes_what_is_named_and_nothing_else(night, tmp_path, capsys):
    first, second = make_cache("a-1"), make_cache("b-2")
    assert prepare.main(["--clean", "a-1", "a-1"]) == 0
    assert (first.exists(), second.exists()) == (False, True)
    assert "a-1: 0.00 GB" in capsys.readouterr().out


def test_clean_stays_inside_the_cache(night, tmp_path, capsys):
    kept, outside = make_cache("a-1"), tmp_path / "precious"
    outside.mkdir()
    (outside / "thesis.txt").write_text("years")
    (prepared.CACHE / "link").symlink_to(outside)
    (prepared.CACHE / "file").write_text("x")
    for name in ("..", ".", "", "../../precious", str(outside), str(kept), "a-1/../a-1", "link", "file", "c-3", "a-*"):
        assert prepare.main(["--clean", "a-1", name]) == chain.BAD_PARAMETER
        assert "nothing was removed" in capsys.readouterr().err
    assert kept.is_dir()
    assert (outside / "thesis.txt").read_text() == "years"
    assert prepare.main(["--clean", "a-1"]) == 0
    assert sorted(os.listdir(prepared.CACHE)) == ["file", "link"]


def test_the_disk_of_a_path_is_that_of_what_exists_of_it(tmp_path):
    assert prepare.find_disk(tmp_path / "a" / "b") == (tmp_path, os.stat(tmp_path).st_dev)
    assert prepare.find_disk(tmp_path) == (tmp_path, os.stat(tmp_path).st_dev)
