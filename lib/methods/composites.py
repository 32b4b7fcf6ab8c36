"""Batches of composites and the positives among their points, made by worker processes or where the networks are.

Draws are made on the CPU, as functions of seed and item; what they say is executed by OpenCV in the worker (`render`)
or by torch on a device (`batched`), with the same result but for rounding.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..copy_paste import Layers, Source, batched, draw_plan, lay_out, render
from ..parallel import numpy_generator, pick_device
from ..params import AugmentationParams, TrainingParams
from ..views import Table, draw_points, find_pixel_positives, find_region_positives, tabulate_placements

ORDER, ITEM = 1, 2  # streams of random numbers
Found = tuple[Tensor, Tensor, Tensor]


def join_positives(parts: Sequence[Found], views: Sequence[int]) -> dict[str, Tensor | int]:
    """Positives of several items as those of one batch.

    Args:
        parts: view, (x, y) and group of the points of each item; group ids need not be consecutive.
        views: how many each item has.
    Returns:
        view (N,) int64, points (N, 2) float32, group 0..groups-1 (N,) int64, and groups, how many there are.
    """
    view = torch.cat([view + k for (view, _, _), k in zip(parts, np.cumsum([0, *views]).tolist())])
    apart = 1 << 32  # more than any id: one number for item and group is sorted at once
    kept, group = torch.unique(torch.cat([k * apart + g for k, (_, _, g) in enumerate(parts)]), return_inverse=True)
    return {"view": view, "points": torch.cat([xy for _, xy, _ in parts]), "group": group, "groups": len(kept)}


@dataclass(frozen=True)
class DrawnItem:
    """One item before any pixel is touched.

    points: branch -> view, x and y of the points that are drawn for it. (N,) each
    """

    layers: Layers
    points: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]

    def render(self, sources: Sequence[Source]) -> tuple[Tensor, dict[str, Found]]:
        """Images (V, H, W, 3) uint8, and positives of each branch, by OpenCV."""
        images, pastes = (torch.from_numpy(a) for a in render.make_views(sources, self.layers))
        regions = torch.from_numpy(np.stack([source.regions for source in sources]).astype(np.int32))
        return images, self.find_positives(regions, pastes.to(torch.int32))

    def execute(self, atlas: batched.Atlas) -> tuple[Tensor, dict[str, Found]]:
        """The same by torch, where the atlas of the sources is."""
        images, pastes = batched.make_views(atlas, self.layers)
        return images, self.find_positives(atlas.regions, pastes)

    def find_positives(self, regions: Tensor, pastes: Tensor) -> dict[str, Found]:
        """Positives of each branch, from the sources' regions (M, H, W) int32 and what each pixel shows (V, H, W)."""
        layers, device, found = self.layers, pastes.device, {}
        named = layers.source, layers.view, layers.item_region, layers.view_from_source, layers.source_from_view
        numbers = [torch.from_numpy(a).to(device) for a in named]
        table = Table(pastes, *numbers, regions, torch.from_numpy(layers.first_region).to(device))
        for branch, points in self.points.items():
            at = [torch.from_numpy(a).to(device) for a in points]
            if branch == "pixel":
                placements = tabulate_placements(layers.item_region, len(pastes), layers.first_region)
                found[branch] = find_pixel_positives(table, torch.from_numpy(placements).to(device), *at)
            else:
                found[branch] = find_region_positives(table, *at)
        return found


def join_items(made: Sequence[tuple[Tensor, dict[str, Found]]], step: int) -> dict[str, Tensor | int]:
    """The batch of a step from its items.

    Returns:
        images (V, H, W, 3) uint8, and for each branch B_view, B_points, B_group, B_groups of `join_positives`.
    Raises:
        ValueError: no point of an item has a partner.
    """
    batch: dict[str, Tensor | int] = {"images": torch.cat([images for images, _ in made])}
    for branch in made[0][1]:
        parts = [found[branch] for _, found in made]
        if not all(len(view) for view, _, _ in parts):
            where = f"step {step}: no {branch} positives"
            raise ValueError(f"{where}; look at the regions of 02: are they empty?")
        joined = join_positives(parts, [len(images) for images, _ in made])
        batch |= {f"{branch}_{name}": value for name, value in joined.items()}
    return batch


@dataclass(frozen=True)
class DrawnBatch:
    """The items of a step, drawn by a worker, to be executed where the networks are; their sources as tensors, which
    go through shared memory and not through a pipe."""

    items: Sequence[DrawnItem]
    atlases: Sequence[batched.Atlas]
    step: int

    def pin_memory(self, *_: str) -> "DrawnBatch":
        """The same with atlases in memory from which a GPU copies while other work goes on."""
        return replace(self, atlases=[atlas.pin_memory() for atlas in self.atlases])

    def to(self, device: torch.device | str, **_: bool) -> dict[str, Tensor | int]:
        """The batch of `join_items`, made on a device."""
        made = [item.execute(atlas.to(device)) for item, atlas in zip(self.items, self.atlases)]
        return join_items(made, self.step)


def executes_on_device(params: TrainingParams) -> bool:
    """Are the composites made where the networks are?

    Raises:
        ValueError: they cannot be.
    """
    device = pick_device(params.device).type
    if device == "mps" and params.composites == "device":
        raise ValueError("composites = 'device' needs numbers of 64 bits, which Apple GPUs lack: use 'workers'")
    on_gpu = params.composites == "auto" and device == "cuda"
    return on_gpu or params.composites == "device"


@dataclass(frozen=True)
class CompositeSampler:
    """step -> training items, each 2M composites, and the positives among their points. Called by worker processes.

    rank, ranks: this process makes its share of the `items` of a step; the others make the rest.
    lazy: draw only; the batch is executed when it is moved to its device (`DrawnBatch.to`).
    """

    sources: Sequence[Source]
    recipe: AugmentationParams
    params: TrainingParams
    rank: int = 0
    ranks: int = 1
    lazy: bool = False

    def choose(self, item: int) -> list[int]:
        """M indices of sources; within an epoch each image is taken at most once, and the next one groups them anew."""
        items = len(self.sources) // self.recipe.images
        order = numpy_generator(self.params.seed, ORDER, item // items).permutation(len(self.sources))
        first = item % items * self.recipe.images
        return order[first : first + self.recipe.images].tolist()

    def __call__(self, step: int) -> dict[str, Tensor | int] | DrawnBatch:
        """See `join_items`."""
        share = self.params.items // self.ranks
        first = step * self.params.items + self.rank * share
        chosen = [[self.sources[i] for i in self.choose(item)] for item in range(first, first + share)]
        drawn = [self._draw(item, sources) for item, sources in enumerate(chosen, first)]
        if self.lazy:
            return DrawnBatch(drawn, [batched.make_atlas(sources) for sources in chosen], step)
        return join_items([item.render(sources) for item, sources in zip(drawn, chosen)], step)

    def _draw(self, item: int, sources: Sequence[Source]) -> DrawnItem:
        rng, points = numpy_generator(self.params.seed, ITEM, item), {}
        layers = lay_out(sources, draw_plan(sources, self.recipe, rng))
        counts = {
            "pixel": (self.params.pixel_weight, self.params.pixel_points),
            "region": (1 - self.params.pixel_weight, self.params.region_points),
        }
        for branch, (weight, count) in counts.items():
            if weight > 0:
                points[branch] = draw_points(2 * len(sources), sources[0].regions.shape, count, rng)
        return DrawnItem(layers, points)
