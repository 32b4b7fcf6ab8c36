"""Train ids, raw ids, colours."""

import numpy as np
import pytest

from lib.data.labels import (
    CAMVID_11,
    CITYSCAPES_7,
    CITYSCAPES_19,
    CITYSCAPES_27,
    CITYSCAPES_LABELS,
    COCO_27,
    COCO_STUFF_IDS,
    IGNORE,
    NYU40_IDS,
    SCANNET_20,
    STREET,
    VOC_21,
    train_ids_from_label_ids,
)

CITYSCAPES_NAMES = (  # labelIds 0 to 33, as the data set's scripts name them
    "unlabeled", "ego vehicle", "rectification border", "out of roi", "static", "dynamic", "ground", "road", "sidewalk",
    "parking", "rail track", "building", "wall", "fence", "guard rail", "bridge", "tunnel", "pole", "polegroup",
    "traffic light", "traffic sign", "vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus",
    "caravan", "trailer", "train", "motorcycle", "bicycle",
)  # fmt: skip
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
    with pytest.raises(ValueError, match=r"\[200\] are no train ids of CamVid 11: is it another kind of label"):
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


def test_every_set_has_a_name_and_a_colour_for_each_class():
    sets = (CITYSCAPES_19, CITYSCAPES_27, CITYSCAPES_7, CAMVID_11, VOC_21, COCO_27, SCANNET_20)
    assert [len(classes) for classes in sets] == [19, 27, 7, 11, 21, 27, 20]
    for classes in sets:
        assert classes.ids == tuple(range(len(classes)))
        assert len(set(classes.names)) == len(set(classes.colors)) == len(classes)
    assert VOC_21.colors[:4] == ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0))  # of the devkit
    assert VOC_21.colors[15] == (192, 128, 128)


@pytest.mark.parametrize("label_set", ["19", "27", "7"])
def test_every_labelid_goes_where_its_name_leads(label_set):
    classes, raw = CITYSCAPES_LABELS[label_set]
    found = raw.to_train_ids(np.arange(34, dtype=np.uint8), "labels")
    if label_set != "7":
        for name, train_id in zip(CITYSCAPES_NAMES, found.tolist()):
            assert train_id == (classes.names.index(name) if name in classes.names else IGNORE)
    else:
        counts = {name: int((found == i).sum()) for i, name in enumerate(classes.names)}
        assert counts == {"flat": 4, "construction": 6, "object": 4, "nature": 2, "sky": 1, "human": 2, "vehicle": 8}
        assert (np.diff(found[7:].astype(int)) >= 0).all()
        assert (found[:7] == IGNORE).all()
    assert {*found.tolist()} == {*classes.ids, IGNORE}
    assert raw.to_train_ids(np.array([255], np.uint8), "labels")[0] == IGNORE
    for wrong in (34, 100, 254):
        with pytest.raises(ValueError, match=rf"a\.png: \[{wrong}\] are no Cityscapes labelIds: is it another kind"):
            raw.to_train_ids(np.array([[7, wrong]], np.uint8), "a.png")


def test_all_182_ids_of_coco_stuff_are_in_one_of_27_groups():
    found = COCO_STUFF_IDS.to_train_ids(np.arange(182, dtype=np.uint8), "map")
    assert {*found.tolist()} == {*range(27)}
    sizes = np.bincount(found)
    # facts/evaluation.md sec. 1
    assert sizes[:12].tolist() == [6, 6, 10, 10, 8, 8, 8, 10, 6, 1, 10, 8]  # 91 ids of things
    assert sizes[12:].tolist() == [2, 6, 4, 11, 4, 11, 7, 2, 6, 11, 9, 2, 6, 5, 5]  # 91 of stuff
    assert (found[:91] < 12).all()
    assert (found[91:] >= 12).all()
    examples = {0: "person", 2: "vehicle", 17: "animal", 105: "sky", 148: "ground", 168: "plant", 181: "solid"}
    assert {i: COCO_27.names[found[i]] for i in examples} == examples
    assert COCO_STUFF_IDS.to_train_ids(np.array([IGNORE], np.uint8), "map")[0] == IGNORE
    with pytest.raises(ValueError, match=r"\[182\] are no COCO-Stuff ids \(0 to 181\)"):
        COCO_STUFF_IDS.to_train_ids(np.array([182], np.uint8), "map")


def test_scannet_scores_20_of_nyus_40():
    found = NYU40_IDS.to_train_ids(np.arange(41, dtype=np.uint16), "map")
    scored = {i: SCANNET_20.names[t] for i, t in enumerate(found.tolist()) if t != IGNORE}
    assert list(scored) == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 24, 28, 33, 34, 36, 39]
    assert [scored[i] for i in (1, 2, 5, 33, 39)] == ["wall", "floor", "chair", "toilet", "other furniture"]
    with pytest.raises(ValueError, match=r"\[1163\] are no NYU40 ids"):
        NYU40_IDS.to_train_ids(np.array([1163], np.uint16), "map")


def test_a_hint_at_raw_labelids_is_given_to_streets_only():
    with pytest.raises(ValueError, match="look like raw labelIds"):
        STREET.check(np.array([26], np.uint8), "a.png")
    with pytest.raises(ValueError, match=r"\[26\] are no train ids of Pascal VOC 21: is it another kind"):
        VOC_21.check(np.array([26], np.uint8), "a.png")
