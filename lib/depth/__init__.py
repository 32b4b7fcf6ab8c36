"""Depth from video by self-supervision: Monodepth2 (CPCDR sec. 3.1), learned here from nothing; or from elsewhere.

`read_triplets` -> `leave_out` -> `DepthTask` -> `training.train` -> `open_source` -> `write_inverse_depths` ->
`score_frames`. `sources` has what is not learned: measured, stereo, other people's networks, controls.
"""

from ..data.cameras import correct_intrinsics, intrinsics_of
from .export import StoredMaps, write_inverse_depths
from .focal import describe_focal, measure_focal_error
from .losses import compare_still, compare_views, minimum_reprojection, photometric_error, reproject, search_depth
from .masks import drop_still, find_bonnet, leave_out, read_bonnet, warn_of_holes
from .metrics import (
    align_similarity,
    chain_poses,
    find_failures,
    is_velodyne,
    pick_frames,
    scale_to,
    score_frames,
    select_valid,
)
from .networks import DepthNetworks, build_networks, load_depth_network
from .sources import derange, describe, find_largest, open_source
from .task import DepthTask, explain_triplet, predict_inverse_depth, predict_motion, predict_views, to_tensor
from .tracks import find_drives, follow, was_learned
from .triplets import Triplets, read_triplets, street_like

__all__ = [
    "DepthNetworks",
    "DepthTask",
    "StoredMaps",
    "Triplets",
    "align_similarity",
    "build_networks",
    "chain_poses",
    "compare_still",
    "compare_views",
    "correct_intrinsics",
    "derange",
    "describe",
    "describe_focal",
    "drop_still",
    "explain_triplet",
    "find_bonnet",
    "find_drives",
    "find_failures",
    "find_largest",
    "follow",
    "intrinsics_of",
    "is_velodyne",
    "leave_out",
    "load_depth_network",
    "measure_focal_error",
    "minimum_reprojection",
    "open_source",
    "photometric_error",
    "pick_frames",
    "predict_inverse_depth",
    "predict_motion",
    "predict_views",
    "read_bonnet",
    "read_triplets",
    "reproject",
    "scale_to",
    "score_frames",
    "search_depth",
    "select_valid",
    "street_like",
    "to_tensor",
    "warn_of_holes",
    "was_learned",
    "write_inverse_depths",
]
