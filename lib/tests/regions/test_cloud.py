"""The cloud of points under the panel of notebook 02, against slow transcriptions; the painted steps."""

import math

import numpy as np
import pytest

from lib.camera import unproject
from lib.figures import region_cloud as cloud
from lib.figures import regions as pictures
from lib.figures.region_cloud import Viewpoint
from lib.regions import group_graph

from .fixtures import PANEL as PARAMS

VIEWS = [
    Viewpoint(orthographic=flat, **where)
    for flat in (False, True)
    for where in ({}, {"azimuth": 30.0, "elevation": 20.0}, {"azimuth": -120.0, "elevation": 5.0, "distance": 2.0})
]


def test_axes_of_the_viewer_are_a_turned_frame():
    assert np.array_equal(Viewpoint().axes(), np.eye(3))
    for view in VIEWS:
        assert np.allclose(view.axes() @ view.axes().T, np.eye(3))
        assert np.linalg.det(view.axes()) == pytest.approx(1)
        assert view.axes()[0, 1] == 0  # the horizon stays level
    right, up, forward = Viewpoint(azimuth=90).axes()
    assert np.allclose([right, up, forward], [[0, 0, 1], [0, 1, 0], [-1, 0, 0]])  # from the right, z to the right
    assert np.allclose(Viewpoint(elevation=90).axes(), [[1, 0, 0], [0, 0, 1], [0, -1, 0]])  # a map: z is up


def test_pixels_keep_the_true_shape_of_the_scene(world):
    _, inverse, matrix, _ = world
    holes = inverse.copy()
    holes[5, 7] = 0
    points = cloud.lift_pixels(holes, matrix, 0.02)
    assert np.isnan(points[5, 7]).all()
    points[5, 7] = cloud.lift_pixels(inverse, matrix, 0.02)[5, 7]
    depth = 1 / np.maximum(inverse / inverse.max(), 0.02)
    true = unproject(*map(_batch, (depth, matrix)))[0].numpy() * [1, -1, 1]
    unit = true[..., 2].mean() / points[..., 2].mean()
    np.testing.assert_allclose(points * unit, true, rtol=1e-4, atol=1e-4)
    assert (points[0, :, 1] > 0).all()  # the first row looks up
    assert (points[-1, :, 1] < 0).all()


def _batch(array):
    import torch

    return torch.from_numpy(np.asarray(array, np.float32))[None]


def transcribe_projection(point, matrix, view, pivot):
    """Turn the scene around the pivot, first about the height axis, then about the picture's horizontal one."""
    x, y, z = point[0], point[1], point[2] - pivot
    a, e = math.radians(view.azimuth), math.radians(view.elevation)
    x, z = x * math.cos(a) + z * math.sin(a), -x * math.sin(a) + z * math.cos(a)
    y, z = y * math.cos(e) + z * math.sin(e), -y * math.sin(e) + z * math.cos(e)
    z += view.distance * pivot
    over = view.distance * pivot if view.orthographic else z
    return matrix[0, 2] + matrix[0, 0] * x / over, matrix[1, 2] - matrix[1, 1] * y / over, z, point[2] / over


@pytest.mark.parametrize("view", VIEWS)
def test_projection_against_the_transcription(view):
    points = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32) + np.float32([0, 0, 5])
    matrix = np.array([[60.0, 0, 47.5], [0, 70.0, 20.5], [0, 0, 1]])
    places, depth, spacing = cloud.project_points(points, matrix, view)
    pivot = float(np.median(points[:, 2]))
    slow = [transcribe_projection(point, matrix, view, pivot) for point in points.astype(float)]
    fast = np.column_stack([places, depth, spacing])
    np.testing.assert_allclose(fast, slow, rtol=1e-3, atol=1e-3)


# --- the cloud: what hides what


def transcribe_picture(points, matrix, view, zoom):
    """Point by point: a square on the z-buffer."""
    height, width = points.shape[:2]
    places, depth, spacing = cloud.project_points(points.reshape(-1, 3), matrix, view)
    sides = sorted({math.ceil(side * zoom) for side in cloud.SIDES})
    pivot = np.nanmedian(points[..., 2])
    picture, buffer = np.full((height * zoom, width * zoom), -1), np.full((height * zoom, width * zoom), np.inf)
    for i, ((u, v), z) in enumerate(zip(places, depth)):
        if not np.isfinite(z) or (not view.orthographic and z <= cloud.NEAR * pivot):
            continue
        side = next((s for s in sides if s >= np.float32(zoom) * spacing[i] - 0.1), sides[-1])
        left, top = (round(float((place + np.float32(0.5)) * zoom - 0.5 - (side - 1) / 2)) for place in (u, v))
        square = np.s_[max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)]
        nearer = buffer[square] > z
        picture[square][nearer], buffer[square][nearer] = i, z
    return picture


@pytest.mark.parametrize("zoom", [1, 3])
@pytest.mark.parametrize("view", VIEWS)
def test_picture_against_the_transcription(world, view, zoom):
    _, inverse, matrix, _ = world
    holes = np.where(np.random.default_rng(0).random(inverse.shape) < 0.1, 0, inverse)
    points = cloud.lift_pixels(holes, matrix, 0.02)
    visible = cloud.find_visible(points, matrix, view, zoom)
    slow = transcribe_picture(points, matrix, view, zoom)
    assert (visible >= 0).mean() > 0.02
    assert (visible == slow).mean() > 0.998  # where a corner falls on half a pixel, rounding may decide otherwise


@pytest.mark.parametrize("zoom", [1, 2, 5, 8])
def test_where_the_camera_stood_the_picture_is_the_frame(zoom):
    rng, matrix = np.random.default_rng(zoom), np.array([[60.0, 0, 35.3], [0, 50.0, 20.9], [0, 0, 1]])
    inverse = rng.lognormal(0, 1, (40, 70)).astype(np.float32)
    points = cloud.lift_pixels(inverse, matrix, 0.01)
    frame = np.arange(40 * 70).reshape(40, 70).repeat(zoom, 0).repeat(zoom, 1)
    assert np.array_equal(cloud.find_visible(points, matrix, Viewpoint(), zoom), frame)


def test_unit_of_depth_does_not_matter(world):
    _, inverse, matrix, _ = world
    seen = [
        cloud.find_visible(cloud.lift_pixels(inverse * np.float32(factor), matrix, 0.02), matrix, VIEWS[1])
        for factor in (1, 4, 0.125)
    ]
    assert np.array_equal(seen[0], seen[1])
    assert np.array_equal(seen[0], seen[2])


def test_the_nearest_shows_from_either_side():
    points = np.float32([[[0, 0, 5], [0, 0, 1], [0, 0, 3]]])  # one behind the other
    matrix = np.array([[40.0, 0, 1], [0, 40.0, 0], [0, 0, 1]])
    for flat in (False, True):
        for azimuth, nearest in ((0, 1), (180, 0)):
            seen = cloud.find_visible(points, matrix, Viewpoint(azimuth, distance=1.5, orthographic=flat))
            assert seen[0, 1] == nearest


def test_parallel_rays_show_equal_things_equally_large():
    ends = np.float32([[-1, 0, 4], [1, 0, 4], [-1, 0, 8], [1, 0, 8], [0, 0, 6]])  # two bars of one length
    matrix = np.array([[40.0, 0, 22], [0, 40.0, 22], [0, 0, 1]])
    flat, deep = (cloud.project_points(ends, matrix, Viewpoint(orthographic=o))[0][:, 0] for o in (True, False))
    assert flat[1] - flat[0] == flat[3] - flat[2] == pytest.approx(40 * 2 / 6, rel=1e-5)
    assert deep[1] - deep[0] == pytest.approx(40 * 2 / 4)
    assert deep[3] - deep[2] == pytest.approx(40 * 2 / 8)


def test_axes_and_background_are_painted(world):
    image, inverse, matrix, _ = world
    points = cloud.lift_pixels(inverse, matrix, 0.02)
    empty = np.full(image.shape[:2], -1, np.int32)
    one, other = (cloud.paint_cloud(empty, image, Viewpoint(azimuth=a)) for a in (0, 60))
    assert (one[0, -1] == cloud.BACKGROUND).all()
    assert (one != other).any()
    seen = cloud.paint_cloud(cloud.find_visible(points, matrix, Viewpoint(), 4), image, Viewpoint())
    assert np.array_equal(seen[:, 192:], pictures.enlarge(image, 4)[:, 192:])  # the axes stand on the left
    behind = cloud.find_visible(points, matrix, Viewpoint(azimuth=180, distance=0.01))
    assert behind.shape == image.shape[:2]  # nothing or little in view is no error


# --- pictures of the steps


def test_colours_stay_when_ids_move_on(graph):
    regions = group_graph(graph, PARAMS)
    before = pictures.color_steadily(regions, graph.superpixels)
    assert np.array_equal(before, pictures.color_steadily(regions + 3, graph.superpixels))
    halved = regions.copy()
    halved[(regions == 1) & (np.arange(regions.shape[1]) > 48)] = regions.max() + 1
    after = pictures.color_steadily(halved, graph.superpixels)
    assert np.array_equal(after[halved <= regions.max()], before[halved <= regions.max()])
    assert len(np.unique(before.reshape(-1, 3), axis=0)) == regions.max()


def test_only_weak_edges_are_painted(world, graph):
    image, ends, weights = world[0], pictures.find_ends(graph), np.zeros(len(graph.edges))
    assert np.array_equal(pictures.paint_edges(image, ends, weights, 2), pictures.enlarge(image // 2, 2))
    weights[7] = pictures.LIKELY
    red = (pictures.paint_edges(image, ends, weights, 2) != pictures.enlarge(image // 2, 2)).any(axis=2)
    both = np.isin(graph.superpixels, graph.edges[7])
    assert red.any()
    assert (red & pictures.enlarge(both, 2)).sum() > 0.6 * red.sum()


def test_borders_are_white_and_the_rest_keeps_its_colour(graph):
    regions = group_graph(graph, PARAMS)
    colors = pictures.color_steadily(regions, graph.superpixels)
    picture = pictures.paint_regions(colors, regions, 3)
    same = (picture == pictures.enlarge(colors, 3)).all(axis=2)
    assert (same | (picture == 255).all(axis=2)).all()
    assert same[1::3, 1::3].all()  # the middle of an enlarged pixel is no border
    assert not same.all()
