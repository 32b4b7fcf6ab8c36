"""The network that every method trains: ResNet, feature pyramid, semantic head, projection.

Source: facts/cpcdr.md sec. 8 (Semantic FPN, Kirillov et al. 2019, as CPCDR uses it). Ours: a narrower pyramid and head
on the small ResNets, whose cost on a CPU would otherwise be more than the backbone's.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torchvision
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from .artifacts import read_json
from .parallel.ranks import sum_ranks

STRIDE = 4  # of the embeddings
COARSEST = 32  # stride of the last feature map: image sides are multiples of it
WIDTHS = {"resnet18": (64, 64), "resnet34": (64, 64), "resnet50": (256, 128)}  # pyramid, head; paper: (256, 128)
GROUPS = 32  # of GroupNorm in the head
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, in 0..1
CHANNEL_SUM = (0, 2, 3)  # of (B, C, H, W)
PARTS = ("backbone", "head", "projection")


@contextmanager
def seed_weights(seed: int) -> Iterator[None]:
    """Inside, new modules draw their weights from `seed`; outside, torch's own generator goes on undisturbed."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def prepare_images(images: Tensor) -> Tensor:
    """RGB (B, H, W, 3) uint8 -> what the backbone takes: (B, 3, H, W) float32, channels last in memory."""
    mean, std = images.new_tensor(MEAN, dtype=torch.float32), images.new_tensor(STD, dtype=torch.float32)
    return ((images.float() / 255 - mean) / std).permute(0, 3, 1, 2)


class Backbone(nn.Module):
    """A torchvision ResNet without its classifier, under the same key names; `channels` of its four outputs."""

    def __init__(self, encoder: str) -> None:
        super().__init__()
        trunk = getattr(torchvision.models, encoder)(weights=None)
        for name in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"):
            self.add_module(name, getattr(trunk, name))
        self.channels = [64 * 2**level * (4 if encoder == "resnet50" else 1) for level in range(4)]

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) as `prepare_images` makes it -> features at strides 4, 8, 16, 32."""
        x, features = self.maxpool(self.relu(self.bn1(self.conv1(images)))), []
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
            features.append(x)
        return features


class SemanticHead(nn.Module):
    """Feature pyramid without normalisation, then per level 3x3 convolutions up to stride 4, summed."""

    def __init__(self, channels: list[int], pyramid: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.lateral = nn.ModuleList(nn.Conv2d(c, pyramid, 1) for c in channels)
        self.smooth = nn.ModuleList(nn.Conv2d(pyramid, pyramid, 3, 1, 1) for _ in channels)
        self.towers = nn.ModuleList(self._tower(level, pyramid, width) for level in range(len(channels)))
        for conv in (*self.lateral, *self.smooth):
            nn.init.xavier_uniform_(conv.weight)
            nn.init.zeros_(conv.bias)

    @staticmethod
    def _tower(level: int, pyramid: int, width: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for step in range(max(level, 1)):
            conv = nn.Conv2d(width if step else pyramid, width, 3, 1, 1, bias=False)
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
            layers += [conv, nn.GroupNorm(GROUPS, width), nn.ReLU(inplace=True)]
            if level:
                layers.append(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False))
        return nn.Sequential(*layers)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Features at strides 4 to 32 -> (B, width, H/4, W/4)."""
        levels = [lateral(feature) for lateral, feature in zip(self.lateral, features)]
        for fine in (2, 1, 0):
            levels[fine] = levels[fine] + F.interpolate(levels[fine + 1], scale_factor=2, mode="nearest")
        return sum(tower(smooth(x)) for tower, smooth, x in zip(self.towers, self.smooth, levels))


class Embedder(nn.Module):
    """Backbone, head and projection: from images to one embedding per 4 x 4 pixels."""

    def __init__(self, encoder: str, dimensions: int) -> None:
        super().__init__()
        pyramid, width = WIDTHS[encoder]
        self.about = {"encoder": encoder, "dimensions": dimensions, "pyramid": pyramid, "width": width}
        self.backbone = Backbone(encoder)
        self.head = SemanticHead(self.backbone.channels, pyramid, width)
        hidden = [nn.Conv2d(width, width, 1), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        self.projection = nn.Sequential(*hidden, nn.Conv2d(width, dimensions, 1, bias=False))
        self.to(memory_format=torch.channels_last)  # a quarter faster on a CPU, and what tensor cores want

    def features(self, images: Tensor) -> Tensor:
        """RGB (B, H, W, 3) uint8 -> the head's features, which finer tasks build on. (B, width, H/4, W/4)"""
        if images.shape[1] % COARSEST or images.shape[2] % COARSEST:
            sides = tuple(images.shape[1:3])
            raise ValueError(f"image sides must be multiples of {COARSEST}, not {sides}: resize or pad them")
        return self.head(self.backbone(prepare_images(images).to(self.backbone.conv1.weight.dtype)))

    def forward(self, images: Tensor) -> Tensor:
        """RGB (B, H, W, 3) uint8 -> embeddings, not normalised. (B, D, H/4, W/4)"""
        return self.projection(self.features(images))


class _Normalize(torch.autograd.Function):
    """(B, C, H, W) -> zero mean and unit variance a channel over all processes; and mean, variance, count of them.

    Sums are kept in float64: their differences decide the gradient, and float32 leaves two digits of it.
    """

    @staticmethod
    def forward(ctx, x: Tensor, eps: float) -> tuple[Tensor, ...]:
        exact = x if x.dtype == torch.float64 else x.float()
        count = sum_ranks(x.new_full((), x.numel() // x.shape[1], dtype=torch.float64))
        mean = sum_ranks(exact.sum(CHANNEL_SUM, dtype=torch.float64)) / count
        centred = exact - mean.to(exact.dtype)[:, None, None]
        variance = sum_ranks(centred.square().sum(CHANNEL_SUM, dtype=torch.float64)) / count
        inverse = (variance + eps).rsqrt().to(exact.dtype)[:, None, None]
        normal = centred.mul_(inverse)
        ctx.save_for_backward(normal, inverse, count)
        ctx.mark_non_differentiable(mean, variance, count)
        return normal.to(x.dtype), mean, variance, count

    @staticmethod
    def backward(ctx, gradient: Tensor, *_: Tensor) -> tuple[Tensor, None]:
        normal, inverse, count = ctx.saved_tensors
        exact = gradient.to(normal.dtype)
        sums = torch.stack([g.sum(CHANNEL_SUM, dtype=torch.float64) for g in (exact, exact * normal)])
        along, across = (sum_ranks(sums) / count).to(normal.dtype)[:, :, None, None]
        return ((exact - along - normal * across) * inverse).to(gradient.dtype), None


class SynchronizedBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation over the batches of all processes (`parallel.ranks`), on any device; torch's needs a GPU."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same; B may differ between processes."""
        if not self.training:
            return super().forward(x)
        normal, mean, variance, count = _Normalize.apply(x, self.eps)
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
            self.running_var.lerp_((variance * count / (count - 1)).to(self.running_var.dtype), self.momentum)
        return (normal * self.weight[:, None, None] + self.bias[:, None, None]).to(x.dtype)


def synchronize_batch_norms(networks: nn.Module) -> None:
    """Let every batch normalisation of the networks count the batches of all processes; the weights stay the same."""
    for module in networks.modules():
        for name, child in module.named_children():
            if type(child) is nn.BatchNorm2d:
                on_gpu = child.weight.device.type == "cuda"
                kind = nn.SyncBatchNorm if on_gpu else SynchronizedBatchNorm2d
                new = kind(child.num_features, child.eps, child.momentum, device=child.weight.device)
                new.weight, new.bias = child.weight, child.bias
                new.running_mean, new.running_var = child.running_mean, child.running_var
                new.num_batches_tracked = child.num_batches_tracked
                setattr(module, name, new.train(child.training))


@torch.no_grad()
def embed_images(embedder: nn.Module, images: np.ndarray | Tensor, batch: int = 8) -> Tensor:
    """Embeddings of many images in evaluation mode, `batch` at a time, on the device of the weights.

    RGB (B, H, W, 3) uint8 -> not normalised, on the CPU, (B, D, H/4, W/4) float32
    """
    training, device = embedder.training, next(embedder.parameters()).device
    embedder.eval()
    chunks = torch.as_tensor(np.asarray(images)).split(batch)
    result = torch.cat([embedder(chunk.to(device)).float().cpu() for chunk in chunks])
    embedder.train(training)
    return result


def sample_embeddings(embeddings: Tensor, view: Tensor, points: Tensor) -> Tensor:
    """Bilinear embeddings at points of images: the weighted mean of the four nearest cells.

    Args:
        embeddings: of B images. (B, D, H/4, W/4)
        view: which image each point is in. (N,) int64
        points: (x, y) in pixels of the images; beyond the outer centres of cells as on them. (N, 2)
    Returns:
        (N, D)
    """
    height, width = embeddings.shape[2:]
    cells = (points.to(embeddings.dtype) + 0.5) / STRIDE - 0.5  # a cell's centre lies between its 4 x 4 pixels
    x, y = cells[:, 0].clamp(0, width - 1), cells[:, 1].clamp(0, height - 1)
    left, top = x.floor().clamp(max=max(width - 2, 0)), y.floor().clamp(max=max(height - 2, 0))
    right, low = x - left, y - top
    first = (view * height + top.long()) * width + left.long()
    across, down = min(width - 1, 1), width * min(height - 1, 1)
    corners = torch.stack([first, first + across, first + down, first + down + across], dim=1)
    shares = torch.stack([(1 - right) * (1 - low), right * (1 - low), (1 - right) * low, right * low], dim=1)
    table = embeddings.permute(0, 2, 3, 1).reshape(-1, embeddings.shape[1])
    # a third of the time of grid_sample, whose backward pass is not deterministic on a GPU
    return F.embedding_bag(corners, table, mode="sum", per_sample_weights=shares)


def save_networks(stage: Any, embedder: Embedder, prototypes: Tensor | None = None) -> None:
    """Write the parts, and prototypes (K, D), as .safetensors into a `Stage`; what they are, as JSON beside each."""
    for part in PARTS:
        stage.save_tensors(f"{part}.safetensors", getattr(embedder, part).state_dict(), **embedder.about)
    if prototypes is not None:
        stage.save_tensors("prototypes.safetensors", {"weight": prototypes}, count=len(prototypes))


def load_networks(artifact: Any) -> tuple[Embedder, Tensor | None]:
    """The trained embedder, in evaluation mode, and the prototypes (K, D) of an `Artifact` of 04, on the CPU."""
    about = read_json(artifact.path("backbone.json"))
    embedder = Embedder(about["encoder"], about["dimensions"])
    for part in PARTS:
        getattr(embedder, part).load_state_dict(load_file(artifact.path(f"{part}.safetensors")))
    known = "prototypes.safetensors" in artifact.manifest["files"]
    return embedder.eval(), load_file(artifact.path("prototypes.safetensors"))["weight"] if known else None
