"""How long the grouping of 02 takes, beside the released procedure, and what short cuts cost.

Seconds are those of the processor, of all threads: what else a machine does makes them longer, but less so than those
on the wall. Whatever is compared is called in turn, so that a slow moment hits all alike; medians are kept.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import combinations
from typing import Any

import cv2
import numpy as np
import torch
from sklearn.metrics import adjusted_rand_score

from ..data.street import make_clip
from ..parallel import numpy_generator, parallel_map
from ..params import RegionParams
from ..regions import (
    Observation,
    ViewGrouper,
    cut_slic,
    group_nodes,
    group_regions,
    grouping,
    invert_depth,
    lift_to_scene,
    literal,
    purity,
    weigh_edges,
)
from ..superpixels import find_edges, segment_superpixels

STEPS = ("superpixels", "points", "neighbours", "means", "weights", "communities", "painting")
"""Of the grouping, from an image and its depth to a map of regions."""


class _Clock:
    """Seconds of the processor between calls of `lap`, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.process_time()

    def lap(self, name: str) -> None:
        now = time.process_time()
        self.seconds[name], self._last = now - self._last, now


@contextmanager
def use_one_core() -> Iterator[None]:
    """OpenCV and torch on a single thread."""
    before = cv2.getNumThreads(), torch.get_num_threads()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before[0])
        torch.set_num_threads(before[1])


def time_ours(view: Observation, params: RegionParams) -> tuple[np.ndarray, dict[str, float]]:
    """The regions of `lib.regions.group_regions`, and the seconds of each of `STEPS`. (H, W) uint16"""
    clock = _Clock()
    ids = segment_superpixels(
        view.image, params.superpixels, params.compactness, params.smoothing, params.slic_iterations
    )
    clock.lap("superpixels")
    own = view.intrinsics if params.camera == "own" else grouping.released_intrinsics(*ids.shape)
    points = lift_to_scene(view.inverse_depth, own, params.min_inverse_depth, params.units)
    clock.lap("points")
    edges = find_edges(ids)
    clock.lap("neighbours")
    positions, normals = grouping.measure_superpixels(points, ids)
    contrast = grouping.measure_contrast(view.image, ids, edges)
    clock.lap("means")
    support = grouping.measure_support(positions, normals, edges, params.support_height)
    occlusion = grouping.measure_occlusion(positions, edges)
    weights = weigh_edges(grouping.Graph(ids, positions, normals, edges, occlusion, support, contrast), params)
    clock.lap("weights")
    options = grouping.search_options(params)
    regions = group_nodes(edges, weights, len(positions), params.cut, params.trials, params.seed, options) + 1
    clock.lap("communities")
    painted = regions.astype(np.uint16)[ids]
    clock.lap("painting")
    return painted, clock.seconds


def time_released(view: Observation, params: RegionParams) -> tuple[np.ndarray, dict[str, float]]:
    """The regions of `lib.regions.literal`, and the seconds of each of `STEPS`. (H, W) uint16"""
    clock = _Clock()
    ids = literal.segment_superpixels(view.image, params)
    clock.lap("superpixels")
    points = literal.lift_to_scene(view.inverse_depth, params)
    clock.lap("points")
    graph = literal.connect(ids)
    clock.lap("neighbours")
    means = literal.measure_superpixels(view.image, points, ids)
    clock.lap("means")
    literal.weigh_edges(graph, means, params)
    clock.lap("weights")
    regions = literal.group_nodes(graph, params)
    clock.lap("communities")
    painted = literal.paint(ids, regions)
    clock.lap("painting")
    return painted, clock.seconds


def profile_grouping(
    views: Sequence[Observation],
    ways: Mapping[str, Callable[[Observation], tuple[Any, dict[str, float]]]],
    repeats: int,
) -> dict[str, dict[str, float]]:
    """Name of a way to group -> step -> milliseconds a frame: median over repeats, mean over views.

    Args:
        ways: each gives its regions and its seconds, as `time_ours` does.
    """
    taken = {name: {step: np.zeros((repeats, len(views))) for step in STEPS} for name in ways}
    with use_one_core():
        for way in ways.values():
            way(views[0])  # what is loaded or compiled on the first call
        for repeat in range(repeats):
            for v, view in enumerate(views):
                for name, way in ways.items():
                    for step, seconds in way(view)[1].items():
                        taken[name][step][repeat, v] = seconds
    return {
        name: {step: 1000 * float(np.median(seconds, axis=0).mean()) for step, seconds in steps.items()}
        for name, steps in taken.items()
    }


def describe_steps(profiles: Mapping[str, Mapping[str, float]]) -> str:
    """The table of `profile_grouping` in Markdown, each way beside the first."""
    first = sum(next(iter(profiles.values())).values())
    lines = [f"| milliseconds a frame | {' | '.join(STEPS)} | all | times as fast |", "|---" * (len(STEPS) + 3) + "|"]
    for name, steps in profiles.items():
        whole, cells = sum(steps.values()), " | ".join(f"{steps[step]:.1f}" for step in STEPS)
        lines.append(f"| {name} | {cells} | {whole:.0f} | {first / whole:.1f} |")
    return "\n".join(lines)


def measure_choices(
    views: Sequence[Observation], choices: Mapping[str, RegionParams], repeats: int, seeds: int = 3
) -> dict[str, Any]:
    """What a choice of parameters costs and brings, mean over views and seeds.

    Args:
        choices: name -> parameters. Those of the first are what codelengths are compared with.
        repeats: of what is timed.
        seeds: of Infomap, from that of the parameters on; 2 at least.
    Returns:
        Name -> milliseconds of a whole frame; regions; purity, and by how much it exceeds that of SLIC with as many
        regions; codelength of the first level over that of the first choice on the same graph, minus 1 (`None` if its
        superpixels are others); agreement of two seeds, as adjusted Rand index over pixels, 1 = the same partition,
        mean over pairs, and the standard error of that over views; `purity_range`: the least and the largest mean over
        views that a seed has.
    """
    first, found = next(iter(choices.values())), {}
    shortest = [_codelength(view, first) for view in views]
    ways = {name: (lambda view, own=own: time_ours(view, own)) for name, own in choices.items()}
    times = profile_grouping(views, ways, repeats)
    for name, own in choices.items():
        rows = []
        same = replace(own, search=first.search, trials=first.trials) == first
        for view, codelength in zip(views, shortest):
            maps = [group_view(view, replace(own, seed=own.seed + more)) for more in range(seeds)]
            purities = [purity(ids, view.labels) for ids in maps]
            row = {"regions": np.mean([ids.max() for ids in maps]), "purity": np.mean(purities), "purities": purities}
            slic = cut_slic(view.image, round(row["regions"]), own.compactness, own.smoothing)
            row["purity_minus_slic"] = row["purity"] - purity(slic, view.labels)
            pairs = [adjusted_rand_score(a.ravel(), b.ravel()) for a, b in combinations(maps, 2)]
            row["agreement_of_seeds"] = np.mean(pairs)
            row["codelength"] = _codelength(view, own) / codelength - 1 if same else np.nan
            rows.append(row)
        found[name] = {key: float(np.mean([row[key] for row in rows])) for key in rows[0] if key != "purities"}
        of_seeds = np.mean([row["purities"] for row in rows], axis=0)
        found[name]["purity_range"] = [float(of_seeds.min()), float(of_seeds.max())]
        agreements = [row["agreement_of_seeds"] for row in rows]
        found[name]["agreement_error"] = float(np.std(agreements, ddof=1) / len(rows) ** 0.5) if len(rows) > 1 else None
        found[name]["milliseconds"] = sum(times[name].values())
        found[name]["codelength"] = found[name]["codelength"] if same else None
    return found


def _codelength(view: Observation, params: RegionParams) -> float:
    graph = grouping.build_graph(view.image, view.inverse_depth, view.intrinsics, params)
    options, count = grouping.search_options(params), len(graph.positions)
    weights = weigh_edges(graph, params)
    return grouping.measure_codelength(graph.edges, weights, count, options, params.trials, params.seed)


def compare_partitions(one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> float:
    """Adjusted Rand index over pixels, mean over frames: 1 = the same regions, 0 = as much alike as by chance."""
    return float(np.mean([adjusted_rand_score(a.ravel(), b.ravel()) for a, b in zip(one, other, strict=True)]))


def group_view(view: Observation, params: RegionParams) -> np.ndarray:
    """As `lib.regions.group_regions`. (H, W) uint16"""
    return group_regions(view.image, view.inverse_depth, view.intrinsics, params)


def measure_scaling(
    views: Sequence[Observation], params: RegionParams, processes: int = 2, repeats: int = 3
) -> dict[str, float]:
    """Many frames in one process and in several, in turn, after all of them were used once.

    Returns:
        `one_process` and `several_processes`: milliseconds a frame on the wall, medians; `efficiency`: 1 = as many
        times as fast; `peak_memory`: bytes that the largest worker held.
    Raises:
        RuntimeError: the maps differ.
    """
    work, wall, maps, memory = ViewGrouper(params), {1: [], processes: []}, {}, 0
    for repeat in range(repeats + 1):
        for count in wall:
            started = time.perf_counter()
            with use_one_core():  # here; a worker does so itself
                results = list(parallel_map(work, views, count))
            if repeat:  # the first is not counted
                wall[count].append((time.perf_counter() - started) / len(views))
            maps[count] = [ids for ids, _ in results]
            memory = max(peak for _, peak in results)  # that of the workers comes last
    if not all(np.array_equal(a, b) for a, b in zip(maps[1], maps[processes])):
        raise RuntimeError("one process and several give different regions: this must not be")
    one, several = (1000 * float(np.median(seconds)) for seconds in wall.values())
    return {
        "one_process": one,
        "several_processes": several,
        "efficiency": one / several / processes,
        "peak_memory": memory,
    }


def time_panel(panel: Any, knobs: Sequence[str], moves: int = 40) -> float:
    """Seconds within which nineteen of twenty answers of a panel of sliders come, on the wall.

    Args:
        panel: a box of ipywidgets, whose sliders answer when their value is set; its text then says "answered in".
        knobs: descriptions of the sliders that are moved, in turn, to places drawn at random.
    Raises:
        ValueError: a knob is not there.
        RuntimeError: a move is not answered: a panel shows its errors, and they come fast.
    """
    sliders = {child.description: child for child in panel.children if hasattr(child, "min")}
    if missing := set(knobs) - set(sliders):
        raise ValueError(f"the panel has no slider {sorted(missing)[0]!r}: it has {', '.join(sliders)}")
    random, taken = numpy_generator(0, moves), []
    for move in range(moves):
        slider = sliders[knobs[move % len(knobs)]]
        place = float(random.uniform(slider.min, slider.max))
        started = time.perf_counter()
        slider.value = place
        taken.append(time.perf_counter() - started)
        texts = [str(child.value) for child in panel.children if hasattr(child, "value")]
        if not any("answered in" in text for text in texts):
            raise RuntimeError(f"{slider.description} = {place:.3g} was not answered: {' '.join(texts[-3:])[:300]}")
    return float(np.quantile(taken, 0.95))


def read_streets(height: int, width: int, count: int) -> list[Observation]:
    """Frames of generated streets with their true depth, each of another validation clip."""
    clips = [make_clip("val", number, 1, height, width) for number in range(count)]
    return [Observation(clip.images[0], invert_depth(clip.depth[0]), clip.intrinsics, clip.labels[0]) for clip in clips]


def describe_choices(found: Mapping[str, Mapping[str, Any]]) -> str:
    """The table of `measure_choices` in Markdown."""
    lines = [
        "| choice | ms a frame | codelength | two seeds agree | regions | purity | minus SLIC's |",
        "|---" * 7 + "|",
    ]
    for name, row in found.items():
        longer = "" if row["codelength"] is None else f"{100 * row['codelength']:+.2f} %"
        error = "" if row["agreement_error"] is None else f" ± {row['agreement_error']:.2f}"
        purities = f"{row['purity']:.3f} ({row['purity_range'][0]:.3f} to {row['purity_range'][1]:.3f})"
        lines.append(
            f"| {name} | {row['milliseconds']:.0f} | {longer} | {row['agreement_of_seeds']:.2f}{error} "
            f"| {row['regions']:.0f} | {purities} | {row['purity_minus_slic']:+.3f} |"
        )
    return "\n".join(lines)
