"""Pictures of notebook 02: the four steps of the paper's Figure 4, the scores, and where grouping fails."""

from collections.abc import Sequence

import cv2
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from skimage.segmentation import find_boundaries

from ..data.labels import ClassSet
from ..parallel import numpy_generator
from ..regions import Graph, find_impure
from ..superpixels import average
from . import WIDTH, blend, color_depth, color_regions, image_grid, image_row, new_figure, show_image

WEAK, STRONG = "#e31a1c", "#9ecae1"  # told apart by lightness as well
DRAWN = 384  # pixels; pictures are enlarged to about this width, so that outlines are thin
NARROW = 8.0  # inches, of figures that hold photographs: they compress badly
DENSE = 3000  # superpixels from which a whole frame of outlines or edges is a plain surface
LIKELY = 0.5  # W from which an edge is drawn as weak: more likely a boundary than not
SCORES = ("purity", "asa", "boundary_recall", "under_segmentation")


def outline(image: np.ndarray, ids: np.ndarray, color: Sequence[int] = (255, 230, 0)) -> np.ndarray:
    """The image enlarged, with the borders between ids one pixel wide. (H, W, 3), (H, W) -> (zH, zW, 3) uint8"""
    zoom = max(1, round(DRAWN / ids.shape[1]))
    big, big_ids = (array.repeat(zoom, axis=0).repeat(zoom, axis=1) for array in (image, ids))
    big[find_boundaries(big_ids, mode="inner")] = color
    return big


def _find_centers(graph: Graph) -> np.ndarray:
    """Column and row of the middle of each superpixel. (S, 2)"""
    rows, columns = np.indices(graph.superpixels.shape)
    return average(np.stack([columns, rows], axis=-1), graph.superpixels)


def draw_superpixels(image: np.ndarray, inverse_depth: np.ndarray, superpixels: np.ndarray) -> Figure:
    """Step (a): image and depth under the outlines of the superpixels; of very many, the middle part alone."""
    if superpixels.max() > DENSE:
        rows, columns = (slice(size // 3, size - size // 3) for size in superpixels.shape)
        image, inverse_depth, superpixels = (a[rows, columns] for a in (image, inverse_depth, superpixels))
    pictures = [outline(image, superpixels), outline(color_depth(inverse_depth), superpixels, (255, 255, 255))]
    return image_row(pictures, ["(a) superpixels follow colour ...", "... and average depth (bright = near)"], 6.5)


def draw_nodes(graph: Graph) -> Figure:
    """What each superpixel knows: distance, height above the camera, how far its surface faces up."""
    figure = new_figure(WIDTH, 2.5)
    height, up = graph.positions[:, 1], graph.normals[:, 1]
    values = {"z (logarithm)": np.log(graph.positions[:, 2]), "height, camera = 0": height, "upward normal": up}
    for axes, (title, value), name in zip(figure.subplots(1, 3), values.items(), ("cividis_r", "PuOr", "PuOr")):
        reach = np.percentile(np.abs(value), 90)
        limits = {"vmin": -reach, "vmax": reach} if name == "PuOr" else {}
        show_image(axes, value[graph.superpixels], title, cmap=name, **limits)
        figure.colorbar(axes.images[0], ax=axes, location="bottom", shrink=0.7, aspect=30)
    return figure


def _draw_edges(axes, image: np.ndarray, graph: Graph, weights: np.ndarray) -> None:
    ends = _find_centers(graph)[graph.edges]  # (E, 2, 2)
    show_image(axes, blend(image, np.zeros_like(image), 0.5), "(c) weak edges, W >= 0.5, in red")
    weak = weights >= LIKELY
    for chosen, color in ((~weak & (len(graph.positions) <= DENSE), STRONG), (weak, WEAK)):
        gaps = np.full((chosen.sum(), 1, 2), np.nan)  # one broken line is drawn much faster than many lines
        axes.plot(*np.concatenate([ends[chosen], gaps], axis=1).reshape(-1, 2).T, color=color, lw=0.9)


def draw_grouping(image: np.ndarray, graph: Graph, weights: np.ndarray, regions: np.ndarray) -> Figure:
    """Steps (c) and (d): the weighted graph, and the communities that become regions."""
    figure = new_figure(NARROW, 0.25 + NARROW / 2 * image.shape[0] / image.shape[1])
    left, right = figure.subplots(1, 2)
    _draw_edges(left, image, graph, weights)
    picture = outline(blend(image, color_regions(regions), 0.65), regions, (255, 255, 255))
    show_image(right, picture, f"(d) {regions.max()} coherent depth regions")
    return figure


def draw_weights(weights: np.ndarray, cut: float, across: np.ndarray | None = None) -> Figure:
    """How often which weight occurs; `across`: does the edge join two classes? (E,)"""
    figure = new_figure(WIDTH, 2.4)
    axes = figure.subplots()
    groups = [weights] if across is None else [weights[~across], weights[across]]
    names = ["all edges"] if across is None else ["both ends of one class", "ends of two classes"]
    axes.hist(groups, bins=40, range=(0, 1), label=names, color=["#31688e", "#fdae61"][: len(groups)], log=True)
    axes.axvline(cut, color=WEAK, lw=1, label="cut")
    axes.set(xlabel="W, how likely an edge crosses a boundary", ylabel="edges", title="Most edges hold firmly")
    axes.legend(fontsize=8)
    return figure


def draw_scores(scores: dict[str, float]) -> Figure:
    """Ours beside the baselines, mean over frames."""
    figure = new_figure(WIDTH, 2.6)
    axes, place = figure.subplots(), np.arange(len(SCORES))
    bars = (
        ("", "this run", "#31688e"),
        ("slic_", "plain SLIC", "#fdae61"),
        ("grid_", "grid", "#cccccc"),
    )
    for shift, (prefix, name, color) in enumerate(bars):
        axes.bar(place + (shift - 1) * 0.27, [scores[prefix + s] for s in SCORES], 0.25, color=color, label=name)
    axes.set_xticks(place, [s.replace("_", " ") + (" (low is good)" if s == SCORES[-1] else "") for s in SCORES])
    axes.set_title("At the same number of regions a frame")
    axes.legend(fontsize=8)
    return figure


def draw_failures(images: Sequence[np.ndarray], regions: Sequence[np.ndarray], labels: Sequence[np.ndarray]) -> Figure:
    """Regions of some frames; pixels whose class is not the commonest of their region in red."""
    rows = []
    for image, ids, truth in zip(images, regions, labels):
        wrong, _ = find_impure(ids, truth)
        rows.append(outline(np.where(wrong[..., None], np.array([227, 26, 28], np.uint8), image // 2 + 80), ids))
    return image_grid([rows[i : i + 3] for i in range(0, len(rows), 3)], ["Red: not its region's class"], NARROW)


def draw_mixtures(counts: np.ndarray, thin: int, classes: ClassSet, most: int = 6) -> Figure:
    """Which classes lie in regions of which others, the commonest pairs, as shares of all pixels that do.

    Args:
        counts, thin: summed over frames, as `count_mixtures` gives them. (256, 256)
        classes: of the labels; others are shown by their number.
        most: pairs that are shown.
    """
    pairs = [pair for pair in np.argsort(-counts, axis=None)[:most].tolist() if counts.flat[pair]][::-1]
    names = dict(zip(classes.ids, classes.names))
    mixtures = [(names.get(i, f"class {i}"), names.get(j, f"class {j}")) for i, j in (divmod(p, 256) for p in pairs)]
    total = max(int(counts.sum()), 1)
    figure = new_figure(WIDTH, 0.9 + 0.28 * max(len(pairs), 1))
    axes = figure.subplots()
    axes.barh(
        [f"{own} in a region of {other}" for own, other in mixtures],
        [100 * counts.flat[pair] / total for pair in pairs],
        color="#31688e",
    )
    axes.set_xlabel("% of the pixels that are not of their region's class")
    axes.set_title(f"{100 * thin / total:.0f} % of them lie in things thinner than a superpixel")
    return figure


def enlarge(array: np.ndarray, zoom: int) -> np.ndarray:
    """Each pixel as zoom x zoom pixels. (H, W, ...) -> (zH, zW, ...)"""
    return array.repeat(zoom, axis=0).repeat(zoom, axis=1)


def color_steadily(regions: np.ndarray, superpixels: np.ndarray, seed: int = 0) -> np.ndarray:
    """Regions as RGB; each takes the colour of the superpixel in which its first pixel lies.

    So a region that stays keeps its colour when others split or merge and all ids move on.

    Args:
        regions: ids 1..R. (H, W)
        superpixels: ids 0..S-1. (H, W)
    Returns:
        (H, W, 3) uint8
    """
    colors = numpy_generator(seed, 3).integers(60, 256, (int(superpixels.max()) + 1, 3)).astype(np.uint8)
    ids, first = np.unique(regions, return_index=True)
    table = np.zeros((int(ids[-1]) + 1, 3), np.uint8)
    table[ids] = colors[superpixels.ravel()[first]]
    return table[regions]


def find_ends(graph: Graph) -> np.ndarray:
    """The middles of the two superpixels of each edge, column and row. (E, 2, 2)"""
    return _find_centers(graph)[graph.edges]


def paint_edges(image: np.ndarray, ends: np.ndarray, weights: np.ndarray, zoom: int = 1) -> np.ndarray:
    """Step (c) as an array: the image darkened, and a red line between the middles of weakly joined neighbours.

    Args:
        ends: of each edge, as `find_ends` gives them. (E, 2, 2)
        weights: W of each edge; weak from `LIKELY` on. (E,)
    Returns:
        (zH, zW, 3) uint8
    """
    picture = enlarge(image // 2, zoom)
    lines = np.rint(((ends[weights >= LIKELY] + 0.5) * zoom - 0.5) * 16).astype(np.int32)  # 4 bits of a fraction
    cv2.polylines(picture, lines, False, [int(255 * part) for part in to_rgb(WEAK)], 1, cv2.LINE_AA, shift=4)
    return picture


def paint_regions(colors: np.ndarray, regions: np.ndarray, zoom: int = 1) -> np.ndarray:
    """Step (d) as an array: white between the regions of a coloured frame. (H, W, 3), (H, W) -> (zH, zW, 3) uint8"""
    picture, ids = enlarge(colors, zoom), enlarge(regions, zoom)
    picture[find_boundaries(ids, mode="inner")] = 255
    return picture
