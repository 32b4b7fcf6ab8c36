"""What parameters point at: files and folders of the user, and the modules that read them."""

from pathlib import Path
from typing import Any

from .schemas import DATASETS, RegionParams

PATHS = ("path", "maps", "bonnet")  # parameters that name a file or folder


def list_paths(values: Any) -> dict[str, Path]:
    """Parameter -> the file or folder it names, of those that do; `start` of 04 only where it is a file."""
    given = {name: getattr(values, name, "") for name in PATHS}
    start = getattr(values, "start", "")  # of 11 it is a number of seconds
    if isinstance(start, str) and start not in ("", "random", "imagenet") and Path(start).expanduser().is_file():
        given["start"] = start
    return {name: Path(path).expanduser() for name, path in given.items() if path}


def reader_modules(params: Any) -> set[str]:
    """Modules that are loaded by name, as parameters say: a change to another one leaves the run up to date.

    Those that read the data of a run, and for learned regions those that make clusters.
    """
    if isinstance(params, RegionParams) and params.source == "learned":
        return {"lib.clusters"}
    if not hasattr(params, "dataset"):
        return set()
    names = {params.dataset, params.scored_dataset, *(clip.split(":")[0] for clip in params.clips)} - {""}
    names |= {"street"} if params.start_steps else set()
    return {f"lib.data.{DATASETS[name].split(':')[0]}" for name in names}
