"""A video as a run sees it, frame by frame: depth, regions, labels; what notebook 11 shows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ..artifacts import Stage
from ..data import find_window, resize_image
from ..data.video import read_video
from ..intrinsics import UNKNOWN, fit_intrinsics, intrinsics_from_field_of_view
from ..parallel import parallel_map
from ..params import RegionParams
from ..regions import group_regions
from .runs import TrainedRun

SHOWN_HEIGHT = 360  # rows of the pictures in the videos, if nothing else is asked for
CHUNK = 8  # frames of a video that go through the networks together


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
    own = learned.dataset in ("video", "images") and (not params.path or is_own(params.path, learned))
    path = params.path or (learned.path if own else "")
    step = params.video_step or (learned.video_step if own else 1)
    crop = params.crop_bottom if params.crop_bottom >= 0 else learned.crop_bottom if own else 0.0
    degrees = params.field_of_view or (learned.field_of_view if own else 0.0)
    height = params.output_height or (SHOWN_HEIGHT if path else 2 * learned.height)
    same = own and not params.field_of_view and learned.dataset in {clip.partition(":")[0] for clip in learned.clips}
    return Footage(Path(path).expanduser() if path else None, step, crop, degrees, height, same)


def is_own(path: str | Path, learned: Any) -> bool:
    """Is this the video or folder that a run with these `DepthParams` learned from, or a part of it?"""
    if learned.dataset not in ("video", "images"):
        return False
    return learned.path in [str(place) for place in (Path(path), *Path(path).parents)]


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
    largest, size = 1 / trained.learned.min_depth, output_size(trained.size, footage.height)
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
