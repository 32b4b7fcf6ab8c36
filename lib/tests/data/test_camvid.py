"""CamVid's folds, clips and labels; errors."""

import cv2
import numpy as np
import pytest

from lib.data.camvid import CamVid
from lib.data.labels import CAMVID_11

from . import fixtures
from .fixtures import CAMVID_FROM_STREET, clip, params, write_camvid, write_image


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("camvid")
    write_camvid(folder)
    return folder


@pytest.mark.parametrize(("fold", "drive"), enumerate(["0006R0", "0001TP", "0016E5"]))
def test_the_scored_drive_is_never_trained_on_nor_named_on(root, fold, drive):
    data = CamVid(params(root, fold=fold))
    assert len(data.frames()) == 23
    for frame in data.frames():
        assert (frame.split == "test") == frame.id.startswith(drive)
        assert frame.labelled
    named, trained = (({f.id for f in data.frames(split)}) for split in ("val", "train"))
    assert named
    assert not named & trained
    assert len(named) == 12 // 5  # every fifth of the two other drives' 12 single frames


def test_only_the_15_hz_part_is_video(root):
    data = CamVid(params(root))
    (video,) = data.clips(shortest=2)
    assert [f.id for f in video] == [f"0016E5_{n:05d}" for n in range(7959, 7969, 2)]
    assert [f.time for f in video] == pytest.approx([i / 15 for i in range(5)])
    assert {f.split for f in video} == {"train"}
    assert len(data.clips()) == 19
    assert not CamVid(params(root, fold=2)).clips("train", shortest=2)


def test_fold_3_is_the_split_by_folder(root):
    data = CamVid(params(root, fold=3))
    assert [len(data.frames(split)) for split in ("train", "val", "test")] == [18, 5, 0]
    for folder in ("test", "testannot"):
        (root / "camvid" / folder).mkdir()
        image = clip().images[0] if folder == "test" else np.zeros(fixtures.SIZE, np.uint8)
        write_image(root / "camvid" / folder / "Seq05VD_f00000.png", image)
    assert [f.id for f in CamVid(params(root, fold=3)).frames("test")] == ["Seq05VD_f00000"]
    assert len(CamVid(params(root)).frames()) == 23  # the fourth drive is in no fold


def test_images_labels_and_camera(root):
    data = CamVid(params(root, size=(32, 64)))
    frame = next(f for f in data.frames() if f.id == "0016E5_07961")
    assert data.image(frame).shape == (32, 64, 3)
    rows, columns = (np.arange(32) * 3 + 1) // 2, (np.arange(64) * 3 + 1) // 2  # the old pixel under each new centre
    street = clip().labels[1][rows[:, None], columns]
    expected = np.vectorize(CAMVID_FROM_STREET.get)(street)
    np.testing.assert_array_equal(data.labels(frame), np.where(expected == 11, 255, expected))
    focal = 240 / np.tan(np.radians(30))  # of the 480 x 360 image
    np.testing.assert_allclose(np.diag(frame.intrinsics), [focal * 64 / 480, focal * 32 / 360, 1])
    np.testing.assert_allclose(frame.intrinsics[:2, 2], [31.5, 15.5])
    assert not any(f.calibrated for f in data.frames())
    (unknown, *_) = CamVid(params(root, size=(32, 64), field_of_view=0.0)).frames()
    assert unknown.intrinsics[0, 0] == pytest.approx(240 / np.tan(np.radians(35)) * 64 / 480)


def test_images_of_another_size_are_read_whole(tmp_path):
    """The original release is 960 x 720: not its upper left quarter."""
    stems = write_camvid(tmp_path, singles=1)
    for path in (tmp_path / "camvid").rglob("*.png"):
        assert cv2.imwrite(str(path), cv2.imread(str(path), cv2.IMREAD_UNCHANGED).repeat(10, 0).repeat(10, 1))
    data = CamVid(params(tmp_path))
    for frame in data.frames():
        np.testing.assert_array_equal(data.image(frame), clip().images[stems[frame.id]])
        street = np.vectorize(CAMVID_FROM_STREET.get)(clip().labels[stems[frame.id]])
        np.testing.assert_array_equal(data.labels(frame), np.where(street == 11, 255, street))


def test_errors_name_the_file_and_where_to_get_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder .*camvid.*SegNet"):
        CamVid(params(tmp_path))
    write_camvid(tmp_path)
    base, stem = tmp_path / "camvid", "0006R0_f00930"
    data = CamVid(params(tmp_path))
    (frame,) = (f for f in data.frames() if f.id == stem)
    write_image(base / "trainannot" / f"{stem}.png", np.zeros((24, 48), np.uint8))
    with pytest.raises(ValueError, match=r"f00930\.png is \(24, 48\), but its image \(48, 96\)"):
        data.labels(frame)
    write_image(base / "trainannot" / f"{stem}.png", np.full(fixtures.SIZE, 12, np.uint8))
    with pytest.raises(ValueError, match=r"f00930\.png: label values \[12\] are no train ids of CamVid 11"):
        data.labels(frame)
    (base / "trainannot" / f"{stem}.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"f00930\.png has no label .*trainannot.*SegNet"):
        CamVid(params(tmp_path))
    for path in (base / "train").glob("*"):
        path.unlink()
    with pytest.raises(FileNotFoundError, match=r"no images .*train.*SegNet"):
        CamVid(params(tmp_path))


@pytest.mark.real_data
def test_real_camvid_has_three_drives():
    sizes = []
    for fold in range(3):
        data = CamVid(fixtures.real_params("camvid", (96, 128), fold=fold))
        sizes.append(len([f for f in data.frames("test") if "Seq05VD" not in f.id]))
        assert set(np.unique(data.labels(data.frames("val")[0]))) <= {*CAMVID_11.ids, 255}
    assert sizes[0] == 101
    assert sizes[1] >= 62
    assert sizes[2] == 305
    (video,) = data.clips(shortest=2)
    assert len(video) == 101
    assert video[-1].time == pytest.approx(6.67, abs=0.01)


def test_blocks_are_twenty_seconds_of_one_drive(root):
    data = CamVid(params(root))
    for a in data.frames():
        for b in data.frames():
            same = data.block(a) == data.block(b)
            (drive_a, number_a), (drive_b, number_b) = (f.id.replace("_f", "_").split("_") for f in (a, b))
            assert same == (drive_a == drive_b and int(number_a) // 600 == int(number_b) // 600)
