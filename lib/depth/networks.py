"""Depth and pose networks of Monodepth2, at the width of their encoder.

Source: facts/baselines.md sec. 1 (Godard et al. 2019, sec. 3 and appendix). Ours: random start, the "small" encoder,
and a larger factor on the pose output: 0.01 is slow to learn anything from random weights.
"""

from typing import Any

import torch
import torchvision
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from .light import LightDepthNetwork, LightPoseNetwork
from .motion import MEAN, SHIFTS, STD, build_motion_head, match_shifts, read_motion

SMALL = (16, 32, 64, 96, 128)  # channels at strides 2 to 32
START_LOGIT = -1.0  # of inverse depth in its range, before anything is learned
START_MOTION = 0.1  # scene units a frame, forward, before anything is learned


def convolve(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """3x3 convolution with reflected borders."""
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1, padding_mode="reflect")


class Encoder(nn.Module):
    """Image -> features at strides 2, 4, 8, 16, 32; `channels` has their widths.

    Args:
        name: small, or a torchvision ResNet (random start).
        images: images that enter side by side, in channels: 1 for depth, 2 for pose.
    """

    def __init__(self, name: str, images: int = 1) -> None:
        super().__init__()
        if name == "small":
            self.channels: tuple[int, ...] = SMALL
            pairs = zip((3 * images, *SMALL[:-1]), SMALL)
            self.levels = nn.ModuleList(self._level(i, o) for i, o in pairs)
            return
        trunk = getattr(torchvision.models, name)(weights=None)
        if images > 1:  # the first convolution repeated, so that the sum of its responses keeps its size
            first = nn.Conv2d(3 * images, 64, 7, 2, 3, bias=False)
            first.weight.data = trunk.conv1.weight.data.repeat(1, images, 1, 1) / images
            trunk.conv1 = first
        stem = nn.Sequential(trunk.conv1, trunk.bn1, trunk.relu)
        layers = [nn.Sequential(trunk.maxpool, trunk.layer1), trunk.layer2, trunk.layer3, trunk.layer4]
        self.levels = nn.ModuleList([stem, *layers])
        wide = 4 if name == "resnet50" else 1
        self.channels = (64, 64 * wide, 128 * wide, 256 * wide, 512 * wide)

    @staticmethod
    def _level(inputs: int, outputs: int) -> nn.Sequential:
        half = [nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
        return nn.Sequential(
            *half, nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3 or 6, H, W) in 0..1 -> five feature maps, fine to coarse."""
        features, x = [], (images - MEAN) / STD
        for level in self.levels:
            x = level(x)
            features.append(x)
        return features


class DepthNetwork(nn.Module):
    """Image -> inverse depth at full, half, quarter and eighth resolution (as many as `scales`).

    The sigmoid s of each head becomes 1 / max_depth + (1 / min_depth - 1 / max_depth) s.
    """

    def __init__(self, encoder: str, min_depth: float, max_depth: float, scales: int) -> None:
        super().__init__()
        self.encoder = Encoder(encoder)
        self.nearest, self.farthest = 1 / min_depth, 1 / max_depth
        widths = [min(w, c) for w, c in zip((16, 32, 64, 128, 256), self.encoder.channels)]
        skips = [0, *self.encoder.channels[:-1]]
        coarser = [*widths[1:], self.encoder.channels[-1]]
        self.reduce = nn.ModuleList(convolve(c, w) for c, w in zip(coarser, widths))
        self.merge = nn.ModuleList(convolve(w + s, w) for w, s in zip(widths, skips))
        self.heads = nn.ModuleList(convolve(w, 1) for w in widths[:scales])
        for head in self.heads:
            nn.init.constant_(head.bias, START_LOGIT)

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) in 0..1 -> inverse depth in 1 / scene unit, scale s of shape (B, 1, H / 2^s, W / 2^s)."""
        features = self.encoder(images)
        x, outputs = features[-1], []
        for level in reversed(range(5)):
            x = F.interpolate(F.elu(self.reduce[level](x)), scale_factor=2, mode="nearest")
            x = torch.cat([x, features[level - 1]], 1) if level else x
            x = F.elu(self.merge[level](x))
            if level < len(self.heads):
                share = torch.sigmoid(self.heads[level](x))
                outputs.insert(0, self.farthest + (self.nearest - self.farthest) * share)
        return outputs


class PoseNetwork(nn.Module):
    """Two frames in order of time -> how the camera moved between them.

    As in Monodepth2, but for two things that let it learn from nothing within minutes: it also sees how well each
    patch of the earlier frame matches the later one at every small shift, and it starts out driving forward.
    """

    def __init__(self, encoder: str, scale: float, learn_focal: bool) -> None:
        super().__init__()
        self.encoder, self.scale = Encoder(encoder, images=2), scale
        self.match = nn.Conv2d(SHIFTS, self.encoder.channels[1], 3, 2, 1)
        top = self.encoder.channels[-1]
        self.head = build_motion_head(top, min(256, top), START_MOTION / scale, learn_focal)

    def forward(self, earlier: Tensor, later: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) twice -> of later_from_earlier the axis-angle (radians) and translation (scene units), (B, 3)
        each, and the logarithm of what the focal length is to be multiplied by, (B, 1), or (B, 0) if not learned."""
        x = (torch.cat([earlier, later], 1) - MEAN) / STD
        for number, level in enumerate(self.encoder.levels):
            x = level(x)
            if number == 1:
                x = x + self.match(match_shifts(earlier, later))
        return read_motion(self.head(x), self.scale)


class DepthNetworks(nn.Module):
    """All that is trained in 01: `.depth` and `.pose`."""

    def __init__(self, params: Any) -> None:
        super().__init__()
        learn_focal, reach = params.learn_intrinsics != "no", (params.min_depth, params.max_depth, params.scales)
        if params.encoder == "light":
            self.depth: nn.Module = LightDepthNetwork(*reach)
            self.pose: nn.Module = LightPoseNetwork(params.pose_scale, learn_focal)
        else:
            self.depth = DepthNetwork(params.encoder, *reach)
            self.pose = PoseNetwork(params.encoder, params.pose_scale, learn_focal)


def load_depth_network(artifact: Any) -> nn.Module:
    """The trained depth network of an `Artifact` of 01, in evaluation mode, on the CPU.

    Raises:
        ValueError: the run learned no network: its depth came from elsewhere.
    """
    if artifact.params.source != "learned":
        raise ValueError(
            f"the depth of run {artifact.run!r} is {artifact.params.source}, not learned: it has no network that could "
            "look at other images. Choose a run with source = learned"
        )
    network = build_networks(artifact.params).depth
    network.load_state_dict(load_file(artifact.path("depth.safetensors")))
    return network.eval()


def build_networks(params: Any) -> DepthNetworks:
    """Networks with random weights that are a function of `params.seed` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(params.seed)
        return DepthNetworks(params)
