"""Networks that classify every pixel: what labels are given to, on the backbone that learned without them.

Sources: facts/evaluation.md sec. 5 and 6; semantic FPN as `networks.Embedder` has it (Kirillov et al. 2019), DeepLabV3
by torchvision (Chen et al. 2017), which PixDepth fine-tunes.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.segmentation.deeplabv3 import DeepLabHead

from ..networks import COARSEST, Backbone, Embedder, prepare_images, seed_weights

NETWORKS = ("semantic_fpn", "deeplab_v3")
STRIDES = (8, 16)  # of DeepLab's features
RATES = {8: (12, 24, 36), 16: (6, 12, 18)}  # of its dilated convolutions


class Frozen(nn.Module):
    """A network whose weights and running statistics stay as they are, whatever is trained around it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "Frozen":
        """Only notes the mode: the network inside stays in evaluation mode."""
        self.training = mode
        return self

    def forward(self, *inputs: Tensor) -> Tensor:
        with torch.no_grad():
            return self.network(*inputs)


class SemanticFPN(nn.Module):
    """Backbone, pyramid and head of an `Embedder`, and a linear classifier in the place of its projection."""

    def __init__(self, encoder: str, classes: int) -> None:
        super().__init__()
        embedder = Embedder(encoder, dimensions=8)  # a projection that is thrown away
        self.backbone, self.head = embedder.backbone, embedder.head
        self.classifier = nn.Conv2d(self.head.width, classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """RGB (B, H, W, 3) uint8 -> scores of the classes. (B, C, H, W)"""
        scores = self.classifier(self.head(self.backbone(_prepare(images))))
        return _enlarge(scores, images)


class DeepLabV3(nn.Module):
    """A backbone that keeps a finer grid, and parallel dilated convolutions on its last features.

    Raises:
        ValueError: another stride than 8 or 16.
    """

    def __init__(self, encoder: str, classes: int, stride: int = 16) -> None:
        super().__init__()
        if stride not in STRIDES:
            raise ValueError(f"DeepLab's features are at stride 8 or 16, not {stride}")
        self.backbone = dilate(Backbone(encoder), stride).to(memory_format=torch.channels_last)
        self.head = DeepLabHead(self.backbone.channels[-1], classes, RATES[stride])

    def forward(self, images: Tensor) -> Tensor:
        """RGB (B, H, W, 3) uint8 -> scores of the classes. (B, C, H, W); while it is trained, B > 1"""
        return _enlarge(self.head(self.backbone(_prepare(images))[-1]), images)


class LinearProbe(nn.Module):
    """A linear map from the unit embeddings of a trained network, which stays as it is, to classes (ViCE sec. 4.2).

    Each dimension is brought to mean 0 and variance 1 first, by running statistics without weights of their own: still
    linear, and networks whose embeddings vary much or little are trained as fast by one rate.
    """

    def __init__(self, embedder: Embedder, classes: int, seed: int) -> None:
        super().__init__()
        dimensions = embedder.about["dimensions"]
        self.embedder, self.norm = Frozen(embedder), nn.BatchNorm2d(dimensions, affine=False)
        with seed_weights(seed):
            self.classifier = nn.Conv2d(dimensions, classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """RGB (B, H, W, 3) uint8 -> scores of the classes. (B, C, H, W)"""
        return _enlarge(self.classifier(self.norm(F.normalize(self.embedder(images).float()))), images)


def _prepare(images: Tensor) -> Tensor:
    if images.shape[1] % COARSEST or images.shape[2] % COARSEST:
        sides = tuple(images.shape[1:3])
        raise ValueError(f"image sides must be multiples of {COARSEST}, not {sides}: resize or pad them")
    return prepare_images(images)


def _enlarge(scores: Tensor, images: Tensor) -> Tensor:
    return F.interpolate(scores.float(), size=images.shape[1:3], mode="bilinear", align_corners=False)


def dilate(backbone: Backbone, stride: int) -> Backbone:
    """Let the last layers step by one pixel and look farther instead, so that the features are at `stride`.

    Weights and names stay what they are, and of the finer features every second (fourth) is what it was before; changes
    the backbone that it is given.
    """
    reach = 1
    for layer, coarse in ((backbone.layer3, 16), (backbone.layer4, 32)):
        if coarse <= stride:
            continue
        for convolution in (m for m in layer.modules() if isinstance(m, nn.Conv2d)):
            halves = convolution.stride == (2, 2)
            convolution.stride = (1, 1)
            if convolution.kernel_size == (3, 3):
                # the one that halved the grid still sees the features of the layer before it
                own = reach if halves else 2 * reach
                convolution.dilation = convolution.padding = (own, own)
        reach *= 2
    return backbone
