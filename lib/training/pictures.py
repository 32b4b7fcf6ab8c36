"""What a training looks like on its way: a few frames that it does not learn from, as the network sees them."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..data import Dataset, Frame
from ..networks import embed_images

VIEWS = 4  # frames looked at


def choose_views(dataset: Dataset) -> tuple[list[Frame], np.ndarray]:
    """Frames of the validation clips, evenly spread; of the training clips where there are none; and their images.

    Returns:
        V frames; (V, H, W, 3) uint8
    """
    frames = dataset.frames("val") or dataset.frames("train")
    frames = frames[:: max(len(frames) // VIEWS, 1)][:VIEWS]
    return frames, np.stack([dataset.image(frame) for frame in frames])


def take_picture(networks: nn.Module, images: np.ndarray) -> dict[str, np.ndarray]:
    """What the replay shows of one moment: the `on_picture` of `training.train`, with the images bound.

    Args:
        networks: "embedder" and "prototypes" of a task.
        images: RGB uint8. (V, H, W, 3)
    Returns:
        prototypes, the nearest one of each cell, (V, H/4, W/4) uint16; colors, the main components, (..., 3) uint8.
    """
    embeddings = F.normalize(embed_images(networks["embedder"], images))
    nearest = torch.einsum("vdhw,kd->vkhw", embeddings, networks["prototypes"].weight.detach().cpu()).argmax(dim=1)
    colors = color_features(embeddings, tuple(embeddings.shape[2:]))
    return {"prototypes": nearest.numpy().astype(np.uint16), "colors": np.stack(colors)}


def color_features(embeddings: Tensor, size: tuple[int, int]) -> list[np.ndarray]:
    """The three main axes of variation of all embeddings (B, D, h, w) as red, green, blue images of `size`.

    What has fewer than three dimensions, or does not vary, leaves colours dark.
    """
    unit = F.normalize(embeddings.float().cpu())
    unit = F.pad(unit, (0, 0, 0, 0, 0, max(3 - unit.shape[1], 0)))
    pixels = unit.permute(0, 2, 3, 1).flatten(0, 2)
    axes = torch.linalg.eigh(torch.cov(pixels.T)).eigenvectors[:, -3:].flip(1)
    axes = axes * axes.sum(dim=0).sign()  # an eigenvector's sign is arbitrary
    values = torch.einsum("bdhw,dc->bchw", unit, axes)
    low, high = (values.transpose(0, 1).flatten(1).quantile(q, dim=1)[:, None, None] for q in (0.02, 0.98))
    values = ((values - low) / (high - low).clamp(min=1e-6)).clamp(0, 1)
    colors = F.interpolate(values, size=size, mode="bilinear", align_corners=False)
    return list((colors.permute(0, 2, 3, 1).numpy() * 255).astype(np.uint8))
