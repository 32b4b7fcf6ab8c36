"""Tracks of the camera: what was driven, beside what the motion network makes of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from ..data import Dataset, Frame, open_dataset
from .metrics import absolute_trajectory_error, align_similarity, chain_poses, relative_pose_error
from .networks import DepthNetworks
from .task import predict_motion

SHORTEST = 20  # frames: fewer hardly bend, and any motion can be laid onto them
UNSEEN = 40  # frames of the generated street that is driven for this alone


@dataclass(frozen=True)
class Track:
    """One drive. `true` and `found` are places of the camera in metres, (T, 3), the second laid onto the first.

    learned_from: these frames were trained on.
    error: root mean square distance of the two, metres.
    straight_error: the same for a straight drive at even speed, which knows nothing: what a track must be better than.
    step_error, turn_error: of single steps: metres, and degrees.
    """

    clip: str
    learned_from: bool
    true: np.ndarray
    found: np.ndarray
    error: float
    straight_error: float
    step_error: float
    turn_error: float

    @property
    def length(self) -> float:
        """Metres driven."""
        return float(np.linalg.norm(np.diff(self.true, axis=0), axis=1).sum())

    def describe(self) -> str:
        known = "" if self.learned_from else "not "
        return f"{self.clip}: {len(self.true)} frames, {self.length:.0f} m, {known}learned from"


def was_learned(frame: Frame, dataset: str, clips: Sequence[str]) -> bool:
    """Was this frame trained on? `clips` as in the parameters: DATASET = its train split, DATASET:CLIP = all of it."""
    return f"{dataset}:{frame.clip}" in clips or (dataset in clips and frame.split == "train")


def find_drives(params: Any, video: Dataset) -> list[tuple[Dataset, list[Frame], bool]]:
    """Clips of at least `SHORTEST` steps whose true poses are known, and whether they were learned from.

    Those of `video`, and those of other data sets that `params.clips` names one by one; of generated streets, whose
    clips are short, one drive that nothing was learned from.
    """
    if video.name == "street":
        long = open_dataset(replace(params, val_clips=1, scored_frames_per_clip=UNSEEN), "street")
        return [(long, clip, False) for clip in long.clips("val")]
    home = video.name.partition(" and ")[0]  # without the data set that is only scored on
    named = [name for name in params.clips if ":" in name and not name.startswith(f"{home}:")]
    found = []
    for name, dataset in [(home, video), *((name, open_dataset(params, name)) for name in named)]:
        for clip in dataset.clips(shortest=SHORTEST * params.frame_step):
            if all(dataset.camera_from_world(frame) is not None for frame in (clip[0], clip[-1])):
                found.append((dataset, clip, was_learned(clip[0], name.partition(":")[0], params.clips)))
    return found


def follow(
    networks: DepthNetworks, dataset: Dataset, clip: Sequence[Frame], learned_from: bool, step: int = 1,
    metric: bool = False, steps: np.ndarray | None = None,
) -> Track:  # fmt: skip
    """What the motion network makes of a clip, laid onto the truth: moved, turned and, unless in metres, scaled.

    Args:
        step: frames between the members of a pair.
        steps: what `predict_motion` said of them before, so as not to ask again. (T - 1, 4, 4)
    Raises:
        ValueError: a frame has no true pose.
    """
    frames = clip[::step]
    world = [dataset.camera_from_world(frame) for frame in frames]
    if any(pose is None for pose in world):
        raise ValueError(f"not every frame of {clip[0].clip} has a true pose")
    if steps is None:
        steps = predict_motion(networks, (dataset.image(frame) for frame in frames))[0]
    true = np.stack([np.linalg.inv(pose)[:3, 3] for pose in world])
    driven = np.stack([later @ np.linalg.inv(earlier) for earlier, later in pairwise(world)])
    places = chain_poses(steps)
    return Track(
        clip[0].clip,
        learned_from,
        true,
        align_similarity(places, true, with_scale=not metric)[0],
        absolute_trajectory_error(places, true, with_scale=not metric),
        absolute_trajectory_error(np.outer(np.arange(len(true)), [0.0, 0.0, 1.0]), true, with_scale=True),
        *relative_pose_error(steps, driven, with_scale=not metric),
    )
