"""What is asked for of a segmentation, the folder it is written to, what its numbers mean, and how fast it was."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..artifacts import read_json, write_json
from ..data.labels import IGNORE, ClassSet
from ..params.fields import check, check_finite, check_positive

NAMINGS = ("prototypes", "clusters")
SETTINGS, LEGEND = "segment.json", "legend.json"
PICTURES = ("labels/*.png", "overlay/*.png", "overlay.mp4")  # what a clip leaves in its folder
IMAGES = "images.json"  # what each image was when its results were made
SHORT = 40  # letters of a value that is worth showing


@dataclass(frozen=True)
class Choices:
    """How frames are segmented.

    naming, clusters: see `load_segmenter`; no naming = prototypes, or that of the model.
    size: rows at which pixels are named, before the map takes the size of the stored frame, nearest; 0 = as many as
    the networks see, or as the model gives. More are slower, and make borders smoother.
    step, start, seconds: every so manyth frame of which part; images of a folder are taken to be 1/30 s apart.
    crop_bottom: share of the height below that is not looked at, the bonnet; -1 = as the run did with its own video,
    else 0.
    keep_aspect: look at the largest centred part of the run's shape, in place of the whole frame, stretched to it;
    None = as the run with its own frames. What is not looked at has no name, 255.
    """

    naming: str = ""
    clusters: int = 12
    size: int = 0
    step: int = 1
    start: float = 0.0
    seconds: float = 0.0
    crop_bottom: float = -1.0
    keep_aspect: bool | None = None

    def __post_init__(self) -> None:
        check_finite(self)
        check(self.naming in ("", *NAMINGS), f"naming must be {' or '.join(NAMINGS)}, not {self.naming!r}")
        check_positive(self, "step")
        check(self.clusters >= 2, f"clusters must be at least 2, not {self.clusters}")
        check(self.size == 0 or self.size >= 8, f"size must be 0, or at least 8 rows, not {self.size}")
        check(self.start >= 0 and self.seconds >= 0, "start and seconds must not be negative")
        crop = self.crop_bottom
        check(crop == -1 or 0 <= crop < 0.9, f"crop_bottom must be -1 or lie in 0..0.9, not {crop}")


@dataclass(frozen=True)
class Segmented:
    """What a call did. made: frames that it segmented; found: frames that an earlier one had.

    seconds: wall time of reading, segmenting, writing and drawing; network_seconds: of it, from images at the network's
    size to labels; drawing_seconds: of it, for pictures.
    size, label_size: (H, W) that the networks see, and of their labels. notes: sentences on what is amiss.
    unread: a sentence on each image that could not be read, and has no labels.
    """

    folder: Path
    made: int
    found: int
    seconds: float
    network_seconds: float
    drawing_seconds: float
    device: str
    size: tuple[int, int]
    label_size: tuple[int, int]
    notes: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()

    def describe(self) -> str:
        """One line: how many frames, how fast, on what, at which size."""
        if not self.made:
            return f"nothing to do: the labels of all {count(self.found, 'frame')} are in {self.folder}"
        found = f" ({self.found} more were there)" if self.found else ""
        seen, named = (f"{size[0]} x {size[1]}" for size in (self.size, self.label_size))
        bare = self.made / (self.seconds - self.drawing_seconds)
        drawn = f"{bare:.1f} without pictures, " if self.drawing_seconds > 0.01 * self.seconds else ""
        speed = f"{self.made / self.seconds:.1f} a second in total, {drawn}{self.made / self.network_seconds:.1f}"
        return (
            f"{count(self.made, 'frame')}{found} in {self.seconds:.1f} s: {speed} the network alone; "
            f"{self.device}, {seen}, labels {named}"
        )


def check_folder(folder: Path, settings: dict[str, Any]) -> None:
    """May results with these settings be written to a folder: is it new, or are those in it of the same settings?

    Raises:
        ValueError: it holds results with other settings, or files that are no results.
    """
    file = folder / SETTINGS
    if not file.is_file():
        strangers = [p.name for p in folder.iterdir() if p.name[0] != "."] if folder.is_dir() else []
        if strangers:
            raise ValueError(
                f"{folder} is not empty and holds no segmentation ({strangers[0]}): choose another folder with --out"
            )
    elif changed := _describe_changes(read_json(file).get("settings", {}), settings):
        raise ValueError(
            f"{folder} holds a segmentation with other settings ({changed}): "
            "choose another folder with --out, or add --force to make it anew"
        )


def count(number: int, word: str) -> str:
    """1 frame, 2 frames."""
    return f"{number} {word}{'s' * (number != 1)}"


def begin_folder(folder: Path, settings: dict[str, Any], clips: list[str], images: dict[str, str], force: bool) -> None:
    """Claim a folder for results with these settings, or go on in one that has them.

    Results of images that changed since, or are no longer there, are removed.

    Args:
        settings: all that decides what is written; JSON-ready. clips: the folders in it, empty = itself.
        images: see `hash_images`.
        force: remove the pictures that an earlier call wrote, whatever its settings, and nothing else.
    """
    file = folder / SETTINGS
    for clip in read_json(file).get("clips", []) if force and file.is_file() else []:
        for path in [path for kind in PICTURES for path in (folder / clip).glob(kind)]:
            path.unlink()
    before = read_json(folder / IMAGES) if (folder / IMAGES).is_file() else {}
    for name in (name for name, known in before.items() if images.get(name) != known):
        clip, _, frame = name.rpartition("/")
        for kind in ("labels", "overlay"):
            (folder / clip / kind / f"{frame}.png").unlink(missing_ok=True)
    write_json(file, {"settings": settings, "clips": clips})
    if images:
        write_json(folder / IMAGES, images)


def _describe_changes(old: dict[str, Any], new: dict[str, Any]) -> str:
    """What differs, with both values where they are short."""
    changes = [(key, old.get(key), new.get(key)) for key in {**old, **new} if old.get(key) != new.get(key)]
    return ", ".join(
        key if max(len(str(a)), len(str(b))) > SHORT else f"{key}: {a} there, {b} now" for key, a, b in changes
    )


def list_classes(classes: ClassSet) -> dict[str, Any]:
    """Name and colour of every value that a label can have, by its number; JSON-ready."""
    known = zip(classes.ids, classes.names, classes.colors)
    table = {str(number): {"name": name, "color": list(color)} for number, name, color in known}
    return {"classes": classes.name, "labels": {**table, str(IGNORE): {"name": "no name", "color": [0, 0, 0]}}}
