"""Pictures of the notebooks; one module a stage. What several of them need is here.

Every function returns a matplotlib Figure or an RGB array and shows nothing by itself.
"""

import io
import platform
from collections.abc import Sequence

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ..data.labels import ClassSet
from ..parallel import numpy_generator, pick_device

DPI = 80
LARGEST_PNG = 50_000  # bytes; larger pictures hold photographs and are shown as JPEG
WIDTH = 10.0  # inches, of a full-width figure
DEPTH_MAP = "magma"  # bright = near; lightness alone carries it, so it survives greyscale and colour blindness


def versions(device: str = "auto") -> str:
    """One line for the top of a notebook: what this run used."""
    return (
        f"python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}, {pick_device(device)}"
    )


class Picture(Figure):
    """A figure that a notebook shows by itself, without pyplot's state or an inline backend."""

    def _render(self, kind: str, **options: object) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format=kind, dpi=self.dpi, **options)
        return buffer.getvalue()

    def _repr_mimebundle_(self, **_: object) -> dict[str, bytes]:
        """One picture of one kind: line drawings as PNG, photographs as JPEG."""
        data = self._render("png", metadata={"Software": None})
        if len(data) <= LARGEST_PNG:
            return {"image/png": data}
        return {"image/jpeg": self._render("jpeg", pil_kwargs={"quality": 75})}


def new_figure(width: float = WIDTH, height: float = 3.0) -> Figure:
    """An empty figure that belongs to no window and no global state; displayed when it ends a cell."""
    return Picture(figsize=(width, height), dpi=DPI, layout="constrained")


def color_depth(inverse_depth: np.ndarray, largest: float | None = None) -> np.ndarray:
    """Inverse depth as RGB: bright = near, dark = far, grey = no value. (H, W) -> (H, W, 3) uint8

    Args:
        largest: what is brightest; None = the 98th percentile of this map.
    """
    valid = np.isfinite(inverse_depth) & (inverse_depth > 0)
    if largest is None:
        largest = np.percentile(inverse_depth[valid], 98) if valid.any() else 1.0
    # the square root spreads the far half of the scene, where inverse depth is nearly 0
    shade = np.sqrt(np.clip(np.where(valid, inverse_depth, 0) / max(largest, 1e-12), 0, 1))
    rgb = (matplotlib.colormaps[DEPTH_MAP](shade)[..., :3] * 255).astype(np.uint8)
    rgb[~valid] = 128
    return rgb


def color_regions(regions: np.ndarray, seed: int = 0) -> np.ndarray:
    """Region or superpixel ids as RGB, one random bright colour an id; 0 = none is black. (H, W) -> (H, W, 3) uint8"""
    colors = numpy_generator(seed, 3).integers(60, 256, (int(regions.max()) + 1, 3)).astype(np.uint8)
    colors[0] = 0
    return colors[regions]


def color_labels(labels: np.ndarray, classes: ClassSet) -> np.ndarray:
    """Train ids in the data set's colours; ignore is black. (H, W) -> (H, W, 3) uint8"""
    return classes.color_table()[labels]


def blend(image: np.ndarray, colors: np.ndarray, share: float = 0.5) -> np.ndarray:
    """`colors` laid over `image`. Both (H, W, 3) uint8"""
    return (image * (1 - share) + colors * share).astype(np.uint8)


def show_image(axes: matplotlib.axes.Axes, image: np.ndarray, title: str = "", **options: object) -> None:
    """One image without ticks."""
    axes.imshow(image, interpolation="nearest", **options)
    axes.set_title(title, fontsize=10)
    axes.set_xticks([])
    axes.set_yticks([])


def image_row(images: Sequence[np.ndarray], titles: Sequence[str] = (), width: float = WIDTH) -> Figure:
    """Images of one size side by side."""
    return image_grid([images], titles, width)


def image_grid(rows: Sequence[Sequence[np.ndarray]], titles: Sequence[str] = (), width: float = WIDTH) -> Figure:
    """Rows of images of one size; `titles` stand over the first row (or over all images if there are as many)."""
    columns = len(rows[0])
    height, wide = rows[0][0].shape[:2]
    figure = new_figure(width, len(rows) * (width / columns * height / wide + 0.1) + 0.25)
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for r, row in enumerate(rows):
        for c, image in enumerate(row):
            index = r * columns + c
            show_image(grid[r, c], image, titles[index] if index < len(titles) else "")
    return figure


def legend(figure: Figure, classes: ClassSet, columns: int = 6) -> None:
    """The class colours below the figure."""
    patches = [Patch(color=np.array(color) / 255, label=name) for name, color in zip(classes.names, classes.colors)]
    figure.legend(handles=patches, loc="outside lower center", ncols=columns, fontsize=8, frameon=False)
