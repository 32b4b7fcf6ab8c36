"""Depth and pose networks for minutes on a CPU, from random weights.

What differs from Monodepth2 (see deviations.md): residual blocks and batch norm everywhere, a decoder that
ends at half resolution, inverse depth on a logarithmic scale, and a pose network that sees halved frames.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MEAN, STD = 0.45, 0.225  # of all channels, Monodepth2
CHANNELS = (16, 32, 64, 96, 128)  # of the encoder at strides 2 to 32
WIDTHS = (32, 48, 64, 96)  # of the decoder at strides 2 to 16
POSE_CHANNELS = (32, 64, 96, 128)  # at strides 4 to 32 of the full frame
SHIFT = 4  # pixels of the halved frame that a patch is looked for, each way
SHIFTS = (2 * SHIFT + 1) ** 2
SHARPNESS = 8.0  # of the softmax over shifts
START_MOTION = 0.6  # scene units a frame, forward, before anything is learned: then they are about metres


def convolve(inputs: int, outputs: int, stride: int = 1, size: int = 3) -> nn.Sequential:
    """Convolution without bias, then batch norm."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False), nn.BatchNorm2d(outputs))


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut (He et al. 2016); halves the size if `stride` is 2."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first, self.second = convolve(inputs, outputs, stride), convolve(outputs, outputs)
        self.shortcut = convolve(inputs, outputs, stride, 1) if stride > 1 or inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.second(F.relu(self.first(x))) + self.shortcut(x))


class SmallDepthNetwork(nn.Module):
    """Image -> inverse depth at full resolution, enlarged from half; with more `scales` also from coarser levels.

    The sigmoid s of each head becomes farthest * (nearest / farthest)^s: equal steps are equal ratios of depth.
    """

    def __init__(self, min_depth: float, max_depth: float, scales: int = 1) -> None:
        super().__init__()
        self.nearest, self.farthest = 1 / min_depth, 1 / max_depth
        stem = nn.Sequential(convolve(3, CHANNELS[0], 2), nn.ReLU())
        self.encoder = nn.ModuleList([stem, *(Block(i, o, 2) for i, o in pairwise(CHANNELS))])
        coarser = [*WIDTHS[1:], CHANNELS[-1]]
        self.reduce = nn.ModuleList(convolve(c, w) for c, w in zip(coarser, WIDTHS))
        self.merge = nn.ModuleList(convolve(w + c, w) for w, c in zip(WIDTHS, CHANNELS))
        self.heads = nn.ModuleList(nn.Conv2d(w, 1, 3, padding=1, padding_mode="reflect") for w in WIDTHS[:scales])

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) in 0..1 -> inverse depth in 1 / scene unit, scale s of shape (B, 1, H / 2^s, W / 2^s)."""
        features, x = [], (images - MEAN) / STD
        for level in self.encoder:
            x = level(x)
            features.append(x)
        outputs: list[Tensor] = []
        for level in reversed(range(len(WIDTHS))):
            x = F.interpolate(F.relu(self.reduce[level](x)), scale_factor=2, mode="nearest")
            x = F.relu(self.merge[level](torch.cat([x, features[level]], 1)))
            if level < len(self.heads):
                logit = F.interpolate(self.heads[level](x), scale_factor=2, mode="bilinear", align_corners=False)
                ratio = math.log(self.nearest / self.farthest)
                outputs.insert(0, self.farthest * torch.exp(ratio * torch.sigmoid(logit)))
        return outputs


class SmallPoseNetwork(nn.Module):
    """Two frames in order of time -> how the camera moved between them, from frames of half the size.

    It also sees how well each patch of the earlier frame matches the later one at every small shift, and it starts
    out driving forward.
    """

    def __init__(self, scale: float, learn_focal: bool) -> None:
        super().__init__()
        self.scale = scale
        self.levels = nn.ModuleList(
            nn.Sequential(convolve(i, o, 2), nn.ReLU(), convolve(o, o), nn.ReLU())
            for i, o in zip((6, *POSE_CHANNELS), POSE_CHANNELS)
        )
        self.match = nn.Conv2d(SHIFTS, POSE_CHANNELS[0], 3, padding=1)
        self.head = build_motion_head(POSE_CHANNELS[-1], POSE_CHANNELS[-1], scale, learn_focal)

    def forward(self, earlier: Tensor, later: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) twice -> of later_from_earlier the axis-angle (radians) and translation (scene units), (B, 3)
        each, and the logarithm of what the focal length is to be multiplied by, (B, 1), or (B, 0) if not learned."""
        x = (F.avg_pool2d(torch.cat([earlier, later], 1), 2) - MEAN) / STD
        for number, level in enumerate(self.levels):
            x = level(x)
            if number == 0:
                x = x + self.match(match_shifts(earlier, later))
        return read_motion(self.head(x), self.scale)


def build_motion_head(inputs: int, width: int, scale: float, learn_focal: bool) -> nn.Sequential:
    """The last layers of a pose network: 6 channels of motion, and one of the focal length if that is learned."""
    last = nn.Conv2d(width, 6 + learn_focal, 1)
    nn.init.constant_(last.bias[5:6], -START_MOTION / scale)
    if learn_focal:  # every pair begins with the focal length that was assumed
        nn.init.zeros_(last.weight[6:])
        nn.init.zeros_(last.bias[6:])
    middle = [nn.Conv2d(width, width, 3, 1, 1), nn.ReLU(), nn.Conv2d(width, width, 3, 1, 1), nn.ReLU()]
    return nn.Sequential(nn.Conv2d(inputs, width, 1), nn.ReLU(), *middle, last)


def read_motion(outputs: Tensor, scale: float) -> tuple[Tensor, ...]:
    """Axis-angle, translation, log of the focal factor (of e at most) from the head's maps. (B, 6 or 7, h, w)"""
    angle, translation, focal = outputs.mean((2, 3)).split([3, 3, outputs.shape[1] - 6], 1)
    return scale * angle, scale * translation, torch.tanh(focal)


def match_shifts(earlier: Tensor, later: Tensor) -> Tensor:
    """How well each patch of the earlier frame fits the later one at each shift of up to +-SHIFT pixels.

    Both frames are halved and freed of local brightness first; patches are 6 x 6 pixels of the halved frame.

    Returns:
        Softmax over shifts of the negative mean absolute difference, relative to its mean over shifts, shifts in
        rows of the window. (B, SHIFTS, H / 4, W / 4)
    """
    with torch.no_grad():
        both = F.avg_pool2d(torch.cat([earlier, later]).mean(1, keepdim=True), 2)
        a, b = (both - F.avg_pool2d(both, 9, 1, 4, count_include_pad=False)).chunk(2)
        height, width = a.shape[-2:]
        wide, places = F.pad(b, (SHIFT,) * 4), range(2 * SHIFT + 1)
        views = [wide[..., i : i + height, j : j + width] for i in places for j in places]
        cost = F.avg_pool2d((torch.cat(views, 1) - a).abs(), 6, 2, 2, count_include_pad=False)
        return torch.softmax(-SHARPNESS * cost / (cost.mean(1, keepdim=True) + 1e-4), 1) * SHIFTS
