"""Decode and resize the frames of a run once, before the night begins; or only say how much and how long that is.

    python -m lib.run.prepare params/cityscapes --data-root ~/data --estimate
    python -m lib.run.prepare params/cityscapes --data-root ~/data

Interrupted, the same command goes on where it stopped. `--verify` reads every shard again and mends what is damaged.
Exit codes: 0 done, 1 it cannot be done (no data, no space), 2 a parameter is wrong.
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from .. import ROOT, params
from ..data import CACHE, Dataset, open_dataset
from ..data.prepared import Prepared, describe_time, estimate
from . import chain

MAP_BYTES = 4  # a pixel of packed regions and inverse depth, which 04 makes when it starts


def list_prepared(dataset: Dataset) -> list[Prepared]:
    """The prepared data sets inside one that may be joined from several."""
    if isinstance(dataset, Prepared):
        return [dataset]
    inner = (getattr(dataset, name, None) for name in ("_dataset", "_scored"))
    return [part for found in inner if found is not None for part in list_prepared(found)]


def describe(dataset: Dataset, workers: int) -> tuple[str, bool]:
    """What preparing will take, as text, and whether there is space for it."""
    pixels, total, lines = int(np.prod(dataset.size)), 0.0, []
    for part in list_prepared(dataset):
        shards = part.shards
        missing = sum(not shards.is_sealed(i) for i in range(shards.shards))
        size, seconds = estimate(shards, part.load, workers, missing)
        total += size
        there = f"{shards.shards - missing} of {shards.shards} shards are there"
        time = f"about {describe_time(seconds)} with {workers} workers" if missing else "nothing to do"
        lines.append(f"{part.name}: {shards.count} frames, {there}, {size:.2f} GB to write, {time}")
        lines.append(f"    in {shards.folder}")
    maps = len(dataset.frames("train")) * pixels * MAP_BYTES / 1e9
    near = next(p for p in (CACHE, *CACHE.parents) if p.exists())
    free = shutil.disk_usage(near).free / 1e9
    lines.append(f"later, by 04: {maps:.2f} GB of regions and inverse depth; free on this disk: {free:.0f} GB")
    if total + maps > free:
        lines.append("that is not enough: free some, set DATA_CACHE to another disk, or make height and width smaller")
    return "\n".join(lines), total + maps <= free


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m lib.run.prepare", description="Decode and resize frames once.")
    parser.add_argument("params", help="folder with one YAML file a notebook, e.g. params/cityscapes")
    parser.add_argument("-p", dest="overrides", action="append", default=[], metavar="NOTEBOOK.name=value")
    parser.add_argument("--data-root", default="", metavar="DIR", help="folder of the downloads")
    parser.add_argument("--estimate", action="store_true", help="only say how much and how long")
    parser.add_argument("--verify", action="store_true", help="read what is there again, and mend it")
    arguments = parser.parse_args(words)
    folder = Path(arguments.params)
    folder = folder if folder.is_dir() else ROOT / folder
    try:
        values = chain.read_run(folder, chain.parse_overrides(arguments.overrides), folder.name, arguments.data_root)
    except params.ParameterError as error:
        print(error, file=sys.stderr)
        return chain.BAD_PARAMETER
    depth = replace(values["01_depth"], prepare=True)
    try:
        dataset = open_dataset(depth)
        if not list_prepared(dataset):
            print(f"{dataset.name} keeps its frames by itself: there is nothing to prepare")
            return 0
        text, fits = describe(dataset, depth.workers)
        print(text)
        if arguments.estimate or not fits:
            return 0 if fits else 1
        for part in list_prepared(dataset):
            part.prepare(arguments.verify)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print("ready")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
