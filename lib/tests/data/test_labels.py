"""Train ids, raw ids, colours."""

import numpy as np
import pytest

from lib.data.labels import CAMVID_11, CITYSCAPES_19, IGNORE, STREET, train_ids_from_label_ids

VOID = [0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30]  # facts/evaluation.md sec. 1


def test_raw_ids_become_19_train_ids_in_order():
    raw = np.array([7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33], np.uint8)
    np.testing.assert_array_equal(train_ids_from_label_ids(raw), np.arange(19))
    np.testing.assert_array_equal(train_ids_from_label_ids(np.array([*VOID, 255], np.uint8)), IGNORE)
    with pytest.raises(ValueError, match=r"labelIds: \[34\] are no Cityscapes labelIds"):
        train_ids_from_label_ids(np.array([34], np.uint8))


def test_raw_ids_never_pass_as_train_ids():
    raw = np.array([[7, 23, 26]], np.uint8)
    with pytest.raises(ValueError, match=r"a\.png: label values \[23, 26\] are no train ids .*raw labelIds"):
        CITYSCAPES_19.check(raw, "a.png")
    with pytest.raises(ValueError, match=r"\[200\] are no train ids of CamVid 11$"):
        CAMVID_11.check(np.array([200], np.uint8), "b.png")
    CITYSCAPES_19.check(np.array([0, 18, IGNORE], np.uint8), "c.png")


def test_a_subset_keeps_ids_names_and_colours_together():
    assert STREET.names[STREET.ids.index(13)] == "car"
    assert len(STREET) == 12
    np.testing.assert_array_equal(STREET.to_index(np.array([0, 13, 6, IGNORE])), [0, 11, IGNORE, IGNORE])
    for i, color in zip(STREET.ids, STREET.colors):
        assert tuple(STREET.color_table()[i]) == color == CITYSCAPES_19.colors[i]
    assert tuple(CAMVID_11.color_table()[IGNORE]) == (0, 0, 0)
    for classes in (CITYSCAPES_19, CAMVID_11):
        assert len({*classes.names}) == len({*classes.colors}) == len(classes.ids) == len(classes)
