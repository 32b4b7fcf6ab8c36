"""Parts of every pose network: what it sees of shifts, and how its output is read."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MEAN, STD = 0.45, 0.225  # of all channels, Monodepth2
SHIFT = 4  # pixels of the halved frame that a patch is looked for, each way
SHIFTS = (2 * SHIFT + 1) ** 2
SHARPNESS = 8.0  # of the softmax over shifts


def build_motion_head(inputs: int, width: int, forward: float, learn_focal: bool) -> nn.Sequential:
    """The last layers of a pose network: 6 channels of motion, and one of the focal length if that is learned.

    Args:
        forward: what the head says of the motion ahead before anything is learned.
    """
    middle = [nn.Conv2d(width, width, 3, 1, 1), nn.ReLU(), nn.Conv2d(width, width, 3, 1, 1), nn.ReLU()]
    head = nn.Sequential(nn.Conv2d(inputs, width, 1), nn.ReLU(), *middle, nn.Conv2d(width, 6 + learn_focal, 1))
    nn.init.constant_(head[-1].bias[5:6], -forward)
    if learn_focal:  # every pair begins with the focal length that was assumed
        nn.init.zeros_(head[-1].weight[6:])
        nn.init.zeros_(head[-1].bias[6:])
    return head


def read_motion(outputs: Tensor, scale: float) -> tuple[Tensor, ...]:
    """Axis-angle, translation, log of the focal factor (of e at most) from the head's maps. (B, 6 or 7, h, w)"""
    angle, translation, focal = outputs.mean((2, 3)).split([3, 3, outputs.shape[1] - 6], 1)
    return scale * angle, scale * translation, torch.tanh(focal)


@torch.no_grad()
def match_shifts(earlier: Tensor, later: Tensor, window: int = 5, stride: int = 1) -> Tensor:
    """How well each patch of the earlier frame fits the later one at each shift of up to +-SHIFT pixels.

    Both frames are halved and freed of local brightness first.

    Args:
        window: side of the patches, pixels of the halved frame.
        stride: of the patches.
    Returns:
        Softmax over shifts of the negative mean absolute difference, relative to its mean over shifts, shifts in
        rows of the window. (B, SHIFTS, H / 2 / stride, W / 2 / stride)
    """
    both = F.avg_pool2d(torch.cat([earlier, later]).mean(1, keepdim=True), 2)
    a, b = (both - F.avg_pool2d(both, 9, 1, 4, count_include_pad=False)).chunk(2)
    height, width = a.shape[-2:]
    wide, places = F.pad(b, (SHIFT,) * 4), range(2 * SHIFT + 1)
    views = [wide[..., i : i + height, j : j + width] for i in places for j in places]
    cost = F.avg_pool2d((torch.cat(views, 1) - a).abs(), window, stride, 2, count_include_pad=False)
    return torch.softmax(-SHARPNESS * cost / (cost.mean(1, keepdim=True) + 1e-4), 1) * SHIFTS
