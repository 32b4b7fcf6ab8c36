"""Self-supervised depth from video: Monodepth2 (CPCDR sec. 3.1), learned here from nothing.

`read_triplets` -> `DepthTask` -> `training.train` -> `predict_inverse_depth` -> `score_frames`.
"""

from .losses import compare_still, compare_views, minimum_reprojection, photometric_error, reproject, search_depth
from .metrics import align_similarity, chain_poses, scale_to, score_frames, select_valid
from .networks import DepthNetworks, build_networks, load_depth_network
from .task import (
    DepthTask,
    Triplets,
    explain_triplet,
    intrinsics_of,
    predict_inverse_depth,
    predict_motion,
    predict_poses,
    read_triplets,
    street_like,
    to_tensor,
)

__all__ = [
    "DepthNetworks",
    "DepthTask",
    "Triplets",
    "align_similarity",
    "build_networks",
    "chain_poses",
    "compare_still",
    "compare_views",
    "explain_triplet",
    "intrinsics_of",
    "load_depth_network",
    "minimum_reprojection",
    "photometric_error",
    "predict_inverse_depth",
    "predict_motion",
    "predict_poses",
    "read_triplets",
    "reproject",
    "scale_to",
    "score_frames",
    "search_depth",
    "select_valid",
    "street_like",
    "to_tensor",
]
