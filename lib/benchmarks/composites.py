"""What a training item takes: the released loader's way, paste by paste, and all pastes at once."""

import time
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from ..copy_paste import Source, batched, draw_plan, lay_out, literal, prepare_source, render
from ..methods.composites import DrawnBatch, DrawnItem, join_positives
from ..parallel import numpy_generator
from ..params import AugmentationParams, RegionParams
from ..regions import Observation
from ..views import draw_points
from .grouping import group_view, use_one_core
from .steps import now

WAYS = ("released loader", "paste by paste", "all at once", "positives")


def make_sources(views: Sequence[Observation], params: RegionParams) -> list[Source]:
    """Frames ready to be pasted, with their regions from their true depth."""
    return [prepare_source(view.image, group_view(view, params), view.inverse_depth) for view in views]


def time_composites(
    sources: Sequence[Source],
    recipe: AugmentationParams,
    points: Mapping[str, int],
    repeats: int,
    slow: bool = True,
    device: torch.device | str = "cpu",
) -> dict[str, float]:
    """Milliseconds of one core for one item of 2M images; medians, everything in turn.

    Args:
        points: an image, of each branch: pixel and region.
        slow: the released loader's way as well.
        device: another one than the CPU adds a row.
    Returns:
        `released loader`, without its correspondences; `paste by paste` (OpenCV) and `all at once` (torch) with the
        draws; `positives`, which come to either; on another device `there, with positives`, on the wall,
        without the draws; `pastes`, how many the item has.
    """
    device = torch.device(device)
    taken: dict[str, list[float]] = {name: [] for name in WAYS}
    with use_one_core():
        for repeat in range(repeats + 1):
            rng = numpy_generator(0, 3, repeat)
            started = time.process_time()
            plan = draw_plan(sources, recipe, rng)
            layers = lay_out(sources, plan)
            drawn = time.process_time()
            render.make_views(sources, layers)
            rendered = time.process_time()
            _, pastes = batched.make_views(batched.make_atlas(sources), layers)
            at_once = time.process_time()
            size = sources[0].regions.shape
            drawn_points = {name: draw_points(2 * len(sources), size, count, rng) for name, count in points.items()}
            item, before = DrawnItem(layers, drawn_points), time.process_time()
            regions = torch.from_numpy(np.stack([source.regions for source in sources]).astype(np.int32))
            for part in item.find_positives(regions, pastes).values():
                join_positives([part], [len(pastes)])
            found = time.process_time()
            if slow:
                literal.compose(sources, plan, recipe, rng)
            done = time.process_time()
            seconds = done - found, rendered - started, at_once - rendered + drawn - started, found - before
            if repeat:  # the first loads what is loaded once
                for name, value in zip(taken, seconds):
                    taken[name].append(value)
    if device.type != "cpu":
        taken["there, with positives"] = [_time_there(sources, item, device) for _ in range(repeats + 1)][1:]
    result = {name: 1000 * float(np.median(values)) for name, values in taken.items() if slow or "released" not in name}
    return result | {"pastes": float(len(plan.scale))}


def _time_there(sources: Sequence[Source], item: DrawnItem, device: torch.device) -> float:
    batch = DrawnBatch([item], [batched.make_atlas(sources)], 0)
    batch = batch.pin_memory() if device.type == "cuda" else batch
    started = now(device)
    batch.to(device)
    return now(device) - started


def describe_composites(found: Mapping[str, float], images: int) -> str:
    """The table of `time_composites` in Markdown."""
    lines = ["| one core | milliseconds an item | images a second | times as fast |", "|---" * 4 + "|"]
    first = found.get("released loader")
    for name, value in found.items():
        if name != "pastes":
            times = f"{first / value:.1f}" if first and name != "positives" else ""
            lines.append(f"| {name} | {value:.0f} | {1000 * images / value:.0f} | {times} |")
    return "\n".join(lines)
