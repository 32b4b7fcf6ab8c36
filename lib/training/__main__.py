"""The training of notebook 04 without the notebook, as one rank of many: for several machines.

    torchrun --nproc-per-node 8 -m lib.training street -p run=street8 -p upstream=street -p items=8
    python -m lib.run params/street --only 04 --out outputs/street8 -p 04.upstream=street -p 04.items=8

The first command trains on one machine with eight GPUs, on what 01 to 03 of street made, the second finds the finished
training and writes the stage.
Over several machines: torchrun --nnodes 2 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint HOST:29500, and items
a multiple of 16.

RUN names a folder of params/ and of outputs/, or is a path of parameters; 01 to 03 must be finished. All machines see
one `outputs`, or a copy of 01 to 03; the first writes checkpoints.
"""

import argparse
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import distributed

from .. import ROOT, artifacts, params
from ..data import open_dataset
from ..methods.cpcdr import find_start, open_task
from ..parallel import pick_device
from . import read_settings, train
from .health import CollapseWatch
from .pictures import choose_views, take_picture
from .processes import SILENCE, find_backend, pick_rank_device

NAME = "04_training"


def read_parameters(run: str, overrides: list[str]) -> params.TrainingParams:
    """Those of params/RUN/04_training.yaml, or the defaults, with changes of the form name=value.

    Raises:
        ParameterError: an unknown name, a wrong type or value.
    """
    folder = Path(run) if Path(run).is_dir() else ROOT / "params" / run
    changes: dict[str, Any] = {"run": folder.name}
    for word in overrides:
        name, equals, value = word.partition("=")
        if not equals:
            raise params.ParameterError(f"-p {word}: write name=value, for example steps=500")
        changes[name] = value if params.is_text(params.TrainingParams, name) else yaml.safe_load(value)
    file = folder / f"{NAME}.yaml"
    if file.is_file():
        return params.read_file(params.TrainingParams, file, changes)
    return params.make(params.TrainingParams, changes)


def main(words: list[str] | None = None) -> int:
    """0 if the training is finished, 1 if a sentence says why not, 2 if a parameter is wrong, 130 if interrupted."""
    parser = argparse.ArgumentParser(prog="torchrun -m lib.training", description=__doc__.split("\n")[0])
    parser.add_argument("run", help="a folder of params/, or its path")
    parser.add_argument("-p", dest="overrides", action="append", default=[], metavar="name=value")
    chosen = parser.parse_args(words)
    rank, ranks = (int(os.environ.get(name, default)) for name, default in (("RANK", "0"), ("WORLD_SIZE", "1")))
    try:
        values = read_parameters(chosen.run, [*chosen.overrides, f"processes={ranks}"])
    except params.ParameterError as error:
        print(error, file=sys.stderr)
        return 2
    local_rank, stopped = int(os.environ.get("LOCAL_RANK", "0")), 0
    try:
        device = pick_device(values.device)
        device = pick_rank_device(device, local_rank) if ranks > 1 else device
    except RuntimeError as error:  # no such GPU
        print(error, file=sys.stderr)
        return 1
    try:
        if ranks > 1:
            distributed.init_process_group(find_backend(device), timeout=SILENCE)
        _train(values, rank, ranks, device, local_rank)
    except KeyboardInterrupt as error:
        print(error, file=sys.stderr)
        stopped = 130
    except (artifacts.ArtifactError, OSError, ArithmeticError, ValueError, ModuleNotFoundError, RuntimeError) as error:
        print(f"process {rank + 1} of {ranks}: {error}" if ranks > 1 else error, file=sys.stderr)
        return 1  # without a farewell to the others, who may be waiting for it: torchrun ends them
    if ranks > 1:
        distributed.destroy_process_group()
    return stopped


def _train(values: params.TrainingParams, rank: int, ranks: int, device: torch.device, local_rank: int) -> None:
    augmentation = artifacts.load(values.upstream or values.run, "03_augmentation")
    start = find_start(values)
    if local_rank and ranks > 1:
        distributed.barrier()  # the first of each machine packs what does not fit into memory
    task, folder, key = open_task(values, augmentation, start), artifacts.run_folder(values.run) / NAME, {}
    if local_rank == 0 and ranks > 1:
        distributed.barrier()
    if rank == 0:  # the others ask for no file of the stage
        inputs = [*(augmentation.source(name) for name in ("01_depth", "02_regions")), augmentation, *start]
        stage = artifacts.begin(NAME, values, inputs)
        key = stage.resume_key("lib.methods.cpcdr", "lib.training")
    settings = read_settings(values) | {"device": device}
    if ranks > 1:
        task = task.for_rank(rank, ranks)
    take = partial(take_picture, images=choose_views(open_dataset(augmentation.source("01_depth").params))[1])
    train(task, folder, key=key, on_picture=take, watch=CollapseWatch(values.prototypes), **settings)
    if rank == 0:
        print(f"finished in {folder}; notebook 04 with these parameters finds it there and writes the stage")


if __name__ == "__main__":
    sys.exit(main())
