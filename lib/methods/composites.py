"""Batches of composites and the positives among their points, made by worker processes or where the networks are.

Draws are made on the CPU, as functions of seed and item; what they say is executed by OpenCV in the worker (`render`)
or by torch on a device (`batched`), with the same result but for rounding.
"""

from collections.abc import Sequence
from dataclasses import dataclass

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
    """One item before any pixel is touched. Small, as it goes from a worker to the process that trains.

    chosen: indices of its sources, among those of the sampler.
    points: branch -> view, x and y of the points that are drawn for it. (N,) each
    """

    chosen: Sequence[int]
    layers: Layers
    points: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]

    def make_table(self, sources: Sequence[Source], pastes: Tensor) -> Table:
        """The numbers that positives are found with, on the device of `pastes` (V, H, W)."""
        layers, device = self.layers, pastes.device
        regions = np.stack([sources[i].regions for i in self.chosen]).astype(np.int32)
        arrays = (
            layers.source,
            layers.view,
            layers.item_region,
            layers.view_from_source,
            layers.source_from_view,
            regions,
        )
        return Table(pastes, *(torch.from_numpy(a).to(device) for a in (*arrays, layers.first_region)))

    def execute(
        self, sources: Sequence[Source], device: torch.device | str | None = None
    ) -> tuple[Tensor, dict[str, Found]]:
        """Images (V, H, W, 3) uint8, and positives of each branch; by OpenCV, or on a device by torch."""
        own = [sources[i] for i in self.chosen]
        if device is None:
            images, pastes = (torch.from_numpy(a) for a in render.make_views(own, self.layers))
            pastes = pastes.to(torch.int32)
        else:
            images, pastes = batched.make_views(batched.make_atlas(own, device), self.layers)
        return images, self.find_positives(sources, pastes)

    def find_positives(self, sources: Sequence[Source], pastes: Tensor) -> dict[str, Found]:
        """Positives of each branch, where the pastes are that each pixel shows. (V, H, W)"""
        table, device, found = self.make_table(sources, pastes), pastes.device, {}
        for branch, points in self.points.items():
            at = [torch.from_numpy(a).to(device) for a in points]
            if branch == "pixel":
                placements = tabulate_placements(self.layers.item_region, len(pastes), self.layers.first_region)
                found[branch] = find_pixel_positives(table, torch.from_numpy(placements).to(device), *at)
            else:
                found[branch] = find_region_positives(table, *at)
        return found


@dataclass(frozen=True)
class DrawnBatch:
    """The items of a step, drawn by a worker, to be executed where the networks are."""

    items: Sequence[DrawnItem]
    step: int

    def execute(self, sources: Sequence[Source], device: torch.device | str | None = None) -> dict[str, Tensor | int]:
        """images (V, H, W, 3) uint8, and for each branch B_view, B_points, B_group, B_groups of `join_positives`.

        Args:
            sources: those of the sampler. device: None = by OpenCV.
        Raises:
            ValueError: no point of an item has a partner.
        """
        made = [item.execute(sources, device) for item in self.items]
        batch: dict[str, Tensor | int] = {"images": torch.cat([images for images, _ in made])}
        for branch in made[0][1]:
            parts = [found[branch] for _, found in made]
            if not all(len(view) for view, _, _ in parts):
                where = f"step {self.step}: no {branch} positives"
                raise ValueError(f"{where}; look at the regions of 02: are they empty?")
            joined = join_positives(parts, [len(images) for images, _ in made])
            batch |= {f"{branch}_{name}": value for name, value in joined.items()}
        return batch


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
    lazy: draw only; the batch is executed where it is needed (`DrawnBatch.execute`).
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
        """See `DrawnBatch.execute`."""
        share = self.params.items // self.ranks
        first = step * self.params.items + self.rank * share
        drawn = DrawnBatch([self._draw(item) for item in range(first, first + share)], step)
        return drawn if self.lazy else drawn.execute(self.sources)

    def _draw(self, item: int) -> DrawnItem:
        rng, chosen, points = numpy_generator(self.params.seed, ITEM, item), self.choose(item), {}
        sources = [self.sources[i] for i in chosen]
        layers = lay_out(sources, draw_plan(sources, self.recipe, rng))
        counts = {
            "pixel": (self.params.pixel_weight, self.params.pixel_points),
            "region": (1 - self.params.pixel_weight, self.params.region_points),
        }
        for branch, (weight, count) in counts.items():
            if weight > 0:
                points[branch] = draw_points(2 * len(sources), sources[0].regions.shape, count, rng)
        return DrawnItem(chosen, layers, points)
