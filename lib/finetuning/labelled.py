"""Training with labels from nothing: the upper mark of notebook 05."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..data.labels import IGNORE
from ..networks import Embedder, seed_weights
from ..parallel import numpy_generator

LABELLED = 5  # stream of random numbers
BRIGHTNESS = 0.4  # colours are multiplied by 1 +- this, each channel by another 1 +- a quarter of it


@dataclass(frozen=True)
class LabelledSampler:
    """step -> batch of frames (B, H, W, 3) uint8 and labels (B, H, W) int64, mirrored and recoloured at random.

    images: (N, H, W, 3) uint8; labels: class indices, 255 = ignore, (N, H, W) uint8.
    """

    images: np.ndarray
    labels: np.ndarray
    batch: int
    seed: int

    def __call__(self, step: int) -> dict[str, Tensor]:
        rng = numpy_generator(self.seed, LABELLED, step)
        chosen = rng.integers(0, len(self.images), self.batch)
        flip = rng.random(self.batch) < 0.5
        light = 1 + rng.uniform(-BRIGHTNESS, BRIGHTNESS, (self.batch, 1, 1, 1))
        tint = 1 + rng.uniform(-BRIGHTNESS / 4, BRIGHTNESS / 4, (self.batch, 1, 1, 3))
        images = np.clip(self.images[chosen] * light * tint, 0, 255).astype(np.uint8)
        labels = self.labels[chosen].astype(np.int64)
        images[flip], labels[flip] = images[flip, :, ::-1], labels[flip, :, ::-1]
        return {"images": torch.from_numpy(images), "labels": torch.from_numpy(labels)}


class LabelledTask:
    """The network of 04 with fresh weights and a linear classifier on its head; cross-entropy over labelled pixels.

    For `lib.training.train`: `networks` holds "embedder" (its projection is not used) and "classifier".
    """

    def __init__(self, encoder: str, dimensions: int, classes: int, sample: LabelledSampler) -> None:
        self.sample = sample
        with seed_weights(sample.seed):
            embedder = Embedder(encoder, dimensions)
            classifier = nn.Conv2d(embedder.head.width, classes, 1)
        embedder.projection.requires_grad_(False)
        self.networks = nn.ModuleDict({"embedder": embedder, "classifier": classifier})

    def _classify(self, images: Tensor) -> Tensor:
        scores = self.networks["classifier"](self.networks["embedder"].features(images))
        return F.interpolate(scores.float(), size=images.shape[1:3], mode="bilinear", align_corners=False)

    def loss(self, batch: dict[str, Tensor], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        return F.cross_entropy(self._classify(batch["images"]), batch["labels"], ignore_index=IGNORE), {}

    @torch.no_grad()
    def predict(self, images: np.ndarray, batch: int = 8) -> np.ndarray:
        """Class index of every pixel. (N, H, W, 3) uint8 -> (N, H, W) uint8"""
        device, training = self.networks["classifier"].weight.device, self.networks.training
        self.networks.eval()
        chunks = torch.from_numpy(images).split(batch)
        maps = [self._classify(chunk.to(device)).argmax(dim=1).cpu() for chunk in chunks]
        self.networks.train(training)
        return torch.cat(maps).numpy().astype(np.uint8)
