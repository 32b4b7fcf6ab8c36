"""What a finished run has learned: the networks, and what its prototypes mean."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..artifacts import Artifact, load, run_folder
from ..clustering import assign_prototypes, cluster_vectors
from ..data import Dataset, Frame, find_window, load_reader
from ..data.cameras import correct_intrinsics, scale_focal_lengths
from ..data.labels import CITYSCAPES_LABELS, ClassSet
from ..depth import load_depth_network, predict_inverse_depth
from ..intrinsics import UNKNOWN, fit_intrinsics
from ..networks import embed_images, load_networks
from ..parallel import numpy_generator
from ..params import DepthParams, RegionParams

SATURATION, BRIGHTNESS = 0.65, 0.95  # of the colours of groups without names


@dataclass(frozen=True)
class Segmenter:
    """What names pixels: the embedder of a run, and what its prototypes mean.

    stages: the artefacts it was loaded from, 01 first.
    size: (H, W) that the networks were trained at.
    prototypes: directions that pixels are compared with; of pixels where 05 merged those. (K, D)
    labels_of: train id of each, 255 = no name; or its group, where the run has no names. (K,) uint8
    classes, named: names and colours of these, and whether the names mean anything.
    naming: who was named, prototypes or clusters; see `load_segmenter`.
    """

    stages: list[Artifact]
    size: tuple[int, int]
    embedder: nn.Module
    prototypes: Tensor
    labels_of: np.ndarray
    classes: ClassSet
    named: bool
    naming: str

    @property
    def learned(self) -> DepthParams:
        """The parameters of its 01: which frames it learned from, and how they were cut."""
        return self.stages[0].params

    @property
    def digests(self) -> dict[str, str]:
        """sha256 of the manifest of each stage that decides a label."""
        return {stage.name: stage.digest for stage in self.stages if stage.name in ("04_training", "05_evaluation")}

    def labels(self, images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Train ids, or groups, at another size: embeddings are enlarged before they are named, so borders are smooth.

        (B, H, W, 3) uint8 at `self.size` -> (B, *size) uint8
        """
        embeddings = embed_images(self.embedder, images).to(self.prototypes.device)
        return self.labels_of[assign_prototypes(embeddings, self.prototypes, size).cpu().numpy()]


@dataclass(frozen=True)
class TrainedRun(Segmenter):
    """All networks of a run, depth as well; `stages` begins with 01 and 02.

    field_of_view: degrees, of what the networks see. focal_factor: what learning made of the assumed focal length;
    None = a run of before this was kept.
    """

    depth_network: nn.Module
    region_params: RegionParams
    field_of_view: float
    focal_factor: float | None = None

    def inverse_depth(self, images: np.ndarray) -> np.ndarray:
        """(B, H, W, 3) uint8 at `size` -> (B, H, W) float32, in 1 / scene unit."""
        return predict_inverse_depth(self.depth_network, images)

    def correct_camera(self, assumed: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """Intrinsics of a whole stored frame of shape (H, W), with the focal length that was learned. (3, 3)

        Args:
            assumed: what the run assumed of it.
        """
        params = self.learned
        window = find_window(shape, self.size, params.keep_aspect, params.crop_bottom)
        seen = Frame("", "", "", intrinsics=fit_intrinsics(assumed, window, self.size), calibrated=False)
        factor = correct_intrinsics(seen, params, self.focal_factor)[0, 0] / seen.intrinsics[0, 0]
        return scale_focal_lengths(assumed, factor)


def load_segmenter(run: str, naming: str, clusters: int, device: torch.device) -> Segmenter:
    """The finished 04 of a run, and the names that its 05 gave to prototypes; no depth network.

    Args:
        naming: "prototypes": each has the class that it met most (05's greedy); "clusters": that of its cluster.
        clusters: groups without names, if the run has no 05: the paper's merging, without labels.
    Raises:
        ArtifactError: 01 or 04 is missing, or one of 01 to 05 is damaged or old; says what to run.
        ValueError: the method that was trained has no prototypes.
    """
    training = load(run, "04_training")
    depth = training.source("01_depth")
    embedder, prototypes = load_networks(training)
    if prototypes is None:
        raise ValueError(
            f"04_training of run {run!r} has no prototypes, so nothing names its pixels: choose another run"
        )
    stages = [depth, training]
    if named := (run_folder(run) / "05_evaluation" / "manifest.json").is_file():
        evaluation = load(run, "05_evaluation")
        if evaluation.manifest["inputs"].get("04_training", {}).get("sha256") != training.digest:
            raise ValueError(
                f"05_evaluation of run {run!r} named the prototypes of another 04: run it again without upstream"
            )
        with np.load(evaluation.path("names.npz")) as names:
            labels_of = names[naming]
            if naming == "clusters" and "directions" in names.files:  # of pixels: not the prototypes were merged
                prototypes = torch.from_numpy(names["directions"]).to(prototypes)
        scored = evaluation.manifest["inputs"].get("01_depth")
        classes = class_set(evaluation.source("01_depth").params if scored else depth.params)
        stages.append(evaluation)
    else:
        labels_of = cluster_vectors(prototypes, min(clusters, len(prototypes))).numpy().astype(np.uint8)
        classes = name_groups(int(labels_of.max()) + 1)
    size = (depth.params.height, depth.params.width)
    return Segmenter(stages, size, embedder.to(device), prototypes.to(device), labels_of, classes, named, naming)


def load_run(run: str, naming: str, clusters: int, device: torch.device) -> TrainedRun:
    """The finished 01 to 04 of a run, depth network and all, and the names that its 05 gave to prototypes.

    Args and Raises: as `load_segmenter`; also if 02 is missing, damaged or old.
    """
    segmenter = load_segmenter(run, naming, clusters, device)
    depth, training, *names = segmenter.stages
    regions = training.source("02_regions")
    return TrainedRun(
        **vars(segmenter) | {"stages": [depth, regions, training, *names]},
        depth_network=load_depth_network(depth).to(device),
        region_params=regions.params,
        field_of_view=depth.about.get("field_of_view") or depth.params.field_of_view or UNKNOWN,
        focal_factor=depth.about.get("focal_factor"),
    )


def class_set(params: Any) -> ClassSet:
    """The classes of the data set that a run was scored on, without opening it."""
    reader: type[Dataset] = load_reader(params.scored_dataset or params.dataset)
    if params.label_set or reader.classes is None:
        return CITYSCAPES_LABELS[params.label_set or "19"][0]
    return reader.classes


def name_groups(count: int) -> ClassSet:
    """Groups without names: numbers, and colours that differ as much as they can."""
    hues = numpy_generator(0, count).permutation(count) / count
    wheel = [np.clip(np.abs((hue * 6 + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1) for hue in hues]
    colors = tuple(
        tuple(int(255 * BRIGHTNESS * (1 - SATURATION + SATURATION * channel)) for channel in rgb) for rgb in wheel
    )
    return ClassSet("groups without names", tuple(f"group {i}" for i in range(count)), tuple(range(count)), colors)
