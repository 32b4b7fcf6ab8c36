"""Frames in shards: the same maps whoever makes them, and nothing lost or repeated when somebody is killed."""

import json
import os
import signal
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib import artifacts
from lib.artifacts import Stage, hash_file
from lib.data import Dataset, Frame
from lib.parallel import WorkerDied, parallel_map
from lib.params import DepthParams, RegionParams
from lib.regions import FrameGrouper, shards
from lib.regions.shards import GroupedFrames, Shard, cut_shards, group_frames
from lib.tests.test_parallel import start_cluster

SIZE = (32, 48)
FRAMES = [Frame(f"clip_{i // 5}/{i:04d}", f"clip_{i // 5}", "train") for i in range(12)]


@dataclass(frozen=True)
class Painter:
    """A grouper without depth: notes each map that it makes in `calls`, and may fail or be killed at a frame."""

    stage: Stage
    calls: Path
    deadly: str = ""  # kills its process there, once
    broken: str = ""

    def __call__(self, frame):
        if frame.id == self.deadly and not (self.calls / "killed").exists():
            (self.calls / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if frame.id == self.broken:
            raise ValueError("depth holds no value")
        name, number = f"regions/{frame.id}.png", int(frame.id.split("/")[1])
        row = {"regions_per_frame": number, "purity": 1 / (number + 1)}
        if self.stage.has(name):
            return row
        (self.calls / f"{number}.{uuid4().hex}").touch()
        self.stage.save_image(name, np.full((4, 6), number + 1, np.uint16))
        return row | {"seconds_per_frame": 0.01}

    def count(self):
        """How often the map of each frame was made."""
        return Counter(int(path.name.split(".")[0]) for path in self.calls.glob("*.*"))


@pytest.fixture
def painter(tmp_path):
    (tmp_path / "calls").mkdir()
    return Painter(begin(tmp_path), tmp_path / "calls")


def begin(folder, **values):
    return artifacts.begin("02_regions", RegionParams(run=str(folder / "run"), **values))


def numbers(grouped):
    return [row["regions_per_frame"] for row in grouped.rows]


# --- shards


@given(st.integers(0, 3000), st.sampled_from([0, 0, 1, 7, 64]))
def test_shards_are_the_frames_in_order(count, size):
    found = cut_shards(range(count), size)
    assert [frame for shard in found for frame in shard.frames] == list(range(count))
    assert [shard.number for shard in found] == list(range(len(found)))
    assert len({len(shard.frames) for shard in found[:-1]}) <= 1
    if not size and count:
        assert len(found[0].frames) <= shards.LARGEST
        assert len(found) >= min(count, shards.PARTS) / 2


# --- the same, whoever makes them


class Streets(Dataset):
    """Boxes of colour on a level road; every other frame has labels."""

    name, size = "streets", SIZE

    def __init__(self):
        matrix = np.array([[30.0, 0, 23.5], [0, 30.0, 15.5], [0, 0, 1]])
        self._frames = [Frame(f"a/{i:04d}", "a", "train", i / 10, matrix, labelled=i % 2 == 0) for i in range(7)]

    def draw(self, frame):
        rng = np.random.default_rng(int(frame.id[-4:]))
        kind = (np.arange(SIZE[0])[:, None] > 15) + np.zeros(SIZE, int)
        inverse = np.maximum(np.arange(SIZE[0])[:, None] - 15.5, 1) / 50 + np.zeros(SIZE)
        for box in range(2, 5):
            top, left = rng.integers(4, 18), rng.integers(2, 36)
            kind[top : top + 10, left : left + 8], inverse[top : top + 10, left : left + 8] = box, rng.uniform(0.1, 0.3)
        colors = np.array([[90, 120, 200], [90, 90, 90], [180, 40, 40], [40, 160, 60], [200, 200, 60]])[kind]
        return np.clip(colors + rng.normal(0, 8, colors.shape), 0, 255).astype(np.uint8), inverse, kind.astype(np.uint8)

    def image(self, frame):
        return self.draw(frame)[0]

    def labels(self, frame):
        return self.draw(frame)[2] if frame.labelled else None


@pytest.fixture(scope="module")
def depth(tmp_path_factory):
    run = str(tmp_path_factory.mktemp("depth"))
    stage, data = artifacts.begin("01_depth", DepthParams(run=run, dataset="camvid")), Streets()
    for frame in data.frames():
        stage.save_inverse_depth(f"inverse_depth/{frame.id}.png", data.draw(frame)[1], 1.0)
    stage.finish({})
    return artifacts.load(run, "01_depth")


def group_streets(depth, folder, **how):
    """Hashes of the maps, the rows without times, and how many worked."""
    params, frames = RegionParams(run=str(folder), superpixels=60, smoothing=1.0), Streets().frames()
    grouper = FrameGrouper(Streets(), depth, artifacts.begin("02_regions", params, inputs=[depth]))
    grouped = group_frames(grouper, frames, shard=2, **how)
    assert (grouped.made, grouped.found, len(grouped.rows)) == (7, 0, 7)
    assert grouped.seconds_per_frame > 0
    assert grouped.peak_memory > 1e7
    rows = [{k: v for k, v in row.items() if k != "seconds_per_frame"} for row in grouped.rows]
    return {f.id: hash_file(grouper.stage.path(f"regions/{f.id}.png")) for f in frames}, rows, grouped.workers


def test_one_process_and_two_make_the_same_files(depth, tmp_path):
    *alone, workers = group_streets(depth, tmp_path / "alone")
    assert workers == 1
    assert len(set(alone[0].values())) == 7
    *two, workers = group_streets(depth, tmp_path / "two", workers=2)
    assert workers == 2
    assert two == alone


def test_a_cluster_makes_the_same_files(depth, tmp_path):
    address = start_cluster()
    *there, workers = group_streets(depth, tmp_path / "there", scheduler=address)
    assert 1 <= workers <= 2
    *alone, _ = group_streets(depth, tmp_path / "alone")
    assert there == alone


# --- killed, interrupted, damaged


def test_a_killed_worker_loses_nothing_and_only_missing_shards_run_again(painter, capsys):
    painter = replace(painter, deadly=FRAMES[7].id)
    grouped = group_frames(painter, FRAMES, workers=2, shard=3)
    assert numbers(grouped) == list(range(12))
    assert (painter.calls / "killed").exists()
    assert "a worker died" in capsys.readouterr().out
    made = painter.count()
    assert set(made) == set(range(12))
    assert made[6] == 1  # of the killed shard, but it was there
    assert sum(made.values()) <= 13  # the other worker may have been at one
    assert not list((painter.stage.folder / "shards").glob(".*"))


def test_a_killed_worker_of_a_cluster_loses_nothing_either(painter):
    painter = replace(painter, deadly=FRAMES[7].id)
    grouped = group_frames(painter, FRAMES, scheduler=start_cluster(), shard=3)
    assert numbers(grouped) == list(range(12))
    assert (painter.calls / "killed").exists()
    made = painter.count()
    assert set(made) == set(range(12))
    assert sum(made.values()) <= 14  # Dask starts a shard again by itself, without knowing which maps are there


def test_two_processes_in_one_folder_do_no_harm(painter):
    painter.stage.continued = True
    for found in parallel_map(_Twice(painter), [0, 1], workers=2):
        assert numbers(found) == list(range(12))
    assert sum(painter.count().values()) <= 24
    again = group_frames(painter, FRAMES, shard=3)
    assert (again.made, again.found) == (0, 12)
    assert {p.name for p in painter.stage.folder.rglob("*.png")} == {f"{i:04d}.png" for i in range(12)}


@dataclass(frozen=True)
class _Twice:
    painter: Painter

    def __call__(self, _):
        return group_frames(self.painter, FRAMES, shard=3)


def test_called_again_it_makes_what_is_missing(painter, tmp_path):
    with pytest.raises(ValueError, match="frame clip_1/0007 cannot be grouped: depth holds no value"):
        group_frames(replace(painter, broken=FRAMES[7].id), FRAMES, shard=3)
    assert painter.count() == Counter(range(7))
    assert not list((painter.stage.folder / "shards").glob(".*"))
    again = replace(painter, stage=begin(tmp_path))
    grouped = group_frames(again, FRAMES, shard=3)
    assert painter.count() == Counter(range(12))
    assert (grouped.made, grouped.found, numbers(grouped)) == (6, 6, list(range(12)))
    assert grouped.rows[0] == {"regions_per_frame": 0, "purity": 1.0, "seconds_per_frame": 0.01}
    assert "seconds_per_frame" not in grouped.rows[6]  # its map was read
    last = group_frames(again, FRAMES, shard=3)
    assert last.rows == grouped.rows
    assert last.describe() == "nothing to group; 12 maps were there already"


def test_other_parameters_reuse_nothing(painter, tmp_path):
    group_frames(painter, FRAMES, shard=3)
    beside = Stage("02_regions", replace(painter.stage.params, cut=0.3), painter.stage.folder, [], strict=False)
    assert group_frames(replace(painter, stage=beside), FRAMES, shard=3).made == 12  # though nobody cleared the folder
    other = begin(tmp_path, cut=0.3)
    assert not list(other.folder.rglob("*.png"))
    assert group_frames(replace(painter, stage=other), FRAMES, shard=3).made == 12
    assert painter.count() == Counter(3 * list(range(12)))
    slower = begin(tmp_path, cut=0.3, workers=7)  # how, not what
    assert group_frames(replace(painter, stage=slower), FRAMES, shard=3).made == 0


def test_a_damaged_shard_is_made_again(painter):
    before = group_frames(painter, FRAMES, shard=3).rows
    files = sorted((painter.stage.folder / "shards").glob("0*.json"))
    files[0].write_bytes(files[0].read_bytes()[:50])
    files[1].write_text("[]")
    files[2].write_text(json.dumps(json.loads(files[2].read_text()) | {"rows": []}))
    painter.stage.path(f"regions/{FRAMES[9].id}.png").unlink()
    grouped = group_frames(painter, FRAMES, shard=3)
    assert (grouped.made, grouped.rows) == (12, before)
    assert group_frames(painter, FRAMES, shard=4).made == 12  # cut otherwise
    assert group_frames(painter, FRAMES[::-1], shard=4).made == 12


class Pool:
    """In place of `parallel_map`: runs in this process; one shard kills, and takes the one before it with it."""

    def __init__(self, deadly):
        self.deadly, self.batches = deadly, []

    def __call__(self, work, batch, workers, scheduler):
        self.batches.append([shard.number for shard in batch])
        for i, shard in enumerate(batch):
            if self.deadly in [shard.number, *(s.number for s in batch[i + 1 : i + 2])]:
                for victim in batch[i : i + 2] if shard.number != self.deadly else [shard]:
                    work.mark(victim).write_text(victim.frames[0].id)
                raise WorkerDied("a worker process was killed")
            yield work(shard)


def test_a_shard_that_kills_each_worker_is_named_and_the_others_are_made(painter, monkeypatch):
    pool = Pool(deadly=2)
    monkeypatch.setattr(shards, "parallel_map", pool)
    sentence = r"shard 2 \(frames clip_1/0006 to clip_1/0008\) has killed its worker 3 times, now at frame clip_1/0006"
    with pytest.raises(RuntimeError, match=sentence):
        group_frames(painter, FRAMES, workers=2, shard=3)
    assert pool.batches == [[0, 1, 2, 3], [1, 2, 3], [1], [2]]  # 1 was at work each time, and is innocent
    assert set(painter.count()) == set(range(6))


def test_workers_that_never_begin_are_given_up(painter, monkeypatch):
    def die(*_):
        raise WorkerDied("a worker process was killed")
        yield

    monkeypatch.setattr(shards, "parallel_map", die)
    with pytest.raises(RuntimeError, match="workers die before they begin a shard: a worker process was killed"):
        group_frames(painter, FRAMES, workers=2)


# --- refusals and reports


@dataclass(frozen=True)
class Forgetful(Painter):
    def __call__(self, frame):
        row = super().__call__(frame)
        self.stage.path(f"regions/{frame.id}.png").unlink()
        return row


def test_a_worker_that_does_not_see_the_folder_says_so(painter):
    work, shard = shards._Work(painter, "abc", "me"), Shard(0, tuple(FRAMES))
    with pytest.raises(
        RuntimeError, match="does not see .*plan.json: the folder of the run must be on a disk that all"
    ):
        work(shard)
    work.begin([shard])
    with pytest.raises(RuntimeError, match="another call, with other parameters or inputs, works in"):
        replace(work, made_from="xyz")(shard)
    with pytest.raises(RuntimeError, match="was made, and is gone: does something else write or clear in"):
        replace(work, grouper=Forgetful(painter.stage, painter.calls))(shard)


def test_ids_must_differ_and_no_frames_are_no_work(painter):
    with pytest.raises(ValueError, match="two frames have the id 'clip_0/0001'"):
        group_frames(painter, [*FRAMES, FRAMES[1]])
    empty = group_frames(painter, [])
    assert (empty.rows, empty.made, empty.estimate_hours(), empty.describe()) == ([], 0, 0, "nothing to group")


def test_a_mark_of_another_call_is_left_to_it(painter):
    mine, theirs = (shards._Work(painter, "abc", call) for call in ("mine", "theirs"))
    shard = Shard(0, tuple(FRAMES))
    theirs.begin([shard])
    theirs.mark(shard).write_text(FRAMES[3].id)  # it is at work, and then dies there
    mine.begin([shard])
    deaths = Counter()
    shards._count_deaths(theirs, [shard], deaths, False, WorkerDied("a worker process was killed"))
    shards._count_deaths(mine, [shard], deaths, False, WorkerDied("a worker process was killed"))
    assert deaths == {0: 1, None: 1}


def test_left_overs_of_killed_processes_go_when_they_are_old(painter):
    ages = {"regions/clip_0/.0001.77.png": 1000, "shards/.00001.5f.at": 5000}  # seconds
    ages |= {"regions/clip_0/.0002.77.png": 0, "shards/.00002.5f.at": 1000}
    for name, age in ages.items():
        path = painter.stage.path(name)
        path.touch()
        os.utime(path, (time.time() - age,) * 2)
    group_frames(painter, FRAMES)
    assert [(painter.stage.folder / name).exists() for name in ages] == [False, False, True, True]


def test_the_report_is_arithmetic():
    report = GroupedFrames([], 40, 24, seconds=10.0, busy=18.0, workers=2, seconds_per_frame=0.4, peak_memory=3 * 10**8)
    assert report.busy_share == 0.9
    assert report.estimate_hours() == pytest.approx(0.4 * 89250 / 2 / 3600)
    assert report.describe() == (
        "40 frames in 10.0 s on 2 workers, busy 90 % of the time, with 300 MB at most in each; 24 maps were there "
        "already. 0.400 s a frame and worker: 89250 of them, as many as CPCDR has, would take 2 workers 5.0 h"
    )


def test_a_frame_is_timed_without_scores_where_there_is_one():
    frames = [Frame("a", "a", "train", labelled=True), Frame("b", "a", "train"), Frame("c", "a", "train")]
    rows = [{"seconds_per_frame": 1.0}, {"seconds_per_frame": 1.0}, {}]
    now = [(tuple(frames), {"rows": rows, "seconds": [5.0, 1.5, 0.1]})]
    assert shards._time_a_frame(now) == 1.5
    assert shards._time_a_frame([(tuple(frames[:1]), {"rows": rows[:1], "seconds": [5.0]})]) == 5.0
    assert shards._time_a_frame([]) == 0
