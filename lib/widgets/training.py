"""Notebook 04: the training once more, moment by moment."""

from collections.abc import Mapping

import ipywidgets
import numpy as np
from matplotlib.figure import Figure

from ..figures.training import draw_moments
from . import panel


def replay_training(images: np.ndarray, pictures: Mapping[int, dict[str, np.ndarray]]) -> ipywidgets.VBox:
    """A slider over the steps at which pictures were taken, and one over the frames.

    Args:
        images: RGB uint8. (V, H, W, 3)
        pictures: `History.pictures` of `training.pictures.take_picture`.
    """
    steps = sorted(pictures)

    def draw(moment: int, frame: int) -> Figure:
        return draw_moments(images[frame], pictures, [steps[moment]], view=frame)

    moment = ipywidgets.IntSlider(value=len(steps) - 1, max=len(steps) - 1, description="moment")
    frame = ipywidgets.IntSlider(max=len(images) - 1, description="frame")
    return panel(draw, moment=moment, frame=frame)
