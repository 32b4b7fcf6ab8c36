"""Part 3: which data sets lie below the data root, and what they hold. Nothing is decoded or prepared."""

import os
import sys
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from ... import params
from ...data import Dataset, find_root, load_reader, open_dataset
from .report import Report, first_sentence

ELSEWHERE = ("street", "images", "video")  # generated, or named by `path`
TRIPLET = 3  # frames that depth needs of a clip


@dataclass(frozen=True)
class Found:
    """What was found of a data set. state: found, absent, or refused (it is there, and its reader says no)."""

    state: str
    text: str
    clips: frozenset[str] = frozenset()
    dataset: Dataset | None = field(default=None, repr=False)


def show_data(report: Report, root: str) -> dict[str, Found]:
    """Returns what was found, by name; `root` is the argument, empty = the environment."""
    given = root or os.environ.get("DATA_ROOT", "")
    if not given:
        report.say("downloads", "no folder given: set DATA_ROOT, or add --data-root DIR; generated streets need none")
    else:
        named, path = "--data-root" if root else "DATA_ROOT", Path(given).expanduser()
        report.say("downloads", f"{path}, from {named}{'' if path.is_dir() else ': THERE IS NO SUCH FOLDER'}")
    found = {}
    for name in params.DATASETS:
        if name not in ELSEWHERE:
            found[name] = look(name, root)
            report.say(name, found[name].text)
    return found


def look(name: str, root: str) -> Found:
    """Open one data set at the default size."""
    try:
        dataset = open_dataset(params.DepthParams(data_root=root), name)
        return Found("found", describe(dataset), frozenset(f.clip for f in dataset.frames()), dataset)
    except Exception as error:  # whatever a reader makes of files it was not made for
        absent = traceback.extract_tb(error.__traceback__)[-1].name == find_root.__name__
        if absent:
            return Found("absent", f"not there. {_where_from(name)}".strip())
        return Found("refused", f"there, but refused: {first_sentence(error)}")


def _where_from(name: str) -> str:
    reader = load_reader(name)
    return getattr(reader, "help", "") or getattr(sys.modules[reader.__module__], "HELP", "")


def describe(dataset: Dataset) -> str:
    """Frames of each split, labelled ones, videos."""
    splits = Counter(frame.split for frame in dataset.frames())
    frames = ", ".join(f"{split} {splits[split]}" for split in ("train", "val", "test") if splits[split])
    videos = len(dataset.clips(shortest=TRIPLET))
    return f"frames: {frames}; labelled: {len(dataset.frames(labelled=True))}; videos: {videos or 'none'}"
