"""Pictures of notebook 04: codes, targets, curves of the training, and the replay."""

import time
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from IPython.display import display
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from torch import Tensor

from ..training import History
from . import color_regions, image_grid, new_figure
from .evaluation import MAP

CURVES = {  # column of the history -> title
    "loss": "Loss",
    "learning_rate": "Learning rate",
    "feature_spread": "Spread of embeddings (0: all alike)",
    "prototypes_used": "Prototypes nearest to some sample",
    "code_entropy": "Entropy of codes (0 hard, 1 uniform)",
    "effective_rank": "Effective rank of embeddings",
}

MOST = 64  # prototypes shown side by side
POINTS = 2000  # of a curve: more cannot be seen, and take seconds to draw


def _mark(axes, values: Tensor, title: str, largest: float) -> None:
    norm = PowerNorm(0.4, vmin=0, vmax=largest)  # small shares would all be black on a linear scale
    axes.figure.colorbar(axes.imshow(values, cmap=MAP, aspect="auto", interpolation="nearest", norm=norm), ax=axes)
    axes.set(xlabel="prototype, most used first", ylabel="sample")
    axes.set_title(title, fontsize=10)


def draw_balance(assignments: Tensor, codes: Tensor) -> Figure:
    """A few rows of soft assignments and codes, and what each prototype gets of all. Both (N, K)"""
    figure = new_figure(height=3)
    left, middle, right = figure.subplots(1, 3)
    rows = torch.linspace(0, len(codes) - 1, 30).long()
    order = assignments.sum(0).argsort(descending=True)[:MOST]
    largest = float(codes[rows].max())
    _mark(left, assignments[rows][:, order], "Soft assignments p (eq. 4)", largest)
    _mark(middle, codes[rows][:, order], "Codes q after Sinkhorn-Knopp", largest)
    for values, name, color in ((assignments, "p", "#999999"), (codes, "q", "#0072b2")):
        right.plot(values.sum(0).sort(descending=True).values / len(codes), label=name, color=color)
    right.axhline(1 / codes.shape[1], color="k", lw=0.8, ls=":", label="equal shares")
    right.set(xlabel="prototype, largest first", ylim=(0, None))
    right.set_title("Share of all samples", fontsize=10)
    right.legend(frameon=False)
    return figure


def draw_targets(codes: Tensor, targets: Tensor, groups: Tensor, most: int = 5) -> Figure:
    """Codes and targets of the samples of the largest groups, group by group. (N, K) twice, (N,)"""
    chosen = torch.bincount(groups).topk(min(most, int(groups.max()) + 1)).indices
    rows = torch.cat([torch.nonzero(groups == group)[:8, 0] for group in chosen])
    figure = new_figure(height=3)
    order = codes[rows].sum(0).argsort(descending=True)[:MOST]
    largest = float(codes[rows].max())
    for axes, values, title in zip(
        figure.subplots(1, 2), (codes, targets), ("Codes q", "Targets: group means (eq. 5)")
    ):
        _mark(axes, values[rows][:, order], title, largest)
        for edge in np.flatnonzero(np.diff(groups[rows])) + 0.5:
            axes.axhline(edge, color="w", lw=1)
    return figure


def draw_history(history: History) -> Figure:
    """Loss and health of a training, step by step: thin as logged, thick as the mean of 20 steps."""
    figure = new_figure(height=4)
    for axes, (name, title) in zip(figure.subplots(2, 3, sharex=True).flat, CURVES.items()):
        columns = [c for c in ("loss_pixel", "loss_region") if c in history.columns] if name == "loss" else [name]
        for column, color in zip(columns, ("#0072b2", "#d55e00")):
            values = np.array(history.columns[column])
            width, thin = min(20, len(values)), max(len(values) // POINTS, 1)
            axes.plot(np.arange(len(values))[::thin], values[::thin], color=color, lw=0.4, alpha=0.5)
            smooth, steps = np.convolve(values, np.full(width, 1 / width), "valid"), np.arange(width - 1, len(values))
            axes.plot(steps[::thin], smooth[::thin], color=color, lw=1.6, label=column.replace("_", ", "))
        axes.set_title(title, fontsize=10)
        if len(columns) > 1:
            axes.legend(frameon=False, fontsize=8)
    for axes in figure.axes[3:]:
        axes.set_xlabel("step")
    return figure


class LiveCurves:
    """Curves that grow while a training runs, and its latest picture: the `on_step` of `training.train`.

    One output, drawn anew after so many seconds, and rarely enough to take no more than a fiftieth of the time. `close`
    empties it: whoever draws the finished curves does so below.

    Args:
        steps, images_per_step: of the training, for the time that is left and the images a second.
        views: the frames that `training.pictures` takes; their features and clusters are shown. (V, H, W, 3)
    """

    def __init__(
        self, steps: int = 0, images_per_step: int = 0, views: np.ndarray | None = None, every: float = 5.0
    ) -> None:
        self.steps, self.images, self.views, self.every = steps, images_per_step, views, every
        self.handles: list = []
        self.begun, self.next = None, 0.0

    def __call__(self, done: int, history: History) -> None:
        started = time.monotonic()
        self.begun = self.begun or (done, started)
        if started < self.next or not len(history):
            return
        shown = [self.describe(done, history, started), draw_history(history)]
        if self.views is not None and history.pictures:
            latest = max(history.pictures)
            shown.append(draw_moments(self.views[0], history.pictures, [latest]))
        while len(self.handles) < len(shown):
            self.handles.append(display({"text/plain": ""}, raw=True, display_id=True))
        for handle, content in zip(self.handles, shown):
            handle.update({"text/plain": content}, raw=True) if isinstance(content, str) else handle.update(content)
        self.next = time.monotonic() + max(self.every, 50 * (time.monotonic() - started))

    def describe(self, done: int, history: History, now: float) -> str:
        """How far it is, how fast, for how long still, and what it holds."""
        first, begun = self.begun
        rate = (done - first) / (now - begun) if now > begun else 0.0
        parts = [f"step {done} of {self.steps}", f"learning rate {history.columns['learning_rate'][-1]:.2g}"]
        if rate:
            parts.append(f"{rate * self.images:.3g} images/s, {(self.steps - done) / rate / 60:.1f} minutes left")
        parts += [f"{held / 1e9:.1f} GB of {what}" for what, held in history.memory.items()]
        return "; ".join([*parts, *list(history.warnings.values())[-1:]])

    def close(self) -> None:
        for handle in self.handles:
            handle.update({"text/plain": ""}, raw=True)


def _enlarge(cells: np.ndarray) -> np.ndarray:
    return cells.repeat(4, axis=0).repeat(4, axis=1)


def draw_moments(image: np.ndarray, pictures: Mapping[int, dict], steps: Sequence[int], view: int = 0) -> Figure:
    """One frame at several moments: its main components above, its nearest prototypes below."""
    colors = [_enlarge(pictures[step]["colors"][view]) for step in steps]
    maps = [_enlarge(color_regions(pictures[step]["prototypes"][view] + 1)) for step in steps]
    titles = ["frame"] + [f"after {step} steps" for step in steps]
    return image_grid([[image, *colors], [image, *maps]], titles)
