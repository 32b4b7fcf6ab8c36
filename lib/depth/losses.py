"""View synthesis as a teacher: warp the neighbours into a frame and compare (Monodepth2, facts/baselines.md sec. 1)."""

import torch
from torch import Tensor
from torch.nn import functional as F

from .. import camera
from ..intrinsics import make_crop

C1, C2 = 0.01**2, 0.03**2  # of SSIM, for values in 0..1


def _local_means(images: Tensor) -> Tensor:
    """Means over 3x3 windows with reflected borders."""
    return F.avg_pool2d(F.pad(images, (1, 1, 1, 1), "reflect"), 3, 1)


def ssim_error(images: Tensor, target: Tensor) -> Tensor:
    """(1 - SSIM) / 2 over 3x3 windows with reflected borders: 0 = equal, 1 = opposite.

    Args:
        images: B n of them, n for each target in turn, so that what only depends on the target is found once.
            (B n, C, H, W)
        target: (B, C, H, W)
    Returns:
        (B n, C, H, W)
    """
    count = len(images) // len(target)
    mean_b, bb = _local_means(torch.cat([target, target * target], 1)).repeat_interleave(count, 0).chunk(2, 1)
    products = images * target.repeat_interleave(count, 0)
    mean_a, aa, ab = _local_means(torch.cat([images, images * images, products], 1)).chunk(3, 1)
    product, squares = mean_a * mean_b, mean_a**2 + mean_b**2
    similarity = (2 * product + C1) * (2 * (ab - product) + C2) / ((squares + C1) * (aa + bb - squares + C2))
    return ((1 - similarity) / 2).clamp(0, 1)


def photometric_error(images: Tensor, target: Tensor, ssim_weight: float) -> Tensor:
    """ssim_weight * SSIM error + (1 - ssim_weight) * L1, mean over colours, of n pictures for each target.

    (B n, C, H, W) and (B, C, H, W), in 0..1 -> (B n, H, W)
    """
    difference = (images - target.repeat_interleave(len(images) // len(target), 0)).abs()
    return (ssim_weight * ssim_error(images, target) + (1 - ssim_weight) * difference).mean(1)


def smoothness(inverse_depth: Tensor, images: Tensor) -> Tensor:
    """First differences of inverse depth over its mean, allowed where the image has an edge.

    Args:
        inverse_depth: (B, 1, H, W)
        images: at the same size. (B, 3, H, W)
    Returns:
        Scalar; unchanged when the inverse depth is multiplied by a constant.
    """
    relative = inverse_depth / inverse_depth.mean((2, 3), keepdim=True)
    total = relative.new_zeros(())
    for axis in (2, 3):
        weight = torch.exp(-images.diff(dim=axis).abs().mean(1, keepdim=True))
        total = total + (relative.diff(dim=axis).abs() * weight).mean()
    return total


def reproject(sources: Tensor, inverse_depth: Tensor, intrinsics: Tensor, source_from_target: Tensor) -> Tensor:
    """The target view, painted with the colours of a source view: unproject, move, project, read.

    Args:
        sources: (B, 3, H, W)
        inverse_depth: of the target, positive. (B, H, W)
        intrinsics: (B, 3, 3)
        source_from_target: (B, 4, 4)
    Returns:
        (B, 3, H, W); beyond the border the nearest border colour.
    """
    points = camera.transform(camera.unproject(1 / inverse_depth, intrinsics), source_from_target)
    return camera.sample(sources, camera.project(points, intrinsics)[0])


def compare_views(
    sources: Tensor, target: Tensor, inverse_depth: Tensor, intrinsics: Tensor, poses: Tensor, ssim_weight: float
) -> Tensor:
    """Photometric error of each source view, warped into the target view, against it.

    Args:
        sources: n views of each target: its neighbours in time, and with stereo the right image. (B, n, 3, H, W)
        target: (B, 3, H, W)
        inverse_depth: of the target. (B, H, W)
        intrinsics: (B, 3, 3)
        poses: source_from_target. (B, n, 4, 4)
    Returns:
        (B, n, H, W)
    """
    count = sources.shape[1]
    maps, matrices = inverse_depth.repeat_interleave(count, 0), intrinsics.repeat_interleave(count, 0)
    warped = reproject(sources.flatten(0, 1), maps, matrices, poses.flatten(0, 1))
    return photometric_error(warped, target, ssim_weight).unflatten(0, (-1, count))


def compare_still(sources: Tensor, target: Tensor, ssim_weight: float) -> Tensor:
    """The same error without warping: what a camera at rest would see. (B, n, 3, H, W) -> (B, n, H, W)"""
    return photometric_error(sources.flatten(0, 1), target, ssim_weight).unflatten(0, (-1, sources.shape[1]))


def minimum_reprojection(
    warped: Tensor, still: Tensor, auto_mask: bool = True, right: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The smallest error of the source views, where warping explains more than standing still does.

    The minimum forgives what one view cannot see. The mask leaves out what does not move in the image: cars
    that drive along, a halt, flat colour. Ties go to standing still (Monodepth2 breaks them by noise of 1e-5).
    It is about time: a right image was taken at the same moment, so it teaches where the neighbours must not.
    (Monodepth2 masks it with them, and then a car that drives along teaches nothing at all.)

    Args:
        warped, still: of the neighbours in time, from `compare_views`, `compare_still`. (B, n, H, W)
        right: error of the warped right image, infinite where there is none. (B, H, W)
    Returns:
        Error and mask of the pixels that teach, (B, H, W) each; a masked pixel holds a constant, without gradient.
    """
    best, rest = warped.amin(1), still.amin(1)
    teaches = best < rest if auto_mask else torch.ones_like(best, dtype=torch.bool)
    error = torch.where(teaches, best, rest)
    if right is None:
        return error, teaches
    better = right < torch.where(teaches, best, torch.inf)
    return torch.where(better, right, error), teaches | better


def search_depth(
    target: Tensor, source: Tensor, intrinsics: Tensor, source_from_target: Tensor, pixel: tuple[int, int],
    depths: Tensor, ssim_weight: float,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The loss of one pixel as a function of its depth: what training descends along the epipolar line.

    Args:
        target, source: (3, H, W) in 0..1
        intrinsics, source_from_target: (3, 3), (4, 4)
        pixel: column and row.
        depths: candidates, in scene units. (N,)
    Returns:
        Where each candidate falls in the source, (N, 2), and its photometric error, (N,).
    """
    (u, v), N = pixel, len(depths)
    top, left = max(v - 1, 0), max(u - 1, 0)
    patch = target[:, top : v + 2, left : u + 2]  # all that the error of the pixel looks at
    planes = depths[:, None, None].expand(N, *patch.shape[1:])
    matrices, poses = intrinsics.expand(N, 3, 3), source_from_target.expand(N, 4, 4)
    cut = matrices.new_tensor(make_crop(top, left)) @ matrices
    places, _ = camera.project(camera.transform(camera.unproject(planes, cut), poses), matrices)
    seen = camera.sample(source.expand(N, -1, -1, -1), places)
    error = photometric_error(seen, patch.expand(N, -1, -1, -1), ssim_weight)
    return places[:, v - top, u - left], error[:, v - top, u - left]
