"""What parameters point at: files and folders of the user, and the modules that read them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from .schemas import DATASETS, RegionParams

PATHS = ("path", "maps", "bonnet")  # parameters that name a file or folder


def list_paths(values: Any) -> dict[str, Path]:
    """Parameter -> the file or folder it names, of those that do; `start` of 04 only where it is a file, and of the
    starts of 06 those that are, "starts 0" and so on.
    """
    given = {name: getattr(values, name, "") for name in PATHS}
    starts = {f"starts {i}": start for i, start in enumerate(getattr(values, "starts", ()))}
    for name, start in ({"start": getattr(values, "start", "")} | starts).items():
        if _is_weights(start):
            given[name] = start
    return {name: Path(path).expanduser() for name, path in given.items() if path}


def _is_weights(start: Any) -> bool:
    known = ("", "random", "imagenet", "own")
    return isinstance(start, str) and start not in known and Path(start).expanduser().is_file()  # of 11: seconds


def locate(values: Any) -> Any:
    """The same parameters, with files and folders from where the command was given: notebooks run elsewhere."""
    paths = {name: str(path.absolute()) for name, path in list_paths(values).items()}
    if any(name.startswith("starts ") for name in paths):
        starts = tuple(paths.pop(f"starts {i}", start) for i, start in enumerate(values.starts))
        paths["starts"] = starts
    return replace(values, **paths)


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
