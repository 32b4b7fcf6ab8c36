"""Depth and pose networks for minutes on a CPU, from random weights.

They differ from `small` (see `networks`) in residual blocks, batch norm everywhere, a decoder that ends at half
resolution, and patches that are matched at every second place only. What each is worth in score and time:
outputs/reference/deviations.md.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .motion import MEAN, SHIFTS, STD, build_motion_head, match_shifts, read_motion

START_LOGIT = -1.0  # of inverse depth in its range, before anything is learned
START_MOTION = 0.6  # scene units a frame, forward, before anything is learned: then they are about metres
CHANNELS = (16, 32, 64, 96, 128)  # of the encoder at strides 2 to 32
WIDTHS = (32, 48, 64, 96)  # of the decoder at strides 2 to 16
POSE_CHANNELS = (16, 32, 64, 96, 128)  # at strides 2 to 32


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


class LightDepthNetwork(nn.Module):
    """Image -> inverse depth at full resolution, enlarged from half; with more `scales` also from coarser levels.

    The sigmoid s of each head becomes 1 / max_depth + (1 / min_depth - 1 / max_depth) s.
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
        for head in self.heads:
            nn.init.constant_(head.bias, START_LOGIT)

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
                outputs.insert(0, self.farthest + (self.nearest - self.farthest) * torch.sigmoid(logit))
        return outputs


class LightPoseNetwork(nn.Module):
    """Two frames in order of time -> how the camera moved between them.

    It also sees how well each patch of the earlier frame matches the later one at every small shift, and it starts
    out driving forward.
    """

    def __init__(self, scale: float, learn_focal: bool) -> None:
        super().__init__()
        self.scale = scale
        self.stem = nn.Sequential(convolve(6, POSE_CHANNELS[0], 2), nn.ReLU())
        self.levels = nn.ModuleList(
            nn.Sequential(convolve(i, o, 2), nn.ReLU(), convolve(o, o), nn.ReLU()) for i, o in pairwise(POSE_CHANNELS)
        )
        self.match = nn.Conv2d(SHIFTS, POSE_CHANNELS[1], 3, padding=1)
        self.head = build_motion_head(POSE_CHANNELS[-1], POSE_CHANNELS[-1], START_MOTION / scale, learn_focal)

    def forward(self, earlier: Tensor, later: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) twice -> of later_from_earlier the axis-angle (radians) and translation (scene units), (B, 3)
        each, and the logarithm of what the focal length is to be multiplied by, (B, 1), or (B, 0) if not learned."""
        x = self.stem((torch.cat([earlier, later], 1) - MEAN) / STD)
        for number, level in enumerate(self.levels):
            x = level(x)
            if number == 0:
                x = x + self.match(match_shifts(earlier, later, window=6, stride=2))
        return read_motion(self.head(x), self.scale)
