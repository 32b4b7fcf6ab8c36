"""Small tasks for the engine: they learn in milliseconds."""

import math

import numpy as np
import torch
from torch import nn

from lib.parallel import torch_generator
from lib.parallel.ranks import count_ranks
from lib.training import train

CPU = torch.device("cpu")
ROWS = 8


class Sampler:
    def __init__(self, seed: int, bad_step: int = -1, rank: int = 0, ranks: int = 1) -> None:
        self.seed, self.bad_step, self.rank, self.ranks = seed, bad_step, rank, ranks

    def __call__(self, step: int) -> dict:
        x = torch.randn(ROWS, 4, generator=torch_generator(self.seed, step))
        x = x * (math.nan if step == self.bad_step else 1)
        return {"x": x.chunk(self.ranks)[self.rank], "scale": np.float32(1.0)}


class Line:
    """Learns the sum of its inputs, through batch statistics that are state as well."""

    def __init__(self, seed: int = 0, bad_step: int = -1) -> None:
        self.sample = Sampler(seed, bad_step)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.networks = nn.Sequential(
                nn.Linear(4, 8), nn.Unflatten(1, (8, 1, 1)), nn.BatchNorm2d(8), nn.Flatten(), nn.ReLU(), nn.Linear(8, 1)
            )

    def for_rank(self, rank: int, ranks: int) -> "Line":
        self.sample = Sampler(self.sample.seed, self.sample.bad_step, rank, ranks)
        return self

    def loss(self, batch, step):
        error = self.networks(batch["x"])[:, 0] - batch["x"].sum(1) * batch["scale"]
        numbers = {"largest": error.detach().abs().max(), "step": step}
        return error.square().sum() / (len(error) * count_ranks()), numbers


def run(task, folder, steps=12, **options):
    settings = {"learning_rate": 0.05, "device": CPU, "key": {"params": {"seed": 0}}, "checkpoint_every": 5}
    settings["precision"] = "float32"
    return train(task, folder, steps=steps, **(settings | options))


def refuse_to_compile(module, *_, **__):
    """In the place of `torch.nn.Module.compile`, where there is no compiler."""

    def fail(*_):
        raise RuntimeError("no compiler here\nand more lines")

    module._compiled_call_impl = fail


def weights(task):
    return torch.cat([v.flatten().double() for v in task.networks.state_dict().values()])
