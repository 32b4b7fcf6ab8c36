"""What depth is learned from: three frames in order of time, with the right image of the middle one if there is one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data import Dataset, Frame, open_dataset
from ..data.cameras import intrinsics_of
from ..data.prepared import FrameImages, gather_images
from ..intrinsics import field_of_view_of
from ..parallel import numpy_generator

GRAY = np.full((3, 3), 1 / 3)
YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])  # hue turns its last two axes


@dataclass(frozen=True)
class Triplets:
    """Frames, in memory or read when asked for, and which three belong together; M triplets of N frames.

    images: (N, H, W, 3) uint8
    members: rows of `images`: earlier, middle, later. (M, 3) int
    intrinsics: of each triplet, in pixels of `images`; where nobody measured the camera, assumed. (M, 3, 3) float32
    focal_is_learned: triplets whose focal length is only where learning begins. (M,) bool
    part: which of the named videos a triplet is from. (M,) int
    bonnets: of each video, pixels that never teach. One (H, W) bool or None each
    right: what the right camera sees of each frame, as `images`; None without stereo.
    baselines: in metres, 0 = this triplet has no right image. (M,) float32
    """

    images: np.ndarray | FrameImages
    members: np.ndarray
    intrinsics: np.ndarray
    focal_is_learned: np.ndarray
    part: np.ndarray
    bonnets: tuple[np.ndarray | None, ...] = (None,)
    right: Any = None
    baselines: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.members)

    def of_part(self, number: int) -> np.ndarray:
        """Rows of `images` that triplets of one of the named videos use. (n,) int"""
        return np.unique(self.members[self.part == number])


def read_triplets(params: Any, names: tuple[str, ...] = ()) -> Triplets:
    """All triplets t - frame_step, t, t + frame_step of the clips that depth is learned from.

    Args:
        names: DATASET = its train split, DATASET:CLIP = that whole clip; empty = `params.clips`.
    Raises:
        ValueError: no clip is long enough for one triplet; `params.stereo` and no clip has right images; or with
            `params.learn_intrinsics` all clips are calibrated, unless they are those of `street_like`.
    """
    step, count, parts, rows = params.frame_step, 0, [], []
    for number, name in enumerate(names or params.clips):
        dataset = open_dataset(params, name)
        for clip in dataset.clips("" if ":" in name else "train", shortest=2 * step + 1):
            rows += [_describe(dataset, clip, t, count, number, params) for t in range(step, len(clip) - step)]
            parts.append((dataset, clip))
            count += len(clip)
    if not rows:
        raise ValueError(
            f"none of the clips {list(names or params.clips)} has {2 * step + 1} frames: "
            "name longer videos in `clips` or make frame_step smaller"
        )
    members, matrices, learned, numbers, baselines = (np.array(column) for column in zip(*rows))
    if params.stereo and not baselines.any():
        raise ValueError(f"none of the clips {list(names or params.clips)} has right images: set stereo = false")
    if params.learn_intrinsics != "no" and not learned.any() and not _is_start(params):
        raise ValueError(
            f"the clips {list(names or params.clips)} are calibrated, so that no focal length is left to learn: set "
            "learn_intrinsics = no, or all to learn it as a check"
        )
    return Triplets(
        gather_images(parts, params.workers),
        members,
        matrices.astype(np.float32),
        learned,
        numbers,
        bonnets=(None,) * (1 + numbers.max()),
        right=gather_images(parts, params.workers, right=True) if params.stereo else None,
        baselines=baselines.astype(np.float32) if params.stereo else None,
    )


def _describe(dataset: Dataset, clip: Sequence[Frame], t: int, first: int, number: int, params: Any) -> tuple[Any, ...]:
    """One row of the columns of `Triplets`."""
    step, frame = params.frame_step, clip[t]
    learned = {"no": False, "unknown": not frame.calibrated, "all": True}[params.learn_intrinsics]
    baseline = (dataset.baseline(frame) or 0.0) if params.stereo else 0.0
    at = first + t
    return (at - step, at, at + step), intrinsics_of(frame, params), learned, number, baseline


def street_like(params: Any, intrinsics: np.ndarray) -> Any:
    """Parameters of generated streets seen by a camera of this focal length in pixels; height as in `params`.

    Their calibration is known; if the focal length is learned afterwards, the networks have the output for it already.
    `start_steps` stays above 0: that says that nothing but motion and depth are learned here.
    """
    later = "no" if params.learn_intrinsics == "no" else "unknown"
    degrees = field_of_view_of(intrinsics, params.width)
    like = {"dataset": "street", "clips": ("street",), "field_of_view": degrees, "frame_step": 1}
    return replace(params, **like, learn_intrinsics=later, start_steps=max(params.start_steps, 1))


def _is_start(params: Any) -> bool:
    """Are these the generated streets of `street_like`?"""
    return params.start_steps > 0 and params.dataset == "street" and params.clips == ("street",)


def draw_color_change(rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Brightness, contrast, saturation in 0.8..1.2 and hue in +-0.1 turns, as one linear map of RGB.

    Returns:
        (3, 3) matrix to multiply colours with, and the share of the mean colour that contrast adds.
    """
    brightness, contrast, saturation = rng.uniform(0.8, 1.2, 3)
    turn = 2 * np.pi * rng.uniform(-0.1, 0.1)
    turned = np.array([[1, 0, 0], [0, np.cos(turn), -np.sin(turn)], [0, np.sin(turn), np.cos(turn)]])
    hue = np.linalg.inv(YIQ) @ turned @ YIQ
    return brightness * contrast * (saturation * hue + (1 - saturation) * GRAY), brightness * (1 - contrast)


class TripletSampler:
    """step -> batch, a function of (seed, step) alone; every epoch sees each triplet once, in a new order."""

    def __init__(self, params: Any, triplets: Triplets) -> None:
        self.params, self.triplets = params, triplets

    def __call__(self, step: int) -> dict[str, Tensor]:
        """One batch, on the CPU.

        Returns:
            `images` (B, 3, 3, H, W) in 0..1: earlier, middle, later; `inputs`: the same with changed colours, which
            the networks see; `intrinsics` (B, 3, 3); `learned` (B,) bool and `part` (B,), as in `Triplets`; if there
            are bonnets `bonnet` (B, H, W) bool; with stereo `right` (B, 3, H, W) and `shift` (B,): where the right
            camera stands, metres along x (left in a mirrored image; 0 = no right image).
        """
        params, triplets, size = self.params, self.triplets, len(self.triplets)
        places = step * params.batch + np.arange(params.batch)
        orders = {e: numpy_generator(params.seed, 0, e).permutation(size) for e in np.unique(places // size)}
        chosen = np.array([orders[p // size][p % size] for p in places])
        rng = numpy_generator(params.seed, 1, step)
        images = _to_float(triplets.images[triplets.members[chosen]])
        batch = {"intrinsics": torch.from_numpy(triplets.intrinsics[chosen])}
        batch |= {"learned": torch.from_numpy(triplets.focal_is_learned[chosen])}
        batch |= {"part": torch.from_numpy(triplets.part[chosen])}
        mirrored = torch.from_numpy(rng.random(len(chosen)) < params.flip_probability)
        if any(bonnet is not None for bonnet in triplets.bonnets):
            none = np.zeros(images.shape[-2:], bool)
            bonnets = [none if b is None else b for b in (triplets.bonnets[p] for p in triplets.part[chosen])]
            batch["bonnet"] = _mirror(torch.from_numpy(np.stack(bonnets)), mirrored)
        if triplets.right is not None:
            batch["right"] = _mirror(_to_float(triplets.right[triplets.members[chosen, 1]]), mirrored)
            batch["shift"] = torch.from_numpy(triplets.baselines[chosen]) * (1 - 2 * mirrored.float())
        images = _mirror(images, mirrored)
        batch["intrinsics"][mirrored, 0, 2] = images.shape[-1] - 1 - batch["intrinsics"][mirrored, 0, 2]
        inputs = images.clone()
        for b in np.flatnonzero(rng.random(len(chosen)) < params.jitter_probability):
            matrix, share = draw_color_change(rng)
            mixed = torch.einsum("ij,tjhw->tihw", torch.from_numpy(matrix).float(), images[b])
            inputs[b] = (mixed + share * images[b].mean()).clamp(0, 1)
        return batch | {"images": images, "inputs": inputs}


def _to_float(images: np.ndarray) -> Tensor:
    """(..., H, W, 3) uint8 -> (..., 3, H, W) in 0..1"""
    return torch.from_numpy(images).movedim(-1, -3).float() / 255


def _mirror(maps: Tensor, mirrored: Tensor) -> Tensor:
    maps[mirrored] = maps[mirrored].flip(-1)
    return maps
