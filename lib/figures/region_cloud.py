"""The pixels of a frame as points in space, seen from anywhere: a z-buffered picture, made of arrays.

Axes of the scene: x right, height up, z forward, the camera at the origin; one unit for all three, so that turning
the view bends nothing. Every point is a square as large as its pixel looks from the viewpoint, and the nearest shows.
Arrays, because a scatter plot of as many points as a frame has pixels does not follow a slider.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from matplotlib.figure import Figure

from ..regions import Graph, lift_to_scene, measure_superpixels
from . import blend, image_grid
from .regions import NARROW

NEAR = 0.02  # of the pivot's z: what is nearer to the viewer, or behind, is left out
SIDES = (0.5, 1, 1.5, 2, 3, 4, 6)  # of a square, in enlarged pixels of the frame; each is one pass over the picture
BACKGROUND, PLATE = (20, 22, 28), (235, 235, 235)  # regions are bright; the arrows lie on a plate
LINE, ARROW = (255, 255, 255), 0.5  # between two neighbours; length of a normal, in half heights of a close-up
PATCHES = ((255, 158, 27), (0, 213, 255))  # the two neighbours of an edge
CLOSE_UP = (384, 192)  # pixels of a picture of two neighbours, width and height
FINEST, NARROWEST, MARGIN = 1024, 4, 2.0  # pixels a view is drawn at, least of its part, and its surroundings
AXES = (("x", (200, 30, 30)), ("height", (20, 130, 40)), ("z", (30, 60, 200)))  # of the scene, and their colours


@dataclass(frozen=True)
class Viewpoint:
    """Where the viewer stands and how the points reach the picture.

    The viewer walks on a sphere around the pivot and looks at it. The pivot lies on the camera's axis, at the median
    z of the scene, so that with both angles 0 and distance 1 the viewer stands where the camera stood.

    azimuth: degrees around the height axis; positive: seen from the right.
    elevation: degrees above the horizontal plane of the camera; positive: seen from above.
    distance: from the pivot, in distances of the camera from it.
    orthographic: parallel rays; False = perspective, with the intrinsics of the camera.
    """

    azimuth: float = 0.0
    elevation: float = 0.0
    distance: float = 1.0
    orthographic: bool = False

    def axes(self) -> np.ndarray:
        """Right, up and forward of the viewer as rows, in (x, height, z). (3, 3)"""
        a, e = np.radians([self.azimuth, self.elevation])
        right = (np.cos(a), 0, np.sin(a))
        up = (-np.sin(a) * np.sin(e), np.cos(e), np.cos(a) * np.sin(e))
        forward = (-np.sin(a) * np.cos(e), -np.sin(e), np.cos(a) * np.cos(e))
        return np.array([right, up, forward])


def lift_pixels(inverse_depth: np.ndarray, intrinsics: np.ndarray, min_share: float) -> np.ndarray:
    """The point that each pixel sees, in the true shape of the scene.

    The distances are those that the grouping sees; its stretch of the three axes is left out.

    Args:
        inverse_depth, intrinsics, min_share: as in `lift_to_scene`, with its errors.
    Returns:
        x right, height up, z forward, in one unit; nan where there is no value. (H, W, 3) float32
    """
    points = lift_to_scene(inverse_depth, intrinsics, min_share, units="scene")
    points[inverse_depth == 0] = np.nan
    return points


def project_points(
    points: np.ndarray, intrinsics: np.ndarray, view: Viewpoint, pivot: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where the points come to lie in the picture, in pixels of the frame.

    Perspective: u = f_x X / Z + c_x and v = c_y - f_y Y / Z, with X, Y, Z right, up and forward of the viewer. Parallel
    rays: Z is replaced by its value at the pivot, where both pictures have one scale.

    Args:
        points: x right, height up, z forward. (N, 3)
        intrinsics: in pixels of the frame. (3, 3)
        pivot: its z; 0 = the median of these points.
    Returns:
        Column and row, Z, and how many pixels apart neighbours of the frame come to lie, where their surface faces the
        viewer as it faced the camera. (N, 2), (N,), (N,)
    """
    pivot = pivot or float(np.nanmedian(points[:, 2]))
    distance = view.distance * pivot
    seen = (points - np.float32([0, 0, pivot])) @ view.axes().astype(np.float32).T
    depth = seen[:, 2] + np.float32(distance)
    divisor = np.full_like(depth, distance) if view.orthographic else depth
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = 1 / divisor
        focal, center = np.diag(intrinsics)[:2] * [1, -1], intrinsics[:2, 2]
        places = seen[:, :2] * scale[:, None] * focal.astype(np.float32) + center.astype(np.float32)
        return places, depth, points[:, 2] * scale


def find_visible(points: np.ndarray, intrinsics: np.ndarray, view: Viewpoint, zoom: int = 1) -> np.ndarray:
    """Which pixel of the frame each pixel of the picture shows.

    Args:
        points: of every pixel, as `lift_pixels` gives them. (H, W, 3)
        intrinsics: in pixels of the frame. (3, 3)
        zoom: of the picture against the frame.
    Returns:
        Number of the pixel, row by row; -1 = background. (zH, zW) int32
    """
    height, width = zoom * points.shape[0], zoom * points.shape[1]
    places, depth, spacing = project_points(points.reshape(-1, 3), intrinsics, view)
    sides = np.unique([int(np.ceil(side * zoom)) for side in SIDES])
    pad = sides[-1]  # rows above and columns left of the picture, where squares begin that reach into it
    with np.errstate(invalid="ignore"):
        # a tenth of a pixel of slack: rounding must not make squares larger than they are
        kind = np.minimum(np.searchsorted(sides, zoom * spacing - 0.1), len(sides) - 1)
        middle = (places + 0.5) * zoom - 0.5
        corner = np.rint(middle - (sides[kind, None] - 1) / 2) + pad
        inside = (corner >= 0).all(1) & (corner[:, 0] < width + pad) & (corner[:, 1] < height + pad)
        front = view.orthographic | (depth > NEAR * np.nanmedian(points[..., 2]))
    drawn = np.flatnonzero(inside & front)
    order = drawn[np.argsort(depth[drawn], kind="stable")]  # nearest first
    if not len(order):
        return np.full((height, width), -1, np.int32)
    rank = _splat(corner[order].astype(np.int64), kind[order], sides, (height + pad, width + pad))[pad:, pad:]
    return np.where(rank < len(order), order[np.minimum(rank, len(order) - 1).astype(np.int64)], -1).astype(np.int32)


def _splat(corner: np.ndarray, kind: np.ndarray, sides: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The smallest number of a square that covers each pixel; the number of squares where none does. float32

    Squares of one side are drawn at once: their numbers at their corners, then the least over what reaches a pixel.

    Args:
        corner: column and row of the top left pixel of each square, nearest square first. (N, 2)
        kind: its place in `sides`. (N,)
    """
    nearest = np.full(size, len(corner), np.float32)  # numbers up to 2 ** 24 are exact
    place = corner[:, 1] * size[1] + corner[:, 0]
    for k, side in enumerate(sides.tolist()):
        members = np.flatnonzero(kind == k)[::-1]  # of several at one place the last assignment holds: the nearest
        if len(members):
            layer = np.full(size, len(corner), np.float32)
            layer.ravel()[place[members]] = members
            square = np.ones((side, side), np.uint8)
            np.minimum(nearest, cv2.erode(layer, square, anchor=(side - 1, side - 1)), out=nearest)
    return nearest


def paint_cloud(visible: np.ndarray, colors: np.ndarray, view: Viewpoint) -> np.ndarray:
    """The picture, with the directions of x, height and z in its lower left corner.

    Args:
        visible: as `find_visible` gives it. (zH, zW)
        colors: of every pixel of the frame. (H, W, 3) uint8
    Returns:
        RGB. (zH, zW, 3) uint8
    """
    table = np.concatenate([colors.reshape(-1, 3), np.uint8([BACKGROUND])])  # -1 is the last
    return _draw_axes(table[visible], view)


def _draw_axes(picture: np.ndarray, view: Viewpoint) -> np.ndarray:
    """Three arrows that turn with the view, on a plate: what points away from the viewer is drawn first."""
    length = max(12, min(picture.shape[:2]) // 16)
    origin = np.array([2 * length, picture.shape[0] - 2 * length])
    cv2.circle(picture, origin.tolist(), 2 * length - 1, PLATE, -1, cv2.LINE_AA)
    right, up, forward = view.axes()
    for k in np.argsort(-forward):
        name, color = AXES[k]
        tip = origin + length * np.array([right[k], -up[k]])
        cv2.arrowedLine(picture, origin.tolist(), np.rint(tip).astype(int).tolist(), color, 2, cv2.LINE_AA, 0, 0.25)
        font = cv2.FONT_HERSHEY_SIMPLEX, length / 60
        (wide, high), _ = cv2.getTextSize(name, *font, 1)
        place = origin + 1.45 * length * np.array([right[k], -up[k]]) + [-wide / 2, high / 2]
        cv2.putText(picture, name, np.rint(place).astype(int).tolist(), *font, color, 1, cv2.LINE_AA)
    return picture


def draw_boundaries(
    image: np.ndarray, inverse_depth: np.ndarray, intrinsics: np.ndarray, graph: Graph, edges: Mapping[str, int]
) -> Figure:
    """Step (b): some pairs of neighbouring superpixels, as the camera sees them and from two other places.

    From there the rest is dim, a white line joins their mean positions, and arrows are their normals: eq. 1 is about
    the line, eq. 2 about the arrows. Line and arrows are over everything, also where something hides their ends.

    Args:
        image: (H, W, 3) uint8
        inverse_depth, intrinsics: what the graph was made of. (H, W), (3, 3)
        edges: what a row shows, e.g. "occlusion" -> number of an edge of the graph.
    """
    points = lift_to_scene(inverse_depth, intrinsics, 1e-6, units="scene")  # holes filled, as the graph saw them
    measured = measure_superpixels(points, graph.superpixels)
    rows, titles = [], []
    for name, edge in edges.items():
        colors, ends = image, graph.edges[edge]
        for end, color in zip(ends, PATCHES):
            colors = np.where((graph.superpixels == end)[..., None], blend(colors, np.uint8(color), 0.75), colors)
        shown = np.isin(graph.superpixels, ends)
        dim = np.where(shown[..., None], colors, blend(colors, np.uint8(BACKGROUND), 0.55))
        pair = tuple(values[ends] for values in measured)
        views = (Viewpoint(), Viewpoint(-65, 10, orthographic=True), Viewpoint(-30, 35, orthographic=True))
        aside = [_close_up(points, dim, shown, intrinsics, view, pair) for view in views[1:]]
        rows.append([_close_up(points, colors, shown, intrinsics, views[0]), *aside])
        titles += [f"{name}: as the camera sees it", "from the left", "from above, a little"]
    return image_grid(rows, titles, NARROW)


def _close_up(
    points: np.ndarray,
    colors: np.ndarray,
    shown: np.ndarray,
    intrinsics: np.ndarray,
    view: Viewpoint,
    pair: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray:
    """The part of the view around the pixels that are shown, twice as wide as high. RGB, of one size for all

    Args:
        pair: positions and normals of two superpixels, which get a line and two arrows. (2, 3), (2, 3)
    """
    height, width = shown.shape
    places = project_points(points.reshape(-1, 3), intrinsics, view)[0][shown.ravel()]
    low, high = np.nanmin(places, axis=0), np.nanmax(places, axis=0)
    half = MARGIN * max((high[0] - low[0]) / 4, (high[1] - low[1]) / 2, NARROWEST)  # of the height, in pixels
    half = min(half, height / 2, width / 4)
    camera = intrinsics.copy()
    camera[:2, 2] += (np.array([width, height]) - 1 - low - high) / 2  # the pair comes into the middle
    zoom = max(1, round(FINEST / width))
    visible = find_visible(points, camera, view, zoom)
    top, left = (int(zoom * (size / 2 - reach)) for size, reach in ((height, half), (width, 2 * half)))
    part = visible[top : visible.shape[0] - top, left : visible.shape[1] - left]
    scale = CLOSE_UP[0] / part.shape[1]
    part = cv2.resize(part.astype(np.float64), CLOSE_UP, interpolation=cv2.INTER_NEAREST).astype(np.int32)
    picture = paint_cloud(part, colors, view)
    if pair is not None:
        positions, normals = pair
        pivot = float(np.nanmedian(points[..., 2]))
        reach = ARROW * half / np.sqrt(intrinsics[0, 0] * intrinsics[1, 1]) * pivot  # of the height, at the pivot
        ends = np.concatenate([positions, positions + reach * normals]).astype(np.float32)
        at = (project_points(ends, camera, view, pivot)[0] + 0.5) * zoom - [left, top]
        a, b, *tips = np.rint(at * scale).astype(int).tolist()
        cv2.line(picture, a, b, LINE, 2, cv2.LINE_AA)
        for start, tip, color in zip((a, b), tips, PATCHES):
            cv2.arrowedLine(picture, start, tip, LINE, 5, cv2.LINE_AA, 0, 0.3)
            cv2.arrowedLine(picture, start, tip, color, 2, cv2.LINE_AA, 0, 0.3)
    return picture
