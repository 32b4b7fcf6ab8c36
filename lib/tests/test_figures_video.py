"""Videos written frame by frame, and what is drawn into their frames."""

import cv2
import numpy as np
import pytest

from lib.data.labels import CITYSCAPES_19, IGNORE
from lib.data.video import read_video
from lib.figures import color_depth
from lib.figures import video as draw
from lib.figures.video import VideoFile

SIZE = (49, 65)


def make_frames(count: int = 6) -> np.ndarray:
    """Smooth pictures, the left half red, the right half blue, brighter with time."""
    frames = np.zeros((count, *SIZE, 3), np.uint8)
    for t in range(count):
        frames[t, :, :32, 0], frames[t, :, 32:, 2] = 100 + 20 * t, 220 - 20 * t
    return frames


def write(path, frames, **more):
    with VideoFile(path, 12.5, SIZE, **more) as video:
        for frame in frames:
            video.write(frame)


@pytest.mark.parametrize("codecs", [draw.CODECS, ("mp4v",)])
def test_a_video_is_read_back_as_it_was_written(tmp_path, codecs):
    path = tmp_path / "new folder" / "drive.mp4"
    write(path, make_frames(), codecs=codecs)
    indices, times, images = zip(*read_video(path))
    assert indices == tuple(range(6))
    np.testing.assert_allclose(times, np.arange(6) / 12.5, atol=1e-3)
    assert images[0].shape == (48, 64, 3)  # even: the last row and column are cut off
    inner = (slice(4, 44), np.r_[4:28, 36:60])
    for image, frame in zip(images, make_frames()):
        assert np.abs(image[inner].astype(int) - frame[inner]).mean() < 8
    capture = cv2.VideoCapture(str(path))
    code = int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little")
    assert code in ((b"VP90", b"vp09") if codecs == draw.CODECS else (b"FMP4", b"mp4v"))
    assert [p.name for p in path.parent.iterdir()] == ["drive.mp4"]


def test_an_error_leaves_what_was_there(tmp_path):
    path = tmp_path / "drive.mp4"
    path.write_bytes(b"an older video")

    def fail():
        with VideoFile(path, 10, SIZE) as video:
            video.write(make_frames()[0])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    with pytest.raises(ValueError, match=r"drive\.mp4: no frame was written, so there is no video"):
        write(path, [])
    with pytest.raises(ValueError, match=r"frame 1 is \(20, 65, 3\) uint8, the video is \(49, 65, 3\) uint8"):
        write(path, [make_frames()[0], make_frames()[0][:20]])
    assert path.read_bytes() == b"an older video"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_killed_program_leaves_no_file_under_the_name(tmp_path):
    path = tmp_path / "drive.mp4"
    with VideoFile(path, 10, SIZE, codecs=("mp4v",)) as video:
        for frame in make_frames():
            video.write(frame)
            assert not path.exists()  # so nothing is there when the program stops now
    assert path.exists()


def test_a_disk_that_fills_up_is_noticed(tmp_path, monkeypatch):
    class Silent:
        def __init__(self, *_):
            pass

        def isOpened(self):
            return True

        def write(self, _):
            pass

        def release(self):
            pass

    monkeypatch.setattr(draw.cv2, "VideoWriter", Silent)
    with pytest.raises(OSError, match=r"drive\.mp4 holds 0 of 6 frames: is the disk full\?"):
        write(tmp_path / "drive.mp4", make_frames())
    monkeypatch.setattr(Silent, "isOpened", lambda _: False)
    with pytest.raises(OSError, match=r"OpenCV cannot write .*drive\.mp4 as vp09 or mp4v"):
        write(tmp_path / "drive.mp4", make_frames())
    assert not list(tmp_path.iterdir())


def test_what_cannot_become_a_video_is_refused_before_the_work(tmp_path):
    with pytest.raises(ValueError, match=r"drive\.avi: a video is written as \.mp4"):
        VideoFile(tmp_path / "drive.avi", 10, SIZE)
    for rate, size in ((0, SIZE), (float("nan"), SIZE), (10, (1, 64))):
        with pytest.raises(ValueError, match="are no video"):
            VideoFile(tmp_path / "drive.mp4", rate, size)


def test_labels_are_laid_over_the_image():
    image, colors = np.full((8, 12, 3), 100, np.uint8), CITYSCAPES_19.color_table()
    labels = np.array([[0, 0, IGNORE], [13, 13, IGNORE]], np.uint8)  # enlarged four times
    drawn = draw.overlay_labels(image, labels, colors, opacity=0.25, outline=False)
    np.testing.assert_array_equal(drawn[:, 8:], image[:, 8:])
    np.testing.assert_array_equal(drawn[0, 0], (75 + colors[0] / 4).astype(np.uint8))
    np.testing.assert_array_equal(drawn[7, 7], (75 + colors[13] / 4).astype(np.uint8))
    outlined = draw.overlay_labels(image, labels, colors, opacity=0.25)
    np.testing.assert_array_equal(outlined[4, :8], np.tile(colors[13], (8, 1)))
    np.testing.assert_array_equal(outlined[:, 8:], image[:, 8:])
    np.testing.assert_array_equal(outlined[5:, :7], drawn[5:, :7])
    np.testing.assert_array_equal(image, 100)
    with pytest.raises(ValueError, match=r"opacity must lie in 0\.\.1, not 2"):
        draw.overlay_labels(image, labels, colors, opacity=2)


def test_one_range_for_the_whole_video_does_not_flicker():
    rng = np.random.default_rng(0)
    maps = [rng.uniform(0.01, near, (20, 30)) for near in (0.5, 1.0, 2.0)]
    maps[0][:3], maps[1][:3] = 0, np.nan
    nearest = draw.find_nearest(maps)
    assert 1.0 < nearest < 2.0
    wall = np.full((4, 4), 0.3)
    for other in maps:  # the same distance has the same colour whatever else is in the frame
        both = np.concatenate([wall, other[3:7, :4]])
        np.testing.assert_array_equal(
            draw.color_inverse_depth(both, nearest)[:4], draw.color_inverse_depth(wall, nearest)
        )
    np.testing.assert_array_equal(draw.color_inverse_depth(maps[0], nearest), color_depth(maps[0], nearest))
    assert (draw.color_inverse_depth(maps[0], nearest)[:3] == 128).all()
    assert draw.find_nearest([]) == draw.find_nearest([np.zeros((2, 2))]) == 1.0


def test_the_legend_has_every_colour_and_fits_the_width():
    colors = np.array(CITYSCAPES_19.colors, np.uint8)
    for width in (640, 200):
        legend = draw.draw_legend(CITYSCAPES_19.names, colors, width)
        assert legend.shape[1:] == (width, 3)
        for color in colors:
            assert (legend == color).all(-1).sum() >= 100
    assert draw.draw_legend(CITYSCAPES_19.names, colors, 640).shape[0] < legend.shape[0]
