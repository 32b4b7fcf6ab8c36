"""Regions from what a trained network finds alike, split by depth.

Clusters of learned features say what looks alike wherever it is; depth says what hangs together. A superpixel takes
the cluster of most of its pixels, an edge between two clusters gets a constant more in the sum of eq. 3, and the
communities are found as before.
"""

import numpy as np

from ..params import RegionParams
from .contours import merge_regions
from .grouping import Graph, build_graph, group_graph, weigh_edges


def vote_clusters(clusters: np.ndarray, superpixels: np.ndarray) -> np.ndarray:
    """The commonest cluster of each superpixel; the smaller id where two are as common.

    Args:
        clusters: ids >= 0 at any resolution; each pixel takes the one that its centre lies in. (h, w)
        superpixels: ids 0..S-1. (H, W)
    Returns:
        (S,) int64, ids as in `clusters`
    Raises:
        ValueError: `clusters` is no map of ids.
    """
    if clusters.ndim != 2 or not clusters.size or not np.issubdtype(clusters.dtype, np.integer) or clusters.min() < 0:
        raise ValueError(f"clusters must be a map (h, w) of whole numbers >= 0, not {clusters.shape} {clusters.dtype}")
    rows, columns = (
        (2 * np.arange(length) + 1) * cells // (2 * length) for length, cells in zip(superpixels.shape, clusters.shape)
    )
    names, found = np.unique(clusters[rows[:, None], columns], return_inverse=True)
    codes = superpixels.ravel() * np.int64(len(names)) + found.ravel()
    counts = np.bincount(codes, minlength=(int(superpixels.max()) + 1) * len(names)).reshape(-1, len(names))
    return names[counts.argmax(axis=1)].astype(np.int64)


def weigh_clusters(graph: Graph, clusters: np.ndarray, params: RegionParams) -> np.ndarray:
    """What joins the sum of eq. 3: `learned_weight` on edges between two clusters, 0 on the others. (E,)

    Args:
        clusters: as `vote_clusters` takes them. (h, w)
    """
    cluster = vote_clusters(clusters, graph.superpixels)
    return params.learned_weight * (cluster[graph.edges[:, 0]] != cluster[graph.edges[:, 1]])


def group_learned(
    image: np.ndarray,
    inverse_depth: np.ndarray,
    intrinsics: np.ndarray,
    clusters: np.ndarray,
    params: RegionParams,
    count: int = 0,
) -> np.ndarray:
    """Coherent regions of one frame that end where learned clusters do.

    Args:
        image, inverse_depth, intrinsics: as `group_regions` takes them.
        clusters: ids >= 0 at any resolution. (h, w)
        count: more regions than this are merged, over the edges of smallest W of eq. 3, mean between two regions;
            0 = no limit.
    Returns:
        Region of every pixel, ids 1..R without gaps. (H, W) uint16
    Raises:
        ValueError: as `group_regions`; clusters are no map of ids.
    """
    graph = build_graph(image, inverse_depth, intrinsics, params)
    extra = weigh_clusters(graph, clusters, params)
    regions = group_graph(graph, params, extra)
    if not count or regions.max() <= count:
        return regions
    region_of = np.zeros(len(graph.positions), np.int64)
    region_of[graph.superpixels] = regions
    return merge_regions(regions, region_of[graph.edges], weigh_edges(graph, params, extra), count)
