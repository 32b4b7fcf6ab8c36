"""Every frame of a data set through the grouping, one process each, saved as it is made."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module

import numpy as np

from ..artifacts import Artifact, Stage, read_inverse_depth
from ..data import Dataset, Frame, read_map
from ..data.cameras import correct_intrinsics, intrinsics_of
from ..intrinsics import UNKNOWN, intrinsics_from_field_of_view
from ..parallel import peak_memory
from ..params import RegionParams
from .grouping import Graph, build_graph, group_regions
from .metrics import cut_grid, cut_slic, score_regions
from .sources import Observation, cut_regions, needs_depth

FARTHEST = 1e6  # metres; stands for the sky's infinite depth, so that its inverse is small but not "no value"


def read_inverse_depth_of(frame: Frame, dataset: Dataset, depth: Artifact, source: str) -> np.ndarray:
    """Inverse depth of a frame; 0 = no value. (H, W) float32

    Args:
        depth: the finished 01.
        source: predicted (by 01), or truth, the data set's own.
    Raises:
        ValueError: truth was asked for and the data set has none for this frame.
    """
    if source == "predicted":
        return read_inverse_depth(depth.path(f"inverse_depth/{frame.id}.png"), depth.about["inverse_depth_largest"])
    truth = dataset.depth(frame)
    if truth is None:
        raise ValueError(f"{dataset.name} has no true depth of {frame.id}: set depth = 'predicted'")
    return invert_depth(truth)


def invert_depth(depth: np.ndarray) -> np.ndarray:
    """Inverse of a measured depth (H, W) in metres, 0 = no value, infinite = sky. (H, W) float32, 0 = no value"""
    return np.where(depth > 0, 1 / np.clip(depth, 1 / FARTHEST, FARTHEST), 0).astype(np.float32)


@dataclass(frozen=True)
class FrameGrouper:
    """Callable on a frame, sent to other processes: groups it, saves regions/<frame id>.png, scores it.

    A map that an interrupted attempt with the same parameters, inputs and code left is read instead of made again.
    """

    dataset: Dataset
    depth: Artifact
    stage: Stage

    def intrinsics(self, frame: Frame) -> np.ndarray:
        """The frame's calibration; or of a camera that nobody measured, what notebook 01 learned or assumed. (3, 3)

        What 01 learned holds for the data sets that it learned from; for frames of others, what was assumed.
        """
        params, degrees = self.depth.params, self.depth.about.get("field_of_view")
        if frame.intrinsics is None:
            return intrinsics_from_field_of_view(degrees or params.field_of_view or UNKNOWN, *self.dataset.size)
        if self.dataset.reader(frame) not in {clip.partition(":")[0] for clip in params.clips}:
            return correct_intrinsics(frame, replace(params, learn_intrinsics="no"))
        factor = self.depth.about.get("focal_factor", 1.0)
        if params.learn_intrinsics != "no" and "focal_factor" not in self.depth.about and degrees:
            # a run of before the factor was kept: its field of view says the same, at the final width
            found = intrinsics_from_field_of_view(degrees, *self.dataset.size)
            factor = float(found[0, 0]) / intrinsics_of(frame, params)[0, 0]
        return correct_intrinsics(frame, params, factor)

    def inverse_depth(self, frame: Frame) -> np.ndarray:
        """What notebook 01 predicted, or the data set's own, as `params.depth` says; 0 = no value. (H, W) float32"""
        return read_inverse_depth_of(frame, self.dataset, self.depth, self.stage.params.depth)

    def graph(self, frame: Frame) -> Graph:
        """The frame as a weighted graph's ingredients, for a closer look."""
        return build_graph(
            self.dataset.image(frame), self.inverse_depth(frame), self.intrinsics(frame), self.stage.params
        )

    def observe(self, frame: Frame, image: np.ndarray) -> Observation:
        """What the source of `params` looks at, beside the image (H, W, 3) itself.

        Clusters are those that `save_clusters` left in this stage.
        """
        labels, instances = None, None
        if self.stage.params.source == "truth" and frame.labelled:
            labels, instances = self.dataset.labels(frame), self.dataset.instances(frame)
        depth = (self.inverse_depth(frame), self.intrinsics(frame)) if needs_depth(self.stage.params) else (None, None)
        return Observation(image, *depth, labels, instances, self._read_clusters(frame))

    def observe_all(self, frame: Frame) -> Observation:
        """All that is known of a frame, whatever the source of `params`, for every source that finds what it needs."""
        image, depth = self.dataset.image(frame), (self.inverse_depth(frame), self.intrinsics(frame))
        truth = self.dataset.labels(frame), self.dataset.instances(frame)
        return Observation(image, *depth, *truth, self._read_clusters(frame))

    def _read_clusters(self, frame: Frame) -> np.ndarray | None:
        if self.stage.params.source != "learned":
            return None
        return read_map(self.stage.path(f"clusters/{frame.id}.png"))

    def save_clusters(self, training: Artifact, frames: Sequence[Frame]) -> None:
        """What a finished 04 finds alike in frames, for source = learned; see `lib.clusters.save_clusters`."""
        clusters = import_module("lib.clusters")  # by name: other sources do not depend on the code of networks
        clusters.save_clusters(training, self.dataset, frames, self.stage, self.stage.params.learned_clusters)

    def __call__(self, frame: Frame) -> dict[str, float]:
        """Scores under the names of metrics.json, those of the baselines as slic_... and grid_... ."""
        params, name = self.stage.params, f"regions/{frame.id}.png"
        image = self.dataset.image(frame)
        row = {}
        if self.stage.has(name):
            regions = read_map(self.stage.path(name))
        else:
            seen = self.observe(frame, image)
            started = time.perf_counter()
            regions = cut_regions(seen, params)
            row["seconds_per_frame"] = time.perf_counter() - started
            self.stage.save_image(name, regions)
        row["regions_per_frame"] = int(regions.max())
        labels = self.dataset.labels(frame) if frame.labelled else None
        if labels is None:
            return row
        instances = self.dataset.instances(frame)
        slic = cut_slic(image, int(regions.max()), params.compactness, params.smoothing)
        candidates = {"": regions, "slic_": slic, "grid_": cut_grid(image.shape[:2], int(regions.max()))}
        for prefix, candidate in candidates.items():
            scores = score_regions(candidate, labels, instances) | {"regions_per_frame": int(candidate.max())}
            row |= {prefix + key: value for key, value in scores.items()}
        return row


@dataclass(frozen=True)
class ViewGrouper:
    """Callable on an `Observation`, sent to other processes: its regions, and the bytes that the process has held.

    It stands here because a process that gets it imports this package, which needs no torch, as those of 02 do.
    """

    params: RegionParams

    def __call__(self, view: Observation) -> tuple[np.ndarray, int]:
        return group_regions(view.image, view.inverse_depth, view.intrinsics, self.params), peak_memory()


def average_rows(rows: list[dict[str, float]]) -> dict[str, float | None]:
    """Mean of every score over the frames that have it; None where no frame has."""
    keys = dict.fromkeys(key for row in rows for key in row)
    return {key: float(np.mean([row[key] for row in rows if key in row])) for key in keys}
