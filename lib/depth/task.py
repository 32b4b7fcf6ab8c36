"""What is trained on: triplets of frames, and the loss over them."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .. import camera
from ..data import Frame, open_dataset
from ..data.prepared import FrameImages, gather_images
from ..parallel import numpy_generator
from .losses import compare_still, compare_views, minimum_reprojection, smoothness
from .networks import DepthNetworks, build_networks

GRAY = np.full((3, 3), 1 / 3)
YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])  # hue turns its last two axes


@dataclass(frozen=True)
class Triplets:
    """Frames, in memory or read when asked for, and which three belong together.

    images: (N, H, W, 3) uint8
    members: rows of `images`: earlier, middle, later. (M, 3) int
    intrinsics: of each triplet, in pixels of `images`. (M, 3, 3) float32
    """

    images: np.ndarray | FrameImages
    members: np.ndarray
    intrinsics: np.ndarray

    def __len__(self) -> int:
        return len(self.members)


def intrinsics_of(frame: Frame, params: Any) -> np.ndarray:
    """The frame's calibration or, without one, that of `params.field_of_view`. (3, 3) float64"""
    if frame.intrinsics is not None:
        return frame.intrinsics
    degrees = params.field_of_view or camera.UNKNOWN
    return camera.intrinsics_from_field_of_view(degrees, params.height, params.width).numpy()


def read_triplets(params: Any, names: tuple[str, ...] = ()) -> Triplets:
    """All triplets t - frame_step, t, t + frame_step of the clips that depth is learned from.

    Args:
        names: DATASET = its train split, DATASET:CLIP = that whole clip; empty = `params.clips`.
    Raises:
        ValueError: no clip is long enough for one triplet.
    """
    step, count, parts, members, matrices = params.frame_step, 0, [], [], []
    for name in names or params.clips:
        dataset = open_dataset(params, name)
        for clip in dataset.clips("" if ":" in name else "train", shortest=2 * step + 1):
            middles = np.arange(step, len(clip) - step)
            members += [(count + t - step, count + t, count + t + step) for t in middles]
            matrices += [intrinsics_of(clip[t], params) for t in middles]
            parts.append((dataset, clip))
            count += len(clip)
    if not members:
        raise ValueError(
            f"none of the clips {list(names or params.clips)} has {2 * step + 1} frames: "
            "name longer videos in `clips` or make frame_step smaller"
        )
    return Triplets(gather_images(parts, params.workers), np.array(members), np.stack(matrices).astype(np.float32))


def street_like(params: Any, intrinsics: np.ndarray) -> Any:
    """Parameters of generated streets seen by a camera of this focal length in pixels; height as in `params`."""
    degrees = camera.field_of_view_of(intrinsics, params.width)
    return replace(params, dataset="street", clips=("street",), field_of_view=degrees, frame_step=1)


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
        """`images` (B, 3, 3, H, W) in 0..1: earlier, middle, later; `inputs`: the same with changed colours, which the
        networks see; `intrinsics` (B, 3, 3)."""
        params, triplets, size = self.params, self.triplets, len(self.triplets)
        places = step * params.batch + np.arange(params.batch)
        orders = {e: numpy_generator(params.seed, 0, e).permutation(size) for e in np.unique(places // size)}
        chosen = [orders[p // size][p % size] for p in places]
        rng = numpy_generator(params.seed, 1, step)
        images = torch.from_numpy(triplets.images[triplets.members[chosen]]).permute(0, 1, 4, 2, 3).float() / 255
        intrinsics = torch.from_numpy(triplets.intrinsics[chosen])
        mirrored = torch.from_numpy(rng.random(len(chosen)) < params.flip_probability)
        images[mirrored] = images[mirrored].flip(-1)
        intrinsics[mirrored, 0, 2] = images.shape[-1] - 1 - intrinsics[mirrored, 0, 2]
        inputs = images.clone()
        for b in np.flatnonzero(rng.random(len(chosen)) < params.jitter_probability):
            matrix, share = draw_color_change(rng)
            mixed = torch.einsum("ij,tjhw->tihw", torch.from_numpy(matrix).float(), images[b])
            inputs[b] = (mixed + share * images[b].mean()).clamp(0, 1)
        return {"images": images, "inputs": inputs, "intrinsics": intrinsics}


class DepthTask:
    """Depth and motion from video alone, by view synthesis (Monodepth2; CPCDR sec. 3.1); see `training.train`."""

    def __init__(self, params: Any, triplets: Triplets, steps: int, networks: DepthNetworks | None = None) -> None:
        self.params, self.steps = params, steps
        self.networks = networks or build_networks(params)
        self.sample = TripletSampler(params, triplets)

    def pooling(self, step: int) -> int:
        """Side of the cells that the photometric loss averages over: 4, then 2 in the second quarter, then 1."""
        if not self.params.coarse_to_fine:
            return 1
        return 4 if 4 * step < self.steps else 2 if 2 * step < self.steps else 1

    def loss(self, batch: dict[str, Tensor], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean over scales of minimum-reprojection error + smoothness / 2^scale.

        Returns:
            Scalar, and numbers to log: share of pixels that teach, length of the predicted motion in scene units.
        """
        poses, maps = predict_poses(self.networks, batch["inputs"]), self.networks.depth(batch["inputs"][:, 1])
        with torch.autocast(poses.device.type, enabled=False):  # geometry in half precision is off by pixels
            return self._compare(batch, poses, [m.float() for m in maps], self.pooling(step))

    def _compare(
        self, batch: dict[str, Tensor], poses: Tensor, maps: list[Tensor], cell: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        params, images = self.params, batch["images"]
        size = tuple(side // cell for side in images.shape[-2:])
        small = F.avg_pool2d(images.flatten(0, 1), cell).unflatten(0, images.shape[:2])
        intrinsics = camera.resize_intrinsics(batch["intrinsics"], images.shape[-2:], size)
        still, total, taught = compare_still(small, params.ssim_weight), images.new_zeros(()), []
        for scale, inverse_depth in enumerate(maps):
            warped = compare_views(small, resize(inverse_depth, size)[:, 0], intrinsics, poses, params.ssim_weight)
            error, teaches = minimum_reprojection(warped, still, params.auto_mask)
            colors = resize(images[:, 1], inverse_depth.shape[-2:])
            total = total + error.mean() + params.smoothness / 2**scale * smoothness(inverse_depth, colors)
            taught.append(teaches.float().mean())
        motion = poses[:, :, :3, 3].norm(dim=-1).mean().detach()
        return total / len(maps), {"teaching": taught[0], "motion": motion}


def resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear up, averaged down. (B, C, H, W) -> (B, C, *size)"""
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    if maps.shape[-1] > size[-1]:
        return F.adaptive_avg_pool2d(maps, size)
    return F.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=False)


def predict_poses(networks: DepthNetworks, images: Tensor) -> Tensor:
    """Motion to both neighbours; the network always sees (earlier, later), so one of the two is inverted.

    Args:
        images: earlier, middle, later. (B, 3, 3, H, W)
    Returns:
        earlier_from_middle, later_from_middle. (B, 2, 4, 4)
    """
    earlier, middle, later = images.unbind(1)
    angle, translation = networks.pose(torch.cat([earlier, middle]), torch.cat([middle, later]))
    with torch.autocast(images.device.type, enabled=False):
        forward = camera.rigid_transform(angle.float(), translation.float())
        middle_from_earlier, later_from_middle = forward.chunk(2)
        return torch.stack([camera.invert_rigid(middle_from_earlier), later_from_middle], 1)


def to_tensor(images: np.ndarray, like: Tensor) -> Tensor:
    """uint8 RGB (B, H, W, 3) -> (B, 3, H, W) in 0..1 on the device of `like`."""
    return torch.from_numpy(np.ascontiguousarray(images)).to(like.device).permute(0, 3, 1, 2).float() / 255


@torch.no_grad()
def predict_inverse_depth(networks: DepthNetworks | nn.Module, images: np.ndarray, batch: int = 16) -> np.ndarray:
    """Inverse depth at full resolution; leaves the networks in evaluation mode.

    Args:
        networks: those of a training, or the depth network alone.
        images: (B, H, W, 3) uint8, at the size the networks were trained on
    Returns:
        In 1 / scene unit, from 1 / max_depth to 1 / min_depth. (B, H, W) float32
    """
    network, like = getattr(networks.eval(), "depth", networks), next(networks.parameters())
    parts = [network(to_tensor(images[i : i + batch], like))[0][:, 0] for i in range(0, len(images), batch)]
    return torch.cat(parts).cpu().numpy()


@torch.no_grad()
def predict_motion(networks: DepthNetworks, images: Iterable[np.ndarray], batch: int = 16) -> np.ndarray:
    """later_from_earlier of each pair of frames that follow one another; of a long clip, only `batch` are held.

    Args:
        images: T frames, (H, W, 3) uint8 each.
    Returns:
        (T - 1, 4, 4) float64
    """
    images, like, parts = iter(images), next(networks.parameters()), []
    before = list(islice(images, 1))
    while more := list(islice(images, batch)):
        frames = to_tensor(np.stack(before + more), like)
        parts.append(camera.rigid_transform(*networks.eval().pose(frames[:-1], frames[1:])).double().cpu())
        before = more[-1:]
    return torch.cat(parts).numpy() if parts else np.zeros((0, 4, 4))


@torch.no_grad()
def explain_triplet(
    networks: DepthNetworks, images: np.ndarray, intrinsics: np.ndarray, params: Any
) -> tuple[Any, ...]:
    """What the loss makes of one triplet. (3, H, W, 3) uint8, (3, 3)

    Returns:
        Photometric errors of the warped neighbours, (2, H, W), and which pixels teach, (H, W) bool.
    """
    frames = to_tensor(images, next(networks.parameters()))[None]
    poses, maps = predict_poses(networks.eval(), frames), networks.depth(frames[:, 1])[0][:, 0]
    matrix = torch.from_numpy(intrinsics).to(frames)[None]
    warped = compare_views(frames, maps, matrix, poses, params.ssim_weight)
    teaches = minimum_reprojection(warped, compare_still(frames, params.ssim_weight), params.auto_mask)[1]
    return warped[0].cpu().numpy(), teaches[0].cpu().numpy()
