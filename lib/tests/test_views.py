"""Views and positives: laws of the draws, positives against loops, and against the street's own world points."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from lib.copy_paste import compose, draw_plan, make_item, prepare_source
from lib.data.street import make_clip
from lib.parallel import numpy_generator
from lib.params import AugmentationParams
from lib.views import (
    LUMA,
    compose_maps,
    draw_blurs,
    draw_colors,
    draw_views,
    find_errors,
    invert_maps,
    make_maps,
    map_sources,
    sample_pixel_positives,
    sample_region_positives,
)

RECIPE = AugmentationParams(brightness=0.5, contrast=0.5, saturation=0.5, hue=0.2, gray_probability=0.1)  # as released
SURE = replace(RECIPE, color_probability=1.0, gray_probability=0.0)


def make_sources(count: int = 3, height: int = 24, width: int = 40, regions: int = 9, holes: bool = False):
    sources = []
    for m in range(count):
        rng = numpy_generator(m, 78)
        y, x = np.indices((height, width))
        centres = rng.random((regions, 2)) * (height, width)
        owner = np.argmin([(y - a) ** 2 + (x - b) ** 2 for a, b in centres], axis=0)
        depth = (rng.random(regions)[owner] + 0.1 * rng.random((height, width))).astype(np.float32)
        ids = (owner + (0 if holes else 1)).astype(np.uint16)
        sources.append(prepare_source(rng.integers(0, 256, (height, width, 3)).astype(np.uint8), ids, depth))
    return sources


@pytest.fixture(scope="module")
def street():
    """Four generated streets at 48 x 96: sources, and the world point that each of their pixels sees."""
    sources, points = [], []
    for index in range(4):
        clip = make_clip("train", index, 1, 48, 96)
        inverse_depth = (1 / np.maximum(clip.depth[0], 1)).astype(np.float32)  # sky is inf: 0, farthest
        _, regions = np.unique(clip.labels[0].astype(int) * 1000 + clip.instances[0], return_inverse=True)
        regions = (regions.reshape(48, 96) + 1).astype(np.uint16)
        sources.append(prepare_source(clip.images[0], regions, inverse_depth))
        points.append(clip.points(0))
    return sources, np.array(points)


def test_maps_invert_and_compose():
    rng = numpy_generator(0)
    a, b = (make_maps(*rng.normal(size=(2, 50)), *rng.normal(size=(2, 50)) * 9) for _ in range(2))
    square = lambda maps: np.concatenate([maps, np.tile([[[0, 0, 1.0]]], (50, 1, 1))], axis=1)  # noqa: E731
    assert np.allclose(square(compose_maps(a, b)), square(a) @ square(b))
    assert np.allclose(square(a) @ square(invert_maps(a)), np.eye(3), atol=1e-9)


def test_views_lie_inside_their_composite_and_never_shrink():
    maps = draw_views(RECIPE, 4000, (96, 160), numpy_generator(0))
    scale_x, scale_y = np.abs(maps[:, 0, 0]), maps[:, 1, 1]
    area, aspect = scale_x * scale_y, scale_x / scale_y
    assert scale_x.min() >= 1
    assert scale_y.min() >= 1
    assert 1 <= area.min() < 1.01
    assert 1.99 < area.max() <= 2
    assert abs(area.mean() - 1.5) < 0.02
    assert (np.abs(np.log(aspect)) <= np.minimum(np.log(area), np.log(4 / 3)) + 1e-9).all()
    assert abs((maps[:, 0, 0] < 0).mean() - 0.5) < 0.03
    back = invert_maps(maps)
    for axis, length in ((0, 160), (1, 96)):
        edges = back[:, axis, axis, None] * [-0.5, length - 0.5] + back[:, axis, 2, None]
        assert edges.min() >= -0.5 - 1e-9
        assert edges.max() <= length - 0.5 + 1e-9


def test_colors_against_a_literal_transcription():
    means, pixel = np.array([[200.0, 120, 30], [10, 20, 30]]), np.array([90.0, 160, 40])
    colors = draw_colors(SURE, means, numpy_generator(4))
    rng = numpy_generator(4)
    factors, angle = 1 + 0.5 * rng.uniform(-1, 1, (2, 3)), 2 * np.pi * 0.2 * rng.uniform(-1, 1, (2, 1, 1))[:, 0, 0]
    for k in range(2):
        brightness, contrast, saturation = factors[k]
        color = pixel * brightness
        color = contrast * color + (1 - contrast) * (LUMA @ means[k] * brightness)
        color = saturation * color + (1 - saturation) * (LUMA @ color)
        # NTSC: Y, I, Q; the hue is the angle in the I-Q plane
        y = LUMA @ color
        i, q = np.array([[0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]]) @ color
        i, q = np.cos(angle[k]) * i - np.sin(angle[k]) * q, np.sin(angle[k]) * i + np.cos(angle[k]) * q
        ntsc_to_rgb = np.array([[1, 0.9563, 0.6210], [1, -0.2721, -0.6474], [1, -1.1070, 1.7046]])
        assert np.allclose(colors[k] @ [*pixel, 1], ntsc_to_rgb @ [y, i, q], atol=0.2)


def test_colors_laws():
    means = np.tile([100.0, 100, 100], (2000, 1))
    assert np.array_equal(
        draw_colors(replace(RECIPE, color_probability=0.0, gray_probability=0.0), means, numpy_generator(0)),
        np.tile(np.eye(3, 4), (2000, 1, 1)),
    )
    grays = draw_colors(SURE, means, numpy_generator(0)) @ [50, 50, 50, 1]
    assert np.allclose(grays, grays[:, :1])  # gray stays gray
    colors = draw_colors(RECIPE, means, numpy_generator(0))
    assert abs((colors == np.eye(3, 4)).all(axis=(1, 2)).mean() - 0.2 * 0.9) < 0.03
    assert abs(np.isclose(colors[:, 0], colors[:, 1]).all(axis=1).mean() - 0.1) < 0.03
    blurs = draw_blurs(RECIPE, 2000, 384, numpy_generator(0))
    assert abs((blurs > 0).mean() - 0.2) < 0.03
    assert blurs[blurs > 0].min() >= 0.1
    assert 1.9 < blurs.max() <= 2


def square(matrix: np.ndarray) -> np.ndarray:
    return np.vstack([matrix, [0, 0, 1]])


@pytest.mark.parametrize("copies", [(2, 4), (0, 0), (1, 0)])
def test_pixel_positives_against_loops(copies):
    sources = make_sources(2)
    recipe = replace(RECIPE, copies=copies)
    plan = draw_plan(sources, recipe, numpy_generator(0))
    item = compose(sources, plan)
    view, xy, group = sample_pixel_positives(item, 30, numpy_generator(1))
    rng = numpy_generator(1)
    x, y = rng.random((2, 4 * 30)) * np.array([[40], [24]]) - 0.5
    maps = [(np.eye(3), k % 2, k, 0, 0) for k in range(4)]
    maps += [
        (square(plan.target_from_source[p]), plan.source[p], plan.target[p], plan.region[p], p + 1)
        for p in range(len(plan.scale))
    ]
    full = [square(plan.view_from_composite[k]) @ m for m, _, k, _, _ in maps]
    regions = [map_sources(item, k)[2] for k in range(4)]
    at = lambda px, py: (int(np.floor(py + 0.5)), int(np.floor(px + 0.5)))  # noqa: E731
    found = 0
    for n in range(4 * 30):
        k = n // 30
        shown = item.pastes[k][at(x[n], y[n])]
        own = k if shown == 0 else 3 + shown
        region = regions[k][at(x[n], y[n])]
        start = np.linalg.inv(full[own]) @ [x[n], y[n], 1]
        members = [(k, x[n], y[n])]
        for q, (_, source, target, pasted, paste) in enumerate(maps):
            if q == own or (paste and item.first_region[source] + pasted != region):
                continue
            px, py, _ = full[q] @ start
            row, column = at(px, py)
            if source != maps[own][1] or not (0 <= row < 24 and 0 <= column < 40):
                continue
            if item.pastes[target, row, column] == paste and regions[target][row, column] == region:
                members.append((target, px, py))
        if len(members) > 1:
            mine = group == found
            assert np.allclose(np.column_stack([view[mine], xy[mine]]), members, atol=1e-4)
            found += 1
    assert found == group.max() + 1
    assert found > 20


def test_positives_see_the_same_world_point(street):
    """Both members of every pair show one point of the street, to within half a footprint of their pixels.

    Where a pixel looks in its source is found here by inverting the matrix of each placement, and what is there by
    OpenCV's warp of the world points, not by the code under test.
    """
    sources, points = street
    plan = draw_plan(sources, RECIPE, numpy_generator(0))
    item = compose(sources, plan)
    y, x = np.indices((48, 96)).astype(np.float32)
    seen = np.full((8, 48, 96, 6), np.nan, np.float32)  # world point, source, and its column and row
    inverse = np.empty((len(item.view), 2, 3))
    for q in range(len(item.view)):
        k = item.view[q]
        composite_from_source = np.eye(3) if q < 8 else square(plan.target_from_source[q - 8])
        matrix = (square(plan.view_from_composite[k]) @ composite_from_source)[:2]
        inverse[q] = np.linalg.inv(square(matrix))[:2]
        m = k % 4 if q < 8 else plan.source[q - 8]
        marked = np.dstack([points[m], np.full_like(x, m), x, y]).astype(np.float32)
        warped = [cv2.warpAffine(marked[..., c], matrix, (96, 48), flags=cv2.INTER_NEAREST) for c in range(6)]
        here = item.pastes[k] == (0 if q < 8 else q - 7)
        seen[k][here] = np.dstack(warped)[here]
    view, xy, group = sample_pixel_positives(item, 85_000, numpy_generator(1))
    column, row = np.floor(xy + 0.5).astype(int).T
    shown = seen[view, row, column]
    paste = item.pastes[view, row, column].astype(int)
    own = inverse[np.where(paste == 0, view, 7 + paste)]
    looked_at = np.einsum("nij,nj->ni", own, np.stack([column, row, np.ones_like(row)], axis=1))  # u, v in the source
    step = np.abs(own[:, [0, 1], [0, 1]])  # footprint of a pixel
    first = np.searchsorted(group, group)
    assert (first != np.arange(len(view))).sum() > 1_000_000  # pairs of two
    assert (paste > 0).mean() > 0.3
    assert np.array_equal(shown[:, 3], shown[first, 3])
    assert (np.abs(looked_at - looked_at[first]) <= 0.5 * (step + step[first]) + 1e-3).all()  # each within half a pixel
    # and what each shows is the world point of the source pixel that it looks at
    assert (np.abs(looked_at - shown[:, 4:]) <= 0.5 + 0.04).all()  # OpenCV rounds positions to 1/32
    source, u, v = shown[:, 3].astype(int), shown[:, 4].astype(int), shown[:, 5].astype(int)
    np.testing.assert_array_equal(points[source, v, u].astype(np.float32), shown[:, :3])
    assert not find_errors(item, (view, xy, group)).any()
    assert find_errors(item, (view, np.add(xy, (7, 0)), group)).mean() > 0.3  # the check can fail


def test_no_pastes_pair_the_two_views_of_an_image():
    sources = make_sources(2)
    item = make_item(sources, replace(RECIPE, copies=(0, 0)), numpy_generator(0))
    view, _, group = sample_pixel_positives(item, 200, numpy_generator(0))
    assert np.array_equal(np.bincount(group), np.full(group.max() + 1, 2))
    assert (view.reshape(-1, 2).sum(axis=1) % 4 != 3).all()
    assert (np.abs(np.diff(view.reshape(-1, 2))) == 2).all()


def test_region_positives_know_their_region():
    sources = make_sources(3, holes=True)
    item = make_item(sources, RECIPE, numpy_generator(0))
    view, xy, region = sample_region_positives(item, 300, numpy_generator(0))
    maps = np.array([map_sources(item, k)[2] for k in range(6)])
    column, row = np.floor(xy + 0.5).astype(int).T
    assert np.array_equal(maps[view, row, column], region)
    assert region.min() >= 1
    assert region.max() <= item.first_region[-1]
    assert len(region) < 1800  # points without a region are left out
    assert (np.bincount(view) > 0).all()


@pytest.mark.parametrize("sample", [sample_pixel_positives, sample_region_positives])
def test_positions_lie_in_their_view_and_follow_the_seed(sample):
    item = make_item(make_sources(), RECIPE, numpy_generator(0))
    one, two, other = (sample(item, 100, numpy_generator(seed)) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, two))
    assert not np.array_equal(one[1][:50], other[1][:50])
    view, xy, group = one
    assert (xy >= -0.5).all()
    assert (xy < [39.5, 23.5]).all()
    assert view.min() >= 0
    assert view.max() < 6
    assert len(view) == len(xy) == len(group) > 100
    assert xy.dtype == np.float32


def test_nothing_to_pair():
    image, regions, depth = np.zeros((8, 9, 3), np.uint8), np.zeros((8, 9), np.uint16), np.ones((8, 9), np.float32)
    item = make_item([prepare_source(image, regions, depth)], RECIPE, numpy_generator(0))
    for view, xy, group in (
        sample_pixel_positives(item, 5, numpy_generator(0)),
        sample_region_positives(item, 5, numpy_generator(0)),
    ):
        assert len(view) == len(group) == 0
        assert xy.shape == (0, 2)


def test_pictures_and_panel_without_a_browser():
    from lib.figures import augmentation
    from lib.widgets.augmentation import build_composite, draw_composite

    sources = make_sources()
    plan = draw_plan(sources, RECIPE, numpy_generator(0))
    item = compose(sources, plan)
    positives = sample_pixel_positives(item, 50, numpy_generator(0))
    for figure in (
        augmentation.draw_composites(item),
        augmentation.draw_maps(item, 4),
        augmentation.draw_positives(item, positives),
        augmentation.draw_statistics([plan], [item]),
        draw_composite(sources, RECIPE, seed=3, copies=6, scale=(1.0, 1.0)),
        draw_composite(sources, RECIPE, paste=False),
    ):
        assert len(figure._repr_mimebundle_()) == 1
    box = build_composite(sources, RECIPE)
    before = box.children[-1].value
    box.children[0].value = 5  # the seed
    assert box.children[-1].value != before
