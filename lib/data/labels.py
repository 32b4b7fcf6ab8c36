"""Class names, colours and ids of the label sets; conversion of raw ids; checks.

Labels are uint8 train ids, 255 = ignore. Cityscapes' raw `labelIds` (0..33) are another numbering in which,
for instance, 7 is road and not traffic sign: they are converted here and never accepted as train ids.
Sources: facts/evaluation.md sec. 1 (Cityscapes), CamVid's SegNet layout (sample data README).
"""

from dataclasses import dataclass

import numpy as np

IGNORE = 255


@dataclass(frozen=True)
class ClassSet:
    """The classes of a data set, in the order of every table.

    `ids` are the train ids, one a class, not necessarily consecutive: generated streets have 12 of Cityscapes' 19.
    """

    name: str
    names: tuple[str, ...]
    ids: tuple[int, ...]
    colors: tuple[tuple[int, int, int], ...]

    def __len__(self) -> int:
        return len(self.ids)

    def subset(self, name: str, ids: tuple[int, ...]) -> "ClassSet":
        """The classes with these train ids, in this order."""
        rows = [self.ids.index(i) for i in ids]
        return ClassSet(name, tuple(self.names[r] for r in rows), tuple(ids), tuple(self.colors[r] for r in rows))

    def color_table(self) -> np.ndarray:
        """RGB of every possible label value; ignore is black. (256, 3) uint8"""
        table = np.zeros((256, 3), np.uint8)
        table[list(self.ids)] = self.colors
        return table

    def to_index(self, labels: np.ndarray) -> np.ndarray:
        """Train ids -> 0..len-1 in the order of `names`; ignore stays 255. Same shape, uint8."""
        table = np.full(256, IGNORE, np.uint8)
        table[list(self.ids)] = np.arange(len(self.ids))
        return table[labels]

    def check(self, labels: np.ndarray, where: str) -> None:
        """Refuse a label map with values that are no train id.

        Raises:
            ValueError: values outside `ids` and 255; says so if they look like raw Cityscapes labelIds.
        """
        extra = np.setdiff1d(np.unique(labels), [*self.ids, IGNORE])
        if len(extra):
            raw = (
                " (they look like raw labelIds: convert them with train_ids_from_label_ids)"
                if extra.max() <= 33
                else ""
            )
            raise ValueError(f"{where}: label values {extra.tolist()} are no train ids of {self.name}{raw}")


_CITYSCAPES = (  # train id order: name, raw labelId, colour
    ("road", 7, (128, 64, 128)),
    ("sidewalk", 8, (244, 35, 232)),
    ("building", 11, (70, 70, 70)),
    ("wall", 12, (102, 102, 156)),
    ("fence", 13, (190, 153, 153)),
    ("pole", 17, (153, 153, 153)),
    ("traffic light", 19, (250, 170, 30)),
    ("traffic sign", 20, (220, 220, 0)),
    ("vegetation", 21, (107, 142, 35)),
    ("terrain", 22, (152, 251, 152)),
    ("sky", 23, (70, 130, 180)),
    ("person", 24, (220, 20, 60)),
    ("rider", 25, (255, 0, 0)),
    ("car", 26, (0, 0, 142)),
    ("truck", 27, (0, 0, 70)),
    ("bus", 28, (0, 60, 100)),
    ("train", 31, (0, 80, 100)),
    ("motorcycle", 32, (0, 0, 230)),
    ("bicycle", 33, (119, 11, 32)),
)
CITYSCAPES_19 = ClassSet(
    "Cityscapes 19", tuple(c[0] for c in _CITYSCAPES), tuple(range(19)), tuple(c[2] for c in _CITYSCAPES)
)
STREET = CITYSCAPES_19.subset("generated streets", (0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 13))
CAMVID_11 = ClassSet(
    "CamVid 11",
    ("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist"),
    tuple(range(11)),
    (
        (128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222), (128, 128, 0),
        (192, 128, 128), (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192),
    ),
)  # fmt: skip
CAMVID_IGNORE = 11


def train_ids_from_label_ids(label_ids: np.ndarray) -> np.ndarray:
    """Cityscapes raw labelIds (0..33, and 255 or -1 read as 255) -> 19 train ids, void -> 255.

    Raises:
        ValueError: an id that Cityscapes does not define.
    """
    if ((label_ids > 33) & (label_ids != IGNORE)).any():
        raise ValueError(f"labelIds must lie in 0..33, found {np.unique(label_ids[label_ids > 33]).tolist()}")
    table = np.full(256, IGNORE, np.uint8)
    for train_id, (_, label_id, _) in enumerate(_CITYSCAPES):
        table[label_id] = train_id
    return table[label_ids]
