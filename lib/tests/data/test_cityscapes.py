"""Cityscapes' layout: every product against the truth it was written from; clips, cameras; the real sample."""

import shutil

import numpy as np
import pytest

from lib.data import find_window, read_map
from lib.data.cityscapes import HELP, TYPICAL_CAMERA, Cityscapes
from lib.data.labels import CITYSCAPES_7, CITYSCAPES_27
from lib.data.prepared import Prepared, need_video
from lib.intrinsics import crop_intrinsics, resize_intrinsics

from . import fixtures
from .fixtures import SIZE, params, write_image
from .layouts import CITYSCAPES_BASELINE, LABEL_IDS, VOID, convert, shoot, write_cityscapes

GROUPS = {  # Cityscapes' seven categories
    "flat": (0, 1), "construction": (2, 3, 4), "object": (5, 6, 7), "nature": (8, 9), "sky": (10,),
    "human": (11, 12), "vehicle": (13, 14, 15, 16, 17, 18),
}  # fmt: skip


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cityscapes")
    return folder, write_cityscapes(folder, coarse=True)


def read(written, **more):
    return Cityscapes(params(written[0], **more))


def test_a_snippet_is_a_clip_at_17_hz_with_one_annotated_frame(written):
    data = read(written)
    assert [len(data.frames(split)) for split in ("train", "val", "test")] == [20, 3, 0]
    snippets = data.clips("train")
    assert [len(clip) for clip in snippets] == [5] * 4
    assert [f.id for f in snippets[1]] == [f"aachen_000001_{n:06d}" for n in range(17, 22)]
    for clip in snippets:
        assert [f.time for f in clip] == pytest.approx([n / 17 for n in range(5)])
        assert [f.labelled for f in clip] == [False, False, True, False, False]
    assert all(len(clip) == 1 and clip[0].labelled for clip in data.clips("val"))
    assert {f.clip for f in data.frames("val")} == {f"{c}_000019" for c in ("frankfurt_000000", "frankfurt_000001")} | {
        "munster_000000_000019"
    }
    blocks = [data.block(f) for f in data.frames("val")]
    assert sorted(blocks) == ["frankfurt_0_0", "frankfurt_0_0", "munster_0_0"], "20 s of a city, for intervals"


def test_without_sequences_only_annotated_frames_are_read(written):
    data = read(written, sequences=False)
    assert all(f.labelled for f in data.frames())
    assert len(data.frames()) == 7
    assert all(data.image_path(f).parent.parent.parent.name == "leftImg8bit" for f in data.frames())


def test_images_and_19_classes_are_the_true_ones(written):
    data = read(written)
    seen = set()
    for frame in data.frames():
        truth = written[1][frame.id]
        np.testing.assert_array_equal(data.image(frame), truth.image)
        if frame.labelled:
            np.testing.assert_array_equal(data.labels(frame), truth.labels)
            seen |= set(np.unique(truth.labels).tolist())
        else:
            assert data.labels(frame) is data.instances(frame) is data.depth(frame) is None
    assert seen == {*range(19), VOID}  # the fixture tries every row of the table


def test_27_and_7_classes_follow_the_names(written):
    truths = {f.id: written[1][f.id].labels for f in read(written).frames(labelled=True)}
    fine, coarse = read(written, label_set="27"), read(written, label_set="7")
    assert (fine.classes, coarse.classes) == (CITYSCAPES_27, CITYSCAPES_7)
    for train_id, name in enumerate(read(written).classes.names):
        (group,) = (i for i, members in enumerate(GROUPS.values()) if train_id in members)
        for frame in fine.frames(labelled=True):
            here = truths[frame.id] == train_id
            assert (fine.labels(frame)[here] == CITYSCAPES_27.names.index(name)).all()
            assert (coarse.labels(frame)[here] == CITYSCAPES_7.names.index(list(GROUPS)[group])).all()
            assert ((fine.labels(frame) == VOID) == (truths[frame.id] == VOID)).all()


def test_instances_are_the_counted_things_and_nothing_else(written):
    data = read(written)
    for frame in data.frames(labelled=True):
        truth, ids = written[1][frame.id], data.instances(frame)
        assert ids.dtype == np.uint16
        np.testing.assert_array_equal(ids > 0, truth.things > 0)  # neither ground nor crowds
        pairs = {*zip(ids.ravel().tolist(), truth.things.ravel().tolist())}
        assert len({a for a, _ in pairs}) == len(pairs) == len({b for _, b in pairs})  # one to one
        counted = ids > 0
        np.testing.assert_array_equal(ids[counted] // 1000, convert(truth.labels, LABEL_IDS)[counted])


def test_disparity_becomes_true_depth_to_half_a_step(written):
    data = read(written)
    for frame in data.frames(labelled=True):
        truth, depth = written[1][frame.id], data.depth(frame)
        factor = CITYSCAPES_BASELINE * truth.intrinsics[0, 0]
        assert (depth[:, 0] == 0).all()  # nothing measured
        assert (depth[~np.isfinite(truth.depth)] == 0).all()
        measured = depth > 0
        assert measured.mean() > 0.5
        assert np.abs(factor / depth[measured] - factor / truth.depth[measured]).max() <= 0.5 / 256 + 1e-5


def test_depth_does_not_depend_on_the_size_it_is_read_at(written):
    whole, half = read(written), read(written, size=(24, 48))
    for a, b in zip(whole.frames("val"), half.frames("val")):
        np.testing.assert_allclose(half.depth(b), whole.depth(a)[1::2, 1::2], rtol=1e-6)


@pytest.mark.parametrize(
    ("size", "more"),
    [(SIZE, {}), ((24, 48), {}), ((32, 32), {"keep_aspect": True}), ((32, 96), {"crop_bottom": 0.25})],
)
def test_calibrations_follow_resize_and_crop(written, size, more):
    data = read(written, size=size, **more)
    rows, columns = find_window(SIZE, size, data.keep_aspect, data.crop_bottom)
    for frame in data.frames():  # one file serves all frames of a snippet
        matrix = written[1][frame.id].intrinsics
        cut = crop_intrinsics(matrix, rows.start, columns.start)
        expected = resize_intrinsics(cut, (rows.stop - rows.start, columns.stop - columns.start), size)
        np.testing.assert_allclose(frame.intrinsics, expected, atol=1e-9)
        assert data.image(frame).shape == (*size, 3)


def test_coarse_annotations_add_train_extra(written):
    fine, coarse = read(written, sequences=False), read(written, sequences=False, annotations="coarse")
    more = {f.id for f in coarse.frames()} - {f.id for f in fine.frames()}
    assert more == {"augsburg_000000_000019"}
    (frame,) = (f for f in coarse.frames("train") if f.id in more)
    np.testing.assert_array_equal(coarse.labels(frame), written[1][frame.id].labels)
    for frame in coarse.frames():
        assert "gtCoarse" in str(coarse._files[frame.id].labels)


def test_anything_but_images_may_be_missing(tmp_path):
    write_cityscapes(tmp_path, {"train": {"aachen": 1}, "val": {"munster": 1}}, around=1)
    base = tmp_path / "cityscapes"
    for folder in ("camera", "disparity", "gtFine/train", "leftImg8bit/val"):
        shutil.rmtree(base / folder)
    (instances,) = base.rglob("*instanceIds.png")
    instances.unlink()
    data = Cityscapes(params(tmp_path))
    assert not data.frames("val")
    assert not data.frames(labelled=True)
    fx, fy, cx, cy = TYPICAL_CAMERA
    sy, sx = SIZE[0] / 1024, SIZE[1] / 2048
    expected = [[fx * sx, 0, (cx + 0.5) * sx - 0.5], [0, fy * sy, (cy + 0.5) * sy - 0.5], [0, 0, 1]]
    np.testing.assert_allclose(data.frames()[0].intrinsics, expected)
    frame = data.frames()[1]
    assert data.labels(frame) is data.instances(frame) is data.depth(frame) is data.camera_from_world(frame) is None


@pytest.mark.parametrize("left", ["nothing", "folder", "video"])
def test_without_video_images_are_read_and_the_reader_says_what_is_missing(tmp_path, left, capsys):
    write_cityscapes(tmp_path, {"train": {"aachen": 1}, "val": {"munster": 1}}, around=1)
    base = tmp_path / "cityscapes"
    if left != "video":
        shutil.rmtree(base / "leftImg8bit_sequence")
    if left == "folder":
        (base / "leftImg8bit_sequence" / "train" / "aachen").mkdir(parents=True)
    data = Prepared(Cityscapes(params(tmp_path)), 1, tmp_path / "cache")
    assert len(data.frames(labelled=True)) == 2
    assert capsys.readouterr().out == ""
    if left == "video":
        assert data._dataset.no_video == ""
        need_video(data, 3, "cityscapes")
        return
    with pytest.raises(ValueError) as caught:
        need_video(data, 3, "cityscapes")
    kind = {"nothing": "no", "folder": "no images in"}[left]
    missing = f"{kind} leftImg8bit_sequence/train below {base}: depth cannot be learned from these frames"
    expected = f"{missing}; get leftImg8bit_sequence_trainvaltest. {HELP}"
    assert str(caught.value) == f"cityscapes has no clip of 3 frames to learn from: {expected}"


def test_video_that_is_switched_off_is_not_missing(tmp_path):
    write_cityscapes(tmp_path, {"train": {"aachen": 1}}, around=1)
    with pytest.raises(ValueError, match="to learn from: sequences is off.*: set sequences = true"):
        need_video(Cityscapes(params(tmp_path, sequences=False)), 3, "cityscapes")
    with pytest.raises(ValueError, match="no clip of 5 frames to learn from: name longer videos .* smaller. Get "):
        need_video(Cityscapes(params(tmp_path)), 5, "cityscapes")


def test_a_gap_begins_a_new_clip_and_jpg_sequences_are_read(tmp_path):
    write_cityscapes(tmp_path, {"train": {"aachen": 1}})
    folder = tmp_path / "cityscapes" / "leftImg8bit_sequence" / "train" / "aachen"
    (folder / "aachen_000000_000018_leftImg8bit.png").unlink()
    (folder / "aachen_000000_000020_leftImg8bit.png").unlink()
    write_image(folder / "aachen_000000_000020_leftImg8bit.jpg", shoot(0, 3).image)
    data = Cityscapes(params(tmp_path))
    assert [[f.id[-6:] for f in clip] for clip in data.clips()] == [["000017"], ["000019", "000020", "000021"]]
    assert [clip[0].time for clip in data.clips()] == [0, 0]
    assert np.abs(data.image(data.frames()[2]).astype(int) - shoot(0, 3).image).mean() < 8
    assert data.image_path(data.frames()[1]).parent.parent.parent.name == "leftImg8bit"  # not the sequence's copy


@pytest.mark.real_data
def test_real_sample():
    data = Cityscapes(fixtures.real_params("cityscapes", (256, 512)))
    annotated = data.frames(labelled=True)
    assert len(annotated) == 8
    assert {f.split for f in data.frames()} == {"train"}
    (video,) = data.clips(shortest=2)
    assert [f.id for f in video] == [f"aachen_000000_{n:06d}" for n in range(10)]
    fx, _, cx, _ = TYPICAL_CAMERA  # the sample has no camera files
    for frame in data.frames():
        np.testing.assert_allclose(frame.intrinsics[0], [fx / 4, 0, (cx + 0.5) / 4 - 0.5])
    found = set()
    for frame in annotated:
        labels = data.labels(frame)
        found |= set(np.unique(labels).tolist())
        ids = data.instances(frame)
        classes = np.unique(ids // 1000)
        assert set(classes.tolist()) <= {0, *range(24, 34)}
        assert (labels[ids // 1000 == 26] == 13).all()  # cars
    assert {0, 1, 2, 5, 6, 7, 8, 10, 11, 13, VOID} <= found <= {*range(19), VOID}
    assert data.depth(annotated[0]) is None


@pytest.mark.real_data
def test_real_labels_are_the_raw_ones_by_name():
    whole = Cityscapes(fixtures.real_params("cityscapes", (1024, 2048)))
    fine = Cityscapes(fixtures.real_params("cityscapes", (1024, 2048), label_set="27"))
    frame = whole.frames(labelled=True)[2]
    raw = read_map(whole._files[frame.id].labels)
    labels, labels_27 = whole.labels(frame), fine.labels(frame)
    expected = {7: 0, 11: 2, 17: 5, 21: 8, 23: 10, 26: 13, 1: VOID, 3: VOID}
    assert len(set(expected) & set(np.unique(raw).tolist())) >= 6
    for label_id, train_id in expected.items():
        assert (labels[raw == label_id] == train_id).all()
    scored = raw >= 7
    np.testing.assert_array_equal(labels_27[scored], raw[scored] - 7)
    assert (labels_27[~scored] == VOID).all()
    assert whole.image(frame).shape == (1024, 2048, 3)
