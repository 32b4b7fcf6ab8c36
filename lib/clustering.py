"""From prototypes to a segmentation: group them, assign every pixel, and the trivial floor to compare with.

Sources: CPCDR sec. 3.5 and facts/cpcdr.md sec. 11 (prototypes); facts/performance.md sec. 5 (members, floor).
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from skimage.color import rgb2lab
from sklearn.cluster import AgglomerativeClustering, KMeans, kmeans_plusplus
from torch import Tensor, nn
from torch.nn import functional as F

from .networks import embed_images
from .parallel import numpy_generator

CHUNK = 1 << 16  # pixels compared with all prototypes at a time
FLOOR_PIXELS = 60_000  # that the floor's k-means is fitted on


def cluster_vectors(vectors: Tensor, clusters: int, linkage: str = "average", members: Tensor | None = None) -> Tensor:
    """Merge K directions into groups, agglomeratively, by cosine distance; deterministic.

    Args:
        vectors: prototypes, or what stands for them. (K, D)
        clusters: how many groups; fewer come out where fewer vectors have members.
        linkage: average (paper), complete or single.
        members: pixels of each vector. Those without any take no part in the merging, where they would be clusters
            of their own, but join the cluster of the nearest vector that has some. (K,)
    Returns:
        Cluster of each vector, the cluster of most vectors first. (K,) int64
    Raises:
        ValueError: more clusters than vectors.
    """
    if not 2 <= clusters <= len(vectors):
        raise ValueError(f"cannot make {clusters} clusters of {len(vectors)} prototypes: train with more of them")
    unit = F.normalize(vectors.float()).cpu()
    used = torch.arange(len(unit)) if members is None else members.cpu().nonzero()[:, 0]
    found = torch.zeros(len(used), dtype=torch.long)
    if len(used) > 1:
        method = AgglomerativeClustering(min(clusters, len(used)), metric="cosine", linkage=linkage)
        found = torch.from_numpy(method.fit_predict(unit[used].numpy()))
    rank = found.bincount().argsort(descending=True, stable=True).argsort()
    nearest = (unit @ unit[used].T).argmax(dim=1)
    nearest[used] = torch.arange(len(used))
    return rank[found][nearest]


def cluster_by_means(vectors: Tensor, clusters: int, seed: int, spherical: bool, rounds: int = 100) -> Tensor:
    """Cluster of each of K directions by k-means, the largest cluster first. (K, D) -> (K,) int64

    Args:
        spherical: centres are directions too, so that what decides is the cosine; otherwise they are plain means of
            unit vectors, as in ViCE's evaluation (facts/evaluation.md sec. 3).
        seed: of the first centres (k-means++); the best of ten beginnings is kept.
    """
    unit = F.normalize(vectors.float()).cpu().numpy()
    if spherical:
        trials = [_turn_towards_means(unit, clusters, numpy_generator(seed, trial), rounds) for trial in range(10)]
        found = max(trials, key=lambda trial: trial[1])[0]
    else:
        found = KMeans(clusters, n_init=10, max_iter=rounds, random_state=seed).fit_predict(unit)
    rank = np.argsort(np.argsort(-np.bincount(found, minlength=clusters), kind="stable"), kind="stable")
    return torch.from_numpy(rank[found]).long()


def _turn_towards_means(
    unit: np.ndarray, clusters: int, rng: np.random.Generator, rounds: int
) -> tuple[np.ndarray, float]:
    centers = kmeans_plusplus(unit, clusters, random_state=int(rng.integers(1 << 31)))[0]
    found = None
    for _ in range(rounds):
        cosines = unit @ centers.T
        before, found = found, cosines.argmax(axis=1)
        if before is not None and np.array_equal(before, found):
            break
        sums = np.zeros_like(centers)
        np.add.at(sums, found, unit)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        centers = np.where(lengths > 1e-9, sums / np.maximum(lengths, 1e-9), centers)  # an empty one stays
    return found, float(cosines.max(axis=1).sum())


def embed_batches(embedder: nn.Module, images: np.ndarray, batch: int = 8, mirrored: bool = False) -> Iterator[Tensor]:
    """Embeddings of many images, where the embedder's weights are. (B, H, W, 3) uint8 -> (<= batch, D, H/4, W/4)...

    Args:
        mirrored: the mean with those of the mirrored image, mirrored back (STEGO; facts/evaluation.md sec. 4).
    """
    device = next(embedder.parameters()).device
    for start in range(0, len(images), batch):
        part = images[start : start + batch]
        found = embed_images(embedder, part, batch).to(device)
        if mirrored:
            back = embed_images(embedder, np.ascontiguousarray(part[:, :, ::-1]), batch).to(device).flip(-1)
            found = (found + back) / 2
        yield found


def average_members(embeddings: Iterable[Tensor], prototypes: Tensor) -> tuple[Tensor, Tensor]:
    """What stands for each prototype: the mean of the unit embeddings that are nearest to it.

    A prototype is a direction that training pushed until the codes were balanced, not where its pixels lie.

    Args:
        embeddings: batches, at stride 4, of training frames. (B, D, h, w) each
        prototypes: (K, D)
    Returns:
        Means (K, D), the prototype itself where nothing is assigned; members (K,) int64.
    """
    prototypes = F.normalize(prototypes)
    count, sums = torch.zeros(len(prototypes), dtype=torch.long), torch.zeros_like(prototypes)
    for batch in embeddings:
        for chunk in F.normalize(batch).permute(0, 2, 3, 1).flatten(0, 2).split(CHUNK):
            nearest = (chunk @ prototypes.T).argmax(dim=1)
            count += torch.bincount(nearest.cpu(), minlength=len(prototypes))
            sums.index_add_(0, nearest, chunk)
    members = count.to(sums)[:, None]
    return torch.where(members > 0, sums / members.clamp(min=1), prototypes), count


def map_prototypes(embedder: nn.Module, prototypes: Tensor, images: np.ndarray, mirrored: bool = False) -> np.ndarray:
    """The nearest prototype of every pixel of many images; `mirrored` as in `embed_batches`.

    (B, H, W, 3) uint8 -> (B, H, W) uint16
    """
    batches = embed_batches(embedder, images, mirrored=mirrored)
    return np.concatenate(
        [assign_prototypes(e, prototypes, images.shape[1:3]).cpu().numpy().astype(np.uint16) for e in batches]
    )


def assign_codes(embeddings: Tensor, codebooks: Sequence[Tensor], size: tuple[int, int]) -> list[Tensor]:
    """The nearest direction of every pixel: embeddings enlarged bilinearly to `size`, then the largest cosine.

    Args:
        embeddings: (B, D, h, w)
        codebooks: directions of any length. (K, D) each
        size: (H, W) of the labels.
    Returns:
        For each codebook 0..K-1. (B, H, W) int64
    """
    units: list[Tensor] = [F.normalize(directions) for directions in codebooks]
    maps: list[list[Tensor]] = [[] for _ in units]
    for embedding in embeddings.split(1):
        pixels = F.interpolate(embedding, size=size, mode="bilinear", align_corners=False)[0].flatten(1).T  # (H W, D)
        for unit, found in zip(units, maps):
            # an embedding's own length scales all its scores alike: which is largest needs no normalisation
            found.append(torch.cat([(chunk @ unit.T).argmax(dim=1) for chunk in pixels.split(CHUNK)]))
    return [torch.stack(found).reshape(-1, *size) for found in maps]


def assign_prototypes(embeddings: Tensor, prototypes: Tensor, size: tuple[int, int]) -> Tensor:
    """`assign_codes` of one codebook: the nearest prototype of every pixel. (B, H, W) int64"""
    return assign_codes(embeddings, [prototypes], size)[0]


def describe_pixels(images: np.ndarray, position_weight: float) -> np.ndarray:
    """Lab colour and position of each pixel: the features of the floor.

    Args:
        images: RGB uint8. (B, H, W, 3)
        position_weight: of x and y, which run 0..1, against colour.
    Returns:
        L / 100, a / 50, b / 50, and the weighted x, y. (B H W, 5) float32
    """
    batch, height, width = images.shape[:3]
    y, x = np.mgrid[:height, :width]
    position = np.stack([(x + 0.5) / width, (y + 0.5) / height], axis=-1) * position_weight
    lab = rgb2lab(images) / (100, 50, 50)
    return (
        np.concatenate([lab, np.broadcast_to(position, (batch, height, width, 2))], axis=-1)
        .reshape(-1, 5)
        .astype(np.float32)
    )


def fit_color_position(images: np.ndarray, clusters: int, position_weight: float, seed: int) -> KMeans:
    """The trivial floor: k-means on colour and position of FLOOR_PIXELS pixels of training frames (B, H, W, 3)."""
    pixels = int(np.prod(images.shape[:3]))
    chosen = numpy_generator(seed).permutation(pixels)[:FLOOR_PIXELS]
    size, features = int(np.prod(images.shape[1:3])), np.empty((len(chosen), 5), np.float32)
    for index in np.unique(chosen // size):  # one image at a time: all at once take 80 bytes a pixel
        rows = chosen // size == index
        features[rows] = describe_pixels(images[index : index + 1], position_weight)[chosen[rows] % size]
    return KMeans(clusters, n_init=2, random_state=seed).fit(features)


def assign_color_position(model: KMeans, images: np.ndarray, position_weight: float) -> np.ndarray:
    """Cluster of every pixel. (B, H, W, 3) uint8 -> (B, H, W) uint16"""
    maps = [model.predict(describe_pixels(image[None], position_weight)).astype(np.uint16) for image in images]
    return np.stack(maps).reshape(images.shape[:3])
