"""Average precision of things one by one: a literal transcription of the definition, and the official scripts."""

import copy

import numpy as np
import pytest

from lib.data.labels import CAMVID_11, CITYSCAPES_19, CITYSCAPES_LABELS, STREET, ClassSet
from lib.evaluation.instances import (
    THINGS,
    THRESHOLDS,
    Instances,
    average_precision,
    find_instances,
    find_things,
    match_instances,
)

ROAD, PERSON, CAR, VOID = 0, 11, 13, 255
CITY = find_things(CITYSCAPES_19)


def make_scene(rng, size=(32, 64), most=6):
    """Maps of one frame with boxes of things, each over those before; some are groups, some void, some tiny."""
    labels, instances = np.full(size, ROAD, np.uint8), np.zeros(size, np.uint16)
    for number in range(1, rng.integers(0, most) + 1):
        high, wide = rng.integers(2, size[0] // 2), rng.integers(2, size[1] // 2)
        top, left = rng.integers(0, size[0] - high), rng.integers(0, size[1] - wide)
        kind, name = rng.random(), int(rng.choice([PERSON, CAR, 18]))
        box = slice(top, top + high), slice(left, left + wide)
        labels[box] = VOID if kind < 0.15 else name
        instances[box] = 0 if kind < 0.4 else CITYSCAPES_LABEL_ID[name] * 1000 + number
    return labels, instances


CITYSCAPES_LABEL_ID = {train: raw for raw, train in CITYSCAPES_LABELS["19"][1].table.items() if train != VOID}


def predict_badly(rng, labels, instances, things=CITY):
    """Each true region moved a little, some twice, with a wrong class now and then; and boxes that mean nothing."""
    truth, masks, classes = find_instances(labels, instances, things), [], []
    regions = [truth.regions == i + 1 for i in range(len(truth.classes))]
    regions += [truth.groups == name for name in np.unique(truth.groups) if name != VOID] + [truth.void]
    for mask in regions:
        for _ in range(rng.integers(0, 4)):
            masks.append(np.roll(mask, rng.integers(-1, 2, 2), (0, 1)) & (rng.random(mask.shape) < rng.uniform(0.7, 1)))
            ids = labels[mask]
            name = ids[0] if len(ids) and ids[0] in things.ids and rng.random() < 0.8 else rng.choice(things.ids)
            classes.append(things.ids.index(name))
    order = rng.permutation(len(masks))
    scores = rng.integers(1, 8, len(masks)) / 8  # with ties
    return Instances(
        np.array(masks, bool).reshape(-1, *labels.shape)[order], np.array(classes, int)[order], scores[order]
    )


def judge(prediction, name, labels, instances, threshold, smallest, things):
    """The true region that a prediction finds, "false" or "not judged": pixel by pixel, for one image."""
    train_id, unknown = things.ids[name], 0
    for region in {int(i) for i in np.unique(instances) if i}:
        pixels = instances == region
        if np.bincount(labels[pixels]).argmax() != train_id:
            continue
        common = (pixels & prediction).sum()
        if pixels.sum() < smallest:
            unknown += common
        elif common / (pixels | prediction).sum() > threshold:
            return region
    group = (instances == 0) & (labels == train_id)
    unknown += (group & prediction).sum() * (2 if group.sum() < smallest else 1)
    unknown += ((instances == 0) & (labels == VOID) & prediction).sum()
    return "not judged" if unknown / prediction.sum() > threshold else "false"


def slow_precision(frames, name, threshold, smallest, things):
    """One class, one threshold: a walk along the scores, the curve's area by adding trapezia."""
    true, events = 0, []
    for labels, instances, predicted in frames:
        for region in np.unique(instances):
            pixels = instances == region
            right = np.bincount(labels[pixels]).argmax() == things.ids[name]
            true += bool(region and right and pixels.sum() >= smallest)
        taken = set()
        for index in np.argsort(-predicted.scores, kind="stable"):
            mask = predicted.masks[index]
            if predicted.classes[index] != name or not mask.any():
                continue
            verdict = judge(mask, name, labels, instances, threshold, smallest, things)
            if verdict != "not judged":
                events.append((predicted.scores[index], verdict != "false" and verdict not in taken))
            taken.add(verdict)
    if not true:
        return np.nan
    area, before = 0.0, (0.0, 1.0)
    for score in sorted({s for s, _ in events}, reverse=True):
        chosen = [hit for s, hit in events if s >= score]
        point = sum(chosen) / true, sum(chosen) / len(chosen)
        area += (point[0] - before[0]) * (point[1] + before[1]) / 2
        before = point
    return area


@pytest.mark.parametrize("smallest", [1, 60])
def test_average_precision_is_what_its_definition_says(smallest):
    rng = np.random.default_rng(smallest)
    for _ in range(6):
        scenes = [make_scene(rng) for _ in range(4)]
        frames = [(*maps, predict_badly(rng, *maps)) for maps in scenes]
        records = [match_instances(find_instances(a, b, CITY), p, smallest) for a, b, p in frames]
        rows = [[slow_precision(frames, c, t, smallest, CITY) for t in THRESHOLDS] for c in range(len(CITY))]
        found = average_precision(records, CITY)
        np.testing.assert_allclose(found.by_class, np.mean(rows, axis=1), atol=1e-12)
        np.testing.assert_allclose(found.by_class50, np.array(rows)[:, 0], atol=1e-12)
        assert found.ap == pytest.approx(np.nanmean(rows))
        assert found.ap50 == pytest.approx(np.nanmean(np.array(rows)[:, 0]))
        again = average_precision(records[::-1], CITY)
        assert (again.ap, again.ap50) == pytest.approx((found.ap, found.ap50)), "records are in any order"


def one_car(value=CAR):
    labels, instances = np.full((20, 40), ROAD, np.uint8), np.zeros((20, 40), np.uint16)
    labels[5:15, 5:25], instances[5:15, 5:25] = value, 7
    return labels, instances


def guess(*boxes, name=CAR, scores=None):
    masks = np.zeros((len(boxes), 20, 40), bool)
    for mask, (top, bottom, left, right) in zip(masks, boxes):
        mask[top:bottom, left:right] = True
    scores = np.linspace(0.9, 0.5, len(boxes)) if scores is None else np.array(scores)
    return Instances(masks, np.full(len(boxes), CITY.ids.index(name)), scores)


def measure(maps, predicted, smallest=100):
    return average_precision([match_instances(find_instances(*maps, CITY), predicted, smallest)], CITY)


def test_plain_cases():
    exact = (5, 15, 5, 25)
    assert measure(one_car(), guess(exact)).ap == 1
    assert measure(one_car(), guess()).ap == 0, "no prediction"
    assert measure(one_car(), guess(exact, name=PERSON)).ap == 0, "another class"
    assert measure(one_car(), guess((5, 5, 5, 5), exact)).ap == 1, "one without a pixel is no prediction"
    assert measure(one_car(), guess(exact, exact)).ap == 1, "the second finding costs nothing once all are found"
    assert measure(one_car(), guess((0, 4, 0, 9), exact)).ap == pytest.approx(0.25), "a false one before the right one"
    half = measure(one_car(), guess((5, 15, 5, 17)))
    assert (half.ap50, half.ap) == (1, pytest.approx(0.2)), "an IoU of 0.6 is above 0.5 and 0.55"
    assert np.isnan(half.by_class[CITY.names.index("person")])
    assert half.counted[CITY.names.index("car")] == 1


def test_what_nobody_knows_is_not_judged():
    labels, instances = one_car()
    exact, stray = (5, 15, 5, 25), (0, 4, 30, 40)
    places = {"void": (VOID, 0), "a group": (CAR, 0), "a small one": (CAR, 9), "another class's group": (PERSON, 0)}
    for what, (value, number) in places.items():
        labels[:4, 30:], instances[:4, 30:] = value, number
        found = measure((labels, instances), guess(stray, exact)).ap
        assert found == (pytest.approx(0.25) if "another" in what else 1), what
    with pytest.raises(ValueError, match="not one true instance"):
        measure((labels, instances), guess(exact), smallest=500)


def test_instances_of_maps():
    labels, instances = one_car()
    labels[5, 5:25] = ROAD  # a row of the car under another class: most of its pixels decide
    labels[0, :10], instances[0, :10] = VOID, 3
    labels[1, :10] = PERSON
    truth = find_instances(labels, instances, CITY)
    assert [CITY.names[c] for c in truth.classes] == ["car"]
    assert (truth.regions == 1).sum() == truth.sizes[0] == 200
    assert not truth.void.any(), "what has an id but no class, a caravan, is background"
    assert CITY.names[truth.groups[1, 3]] == "person"
    assert (truth.groups != 255).sum() == 10
    assert len(truth.to_instances(201)) == 0
    assert truth.to_instances().masks.shape == (1, 20, 40)
    with pytest.raises(ValueError, match="read both at one size"):
        find_instances(labels[1:], instances, CITY)
    with pytest.raises(ValueError, match="predict at the size of the truth"):
        match_instances(truth, Instances(np.ones((1, 4, 4), bool), np.zeros(1, int), np.ones(1)))


def test_things_of_label_sets():
    assert CITY.names == THINGS
    assert find_things(STREET).names == ("person", "car")
    assert set(find_things(CITYSCAPES_LABELS["27"][0]).names) == set(THINGS)
    assert find_things(CAMVID_11).names == ("car",)
    with pytest.raises(ValueError, match="instances need one of them"):
        find_things(ClassSet("plain", ("road",), (0,), ((0, 0, 0),)))


def write_for_the_official(folder, frames):
    """Maps as the official files, predictions as their text files and masks; names of both."""
    import cv2

    truths, texts = [], []
    for number, (labels, instances, predicted) in enumerate(frames):
        stem = f"town_{number:06d}_000019"
        raw = np.vectorize(lambda i: CITYSCAPES_LABEL_ID.get(i, 0))(labels)
        truths.append(str(folder / f"{stem}_gtFine_instanceIds.png"))
        cv2.imwrite(truths[-1], np.where(instances > 0, instances, raw).astype(np.uint16))
        lines = []
        for index, (mask, name, score) in enumerate(zip(predicted.masks, predicted.classes, predicted.scores)):
            cv2.imwrite(str(folder / f"{stem}_{index}.png"), mask.astype(np.uint8) * 255)
            lines.append(f"{stem}_{index}.png {CITYSCAPES_LABEL_ID[CITY.ids[name]]} {float(score)!r}\n")
        texts.append(str(folder / f"{stem}_pred.txt"))
        (folder / f"{stem}_pred.txt").write_text("".join(lines))
    return texts, truths


def add_one_of_each(predicted):
    """And a wrong prediction of each class on the last row, which is road: the scripts fail if none is judged."""
    masks = np.zeros((len(CITY), *predicted.masks.shape[1:]), bool)
    masks[:, -1] = True
    classes, scores = np.arange(len(CITY)), np.full(len(CITY), 1 / 16)
    return Instances(
        np.concatenate([predicted.masks, masks]),
        np.append(predicted.classes, classes),
        np.append(predicted.scores, scores),
    )


def run_official(official, folder, frames, monkeypatch):
    texts, truths = write_for_the_official(folder, frames)
    options = copy.copy(official.args)
    options.quiet, options.JSONOutput, options.predictionPath = True, False, str(folder)
    options.gtInstancesFile = str(folder / "true.json")
    monkeypatch.setattr(official, "writeDict2JSON", lambda *_: None)  # fails on numbers of a newer numpy
    monkeypatch.setattr(np, "in1d", np.isin, raising=False)  # a name that a newer numpy no longer has
    return official.evaluateImgLists(texts, truths, options)


@pytest.mark.parametrize("seed", range(3))
def test_as_the_official_scripts(seed, tmp_path, monkeypatch):
    """Random scenes with void, groups, small regions, duplicates and ties; each class by itself."""
    official = pytest.importorskip(
        "cityscapesscripts.evaluation.evalInstanceLevelSemanticLabeling",
        reason='needs the official scripts: pip install "depth-regions[official]"',
    )
    rng = np.random.default_rng(seed)
    frames = [(*maps, predict_badly(rng, *maps)) for maps in (make_scene(rng, (48, 96)) for _ in range(8))]
    frames[0] = (*frames[0][:2], add_one_of_each(frames[0][2]))
    found = run_official(official, tmp_path, frames, monkeypatch)["averages"]
    ours = average_precision([match_instances(find_instances(a, b, CITY), p) for a, b, p in frames], CITY)
    assert ours.ap == pytest.approx(found["allAp"], abs=1e-9)
    assert ours.ap50 == pytest.approx(found["allAp50%"], abs=1e-9)
    for row, name in enumerate(CITY.names):
        np.testing.assert_allclose(ours.by_class[row], found["classes"][name]["ap"], atol=1e-9)
        np.testing.assert_allclose(ours.by_class50[row], found["classes"][name]["ap50%"], atol=1e-9)
    assert 0.02 < ours.ap < 0.98, "a scene that says something"
