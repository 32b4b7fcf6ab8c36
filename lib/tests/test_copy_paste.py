"""Plans and composites: laws of the draws, and every pixel against a slow, literal transcription."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lib.copy_paste import (
    batched,
    compose,
    draw_plan,
    lay_out,
    literal,
    make_item,
    prepare_source,
    render,
    select_regions,
    soften_seams,
)
from lib.parallel import numpy_generator
from lib.params import AugmentationParams
from lib.views import map_sources

RECIPE = AugmentationParams(brightness=0.5, contrast=0.5, saturation=0.5, hue=0.2, gray_probability=0.1)  # as released
STILL = replace(RECIPE, max_zoom=1.0, max_stretch=1.0, view_flip_probability=0.0)
PLAIN = replace(STILL, color_probability=0.0, gray_probability=0.0, blur_probability=0.0)


def make_source(seed: int, height: int = 24, width: int = 40, regions: int = 12):
    """Random blobs with a depth each, rougher than any street."""
    rng = numpy_generator(seed, 77)
    y, x = np.indices((height, width))
    centres = rng.random((regions, 2)) * (height, width)
    owner = np.argmin([(y - a) ** 2 + (x - b) ** 2 for a, b in centres], axis=0)
    depth = (rng.random(regions)[owner] + 0.3 * rng.random((height, width))).astype(np.float32)
    image = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
    return prepare_source(image, (owner + 1).astype(np.uint16), depth)


def make_sources(count: int = 3, **size):
    return [make_source(m, **size) for m in range(count)]


def transcribe(sources, plan):
    """Sequential pasting, pixel by pixel: paste id, source index, source pixel. Shares no code with the renderer."""
    height, width = sources[0].regions.shape
    square = lambda a: np.vstack([a, [0, 0, 1]])  # noqa: E731
    result = []
    for k in range(2 * len(sources)):
        to_composite = np.linalg.inv(square(plan.view_from_composite[k]))
        pastes = [p for p in range(len(plan.scale)) if plan.target[p] == k]
        backward = {p: np.linalg.inv(square(plan.target_from_source[p])) @ to_composite for p in pastes}
        for y in range(height):
            for x in range(width):
                column, row = np.floor((to_composite @ [x, y, 1])[:2] + 0.5).astype(int)
                best = (0, k % len(sources), column, row)
                nearest_yet = sources[k % len(sources)].inverse_depth[row, column]
                for p in pastes:
                    column, row = np.floor((backward[p] @ [x, y, 1])[:2] + 0.5).astype(int)
                    if not (0 <= row < height and 0 <= column < width):
                        continue
                    source = sources[plan.source[p]]
                    closer = source.inverse_depth[row, column] * np.float32(plan.scale[p])
                    if source.regions[row, column] == plan.region[p] and closer > nearest_yet:
                        best, nearest_yet = (p + 1, plan.source[p], column, row), closer
                result.append(best)
    return np.array(result).reshape(2 * len(sources), height, width, 4)


@pytest.mark.parametrize("seed", [0, 1])
def test_every_pixel_agrees_with_slow_pasting(seed):
    sources = make_sources(2)
    plan = draw_plan(sources, RECIPE, numpy_generator(seed))
    item, slow = compose(sources, plan), transcribe(sources, plan)
    assert len(plan.scale) > 20
    assert (slow[..., 0] > 0).mean() > 0.1
    assert np.array_equal(item.pastes, slow[..., 0])
    for k in range(4):
        source, pixels, region = map_sources(item, k)
        assert np.array_equal(source, slow[k, ..., 1])
        assert np.array_equal(np.floor(pixels + 0.5), slow[k, ..., 2:])
        own = np.array([s.regions for s in sources])[slow[k, ..., 1], slow[k, ..., 3], slow[k, ..., 2]]
        assert np.array_equal(region, item.first_region[source] + own)


def test_order_of_pasting_does_not_matter():
    sources = make_sources()
    plan = draw_plan(sources, RECIPE, numpy_generator(3))
    order = numpy_generator(4).permutation(len(plan.scale))
    item, shuffled = compose(sources, plan), compose(sources, plan.keep_pastes(order))
    new_id = np.concatenate([[0], np.argsort(order) + 1])
    assert np.array_equal(new_id[item.pastes], shuffled.pastes)
    assert np.array_equal(item.images, shuffled.images)


def test_equal_depth_goes_to_the_background_then_to_the_lowest_paste():
    source = make_source(0)
    flat = replace(source, inverse_depth=np.full_like(source.inverse_depth, 0.5))
    plan = draw_plan([flat], PLAIN, numpy_generator(0))
    same = replace(plan, scale=np.ones_like(plan.scale))
    assert compose([flat], same).pastes.max() == 0
    twice = plan.keep_pastes(np.repeat(np.arange(len(plan.scale)), 2))
    assert set(np.unique(compose([flat], twice).pastes) % 2) == {0, 1}
    assert all(np.unique(compose([flat], twice).pastes)[1:] % 2 == 1)  # never the second of two equal pastes


def test_no_value_hides_nothing():
    source = make_source(0)
    empty = replace(source, inverse_depth=np.zeros_like(source.inverse_depth))
    assert make_item([empty], RECIPE, numpy_generator(0)).pastes.max() == 0


def test_regions_are_dealt_evenly():
    sources = make_sources()
    plan = draw_plan(sources, RECIPE, numpy_generator(0))
    kept = sum(len(select_regions(s, RECIPE)) for s in sources)
    for r, copies in enumerate(RECIPE.copies):
        here = plan.target // 3 == r
        pairs, counts = np.unique(np.stack([plan.source, plan.region])[:, here], axis=1, return_counts=True)
        assert pairs.shape[1] == kept
        assert (counts == copies).all()
        assert np.ptp(np.bincount(plan.target[here])[3 * r :]) <= 1


def test_scale_with_distance():
    sources = make_sources(4, height=96, width=160, regions=60)
    plan = draw_plan(sources, replace(STILL, height_threshold=0.0), numpy_generator(1))
    a, e, f = plan.target_from_source[:, 0, 0], plan.target_from_source[:, 1, 1], plan.target_from_source[:, 1, 2]
    assert np.allclose(np.abs(a), plan.scale)
    assert np.allclose(e, plan.scale)
    assert np.allclose(e * 47.5 + f, 47.5)  # the horizon stays
    assert plan.scale.min() >= 0.2
    assert plan.scale.max() <= 2.0
    # size times distance is constant: what is drawn twice as large is drawn at twice the inverse depth
    item = compose(sources, plan)
    assert np.allclose(item.view_from_source[8:, 1, 1] / plan.scale, 1)
    freely = plan.scale[plan.scale != 1]
    assert abs(np.mean(1 / freely) - 2.4) < 0.6  # uniform in 1/scale, within 0.5..5, or less by the limits


def test_limits_of_scale():
    sources = make_sources(4, height=96, width=160, regions=60)
    plan = draw_plan(sources, RECIPE, numpy_generator(2))
    boxes = np.array([sources[m].boxes[r] for m, r in zip(plan.source, plan.region)])
    top, _, h, w = boxes.T
    scaled = plan.scale != 1
    assert (np.minimum(h, w) * plan.scale)[scaled].min() >= 2 - 1e-9  # 8 of 384 rows
    bottom_edge = (top + h - 48) * plan.scale + 48
    assert (bottom_edge > 0).all()
    assert ((top - 48) * plan.scale + 48 < 96).all()


def test_height_threshold():
    sources = make_sources(4, height=96, width=160, regions=60)
    for threshold in (0.0, 0.042, 0.3):
        plan = draw_plan(sources, replace(RECIPE, height_threshold=threshold), numpy_generator(2))
        moved = plan.target_from_source[:, 1, 2] - 47.5 * (1 - plan.scale)
        assert np.abs(moved).max() <= threshold * 96 + 1e-9
        boxes = np.array([sources[m].boxes[r] for m, r in zip(plan.source, plan.region)])
        left = plan.target_from_source[:, 0, 0] * (boxes[:, 1] - 0.5) + plan.target_from_source[:, 0, 2]
        right = plan.target_from_source[:, 0, 0] * (boxes[:, 1] + boxes[:, 3] - 0.5) + plan.target_from_source[:, 0, 2]
        assert (np.maximum(left, right) > -0.5).all()  # partly inside
        assert (np.minimum(left, right) < 159.5).all()


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_size_filter_is_the_releases_at_384_rows_and_scales_with_the_image(factor):
    rng = numpy_generator(5)
    height, width = 384, 768
    for _ in range(40):
        h, w = rng.integers(1, [height, width]) if rng.random() < 0.5 else rng.integers(1, 60, 2)
        h, w = max(h // 8, 1) * 8, max(w // 8, 1) * 8  # whole pixels at every size
        regions = np.zeros((height // factor, width // factor), np.uint16)
        regions[: h // factor, : w // factor] = 1
        source = prepare_source(np.zeros((*regions.shape, 3), np.uint8), regions, np.ones(regions.shape, np.float32))
        dropped = h < 16 or w < 6 or (h < 32 and w < 32) or (h > height - 16 and w > width - 16)
        assert (len(select_regions(source, RECIPE)) == 0) == dropped


def test_same_seed_same_bytes():
    sources = make_sources()
    one, two = (make_item(sources, RECIPE, numpy_generator(7, 1)) for _ in range(2))
    other = make_item(sources, RECIPE, numpy_generator(7, 2))
    assert one.images.tobytes() == two.images.tobytes()
    assert one.pastes.tobytes() == two.pastes.tobytes()
    assert one.images.tobytes() != other.images.tobytes()


def test_degenerate_sources():
    image, depth = np.full((24, 40, 3), 9, np.uint8), np.ones((24, 40), np.float32)
    gap = np.zeros((24, 40), np.uint16)
    gap[4:12, 4:12] = 3  # ids 1 and 2 are absent
    for regions, expected in ((np.zeros_like(gap), 0), (np.ones_like(gap), 0), (gap, 6)):
        item = make_item([prepare_source(image, regions, depth)], RECIPE, numpy_generator(0))
        assert item.images.shape == (2, 24, 40, 3)
        assert len(item.view) - 2 == expected


def test_no_copies_gives_the_same_views_without_pastes():
    sources = make_sources()
    plan = draw_plan(sources, RECIPE, numpy_generator(0))
    bare = draw_plan(sources, replace(RECIPE, copies=(0, 0)), numpy_generator(0))
    assert len(bare.scale) == 0
    assert np.array_equal(bare.view_from_composite, plan.view_from_composite)
    assert np.array_equal(bare.view_colors, plan.view_colors)
    still = compose(sources, bare.without_views())
    assert still.pastes.max() == 0
    for k in range(6):
        assert np.array_equal(still.images[k], sources[k % 3].pyramid[0][..., :3])


@pytest.mark.parametrize("max_scale", [2.0, 0.25])
def test_colors_come_from_where_the_map_says(max_scale):
    """Sources painted with their own coordinates: the colours of a composite must be those of `map_sources`."""
    y, x = np.indices((96, 160))
    sources = []
    for m in range(3):
        image = np.stack([x, 2 * y, np.full(x.shape, 80 * m)], axis=-1).astype(np.uint8)
        shape = make_source(m, height=96, width=160, regions=8)
        sources.append(prepare_source(image, shape.regions, shape.inverse_depth))
    recipe = replace(RECIPE, max_scale=max_scale, color_probability=0.0, gray_probability=0.0, blur_probability=0.0)
    plan = draw_plan(sources, recipe, numpy_generator(0))
    item = compose(sources, replace(plan, scale=10 * plan.scale))  # in front of every background
    for k in range(6):
        source, pixels, _ = map_sources(item, k)
        expected = np.stack([pixels[..., 0], 2 * pixels[..., 1], 80 * source], axis=-1)
        change = np.zeros((96, 160), bool)
        shown = item.pastes[k].astype(int)
        for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1), (0, -1), (-1, 0), (-1, -1), (-1, 1)):
            change |= shown != np.roll(shown, (dy, dx), (0, 1))
        inner = ~change
        inner[[0, -1]] = inner[:, [0, -1]] = False
        # averaging ends at the source's edge
        inner &= (np.abs(pixels - (79.5, 47.5)) < (73, 41)).all(axis=-1)
        assert (inner & (shown > 0)).sum() > 50
        assert np.abs(item.images[k] - expected)[inner].max() < 2  # rounding, twice


def test_small_pastes_do_not_alias():
    y, x = np.indices((96, 160))
    board = np.repeat(((x + y) % 2 * 255).astype(np.uint8)[..., None], 3, axis=2)
    regions = np.ones((96, 160), np.uint16)
    regions[20:90, 10:150] = 2
    depth = np.where(regions == 2, 1.0, 0.0).astype(np.float32)  # only the board in the middle hides anything
    sources = [prepare_source(board, regions, depth)]
    plan = draw_plan(sources, replace(PLAIN, min_scale=0.2, max_scale=0.3), numpy_generator(0))
    plan = plan.keep_pastes(plan.region == 2)
    plan = replace(plan, scale=np.full_like(plan.scale, 2.0))  # nearer than any background; the size stays
    item = compose(sources, plan)
    assert (item.pastes > 0).sum() > 100
    assert item.images[item.pastes > 0].std() < 30  # sampled without a pyramid: 127


def test_seams_are_softened_and_nothing_else():
    image = numpy_generator(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    shown = np.zeros((20, 30), np.uint16)
    assert np.array_equal(soften_seams(image.copy(), shown), image)
    shown[:, 15:] = 4
    changed = (soften_seams(image.copy(), shown) != image).any(axis=(0, 2))
    assert list(np.flatnonzero(changed)) == [14, 15]


def test_errors_say_what_to_do():
    image, regions, depth = np.zeros((8, 9, 3), np.uint8), np.ones((8, 9), np.uint16), np.ones((8, 9), np.float32)
    with pytest.raises(ValueError, match="one height and width"):
        prepare_source(image, regions[:7], depth)
    with pytest.raises(ValueError, match="uint8 RGB"):
        prepare_source(image.astype(float), regions, depth)
    for bad in (np.nan, -1.0, np.inf):
        with pytest.raises(ValueError, match="write 0 where"):
            prepare_source(image, regions, depth * np.float32(bad))
    with pytest.raises(ValueError, match="at least one source"):
        draw_plan([], RECIPE, numpy_generator(0))
    with pytest.raises(ValueError, match="all of one size"):
        draw_plan([make_source(0), make_source(0, height=30)], RECIPE, numpy_generator(0))


@pytest.mark.parametrize("size", [{}, {"height": 96, "width": 160, "regions": 60}])
@pytest.mark.parametrize("recipe", [RECIPE, PLAIN, AugmentationParams(), AugmentationParams(copies=(0, 0))])
def test_all_pastes_at_once_give_what_one_after_the_other_gives(size, recipe, monkeypatch):
    sources = make_sources(**size)
    atlas = batched.make_atlas(sources)
    for seed in range(4):
        layers = lay_out(sources, draw_plan(sources, recipe, numpy_generator(seed)))
        images, pastes = render.make_views(sources, layers)
        at_once, nearest = batched.make_views(atlas, layers)
        assert np.array_equal(nearest, pastes)
        assert np.abs(at_once.numpy().astype(int) - images).max() <= 2
        assert (at_once.numpy() != images).mean() < 1e-3  # where a rounding goes the other way
        monkeypatch.setattr(batched, "FRAGMENTS", 3000)  # a few pastes at a time
        assert torch.equal(batched.make_views(atlas, layers)[1], nearest)
        monkeypatch.undo()


def test_one_to_eight_images():
    for count in (1, 2, 8):
        sources = make_sources(count)
        layers = lay_out(sources, draw_plan(sources, RECIPE, numpy_generator(count)))
        images, pastes = render.make_views(sources, layers)
        at_once, nearest = batched.make_views(batched.make_atlas(sources), layers)
        assert np.array_equal(nearest, pastes)
        assert np.abs(at_once.numpy().astype(int) - images).max() <= 2


@pytest.mark.parametrize("views", [False, True])
def test_the_released_way_has_the_same_work_and_nearly_the_same_pixels(views):
    """It rounds sizes to pixels and blends depth, so it may differ beside seams; without pastes only by resampling."""
    sources = make_sources(height=96, width=160, regions=60)
    zoom = {"max_zoom": 2.0, "max_stretch": 4 / 3, "view_flip_probability": 0.5} if views else {}
    for copies, least in (((0, 0), 0.9 if views else 1.0), (RECIPE.copies, 0.8)):
        recipe = replace(PLAIN, copies=copies, **zoom)
        plan = draw_plan(sources, recipe, numpy_generator(0))
        item = compose(sources, plan)
        images, labels = literal.compose(sources, plan, recipe, numpy_generator(1))
        assert images.shape == (6, 3, 96, 160)
        regions = np.stack([map_sources(item, k)[2] for k in range(6)])
        assert (labels.numpy() // literal.SLOTS == regions).mean() >= least
        if not (views or any(copies)):
            assert np.array_equal((255 * images).round().to(torch.uint8).permute(0, 2, 3, 1), item.images)
