"""Is a video fit to learn from? Each finding in both directions, on generated video; real driving passes."""

from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest

from lib.data.footage import check_footage, check_video, sample_frames
from lib.data.street import make_clip

from . import fixtures
from .test_video import make_frames, write_video

NAMES = ["length", "portrait", "too slow", "too fast", "rotation only", "bonnet", "night", "variable frame rate"]
NAMES += ["repeated frames", "cuts", "low detail"]
TIMES = np.arange(120) / 10  # of the file that the frames are said to come from


@cache
def street(index: int) -> np.ndarray:
    return make_clip("train", index, 24, 64, 128).images


def check(frames, times=None, file_times=TIMES, **more):
    """Findings by name."""
    times = np.arange(len(frames)) / 10 if times is None else times
    findings = check_footage(frames, times, file_times=file_times, **more)
    assert [f.name for f in findings] == NAMES
    for finding in findings:
        assert isinstance(finding.ok, bool)
        assert np.isfinite(finding.value)
        assert finding.sentence
        assert bool(finding.remedy) != finding.ok
        assert "\n" not in finding.sentence + finding.remedy
    return {f.name: f for f in findings}


def failed(findings):
    return [name for name, finding in findings.items() if not finding.ok]


def still(height: int, width: int) -> np.ndarray:
    """A large picture of a street, for cameras that turn or zoom in it."""
    return cv2.resize(street(1)[5], (width, height), interpolation=cv2.INTER_CUBIC)


def turn(degrees: float, frames: int = 24) -> np.ndarray:
    """What a camera sees that turns on the spot by so many degrees a frame."""
    big, focal = still(192, 384), 115.0
    away = np.array([[2 * focal, 0, 191.5], [0, 2 * focal, 95.5], [0, 0, 1]])
    near = np.array([[focal, 0, 63.5], [0, focal, 31.5], [0, 0, 1]])
    out = []
    for angle in np.radians(degrees) * (np.arange(frames) - frames / 2):
        rotation = np.array([[np.cos(angle), 0, -np.sin(angle)], [0, 1, 0], [np.sin(angle), 0, np.cos(angle)]])
        out.append(cv2.warpPerspective(big, near @ rotation @ np.linalg.inv(away), (128, 64)))
    return np.stack(out)


def approach(factor: float, frames: int = 24) -> np.ndarray:
    """What a camera sees that drives towards a wall: each frame is enlarged by `factor`."""
    middle, out = np.array([[192.0], [80.0]]), []
    for t in range(frames):
        scale = 0.4 * factor**t
        shift = np.array([[64.0], [26.0]]) - scale * middle
        out.append(cv2.warpAffine(still(192, 384), np.hstack([scale * np.eye(2), shift]), (128, 64)))
    return np.stack(out)


def paint_bonnet(frames: np.ndarray, share: float, reflection: float = 0.0) -> np.ndarray:
    """A dark bonnet, highest in the middle, in which the sky is mirrored."""
    height, width = frames.shape[1:3]
    rows, columns = np.mgrid[:height, :width]
    above = rows - height * (1 - share) - (2 * columns / width - 1) ** 2 * height * share * 0.7
    inside, shade = np.clip(above, 0, 1)[..., None], 40 + 30 * (above / (height * share))[..., None]
    mirrored = [cv2.GaussianBlur(frame[::-1], (31, 31), 0) for frame in frames]
    drawn = [f * (1 - inside) + inside * (shade + reflection * (m - shade)) for f, m in zip(frames, mirrored)]
    return np.stack(drawn).round().clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("index", [1, 3])
def test_a_generated_street_passes_and_twice_the_same(index):
    findings = check(street(index))
    assert not failed(findings)
    assert check(street(index)) == findings


def test_portrait():
    wide = street(1)
    assert check(wide)["portrait"].ok
    tall = check(np.ascontiguousarray(wide[:, :, : wide.shape[1] // 2]))["portrait"]
    assert not tall.ok
    assert "level" in tall.remedy


def test_length():
    assert check(street(1))["length"].value == 120
    short = check(street(1), file_times=None)["length"]
    assert (short.ok, short.value, short.remedy) == (False, 24, "use a video of 100 frames or more")
    assert check(street(1), step=3, file_times=np.arange(240) / 10)["length"].remedy == "set video_step = 2"


def test_a_camera_that_hardly_moves():
    slow = check(approach(1.004))["too slow"]
    assert not slow.ok
    assert slow.value < 1 / 416
    step = int(slow.remedy.removeprefix("set video_step = "))
    assert check(approach(1.004**step, 10))["too slow"].ok
    doubled = check(approach(1.004), step=2)["too slow"].remedy
    assert abs(int(doubled.removeprefix("set video_step = ")) - 2 * step) <= 1


def test_a_camera_that_stands():
    rng = np.random.default_rng(0)
    noisy = np.clip(street(1)[:1] + rng.normal(0, 2, (24, 64, 128, 3)), 0, 255).astype(np.uint8)
    stands = check(noisy)
    assert "cut the halts out" in stands["too slow"].remedy
    assert failed(stands) == ["too slow"]  # neither a bonnet nor a turn, which cannot be told then
    halts = street(1)[[*range(12), *[12] * 8, *range(13, 17)]]  # a third of the time
    assert check(halts)["too slow"].ok


def test_too_much_motion_from_frame_to_frame():
    fast = check(street(3)[::4], np.arange(6) * 0.4, step=4)["too fast"]
    assert not fast.ok
    assert fast.remedy in ("set video_step = 1", "set video_step = 2")
    assert "record more frames a second" in check(street(3)[::4])["too fast"].remedy


@pytest.mark.parametrize("degrees", [0.1, 0.6, 2.0])
def test_turning_on_the_spot_is_not_driving(degrees):
    turning = check(turn(degrees))["rotation only"]
    assert (turning.ok, turning.value) == (False, 1)
    assert "drives forward" in turning.remedy


def test_driving_is_not_turning():
    for frames in (street(1), street(3), approach(1.02)):
        assert check(frames)["rotation only"].value == 0


@pytest.mark.parametrize("index", [1, 3])
@pytest.mark.parametrize(("share", "reflection"), [(0.2, 0.0), (0.2, 0.2), (0.1, 0.0)])
def test_a_bonnet_is_found_and_cut_off(index, share, reflection):
    drawn = paint_bonnet(street(index), share, reflection)
    found = check(drawn)["bonnet"]
    assert not found.ok
    assert share - 0.01 <= found.value <= share + 0.05
    crop = float(found.remedy.removeprefix("set crop_bottom = "))
    assert check(drawn[:, : 64 - round(crop * 64)], crop_bottom=crop)["bonnet"].ok


def test_a_bar_below_a_cut_is_reported_as_a_share_of_the_whole():
    drawn = paint_bonnet(street(3), 0.2)
    assert check(drawn, crop_bottom=0.1)["bonnet"].value == pytest.approx(0.1 + 0.9 * check(drawn)["bonnet"].value)


def test_a_date_stamp_does_not_stop_the_camera():
    stamped = street(1).copy()
    for t, frame in enumerate(stamped):
        cv2.rectangle(frame, (1, 1), (60, 12), (0, 0, 0), -1)
        cv2.putText(frame, f"12:00:{t:02d}", (3, 10), cv2.FONT_HERSHEY_SIMPLEX, 0.3, (255, 255, 255), 1)
    assert not failed(check(stamped))


def test_night():
    dark = check((street(1) * 0.15).astype(np.uint8))["night"]
    assert not dark.ok
    assert dark.value < 25
    assert "eq=gamma" in dark.remedy


def test_uneven_times():
    rng = np.random.default_rng(0)
    uneven = check(street(1), file_times=np.cumsum(rng.choice([1 / 30, 1 / 15, 1 / 10], 120)))["variable frame rate"]
    assert not uneven.ok
    assert uneven.remedy == "convert it first: ffmpeg -i in.mp4 -vf fps=15 out.mp4"
    assert check(street(1), file_times=np.arange(120).round(3) / 29.97)["variable frame rate"].value == 0
    one_gap = check(street(1), file_times=np.r_[TIMES, TIMES + 100])["variable frame rate"]
    assert one_gap.ok


def test_gaps_between_runs_are_not_uneven_nor_cuts():
    frames = np.concatenate([street(1)[:12], street(3)[:12]])
    times, runs = np.r_[0:12, 500:512] / 10, np.repeat([0, 1], 12)
    findings = check(frames, times, None, runs=runs)
    assert findings["variable frame rate"].ok
    assert findings["cuts"].ok


@pytest.mark.parametrize(("repeats", "rate"), [(2, 5), (3, 3)])
def test_repeated_frames(repeats, rate):
    found = check(np.repeat(street(1)[: 24 // repeats], repeats, axis=0))["repeated frames"]
    assert not found.ok
    assert found.value == pytest.approx(1 - 1 / repeats, abs=0.05)
    assert f"mpdecimate,fps={rate} " in found.remedy
    assert check(np.repeat(street(1)[: 24 // repeats], repeats, axis=0))["too slow"].ok


def test_cuts():
    frames = np.concatenate([street(1)[:8], street(3)[:8], street(1)[16:]])
    found = check(frames)["cuts"]
    assert (found.ok, found.value) == (False, 2)
    assert "at 0.8, 1.6 seconds" in found.sentence
    assert "split the file at 0.8, 1.6 seconds" in found.remedy


def test_low_detail():
    blurred = check([cv2.GaussianBlur(frame, (0, 0), 5) for frame in street(1)])["low detail"]
    assert not blurred.ok
    assert check(np.full((12, 64, 128, 3), 90, np.uint8))["low detail"].value == 0


def test_what_does_not_fit_is_refused():
    frames = street(1)[:4]
    with pytest.raises(ValueError, match="2 frames are too few to check a video: give 3 or more"):
        check_footage(frames[:2], [0, 1])
    with pytest.raises(ValueError, match=r"4 frames, 3 times and 4 numbers of runs: give one each"):
        check_footage(frames, [0, 1, 2])
    with pytest.raises(ValueError, match=r"crop_bottom = 1 and video_step = 1: they must lie in 0\.\.1 and from 1 on"):
        check_footage(frames, range(4), crop_bottom=1)
    with pytest.raises(ValueError, match="no two frames belong to one run"):
        check_footage(frames, range(4), runs=range(4))
    for wrong in (frames.astype(float), frames[..., 0], [*frames, frames[0][:32]]):
        with pytest.raises(ValueError, match=r"frames must all be \(H, W, 3\) uint8 of one size"):
            check_footage(wrong, range(len(wrong)))


def test_a_sample_is_runs_of_neighbours_from_all_over_the_file(tmp_path):
    path = write_video(tmp_path / "a.avi", make_frames(40), 10)
    sample = sample_frames(path, step=2, count=100, width=32, crop_bottom=0.25)
    assert sample.frames.shape == (20, 18, 32, 3)  # 36 of 48 rows, half as wide
    assert set(sample.runs) == {0}
    long = write_video(tmp_path / "b.avi", np.tile(make_frames(40), (8, 1, 1, 1)), 10)
    sample = sample_frames(long, step=2, count=100)
    assert sample.frames.shape == (99, 48, 64, 3)
    assert np.bincount(sample.runs).tolist() == [33, 33, 33]
    numbers = np.rint(sample.times * 10).astype(int)
    assert (numbers[0], numbers[-1]) == (0, 318)
    np.testing.assert_array_equal(np.diff(numbers)[np.diff(sample.runs) == 0], 2)
    assert len(sample.file_times) == 320
    with pytest.raises(ValueError, match=r"a\.avi has 40 frames, of which video_step = 30 keeps 2: too short"):
        sample_frames(path, step=30)
    with pytest.raises(ValueError, match="crop_bottom = 0.0 and video_step = 0: they must lie"):
        sample_frames(path, step=0)


def test_a_video_file_is_checked_from_end_to_end(tmp_path):
    path = write_video(tmp_path / "drive.mp4", street(1), 10, "mp4v")
    assert [f.name for f in check_video(path) if not f.ok] == ["length"]
    bonnet = write_video(tmp_path / "bonnet.mp4", paint_bonnet(street(1), 0.2), 10, "mp4v")
    assert [f.name for f in check_video(bonnet) if not f.ok] == ["length", "bonnet"]
    assert [f.name for f in check_video(bonnet, crop_bottom=0.24) if not f.ok] == ["length"]


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("dataset", "folder", "honest"),
    [
        ("kitti_odometry", "sequences/00/image_0", []),
        ("kitti_odometry", "sequences/04/image_2", ["length"]),  # 51 frames
        ("kitti_raw", "2011_09_26/2011_09_26_drive_0009_sync/image_02/data", ["length"]),
        ("camvid", "val", []),
        ("cityscapes", "leftImg8bit_sequence/train/aachen", ["length", "bonnet"]),  # 10 frames, with a bonnet
    ],
)
def test_real_driving_passes(dataset, folder, honest):
    path = Path(fixtures.real_params(dataset, (64, 128)).data_root) / dataset / folder
    if not path.is_dir():
        pytest.skip(f"no real data: {path} is missing")
    assert [f.name for f in check_video(path) if not f.ok] == honest
