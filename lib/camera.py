"""Pinhole camera geometry, in torch, batched.

Axes: x right, y down, z forward. Pixel (0, 0) is the centre of the top-left pixel. Intrinsics are in pixels of
the map beside them. `a_from_b` takes coordinates of frame b to frame a.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from .intrinsics import make_resize


def resize_intrinsics(intrinsics: Tensor, from_size: tuple[int, int], to_size: tuple[int, int]) -> Tensor:
    """Intrinsics after a resize of the image, see `lib.intrinsics.make_resize`. (..., 3, 3)"""
    return intrinsics.new_tensor(make_resize(from_size, to_size)) @ intrinsics


def pixel_grid(height: int, width: int, like: Tensor) -> Tensor:
    """Homogeneous pixel coordinates (u, v, 1) of every pixel centre. (H, W, 3)"""
    v, u = torch.meshgrid(torch.arange(height).to(like), torch.arange(width).to(like), indexing="ij")
    return torch.stack([u, v, torch.ones_like(u)], dim=-1)


def unproject(depth: Tensor, intrinsics: Tensor) -> Tensor:
    """Lift every pixel to the camera-frame point it sees.

    Args:
        depth: distance along z, in scene units. Positive. (B, H, W)
        intrinsics: in pixels of this depth map, not of the original frame. (B, 3, 3)
    Returns:
        Points in scene units. (B, H, W, 3)
    Raises:
        ValueError: depth holds a value that is not positive (zero marks a missing value: mask it first), or NaN.
    """
    if not bool((depth > 0).all()):
        raise ValueError("depth must be positive: zero marks a missing value, mask it first")
    pixels = pixel_grid(*depth.shape[1:], like=depth)  # (H, W, 3)
    rays = torch.einsum("bij,hwj->bhwi", torch.linalg.inv(intrinsics), pixels)
    return rays * depth[..., None]  # every ray has z = 1


def project(points: Tensor, intrinsics: Tensor) -> tuple[Tensor, Tensor]:
    """Where camera-frame points fall in the image.

    Args:
        points: (B, H, W, 3)
        intrinsics: (B, 3, 3)
    Returns:
        Pixel coordinates (u, v), (B, H, W, 2), and depth along z, (B, H, W). Points behind the camera have z <= 0.
    """
    projected = torch.einsum("bij,bhwj->bhwi", intrinsics, points)
    z = points[..., 2]
    return projected[..., :2] / projected[..., 2:].clamp(min=1e-6), z


def transform(points: Tensor, a_from_b: Tensor) -> Tensor:
    """Move points by a rigid transform. points (B, ..., 3), a_from_b (B, 4, 4) -> (B, ..., 3)"""
    rotation, translation = a_from_b[:, :3, :3], a_from_b[:, :3, 3]
    flat = points.reshape(points.shape[0], -1, 3) @ rotation.transpose(1, 2) + translation[:, None]
    return flat.reshape(points.shape)


def rotation_from_axis_angle(axis_angle: Tensor) -> Tensor:
    """Rodrigues' formula; smooth at zero. (B, 3) in radians -> (B, 3, 3)"""
    x, y, z = axis_angle.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).reshape(-1, 3, 3)
    square = (axis_angle**2).sum(-1)[:, None, None]
    angle = (square + 1e-12).sqrt()
    # series below 1e-3 rad: the closed forms lose all digits there, and their gradient is NaN at zero
    first = torch.where(square < 1e-6, 1 - square / 6, torch.sin(angle) / angle)
    second = torch.where(square < 1e-6, 0.5 - square / 24, (1 - torch.cos(angle)) / angle**2)
    return torch.eye(3).to(cross) + first * cross + second * cross @ cross


def rigid_transform(axis_angle: Tensor, translation: Tensor) -> Tensor:
    """The 4 x 4 matrix that rotates, then translates. (B, 3), (B, 3) -> (B, 4, 4)"""
    matrix = torch.eye(4).to(axis_angle).repeat(len(axis_angle), 1, 1)
    matrix[:, :3, :3] = rotation_from_axis_angle(axis_angle)
    matrix[:, :3, 3] = translation
    return matrix


def invert_rigid(a_from_b: Tensor) -> Tensor:
    """b_from_a of a rigid transform. (B, 4, 4)"""
    rotation = a_from_b[:, :3, :3].transpose(1, 2)
    inverse = torch.eye(4).to(a_from_b).repeat(len(a_from_b), 1, 1)
    inverse[:, :3, :3] = rotation
    inverse[:, :3, 3] = -(rotation @ a_from_b[:, :3, 3:])[..., 0]
    return inverse


def sample(image: Tensor, pixels: Tensor, padding: str = "border", mode: str = "bilinear") -> Tensor:
    """Read an image at fractional pixel coordinates.

    Args:
        image: (B, C, H, W)
        pixels: (u, v); (0, 0) is the centre of the top-left pixel. (B, h, w, 2)
        padding: what lies outside, as in `grid_sample`: border, zeros.
    Returns:
        (B, C, h, w)
    """
    size = pixels.new_tensor([image.shape[-1], image.shape[-2]])
    return F.grid_sample(image, (pixels + 0.5) / size * 2 - 1, mode=mode, padding_mode=padding, align_corners=False)
