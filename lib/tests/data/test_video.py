"""Any video: frames and times, clips and their splits, the cache, and what is refused."""

import os
import pickle
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from lib.data import resize_image
from lib.data.video import Video, cache, decode, list_clips, name_clips, probe_video, read_video
from lib.intrinsics import crop_intrinsics, intrinsics_from_field_of_view, resize_intrinsics

from . import fixtures
from .fixtures import write_image

SIZE, STORED = (24, 32), (48, 64)


def make_frames(count: int = 40, size: tuple[int, int] = STORED) -> np.ndarray:
    """A smooth picture that gets brighter by 5 grey levels a frame: a frame's mean tells its number."""
    v, u = np.mgrid[: size[0], : size[1]]
    ramp = 20 + 10 * np.sin(u / 9) + 5 * np.cos(v / 7)
    return np.stack([ramp[..., None] + np.array([20, 10, 0]) + 5 * t for t in range(count)]).astype(np.uint8)


def write_video(path: Path, frames: np.ndarray, rate: float = 10.0, codec: str = "MJPG") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), rate, frames[0].shape[1::-1])
    assert writer.isOpened()
    for frame in frames:
        writer.write(frame[..., ::-1])
    writer.release()
    return path


def params(path: Path, **more: object) -> SimpleNamespace:
    fields = {"path": str(path), "height": SIZE[0], "width": SIZE[1], "keep_aspect": False, "crop_bottom": 0.0}
    return SimpleNamespace(**{**fields, "video_step": 1, "field_of_view": 0.0, **more})


def numbers(frames: list) -> list[int]:
    """Which frames of `make_frames` these are."""
    first = make_frames(1)[0].mean()
    return [round((frame.mean() - first) / 5) for frame in frames]


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("video") / "drive.avi", make_frames())


def open_video(path, tmp_path, **more):
    return Video(params(path, **more), cache=tmp_path / "cache")


@pytest.mark.parametrize(("ending", "codec"), [("avi", "MJPG"), ("mp4", "mp4v")])
def test_frames_come_in_order_with_their_times(tmp_path, ending, codec):
    path = write_video(tmp_path / f"a.{ending}", make_frames(), 12.5, codec)
    indices, times, images = zip(*read_video(path))
    assert list(indices) == list(range(40)) == numbers(images)
    np.testing.assert_allclose(times, np.arange(40) / 12.5, atol=1e-3)
    assert np.abs(images[7].astype(int) - make_frames()[7]).mean() < 3  # RGB, not BGR
    info = probe_video(path)
    assert (info.frames, info.size, info.is_folder, info.note) == (40, STORED, False, "")
    assert info.rate == pytest.approx(12.5, abs=0.01)
    np.testing.assert_allclose(info.times, times)


def test_a_part_of_a_video_and_every_other_frame(video):
    assert [i for i, _, _ in read_video(video, step=3)] == list(range(0, 40, 3))
    assert [i for i, _, _ in read_video(video, start=1.95, seconds=0.5)] == [20, 21, 22, 23, 24]
    assert [i for i, _, _ in read_video(video, step=2, wanted={4, 5, 8})] == [4, 8]
    with pytest.raises(ValueError, match="video_step must be 1 or more, not 0"):
        next(read_video(video, step=0))


def test_frames_of_a_folder_are_sorted_as_numbers(tmp_path):
    frames = make_frames(12)
    for t in (11, 3, 10, 2, 0, 1, 9, 8, 7, 6, 5, 4):
        write_image(tmp_path / "drive 1" / f"frame{t}.{'PNG' if t % 2 else 'png'}", frames[t])
    (tmp_path / "drive 1" / "notes.txt").write_text("not a frame")
    images = list(read_video(tmp_path / "drive 1"))
    np.testing.assert_array_equal([image for _, _, image in images], frames)
    assert [seconds for _, seconds, _ in images] == pytest.approx(np.arange(12) / 30)
    info = probe_video(tmp_path / "drive 1")
    assert (info.frames, info.rate, info.size, info.is_folder) == (12, 30.0, STORED, True)
    data = open_video(tmp_path / "drive 1", tmp_path, height=STORED[0], width=STORED[1])
    np.testing.assert_array_equal([data.image(f) for f in data.frames()], frames)
    assert data.image_path(data.frames()[2]).name == "frame2.png"
    assert [f.clip for f in data.frames()[8:]] == ["drive_1", "drive_1_val", "drive_1_val", "drive_1_val"]
    assert not (tmp_path / "cache").exists()


def test_times_never_decrease_and_a_missing_clock_is_replaced(monkeypatch, video):
    class Capture:
        def __init__(self, stamps):
            self.stamps, self.at = stamps, -1

        def isOpened(self):
            return True

        def grab(self):
            self.at += 1
            return self.at < len(self.stamps)

        def get(self, which):
            return {cv2.CAP_PROP_POS_MSEC: self.stamps[max(self.at, 0)], cv2.CAP_PROP_FPS: 20.0}[which]

        def release(self):
            pass

    for stamps, expected in (([0, 50, 40, 90], [0, 0.05, 0.05, 0.09]), ([0, 0, 0], [0, 0.05, 0.1])):
        monkeypatch.setattr(decode.cv2, "VideoCapture", lambda _, stamps=stamps: Capture(stamps))
        assert [seconds for _, seconds, _ in decode.grab_frames(video)] == pytest.approx(expected)


def test_a_file_is_a_clip_whose_last_tenth_is_held_out(video, tmp_path):
    data = open_video(video, tmp_path)
    train, held = data.clips("train"), data.clips("val")
    assert [len(clip) for clip in train + held] == [36, 4]
    assert (train[0][3].id, train[0][3].clip, held[0][0].id) == ("drive/000003", "drive", "drive/000036")
    assert {f.clip for f in held[0]} == {"drive_val"}
    assert [f.time for f in held[0]] == pytest.approx([0, 0.1, 0.2, 0.3], abs=1e-3)
    assert numbers([data.image(f) for f in data.frames()]) == list(range(40))
    assert data.labels(train[0][0]) is None
    assert data.image_path(train[0][0]) is None
    assert not data.notes
    few = open_video(video, tmp_path, video_step=3)  # 14 frames
    assert [len(clip) for clip in few.clips()] == [11, 3]
    assert [f.id for f in few.clips()[0]][:3] == ["drive/000000", "drive/000003", "drive/000006"]
    assert len(open_video(video, tmp_path, video_step=5).clips()) == 1  # 8 frames: none can be spared
    assert len(pickle.dumps(data)) < 20_000


@pytest.mark.parametrize("keep_aspect", [False, True])
def test_window_and_camera_fit_each_other(video, tmp_path, keep_aspect):
    data = open_video(video, tmp_path, crop_bottom=0.25, keep_aspect=keep_aspect, field_of_view=70.0, width=24)
    rows, columns = slice(0, 36), slice(14, 50) if keep_aspect else slice(0, 64)
    frame = data.frames()[5]
    stored = next(image for index, _, image in read_video(video) if index == 5)
    np.testing.assert_array_equal(data.image(frame), resize_image(stored[rows, columns], (24, 24)))
    matrix = crop_intrinsics(intrinsics_from_field_of_view(70.0, *STORED), rows.start, columns.start)
    matrix = resize_intrinsics(matrix, (36, columns.stop - columns.start), (24, 24))
    np.testing.assert_allclose(frame.intrinsics, matrix)
    assert not frame.calibrated


def test_an_unknown_camera_is_assumed_at_the_stored_frame_not_at_what_is_left_of_it(tmp_path):
    path = write_video(tmp_path / "wide.avi", np.zeros((3, 1080, 1920, 3), np.uint8))
    whole = intrinsics_from_field_of_view(70.0, 1080, 1920)

    def matrix(**more):
        (frame, *_) = Video(params(path, height=96, width=192, **more), cache=tmp_path / "cache").frames()
        assert not frame.calibrated
        return frame.intrinsics

    stretched = matrix(field_of_view=70.0)
    np.testing.assert_allclose(np.diag(stretched)[:2], [137.1, 121.9], atol=0.05)
    np.testing.assert_array_equal(matrix(), stretched)
    cut = matrix(keep_aspect=True, crop_bottom=0.2)  # of 1080 rows 864 are left, of 1920 columns the middle 1728
    scale = 192 / 1728
    np.testing.assert_allclose(np.diag(cut)[:2], whole[0, 0] * scale)
    np.testing.assert_allclose(cut[:2, 2], [95.5, (whole[1, 2] + 0.5) * scale - 0.5])
    assert cut[1, 2] > 59, "the horizon is below the middle of what is left"


def test_a_folder_of_videos_has_a_clip_for_each(tmp_path):
    for name in ("trip2.avi", "trip10.avi", "trip2.AVI.avi", "über: alles.avi"):
        write_video(tmp_path / "trips" / name, make_frames(12))
    data = open_video(tmp_path / "trips", tmp_path)
    assert [clip[0].clip for clip in data.clips("train")] == ["trip2", "trip2.AVI", "trip10", "über_alles"]
    assert len({f.id for f in data.frames()}) == 48
    with pytest.raises(ValueError, match=r"trips is a folder of 4 videos: name one of them, e\.g\. trip2\.avi"):
        probe_video(tmp_path / "trips")


def test_names_of_clips_are_safe_and_unlike():
    paths = [Path(name) for name in ("a.mp4", "A.avi", "a_val.mp4", "..mp4", "x/y:z?.mp4", "b" * 200 + ".mp4")]
    names = name_clips(paths)
    assert names[:5] == ["a", "A_2", "a_val_2", "clip", "y_z"]
    taken = [name.casefold() for name in names] + [f"{name}_val".casefold() for name in names]
    assert len(set(taken)) == 12
    assert all(re.fullmatch(r"[\w.-]{1,64}", name) for name in names)


def test_a_file_is_decoded_once(video, tmp_path, monkeypatch):
    data = open_video(video, tmp_path)
    images = [data.image(f) for f in data.frames()]
    (made,) = (tmp_path / "cache").rglob("frames.npy")
    stamp = made.stat().st_mtime_ns
    with monkeypatch.context() as patch:
        patch.setattr(cache, "grab_frames", None)  # must not be called
        np.testing.assert_array_equal([open_video(video, tmp_path).image(f) for f in data.frames()], images)
    assert made.stat().st_mtime_ns == stamp
    for change in ({"video_step": 2}, {"crop_bottom": 0.5}, {"height": 12}):
        open_video(video, tmp_path, **change)
    assert len(list((tmp_path / "cache").iterdir())) == 4
    other = shutil.copy(video, tmp_path / "drive.avi")
    os.utime(other, (1e9, 1e9))
    open_video(other, tmp_path)
    assert len(list((tmp_path / "cache").iterdir())) == 5
    assert not list((tmp_path / "cache").rglob(".*"))


def test_a_damaged_or_missing_cache_is_made_again(video, tmp_path):
    data = open_video(video, tmp_path)
    frame, expected = data.frames()[3], data.image(data.frames()[3])
    (frames,), (about,) = ((tmp_path / "cache").rglob(name) for name in ("frames.npy", "about.json"))
    whole = frames.read_bytes()
    for path, content in ((frames, whole[:5000]), (frames, b"rubbish"), (frames, b""), (about, b"{"), (about, b"[]")):
        path.unlink()
        path.write_bytes(content)
        np.testing.assert_array_equal(open_video(video, tmp_path).image(frame), expected)
        assert frames.read_bytes() == whole
    shutil.rmtree(tmp_path / "cache")
    cache.map_frames.cache_clear()
    np.testing.assert_array_equal(data.image(frame), expected)


def test_a_stopped_program_leaves_no_half_cache(video, tmp_path, monkeypatch):
    def stop(image, size):
        if image.mean() > make_frames(8)[7].mean():
            raise KeyboardInterrupt
        return resize_image(image, size)

    with monkeypatch.context() as patch:
        patch.setattr(cache, "resize_image", stop)
        with pytest.raises(KeyboardInterrupt):
            open_video(video, tmp_path)
    (folder,) = (tmp_path / "cache").iterdir()
    assert not list(folder.iterdir())
    left = folder / ".frames.1.npy"  # of a process that was killed
    left.write_bytes(b"x")
    os.utime(left, (1e9, 1e9))
    open_video(video, tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == ["about.json", "frames.npy"]


def test_a_full_disk_is_noticed_before_the_work(video, tmp_path, monkeypatch):
    usage = SimpleNamespace(total=10**9, used=10**9, free=1000)
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(OSError, match=r"40 frames of drive\.avi at 24 x 32 need .* GB .* larger video_step"):
        open_video(video, tmp_path)
    assert not list((tmp_path / "cache").rglob("*.npy"))


def test_a_video_that_is_cut_short_is_read_to_the_damage(video, tmp_path):
    data = video.read_bytes()
    path = tmp_path / "cut.avi"
    path.write_bytes(data[: len(data) // 2])
    info = probe_video(path)
    assert 10 < info.frames < 30
    assert info.announced == 40
    assert re.search(rf"cut\.avi announces 40 frames, of which {info.frames} could be decoded: .* copy it", info.note)
    reader = open_video(path, tmp_path)
    assert len(reader.frames()) == info.frames == len([reader.image(f) for f in reader.frames()])
    assert reader.notes == [info.note]


def test_what_is_no_video_is_refused_in_one_sentence(tmp_path, video):
    cases = {
        "none.mp4": (FileNotFoundError, r"no video file or folder .*none\.mp4: correct `path`"),
        "empty.mp4": (ValueError, r"empty\.mp4 is empty \(0 bytes\): copy or record it again"),
        "text.mp4": (ValueError, r"text\.mp4 is not a video that OpenCV can decode.*convert it: ffmpeg -i text\.mp4"),
        "half.mp4": (ValueError, r"half\.mp4 is not a video .* cut short and lost its index"),
        "loop.mp4": (ValueError, r"loop\.mp4 is a link that leads in a circle: name the video file itself"),
        "picture.png": (ValueError, r"picture\.png is a single picture: name the folder of frames"),
        "nothing": (FileNotFoundError, r"no images and no video files in .*nothing: put frames or videos into it"),
        "outer": (FileNotFoundError, r"no images and .* in .*outer: it has folders, name one of them"),
        "mixed": (
            ValueError,
            r"mixed holds videos \(1\) and pictures \(1\): name one video file, or move one kind",
        ),
        "sizes": (ValueError, r"frames of different sizes, a1\.png of 48 x 64 and a10\.png of 24 x 32: a clip needs"),
        "broken": (ValueError, r"a2\.png is not a readable image"),
    }
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("no video" * 500)
    whole = write_video(tmp_path / "whole.mp4", make_frames(), codec="mp4v").read_bytes()
    (tmp_path / "half.mp4").write_bytes(whole[: len(whole) // 2])  # an mp4 has its index at its end
    (tmp_path / "loop.mp4").symlink_to(tmp_path / "loop.mp4")
    (tmp_path / "nothing").mkdir()
    (tmp_path / "outer" / "inner").mkdir(parents=True)
    write_video(tmp_path / "mixed" / "a.avi", make_frames(2))
    for name in ("picture.png", "mixed/a.png", "sizes/a1.png", "sizes/a2.png", "broken/a1.png"):
        write_image(tmp_path / name, make_frames(1)[0])
    write_image(tmp_path / "sizes" / "a10.png", make_frames(1, SIZE)[0])
    (tmp_path / "broken" / "a2.png").write_text("no image")
    for name, (kind, sentence) in cases.items():
        for read in (lambda path: next(read_video(path)), probe_video, lambda path: open_video(path, tmp_path)):
            with pytest.raises(kind, match=sentence):
                read(tmp_path / name)
    with pytest.raises(ValueError, match="path is empty: name a video file"):
        list_clips("")


def test_unreadable_folders_and_files_are_refused(tmp_path, monkeypatch, video):
    (tmp_path / "closed").mkdir()

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(ValueError, match=r"cannot read the folder .*closed: Permission denied"):
        list_clips(tmp_path / "closed")
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ValueError, match=r"cannot read .*drive\.avi: Permission denied; change its permissions"):
        list_clips(video)


def test_clips_that_are_too_short_or_cut_away_are_refused(tmp_path, video):
    with pytest.raises(ValueError, match=r"drive\.avi has 40 frames, of which video_step = 20 keeps 2: too short .* 3"):
        open_video(video, tmp_path, video_step=20)
    for crop in (0.9, 1.0, 1.5, -0.1):
        with pytest.raises(ValueError, match=rf"crop_bottom = {crop} leaves \d+ of the 48 rows of .*drive\.avi"):
            open_video(video, tmp_path, crop_bottom=crop)
    write_image(tmp_path / "two" / "1.png", make_frames(1)[0])
    write_image(tmp_path / "two" / "2.png", make_frames(1)[0])
    with pytest.raises(ValueError, match=r"two has 2 frames, .* too short for a clip"):
        open_video(tmp_path / "two", tmp_path)


@pytest.mark.real_data
def test_a_real_folder_of_frames_is_a_clip(tmp_path):
    root = Path(fixtures.real_params("kitti_odometry", (64, 96)).data_root)
    data = open_video(root / "kitti_odometry/sequences/04/image_2", tmp_path, keep_aspect=True, height=64, width=96)
    assert [len(clip) for clip in data.clips()] == [46, 5]
    assert data.image(data.frames()[0]).shape == (64, 96, 3)
