"""The loss over triplets of frames, and what trained networks say of a frame, a pair, a triplet."""

from collections.abc import Iterable
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .. import camera
from .alignment import refine_poses
from .losses import compare_still, compare_views, minimum_reprojection, smoothness
from .networks import DepthNetworks, build_networks
from .triplets import Triplets, TripletSampler

ALIGN_WEIGHT = torch.tensor([[10.0, 10.0, 10.0, 1.0]] * 4)  # a thousandth of a radian as a hundredth of a unit


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
            Scalar, and numbers to log: share of pixels that teach, length of the predicted motion in scene units; if
            it is learned, the mean focal length in pixels.
        """
        poses, focal = predict_views(self.networks, batch["inputs"])
        maps = self.networks.depth(batch["inputs"][:, 1])
        with torch.autocast(poses.device.type, enabled=False):  # geometry in half precision is off by pixels
            numbers = {"motion": poses[:, :2, :3, 3].norm(dim=-1).mean().detach()}
            if focal.numel():
                focal = average_parts(focal, batch["part"]) * batch["learned"]
                batch = batch | {"intrinsics": scale_focal(batch["intrinsics"], focal)}
                numbers["focal_length"] = batch["intrinsics"][:, 0, 0].mean().detach()
            maps, off = [m.float() for m in maps], 0.0
            if self.params.align:
                found, views, target = poses, batch["images"][:, ::2], batch["images"][:, 1]
                near, lens = maps[0].detach()[:, 0], batch["intrinsics"].detach()
                poses = refine_poses(views, target, near, lens, found.detach(), batch.get("bonnet"))
                off = ((found - poses).abs() * ALIGN_WEIGHT.to(poses)).sum((2, 3)).mean()
            masked = self.params.auto_mask and step >= self.params.mask_from * self.steps
            loss, teaching = self._compare(batch, poses, maps, self.pooling(step), masked)
        return loss + off, {"teaching": teaching, "loss": loss.detach()} | numbers

    def _compare(
        self, batch: dict[str, Tensor], poses: Tensor, maps: list[Tensor], cell: int, masked: bool
    ) -> tuple[Tensor, Tensor]:
        params, middle = self.params, batch["images"][:, 1]
        sources, poses = list_sources(batch, poses)
        size = tuple(side // cell for side in middle.shape[-2:])
        both = resize(torch.cat([middle, sources.flatten(0, 1)]), size)
        target, sources = both[: len(middle)], both[len(middle) :].unflatten(0, sources.shape[:2])
        intrinsics = camera.resize_intrinsics(batch["intrinsics"], middle.shape[-2:], size)
        with torch.no_grad():
            alike = sources[:, :2]
            still = compare_still(alike, target, params.ssim_weight) if masked else torch.zeros_like(alike[:, :, 0])
        total, taught = 0.0, []
        for scale, inverse_depth in enumerate(maps):
            full = resize(inverse_depth, size)[:, 0]
            warped = compare_views(sources, target, full, intrinsics, poses, params.ssim_weight)
            error, teaches = judge(batch, warped, still, masked)
            colors = resize(middle, inverse_depth.shape[-2:])
            total = total + error.mean() + params.smoothness / 2**scale * smoothness(inverse_depth, colors)
            taught.append(teaches.float().mean())
        return total / len(maps), taught[0]


def judge(batch: dict[str, Tensor], warped: Tensor, still: Tensor, masked: bool) -> tuple[Tensor, Tensor]:
    """`minimum_reprojection` of a batch: with its right images, without its bonnets.

    Args:
        warped: of all sources. (B, 2 or 3, H, W)
        still: of the neighbours in time; not read unless `masked`. (B, 2, H, W)
    """
    missing = find_missing(batch)
    right = None if missing is None else warped[:, 2] + missing
    error, teaches = minimum_reprojection(warped[:, :2], still, masked, right)
    if "bonnet" in batch:
        bonnet = resize(batch["bonnet"][:, None].float(), warped.shape[-2:])[:, 0] > 0
        error, teaches = error.masked_fill(bonnet, 0), teaches & ~bonnet
    return error, teaches


def list_sources(batch: dict[str, Tensor], poses: Tensor) -> tuple[Tensor, Tensor]:
    """The views a middle frame is rebuilt from, and source_from_target: both neighbours and, with stereo, the right.

    Returns:
        (B, n, 3, H, W), (B, n, 4, 4)
    """
    sources = batch["images"][:, ::2]
    if "right" not in batch:
        return sources, poses
    right_from_left = torch.eye(4).to(poses).repeat(len(poses), 1, 1)
    right_from_left[:, 0, 3] = -batch["shift"]
    return torch.cat([sources, batch["right"][:, None]], 1), torch.cat([poses, right_from_left[:, None]], 1)


def find_missing(batch: dict[str, Tensor]) -> Tensor | None:
    """Added to the right images' errors: infinity where there is none, else 0. (B, 1, 1), or None without stereo"""
    if "right" not in batch:
        return None
    shift = batch["shift"][:, None, None]
    return torch.zeros_like(shift).masked_fill(shift == 0, torch.inf)


def average_parts(values: Tensor, part: Tensor) -> Tensor:
    """The mean over all of a batch that are from the same video: they share one camera. (B, 2), (B,) -> (B,)"""
    same = (part[:, None] == part).to(values)
    return (same / same.sum(1, keepdim=True)) @ values.mean(1)


def scale_focal(intrinsics: Tensor, log_factor: Tensor) -> Tensor:
    """Intrinsics with both focal lengths times exp(log_factor). (B, 3, 3), (B,)"""
    factor = torch.ones_like(intrinsics)
    factor[:, 0, 0] = factor[:, 1, 1] = log_factor.exp()
    return intrinsics * factor


def resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear up, averaged down. (B, C, H, W) -> (B, C, *size)"""
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    if maps.shape[-1] > size[-1]:
        return F.adaptive_avg_pool2d(maps, size)
    return F.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=False)


def predict_views(networks: DepthNetworks, images: Tensor) -> tuple[Tensor, Tensor]:
    """Motion to both neighbours; the network always sees (earlier, later), so one of the two is inverted.

    Args:
        images: earlier, middle, later. (B, 3, 3, H, W)
    Returns:
        earlier_from_middle, later_from_middle, (B, 2, 4, 4), and the logarithm of what each pair makes of the focal
        length, (B, 2), or (B, 0) if it is not learned.
    """
    earlier, middle, later = images.unbind(1)
    angle, translation, focal = networks.pose(torch.cat([earlier, middle]), torch.cat([middle, later]))
    with torch.autocast(images.device.type, enabled=False):
        forward = camera.rigid_transform(angle.float(), translation.float())
        middle_from_earlier, later_from_middle = forward.chunk(2)
        poses = torch.stack([camera.invert_rigid(middle_from_earlier), later_from_middle], 1)
        return poses, torch.cat(focal.float().chunk(2), 1)


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
def predict_motion(
    networks: DepthNetworks, images: Iterable[np.ndarray], batch: int = 16
) -> tuple[np.ndarray, np.ndarray]:
    """later_from_earlier of each pair of frames that follow one another; of a long clip, only `batch` are held.

    Args:
        images: T frames, (H, W, 3) uint8 each.
    Returns:
        (T - 1, 4, 4) float64; and what each pair makes of the assumed focal length, a factor, (T - 1,), or (0,) if
        it was not learned.
    """
    images, like, parts, factors = iter(images), next(networks.parameters()), [], []
    before = list(islice(images, 1))
    while more := list(islice(images, batch)):
        frames = to_tensor(np.stack(before + more), like)
        angle, translation, focal = networks.eval().pose(frames[:-1], frames[1:])
        parts.append(camera.rigid_transform(angle, translation).double().cpu())
        factors.append(focal.flatten().exp().double().cpu())
        before = more[-1:]
    if not parts:
        return np.zeros((0, 4, 4)), np.zeros(0)
    return torch.cat(parts).numpy(), torch.cat(factors).numpy()


@torch.no_grad()
def explain_triplet(
    networks: DepthNetworks, images: np.ndarray, intrinsics: np.ndarray, params: Any,
    right: np.ndarray | None = None, baseline: float = 0.0, bonnet: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """What the loss makes of one triplet at the end of a training. (3, H, W, 3) uint8, (3, 3)

    Args:
        intrinsics: known, assumed or learned: those that are right.
        right, baseline: the right image of the middle frame, (H, W, 3) uint8, and metres to it.
        bonnet: True where nothing is learned. (H, W)
    Returns:
        Photometric errors of the warped neighbours, (2, H, W), and which pixels teach, (H, W) bool.
    """
    frames = to_tensor(images, next(networks.parameters()))[None]
    batch = {"images": frames}
    if right is not None:
        batch |= {"right": to_tensor(right[None], frames), "shift": frames.new_tensor([baseline])}
    if bonnet is not None:
        batch["bonnet"] = torch.from_numpy(bonnet).to(frames.device)[None]
    poses, _ = predict_views(networks.eval(), frames)
    sources, poses = list_sources(batch, poses)
    target, matrix = frames[:, 1], torch.from_numpy(intrinsics).to(frames)[None]
    warped = compare_views(sources, target, networks.depth(target)[0][:, 0], matrix, poses, params.ssim_weight)
    still = compare_still(sources[:, :2], target, params.ssim_weight)
    teaches = judge(batch, warped, still, params.auto_mask)[1]
    return warped[0, :2].cpu().numpy(), teaches[0].cpu().numpy()
