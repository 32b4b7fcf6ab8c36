"""Class names, colours and ids of the label sets; conversion of raw ids; checks.

Labels are uint8 train ids, 255 = ignore. Cityscapes' raw `labelIds` (0..33) are another numbering in which,
for instance, 7 is road and not traffic sign: they are converted here and never accepted as train ids.
Sources: facts/evaluation.md sec. 1 (Cityscapes with 19, 27 and 7 classes, COCO-Stuff), CamVid's SegNet layout (sample
data README), the development kits of Pascal VOC 2012 and ScanNet.
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
            hint = ": is it another kind of label map?"
            if extra.max() <= 33 and "road" in self.names:
                hint = " (they look like raw labelIds: convert them with train_ids_from_label_ids)"
            shown = f"{extra[:8].tolist()}{' and more' if len(extra) > 8 else ''}"
            raise ValueError(f"{where}: label values {shown} are no train ids of {self.name}{hint}")


@dataclass(frozen=True)
class RawIds:
    """Ids as a data set stores them -> train ids, by an explicit table.

    name: of the raw numbering, for messages.
    table: train id of each raw id that exists; 255 = ignored. Ids that are not in it are errors.
    """

    name: str
    table: dict[int, int]

    def to_train_ids(self, raw: np.ndarray, where: str) -> np.ndarray:
        """Train ids. Any shape, uint8.

        Raises:
            ValueError: an id that the data set does not define.
        """
        lookup = np.full(int(np.iinfo(raw.dtype).max) + 1, -1, np.int16)
        lookup[list(self.table)] = list(self.table.values())
        labels = lookup[raw]
        if (labels < 0).any():
            extra = np.unique(raw[labels < 0])
            shown = f"{extra[:8].tolist()}{' and more' if len(extra) > 8 else ''}"
            raise ValueError(f"{where}: {shown} are no {self.name}: is it another kind of label map?")
        return labels.astype(np.uint8)


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


_CITYSCAPES_27 = (  # labelIds 7 to 33: name, colour (PiCIE, IIC, STEGO; facts/evaluation.md sec. 1)
    *((c[0], c[2]) for c in _CITYSCAPES[:2]), ("parking", (250, 170, 160)), ("rail track", (230, 150, 140)),
    *((c[0], c[2]) for c in _CITYSCAPES[2:5]), ("guard rail", (180, 165, 180)), ("bridge", (150, 100, 100)),
    ("tunnel", (150, 120, 90)), ("pole", (153, 153, 153)), ("polegroup", (133, 133, 133)),
    *((c[0], c[2]) for c in _CITYSCAPES[6:16]), ("caravan", (0, 0, 90)), ("trailer", (0, 0, 110)),
    *((c[0], c[2]) for c in _CITYSCAPES[16:]),
)  # fmt: skip
CITYSCAPES_27 = ClassSet(
    "Cityscapes 27", tuple(c[0] for c in _CITYSCAPES_27), tuple(range(27)), tuple(c[1] for c in _CITYSCAPES_27)
)
CITYSCAPES_7 = ClassSet(
    "Cityscapes 7",
    ("flat", "construction", "object", "nature", "sky", "human", "vehicle"),
    tuple(range(7)),
    ((128, 64, 128), (70, 70, 70), (220, 220, 0), (107, 142, 35), (70, 130, 180), (220, 20, 60), (0, 0, 142)),
)
_GROUPS_7 = ((7, 10), (11, 16), (17, 20), (21, 22), (23, 23), (24, 25), (26, 33))  # first and last labelId
_VOID = {**dict.fromkeys(range(34), IGNORE), IGNORE: IGNORE}  # -1, the licence plate, is stored as 255
CITYSCAPES_LABELS = {
    "19": (CITYSCAPES_19, RawIds("Cityscapes labelIds", _VOID | {c[1]: i for i, c in enumerate(_CITYSCAPES)})),
    "27": (CITYSCAPES_27, RawIds("Cityscapes labelIds", _VOID | {i: i - 7 for i in range(7, 34)})),
    "7": (
        CITYSCAPES_7,
        RawIds("Cityscapes labelIds", _VOID | {i: g for g, (a, b) in enumerate(_GROUPS_7) for i in range(a, b + 1)}),
    ),
}
"""Label set -> classes, and the map from labelIds, which KITTI's and GTA5's labels use as well."""


def _bit_colors(count: int) -> tuple[tuple[int, int, int], ...]:
    """Pascal VOC's colours: the bits of the id, dealt to red, green and blue from the highest bit down."""
    return tuple(
        tuple(sum(((i >> (3 * bit + c)) & 1) << (7 - bit) for bit in range(8)) for c in range(3)) for i in range(count)
    )


_VOC = (
    "background aeroplane bicycle bird boat bottle bus car cat chair cow table dog horse motorbike person plant sheep "
    "sofa train monitor"
)
VOC_21 = ClassSet("Pascal VOC 21", tuple(_VOC.split()), tuple(range(21)), _bit_colors(21))
_COCO = (  # coarse class: 0-based ids of COCO-Stuff's 182 (PiCIE's grouping, facts/evaluation.md sec. 1)
    ("electronic", "71-76"), ("appliance", "77-82"), ("food things", "51-60"), ("furniture things", "61-70"),
    ("indoor", "83-90"), ("kitchen", "43-50"), ("accessory", "25-32"), ("animal", "15-24"), ("outdoor", "9-14"),
    ("person", "0"), ("sports", "33-42"), ("vehicle", "1-8"), ("ceiling", "101 102"), ("floor", "100 113-117"),
    ("food", "120 121 152 169"), ("furniture", "97 106 107 109 111 122 129 132 155 160 164"),
    ("raw material", "99 131 138 142"), ("textile", "91 92 103 104 108 130 136 140 151 166 167"),
    ("wall", "170-176"), ("window", "179 180"), ("building", "94 95 127 150 157 165"),
    ("ground", "110 124 125 135 139 143 144 146 148 153 158"), ("plant", "93 96 118 123 128 133 141 162 168"),
    ("sky", "105 156"), ("solid", "126 134 149 159 161 181"), ("structural", "98 112 137 145 163"),
    ("water", "119 147 154 177 178"),
)  # fmt: skip
COCO_27 = ClassSet("COCO-Stuff 27", tuple(c[0] for c in _COCO), tuple(range(27)), _bit_colors(28)[1:])


def _expand(ranges: str) -> list[int]:
    """The numbers that "33 41-43" names."""
    pairs = [(word.split("-") * 2)[:2] for word in ranges.split()]
    return [i for first, last in pairs for i in range(int(first), int(last) + 1)]


COCO_STUFF_IDS = RawIds(
    "COCO-Stuff ids (0 to 181)",
    {i: coarse for coarse, (_, ranges) in enumerate(_COCO) for i in _expand(ranges)} | {IGNORE: IGNORE},
)
_SCANNET = (  # name, NYU40 id: the 20 classes of ScanNet's benchmark
    ("wall", 1), ("floor", 2), ("cabinet", 3), ("bed", 4), ("chair", 5), ("sofa", 6), ("table", 7), ("door", 8),
    ("window", 9), ("bookshelf", 10), ("picture", 11), ("counter", 12), ("desk", 14), ("curtain", 16),
    ("refrigerator", 24), ("shower curtain", 28), ("toilet", 33), ("sink", 34), ("bathtub", 36),
    ("other furniture", 39),
)  # fmt: skip
SCANNET_20 = ClassSet("ScanNet 20", tuple(c[0] for c in _SCANNET), tuple(range(20)), _bit_colors(21)[1:])
NYU40_IDS = RawIds("NYU40 ids (0 to 40)", dict.fromkeys(range(41), IGNORE) | {c[1]: i for i, c in enumerate(_SCANNET)})


def train_ids_from_label_ids(label_ids: np.ndarray, label_set: str = "19", where: str = "labelIds") -> np.ndarray:
    """Cityscapes raw labelIds (0..33, and 255 for -1) -> train ids of 19, 27 or 7 classes, void -> 255.

    Raises:
        ValueError: an id that Cityscapes does not define.
    """
    return CITYSCAPES_LABELS[label_set][1].to_train_ids(label_ids, where)
