"""Things one by one: torchvision's Mask R-CNN on the backbone and the pyramid that learned without labels.

Sources: He et al. 2017 (Mask R-CNN), Lin et al. 2017 (feature pyramid); what is taken over and the full-size settings,
384 rows with batch 8 and rate 0.01, facts/evaluation.md sec. 6. As in CPCDR, backbone and pyramid are taken over and
the semantic head's towers are not. Ours: sizes and numbers of boxes go down with the rows of the images, heads are as
wide as the pyramid, and features, masks and boxes meet without a shift, which decides on things of a few pixels.

Boxes are (left, top, right, bottom) of the outer borders of pixels: pixel (0, 0) is the box (0, 0, 1, 1).
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign, roi_align

from ..data import Dataset, Frame
from ..data.labels import ClassSet
from ..evaluation.instances import Instances, Matches, Truth, find_things, match_instances, read_truth
from ..networks import COARSEST, WIDTHS, Backbone, Embedder, prepare_images, seed_weights
from ..parallel import torch_generator
from . import labelled
from .labelled import LabelledSampler, LazyFrames
from .starts import Transfer, list_layers

DRAWS = 7  # stream of random numbers: which proposals are learned from
BAND = 1 << 16  # of codes: class * BAND + number of the thing, 0 = none
ROWS = 384  # of the images whose settings are the paper's
ANCHOR = 32.0  # pixels at that size: the smallest anchor; each level has its own size and the double
PROPOSALS, SAMPLES, FEWEST = 1000, 512, 64  # of an image at that size: kept, learned from; either, of the smallest
STRIDES = (4, 8, 16, 32)
COARSER = 112.0  # pixels of a box's side from which its features are read one level up (Lin et al. 2017, eq. 1)
TAKEN = {"lateral": "inner_blocks", "smooth": "layer_blocks"}  # convolutions of `SemanticHead` and of torchvision
LOSSES = ("objectness", "rpn_box_reg", "classifier", "box_reg", "mask")  # torchvision's names, after "loss_"


def _read_codes(dataset: Dataset, things: ClassSet, smallest: int, frame: Frame) -> np.ndarray:
    truth = read_truth(dataset, frame, things)
    kept = np.append(0, (truth.sizes >= smallest) * ((truth.classes + 1) * BAND + np.arange(len(truth.classes))))
    return kept[truth.regions].astype(np.int32)


def gather_instances(dataset: Dataset, frames: Sequence[Frame], smallest: int = 1) -> tuple[Any, Any]:
    """Images (N, H, W, 3) uint8 and codes of things (N, H, W) int32 for `InstanceSampler`: arrays, or, where they would
    fill the memory, what looks like arrays.

    Args:
        smallest: pixels below which a thing is background; nobody can learn its shape.
    Raises:
        ValueError: no frame, no classes of things, or no map of instances.
    """
    if not frames or dataset.classes is None:
        raise ValueError(f"{dataset.name} has no labelled frames to learn from: name a data set with labels by `data`")
    things = find_things(dataset.classes)
    read_truth(dataset, frames[0], things)
    lazy = LazyFrames(dataset.image, frames), LazyFrames(partial(_read_codes, dataset, things, smallest), frames)
    if 7 * len(frames) * math.prod(dataset.size) > labelled.IN_MEMORY:
        return lazy
    return tuple(each[np.arange(len(frames))] for each in lazy)


@dataclass(frozen=True)
class InstanceSampler:
    """step -> batch of frames and their things, mirrored and recoloured as by `LabelledSampler`.

    images, codes: see `gather_instances`; chosen: those that are drawn from; None = all. (n,)
    """

    images: Any
    codes: Any
    batch: int
    seed: int
    chosen: np.ndarray | None = None

    def __call__(self, step: int) -> dict[str, Tensor]:
        """images (B, H, W, 3) uint8; regions, number of the thing a pixel is on, 0 = none (B, H, W) int32; boxes
        (B, N, 4) float32 and classes, 1 = the first, 0 = no thing (B, N) int64, of thing 1, 2, ... of each image.
        """
        drawn = LabelledSampler(self.images, self.codes, self.batch, self.seed, self.chosen)(step)
        found = [_find_boxes(codes) for codes in drawn["labels"].numpy()]
        most = max(len(classes) for _, _, classes in found)
        boxes, classes = torch.zeros(self.batch, most, 4), torch.zeros(self.batch, most, dtype=torch.int64)
        for row, (_, some, names) in enumerate(found):
            boxes[row, : len(names)], classes[row, : len(names)] = torch.from_numpy(some), torch.from_numpy(names)
        regions = torch.from_numpy(np.stack([regions for regions, _, _ in found]))
        return {"images": drawn["images"], "regions": regions, "boxes": boxes, "classes": classes}


def _find_boxes(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes (H, W) -> number of the thing at each pixel (H, W), boxes (N, 4), classes from 1 up (N,)."""
    things = np.unique(codes[codes > 0])
    regions = np.where(codes > 0, np.searchsorted(things, codes) + 1, 0).astype(np.int32)
    found = (np.nonzero(regions == row + 1) for row in range(len(things)))
    boxes = [(x.min(), y.min(), x.max() + 1, y.max() + 1) for y, x in found]
    return regions, np.array(boxes, np.float32).reshape(-1, 4), things // BAND


class AlignedPool(MultiScaleRoIAlign):
    """Features in boxes, from the level that fits their size, read without torchvision's shift by half a cell."""

    def __init__(self, side: int) -> None:
        super().__init__([str(level) for level in range(len(STRIDES))], side, 2)

    def forward(self, x: dict[str, Tensor], boxes: list[Tensor], image_shapes: list[tuple[int, int]]) -> Tensor:
        """Levels (B, C, h, w), boxes of each image (N, 4) -> (sum of N, C, side, side)"""
        flat = torch.cat(boxes)
        image = torch.cat([flat.new_full((len(some), 1), index) for index, some in enumerate(boxes)])
        rois, shape = torch.cat([image, flat], dim=1), self.output_size
        side = ((flat[:, 2] - flat[:, 0]) * (flat[:, 3] - flat[:, 1])).clamp(min=1e-6).sqrt()
        level = (2 * side / COARSER).log2().floor().clamp(0, len(STRIDES) - 1)
        result = x["0"].new_zeros((len(flat), x["0"].shape[1], *shape))
        for index, stride in enumerate(STRIDES):
            rows = torch.where(level == index)[0]
            result[rows] = roi_align(x[str(index)], rois[rows], shape, 1 / stride, self.sampling_ratio, aligned=True)
        return result


class InstanceNetwork(nn.Module):
    """Mask R-CNN for images with `rows` rows on our backbone, its parts built by torchvision."""

    def __init__(self, encoder: str, classes: int, rows: int) -> None:
        super().__init__()
        self.encoder, self.backbone = encoder, Backbone(encoder)
        width = WIDTHS[encoder][0]
        self.pyramid = FeaturePyramidNetwork(self.backbone.channels, width)
        self.pyramid.out_channels = width
        share = rows / ROWS
        sizes = tuple((share * ANCHOR * 2**level, share * ANCHOR * 2 ** (level + 1)) for level in range(len(STRIDES)))
        proposals, samples = (max(round(min(share, 1) * number), FEWEST) for number in (PROPOSALS, SAMPLES))
        box = 4 * width  # channels of the box head, 1024 of the paper's; of the mask head as many as the pyramid's
        parts = MaskRCNN(
            self.pyramid,
            rpn_anchor_generator=AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * len(STRIDES)),
            **{f"rpn_p{kind}_nms_top_n_{mode}": proposals for kind in ("re", "ost") for mode in ("train", "test")},
            box_roi_pool=AlignedPool(7),
            box_head=TwoMLPHead(width * 7 * 7, box),
            box_predictor=FastRCNNPredictor(box, classes + 1),
            box_batch_size_per_image=samples,
            mask_roi_pool=AlignedPool(14),
            mask_head=MaskRCNNHeads(width, (width,) * 4, 1),
            mask_predictor=MaskRCNNPredictor(width, width, classes + 1),
        )
        self.rpn, self.roi_heads = parts.rpn, parts.roi_heads
        nn.init.normal_(self.roi_heads.mask_predictor.mask_fcn_logits.weight, std=1e-3)  # else its first loss rules
        nn.ModuleList([self.backbone, self.pyramid]).to(memory_format=torch.channels_last)

    def take_over(self, embedder: Embedder) -> tuple[str, ...]:
        """Copy an embedder's backbone and the convolutions of its pyramid; names of the tensors that were replaced.

        Raises:
            ValueError: another encoder than this network's.
        """
        if embedder.about["encoder"] != self.encoder:
            raise ValueError(f"04 has a {embedder.about['encoder']}, not {self.encoder}: set encoder to the same")
        state = {f"backbone.{name}": value for name, value in embedder.backbone.state_dict().items()}
        for theirs, ours in TAKEN.items():
            found = getattr(embedder.head, theirs).state_dict()
            state |= {f"pyramid.{ours}.{name.replace('.', '.0.')}": value for name, value in found.items()}
        self.load_state_dict(self.state_dict() | state)
        return tuple(state)

    def forward(self, images: Tensor, targets: list[dict[str, Tensor]] | None = None) -> tuple[list, dict[str, Tensor]]:
        """RGB (B, H, W, 3) uint8 -> what was found, and, with targets, the parts of the loss.

        Only backbone and pyramid follow autocast: boxes of a few pixels need all digits of float32.

        Raises:
            ValueError: image sides that are no multiples of 32.
        """
        if images.shape[1] % COARSEST or images.shape[2] % COARSEST:
            sides = tuple(images.shape[1:3])
            raise ValueError(f"image sides must be multiples of {COARSEST}, not {sides}: resize or pad them")
        prepared = prepare_images(images)
        levels = self.pyramid({str(level): x for level, x in enumerate(self.backbone(prepared))})
        with torch.autocast(images.device.type, enabled=False):
            levels = {level: x.float() for level, x in levels.items()}
            listed = ImageList(prepared, [tuple(images.shape[1:3])] * len(images))
            proposals, objectness = self.rpn(listed, levels, targets)
            found, parts = self.roi_heads(levels, proposals, listed.image_sizes, targets)
        return found, objectness | parts


@contextmanager
def _seed_draws(device: torch.device, seed: int, step: int) -> Iterator[None]:
    """Inside, torch's own generators, which torchvision draws from, are a function of (seed, step)."""
    number, on_gpu = torch_generator(seed, DRAWS, step).initial_seed(), device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_gpu else []):
        torch.default_generator.manual_seed(number)
        if on_gpu:
            torch.cuda.default_generators[device.index or 0].manual_seed(number)
        yield


def _make_targets(batch: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    """What torchvision wants of each image; an image without a thing has none of each."""
    targets = []
    for regions, boxes, classes in zip(batch["regions"], batch["boxes"], batch["classes"]):
        kept = torch.where(classes > 0)[0]
        masks = (regions == (kept + 1)[:, None, None]).float()
        targets.append({"boxes": boxes[kept], "labels": classes[kept], "masks": _shift_masks(masks)})
    return targets


def _shift_masks(masks: Tensor) -> Tensor:
    """Half a pixel to the right and down: torchvision cuts targets out of masks as if pixels had their centres at
    whole numbers, whereas our boxes count from the borders of pixels. (N, H, W)
    """
    padded = F.pad(masks, (1, 0, 1, 0))
    return (padded[:, 1:, 1:] + padded[:, :-1, 1:] + padded[:, 1:, :-1] + padded[:, :-1, :-1]) / 4


def paste_masks(masks: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Masks in boxes -> masks in an image of `size`: pixels whose centre is more likely inside than not.

    Args:
        masks: probabilities. (N, m, m)
        boxes: in pixels of that image. (N, 4)
    Returns:
        (N, H, W) bool
    """
    result = torch.zeros((len(masks), *size), dtype=torch.bool, device=masks.device)
    rows, columns = (torch.arange(n, device=masks.device) + 0.5 for n in size)
    for mask, (left, top, right, bottom), pasted in zip(masks, boxes, result):
        x = torch.where((columns > left) & (columns < right))[0]
        y = torch.where((rows > top) & (rows < bottom))[0]
        if len(x) and len(y):
            u, v = 2 * (columns[x] - left) / (right - left) - 1, 2 * (rows[y] - top) / (bottom - top) - 1
            grid = torch.stack(torch.meshgrid(u, v, indexing="xy"), dim=-1)
            read = F.grid_sample(mask[None, None], grid[None], padding_mode="border", align_corners=False)[0, 0]
            pasted[y[0] : y[-1] + 1, x[0] : x[-1] + 1] = read > 0.5
    return result


class InstanceTask:
    """The losses of Mask R-CNN on frames with things; for `lib.training.train`.

    Args:
        things: that are told apart, of `find_things`.
        sample: of an `InstanceSampler`.
        rows: of the images; anchors and numbers of boxes follow from it.
        encoder: of the backbone; seed: of new weights, and of which proposals are learned from.
        embedder: whose backbone and pyramid the network takes over; its other parts are not needed.

    `transferred` names the tensors that were taken over, `fresh` those that begin at random, `transfer` counts them.
    """

    def __init__(
        self, things: ClassSet, sample: Any, rows: int, encoder: str, embedder: Embedder | None = None, seed: int = 0
    ) -> None:
        with seed_weights(seed):
            network = InstanceNetwork(encoder, len(things), rows)
        self.sample, self.seed, self.networks = sample, seed, nn.ModuleDict({"network": network})
        self.note_transfer("own" if embedder else "random", network.take_over(embedder) if embedder else ())

    def note_transfer(self, start: str, transferred: Sequence[str]) -> None:
        """Set `transferred`, `fresh` and `transfer`: these tensors were taken over from `start`."""
        network = self.networks["network"]
        self.transferred = tuple(transferred)
        self.fresh = tuple(name for name in network.state_dict() if name not in self.transferred)
        sizes = {name: value.numel() for name, value in network.named_parameters()}
        new = sum(sizes.get(name, 0) for name in self.fresh)
        parts = tuple(dict.fromkeys(name.split(".")[0] for name in self.transferred))
        layers, taken = list_layers(self.transferred), sum(sizes.values()) - new
        self.transfer = Transfer(start, parts, layers, len(self.transferred), taken, new)

    def loss(self, batch: dict[str, Tensor], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        with _seed_draws(batch["images"].device, self.seed, step):
            _, parts = self.networks["network"](batch["images"], _make_targets(batch))
        return sum(parts.values()), {name: parts[f"loss_{name}"].detach() for name in LOSSES}

    @torch.no_grad()
    def predict_each(self, images: Any, size: tuple[int, int] | None = None, batch: int = 8) -> Iterator[Instances]:
        """What is seen in each image, one after the other, with masks of `size` (H, W); None = that of the images.

        (N, H, W, 3) uint8; up to 100 things an image
        """
        device, network = next(self.networks.parameters()).device, self.networks["network"]
        for first in range(0, len(images), batch):
            chunk = np.asarray(images[np.arange(first, min(first + batch, len(images)))])
            target, training = size or chunk.shape[1:3], network.training
            found, _ = network.eval()(torch.from_numpy(chunk).to(device))
            network.train(training)
            scale = torch.tensor([target[1] / chunk.shape[2], target[0] / chunk.shape[1]] * 2, device=device)
            for one in found:
                masks = paste_masks(one["masks"][:, 0], one["boxes"] * scale, target).cpu().numpy()
                yield Instances(masks, one["labels"].cpu().numpy() - 1, one["scores"].cpu().numpy())

    def predict(self, images: Any, size: tuple[int, int] | None = None) -> list[Instances]:
        """`predict_each` as a list; of many large images, whose masks would fill the memory, take that or `match`."""
        return list(self.predict_each(images, size))

    def match(self, images: Any, truths: Iterable[Truth], smallest: int, size: Any = None) -> list[Matches]:
        """Predictions of each image beside its truth, at the truth's `size`: what `average_precision` takes."""
        return [match_instances(truth, one, smallest) for truth, one in zip(truths, self.predict_each(images, size))]
