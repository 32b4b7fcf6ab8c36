"""The whole chain in one picture: frame, depth, regions, composite, segmentation, truth."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from ..artifacts import Artifact, read_inverse_depth
from ..copy_paste import make_item
from ..data import Dataset, Frame, read_map
from ..methods.sources import read_sources
from ..parallel import numpy_generator
from . import color_depth, color_labels, color_regions, image_grid, legend


def draw_overview(
    dataset: Dataset, frames: Sequence[Frame], chain: dict[str, Artifact], predicted: Sequence[np.ndarray]
) -> Figure:
    """One row a frame. On real video, photographs and labels stay out: only what was computed from them is shown.

    Args:
        chain: the finished stages 01_depth, 02_regions and 03_augmentation.
        predicted: train ids of each frame. (H, W) uint8
    """
    depth, regions = chain["01_depth"], chain["02_regions"]
    recipe, generated = chain["03_augmentation"].params, dataset.name == "street"
    sources = read_sources(dataset, dataset.frames("train")[:: max(len(dataset.frames("train")) // recipe.images, 1)],
                           depth, regions)[: recipe.images]  # fmt: skip
    views = np.split(make_item(sources, recipe, numpy_generator(recipe.seed, 5)).images, 2)[1]  # the dense round
    views = views[np.argsort(-views.mean(axis=(1, 2, 3)))]  # the lightest can be read at this size
    rows = []
    for i, (frame, labels) in enumerate(zip(frames, predicted)):
        near = read_inverse_depth(depth.path(f"inverse_depth/{frame.id}.png"), depth.about["inverse_depth_largest"])
        maps = [color_depth(near), color_regions(read_map(regions.path(f"regions/{frame.id}.png")))]
        maps.append(color_labels(labels, dataset.classes))
        if generated:
            truth = color_labels(dataset.labels(frame), dataset.classes)
            maps = [dataset.image(frame), *maps[:2], views[i], maps[2], truth]
        rows.append(maps)
    titles = ["depth", "regions", "segmentation"]
    if generated:
        titles = ["frame", *titles[:2], "composite", titles[2], "truth"]
    figure = image_grid(rows, titles, width=13 if generated else 10)
    legend(figure, dataset.classes, columns=12)
    return figure
