"""What the tests of regions share: a small street, its camera and parameters, a random graph, eqs. 1 to 3 by hand."""

import math

import numpy as np

from lib.params import RegionParams
from lib.regions.grouping import Graph, measure_occlusion, measure_support
from lib.superpixels import find_edges

PARAMS = RegionParams(
    superpixels=60,
    smoothing=1.0,
    occlusion_weight=12.0,
    support_weight=20.0,
    color_weight=0.0,
    cut=0.1,
    min_inverse_depth=0.01,
)
PANEL = RegionParams(superpixels=150)
INTRINSICS = np.array([[40.0, 0, 35.5], [0, 42.0, 20.5], [0, 0, 1]])
SIZE = (48, 72)


def draw_street(seed=0):
    """A level road under a camera, a wall far off, two boxes on the road. Image and inverse depth."""
    rng = np.random.default_rng(seed)
    v, u = np.mgrid[: SIZE[0], : SIZE[1]]
    inverse = np.maximum((v - INTRINSICS[1, 2]) / INTRINSICS[1, 1] / 1.6, 1 / 40)
    kind = (inverse > 1 / 40).astype(int)
    for box, (left, right, top, bottom, depth) in enumerate([(8, 20, 14, 40, 3.5), (44, 60, 10, 34, 5.0)]):
        inside = (u >= left) & (u < right) & (v >= top) & (v < bottom)
        inverse, kind = np.where(inside, 1 / depth, inverse), np.where(inside, box + 2, kind)
    colors = np.array([[90, 120, 200], [90, 90, 90], [180, 40, 40], [40, 160, 60]])[kind]
    image = np.clip(colors + rng.normal(0, 8, colors.shape), 0, 255).astype(np.uint8)
    return image, inverse.astype(np.float32), kind


def transcribe_weight(p1, n1, p2, n2, w_ocln, w_sup, b):
    """Eqs. 1-3 for one edge; S1 is the lower one."""
    if p1[1] > p2[1]:
        p1, n1, p2, n2 = p2, n2, p1, n1
    (x1, y1, z1), (x2, y2, z2) = p1, p2
    d_ocln = math.sqrt((x1 - x2) ** 2 + (y1 - y2) ** 2 + (z1 - z2) ** 2) / (z1 + z2)
    d_sup = max(n1[1], 0) * max(n1[1] - n2[1], 0) * y1**2 if y1 < 0 else 0.0
    return d_ocln, d_sup, 1 / (1 + math.exp(-(w_ocln * d_ocln + w_sup * d_sup + b)))


def draw_graph(seed, count=40, cells=12):
    """Superpixels of a random map with random places and normals."""
    rng = np.random.default_rng(seed)
    ids = np.arange(count).repeat(3)[rng.permutation(3 * count)].reshape(cells, -1)
    positions = rng.normal(size=(count, 3)) * [1, 1, 0.3] + [0, 0, 3]
    normals = rng.normal(size=(count, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    edges = find_edges(ids)
    distances = measure_occlusion(positions, edges), measure_support(positions, normals, edges)
    return Graph(ids, positions, normals, edges, *distances, contrast=rng.uniform(0, 30, len(edges)))
