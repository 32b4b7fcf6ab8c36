"""Drives: which are long enough, which were learned from, and what is left after alignment."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from lib import camera, depth
from lib.data import Dataset, Frame
from lib.depth import tracks
from lib.params import DepthParams

from .fixtures import PARAMS


class Drive(Dataset):
    """A camera that drives ahead and turns left; its images say nothing."""

    def __init__(self, name="kitti_odometry", clips=("00",), frames=25):
        self.name, self.size = name, (64, 96)
        self._frames = [Frame(f"{c}/{t:02d}", c, "test", t / 10) for c in clips for t in range(frames)]

    def image(self, frame):
        return np.zeros((64, 96, 3), np.uint8)

    def camera_from_world(self, frame):
        pose = np.eye(4)
        for _ in range(round(frame.time * 10)):
            pose = STEP @ pose
        return pose


class Knows(nn.Module):
    """Says the true motion, in a unit of two metres."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def pose(self, earlier, later):
        count = len(earlier)
        angle, way = torch.tensor([[0, -0.02, 0.0]]), torch.tensor([[0, 0, -0.4]])
        return angle.repeat(count, 1), way.repeat(count, 1), torch.zeros(count, 0)


STEP = camera.rigid_transform(torch.tensor([[0, -0.02, 0]]).double(), torch.tensor([[0, 0, -0.8]]).double())[0].numpy()


def test_what_was_learned_from():
    frames = {split: Frame("a/0", "a", split) for split in ("train", "test")}
    assert tracks.was_learned(frames["train"], "street", ["street"])
    assert not tracks.was_learned(frames["test"], "street", ["street"])
    assert tracks.was_learned(frames["test"], "camvid", ["street", "camvid:a"])
    assert not tracks.was_learned(frames["test"], "camvid", ["camvid:b"])


def test_a_track_in_the_wrong_unit_is_laid_onto_the_true_one():
    drive = Drive()
    found = tracks.follow(Knows(), drive, drive.frames(), True)
    assert found.length == pytest.approx(24 * 0.8, rel=1e-3)
    assert found.error < 1e-4
    assert found.step_error < 1e-5
    assert found.turn_error < 1e-3
    assert found.describe() == "00: 25 frames, 19 m, learned from"
    assert found.straight_error > 0.3, "the drive bends"
    metres = tracks.follow(Knows(), drive, drive.frames(), True, metric=True)
    assert metres.error > 1
    assert metres.step_error == pytest.approx(0.4, rel=1e-3)
    assert tracks.follow(Knows(), drive, drive.frames(), False, step=2).error > 0.01, "two steps at once are no one"


def test_a_straight_drive_is_as_good_on_a_straight_road(monkeypatch):
    monkeypatch.setitem(globals(), "STEP", np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, -0.8], [0, 0, 0, 1.0]]))
    drive = Drive()
    assert tracks.follow(Knows(), drive, drive.frames(), True).straight_error < 1e-6


def test_only_drives_that_bend(monkeypatch):
    params = replace(PARAMS, clips=("kitti_odometry:00", "street"))
    monkeypatch.setattr(tracks, "open_dataset", lambda params, name: Drive(frames=25 if name.endswith("00") else 5))
    found = tracks.find_drives(params, Drive("kitti_raw", ("x", "y"), 30))
    assert [(clip[0].clip, learned) for _, clip, learned in found] == [("x", False), ("y", False), ("00", True)]
    assert tracks.find_drives(replace(PARAMS, clips=("street",)), Drive("kitti_raw", ("x",), 19)) == []
    blind = Drive("kitti_raw", ("x",))
    blind.camera_from_world = lambda frame: None
    assert tracks.find_drives(replace(PARAMS, clips=("street",)), blind) == []
    with pytest.raises(ValueError, match="true pose"):
        tracks.follow(Knows(), blind, blind.frames(), False)


def test_a_generated_drive_is_long_and_new(tmp_path, monkeypatch):
    monkeypatch.setattr(tracks, "UNSEEN", 3)
    values = DepthParams(height=64, width=64)
    ((street, clip, learned),) = tracks.find_drives(values, depth.tracks.open_dataset(values))
    assert not learned
    assert len(clip) == 3
    assert clip[0].split == "val"
    assert street.camera_from_world(clip[2]) is not None
