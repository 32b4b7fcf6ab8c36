"""What must not teach: halts and bonnets on generated and real video."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest

from lib.data import Frame, read_image
from lib.data.street import make_clip
from lib.data.video import Video
from lib.depth import Triplets, masks
from lib.params import DepthParams

from ..data import fixtures

SIZE = (64, 128)
HALT = ("val", 11, 12)  # comes to rest after 0.4 s


@cache
def street(split="train", index=3, frames=24):
    return make_clip(split, index, frames, *SIZE)


def in_threes(count):
    return np.arange(count - 2)[:, None] + np.arange(3)


def rests(clip):
    """Triplets between whose frames the camera's centre does not move."""
    centres = np.linalg.inv(clip.camera_from_world)[:, :3, 3]
    ways = np.linalg.norm(np.diff(centres, axis=0), axis=1)
    return np.maximum(ways[:-1], ways[1:]) < 1e-6


def add_noise(images, levels, seed=0):
    noise = np.random.default_rng(seed).normal(0, levels, images.shape)
    return np.clip(np.round(images + noise), 0, 255).astype(np.uint8)


def drive_through(images, share=0.1):
    """A car with windows passes from left to right, which covers `share` of the image."""
    height, width = int(images.shape[1] * 0.5), int(images.shape[2] * 2 * share)
    pattern = np.random.default_rng(1).integers(0, 256, (4, 8, 3), dtype=np.uint8)
    car, out = cv2.resize(pattern, (width, height), interpolation=cv2.INTER_NEAREST), images.copy()
    for t, image in enumerate(out):
        left = round((images.shape[2] - width) * t / (len(out) - 1))
        image[-height - 6 : -6, left : left + width] = car
    return out


def triplets_of(images):
    count = len(images) - 2
    return Triplets(
        images,
        in_threes(len(images)),
        np.arange(count * 9, dtype=np.float32).reshape(count, 3, 3),
        np.arange(count) % 2 == 0,
        np.zeros(count, int),
    )


# halts


@pytest.mark.parametrize("change", [lambda i: i, lambda i: add_noise(i, 4), drive_through])
def test_a_halt_is_found_in_spite_of_noise_and_passing_cars(change):
    clip = street(*HALT)
    truth = rests(clip)
    assert 4 < truth.sum() < len(truth), "the clip must show both"
    found = masks.find_still(change(clip.images), in_threes(12), masks.MIN_CHANGE)
    assert found[truth].all()
    assert not found[0], "it still rolls there"


def test_a_halt_is_found_while_the_exposure_changes():
    images = street(*HALT).images[5:]
    gain = 1 + 0.03 * np.sin(np.arange(len(images)))[:, None, None, None]
    flickers = np.clip(np.round(images * gain), 0, 255).astype(np.uint8)
    assert masks.find_still(flickers, in_threes(7), masks.MIN_CHANGE).all()


@pytest.mark.parametrize("levels", [0, 4])
def test_driving_is_no_halt(levels):
    assert not masks.find_still(add_noise(street().images, levels), in_threes(24), masks.MIN_CHANGE).any()


def test_noise_alone_is_no_change():
    """Independent noise of 4 grey levels changes cells of 4 x 4 pixels by 0.0046 at this quantile: it is taken off."""
    gray = np.full(SIZE, 120, np.uint8)
    a, b = add_noise(gray, 4, 1), add_noise(gray, 4, 2)
    assert masks.measure_change(gray, gray) == 0
    assert masks.measure_change(a, b) < 0.002
    blobs = cv2.GaussianBlur(np.random.default_rng(0).integers(60, 200, SIZE, dtype=np.uint8), (5, 5), 2)
    assert masks.measure_change(blobs, np.roll(blobs, 2, 1)) > 0.01


class Reads(list):
    """Images that are read when asked for, and how many at once at most."""

    most = 0

    def __getitem__(self, rows):
        if np.ndim(rows) == 0:
            return super().__getitem__(rows)
        self.most = max(self.most, len(rows))
        return np.stack([super(Reads, self).__getitem__(i) for i in rows])


def test_frames_are_read_in_batches():
    images, members = street().images, in_threes(24)[::-1]
    reads = Reads(images)
    lazy = masks.measure_changes(reads, members, batch=4)
    assert reads.most == 6
    np.testing.assert_array_equal(lazy, masks.measure_changes(images, members))
    for row in (0, 9):
        gray = [cv2.cvtColor(images[i], cv2.COLOR_RGB2GRAY) for i in members[row]]
        assert lazy[row] == max(masks.measure_change(*gray[:2]), masks.measure_change(*gray[1:]))


def test_triplets_at_rest_are_dropped_with_all_that_belongs_to_them():
    triplets = triplets_of(street(*HALT).images)
    still = masks.find_still(triplets.images, triplets.members, masks.MIN_CHANGE)
    left, dropped = masks.drop_still(triplets, masks.MIN_CHANGE)
    assert dropped == still.sum() > 0
    assert left.images is triplets.images
    for name in ("members", "intrinsics", "focal_is_learned", "part"):
        np.testing.assert_array_equal(getattr(left, name), getattr(triplets, name)[~still])
    assert masks.drop_still(triplets, 0.0) == (triplets, 0)
    with pytest.raises(
        ValueError, match=r"all 10 triplets show a camera at rest: .* min_change = 0.9; make it smaller"
    ):
        masks.drop_still(triplets, 0.9)


@pytest.mark.real_data
@pytest.mark.parametrize("folder", ["kitti_odometry/sequences/00/image_0", "camvid/val"])
def test_real_drives_are_no_halt(folder):
    images = real_frames(folder, (96, 320) if "kitti" in folder else (96, 128), 60)
    assert not masks.find_still(images, in_threes(len(images)), masks.MIN_CHANGE).any()


# bonnets


def real_frames(folder, size, count, pattern="*"):
    root = fixtures.find_real_data(folder.split("/")[0])
    paths = sorted((root.parent / folder).glob(pattern)) if root else []
    if not paths:
        pytest.skip(f"no real data: set DATA_ROOT to a folder with {folder}/")
    return np.stack([read_image(path, size) for path in paths[:count]])


def paint_bonnet(images, share, reflection=0.0):
    """A textured bonnet, highest in the middle, that mirrors the scene; and where it is."""
    height, width = images.shape[1:3]
    rows, columns = np.mgrid[:height, :width]
    above = rows - height * (1 - share) - (2 * columns / width - 1) ** 2 * height * share * 0.7
    grain = np.random.default_rng(0).normal(0, 10, (height // 4, width // 4)).astype(np.float32)
    paint = (60 + 30 * above / (height * share) + cv2.resize(grain, (width, height)))[..., None]
    inside = np.clip(above, 0, 1)[..., None]
    mirrored = [cv2.GaussianBlur(image[::-1], (31, 31), 0) for image in images]
    drawn = [i * (1 - inside) + inside * (paint + reflection * (m - paint)) for i, m in zip(images, mirrored)]
    return add_noise(np.stack(drawn), 2), above >= 0.5


def overlap(a, b):
    return (a & b).sum() / (a | b).sum()


@pytest.mark.parametrize(("share", "reflection"), [(0.2, 0.0), (0.2, 0.2), (0.3, 0.1)])
def test_a_painted_bonnet_is_found(share, reflection):
    large = np.stack([cv2.resize(image, (256, 128)) for image in street().images])
    drawn, truth = paint_bonnet(large, share, reflection)
    found = masks.find_bonnet(drawn)
    assert found.dtype == bool
    assert overlap(found, truth) >= 0.9
    assert (np.diff(found.astype(int), axis=0) >= 0).all(), "it reaches the lower border everywhere"
    both = np.concatenate([street(*HALT).images[:1].repeat(5, 0), street().images])
    mixed = np.stack([cv2.resize(image, (256, 128)) for image in both])
    mixed[5:] = drawn
    np.testing.assert_array_equal(masks.find_bonnet(mixed, rows=np.arange(5, len(mixed))), found)


def test_there_is_no_bonnet_on_plain_streets():
    assert not masks.find_bonnet(street().images).any()
    with pytest.raises(ValueError, match="5 frames are too few to find a bonnet in"):
        masks.find_bonnet(street().images[:5])


@pytest.mark.real_data
def test_bonnets_of_real_cameras():
    assert not masks.find_bonnet(real_frames("kitti_odometry/sequences/00/image_0", (96, 320), 60)).any()
    assert not masks.find_bonnet(real_frames("camvid/train", (96, 128), 60, "0006R0*")).any()
    found = masks.find_bonnet(real_frames("camvid/train", (96, 128), 62, "0001TP*"))  # at the lower right
    assert 0.02 < found.mean() < 0.1
    assert found[-4:, -10:].all()


def whole(shape):
    return slice(0, shape[0]), slice(0, shape[1])


def test_what_must_not_teach_is_left_out_by_parameter(tmp_path, monkeypatch):
    clip = street(*HALT)
    triplets, drawn = triplets_of(clip.images), np.zeros((*SIZE, 3), np.uint8)
    same, said = masks.leave_out(DepthParams(), triplets)
    assert len(same) == len(triplets)
    assert same.bonnets == (None,)
    assert said == "left out: no halt was looked for; no bonnet was looked for"
    fewer, said = masks.leave_out(DepthParams(min_change=masks.MIN_CHANGE), triplets)
    assert len(fewer) < len(triplets)
    assert f"{len(triplets) - len(fewer)} triplets of a camera at rest" in said
    drawn[-16:] = 255
    cv2.imwrite(str(tmp_path / "bonnet.png"), drawn)
    monkeypatch.setattr("lib.depth.masks.open_dataset", lambda params, name: WholeFrames())
    masked, said = masks.leave_out(DepthParams(bonnet=str(tmp_path / "bonnet.png")), triplets)
    assert masked.bonnets[0].sum() == 16 * SIZE[1]
    assert "street 25%" in said
    plain, said = masks.leave_out(DepthParams(find_bonnet=True), triplets_of(street().images))
    assert not plain.bonnets[0].any()
    assert "street 0%" in said


class WholeFrames:
    """A data set of which whole images are used; its frames are in memory, or one file."""

    name, size = "street", SIZE

    def __init__(self, path=None):
        self.path = path

    def window(self, shape):
        return slice(0, shape[0]), slice(0, shape[1])

    def frames(self):
        return [Frame("a/0", "a", "train")]

    def image_path(self, frame):
        return self.path


def write(path, shape):
    """An image, black but for its lower quarter."""
    image = np.zeros((*shape, 3), np.uint8)
    image[3 * shape[0] // 4 :] = 255
    cv2.imwrite(str(path), image)
    return str(path)


def test_a_drawn_bonnet_must_be_there_and_belong_to_a_clip(tmp_path, monkeypatch):
    triplets, opened = triplets_of(street(*HALT).images), lambda params, name: WholeFrames()
    with pytest.raises(FileNotFoundError, match="missing file: .*none.png"):
        masks.leave_out(DepthParams(dataset="camvid", bonnet=str(tmp_path / "none.png")), triplets)
    drawn = write(tmp_path / "bonnet.png", SIZE)
    text = "bonnet.png belongs to the data set camvid, but learned from are only the clips street: name a clip of"
    with pytest.raises(ValueError, match=text):
        masks.leave_out(DepthParams(dataset="camvid", bonnet=drawn), triplets)
    monkeypatch.setattr("lib.depth.masks.open_dataset", opened)
    short = DepthParams(dataset="kitti_raw", clips=("street", "kitti_raw:short"), bonnet=drawn)
    with pytest.raises(ValueError, match="learned from are only the clips street, kitti_raw:short"):
        masks.leave_out(short, triplets)  # which gave no triplet
    both, said = masks.leave_out(DepthParams(clips=("street", "kitti_raw"), bonnet=drawn), triplets)
    assert both.bonnets[0].mean() == 0.25
    assert said.endswith("bonnet, of the image: street 25%")


def test_a_drawn_bonnet_is_compared_with_the_stored_frames(tmp_path, monkeypatch):
    """A screenshot of a film is no picture of KITTI's camera, whatever is black in it."""
    triplets, frame = triplets_of(street(*HALT).images), write(tmp_path / "frame.png", (375, 1242))
    monkeypatch.setattr("lib.depth.masks.open_dataset", lambda params, name: WholeFrames(Path(frame)))
    with pytest.raises(ValueError, match="has 1080 x 1920 pixels, the frames 375 x 1242: draw the bonnet on one of"):
        masks.leave_out(DepthParams(bonnet=write(tmp_path / "film.png", (1080, 1920))), triplets)
    cv2.imwrite(str(tmp_path / "black.png"), np.zeros((1080, 1920), np.uint8))
    with pytest.raises(ValueError, match="has 1080 x 1920 pixels, the frames 375 x 1242"):
        masks.leave_out(DepthParams(bonnet=str(tmp_path / "black.png")), triplets)
    assert masks.leave_out(DepthParams(bonnet=frame), triplets)[0].bonnets[0].mean() == pytest.approx(0.25, abs=0.01)


def test_a_drawn_bonnet_is_compared_with_the_frames_of_a_film(tmp_path, monkeypatch):
    writer = cv2.VideoWriter(str(tmp_path / "drive.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (192, 64))
    for image in street(*HALT).images:
        writer.write(cv2.resize(image, (192, 64)))
    writer.release()
    values = DepthParams(dataset="video", clips=("video",), path=str(tmp_path / "drive.avi"))
    film = Video(values, cache=tmp_path / "cache")
    assert film.size == SIZE
    monkeypatch.setattr("lib.depth.masks.open_dataset", lambda params, name: film)
    triplets = triplets_of(street(*HALT).images)
    with pytest.raises(ValueError, match="has 64 x 128 pixels, the frames 64 x 192"):
        masks.leave_out(replace(values, bonnet=write(tmp_path / "wrong.png", SIZE)), triplets)
    kept, _ = masks.leave_out(replace(values, bonnet=write(tmp_path / "right.png", (64, 192))), triplets)
    assert kept.bonnets[0].mean() == 0.25


def test_a_drawn_bonnet_goes_through_the_window_of_the_frames(tmp_path):
    image = np.zeros((40, 80, 3), np.uint8)
    image[30:, 20:60] = 255
    path = tmp_path / "bonnet.png"
    cv2.imwrite(str(path), image)
    mask = masks.read_bonnet(path, (20, 40), whole, stored=(400, 800))
    truth = np.zeros((20, 40), bool)
    truth[15:, 10:30] = True
    np.testing.assert_array_equal(mask, truth)
    lower = masks.read_bonnet(path, (10, 20), lambda shape: (slice(20, 40), slice(20, 60)))
    np.testing.assert_array_equal(lower, np.arange(10)[:, None] + np.zeros((1, 20)) >= 5)
    cv2.imwrite(str(path), image[..., 0] // 255)  # ids 0 and 1 are a mask too
    np.testing.assert_array_equal(masks.read_bonnet(path, (20, 40), whole), truth)


def test_a_drawn_bonnet_that_cannot_be_one_is_refused(tmp_path):
    path = tmp_path / "bonnet.png"
    for value, text in ((0, "all is black"), (255, "nothing is black")):
        cv2.imwrite(str(path), np.full((40, 80), value, np.uint8))
        with pytest.raises(ValueError, match=text):
            masks.read_bonnet(path, (20, 40), whole)
    with pytest.raises(ValueError, match=r"has 40 x 80 pixels, the frames 60 x 80: draw the bonnet on one of the"):
        masks.read_bonnet(path, (20, 40), whole, stored=(60, 80))
    with pytest.raises(FileNotFoundError, match="missing file"):
        masks.read_bonnet(tmp_path / "none.png", (20, 40), whole)
