"""What features hold while no weight of the network changes: neighbours, and many clusters with names.

Both learn from cells of 4 x 4 pixels of training frames; cells of scored frames get a class or a cluster. Sources: ViCE
sec. 4.2 and app. (over-clustering: k-means over training embeddings, the nearest centre; facts/evaluation.md sec. 3);
Wu et al. 2018 and DINO (weighted neighbours). The linear probe is trained: `finetuning.LinearProbe`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.cluster import KMeans
from torch import Tensor
from torch.nn import functional as F

from ..data.labels import IGNORE
from ..parallel import numpy_generator
from .matching import count_pairs, match_greedily, name_clusters

ROUNDS = 50  # of k-means
SHARPNESS = 0.07  # temperature of the neighbours' votes
CHUNK = 2048  # cells compared with all others at a time


@dataclass(frozen=True)
class Cells:
    """Unit embeddings of cells of training frames, and their classes, 255 = nobody knows.

    vectors: (N, D) float32; classes: (N,) int64
    """

    vectors: Tensor
    classes: Tensor

    @property
    def labelled(self) -> "Cells":
        """Those whose class is known."""
        known = self.classes != IGNORE
        return Cells(self.vectors[known.to(self.vectors.device)], self.classes[known])


def gather_cells(batches: Iterable[Tensor], labels: np.ndarray, most: int, seed: int) -> Cells:
    """Cells of some frames, the same number of each, drawn at random, whether they have a label or not.

    Args:
        batches: embeddings, in the order of the labels. (<= B, D, H/4, W/4) each
        labels: class indices, 255 = ignore; a cell has that of a pixel in its middle. (N, H, W)
        most: cells in all.
    Raises:
        ValueError: not one labelled cell.
    """
    middle, each = labels[:, 2::4, 2::4].reshape(len(labels), -1), max(most // len(labels), 1)
    vectors, classes, index = [], [], 0
    for batch in batches:
        for cells in F.normalize(batch.float()).flatten(2).transpose(1, 2):  # (h w, D)
            rows = numpy_generator(seed, index).permutation(len(cells))[:each]
            vectors.append(cells[torch.from_numpy(rows).to(cells.device)])
            classes.append(torch.from_numpy(middle[index, rows].astype(np.int64)))
            index += 1
    found = Cells(torch.cat(vectors), torch.cat(classes))
    if not len(found.labelled.classes):
        raise ValueError("there is not one labelled cell to learn from: check the split and the labels")
    return found


def vote_neighbours(
    batches: Iterable[Tensor], cells: Cells, count: int, neighbours: int, size: tuple[int, int]
) -> np.ndarray:
    """The class that the nearest training cells vote for, with exp(cosine / 0.07) each; votes are enlarged first.

    Args:
        batches: embeddings of the frames. (<= B, D, H/4, W/4) each
        count: of classes.
        neighbours: that vote, of the labelled cells; fewer where there are fewer.
        size: (H, W) of the labels.
    Returns:
        Class indices. (N, H, W) uint8
    """
    cells = cells.labelled
    maps, taken = [], min(neighbours, len(cells.classes))
    classes = cells.classes.to(cells.vectors.device)
    for batch in batches:
        unit = F.normalize(batch.float()).permute(0, 2, 3, 1)  # (B, h, w, D)
        votes = []
        for chunk in unit.flatten(0, 2).to(cells.vectors).split(CHUNK):
            cosine, nearest = (chunk @ cells.vectors.T).topk(taken, dim=1)
            vote = cosine.new_zeros(len(chunk), count)
            votes.append(vote.scatter_add_(1, classes[nearest], ((cosine - 1) / SHARPNESS).exp()))
        scores = torch.cat(votes).reshape(*unit.shape[:3], count).permute(0, 3, 1, 2)
        large = F.interpolate(scores, size=size, mode="bilinear", align_corners=False)
        maps.append(large.argmax(dim=1).to(torch.uint8).cpu().numpy())
    return np.concatenate(maps)


def fit_centers(cells: Cells, clusters: int, seed: int) -> Tensor:
    """k-means over unit embeddings, labelled or not: means, which are shorter than 1. (K, D) on the cells' device

    Raises:
        ValueError: more clusters than cells.
    """
    if clusters > len(cells.vectors):
        raise ValueError(f"cannot make {clusters} clusters of {len(cells.vectors)} cells: sample more cells")
    model = KMeans(clusters, n_init=1, max_iter=ROUNDS, random_state=seed).fit(cells.vectors.cpu().numpy())
    return torch.from_numpy(model.cluster_centers_).to(cells.vectors)


def _nearest(unit: Tensor, centers: Tensor) -> Tensor:
    half = centers.square().sum(dim=1) / 2
    return torch.cat([(chunk @ centers.T - half).argmax(dim=1) for chunk in unit.split(CHUNK * 8)])


def enlarge_pixels(batches: Iterable[Tensor], size: tuple[int, int]) -> Iterator[Tensor]:
    """Unit embeddings of all pixels, enlarged bilinearly to `size`: batches (<= B, D, h, w) -> frames (H W, D)."""
    for batch in batches:
        for embedding in batch.float().split(1):
            pixels = F.interpolate(embedding, size=size, mode="bilinear", align_corners=False)
            yield F.normalize(pixels[0].flatten(1).T)


def name_centers(cells: Cells, centers: Tensor, count: int) -> np.ndarray:
    """The class that most labelled training cells nearest to each centre have; -1 where there is none. (K,)"""
    cells = cells.labelled
    nearest = _nearest(cells.vectors, centers).cpu().numpy()
    pairs = np.zeros((count, len(centers)), np.int64)
    np.add.at(pairs, (cells.classes.cpu().numpy(), nearest), 1)
    return match_greedily(pairs)


def count_over_clusters(
    batches: Iterable[Tensor],
    cells: Cells,
    trials: Iterable[tuple[int, int]],
    truth: np.ndarray,
    blocks: np.ndarray,
    count: int,
) -> dict[tuple[int, int], np.ndarray]:
    """Confusions of over-clusterings: k-means over training cells, named by them, scored on other frames.

    Args:
        batches: embeddings of the scored frames, which are gone through once. (<= B, D, H/4, W/4) each
        trials: (number of clusters, seed of k-means) of each over-clustering.
        truth: class indices, 255 = ignore. (N, H, W); blocks: clip of each frame. (N,); count: of classes.
    Returns:
        Of each trial one table a block, last column = no name. (B, C, C + 1) int64
    """
    centers = {(clusters, seed): fit_centers(cells, clusters, seed) for clusters, seed in trials}
    named, row = np.unique(blocks, return_inverse=True)
    pairs = {trial: np.zeros((len(named), count, trial[0]), np.int64) for trial in centers}
    for index, pixels in enumerate(enlarge_pixels(batches, truth.shape[1:])):
        for trial, each in centers.items():
            found = _nearest(pixels.to(each), each).reshape(truth.shape[1:]).cpu().numpy()
            pairs[trial][row[index]] += count_pairs(truth[index], found, count, trial[0])
    names = {trial: name_centers(cells, each, count) for trial, each in centers.items()}
    return {trial: name_clusters(pairs[trial], names[trial]) for trial in centers}
