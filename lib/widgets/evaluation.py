"""Notebook 05: click a pixel, see what else the network takes for the same (PixDepth, figure 5)."""

import anywidget
import cv2
import ipywidgets
import numpy as np
import traitlets
from matplotlib.figure import Figure
from torch import Tensor

from ..figures.evaluation import draw_similarity
from . import panel

ROWS = 256  # of the picture that is clicked on, at least: a row of a small frame is hard to hit


class PixelPicker(anywidget.AnyWidget):
    """A picture that says which of its pixels was clicked.

    png: the picture. size: (H, W) of the frame that it shows, at any scale. value: (row, column) in that frame.
    """

    png = traitlets.Bytes().tag(sync=True)
    size = traitlets.Tuple(traitlets.Int(), traitlets.Int(), default_value=(1, 1)).tag(sync=True)
    value = traitlets.Tuple(traitlets.Int(), traitlets.Int(), default_value=(0, 0)).tag(sync=True)
    _esm = """
    function render({ model, el }) {
      const frame = document.createElement("img");
      frame.style.cssText = "cursor: crosshair; image-rendering: pixelated; max-width: 100%";
      frame.alt = "click a pixel";
      const show = () => {
        URL.revokeObjectURL(frame.src);
        frame.src = URL.createObjectURL(new Blob([model.get("png")], { type: "image/png" }));
      };
      frame.addEventListener("click", (event) => {
        const [height, width] = model.get("size");
        const row = Math.floor((event.offsetY / frame.clientHeight) * height);
        const column = Math.floor((event.offsetX / frame.clientWidth) * width);
        const inside = (value, most) => Math.min(Math.max(value, 0), most - 1);
        model.set("value", [inside(row, height), inside(column, width)]);
        model.save_changes();
      });
      model.on("change:png", show);
      show();
      el.appendChild(frame);
    }
    export default { render };
    """

    def show(self, image: np.ndarray) -> None:
        """Show another frame. (H, W, 3) uint8"""
        self.size = image.shape[:2]
        scale = max(-(-ROWS // image.shape[0]), 1)
        large = image[..., ::-1].repeat(scale, axis=0).repeat(scale, axis=1)
        self.png = cv2.imencode(".png", np.ascontiguousarray(large))[1].tobytes()


def explore_similarity(images: np.ndarray, embeddings: Tensor) -> ipywidgets.VBox:
    """Click a pixel of one of the images; below, its similarity to every pixel of all of them.

    Args:
        images: RGB uint8. (N, H, W, 3)
        embeddings: of these images. (N, D, h, w)
    """
    height, width = images.shape[1:3]
    numbers = [(f"{i + 1} of {len(images)}", i) for i in range(len(images))]
    frame = ipywidgets.Dropdown(options=numbers, description="frame")
    pixel = PixelPicker(value=(int(height * 0.8), width // 2))
    pixel.show(images[0])
    frame.observe(lambda change: pixel.show(images[change["new"]]), names="value")

    def draw(frame: int, pixel: tuple[int, int]) -> Figure:
        order = [frame, *(i for i in range(len(images)) if i != frame)]
        return draw_similarity(images[order], embeddings[order], *pixel)

    return panel(draw, frame=frame, pixel=pixel)
