"""Laws of the generated streets: geometry, motion, repeatability, the class shares of the exam, the cache."""

import hashlib
from dataclasses import fields

import numpy as np
import pytest
from scipy.ndimage import map_coordinates, uniform_filter

from lib.data import street
from lib.data.street import CLASSES, Clip, StreetCamera, load_clip, load_clips, make_clip, motion, render, style, world

SIZE = (48, 96)
DIGESTS = {  # sha256 of the labels of the first two frames: any change is street-v3 and re-runs every figure
    ("train", 0): "2944a3081aa8814d9f09b04d39be76fd60770ba60ef6a70b4fdb99a847529322",
    ("test", 3): "97081486549a828214af191321a64dd454acab3c1abb73e17a743e2ea7466786",
}


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    return [make_clip(split, index, 3, *SIZE) for split in ("train", "test") for index in range(4)]


def arrays(clip: Clip) -> list[np.ndarray]:
    return [getattr(clip, field.name) for field in fields(Clip)]


def seen_again(clip: Clip, t: int, points: np.ndarray):
    """Where world points of frame t fall in frame t + 1: their depth there, the depth map's, and the colours."""
    camera = points @ clip.camera_from_world[t + 1][:3, :3].T + clip.camera_from_world[t + 1][:3, 3]
    pixel = camera @ clip.intrinsics.T
    u, v = (pixel[..., i] / np.where(camera[..., 2] > 0.1, pixel[..., 2], np.nan) for i in (0, 1))
    inside = (u > 1) & (v > 1) & (u < clip.depth.shape[2] - 2) & (v < clip.depth.shape[1] - 2)
    place = np.nan_to_num(np.stack([v, u]))
    inverse = map_coordinates(1 / clip.depth[t + 1].astype(float), place, order=1)  # planes are linear in 1 / depth
    stored = 1 / np.maximum(inverse, 1e-9)
    colour = np.stack([map_coordinates(clip.images[t + 1][..., c].astype(float), place, order=1) for c in range(3)], -1)
    return camera[..., 2], stored, colour, inside


def test_static_points_land_on_the_same_depth_and_colour(clips):
    for clip in clips:
        static = np.isfinite(clip.depth[0]) & ~clip.moving(0)
        expected, stored, colour, inside = seen_again(clip, 0, clip.points(0))
        use = static & inside
        assert np.median(abs(stored - expected)[use] / expected[use]) < 1e-3
        assert np.mean(abs(colour - clip.images[0])[use].mean(-1) < 15) > 0.6


def test_moving_points_follow_their_things(clips):
    errors, errors_if_static = [], []
    for clip in clips:
        use = clip.moving(0) & (clip.labels[0] == 13)
        points = clip.points(0)
        expected, stored, _, inside = seen_again(clip, 0, points + clip.motion(0))
        errors += list((abs(stored - expected) / expected)[use & inside])
        expected, stored, _, inside = seen_again(clip, 0, points)
        errors_if_static += list((abs(stored - expected) / expected)[use & inside])
    assert len(errors) > 200
    assert np.median(errors) < 5e-3
    assert np.median(errors) < np.median(errors_if_static) / 3


def test_motion_is_the_rigid_motion_of_the_instance(clips):
    for clip in clips:
        displacement, points, moving = clip.motion(1), clip.points(1), clip.moving(1)
        assert not displacement[~moving].any()
        poses, ids = clip.world_from_instance, clip.instances[1]
        for i in np.unique(ids[moving]):
            local = (points[ids == i] - poses[1, i, :3, 3]) @ poses[1, i, :3, :3]
            moved = local @ poses[2, i, :3, :3].T + poses[2, i, :3, 3]
            np.testing.assert_allclose(points[ids == i] + displacement[ids == i], moved, atol=1e-4)


def test_road_points_lie_on_the_road(clips):
    look = style.make_style("train", 1)
    road, clip = world.Road(look, 500), clips[1]
    x, y, z = clip.points(2)[clip.labels[2] == 0].T
    assert abs(y + road.height(x, z)).max() < 0.01
    assert abs(x - road.centre(z)).max() < look.half_width + 0.02
    eye = np.linalg.inv(clip.camera_from_world[2])[:3, 3]
    assert abs(-eye[1] - road.height(eye[0], eye[2]) - 1.6) < 0.05


def test_things_have_one_label_and_static_things_keep_the_identity(clips):
    for clip in clips:
        ids, labels = clip.instances.ravel(), clip.labels.ravel()
        things = ids > 0
        assert set(np.unique(labels[~things])) <= {0, 1, 9, 10}
        pairs = np.unique(np.stack([ids[things], labels[things]]), axis=1)
        assert len(np.unique(pairs[0])) == pairs.shape[1]
        assert (clip.world_from_instance[:, 0] == np.eye(4)).all()
        assert set(np.unique(clip.labels[0][clip.moving(0)])) <= {11, 13}
        assert (np.isinf(clip.depth) == (clip.labels == 10)).all()


def test_same_arguments_same_arrays_whatever_the_length(clips):
    again, longer = make_clip("train", 2, 3, *SIZE), make_clip("train", 2, 5, *SIZE)
    for a, b in zip(arrays(clips[2]), arrays(again), strict=True):
        np.testing.assert_array_equal(a, b)
    for name in ("images", "depth", "labels", "instances", "camera_from_world"):
        np.testing.assert_array_equal(getattr(longer, name)[:3], getattr(again, name))
    ids = again.world_from_instance.shape[1]
    np.testing.assert_array_equal(longer.world_from_instance[:3, :ids], again.world_from_instance)


def test_splits_and_clips_differ(clips):
    pictures = [*(c.images[0] for c in clips), make_clip("val", 0, 1, *SIZE).images[0]]
    assert len({p.tobytes() for p in pictures}) == len(pictures)


def test_every_class_has_its_share():
    labels = np.stack([make_clip("train", i, 1, *SIZE).labels for i in range(20)])
    shares = {c: np.mean(labels == c) for c in CLASSES}
    assert set(np.unique(labels)) == set(CLASSES)
    assert min(shares.values()) >= 0.003, shares


@pytest.mark.parametrize(("split", "index"), DIGESTS)
def test_labels_are_those_of_this_version(clips, split, index):
    clip = clips[index + 4 * (split == "test")]
    assert hashlib.sha256(clip.labels[:2].tobytes()).hexdigest() == DIGESTS[split, index]


def test_edges_are_antialiased(clips, monkeypatch):
    monkeypatch.setattr(render, "_edges", lambda depth, *_: np.zeros(depth.shape, bool))
    hard, soft = make_clip("train", 0, 1, *SIZE).images[0].astype(float), clips[0].images[0].astype(float)
    monkeypatch.undo()
    edges = render._edges(*(a[0] for a in (clips[0].depth, clips[0].labels, clips[0].instances)))
    assert (hard[~edges] == soft[~edges]).all()
    around = uniform_filter(hard, (3, 3, 0))
    assert abs(soft - around)[edges].mean() < 0.85 * abs(hard - around)[edges].mean()


def test_some_clips_stop_and_go_and_others_cruise():
    speeds = [np.diff(motion.drive(style.make_style("train", i), 90)) * 10 for i in range(24)]
    stops = [s for s in speeds if s.min() < 0.01]
    assert 2 <= len(stops) <= 14
    assert any(s[s.argmin() :].max() > 3 for s in stops)
    cruising = np.concatenate([s for s in speeds if s.min() > 1])
    assert cruising.min() > 4
    assert cruising.max() < 14


def test_the_camera_changes_the_picture_not_the_street():
    low, high = (make_clip("val", 1, 1, 64, 64, StreetCamera(60.0, h)) for h in (1.2, 2.4))
    assert (low.world_from_instance == high.world_from_instance).all()
    assert (low.labels != high.labels).any()
    assert low.intrinsics[0, 0] == pytest.approx(32 / np.tan(np.pi / 6))
    assert low.intrinsics[0, 2] == 31.5


def test_cache_is_read_repaired_and_kept_clean(tmp_path, monkeypatch):
    first = load_clip("val", 0, 2, 32, 64, cache=tmp_path)
    (path,) = [p for p in tmp_path.rglob("*") if p.is_file()]
    monkeypatch.setattr(street, "make_clip", lambda *_: pytest.fail("made again"))
    for a, b in zip(arrays(load_clip("val", 0, 2, 32, 64, cache=tmp_path)), arrays(first), strict=True):
        np.testing.assert_array_equal(a, b)
    monkeypatch.undo()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    load_clip("val", 0, 2, 32, 64, cache=tmp_path)
    assert path.read_bytes() == whole
    other = load_clip("val", 0, 2, 32, 64, StreetCamera(height=2.0), tmp_path)
    assert (other.labels != first.labels).any()

    def killed(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", killed)
    with pytest.raises(KeyboardInterrupt):
        load_clip("val", 1, 1, 32, 64, cache=tmp_path)
    assert len([p for p in tmp_path.rglob("*") if p.is_file()]) == 2


def test_worker_processes_give_the_same_clips(tmp_path):
    pooled = load_clips("train", 2, 1, 32, 64, StreetCamera(), tmp_path, 2)
    for index, clip in enumerate(pooled):
        np.testing.assert_array_equal(clip.images, make_clip("train", index, 1, 32, 64).images)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"split": "trian"}, "choose train, val or test"),
        ({"index": -1}, "index starts at 0"),
        ({"frames": 0}, "at least 1 frame"),
        ({"height": 8}, "at least 16x16"),
        ({"camera": StreetCamera(field_of_view=170.0)}, "20 to 110"),
    ],
)
def test_wrong_arguments_are_refused(change, words):
    good = {"split": "train", "index": 0, "frames": 1, "height": 32, "width": 64}
    with pytest.raises(ValueError, match=words):
        make_clip(**(good | change))


def test_frames_outside_the_clip_are_refused(clips):
    with pytest.raises(ValueError, match="outside this clip of 3 frames"):
        clips[0].points(3)
    with pytest.raises(ValueError, match="needs the next frame"):
        clips[0].motion(2)


def test_a_swinging_camera_turns_as_fast_as_asked_and_leaves_the_world_alone(tmp_path):
    plain, turning = (make_clip("train", 2, 5, 32, 64, StreetCamera(swing=swing)) for swing in (0.0, 25.0))
    world = [np.linalg.inv(clip.camera_from_world)[:, :3, 3] for clip in (plain, turning)]
    np.testing.assert_allclose(world[0], world[1], atol=1e-9)
    steps = [
        c.camera_from_world[1:, :3, :3] @ c.camera_from_world[:-1, :3, :3].swapaxes(1, 2) for c in (plain, turning)
    ]
    angles = [np.degrees(np.arccos(np.clip((np.trace(s, axis1=1, axis2=2) - 1) / 2, -1, 1))) for s in steps]
    assert 10 * angles[0].max() < 10 < 10 * angles[1].max() < 35  # degrees a second
    with pytest.raises(ValueError, match="swing 0 to 60"):
        make_clip("train", 2, 5, 32, 64, StreetCamera(swing=90.0))
