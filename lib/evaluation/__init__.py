"""Scores of a segmentation that was learned without labels, and how far they can be trusted.

`matching` from counts of classes and clusters to named classes and scores; `protocols` the same prediction by all rules
in use; `intervals` what other seeds and other clips would have given; `probes` what features hold by themselves;
`frames` what is scored; `regions` as points of the embedding space.
"""

from .frames import find_run_without_paste, read_labelled
from .intervals import (
    FEWEST_SEEDS,
    Estimate,
    accuracy,
    class_iou,
    compare_left_out,
    compare_paired,
    correct_for_many,
    estimate,
    estimate_left_out,
    join_blocks,
    miou,
    pseudo_values,
    rows_from_json,
    rows_to_json,
)
from .matching import (
    MATCHINGS,
    UNNAMED,
    Scores,
    count_blocks,
    count_pairs,
    match_by_count,
    match_by_iou,
    match_greedily,
    measure_overlap,
    merge_columns,
    name_clusters,
    normalize_score,
    score,
)
from .probes import Cells, count_over_clusters, gather_cells, vote_neighbours
from .protocols import Labeling, count_protocols, find_labelings, score_cuts, score_protocols
from .regions import RegionPoints, average_regions, find_region_maps

__all__ = [
    "FEWEST_SEEDS",
    "MATCHINGS",
    "UNNAMED",
    "Cells",
    "Estimate",
    "Labeling",
    "RegionPoints",
    "Scores",
    "accuracy",
    "average_regions",
    "class_iou",
    "compare_left_out",
    "compare_paired",
    "correct_for_many",
    "count_blocks",
    "count_over_clusters",
    "count_pairs",
    "count_protocols",
    "estimate",
    "estimate_left_out",
    "find_labelings",
    "find_region_maps",
    "find_run_without_paste",
    "gather_cells",
    "join_blocks",
    "match_by_count",
    "match_by_iou",
    "match_greedily",
    "measure_overlap",
    "merge_columns",
    "miou",
    "name_clusters",
    "normalize_score",
    "pseudo_values",
    "read_labelled",
    "rows_from_json",
    "rows_to_json",
    "score",
    "score_cuts",
    "score_protocols",
    "vote_neighbours",
]
