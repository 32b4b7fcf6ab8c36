"""Coherent depth regions (CPCDR sec. 3.2), regions from elsewhere, and how well regions fit the truth.

`grouping` the regions of one frame; `sources` one door to them and to those of other origin (`contours`, `learned`);
`frames` a frame of a data set, read, grouped, saved and scored; `shards` all frames on many processes; `metrics` scores
and baselines; `literal` the released procedure as it was written, to compare with.
"""

from .frames import FrameGrouper, ViewGrouper, average_rows, invert_depth, read_inverse_depth_of
from .grouping import (
    Graph,
    build_graph,
    find_communities,
    group_graph,
    group_nodes,
    group_regions,
    lift_to_scene,
    measure_superpixels,
    weigh_edges,
)
from .learned import vote_clusters
from .metrics import count_mixtures, cut_grid, cut_slic, find_impure, find_true_segments, purity, score_regions
from .shards import group_frames
from .sources import Observation, cut_every_source, cut_regions

__all__ = [
    "FrameGrouper",
    "Graph",
    "Observation",
    "ViewGrouper",
    "average_rows",
    "build_graph",
    "count_mixtures",
    "cut_every_source",
    "cut_grid",
    "cut_regions",
    "cut_slic",
    "find_communities",
    "find_impure",
    "find_true_segments",
    "group_frames",
    "group_graph",
    "group_nodes",
    "group_regions",
    "invert_depth",
    "lift_to_scene",
    "measure_superpixels",
    "purity",
    "read_inverse_depth_of",
    "score_regions",
    "vote_clusters",
    "weigh_edges",
]
