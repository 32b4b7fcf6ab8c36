"""Things one by one: average precision of instance segmentation by Cityscapes' definition.

A prediction finds a true instance of its class if their IoU is above a threshold; of several that find the same one,
the most confident counts and the others are false. Not judged is a prediction that mostly lies where nobody knows: on
void pixels, on true regions that are too small, on groups whose members were not told apart. Precision over recall,
from the most confident prediction down, gives the average precision of one class and threshold.

Source: facts/evaluation.md sec. 7; equal to the official scripts (cityscapesscripts 2.3), which the tests compare.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..data import Dataset, Frame
from ..data.labels import IGNORE, ClassSet

THINGS = ("person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle")  # of Cityscapes, scored
THRESHOLDS = np.arange(0.5, 1.0, 0.05)  # of IoU; built as the official scripts do, so that the last bits agree
SMALLEST = 100  # pixels of a true region that counts, at 1024 x 2048


@dataclass(frozen=True)
class Instances:
    """Things in one image, which may overlap.

    masks: (N, H, W) bool; classes: index in the `ClassSet` of things (N,) int64; scores: how sure, 0..1 (N,) float32.
    """

    masks: np.ndarray
    classes: np.ndarray
    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.classes)


@dataclass(frozen=True)
class Truth:
    """The things that one image truly shows, and where nobody knows.

    regions: which thing a pixel is on, 1..N, 0 = none. (H, W) int32
    classes: of each thing, index in the `ClassSet` of things. (N,) int64
    groups: class whose members were not told apart here, 255 = none. (H, W) uint8
    void: pixels that have no class. (H, W) bool
    """

    regions: np.ndarray
    classes: np.ndarray
    groups: np.ndarray
    void: np.ndarray

    @property
    def sizes(self) -> np.ndarray:
        """Pixels of each thing. (N,)"""
        return np.bincount(self.regions.ravel(), minlength=len(self.classes) + 1)[1:]

    def to_instances(self, smallest: int = 1) -> Instances:
        """The things of at least `smallest` pixels, all with score 1."""
        kept = np.flatnonzero(self.sizes >= smallest)
        masks = self.regions == (kept + 1)[:, None, None]
        return Instances(masks, self.classes[kept], np.ones(len(kept), np.float32))


@dataclass(frozen=True)
class Matches:
    """All that average precision needs of one image; records of many images are put into one list.

    true: class of each true instance that counts. (N,)
    classes, scores: of each prediction. (P,)
    overlaps: IoU with the true instance of its class that it overlaps most. (P,)
    partners: which one that is, index in `true`; means nothing where the IoU is 0. (P,)
    unjudged: share of its pixels that lie where nobody knows. (P,)
    """

    true: np.ndarray
    classes: np.ndarray
    scores: np.ndarray
    overlaps: np.ndarray
    partners: np.ndarray
    unjudged: np.ndarray


@dataclass(frozen=True)
class Precision:
    """Fractions of 1: `ap` over all thresholds and classes, `ap50` at IoU 0.5.

    by_class, by_class50: the same of each class, NaN where nothing true counts. (C,)
    counted: true instances of each class. (C,)
    """

    ap: float
    ap50: float
    by_class: np.ndarray
    by_class50: np.ndarray
    counted: np.ndarray


def find_things(classes: ClassSet) -> ClassSet:
    """Those of the classes that Cityscapes scores one by one; on generated streets person and car.

    Raises:
        ValueError: there is none.
    """
    ids = tuple(i for i, name in zip(classes.ids, classes.names) if name in THINGS)
    if not ids:
        raise ValueError(f"{classes.name} has none of the classes {', '.join(THINGS)}: instances need one of them")
    return classes.subset(f"things of {classes.name}", ids)


def find_instances(labels: np.ndarray, instances: np.ndarray, things: ClassSet) -> Truth:
    """What a data set's maps of one frame say about its things; each is of the class that most of its pixels have.

    Pixels of a thing's class without an instance are a group. Void is what has neither class nor instance: a caravan,
    which has an id but no class, is background to the official scripts, and so it is here.

    Args:
        labels: train ids, 255 = ignore. (H, W) uint8
        instances: id of each thing, 0 = none. (H, W)
        things: of `find_things`.
    Raises:
        ValueError: the maps differ in shape.
    """
    if labels.shape != instances.shape:
        raise ValueError(f"labels are {labels.shape} but instances {instances.shape}: read both at one size")
    ids, place = np.unique(instances, return_inverse=True)
    place = place.reshape(instances.shape)
    votes = np.bincount((place * 256 + labels).ravel(), minlength=256 * len(ids)).reshape(-1, 256)
    majority = things.to_index(votes.argmax(axis=1))
    kept = np.flatnonzero((majority != IGNORE) & (ids != 0))
    number = np.zeros(len(ids), np.int32)
    number[kept] = np.arange(1, len(kept) + 1)
    alone = instances == 0
    groups = np.where(alone, things.to_index(labels), IGNORE).astype(np.uint8)
    return Truth(number[place], majority[kept].astype(np.int64), groups, alone & (labels == IGNORE))


def read_truth(dataset: Dataset, frame: Frame, things: ClassSet) -> Truth:
    """The things that a labelled frame truly shows.

    Raises:
        ValueError: the data set has no map of instances for it.
    """
    labels, instances = dataset.labels(frame), dataset.instances(frame)
    if labels is None or instances is None:
        remedy = "name street, cityscapes or kitti_2015, with its instance maps"
        raise ValueError(f"{dataset.name} does not tell one thing from the next (frame {frame.id}): {remedy}")
    return find_instances(labels, instances, things)


def match_instances(truth: Truth, predicted: Instances, smallest: int = SMALLEST) -> Matches:
    """How the predictions of one image meet its truth; predictions without a pixel are left out.

    Args:
        smallest: pixels, at the size of these maps, below which a true region does not count.
    Raises:
        ValueError: the masks are of another size than the truth.
    """
    if predicted.masks.shape[1:] != truth.void.shape:
        sizes = f"{predicted.masks.shape[1:]}, but the truth {truth.void.shape}"
        raise ValueError(f"predicted masks are {sizes}: predict at the size of the truth")
    sizes = truth.sizes
    counts = sizes >= smallest
    row = np.append(np.cumsum(counts) - 1, -1)  # of the true instances among those that count; last, of none
    groups = np.bincount(truth.groups.ravel(), minlength=256)
    kept, found = [], []
    for index, (mask, name) in enumerate(zip(predicted.masks, predicted.classes)):
        pixels = np.flatnonzero(mask)
        if len(pixels):
            kept.append(index)
            found.append(_match(truth, pixels, name, sizes, counts, groups[name], smallest))
    overlaps, partners, unjudged = np.array(found).reshape(-1, 3).T
    classes, scores = predicted.classes[kept], predicted.scores[kept]
    return Matches(truth.classes[counts], classes, scores, overlaps, row[partners.astype(int)], unjudged)


def _match(truth: Truth, pixels, name, sizes, counts, group_size, smallest) -> tuple[float, int, float]:
    """Of one prediction: IoU with its best true instance, which one of all that is, and its share of unjudged pixels.

    IoU above 1/2 is possible with one instance only, as true regions share no pixel: the best one is enough.
    """
    shared = np.bincount(truth.regions.ravel()[pixels], minlength=len(sizes) + 1)[1:]
    own = truth.classes == name
    iou = np.append(np.where(own & counts, shared / (len(pixels) + sizes - shared), 0), 0)
    on_group = (truth.groups.ravel()[pixels] == name).sum()
    # a group that is too small as well is counted for both reasons, as in the official scripts
    unjudged = truth.void.ravel()[pixels].sum() + shared[own & ~counts].sum() + on_group * (1 + (group_size < smallest))
    best = int(iou.argmax())
    return float(iou[best]), best, unjudged / len(pixels)


def average_precision(records: Sequence[Matches], things: ClassSet) -> Precision:
    """Average precision of all images together.

    Args:
        records: one an image, in any order, of `match_instances`.
        things: the classes that their numbers mean.
    Raises:
        ValueError: no true instance counts in any image.
    """
    true, first = _join(records, "true"), np.cumsum([0, *(len(record.true) for record in records)])
    counted = np.bincount(true.astype(int), minlength=len(things))
    if not counted.any():
        raise ValueError("there is not one true instance to score on: check the split, or lower `smallest`")
    images = np.repeat(np.arange(len(records)), [len(record.classes) for record in records])
    partners = _join(records, "partners").astype(int) + first[images]
    classes = _join(records, "classes")
    values = [_join(records, name) for name in ("scores", "overlaps", "unjudged")]
    table = np.full((len(things), len(THRESHOLDS)), np.nan)
    for name in np.flatnonzero(counted):
        own = classes == name
        for column, threshold in enumerate(THRESHOLDS):
            table[name, column] = _precision(threshold, counted[name], partners[own], *(v[own] for v in values))
    by_class = table.mean(axis=1)
    ap, ap50 = np.nanmean(by_class), np.nanmean(table[:, 0])
    return Precision(float(ap), float(ap50), by_class, table[:, 0].copy(), counted)


def _join(records: Sequence[Matches], name: str) -> np.ndarray:
    return np.concatenate([np.empty(0), *(getattr(record, name) for record in records)])


def _precision(threshold: float, true: int, partners, scores, overlaps, unjudged) -> float:
    """Average precision of one class: `true` instances, and what is known of each prediction. (P,)"""
    found = overlaps > threshold
    judged = np.flatnonzero(found | (unjudged <= threshold))
    order = judged[np.argsort(-scores[judged], kind="stable")]
    matched = order[found[order]]
    hit = np.zeros(len(scores), bool)
    hit[matched[np.unique(partners[matched], return_index=True)[1]]] = True  # the most confident of each
    return _area(scores[order], hit[order], true)


def _area(scores: np.ndarray, hit: np.ndarray, true: int) -> float:
    """Area below precision over recall, straight lines from the point of precision 1 at recall 0.

    Args:
        scores: from the highest down; equal ones are one point of the curve. (P,)
        hit: is that prediction right? (P,)
    """
    last = np.flatnonzero(np.append(np.diff(scores) != 0, True)) if len(scores) else np.empty(0, int)
    hits = np.cumsum(hit)[last]
    recall, precision = np.append(0, hits / true), np.append(1, hits / (last + 1))
    return float((np.diff(recall) * (precision[1:] + precision[:-1]) / 2).sum())
