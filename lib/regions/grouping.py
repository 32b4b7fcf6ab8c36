"""From depth to coherent regions: superpixels, their place in 3D, a weighted graph, and its communities.

The paper's equations measure heights upwards from the camera. Our cameras look along z with y down, so this module
works in (x, height, z) with height = -y, and only here. A normal that points up has a positive second component.
Source: CPCDR sec. 3.2, eqs. 1-3, Figure 4; the released code as described in facts sheet cpcdr sec. 2-5.
"""

import warnings
from dataclasses import dataclass

import cv2
import numpy as np
from infomap import Infomap
from scipy.ndimage import distance_transform_edt
from scipy.special import expit

from ..params import RegionParams
from ..superpixels import average, find_edges, segment_superpixels

SMALLEST_WEIGHT = 1e-9  # keeps 1 / W finite where a user's bias drives the sigmoid to 0
INFOMAP = "--two-level --silent --flow-model undirected --teleportation-probability 0"
FAST = "--tune-iteration-limit 1"  # a codelength 1 % longer for less time (notebook 10; facts sheet performance 1)


@dataclass(frozen=True)
class Graph:
    """One frame as superpixels (S), their place in the scene, and the edges between neighbours (E).

    superpixels: ids 0..S-1. (H, W) int32
    positions, normals: x right, height up, z forward, as `measure_superpixels` gives them. (S, 3)
    edges: pairs of neighbours. (E, 2)
    occlusion, support: D_ocln and D_sup of each edge. (E,)
    contrast: difference of the mean colours, in CIELAB units. (E,)
    """

    superpixels: np.ndarray
    positions: np.ndarray
    normals: np.ndarray
    edges: np.ndarray
    occlusion: np.ndarray
    support: np.ndarray
    contrast: np.ndarray


def released_intrinsics(height: int, width: int) -> np.ndarray:
    """The camera that the released code assumes for every image: KITTI's, in shares of the image size. (3, 3)

    Its rows count from the bottom, from 0, so its centre lies half a pixel above the middle in our coordinates.
    Source: facts sheet cpcdr sec. 2.
    """
    return np.array([[0.58 * width, 0, 0.5 * width], [0, 1.92 * height, 0.5 * height - 1], [0, 0, 1]])


def lift_to_scene(
    inverse_depth: np.ndarray, intrinsics: np.ndarray, min_share: float, units: str = "axes"
) -> np.ndarray:
    """The 3D point that each pixel sees, in the image's own units.

    Depth from video has no absolute scale, so lengths are measured in units taken from the image itself, and
    multiplying all depths by a constant changes nothing. Height 0 is the camera.

    Args:
        inverse_depth: 1 / scene units; 0 = no value, taken from the nearest pixel that has one. (H, W)
        intrinsics: pinhole matrix in pixels of this map. (3, 3)
        min_share: farther than 1 / (min_share * largest inverse depth) is pulled in: sky has no distance.
        units: "axes": x, height and z each in its own standard deviation over the image, as in the released code,
            which stretches the axes differently and depends on how much sky there is; an axis without spread (a wall
            of constant depth) in its mean magnitude. "scene": all three in the median z of what is not pulled in, so
            shapes keep their proportions.
    Returns:
        x right, height up, z forward. (H, W, 3) float32; each axis lies by itself in memory, as all that follows
        goes over one axis after the other.
    Raises:
        ValueError: negative or not finite values, or no value at all; no pinhole matrix.
    """
    matrix = np.asarray(intrinsics, np.float64)
    if matrix.shape != (3, 3) or not np.isfinite(matrix).all() or min(*np.diag(matrix), np.linalg.det(matrix)) <= 0:
        raise ValueError(f"intrinsics must be a finite 3 x 3 matrix with a diagonal above 0, not {matrix.tolist()}")
    if min(inverse_depth.shape) < 2:
        raise ValueError(f"regions need 2 rows and 2 columns at least, not {inverse_depth.shape}: surfaces are steps")
    if not np.isfinite(inverse_depth).all() or inverse_depth.min() < 0:
        raise ValueError("inverse depth must be finite and >= 0 (0 = no value): clean it before grouping")
    missing = inverse_depth == 0
    if missing.all():
        raise ValueError("inverse depth holds no value at all: this frame cannot be grouped")
    if missing.any():
        rows, columns = distance_transform_edt(missing, return_distances=False, return_indices=True)
        inverse_depth = inverse_depth[rows, columns]
    share = (inverse_depth / inverse_depth.max()).astype(np.float32)  # divided first: it may be out of range
    z = 1 / np.maximum(share, np.float32(min_share))
    to_ray = np.linalg.inv(matrix) * np.array([[1], [-1], [1]])  # height = -y
    v, u = (np.arange(n, dtype=np.float32) for n in z.shape)
    rays = [np.float32(r[0]) * u + (np.float32(r[1]) * v + np.float32(r[2]))[:, None] for r in to_ray]
    axes = np.stack([ray * z for ray in rays])
    if units == "scene":
        near = z[share > min_share]
        axes /= np.float32(np.median(near if near.size else z))
    else:
        axes /= np.array([_measure_spread(axis) for axis in axes], np.float32)[:, None, None]
    return np.moveaxis(axes, 0, -1)


def _measure_spread(values: np.ndarray) -> float:
    """Standard deviation; of values that are all the same, their mean magnitude; 1 for zeros."""
    spread, size = values.std(dtype=np.float64), np.abs(values).mean(dtype=np.float64)
    return spread if spread > 1e-6 * size else size or 1.0


def measure_superpixels(points: np.ndarray, superpixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean position of each superpixel, and the normal of its surface.

    The normal is the cross product of the mean steps from column to column and from row to row, each step divided
    by z so that far pixels, whose steps are long, count no more than near ones.

    Args:
        points: as `lift_to_scene` gives them. (H, W, 3)
        superpixels: ids 0..S-1. (H, W)
    Returns:
        Positions and unit normals (0 where undefined), in (x, height, z). (S, 3), (S, 3)
    """
    z = points[..., 2:]
    steps = [np.gradient(points, axis=axis) / z for axis in (1, 0)]
    across, down = (average(step, superpixels) for step in steps)
    normals = np.cross(across, down)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return average(points, superpixels), normals / np.where(length > 0, length, 1)


def measure_occlusion(positions: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """D_ocln, eq. 1: how far two neighbours are apart, relative to their distance from the camera. (E,), >= 0"""
    a, b = positions[edges[:, 0]], positions[edges[:, 1]]
    return np.linalg.norm(a - b, axis=1) / (a[:, 2] + b[:, 2])


def measure_support(
    positions: np.ndarray, normals: np.ndarray, edges: np.ndarray, height_of: str = "lower"
) -> np.ndarray:
    """D_sup, eq. 2: something upright stands on something level that lies low. (E,), >= 0

    S1 is the lower of the two. Only where it is below the camera; grows with its depth below it.

    Args:
        height_of: whose height that is: the "lower" one's, as in the paper, or the "mean" of both, as in the release.
    """
    lower_first = positions[edges[:, 0], 1] <= positions[edges[:, 1], 1]
    low = np.where(lower_first, edges[:, 0], edges[:, 1])
    high = np.where(lower_first, edges[:, 1], edges[:, 0])
    level = normals[low, 1]
    height = positions[low, 1] if height_of == "lower" else positions[edges, 1].mean(axis=1)
    return np.maximum(level, 0) * np.maximum(level - normals[high, 1], 0) * np.minimum(height, 0) ** 2


def measure_contrast(image: np.ndarray, superpixels: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Distance of the mean CIELAB colours of two neighbours; 2 is just visible, 100 is black to white. (E,)"""
    colors = average(cv2.cvtColor(image, cv2.COLOR_RGB2Lab), superpixels)
    colors[:, 0] *= 100 / 255  # OpenCV spreads L over all 8 bits
    return np.linalg.norm(colors[edges[:, 0]] - colors[edges[:, 1]], axis=1)


def weigh_edges(graph: Graph, params: RegionParams, extra: np.ndarray | float = 0.0) -> np.ndarray:
    """W, eq. 3: how likely an edge crosses a boundary, 0..1; large = weak connection. (E,)

    `color_weight` adds a term that the paper lacks; the released code has it, switched off, and times the height
    above the camera. It makes up for contours that a small depth network does not draw; 0 gives eq. 3 as printed.

    Args:
        extra: joins the sum, for what other sources know about the edges. (E,)
    """
    distance = params.occlusion_weight * graph.occlusion + params.support_weight * graph.support
    return expit(distance + params.color_weight * graph.contrast + extra + params.bias)


def find_communities(
    edges: np.ndarray, weights: np.ndarray, count: int, trials: int = 1, seed: int = 0, options: str = FAST
) -> np.ndarray:
    """Infomap with two levels on the undirected graph whose links weigh 1 / W.

    Args:
        edges: (E, 2), ids 0..count-1; a node without edges is a module of its own.
        weights: W of eq. 3. (E,)
        trials: runs, of which the shortest codelength wins.
        options: of Infomap, as `search_options` gives them.
    Returns:
        Module of each node, ids consecutive from 0. (count,) int64
    """
    if len(edges) == 0:
        return np.arange(count)
    network = _run_infomap(edges, weights, count, trials, seed, options)
    with warnings.catch_warnings():  # `run().modules()` collects more than the modules and takes four times as long
        warnings.simplefilter("ignore")
        modules = network.get_modules()
    return np.unique([modules[node] for node in range(count)], return_inverse=True)[1]


def measure_codelength(
    edges: np.ndarray, weights: np.ndarray, count: int, options: str = FAST, trials: int = 1, seed: int = 0
) -> float:
    """Bits that a step of the random walker takes, told by the modules that `find_communities` finds; small is good.

    What a faster search costs. Arguments as there; at least one edge.
    """
    return _run_infomap(edges, weights, count, trials, seed, options).codelength


def _run_infomap(edges: np.ndarray, weights: np.ndarray, count: int, trials: int, seed: int, options: str) -> Infomap:
    with warnings.catch_warnings():  # that an option will go in the next version, which we do not admit
        warnings.simplefilter("ignore", DeprecationWarning)
        network = Infomap(f"{INFOMAP} {options} --seed {seed + 1} --num-trials {trials}")  # its seeds begin at 1
    alone = np.bincount(edges.ravel(), minlength=count) == 0
    network.add_nodes(np.flatnonzero(alone).tolist())
    network.add_links(np.column_stack([edges, 1 / np.maximum(weights, SMALLEST_WEIGHT)]))
    network.run()
    return network


def search_options(params: RegionParams) -> str:
    """How hard Infomap looks, and whether it is told how many modules to aim at."""
    preferred = f" --preferred-number-of-modules {params.preferred_modules}" if params.preferred_modules else ""
    return (FAST if params.search == "fast" else "") + preferred


def group_nodes(
    edges: np.ndarray, weights: np.ndarray, count: int, cut: float, trials: int = 1, seed: int = 0, options: str = FAST
) -> np.ndarray:
    """Communities of communities, until only edges of at least `cut` lie between them.

    Each round finds communities; those that touch another over an edge below `cut` are active and become the nodes
    of the next, smaller graph, joined by the mean weight of the edges between them; the others are final. It ends:
    a round either leaves no module active, or it hands on fewer nodes than it got, or it merged nothing (as many
    active modules as nodes) and then everything left is final. So there are at most `count` rounds. The released
    procedure lacks the third case and may run forever.

    Args:
        edges: (E, 2), ids 0..count-1, each pair once.
        weights: W of eq. 3. (E,)
        cut: an edge below it is never a final border, unless nothing can be merged.
    Returns:
        Region of each node, ids consecutive from 0. (count,) int64
    """
    regions = np.zeros(count, np.int64)
    found, members, node = 0, np.arange(count), np.arange(count)  # members: superpixels still open; node: theirs
    while True:
        modules = find_communities(edges, weights, count, trials, seed, options)
        ends = modules[edges]
        crossing = ends[:, 0] != ends[:, 1]
        ends, weights = np.sort(ends[crossing], axis=1), weights[crossing]
        active = np.zeros(modules.max() + 1, bool)
        active[ends[weights < cut]] = True
        if active.sum() == count:
            active[:] = False
        place = np.where(active, np.cumsum(active), found + np.cumsum(~active)) - 1
        node, still = place[modules[node]], active[modules[node]]
        regions[members[~still]] = node[~still]
        if not active.any():
            return regions
        found, members, node, count = found + int((~active).sum()), members[still], node[still], int(active.sum())
        between = active[ends].all(axis=1)
        edges, weights = _merge_edges(place[ends[between]], weights[between], count)


def _merge_edges(ends: np.ndarray, weights: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Parallel edges become one with their mean weight."""
    codes, inverse = np.unique(ends[:, 0] * count + ends[:, 1], return_inverse=True)
    means = np.bincount(inverse, weights=weights) / np.bincount(inverse)
    return np.stack([codes // count, codes % count], axis=1), means


def build_graph(image: np.ndarray, inverse_depth: np.ndarray, intrinsics: np.ndarray, params: RegionParams) -> Graph:
    """Everything about a frame that the grouping looks at; arguments and errors as `group_regions`."""
    if inverse_depth.shape != image.shape[:2]:
        raise ValueError(f"image {image.shape[:2]} and inverse depth {inverse_depth.shape} differ in size")
    if params.camera == "released":
        intrinsics = released_intrinsics(*inverse_depth.shape)
    points = lift_to_scene(inverse_depth, intrinsics, params.min_inverse_depth, params.units)
    superpixels = segment_superpixels(
        image, params.superpixels, params.compactness, params.smoothing, params.slic_iterations
    )
    positions, normals = measure_superpixels(points, superpixels)
    edges = find_edges(superpixels)
    support = measure_support(positions, normals, edges, params.support_height)
    distances = measure_occlusion(positions, edges), support
    return Graph(superpixels, positions, normals, edges, *distances, measure_contrast(image, superpixels, edges))


def group_graph(graph: Graph, params: RegionParams, extra: np.ndarray | float = 0.0) -> np.ndarray:
    """Weigh the edges (`extra` as in `weigh_edges`), find the regions, paint them. Ids 1..R without gaps. (H, W) uint16

    Raises:
        ValueError: more than 65535 regions.
    """
    weights, options = weigh_edges(graph, params, extra), search_options(params)
    nodes = len(graph.positions)
    regions = group_nodes(graph.edges, weights, nodes, params.cut, params.trials, params.seed, options) + 1
    if regions.max() > np.iinfo(np.uint16).max:
        raise ValueError(f"{regions.max()} regions do not fit into 16 bits: use fewer superpixels or a larger cut")
    return regions.astype(np.uint16)[graph.superpixels]


def group_regions(
    image: np.ndarray, inverse_depth: np.ndarray, intrinsics: np.ndarray, params: RegionParams
) -> np.ndarray:
    """Coherent depth regions of one frame.

    Args:
        image: RGB. (H, W, 3) uint8
        inverse_depth: 1 / scene units, any scale; 0 = no value; sky about 0. (H, W)
        intrinsics: in pixels of this image. (3, 3)
    Returns:
        Region of every pixel, ids 1..R without gaps. (H, W) uint16
    Raises:
        ValueError: sizes differ, depth without values or with NaN, more than 65535 regions.
    """
    return group_graph(build_graph(image, inverse_depth, intrinsics, params), params)
