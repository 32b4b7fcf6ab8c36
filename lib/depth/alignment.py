"""Motion that fits given depth best, by direct alignment of images: Gauss-Newton on colours, coarse to fine.

For true depth it finds the motion within centimetres. Depth that is learned with it is not better at equal time, tracks
are on some drives (outputs/reference/deviations.md): it is off by default. As in
direct visual odometry (Wang et al. 2018, "Learning depth from monocular videos using direct methods", sec. 3.2), but
without gradients through the solver: the pose network learns from the refined motion instead.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from .. import camera

LEVELS = ((4, 3, 1), (2, 2, 1), (1, 2, 2))  # side of cells that images are averaged over; iterations; every nth cell
SPREAD = 0.05  # grey levels, of 1: residuals that large count half; occlusion and moving things count little
DAMPING = 1e-3  # of the normal equations' diagonal
LARGEST = 0.1, 0.3  # a step at most, of each: radians; share of the depth that most pixels have
WINDOW = 9  # pixels of a level, whose mean is taken away: exposure may change


@torch.no_grad()
def refine_poses(
    sources: Tensor, target: Tensor, inverse_depth: Tensor, intrinsics: Tensor, poses: Tensor,
    ignored: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Better poses for the same depth.

    Args:
        sources: n views of each target. (B, n, 3, H, W) in 0..1
        target: (B, 3, H, W)
        inverse_depth: of the target. (B, H, W)
        intrinsics: (B, 3, 3)
        poses: source_from_target, where to begin. (B, n, 4, 4)
        ignored: pixels of the target that do not count, as a bonnet's. (B, H, W) bool
    Returns:
        (B, n, 4, 4); where images do not tell, what was given.
    """
    count, size = sources.shape[1], target.shape[-2:]
    current = poses.flatten(0, 1)
    for cell, iterations, every in LEVELS:
        small = tuple(side // cell for side in size)
        views, here = (_flatten_light(F.adaptive_avg_pool2d(i.mean(-3, keepdim=True), small)) for i in
                       (sources.flatten(0, 1), target))  # fmt: skip
        maps = F.adaptive_avg_pool2d(inverse_depth[:, None], small)[:, 0].repeat_interleave(count, 0)
        lens = camera.resize_intrinsics(intrinsics, size, small).repeat_interleave(count, 0)
        points = camera.unproject(1 / maps, lens)[:, ::every, ::every].flatten(1, 2)  # (B n, N, 3)
        goal = here[..., ::every, ::every].flatten(1).repeat_interleave(count, 0)  # (B n, N)
        seen = torch.ones_like(goal)
        if ignored is not None:
            hidden = F.adaptive_max_pool2d(ignored[:, None].float(), small)[..., ::every, ::every]
            seen = seen - hidden.flatten(1).repeat_interleave(count, 0)
        slopes = torch.cat([views, _slope(views, 3), _slope(views, 2)], 1)
        for _ in range(iterations):
            current = _step(current, points, goal, seen, slopes, lens)
    return current.unflatten(0, poses.shape[:2])


def _flatten_light(gray: Tensor) -> Tensor:
    """Free of slow changes of brightness. (B, 1, H, W)"""
    return gray - F.avg_pool2d(gray, WINDOW, 1, WINDOW // 2, count_include_pad=False)


def _slope(gray: Tensor, axis: int) -> Tensor:
    """Central differences along an axis, a pixel; 0 at the border. (B, 1, H, W)"""
    middle = (gray.roll(-1, axis) - gray.roll(1, axis)) / 2
    keep = torch.zeros_like(middle)
    keep[..., 1:-1, 1:-1] = 1
    return middle * keep


def _step(poses: Tensor, points: Tensor, goal: Tensor, seen: Tensor, slopes: Tensor, lens: Tensor) -> Tensor:
    """One Gauss-Newton step, source_from_target <- exp(step) source_from_target. (B, 4, 4)"""
    moved = camera.transform(points, poses)
    x, y, z = moved.unbind(-1)
    z = z.clamp(min=1e-3)
    fx, fy = lens[:, 0, 0, None], lens[:, 1, 1, None]
    pixels = torch.stack([fx * x / z + lens[:, 0, 2, None], fy * y / z + lens[:, 1, 2, None]], -1)
    height, width = slopes.shape[-2:]
    inside = ((pixels > 0) & (pixels < pixels.new_tensor([width - 1, height - 1]))).all(-1) & (moved[..., 2] > 1e-3)
    value, along, across = camera.sample(slopes, pixels[:, None])[:, :, 0].unbind(1)  # (B, N) each
    along, across = along * fx / z, across * fy / z
    forward = -(along * x + across * y) / z
    turn = torch.stack([forward * y - across * z, along * z - forward * x, across * x - along * y], -1)
    rows = torch.cat([turn, torch.stack([along, across, forward], -1)], -1)  # (B, N, 6)
    miss = value - goal
    weight = seen * inside / (1 + (miss / SPREAD) ** 2)
    weighted = rows * weight[..., None]
    normal = weighted.transpose(1, 2) @ rows
    diagonal = normal.diagonal(dim1=1, dim2=2)
    normal = normal + torch.diag_embed(DAMPING * diagonal + 1e-6 * diagonal.amax(1, keepdim=True) + 1e-9)
    step = torch.linalg.solve(normal, -(weighted * miss[..., None]).sum(1))
    reach = torch.cat([step.new_tensor(LARGEST[0]).expand(len(z), 1), LARGEST[1] * z.median(1, keepdim=True)[0]], 1)
    step = torch.nan_to_num(step)
    lengths = step.unflatten(1, (2, 3)).norm(dim=2)
    step = (step.unflatten(1, (2, 3)) * (reach / lengths.clamp(min=1e-9)).clamp(max=1)[..., None]).flatten(1)
    return camera.rigid_transform(step[:, :3], step[:, 3:]) @ poses
