"""The released procedure, step by step as it was written: what our speed is measured against, and nothing else.

Each step has the name of its counterpart in `grouping` and gives the same values; the way there is the released one:
scikit-image's adjacency graph, sums over superpixels one pixel at a time, networkx in and a dictionary out of Infomap.
Ours differs only in the end: the recursion stops where nothing merges, which the released one may never do.
Source: facts sheet cpcdr sec. 2-5; facts sheet performance sec. 1.
"""

import warnings

import networkx
import numpy as np
from infomap import Infomap
from scipy.special import expit
from skimage.color import rgb2lab
from skimage.graph import RAG
from skimage.segmentation import slic

from ..params import RegionParams
from .grouping import INFOMAP, released_intrinsics


def segment_superpixels(image: np.ndarray, params: RegionParams) -> np.ndarray:
    """SLIC on the image as it is; the release smooths with sigma 1. Ids from 0. (H, W)"""
    how = {"n_segments": params.superpixels, "compactness": params.compactness, "sigma": params.smoothing}
    return slic(image, **how, start_label=0)


def lift_to_scene(inverse_depth: np.ndarray, params: RegionParams) -> np.ndarray:
    """Points of one fixed camera, each axis over its standard deviation; height counts upwards. (H, W, 3)"""
    share = np.clip(inverse_depth / inverse_depth.max(), params.min_inverse_depth, None)
    rows, columns = np.indices(share.shape)
    pixels = np.stack([columns, rows, np.ones(share.shape)]).reshape(3, -1)
    rays = np.linalg.inv(released_intrinsics(*share.shape)) @ pixels * np.array([[1], [-1], [1]])
    points = (rays / share.ravel()).T.reshape(*share.shape, 3)
    return points / points.std(axis=(0, 1))


def connect(superpixels: np.ndarray) -> networkx.Graph:
    """The adjacency graph of scikit-image."""
    return RAG(superpixels)


def measure_superpixels(image: np.ndarray, points: np.ndarray, superpixels: np.ndarray) -> dict[str, np.ndarray]:
    """Means over each superpixel: position, normal, and what the release keeps without using, colour and place."""
    ids, count = superpixels.ravel(), int(superpixels.max()) + 1
    across, down = (np.gradient(points, axis=axis) / points[..., 2:] for axis in (1, 0))
    places = np.stack(np.indices(superpixels.shape), axis=-1)
    sizes = np.zeros(count)
    np.add.at(sizes, ids, 1)
    means = {}
    maps = {"position": points, "across": across, "down": down, "color": rgb2lab(image), "place": places}
    for name, values in maps.items():
        sums = np.zeros((count, values.shape[-1]))
        np.add.at(sums, ids, values.reshape(len(ids), -1))
        means[name] = sums / sizes[:, None]
    normals = np.cross(means.pop("across"), means.pop("down"))
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return means | {"normal": normals / np.where(length > 0, length, 1)}


def weigh_edges(graph: networkx.Graph, means: dict[str, np.ndarray], params: RegionParams) -> None:
    """Eqs. 1 to 3 on every edge of the graph, in place; the height of eq. 2 is that of `params`."""
    edges = np.array(graph.edges)
    p, n = means["position"][edges], means["normal"][edges, 1]  # (E, 2, 3), (E, 2)
    low = np.where(p[:, 0, 1] <= p[:, 1, 1], 0, 1)
    each = np.arange(len(edges))
    height = p[each, low, 1] if params.support_height == "lower" else p[..., 1].mean(axis=1)
    occlusion = np.linalg.norm(p[:, 0] - p[:, 1], axis=1) / p[..., 2].sum(axis=1)
    level = n[each, low]
    support = np.maximum(level, 0) * np.maximum(level - n[each, 1 - low], 0) * np.minimum(height, 0) ** 2
    weights = expit(params.occlusion_weight * occlusion + params.support_weight * support + params.bias)
    for (a, b), weight in zip(edges.tolist(), weights.tolist()):
        graph[a][b]["weight"] = weight


def find_communities(graph: networkx.Graph, params: RegionParams) -> dict[int, int]:
    """Infomap on a networkx graph whose links weigh 1 / W. Node -> module."""
    links = networkx.Graph()
    links.add_nodes_from(graph.nodes)
    links.add_weighted_edges_from((a, b, 1 / weight) for a, b, weight in graph.edges(data="weight"))
    preferred = f"--preferred-number-of-modules {params.preferred_modules}" if params.preferred_modules else ""
    with warnings.catch_warnings():  # that options will go in the next version, which we do not admit
        warnings.simplefilter("ignore", DeprecationWarning)
        network = Infomap(f"{INFOMAP} {preferred} --seed {params.seed + 1} --num-trials {params.trials}")
        names = network.add_networkx_graph(links, weight="weight")
        network.run()
        return {names[node]: module for node, module in network.get_modules().items()}


def group_nodes(graph: networkx.Graph, params: RegionParams) -> dict[int, int]:
    """Communities of communities. Superpixel -> region, from 1."""
    regions, members = {}, {node: [node] for node in graph.nodes}
    while True:
        modules = find_communities(graph, params)
        active = set()
        for a, b, weight in graph.edges(data="weight"):
            if modules[a] != modules[b] and weight < params.cut:
                active |= {modules[a], modules[b]}
        if len(active) == len(graph):  # nothing merged: the released recursion would go on forever
            active = set()
        groups = {}
        for node, module in modules.items():
            groups.setdefault(module, []).extend(members[node])
        for module in sorted(set(groups) - active):
            number = len(set(regions.values())) + 1
            regions |= dict.fromkeys(groups[module], number)
        if not active:
            return regions
        between = {}
        for a, b, weight in graph.edges(data="weight"):
            pair = tuple(sorted((modules[a], modules[b])))
            if pair[0] != pair[1] and active.issuperset(pair):
                between.setdefault(pair, []).append(weight)
        graph, members = networkx.Graph(), {module: groups[module] for module in sorted(active)}
        graph.add_nodes_from(members)
        graph.add_weighted_edges_from((a, b, float(np.mean(weights))) for (a, b), weights in between.items())


def paint(superpixels: np.ndarray, regions: dict[int, int]) -> np.ndarray:
    """Ids from 1. (H, W) uint16"""
    return np.array([regions[node] for node in range(len(regions))], np.uint16)[superpixels]


def group_regions(image: np.ndarray, inverse_depth: np.ndarray, params: RegionParams) -> np.ndarray:
    """All steps. Arguments and result as `grouping.group_regions`; the camera is the released one."""
    superpixels = segment_superpixels(image, params)
    points = lift_to_scene(inverse_depth, params)
    graph = connect(superpixels)
    weigh_edges(graph, measure_superpixels(image, points, superpixels), params)
    return paint(superpixels, group_nodes(graph, params))
