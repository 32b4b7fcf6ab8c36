"""What a trained run finds alike in the frames of a data set: clusters for regions that follow them.

Loaded by name, and only where regions are learned: regions of depth do not depend on the code of networks.
"""

from collections.abc import Callable, Sequence

import numpy as np

from .artifacts import Artifact, Stage
from .clustering import cluster_vectors, map_prototypes
from .data import Dataset, Frame
from .networks import load_networks
from .parallel import open_bar, pick_device

CHUNK = 8  # frames that go through the network together


def learn_clusters(training: Artifact, clusters: int) -> Callable[[np.ndarray], np.ndarray]:
    """What a finished 04 finds alike, found without labels: its prototypes merged into clusters.

    Args:
        clusters: how many at most, 1 to 256.
    Returns:
        From RGB images (B, H, W, 3) uint8 to the cluster of every pixel (B, H, W) uint8.
    Raises:
        ValueError: its method has no prototypes.
    """
    device = pick_device("auto")
    embedder, prototypes = load_networks(training)
    if prototypes is None:
        raise ValueError(f"04 of run {training.run!r} learned no prototypes: take a run whose method has them")
    groups = cluster_vectors(prototypes, min(clusters, len(prototypes))).numpy().astype(np.uint8)
    embedder, prototypes = embedder.to(device), prototypes.to(device)
    return lambda images: groups[map_prototypes(embedder, prototypes, images)]


def save_clusters(training: Artifact, dataset: Dataset, frames: Sequence[Frame], stage: Stage, clusters: int) -> None:
    """Clusters of every frame that has none yet: clusters/<frame id>.png of `stage`, for regions that follow them."""
    find, left = learn_clusters(training, clusters), [f for f in frames if not stage.has(f"clusters/{f.id}.png")]
    with open_bar("clusters", " frames", len(frames), len(frames) - len(left)) as bar:
        for some in (left[i : i + CHUNK] for i in range(0, len(left), CHUNK)):
            for frame, ids in zip(some, find(np.stack([dataset.image(frame) for frame in some]))):
                stage.save_image(f"clusters/{frame.id}.png", ids)
            if bar is not None:
                bar.update(len(some))
