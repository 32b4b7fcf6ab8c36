"""Coherent depth regions (CPCDR sec. 3.2), two baselines without depth, and how well regions fit the truth.

`grouping` one frame, `frames` all of them, `metrics` scores and baselines.
"""

from .frames import FrameGrouper, average_rows, read_inverse_depth_of
from .grouping import (
    Graph,
    build_graph,
    find_communities,
    group_graph,
    group_nodes,
    group_regions,
    lift_to_scene,
    weigh_edges,
)
from .metrics import cut_grid, cut_slic, find_true_segments, purity, score_regions

__all__ = [
    "FrameGrouper",
    "Graph",
    "average_rows",
    "build_graph",
    "cut_grid",
    "cut_slic",
    "find_communities",
    "find_true_segments",
    "group_graph",
    "group_nodes",
    "group_regions",
    "lift_to_scene",
    "purity",
    "read_inverse_depth_of",
    "score_regions",
    "weigh_edges",
]
