"""Pictures of notebook 06: what features hold, what labels make of them."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..data.labels import ClassSet
from ..evaluation import Estimate
from ..finetuning import Outcome, Trial, name_start
from . import blend, color_labels, image_grid, legend, new_figure
from .evaluation import COLORS, to_train_ids


def draw_lesson(images: np.ndarray, labels: np.ndarray, classes: ClassSet) -> Figure:
    """Frames under their labels. (N, H, W, 3) uint8 and class indices (N, H, W), 255 = ignore"""
    colors = [color_labels(ids, classes) for ids in to_train_ids(labels, classes)]
    figure = image_grid([images, [blend(image, color, 0.6) for image, color in zip(images, colors)]], width=7)
    legend(figure, classes)
    return figure


def draw_probes(estimates: Mapping[tuple[str, str], Estimate]) -> Figure:
    """mIoU of each probe, for each network, with 95 % intervals. (probe, network) -> estimate"""
    probes = list(dict.fromkeys(probe for probe, _ in estimates))
    networks = list(dict.fromkeys(network for _, network in estimates))
    figure = new_figure(width=7, height=0.42 * len(probes) + 1)
    axes, width = figure.subplots(), 0.8 / len(networks)
    for (probe, network), found in estimates.items():
        column = networks.index(network)
        place = probes.index(probe) + (column - (len(networks) - 1) / 2) * width
        label = network if probe == probes[0] else None
        axes.barh(place, found.value, width, color=("#0072b2", "#b5b5b5", "#d5d5d5")[column % 3], label=label)
        axes.plot((found.low, found.high), (place, place), color="k", lw=1.5)
        axes.text(np.nanmax((found.value, found.high)), place, f"  {found.value:.3f}", va="center", fontsize=8)
    axes.set_yticks(range(len(probes)), probes, fontsize=9)
    axes.set(title="mIoU, no weight of the network changed", xlim=(0, 1.25 * max(f.value for f in estimates.values())))
    axes.invert_yaxis()
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return figure


def draw_trainings(rows: Sequence[Mapping[str, Any]], outcomes: Mapping[Trial, Outcome]) -> Figure:
    """Left, loss by step of each training, smoothed; right, mIoU by number of labelled frames, with 95 % intervals.

    Args:
        rows: see `finetuning.summarise`.
    """
    starts = list(dict.fromkeys(row["start"] for row in rows))
    colors = {start: COLORS[i % len(COLORS)] for i, start in enumerate(starts)}
    figure = new_figure(width=8, height=3)
    left, right = figure.subplots(1, 2)
    fractions = sorted({trial.fraction for trial in outcomes})
    for trial, outcome in outcomes.items():
        losses, span = outcome.losses, max(len(outcome.losses) // 20, 1)
        smooth = np.convolve(losses, np.ones(span) / span, "valid")
        style = ("-", "--", ":", "-.")[fractions.index(trial.fraction) % 4]
        left.plot(np.arange(len(smooth)) + span, smooth, style, color=colors[name_start(trial.start)], lw=1)
    left.set(title="Loss (dashes: more labels)", xlabel="step", ylim=(0, None))
    _plot_shares(right, rows, colors)
    return figure


def draw_record(trainings: Sequence[Mapping[str, Any]], instances: Sequence[Mapping[str, Any]]) -> Figure:
    """Left, mIoU by number of labelled frames; right, AP and AP50 of each start; both with 95 % intervals.

    Args:
        trainings, instances: rows of `finetuning.summarise` and of `finetuning.summarise_instances`, which may be none.
    """
    starts = list(dict.fromkeys(row["start"] for row in [*trainings, *instances]))
    colors = {start: COLORS[i % len(COLORS)] for i, start in enumerate(starts)}
    figure = new_figure(width=8 if instances else 4.5, height=3)
    left, *others = np.atleast_1d(figure.subplots(1, 1 + bool(instances)))
    _plot_shares(left, trainings, colors)
    for axes in others:
        for i, (row, name) in enumerate(product(instances, ("ap", "ap50"))):
            place, found = (i % 2) * (len(instances) + 1) + i // 2, row[name]
            axes.bar(place, found.value, color=colors[row["start"]])
            axes.plot((place, place), (found.low, found.high), color="k", lw=1.5)
        middle = (len(instances) - 1) / 2
        axes.set_xticks((middle, middle + len(instances) + 1), ("AP", "AP50"))
        axes.set(title="Single things (Mask R-CNN)", ylim=(0, None))
    return figure


def _plot_shares(axes: Axes, rows: Sequence[Mapping[str, Any]], colors: Mapping[str, str]) -> None:
    for i, (start, color) in enumerate(colors.items()):
        own = [row for row in rows if row["start"] == start]
        frames = np.array([row["labelled"] for row in own]) * 1.03 ** (i - (len(colors) - 1) / 2)
        values = [row["miou"] for row in own]
        axes.plot(frames, [v.value for v in values], "o-", color=color, label=start)
        for x, value in zip(frames, values):
            axes.plot((x, x), (value.low, value.high), color=color, lw=1.5)
    ticks = sorted({row["labelled"] for row in rows})
    axes.set(title="mIoU, trained with labels", xlabel="labelled frames", xscale="log", ylim=(0, None))
    axes.set_xlim(ticks[0] / 1.5, ticks[-1] * 1.5)  # a single share stands in the middle
    axes.set_xticks(ticks, [str(tick) for tick in ticks], minor=False)
    axes.set_xticks([], minor=True)
    axes.legend(fontsize=8)


def draw_outcomes(
    images: np.ndarray, truth: np.ndarray, outcomes: Mapping[Trial, Outcome], classes: ClassSet
) -> Figure:
    """A few scored frames, what each start made of them with the fewest labels and the first seed, and the truth.

    Args:
        images, truth: of all scored frames. (N, H, W, 3), and class indices (N, H, W)
    """
    few = min(trial.fraction for trial in outcomes)
    first = {}
    for trial, outcome in outcomes.items():
        if trial.fraction == few:
            first.setdefault(name_start(trial.start), outcome)
    shown = len(next(iter(first.values())).shown)
    chosen = np.linspace(0, len(images) - 1, shown).astype(int)
    rows = {"frame": images[chosen]} | {start: _color(outcome.shown, classes) for start, outcome in first.items()}
    rows["truth"] = _color(truth[chosen], classes)
    figure = image_grid(list(rows.values()), width=7)
    for axes, name in zip(figure.axes[::shown], rows):
        axes.set_ylabel(name)
    legend(figure, classes)
    return figure


def _color(indices: np.ndarray, classes: ClassSet) -> list[np.ndarray]:
    return [color_labels(ids, classes) for ids in to_train_ids(indices, classes)]
