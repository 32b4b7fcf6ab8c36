"""One interactive panel a notebook, each beside its static picture; without a live kernel nothing is lost.

A panel is an ipywidgets box around a plain `draw(...)` function, so that tests can turn the knobs without a browser.
"""

import io
from collections.abc import Callable

import ipywidgets
from matplotlib.figure import Figure


def panel(draw: Callable[..., Figure], **controls: ipywidgets.Widget) -> ipywidgets.VBox:
    """Controls above the picture that `draw(**values)` returns; redrawn when a control is let go."""
    picture = ipywidgets.Image(format="png")

    def redraw(_: object = None) -> None:
        buffer = io.BytesIO()
        draw(**{name: control.value for name, control in controls.items()}).savefig(buffer, format="png")
        picture.value = buffer.getvalue()

    for control in controls.values():
        if hasattr(control, "continuous_update"):
            control.continuous_update = False
        control.observe(redraw, names="value")
    redraw()
    return ipywidgets.VBox([*controls.values(), picture])
