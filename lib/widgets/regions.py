"""Notebook 02: turn the constants of eq. 3 and watch edges break and regions form, in the image and in space."""

import shlex
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache, lru_cache
from html import escape
from pathlib import Path
from typing import Any

import cv2
import ipywidgets
import numpy as np
import yaml

from .. import ROOT
from ..artifacts import write_aside
from ..data.labels import IGNORE
from ..figures.region_cloud import Viewpoint, find_visible, lift_pixels, paint_cloud
from ..figures.regions import LIKELY, color_steadily, find_ends, paint_edges, paint_regions
from ..params import RegionParams, as_dict
from ..regions import Graph, build_graph, group_graph, purity, weigh_edges

FILE = "02_regions.yaml"  # `python -m lib.run` finds the parameters of a notebook by this name
SHOWN = 768  # pixels; pictures of smaller frames are enlarged to about this width
SHARE = 0.65  # of the colour of a region over the image
QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 90, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
CONSTANTS = {  # field -> name on the slider, least, largest, step
    "occlusion_weight": ("w_ocln", 0.0, 60.0, 0.5),
    "support_weight": ("w_sup", 0.0, 1500.0, 2.5),
    "bias": ("b", -8.0, 0.0, 0.25),
    "cut": ("cut", 0.0, 0.5, 0.005),
    "color_weight": ("colour", 0.0, 0.5, 0.01),
}
WHOLE_ROW = {"width": "99%"}  # layout of what stands alone in its row


def explore_weights(
    image: np.ndarray,
    graph: Graph,
    params: RegionParams,
    inverse_depth: np.ndarray | None = None,
    intrinsics: np.ndarray | None = None,
    labels: np.ndarray | None = None,
) -> ipywidgets.Box:
    """Sliders for w_ocln, w_sup, b, the cut, the weight of colour and the number of superpixels; a cloud to turn.

    Above, weak edges in red and the regions; below, the pixels in space (x right, height up, z forward). A button
    writes the values as a file of parameters and says how to run it.

    Args:
        image: RGB. (H, W, 3) uint8
        graph: of this frame, made with `params`.
        params: where the sliders start. A preset is replaced by its constants, so that they can be turned.
        inverse_depth, intrinsics: what the graph was made of; without them the superpixels stay and there is no cloud.
        labels: train ids, 255 = ignore; for the purity. (H, W)
    Raises:
        ValueError: sizes differ, or one of inverse depth and intrinsics is missing.
    """
    return RegionExplorer(image, graph, params, inverse_depth, intrinsics, labels).panel


class RegionExplorer:
    """The panel of one frame; arguments as in `explore_weights`. What a knob leaves as it is, is not computed again.

    Superpixels and geometry depend on the number of superpixels, and are kept for every number; regions depend on the
    constants too; which point is seen depends on the viewpoint alone; colours come last.
    """

    def __init__(
        self,
        image: np.ndarray,
        graph: Graph,
        params: RegionParams,
        inverse_depth: np.ndarray | None = None,
        intrinsics: np.ndarray | None = None,
        labels: np.ndarray | None = None,
    ) -> None:
        _check_sizes(image, superpixels=graph.superpixels, labels=labels, inverse_depth=inverse_depth)
        if (inverse_depth is None) != (intrinsics is None):
            raise ValueError("a cloud needs both inverse_depth and intrinsics: give both, or neither")
        self._image, self._graph, self._start = image, graph, replace(params, preset="none")
        self._inverse_depth, self._intrinsics = inverse_depth, intrinsics
        self._labels = labels if labels is not None and (labels != IGNORE).any() else None
        self._zoom = max(1, round(SHOWN / image.shape[1]))
        self._build, self._group, self._look = cache(self._build), lru_cache(4)(self._group), lru_cache(4)(self._look)
        self._colors, self._summary = image, ""
        self._make_widgets()
        self._answer(self._draw_regions)

    @property
    def params(self) -> RegionParams:
        """The parameters that the sliders stand for."""
        return replace(self._start, **{name: _round(knob.value) for name, knob in self._knobs.items()})

    def _make_widgets(self) -> None:
        self._knobs = self._make_knobs()
        for knob in self._knobs.values():
            knob.observe(lambda _: self._answer(self._draw_regions), names="value")
        self._status = ipywidgets.HTML(layout=WHOLE_ROW)
        self._picture = ipywidgets.Image(format="jpeg", layout=WHOLE_ROW)
        below = self._make_view() if self._inverse_depth is not None else []
        file = ParameterWriter(lambda: self.params, self._start.run).widgets
        rows = [*self._knobs.values(), *file, self._status, self._picture, *below]
        self.panel = ipywidgets.Box(rows, layout={"flex_flow": "row wrap"})

    def _make_knobs(self) -> dict[str, ipywidgets.Widget]:
        """A slider for each constant, its ends moved out to where it starts, and one for the number of superpixels."""
        knobs = {}
        for name, (label, least, most, step) in CONSTANTS.items():
            value = getattr(self._start, name)
            knobs[name] = ipywidgets.FloatSlider(
                value=value, min=min(least, value), max=max(most, 2 * value), step=step, description=label,
                readout_format=".4", continuous_update=False,
            )  # fmt: skip
        if self._inverse_depth is not None:
            counts = count_choices(self._start.superpixels, self._image.shape[0] * self._image.shape[1])
            knobs["superpixels"] = ipywidgets.SelectionSlider(
                options=counts, value=self._start.superpixels, description="superpixels", continuous_update=False
            )
        return knobs

    def _make_view(self) -> list[ipywidgets.Widget]:
        """The knobs of the cloud, and the cloud."""
        self._points = lift_pixels(self._inverse_depth, self._intrinsics, self._start.min_inverse_depth)
        self._view = {
            "azimuth": ipywidgets.FloatSlider(value=20, min=-180, max=180, step=5, description="azimuth"),
            "elevation": ipywidgets.FloatSlider(value=20, min=-30, max=90, step=5, description="elevation"),
            "distance": ipywidgets.FloatSlider(value=1.5, min=0.25, max=5, step=0.25, description="distance"),
            "orthographic": ipywidgets.Dropdown(
                options={"perspective": False, "orthographic": True}, value=False, description="projection"
            ),
        }
        self._colored_by = ipywidgets.Dropdown(options=["regions", "image"], description="coloured by")
        for knob in (*self._view.values(), self._colored_by):
            knob.observe(lambda _: self._answer(self._draw_cloud), names="value")
        width = f"{self._zoom * self._image.shape[1]}px"
        self._cloud = ipywidgets.Image(format="jpeg", layout=WHOLE_ROW | {"max_width": width})
        note = ipywidgets.HTML("The pixels in space; x right, height up, z forward.", layout=WHOLE_ROW)
        return [note, *self._view.values(), self._colored_by, self._cloud]

    def _build(self, count: int) -> tuple[Graph, np.ndarray]:
        """The graph, and where its edges are drawn."""
        graph = self._graph
        if count != self._start.superpixels:
            changed = replace(self._start, superpixels=count)
            graph = build_graph(self._image, self._inverse_depth, self._intrinsics, changed)
        return graph, find_ends(graph)

    def _group(self, params: RegionParams) -> np.ndarray:
        return group_graph(self._build(params.superpixels)[0], params)

    def _look(self, view: Viewpoint) -> np.ndarray:
        return find_visible(self._points, self._intrinsics, view, self._zoom)

    def _draw_regions(self) -> None:
        """All that depends on the constants and on the superpixels."""
        self._summary = "The pictures are still those of earlier values"  # in case that this fails
        params = self.params
        (graph, ends), regions = self._build(params.superpixels), self._group(params)
        colors = cv2.addWeighted(color_steadily(regions, graph.superpixels), SHARE, self._image, 1 - SHARE, 0)
        edges = paint_edges(self._image, ends, weigh_edges(graph, params), self._zoom)
        areas = paint_regions(colors, regions, self._zoom)
        gap = np.full((len(edges), 8, 3), 255, np.uint8)
        summary = (
            f"Left: edges of W &ge; {LIKELY:g} in red. Right: <b>{regions.max()} regions</b> of "
            f"{len(graph.positions)} superpixels"
        )
        if self._labels is not None:
            summary += f", <b>purity {purity(regions, self._labels):.3f}</b>"
        self._colors = colors
        self._draw_cloud()
        self._picture.value, self._summary = _encode(np.concatenate([edges, gap, areas], axis=1)), summary

    def _draw_cloud(self) -> None:
        """All that depends on the viewpoint, or on colours alone."""
        if self._inverse_depth is not None:
            view = Viewpoint(**{name: knob.value for name, knob in self._view.items()})
            colors = self._colors if self._colored_by.value == "regions" else self._image
            self._cloud.value = _encode(paint_cloud(self._look(view), colors, view))

    def _answer(self, draw: Callable[[], None]) -> None:
        """Draw and say how long it took; an error is shown in the panel: in a callback a kernel only logs it."""
        started = time.perf_counter()
        try:
            draw()
        except Exception as error:
            self._status.value = f"{_describe(error)} {self._summary}."
        else:
            self._status.value = f"{self._summary}; answered in {time.perf_counter() - started:.2f} s"


class ParameterWriter:
    """A text field for a path, a button, and what came of it: writes parameters as 02_regions.yaml.

    Args:
        current: gives the parameters at a click.
        run: the run that is explored; the path that is suggested is named after it.
    """

    def __init__(self, current: Callable[[], RegionParams], run: str) -> None:
        self._current = current
        self._place = ipywidgets.Text(f"params/{Path(run).name}-explored/{FILE}", description="file")
        self._button = ipywidgets.Button(description="write parameters")
        self._message = ipywidgets.HTML(layout=WHOLE_ROW)
        self._button.on_click(self._save)
        self.widgets = [self._place, self._button, self._message]
        self._written: dict[Path, str] = {}
        self._asked: tuple[Path, str] | None = None

    def _save(self, _: object) -> None:
        try:
            self._message.value = self._write(find_file(self._place.value))
        except Exception as error:
            self._message.value = _describe(error)

    def _write(self, path: Path) -> str:
        """Write, unless something else is there: that is replaced only at a second click. What to tell the user."""
        name, text = escape(_show_path(path)), write_text(self._current(), path.parent.name)
        there = path.read_text() if path.exists() else None
        if there not in (None, self._written.get(path)) and self._asked != (path, there):
            self._asked = path, there
            return (
                f"{name} exists and was not written by this panel: click again to replace it, or name another folder."
            )
        with write_aside(path) as aside:
            aside.write_text(text)
        self._written[path], self._asked = text, None
        command = escape(f"python -m lib.run {shlex.quote(_show_path(path.parent))} --only 02")
        done = "Wrote" if there is None else "Replaced"
        return f"{done} {name}. To run it, type in the folder of the project: <code>{command}</code>"


def count_choices(start: int, pixels: int) -> list[int]:
    """Numbers of superpixels to choose from: `start`, and an eighth to four times as many, in steps of about 1.4.

    Args:
        pixels: of the image; at least four of them are left to a superpixel.
    """
    ladder = {int(float(f"{start * 2 ** (k / 2):.2g}")) for k in range(-6, 5) if k}
    return sorted({start} | {count for count in ladder if 2 <= count <= pixels // 4})


def find_file(text: str) -> Path:
    """The file of parameters that a text names: itself, or the one inside a folder; relative to the project.

    Raises:
        ValueError: no text, or a file of another name.
    """
    if not text.strip():
        raise ValueError(f"no file is named: write for example params/mine/{FILE}")
    path = (ROOT / Path(text.strip()).expanduser()).resolve()
    if path.suffix not in (".yaml", ".yml"):
        return path / FILE
    if path.name != FILE:
        raise ValueError(f"{path.name} is not found by python -m lib.run: call the file {FILE}, in a folder of its own")
    return path


def write_text(params: RegionParams, run: str) -> str:
    """Flat YAML of what differs from the defaults, for a run of its own: it takes 01 from the run of `params`.

    Args:
        run: name of the folder of parameters, which `python -m lib.run` makes the name of the run.
    """
    upstream = params.upstream or (params.run if params.run != run else "")
    values, defaults = as_dict(replace(params, run=run, upstream=upstream)), as_dict(RegionParams())
    changed = {name: value for name, value in values.items() if name == "run" or value != defaults[name]}
    title = f"# 02_regions of the run {run}, chosen in notebook 02: see lib/params for what each name means\n"
    return title + yaml.safe_dump(changed, sort_keys=False)


def _check_sizes(image: np.ndarray, **maps: np.ndarray | None) -> None:
    for name, array in maps.items():
        if array is not None and array.shape != image.shape[:2]:
            raise ValueError(f"image {image.shape[:2]} and {name} {array.shape} differ in size")


def _round(value: Any) -> Any:
    """A slider's float without the digits that its steps leave behind, such as 0.30000000000000004."""
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _show_path(path: Path) -> str:
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


def _describe(error: Exception) -> str:
    kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
    return f"<span style='color:#b00020'>{escape(kind + str(error))}.</span>"


def _encode(picture: np.ndarray) -> bytes:
    """JPEG without chroma subsampling: thin red lines stay red."""
    return cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), QUALITY)[1].tobytes()
