"""Pictures of notebook 05: merging, matching, scores, predictions, features."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from sklearn.manifold import TSNE
from torch import Tensor
from torch.nn import functional as F

from ..data.labels import IGNORE, ClassSet
from ..evaluation import RegionPoints
from ..parallel import numpy_generator
from . import color_labels, image_grid, legend, new_figure

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
MAP = "cividis"  # even in lightness, and the same to colour-blind eyes


def _heat(axes, values: np.ndarray, title: str, down: str, across: str, names: Sequence[str] = (), **limits) -> None:
    axes.figure.colorbar(axes.imshow(values, cmap=MAP, aspect="auto", interpolation="nearest", **limits), ax=axes)
    axes.set_title(title, fontsize=10)
    axes.set(ylabel=down, xlabel=across)
    if names:
        axes.set_yticks(range(len(names)), names, fontsize=8)


def draw_merging(vectors: Tensor, clusters: np.ndarray, pairs: np.ndarray, classes: ClassSet) -> Figure:
    """How alike prototypes of two clusters are on average, and which classes each prototype holds.

    Args:
        vectors: (K, D); clusters: (K,); pairs: counts of classes and prototypes. (C, K)
    """
    order = np.argsort(clusters, kind="stable")
    unit = F.normalize(vectors.cpu()).numpy()
    figure = new_figure(width=7.5, height=2.6)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.5))
    inside = np.eye(clusters.max() + 1)[clusters]  # (K, clusters)
    number = inside.sum(axis=0)
    sums, among = inside.T @ unit @ unit.T @ inside, np.outer(number, number)
    with np.errstate(invalid="ignore"):  # each prototype is like itself: that says nothing; NaN for one alone
        similarity = (sums - np.diag(number)) / (among - np.diag(number))
    _heat(left, similarity, "Mean cosine of two clusters' prototypes", "cluster", "cluster")
    share = pairs / np.maximum(pairs.sum(axis=0), 1)
    _heat(
        right,
        share[:, order],
        "Share of each class in a prototype's pixels",
        "",
        "prototype",
        classes.names,
        vmin=0,
        vmax=1,
    )
    for edge in np.flatnonzero(np.diff(clusters[order])) + 0.5:
        right.axvline(edge, color="w", lw=0.5)
    return figure


def draw_matching(overlap: np.ndarray, names: np.ndarray, classes: ClassSet) -> Figure:
    """IoU of every class with every cluster; the chosen pairs are framed. overlap (C, K), class of each cluster (K,)"""
    figure = new_figure(width=6, height=3.2)
    axes = figure.subplots()
    _heat(
        axes,
        overlap,
        "One cluster a class: framed pairs have the largest sum of IoU",
        "",
        "cluster",
        classes.names,
        vmin=0,
        vmax=1,
    )
    for cluster, name in enumerate(names):
        if name >= 0:
            axes.add_patch(Rectangle((cluster - 0.5, name - 0.5), 1, 1, fill=False, ec="#ff5050", lw=2))
    return figure


def draw_scores(scores: dict[str, tuple[float, float]], interval: tuple[float, float], ours: int) -> Figure:
    """Bars of mIoU and accuracy by method; the whisker on the first is its 95 % interval over clips.

    Args:
        ours: so many at the beginning are ours and named one to one; the next has every prototype named.
    """
    figure = new_figure(height=0.45 * len(scores) + 1)
    for axes, column, title in zip(figure.subplots(1, 2, sharey=True), (0, 1), ("mIoU", "accuracy")):
        values = [pair[column] for pair in scores.values()]
        axes.barh(list(scores), values, color=["#0072b2"] * ours + ["#8ec4e0"] + ["#999999"] * (len(scores) - ours - 1))
        for row, value in enumerate(values):
            axes.text(value, row, f"  {value:.3f}", va="center", ha="left", fontsize=9)
        if column == 0:
            axes.plot(interval, (0.28, 0.28), color="k", lw=2)
        axes.set(title=title, xlim=(0, min(1, max(values) * 1.25)))
    axes.invert_yaxis()
    return figure


def draw_protocols(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """mIoU of one prediction by protocol: a panel a set of classes, a line a clustering, a colour a crop and view.

    Full dots are named by IoU or greedily, rings by count. Seeds of one clustering share a line, which is as long as
    the protocol can move it.

    Args:
        rows: see `evaluation.score_protocols`.
    """
    names = list(dict.fromkeys(_name_line(row) for row in rows))
    sets = list(dict.fromkeys(row["classes"] for row in rows))
    looks = list(dict.fromkeys((row["crop"], row["view"]) for row in rows))
    figure = new_figure(width=4 + 3 * len(sets), height=0.3 * len(names) + 1.3)
    panels = figure.subplots(1, len(sets), sharey=True, squeeze=False)[0]
    for axes, classes in zip(panels, sets):
        for height, name in enumerate(names):
            found = [row for row in rows if row["classes"] == classes and _name_line(row) == name]
            values = [row["miou"] for row in found] or [np.nan]  # few classes allow fewer clusters, greedily
            axes.plot((min(values), max(values)), (height, height), color="#e2e2e2", lw=9, zorder=1)
            for row in found:
                index = looks.index((row["crop"], row["view"]))
                place, color = height + 0.16 * (index - (len(looks) - 1) / 2), COLORS[index % len(COLORS)]
                ring = row["matching"] == "count"
                style = {"mfc": "none" if ring else color, "mec": color, "ms": 5 if ring else 3, "mew": 0.8}
                axes.plot(row["miou"], place, "o", **style)
        axes.set(title=classes, xlabel="mIoU", xlim=(0, None))
        axes.tick_params(labelsize=8)
    handles = [Line2D([], [], marker="o", ls="", color=COLORS[i % 4], label=", ".join(k)) for i, k in enumerate(looks)]
    handles.append(Line2D([], [], marker="o", ls="", mfc="none", mec="#777777", label="ring: named by count"))
    figure.legend(handles=handles, fontsize=8, loc="outside lower center", ncols=3, frameon=False)
    panels[0].set_yticks(range(len(names)), names, fontsize=8)
    panels[0].invert_yaxis()
    return figure


def _name_line(row: Mapping[str, Any]) -> str:
    """Of seeds together; greedy ones have their number of clusters."""
    name = row["clustering"].partition(", seed")[0]
    return f"{name}: {row['clusters']}, greedy" if row["matching"] == "greedy" else name


def draw_cuts(lines: Mapping[str, Sequence[tuple[int, float, float]]]) -> Figure:
    """mIoU over the number of clusters, for each way to make them: dashed one to one, solid greedy.

    Args:
        lines: name -> rows of `evaluation.score_cuts`.
    """
    figure = new_figure(width=6, height=2.6)
    axes = figure.subplots()
    for (name, rows), color in zip(lines.items(), COLORS):
        cuts, one_to_one, greedy = zip(*rows)
        axes.plot(cuts, greedy, "o-", color=color, ms=3, label=f"{name}, greedy")
        axes.plot(cuts, one_to_one, "o--", color=color, ms=3, label=f"{name}, one to one")
    axes.set(title="What is left to name", xlabel="clusters", ylabel="mIoU", xscale="log", ylim=(0, None))
    ticks = sorted({cut for rows in lines.values() for cut, _, _ in rows})
    axes.set_xticks(ticks, [str(cut) for cut in ticks], minor=False)
    axes.set_xticks([], minor=True)
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return figure


def draw_classes(
    iou: dict[str, np.ndarray], intervals: Sequence[tuple[float, float]], confusion: np.ndarray, classes: ClassSet
) -> Figure:
    """IoU of each class by method, the first with its interval, and where the pixels of each class went."""
    figure = new_figure(height=4.2)
    left, right = figure.subplots(1, 2, width_ratios=(1.2, 1))
    rows, width = np.arange(len(classes)), 0.8 / len(iou)
    for i, ((name, values), color) in enumerate(zip(iou.items(), ("#0072b2", "#999999", "#d5d5d5"))):
        left.barh(rows + (i - (len(iou) - 1) / 2) * width, np.nan_to_num(values), width, label=name, color=color)
    for row, interval in enumerate(intervals):
        left.plot(interval, [row - (len(iou) - 1) / 2 * width] * 2, color="k", lw=1.5)
    left.set_yticks(rows, classes.names, fontsize=8)
    left.set(title="IoU of each class", xlim=(0, 1))
    left.invert_yaxis()
    left.legend(fontsize=8, loc="lower right")
    share = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    _heat(right, share, "Where each class's pixels go", "", "predicted", classes.names, vmin=0, vmax=1)
    right.set_xticks(range(len(classes) + 1), [*classes.names, "unnamed"], fontsize=8, rotation=90)
    return figure


def draw_predictions(
    images: np.ndarray, predicted: np.ndarray, truth: np.ndarray, classes: ClassSet, scores: Sequence[float] = ()
) -> Figure:
    """Frames, predictions and truth one below the other; black = no class. Labels as train ids. (N, H, W)"""
    rows = {"frame": images, "prediction": [color_labels(m, classes) for m in predicted]}
    titles = [f"{score:.2f}" for score in scores]
    figure = image_grid([*rows.values(), [color_labels(m, classes) for m in truth]], titles, width=7)
    for axes, name in zip(figure.axes[:: len(images)], (*rows, "truth")):
        axes.set_ylabel(name, rotation=0, ha="right", va="center")
    legend(figure, classes)
    return figure


def to_train_ids(indices: np.ndarray, classes: ClassSet) -> np.ndarray:
    """Class indices, -1 = unnamed, 255 = ignore -> train ids, 255 = neither. uint8"""
    table = np.full(257, IGNORE, np.uint8)
    table[: len(classes)] = classes.ids
    return table[np.where(indices < 0, IGNORE, indices)]


def draw_regions(points: RegionPoints, classes: ClassSet, seed: int, most: int = 250) -> Figure:
    """Regions in the plane, by their two main components and by t-SNE; colour the class, size the region's.

    Args:
        most: regions drawn at random from all of them; t-SNE takes seconds for so many.
    """
    chosen = numpy_generator(seed).permutation(len(points.vectors))[:most]
    vectors, sizes = points.vectors[chosen], 4 + 60 * np.sqrt(points.cells[chosen] / points.cells.max())
    colors = np.array(classes.colors)[points.classes[chosen]] / 255
    centred = vectors - vectors.mean(axis=0)
    planes = {"Two main components": centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T}
    if len(chosen) > 10:
        near = min(30, (len(chosen) - 1) / 3)
        planes["t-SNE: neighbours stay neighbours"] = TSNE(
            perplexity=near, metric="cosine", init="pca", random_state=seed
        ).fit_transform(vectors.astype(np.float64))
    figure = new_figure(width=6.5, height=3)
    for axes, (title, plane) in zip(figure.subplots(1, len(planes), squeeze=False)[0], planes.items()):
        axes.scatter(*plane.T, s=sizes, c=colors, alpha=0.7, lw=0)
        axes.set_title(title, fontsize=10)
        axes.set(xticks=[], yticks=[])
    legend(figure, classes)
    return figure


def draw_similarity(images: np.ndarray, embeddings: Tensor, row: int, column: int) -> Figure:
    """Cosine similarity of one pixel of the first image with all pixels of all images. Images (N, H, W, 3) uint8"""
    height, width = images.shape[1:3]
    unit = F.normalize(F.interpolate(embeddings.float(), size=(height, width), mode="bilinear", align_corners=False))
    similarity = torch.einsum("bdhw,d->bhw", unit, unit[0, :, row, column]).numpy()
    figure = image_grid([images, similarity], width=7)
    grid = np.array(figure.axes).reshape(2, len(images))
    for axes in grid[1]:
        axes.images[0].set(cmap=MAP, clim=(-0.2, 1))
    grid[0, 0].plot(column, row, "o", mfc="none", mec="w", ms=9, mew=2)
    grid[0, 0].set_title("the pixel in the circle", fontsize=10)
    grid[1, 0].set_title("bright = similar to it", fontsize=10)
    figure.colorbar(grid[1, 0].images[0], ax=list(grid[1]), label="cosine", shrink=0.9)
    return figure
