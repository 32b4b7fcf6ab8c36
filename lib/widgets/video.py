"""Notebook 11: play the videos that were written, and turn the knobs of the overlay on one frame."""

from collections.abc import Sequence
from pathlib import Path

import ipywidgets
import numpy as np
from matplotlib.figure import Figure

from ..data.labels import ClassSet
from ..figures import image_row
from ..figures.video import overlay_labels
from . import panel

LARGEST = 4 << 20  # bytes: a player keeps the whole file inside the notebook


def watch(paths: Sequence[Path]) -> ipywidgets.HBox | str:
    """Players of mp4 files side by side, for a live kernel; of large files, where they lie."""
    if sum(path.stat().st_size for path in paths) > LARGEST:
        return "open them in a browser or VLC: " + ", ".join(path.name for path in paths)
    return ipywidgets.HBox([ipywidgets.Video.from_file(str(path), autoplay=False, width=480) for path in paths])


def explore_overlay(images: np.ndarray, labels: np.ndarray, classes: ClassSet) -> ipywidgets.VBox:
    """Choose a frame, how strongly its labels cover it, and whether one class stands alone.

    Args:
        images: RGB uint8. (N, H, W, 3)
        labels: train ids. (N, H, W) uint8
    """
    table = classes.color_table()

    def draw(frame: int, opacity: float, only: str) -> Figure:
        shown = labels[frame]
        if only != "all":
            shown = np.where(shown == classes.ids[classes.names.index(only)], shown, 255).astype(np.uint8)
        return image_row([images[frame], overlay_labels(images[frame], shown, table, opacity)])

    frame = ipywidgets.IntSlider(value=0, max=len(images) - 1, description="frame")
    opacity = ipywidgets.FloatSlider(value=0.5, max=1.0, step=0.1, description="opacity")
    only = ipywidgets.Dropdown(options=["all", *classes.names], description="class")
    return panel(draw, frame=frame, opacity=opacity, only=only)
