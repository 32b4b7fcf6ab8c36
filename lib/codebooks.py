"""Directions that name pixels without a label, and the ways to merge them into clusters.

The paper merges the prototypes that training learned (CPCDR sec. 3.5). A prototype is a direction that training pushed
until the codes were balanced, not where pixels lie; so what stands for it may be the mean of its pixels instead, and
the directions may be those of the pixels themselves: k-means, as in PiCIE and ViCE (facts/evaluation.md sec. 3;
facts/performance.md sec. 5 and its end).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import torch
from sklearn.cluster import KMeans
from torch import Tensor, nn
from torch.nn import functional as F

from .clustering import assign_codes, average_members, cluster_by_means, cluster_vectors, embed_batches
from .parallel import numpy_generator

CODES = 4  # directions a cluster, of k-means of pixels, before they are merged
CELLS = 30_000  # of 4 x 4 pixels of training frames, that k-means is fitted on
ROUNDS = 60  # of k-means
CHOICES = ("prototypes", "members", "centred", "pixels")  # what is merged

Grouping = Callable[[int], np.ndarray]
"""Number of clusters -> cluster of each direction, the largest first. (K,) int64"""


@dataclass(frozen=True)
class Codebook:
    """directions: that pixels are compared with, by cosine. (K, D). groupings: ways to merge them, by name.

    clusters: the one number of clusters that they can be merged into; 0 = any up to K.
    """

    directions: Tensor
    groupings: Mapping[str, Grouping]
    clusters: int = 0

    def can_make(self, clusters: int) -> bool:
        return clusters == self.clusters if self.clusters else clusters <= len(self.directions)


def make_codebooks(
    embedder: nn.Module,
    prototypes: Tensor,
    images: np.ndarray,
    clusters: int,
    linkage: str,
    seeds: Iterable[int],
) -> dict[str, Codebook]:
    """The prototypes of a training, and directions of pixels, with all ways to merge them that are compared.

    Args:
        images: training frames, without labels. (B, H, W, 3) uint8
        clusters: that are made of pixels; the prototypes can be merged into any number.
        seeds: of each kind of k-means, and of which cells it is fitted on.
    Returns:
        "prototypes"; "pixels, seed s": `CODES` directions a cluster, by k-means, then merged; and
        "k-means of pixels, seed s": as many as clusters, and nothing merged.
    """
    cells: dict[int, list[Tensor]] = {seed: [] for seed in seeds}
    batches = _keep_cells(embed_batches(embedder, images), -(-CELLS // len(images)), cells)
    stand_ins = _find_stand_ins(batches, prototypes)
    ways = {f"agglomeration of {name}": partial(_merge, *each, linkage) for name, each in stand_ins.items()}
    books = {}
    for seed in cells:
        for name, spherical in (("k-means of prototypes", False), ("spherical k-means of prototypes", True)):
            ways[f"{name}, seed {seed}"] = partial(cluster_by_means, prototypes, seed=seed, spherical=spherical)
    books["prototypes"] = Codebook(prototypes, {name: _remember(way) for name, way in ways.items()})
    for seed, some in cells.items():
        codes = fit_codes(torch.cat(some), CODES * clusters, seed)
        way = partial(_merge, codes - codes.mean(dim=0), None, linkage)
        books[f"pixels, seed {seed}"] = Codebook(codes, {f"agglomeration of pixels, seed {seed}": _remember(way)})
    for seed, some in cells.items():
        codes, name = fit_codes(torch.cat(some), clusters, seed), f"k-means of pixels, seed {seed}"
        books[name] = Codebook(codes, {name: _remember(torch.arange)}, clusters)
    return books


def choose_grouping(books: Mapping[str, Codebook], represent: str) -> tuple[str, Grouping]:
    """Name of the codebook, and its grouping, that one of `CHOICES` stands for; of pixels those of the first seed."""
    wanted = f"agglomeration of {represent}"
    return next(
        (name, way)
        for name, book in books.items()
        for kind, way in book.groupings.items()
        if kind == wanted or kind.startswith(f"{wanted}, seed ")
    )


def group_directions(
    embedder: nn.Module,
    prototypes: Tensor,
    images: np.ndarray,
    clusters: int,
    represent: str,
    linkage: str,
    seed: int,
) -> tuple[Tensor, np.ndarray]:
    """One way alone: the directions that pixels are compared with (K, D), and the cluster of each (K,) int64.

    Args:
        images: training frames, for all but represent = "prototypes". (B, H, W, 3) uint8
        represent: one of `CHOICES`. seed: of k-means.
    """
    if represent == "prototypes":
        return prototypes, cluster_vectors(prototypes, clusters, linkage).numpy()
    cells: dict[int, list[Tensor]] = {seed: []}
    batches = _keep_cells(embed_batches(embedder, images), -(-CELLS // len(images)), cells)
    if represent != "pixels":
        return prototypes, _merge(*_find_stand_ins(batches, prototypes)[represent], linkage, clusters).numpy()
    for _ in batches:
        pass
    codes = fit_codes(torch.cat(cells[seed]), CODES * clusters, seed)
    return codes, cluster_vectors(codes - codes.mean(dim=0), clusters, linkage).numpy()


def fit_codes(cells: Tensor, codes: int, seed: int) -> Tensor:
    """Directions of the centres of k-means. (N, D) unit embeddings -> (K, D) of length 1, where the cells are

    Pixels go to the direction of largest cosine, which is not always the centre at the smallest distance. Fewer come
    out where there are fewer cells.
    """
    model = KMeans(min(codes, len(cells)), n_init=1, max_iter=ROUNDS, random_state=seed).fit(cells.cpu().numpy())
    return F.normalize(torch.from_numpy(model.cluster_centers_)).to(cells)


def map_codes(
    embedder: nn.Module, books: Mapping[str, Codebook], images: np.ndarray, mirrored: bool = False
) -> dict[str, np.ndarray]:
    """The nearest direction of each codebook, of every pixel of many images, which are embedded once.

    Args:
        images: (B, H, W, 3) uint8. mirrored: as in `clustering.embed_batches`.
    Returns:
        Name of the codebook -> (B, H, W) uint8, or uint16 where it has more than 256 directions.
    """
    directions, found = [book.directions for book in books.values()], {name: [] for name in books}
    for batch in embed_batches(embedder, images, mirrored=mirrored):
        for name, each in zip(books, assign_codes(batch, directions, images.shape[1:3])):
            small = np.uint8 if len(books[name].directions) <= 256 else np.uint16
            found[name].append(each.cpu().numpy().astype(small))
    return {name: np.concatenate(maps) for name, maps in found.items()}


def _find_stand_ins(batches: Iterable[Tensor], prototypes: Tensor) -> dict[str, tuple[Tensor, Tensor | None]]:
    """What may stand for each prototype: name -> vectors (K, D), and its pixels (K,), None = not asked for.

    Itself, as in the paper; its *members*, the mean embedding of the training pixels nearest to it; or those *centred*,
    less the mean of all pixels, which takes away what all have in common.
    """
    means, count = average_members(batches, prototypes)
    weight = count.to(means)[:, None]
    overall = (means * weight).sum(dim=0) / weight.sum()
    return {"prototypes": (prototypes, None), "members": (means, count), "centred": (means - overall, count)}


def _keep_cells(batches: Iterable[Tensor], each: int, kept: Mapping[int, list[Tensor]]) -> Iterator[Tensor]:
    """Pass embeddings (<= B, D, h, w) on, and keep `each` unit ones of every frame, (n, D), drawn for each seed."""
    index = 0
    for batch in batches:
        for cells in F.normalize(batch.float()).flatten(2).transpose(1, 2):  # (h w, D)
            for seed, found in kept.items():
                rows = numpy_generator(seed, index).permutation(len(cells))[:each]
                found.append(cells[torch.from_numpy(rows).to(cells.device)])
            index += 1
        yield batch


def _merge(vectors: Tensor, members: Tensor | None, linkage: str, clusters: int) -> Tensor:
    return cluster_vectors(vectors, clusters, linkage, members)


def _remember(way: Callable[[int], Tensor]) -> Grouping:
    return cache(lambda clusters: way(clusters).numpy())  # several protocols ask for as many clusters
