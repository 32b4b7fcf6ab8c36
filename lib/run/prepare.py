"""Decode and resize the frames of a run once, before the night begins; or only say how much and how long that is.

    python -m lib.run.prepare params/cityscapes --data-root ~/data --estimate
    python -m lib.run.prepare params/cityscapes --data-root ~/data
    python -m lib.run.prepare --clean                           what earlier runs have left
    python -m lib.run.prepare --clean NAME NAME                 remove these

Interrupted, the same command goes on where it stopped. `--verify` reads every shard again and mends what is damaged.
Exit codes: 0 done, 1 it cannot be done (no data, no space), 2 a parameter is wrong, 130 interrupted.
"""

import argparse
import os
import shutil
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import ROOT, params
from ..artifacts import stages
from ..data import Dataset, open_dataset, prepared
from ..data.prepared import SPARE, Prepared, describe_time, estimate, need_video
from . import chain

MAP_BYTES = 4  # a pixel of packed regions and inverse depth, which 04 makes when it starts
PNG_BYTES = {"01_depth": 1.06, "02_regions": 0.1}  # a pixel of inverse depth, measured at 384 x 768, and of regions


def list_prepared(dataset: Dataset) -> list[Prepared]:
    """The prepared data sets inside one that may be joined from several."""
    if isinstance(dataset, Prepared):
        return [dataset]
    inner = (getattr(dataset, name, None) for name in ("_dataset", "_scored"))
    return [part for found in inner if found is not None for part in list_prepared(found)]


def open_videos(dataset: Dataset, depth: Any) -> list[Dataset]:
    """The data sets of `clips`, `dataset` among them where it is named; says which have no video.

    Raises:
        ValueError: none of them has a clip that depth can be learned from.
    """
    known = {part.name: part for part in (dataset, *list_prepared(dataset))}
    videos = [known.get(name) or open_dataset(depth, name) for name in depth.clips]
    unfit = []
    for name, video in zip(depth.clips, videos):
        try:
            need_video(video, 2 * depth.frame_step + 1, name)
        except ValueError as error:
            unfit.append(str(error))
    if unfit and len(unfit) == len(videos):
        raise ValueError(unfit[0])
    for text in unfit:
        print(text)
    return videos


def measure(folder: Path) -> tuple[int, float]:
    """Bytes of all files below a folder, and when one of them was last read or written, in seconds since 1970."""
    found = [path.stat() for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []
    return sum(s.st_size for s in found), max((max(s.st_atime, s.st_mtime) for s in found), default=0.0)


def find_disk(path: Path) -> tuple[Path, int]:
    """The part of a path that exists, and the number of the disk it lies on."""
    near = next(p for p in (path, *path.absolute().parents) if p.exists())
    return near, os.stat(near).st_dev


def describe(parts: Sequence[Prepared], dataset: Dataset, run: str, workers: int) -> tuple[str, bool]:
    """What preparing `parts`, and then the run on `dataset`, will take, as text, and whether there is space for it."""
    pixels, total, lines = int(np.prod(dataset.size)), 0.0, []
    for part in parts:
        shards = part.shards
        missing = sum(not shards.is_sealed(i) for i in range(shards.shards))
        size, seconds = estimate(shards, part.load, workers, missing)
        total += size
        there = f"{shards.shards - missing} of {shards.shards} shards are there"
        took = f"about {describe_time(seconds)} with {workers} workers" if missing else "nothing to do"
        lines.append(f"{part.name}: {shards.count} frames, {there}, {size:.2f} GB to write, {took}")
        lines.append(f"    in {shards.folder}")
    maps = len(dataset.frames("train")) * pixels * MAP_BYTES / 1e9
    written = 0.0
    for name, share in PNG_BYTES.items():
        size = len(dataset.frames()) * pixels * share - measure(stages.run_folder(run) / name)[0]
        written += max(size, 0) / 1e9
    lines.append(f"later, by 01 and 02: {written:.2f} GB below {stages.OUTPUTS}; by 04: {maps:.2f} GB of packed maps")
    return check_space(lines, {prepared.CACHE: total + maps, stages.OUTPUTS: written})


def check_space(lines: Sequence[str], needed: dict[Path, float]) -> tuple[str, bool]:
    """The text with a line for each disk, and whether every disk can hold the gigabytes that its folders need."""
    lines, disks, fits = list(lines), {}, True
    for folder, size in needed.items():
        near, disk = find_disk(folder)
        first, before = disks.get(disk, (near, 0.0))
        disks[disk] = (first, before + size)
    for near, size in disks.values():
        free = shutil.disk_usage(near).free / 1e9
        lines.append(f"disk of {near}: {size:.2f} GB needed, {free:.0f} GB free")
        fits = fits and size * SPARE <= free
    if not fits:
        remedy = "set DATA_CACHE or RUNS_ROOT to another disk, or make height and width smaller"
        lines.append(f"that is not enough: free some (see --clean), {remedy}")
    return "\n".join(lines), fits


def prepare(depth: Any, only_estimate: bool, verify: bool) -> int:
    """Prepare every data set that 01 reads; returns the exit code.

    Args:
        depth: parameters of 01.
    """
    depth = replace(depth, prepare=True)
    dataset = open_dataset(depth)
    videos = open_videos(dataset, depth)
    parts = {part.shards.folder: part for data in (dataset, *videos) for part in list_prepared(data)}
    if not parts:
        print(f"{dataset.name} keeps its frames by itself: there is nothing to prepare")
        return 0
    text, fits = describe(list(parts.values()), dataset, depth.run, depth.workers)
    print(text)
    if not fits:
        return chain.FAILED
    if not only_estimate:
        for part in parts.values():
            part.prepare(verify)
        print("ready")
    return 0


def clean(names: Sequence[str]) -> int:
    """List what lies in the cache or, with names, remove these folders of it; returns the exit code."""
    folder = prepared.CACHE
    found = {p.name: p for p in sorted(folder.glob("*")) if p.is_dir() and not p.is_symlink()}
    if unknown := [name for name in names if name not in found]:
        print(f"no {unknown[0]} in {folder}: give names as --clean lists them; nothing was removed", file=sys.stderr)
        return chain.BAD_PARAMETER
    print(f"{'removed from' if names else 'in'} {folder}:" if found else f"nothing in {folder}")
    for name in dict.fromkeys(names or found):
        size, last = measure(found[name])
        days = f"last read or written {max(time.time() - last, 0) / 86400:.0f} days ago" if last else "empty"
        if names:
            shutil.rmtree(found[name])
        print(f"    {name}: {size / 1e9:.2f} GB, {days}")
    return 0


def read_arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m lib.run.prepare", description="Decode and resize frames once.")
    parser.add_argument("params", nargs="?", help="folder with one YAML file a notebook, e.g. params/cityscapes")
    parser.add_argument("-p", dest="overrides", action="append", default=[], metavar="NOTEBOOK.name=value")
    parser.add_argument("--data-root", default="", metavar="DIR", help="folder of the downloads")
    parser.add_argument("--estimate", action="store_true", help="only say how much and how long")
    parser.add_argument("--verify", action="store_true", help="read what is there again, and mend it")
    parser.add_argument("--clean", nargs="*", metavar="NAME", help="list what was prepared, or remove what is named")
    arguments = parser.parse_args(words)
    if (arguments.params is None) == (arguments.clean is None):
        parser.error("give a folder of parameters, e.g. params/cityscapes, or --clean")
    return arguments


def main(words: Sequence[str]) -> int:
    arguments = read_arguments(words)
    warnings.filterwarnings("ignore", category=UserWarning, module="joblib")  # counts of tasks when interrupted
    try:
        if arguments.clean is not None:
            return clean(arguments.clean)
        folder = Path(arguments.params)
        folder = folder if folder.is_dir() else ROOT / folder
        overrides = chain.parse_overrides(arguments.overrides)
        values = chain.read_run(folder, overrides, folder.resolve().name, arguments.data_root)
        return prepare(values["01_depth"], arguments.estimate, arguments.verify)
    except params.ParameterError as error:
        print(error, file=sys.stderr)
        return chain.BAD_PARAMETER
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return chain.FAILED
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where it stopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
