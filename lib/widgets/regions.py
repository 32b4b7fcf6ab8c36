"""Notebook 02: turn the constants of eq. 3 and watch edges break and regions form."""

from dataclasses import replace

import ipywidgets
import numpy as np
from matplotlib.figure import Figure

from ..figures.regions import draw_grouping
from ..params import RegionParams
from ..regions import Graph, group_graph, weigh_edges
from . import panel


def explore_weights(image: np.ndarray, graph: Graph, params: RegionParams) -> ipywidgets.VBox:
    """Sliders for w_ocln, w_sup, the weight of colour, b and the cut; superpixels and geometry stay as they are.

    Args:
        image: RGB. (H, W, 3) uint8
        graph: of this frame.
        params: where the sliders start.
    """

    def draw(**constants: float) -> Figure:
        changed = replace(params, **constants)
        return draw_grouping(image, graph, weigh_edges(graph, changed), group_graph(graph, changed))

    slider = ipywidgets.FloatSlider
    return panel(
        draw,
        occlusion_weight=slider(value=params.occlusion_weight, max=60, step=1, description="w_ocln"),
        support_weight=slider(value=params.support_weight, max=1500, step=10, description="w_sup"),
        color_weight=slider(value=params.color_weight, max=0.5, step=0.01, description="colour"),
        bias=slider(value=params.bias, min=-8, max=0, step=0.25, description="b"),
        cut=slider(value=params.cut, min=0.01, max=0.5, step=0.01, description="cut"),
    )
