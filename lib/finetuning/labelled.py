"""Frames with labels, some or all of them, and the training that looks at every pixel's class."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..data import Dataset, Frame
from ..data.labels import IGNORE
from ..parallel import numpy_generator

LABELLED, SPLIT = 5, 6  # streams of random numbers
BRIGHTNESS = 0.4  # colours are multiplied by 1 +- this, each channel by another 1 +- a quarter of it
IN_MEMORY = 2 << 30  # bytes of frames beyond which they are read when they are asked for


class LazyFrames:
    """Looks like an array of frames (N, ...); they are read when rows of it are asked for."""

    def __init__(self, read: Callable[[Frame], np.ndarray], frames: Sequence[Frame]) -> None:
        self.read, self.frames = read, list(frames)

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """(n,) indices -> (n, ...)"""
        return np.stack([self.read(self.frames[row]) for row in rows])


def _read_labels(dataset: Dataset, frame: Frame) -> np.ndarray:
    labels = dataset.labels(frame)
    dataset.classes.check(labels, f"{dataset.name}, frame {frame.id}")
    return dataset.classes.to_index(labels)


def gather_labelled(dataset: Dataset, frames: Sequence[Frame]) -> tuple[Any, Any]:
    """Images (N, H, W, 3) uint8 and class indices (N, H, W) uint8, 255 = ignore: arrays, or, where they would fill the
    memory, what looks like arrays.

    Raises:
        ValueError: no frame, no labels, or labels that are none of the data set's.
    """
    if not frames or dataset.classes is None:
        raise ValueError(f"{dataset.name} has no labelled frames to learn from: name a data set with labels by `data`")
    lazy = LazyFrames(dataset.image, frames), LazyFrames(partial(_read_labels, dataset), frames)
    if 4 * len(frames) * math.prod(dataset.size) > IN_MEMORY:
        return lazy
    return tuple(each[np.arange(len(frames))] for each in lazy)


def choose_labelled(count: int, fraction: float, seed: int = 0) -> np.ndarray:
    """Which of `count` frames keep their labels: the same for all networks, and a smaller share is part of a larger.

    Args:
        fraction: of all frames, 0 < fraction <= 1; at least one frame.
        seed: of the order in which frames are taken; another one is another split.
    Returns:
        Indices in ascending order. (n,)
    Raises:
        ValueError: a fraction that is none.
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"a fraction of the labels must lie in 0..1, above 0, not {fraction}")
    order = numpy_generator(seed, SPLIT).permutation(count)
    return np.sort(order[: max(round(count * fraction), 1)])


@dataclass(frozen=True)
class LabelledSampler:
    """step -> batch of frames (B, H, W, 3) uint8 and labels (B, H, W) int64, mirrored and recoloured at random.

    images: (N, H, W, 3) uint8; labels: class indices, 255 = ignore, (N, H, W) uint8; or `LazyFrames` of both.
    chosen: those that are drawn from; None = all. (n,)
    """

    images: Any
    labels: Any
    batch: int
    seed: int
    chosen: np.ndarray | None = None

    def __call__(self, step: int) -> dict[str, Tensor]:
        rng = numpy_generator(self.seed, LABELLED, step)
        rows = rng.integers(0, len(self.images) if self.chosen is None else len(self.chosen), self.batch)
        rows = rows if self.chosen is None else self.chosen[rows]
        flip = rng.random(self.batch) < 0.5
        light = 1 + rng.uniform(-BRIGHTNESS, BRIGHTNESS, (self.batch, 1, 1, 1))
        tint = 1 + rng.uniform(-BRIGHTNESS / 4, BRIGHTNESS / 4, (self.batch, 1, 1, 3))
        images = np.clip(self.images[rows] * light * tint, 0, 255).astype(np.uint8)
        labels = self.labels[rows].astype(np.int64)
        images[flip], labels[flip] = images[flip, :, ::-1], labels[flip, :, ::-1]
        return {"images": torch.from_numpy(images), "labels": torch.from_numpy(labels)}


class LabelledTask:
    """Cross-entropy over all labelled pixels; for `lib.training.train`.

    Args:
        network: RGB (B, H, W, 3) uint8 -> scores of classes (B, C, H, W).
    """

    def __init__(self, network: nn.Module, sample: Callable[[int], dict[str, Tensor]]) -> None:
        self.networks, self.sample = nn.ModuleDict({"network": network}), sample

    def loss(self, batch: dict[str, Tensor], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        scores = self.networks["network"](batch["images"])
        return F.cross_entropy(scores.float(), batch["labels"], ignore_index=IGNORE), {}

    @torch.no_grad()
    def predict(self, images: np.ndarray, batch: int = 8) -> np.ndarray:
        """Class index of every pixel. (N, H, W, 3) uint8 -> (N, H, W) uint8"""
        device, training = next(self.networks.parameters()).device, self.networks.training
        self.networks.eval()
        maps = [
            self.networks["network"](chunk.to(device)).argmax(dim=1).cpu()
            for chunk in torch.from_numpy(np.asarray(images)).split(batch)
        ]
        self.networks.train(training)
        return torch.cat(maps).numpy().astype(np.uint8)
