"""From depth to points and normals, and what depth is refused."""

import numpy as np
import pytest

from lib.regions import group_regions, lift_to_scene
from lib.regions.grouping import measure_superpixels
from lib.superpixels import segment_superpixels

from .fixtures import INTRINSICS, PARAMS, draw_street


def transcribe_points(inverse, intrinsics, min_share):
    """Pixel by pixel as the paper has it: y counts rows from the bottom, each axis over its standard deviation."""
    height, width = inverse.shape
    matrix = intrinsics.copy()
    matrix[1, 2] = height - 1 - intrinsics[1, 2]
    points = np.zeros((height, width, 3))
    for r in range(height):
        for c in range(width):
            z = 1 / max(inverse[r, c], min_share * inverse.max())
            points[r, c] = z * np.linalg.inv(matrix) @ [c, height - 1 - r, 1]
    return points / points.reshape(-1, 3).std(axis=0)


def test_points_against_the_transcription():
    _, inverse, _ = draw_street()
    points = lift_to_scene(inverse, INTRINSICS, 0.1)
    assert np.allclose(points, transcribe_points(inverse.astype(float), INTRINSICS, 0.1), rtol=1e-4, atol=1e-5)
    assert np.allclose(points.reshape(-1, 3).std(axis=0), 1, atol=1e-4)


def test_scale_of_depth_does_not_matter():
    image, inverse, _ = draw_street()
    points, reference = lift_to_scene(inverse, INTRINSICS, 0.005), group_regions(image, inverse, INTRINSICS, PARAMS)
    for factor in (3, 1 / 3, 4, 1e4):
        scaled = inverse / np.float32(factor)
        assert np.allclose(lift_to_scene(scaled, INTRINSICS, 0.005), points, rtol=1e-5)
        assert np.array_equal(group_regions(image, scaled, INTRINSICS, PARAMS), reference)


def test_normals_of_level_and_upright_surfaces():
    image, inverse, kind = draw_street()
    ids = segment_superpixels(image, 60)
    points = lift_to_scene(inverse, INTRINSICS, 0.005)
    positions, normals = measure_superpixels(points, ids)
    inside = [np.unique(kind[ids == i]) for i in range(len(positions))]
    road = [i for i, k in enumerate(inside) if k.tolist() == [1]]
    wall = [i for i, k in enumerate(inside) if k.tolist() == [0]]
    assert (normals[road, 1] > 0.95).mean() > 0.8
    assert (np.abs(normals[wall, 1]) < 0.3).mean() > 0.8
    assert (positions[road, 1] < 0).all()  # below the camera
    assert np.allclose(np.linalg.norm(normals, axis=1), 1)


def test_pixels_without_value_take_the_nearest():
    _, inverse, _ = draw_street()
    holes = inverse.copy()
    holes[5, 7] = 0
    filled = inverse.copy()
    filled[5, 7] = inverse[5, 6]  # the same wall all around
    assert np.array_equal(lift_to_scene(holes, INTRINSICS, 0.005), lift_to_scene(filled, INTRINSICS, 0.005))


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.1])
def test_damaged_depth_is_refused(value):
    image, inverse, _ = draw_street()
    inverse[3, 4] = value
    with pytest.raises(ValueError, match="finite and >= 0"):
        group_regions(image, inverse, INTRINSICS, PARAMS)


@pytest.mark.parametrize(
    "matrix", [np.full((3, 3), np.nan), np.zeros((3, 3)), np.diag([30.0, -30, 1]), np.diag([30.0, 30, 0]), np.eye(2)]
)
def test_what_is_no_camera_is_refused(matrix):
    image, inverse, _ = draw_street()
    with pytest.raises(ValueError, match="intrinsics must be a finite 3 x 3 matrix"):
        group_regions(image, inverse, matrix, PARAMS)


@pytest.mark.parametrize("shape", [(1, 8), (8, 1)])
def test_a_single_row_or_column_is_refused(shape):
    with pytest.raises(ValueError, match="2 rows and 2 columns at least"):
        lift_to_scene(np.ones(shape, np.float32), INTRINSICS, 0.01)


def test_depth_beyond_single_precision_is_grouped_like_any_other():
    image, inverse, _ = draw_street()
    expected = group_regions(image, inverse, INTRINSICS, PARAMS)
    for factor in (2.0**-170, 2.0**170):
        scaled = inverse.astype(np.float64) * factor
        assert np.array_equal(group_regions(image, scaled, INTRINSICS, PARAMS), expected)


def test_depth_without_values_or_of_another_size_is_refused():
    image, inverse, _ = draw_street()
    with pytest.raises(ValueError, match="no value at all"):
        group_regions(image, inverse * 0, INTRINSICS, PARAMS)
    with pytest.raises(ValueError, match="differ in size"):
        group_regions(image, inverse[:-1], INTRINSICS, PARAMS)
