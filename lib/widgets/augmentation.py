"""The panel of notebook 03: build a composite."""

from collections.abc import Sequence
from dataclasses import replace

import ipywidgets
from matplotlib.figure import Figure

from ..copy_paste import Source, compose, draw_plan
from ..figures import color_regions, image_grid
from ..parallel import numpy_generator
from ..params import AugmentationParams
from . import panel


def draw_composite(
    sources: Sequence[Source],
    recipe: AugmentationParams,
    seed: int = 0,
    copies: int = 2,
    scale: tuple[float, float] = (0.2, 2.0),
    paste: bool = True,
) -> Figure:
    """Three backgrounds with pastes drawn anew, before the views are taken, above which paste each pixel shows.

    Args:
        seed: of the draws.
        copies: pastes of each region.
        scale: smallest and largest of a paste.
        paste: False leaves the same views bare.
    """
    low, high = scale
    recipe = replace(recipe, copies=(copies * paste,) * 2, min_scale=low, max_scale=max(high, low + 0.01))
    item = compose(sources, draw_plan(sources, recipe, numpy_generator(seed)).without_views())
    shown = range(min(3, len(sources)))
    return image_grid([[item.images[k] for k in shown], [color_regions(item.pastes[k]) for k in shown]])


def build_composite(sources: Sequence[Source], recipe: AugmentationParams) -> ipywidgets.VBox:
    """Sliders for `draw_composite`."""
    return panel(
        lambda **values: draw_composite(sources, recipe, **values),
        seed=ipywidgets.IntSlider(0, 0, 20, description="seed"),
        copies=ipywidgets.IntSlider(2, 0, 6, description="copies"),
        scale=ipywidgets.FloatRangeSlider(value=(0.2, 2.0), min=0.1, max=3.0, step=0.1, description="scale"),
        paste=ipywidgets.Checkbox(True, description="paste"),
    )
