"""A finished run looks at images it has never seen: depth, regions, labels."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .artifacts import Artifact, Stage, load, run_folder
from .clustering import assign_prototypes, cluster_vectors
from .data import Dataset, Frame, find_window, load_reader, resize_image
from .data.cameras import correct_intrinsics, scale_focal_lengths
from .data.labels import CITYSCAPES_LABELS, ClassSet
from .data.video import read_video
from .depth import load_depth_network, predict_inverse_depth
from .intrinsics import UNKNOWN, fit_intrinsics, intrinsics_from_field_of_view
from .networks import embed_images, load_networks
from .parallel import numpy_generator, parallel_map
from .params import RegionParams
from .regions import group_regions

SHOWN_HEIGHT = 360  # rows of the pictures in the videos, if nothing else is asked for
CHUNK = 8  # frames of a video that go through the networks together
SATURATION, BRIGHTNESS = 0.65, 0.95  # of the colours of groups without names


@dataclass(frozen=True)
class TrainedRun:
    """The networks of a run and what its prototypes mean.

    stages: the artefacts it was loaded from.
    size: (H, W) that the networks were trained at.
    labels_of: train id of each prototype, 255 = no name; or its group, where the run has no names. (K,) uint8
    classes, named: names and colours of these, and whether the names mean anything.
    field_of_view: degrees, of what the networks see. focal_factor: what learning made of the assumed focal length;
    None = a run of before this was kept.
    """

    stages: list[Artifact]
    size: tuple[int, int]
    depth_network: nn.Module
    embedder: nn.Module
    prototypes: Tensor
    labels_of: np.ndarray
    classes: ClassSet
    named: bool
    region_params: RegionParams
    field_of_view: float
    focal_factor: float | None = None

    def inverse_depth(self, images: np.ndarray) -> np.ndarray:
        """(B, H, W, 3) uint8 at `size` -> (B, H, W) float32, in 1 / scene unit."""
        return predict_inverse_depth(self.depth_network, images)

    def labels(self, images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Train ids, or groups, at another size: embeddings are enlarged before they are named, so borders are smooth.

        (B, H, W, 3) uint8 at `self.size` -> (B, *size) uint8
        """
        embeddings = embed_images(self.embedder, images).to(self.prototypes.device)
        return self.labels_of[assign_prototypes(embeddings, self.prototypes, size).cpu().numpy()]

    def correct_camera(self, assumed: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """Intrinsics of a whole stored frame of shape (H, W), with the focal length that was learned. (3, 3)

        Args:
            assumed: what the run assumed of it.
        """
        params = self.stages[0].params
        window = find_window(shape, self.size, params.keep_aspect, params.crop_bottom)
        seen = Frame("", "", "", intrinsics=fit_intrinsics(assumed, window, self.size), calibrated=False)
        factor = correct_intrinsics(seen, params, self.focal_factor)[0, 0] / seen.intrinsics[0, 0]
        return scale_focal_lengths(assumed, factor)


def load_run(run: str, naming: str, clusters: int, device: torch.device) -> TrainedRun:
    """The finished 01 to 04 of a run, and the names that its 05 gave to prototypes.

    Args:
        naming: "prototypes": each has the class that it met most (05's greedy); "clusters": that of its cluster.
        clusters: groups without names, if the run has no 05: the paper's merging, without labels.
    Raises:
        ArtifactError: 01 to 04 are missing, or one of 01 to 05 is damaged or old; says what to run.
    """
    training = load(run, "04_training")
    depth, regions = (training.source(name) for name in ("01_depth", "02_regions"))
    embedder, prototypes = load_networks(training)
    stages = [depth, regions, training]
    if named := (run_folder(run) / "05_evaluation" / "manifest.json").is_file():
        evaluation = load(run, "05_evaluation")
        with np.load(evaluation.path("names.npz")) as names:
            labels_of = names[naming]
        classes = class_set(depth.params)
        stages.append(evaluation)
    else:
        labels_of = cluster_vectors(prototypes, min(clusters, len(prototypes))).numpy().astype(np.uint8)
        classes = name_groups(int(labels_of.max()) + 1)
    size = (depth.params.height, depth.params.width)
    angle = depth.about.get("field_of_view") or depth.params.field_of_view or UNKNOWN
    factor = depth.about.get("focal_factor")
    networks = (part.to(device) for part in (load_depth_network(depth), embedder, prototypes))
    return TrainedRun(stages, size, *networks, labels_of, classes, named, regions.params, angle, factor)


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


@dataclass(frozen=True)
class View:
    """One frame of a video, cut to the shape that a run was trained at.

    name: of its files. seconds: since the video began. image: as shown, (h, w, 3) uint8. small: as the networks see
    it, (H, W, 3) uint8. intrinsics: in pixels of `small`. (3, 3)
    """

    name: str
    seconds: float
    image: np.ndarray
    small: np.ndarray
    intrinsics: np.ndarray


@dataclass(frozen=True)
class Footage:
    """Which video is looked at, and how: what `VideoParams` leave open comes from the run.

    path: None = the generated street. field_of_view: of the whole stored frame; 0 = unknown. height: of the pictures in
    the videos, in pixels. learned: the run learned from this camera, and its `focal_factor` holds.
    """

    path: Path | None
    video_step: int
    crop_bottom: float
    field_of_view: float
    height: int
    learned: bool = False


def choose_footage(params: Any, learned: Any) -> Footage:
    """The video that `params` (a `VideoParams`) name, or the one that the run learned from, or a generated street.

    Args:
        learned: the run's `DepthParams`. Its step, bonnet and camera hold for its own video only; a field of view in
            `params` comes first.
    """
    around = [str(place) for place in (Path(params.path), *Path(params.path).parents)] if params.path else []
    own = learned.dataset in ("video", "images") and (not params.path or learned.path in around)
    path = params.path or (learned.path if own else "")
    step = params.video_step or (learned.video_step if own else 1)
    crop = params.crop_bottom if params.crop_bottom >= 0 else learned.crop_bottom if own else 0.0
    degrees = params.field_of_view or (learned.field_of_view if own else 0.0)
    height = params.output_height or (SHOWN_HEIGHT if path else 2 * learned.height)
    same = own and not params.field_of_view and learned.dataset in {clip.partition(":")[0] for clip in learned.clips}
    return Footage(Path(path).expanduser() if path else None, step, crop, degrees, height, same)


def output_size(size: tuple[int, int], height: int) -> tuple[int, int]:
    """The size of a run, enlarged or shrunk to this height; even, as video codecs want it."""
    return height // 2 * 2, round(height * size[1] / size[0] / 2) * 2


def read_views(footage: Footage, params: Any, trained: TrainedRun) -> Iterator[View]:
    """The part of a video that `params` (a `VideoParams`) asks for, the bonnet cut off, one frame after the other."""
    size, shown = trained.size, output_size(trained.size, footage.height)
    assumed = intrinsics_from_field_of_view(trained.field_of_view, *size)
    for number, seconds, image in read_video(footage.path, footage.video_step, params.start, params.seconds):
        shape = image.shape[:2]
        window = find_window(shape, size, keep_aspect=True, crop_bottom=footage.crop_bottom)
        part, matrix = image[window], assumed
        corrected = footage.learned and trained.focal_factor is not None
        if corrected or footage.field_of_view:
            whole = intrinsics_from_field_of_view(footage.field_of_view or UNKNOWN, *shape)
            whole = trained.correct_camera(whole, shape) if corrected else whole
            matrix = fit_intrinsics(whole, window, size)
        yield View(f"{number:06d}", seconds, resize_image(part, shown), resize_image(part, size), matrix)


def observe_video(trained: TrainedRun, footage: Footage, params: Any, stage: Stage) -> list[str]:
    """Depth, labels and regions of each frame of a video, as PNGs in a stage; names of the frames.

    Frames that an interrupted attempt with the same parameters has finished are passed over. Writes
    inverse_depth/NAME.png (16 bits, at the run's size), labels/NAME.png (at the size of the output) and, if wanted,
    regions/NAME.png (16 bits, at the run's size).

    Raises:
        ValueError: the part that was asked for holds no frame.
    """
    views, names = read_views(footage, params, trained), []
    largest, size = 1 / trained.stages[0].params.min_depth, output_size(trained.size, footage.height)
    last = "regions" if params.regions else "labels"
    while chunk := list(islice(views, CHUNK)):
        names += [view.name for view in chunk]
        missing = [view for view in chunk if not stage.has(f"{last}/{view.name}.png")]
        if missing:
            _observe(trained, missing, params, stage, largest, size)
    if not names:
        raise ValueError(f"{footage.path} has no frame from second {params.start:g} on: choose another `start`")
    return names


def _observe(
    trained: TrainedRun, views: Sequence[View], params: Any, stage: Stage, largest: float, size: tuple[int, int]
) -> None:
    images = np.stack([view.small for view in views])
    inverse_depths, labels = trained.inverse_depth(images), trained.labels(images, size)
    for view, inverse_depth, found in zip(views, inverse_depths, labels):
        stage.save_inverse_depth(f"inverse_depth/{view.name}.png", inverse_depth, largest)
        stage.save_image(f"labels/{view.name}.png", found)
    if params.regions:
        items = [(view.small, near, view.intrinsics) for view, near in zip(views, inverse_depths)]
        group = partial(_group, trained.region_params)
        for view, regions in zip(views, parallel_map(group, items, min(params.workers, len(views)))):
            stage.save_image(f"regions/{view.name}.png", regions)


def _group(params: RegionParams, item: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
    """Regions of an image (H, W, 3), given its inverse depth (H, W) and intrinsics (3, 3). (H, W) uint16"""
    return group_regions(*item, params)
