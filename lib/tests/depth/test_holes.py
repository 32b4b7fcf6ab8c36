"""Cars at infinity: holes in drawn depth maps, with and without truth, and what is said of them."""

import numpy as np
import pytest

from lib.data import Dataset, Frame
from lib.data.labels import STREET
from lib.depth import masks

SIZE = (64, 128)
HORIZON, FOCAL, UP = 30, 70, 1.6
ROWS, COLUMNS = np.mgrid[: SIZE[0], : SIZE[1]]
CAR = (slice(26, 46), slice(70, 90))  # its roof is as high as the camera, its feet 7 m away


def open_road():
    """Inverse depth of a plane and of sky."""
    return np.maximum((ROWS - HORIZON) / (FOCAL * UP), 0.01)


def houses():
    """Walls on both sides, nearer than the ground; the sky between them reaches down to the horizon."""
    return np.maximum(open_road(), np.abs(COLUMNS - 64) / (FOCAL * 6.0))


def crest():
    """Behind the crest of a hill, 4 rows below the horizon, there is nothing but sky."""
    return np.where(ROWS < HORIZON + 4, 0.01, open_road())


def cut(inverse_depth, area=CAR, value=0.01):
    out = inverse_depth.copy()
    out[area] = value
    return out


def test_the_ground_is_found_below_houses_and_cars():
    for drawn in (open_road(), houses(), cut(open_road())):
        slope, horizon = masks.find_ground(5 * drawn)
        assert slope == pytest.approx(5 / (FOCAL * UP), rel=0.05)
        assert horizon == pytest.approx(HORIZON, abs=1.5)
    assert masks.find_ground(np.full(SIZE, 0.2)) == (0.0, np.inf)
    assert masks.find_ground(np.zeros(SIZE)) == (0.0, np.inf)


@pytest.mark.parametrize("scene", [open_road, houses, crest])
@pytest.mark.parametrize("unit", [1.0, 0.2, 5.0])
def test_a_hole_where_a_car_drives_and_none_without_it(scene, unit):
    assert not masks.find_holes(unit * scene(), 100 / unit).any()
    truth = np.zeros(SIZE, bool)
    truth[CAR] = True
    found = masks.find_holes(unit * cut(scene()), 100 / unit)
    assert found.any()
    assert not (found & ~truth).any()
    assert found[37:46, 70:90].all()


def test_what_is_no_hole():
    near = cut(open_road(), value=0.15)
    assert not masks.find_holes(near, 100).any(), "a car at its place"
    assert not masks.find_holes(cut(open_road(), value=0), 100).any(), "no value is not far"
    assert not masks.find_holes(cut(open_road(), (slice(26, 46), slice(100, 128))), 100).any(), "cut by the border"
    assert not masks.find_holes(cut(open_road(), (slice(44, 45), slice(70, 72))), 100).any(), "two pixels"
    assert not masks.find_holes(np.full(SIZE, 0.2), 100).any()
    assert not masks.find_holes(np.zeros(SIZE), 100).any()


class Scenes(Dataset):
    """Frames with a car (13) on a road (0) below sky (10), with or without truth."""

    name, classes, size = "street", STREET, SIZE

    def __init__(self, count=4, labelled=True, measured=True):
        self._frames = [Frame(f"a/{i}", "a", "val", i / 10) for i in range(count)]
        self.labelled, self.measured = labelled, measured

    def image(self, frame):
        return np.zeros((*SIZE, 3), np.uint8)

    def depth(self, frame):
        true = 1 / cut(open_road(), value=0.14)
        return np.where(true > 90, np.inf, true) if self.measured else None

    def labels(self, frame):
        labels = np.where(ROWS > HORIZON, 0, 10).astype(np.uint8)
        labels[CAR] = 13
        return labels if self.labelled else None

    def moving(self, frame):
        return self.labels(frame) == 13 if self.labelled else None


@pytest.mark.parametrize("measured", [True, False])
def test_cars_at_infinity_are_warned_of(measured):
    dataset = Scenes(measured=measured)
    right, wrong = 3 * cut(open_road(), value=0.14), 3 * cut(open_road())
    numbers, warning = masks.warn_of_holes(dataset, dataset.frames(), iter([right] * 4), 100)
    assert warning is None
    assert numbers["frames_with_holes"] == numbers["cars_too_far"] == 0
    numbers, warning = masks.warn_of_holes(dataset, dataset.frames(), iter([right, wrong, wrong, right]), 100)
    assert numbers["frames_with_holes"] == numbers["cars_too_far"] == 0.5
    if measured:
        assert numbers["moving_too_far"] == 0.5
    for word in ("infinity", "50%", "auto_mask", "frame_step", "clips", "min_change"):
        assert word in warning
    assert "\n" not in warning


def test_maps_in_metres_are_not_scaled_before_they_are_judged():
    """All is 2.5 times too far: a median hides it in relative depth, but not in metres."""
    dataset = Scenes()
    far = [cut(open_road(), value=0.14) / 2.5] * 4
    assert masks.warn_of_holes(dataset, dataset.frames(), far, 100)[0]["cars_too_far"] == 0
    numbers, warning = masks.warn_of_holes(dataset, dataset.frames(), far, 100, metric=True)
    assert numbers["cars_too_far"] == 1
    assert "100% of the cars' pixels are more than twice too far" in warning


def test_where_nothing_was_learned_there_is_no_advice_on_training():
    dataset = Scenes()
    _, warning = masks.warn_of_holes(dataset, dataset.frames(), [cut(open_road())] * 4, 100, metric=True, learned=False)
    assert "100% of the frames have holes at infinity in the road" in warning
    for word in ("auto_mask", "learn from", "frame_step", "clips", "min_change", "as they drive"):
        assert word not in warning
    right = [cut(open_road(), value=0.14)] * 4
    assert masks.warn_of_holes(dataset, dataset.frames(), right, 100, metric=True, learned=False)[1] is None


def test_without_labels_the_shape_of_the_map_must_do():
    dataset = Scenes(labelled=False, measured=False)
    numbers, warning = masks.warn_of_holes(dataset, dataset.frames(), [cut(houses())] * 4, 100)
    assert numbers["frames_with_holes"] == 1
    assert np.isnan(numbers["cars_too_far"])
    assert np.isnan(numbers["moving_too_far"])
    assert warning.count("%") == 1
    assert masks.warn_of_holes(dataset, dataset.frames(), [houses()] * 4, 100)[1] is None
    assert masks.warn_of_holes(dataset, [], [], 100)[1] is None


def test_things_without_road_at_their_feet_are_not_judged():
    dataset = Scenes(measured=False)
    dataset.labels = lambda frame: np.where(ROWS < 20, 13, 10).astype(np.uint8)
    assert np.isnan(masks.warn_of_holes(dataset, dataset.frames(), [open_road()] * 4, 100)[0]["cars_too_far"])
