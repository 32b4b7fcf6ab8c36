"""Regions as points of the embedding space, with the class that most of each one's pixels have."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..artifacts import Artifact
from ..data import Frame, read_map
from ..data.labels import IGNORE


@dataclass(frozen=True)
class RegionPoints:
    """vectors: mean unit embedding of each region. (R, D) float32. classes: index of the class that most of its pixels
    have. (R,). cells: its size, in cells of 4 x 4 pixels. (R,)
    """

    vectors: np.ndarray
    classes: np.ndarray
    cells: np.ndarray


def find_region_maps(frames: Sequence[Frame], regions: Artifact, most: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Which of the frames notebook 02 has grouped, evenly spread where there are many, and their maps.

    Args:
        regions: the finished 02.
    Returns:
        Rows of `frames` (M,), and (M, H, W) uint16; both empty where 02 has none of them.
    """
    known = [i for i, frame in enumerate(frames) if f"regions/{frame.id}.png" in regions.manifest["files"]]
    known = known[:: -(-len(known) // most) or 1]
    maps = [read_map(regions.path(f"regions/{frames[i].id}.png")) for i in known]
    return np.array(known, int), np.stack(maps) if maps else np.zeros((0, 0, 0), np.uint16)


def average_regions(embeddings: Tensor, regions: np.ndarray, truth: np.ndarray, smallest: int = 4) -> RegionPoints:
    """The regions of some frames, each as one point.

    Args:
        embeddings: (N, D, H/4, W/4)
        regions: 0 = none. (N, H, W)
        truth: class indices, 255 = ignore. (N, H, W)
        smallest: cells that a region must have, and as many of them labelled.
    Raises:
        ValueError: no region is large enough.
    """
    ids, classes = regions[:, 2::4, 2::4].astype(np.int64), truth[:, 2::4, 2::4]  # the pixel in the middle of a cell
    ids = np.where(ids > 0, ids + np.arange(len(ids))[:, None, None] * (int(ids.max()) + 1), -1)
    names, row = np.unique(ids, return_inverse=True)
    row, counts = row.ravel(), np.zeros((len(names), IGNORE + 1), np.int64)
    np.add.at(counts, (row, classes.ravel()), 1)
    unit = F.normalize(embeddings.float().cpu()).permute(0, 2, 3, 1).flatten(0, 2)
    sums = torch.zeros(len(names), unit.shape[1]).index_add_(0, torch.from_numpy(row), unit).numpy()
    cells, labelled = counts.sum(axis=1), counts[:, :IGNORE]
    kept = (names >= 0) & (labelled.sum(axis=1) >= smallest)
    if not kept.any():
        raise ValueError(f"no region has {smallest} labelled cells of 4 x 4 pixels: are there regions of these frames?")
    return RegionPoints(sums[kept] / cells[kept, None], labelled[kept].argmax(axis=1), cells[kept])
