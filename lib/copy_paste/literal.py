"""The released loader's way to composites, written down from its description, patch by patch: to time, not to train.

Source: facts/cpcdr.md sec. 6, which says what each step does; the code is ours. Every patch is a tensor that goes
through torchvision's transforms, masks are soft, and a paste changes the depth that later ones meet. Regions, counts
and draws are those of `plans`, so that both ways have the same work.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as T

from ..params import AugmentationParams
from .plans import Plan
from .sources import Source

SLOTS = 8  # labels a region: its place in two rounds, and six pastes


def _jitter(image: Tensor, recipe: AugmentationParams, rng: np.random.Generator) -> Tensor:
    """Brightness, contrast, saturation and hue in random order, a blur, gray: each with its probability."""
    if rng.random() < recipe.color_probability:
        factors = 1 + np.array([recipe.brightness, recipe.contrast, recipe.saturation]) * rng.uniform(-1, 1, 3)
        hue = recipe.hue * rng.uniform(-1, 1)
        steps = [T.adjust_brightness, T.adjust_contrast, T.adjust_saturation]
        for k in rng.permutation(4):
            image = T.adjust_hue(image, hue) if k == 3 else steps[k](image, float(factors[k]))
    if rng.random() < recipe.blur_probability and min(image.shape[1:]) > 2:  # else there is nothing to mirror
        image = T.gaussian_blur(image, [5, 5], [float(rng.uniform(0.1, 2.0))])
    if rng.random() < recipe.gray_probability:
        image = T.rgb_to_grayscale(image, num_output_channels=3)
    return image


def _cut_patch(source: Source, region: int, scale: float, mirrored: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Colours (3, h, w), mask and inverse depth (1, h, w) of a region, at its new size."""
    top, left, h, w = source.boxes[region].tolist()
    part = slice(top, top + h), slice(left, left + w)
    size = [max(int(h * scale), 1), max(int(w * scale), 1)]
    image = torch.from_numpy(source.pyramid[0][..., :3][part].copy()).permute(2, 0, 1).float() / 255
    image = T.resize(image, size, antialias=True)
    mask = torch.from_numpy(source.regions[part] == region)[None].float()
    mask = T.resize(mask, size, T.InterpolationMode.NEAREST)
    depth = T.resize(torch.from_numpy(source.inverse_depth[part])[None], size, antialias=True) * scale
    return (image.flip(2), mask.flip(2), depth.flip(2)) if mirrored else (image, mask, depth)


def _paste(target: list[Tensor], patch: tuple[Tensor, Tensor, Tensor], corner: tuple[int, int], label: int) -> None:
    """Put a patch into a target (image, inverse depth, labels), in place."""
    (image, mask, depth), (y, x), (height, width) = patch, corner, target[1].shape[1:]
    size = mask.shape[1:]
    there = slice(max(y, 0), min(y + size[0], height)), slice(max(x, 0), min(x + size[1], width))
    if there[0].start >= there[0].stop or there[1].start >= there[1].stop:
        return
    own = (slice(None), slice(there[0].start - y, there[0].stop - y), slice(there[1].start - x, there[1].stop - x))
    there = (slice(None), *there)
    binary = mask[own] * (target[1][there] < depth[own])
    soft = T.gaussian_blur(binary, [3, 3], [1.0]) if min(binary.shape[1:]) >= 3 else binary
    target[0][there] = target[0][there] * (1 - soft) + image[own] * soft
    target[1][there] = target[1][there] * (1 - soft) + depth[own] * soft
    target[2][there] = torch.where(binary > 0, label, target[2][there])


def compose(
    sources: Sequence[Source], plan: Plan, recipe: AugmentationParams, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Execute a plan as the release would.

    Returns:
        Images (V, 3, H, W) float32 in 0..1, and labels (V, H, W) int64: region, counted over all sources from 1, times
        `SLOTS`, plus a slot; 0 = no region.
    """
    first = np.cumsum([0, *(len(s.boxes) - 1 for s in sources)])
    targets = []
    for k in range(2 * len(sources)):
        source, m = sources[k % len(sources)], k % len(sources)
        image = torch.from_numpy(source.pyramid[0][..., :3].copy()).permute(2, 0, 1).float() / 255
        regions = torch.from_numpy(source.regions.astype(np.int64))[None]
        labels = torch.where(regions > 0, (first[m] + regions) * SLOTS + k // len(sources), 0)
        targets.append([image, torch.from_numpy(source.inverse_depth.copy())[None], labels])
    slots: dict[tuple[int, int], int] = {}
    for m, region, k, scale, matrix in zip(plan.source, plan.region, plan.target, plan.scale, plan.target_from_source):
        slot = slots[m, region] = slots.get((m, region), 1) + 1
        top, left, _, w = sources[m].boxes[region].tolist()
        x, y = matrix[0, 0] * (left - 0.5) + matrix[0, 2], matrix[1, 1] * (top - 0.5) + matrix[1, 2]
        mirrored = matrix[0, 0] < 0
        corner = round(y + 0.5), round(x + 0.5 - (w * scale if mirrored else 0))
        label = int((first[m] + region) * SLOTS + min(slot, SLOTS - 1))
        image, mask, depth = _cut_patch(sources[m], int(region), float(scale), mirrored)
        _paste(targets[k], (_jitter(image, recipe, rng), mask, depth), corner, label)
    images, labels = [], []
    for (image, _, label), matrix in zip(targets, plan.view_from_composite):
        image, label = _view(image, label, matrix)
        images.append(_jitter(image, recipe, rng))
        labels.append(label[0])
    return torch.stack(images), torch.stack(labels)


def _view(image: Tensor, labels: Tensor, matrix: np.ndarray) -> tuple[Tensor, Tensor]:
    """Enlarge, crop and mirror, colours bilinear and labels by the nearest pixel."""
    height, width = image.shape[1:]
    scale_x, scale_y = abs(matrix[0, 0]), matrix[1, 1]
    size = [round(height * scale_y), round(width * scale_x)]
    edge = matrix[0, 0] * ((width if matrix[0, 0] < 0 else 0) - 0.5) + matrix[0, 2]
    top, left = round(-(matrix[1, 2] - 0.5 * scale_y + 0.5)), round(-(edge + 0.5))
    left = size[1] - width - left if matrix[0, 0] < 0 else left
    box = min(max(top, 0), size[0] - height), min(max(left, 0), size[1] - width), height, width
    image = T.crop(T.resize(image, size, antialias=True), *box)
    labels = T.crop(T.resize(labels, size, T.InterpolationMode.NEAREST), *box)
    return (image.flip(2), labels.flip(2)) if matrix[0, 0] < 0 else (image, labels)
