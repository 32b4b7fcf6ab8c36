"""Notebook 05: pick a pixel, see what else the network takes for the same."""

import ipywidgets
import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from ..figures.evaluation import draw_similarity
from . import panel


def explore_similarity(images: np.ndarray, embeddings: Tensor) -> ipywidgets.VBox:
    """Two sliders choose a pixel of the first image; below, its similarity to every pixel of all images.

    Args:
        images: RGB uint8. (N, H, W, 3)
        embeddings: of these images. (N, D, h, w)
    """
    height, width = images.shape[1:3]

    def draw(across: int, down: int) -> Figure:
        return draw_similarity(images, embeddings, row=down, column=across)

    across = ipywidgets.IntSlider(value=width // 2, max=width - 1, description="across")
    down = ipywidgets.IntSlider(value=int(height * 0.8), max=height - 1, description="down")
    return panel(draw, across=across, down=down)
