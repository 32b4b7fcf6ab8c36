"""All sources behind one door: partitions, numbers, what each needs, and how large regions are."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.figures import region_sources
from lib.params import RegionParams
from lib.params.schemas import REGION_SOURCES
from lib.regions import contours, grouping, metrics, sources
from lib.regions.sources import Observation, cut_regions

from .fixtures import INTRINSICS, PARAMS, draw_street


def observe(seed=0):
    image, inverse, kind = draw_street(seed)
    labels, instances = kind.astype(np.uint8), np.where(kind >= 2, kind, 0)
    labels[:6] = 255
    return Observation(image, inverse, INTRINSICS, labels, instances, clusters=kind[::2, ::3])


def params_of(source, **values):
    return replace(PARAMS, source=source, learned_from="a run" if source == "learned" else "", **values)


def is_partition(ids, shape):
    return ids.dtype == np.uint16 and ids.shape == shape and np.array_equal(np.unique(ids), np.arange(1, ids.max() + 1))


# --- laws of every source


def test_every_source_of_the_parameters_is_there():
    assert tuple(sources.SOURCES) == REGION_SOURCES


@settings(max_examples=25, deadline=None)
@given(st.integers(8, 40), st.integers(8, 40), st.integers(0, 2**32 - 1), st.sampled_from(["noise", "even"]), st.data())
def test_every_source_gives_a_partition(height, width, seed, kind, draw):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
    inverse, labels = rng.lognormal(0, 1, (height, width)).astype(np.float32), rng.integers(0, 3, (height, width))
    if kind == "even":
        image[:], inverse[:], labels[:] = 90, 0.5, 255
    labels = np.where(labels == 2, 255, labels).astype(np.uint8)
    clusters = rng.integers(0, 4, (draw.draw(st.integers(1, 12)), draw.draw(st.integers(1, 12))))
    matrix = np.array([[width, 0, width / 2], [0, width, height / 2], [0, 0, 1.0]])
    seen = Observation(image, inverse, matrix, labels, None, clusters)
    count = draw.draw(st.integers(0, min(60, height * width)))
    for source in sources.SOURCES:
        params = params_of(source, superpixels=20, count=count)
        ids = cut_regions(seen, params)
        assert is_partition(ids, (height, width)), source
        assert np.array_equal(ids, cut_regions(seen, params)), source


def test_all_sources_at_once_are_each_of_them_at_the_number_of_depth():
    seen = observe()
    found = sources.cut_every_source(seen, params_of("slic", count=3))
    assert set(found) == set(sources.SOURCES)
    count = int(found["depth"].max())
    for source, ids in found.items():
        own = params_of(source, count=0 if source in sources.OWN_COUNT else count)
        assert np.array_equal(ids, cut_regions(seen, own)), source
    unknown = sources.cut_every_source(replace(seen, labels=None, clusters=None), PARAMS)
    assert set(found) - set(unknown) == {"truth", "learned"}


def test_numbers_of_regions():
    seen = observe()
    for count in (3, 12, 40):
        found = {name: int(cut_regions(seen, params_of(name, count=count)).max()) for name in sources.SOURCES}
        assert found["grid"] == found["contours"] == count
        assert abs(found["slic"] - count) <= max(1, count // 3)
        assert abs(found["felzenszwalb"] - count) <= max(1, count // 5)
        assert found["learned"] <= count


def test_without_a_number_as_many_as_depth_gives():
    seen = observe()
    depth = cut_regions(seen, params_of("depth"))
    assert np.array_equal(depth, grouping.group_regions(seen.image, seen.inverse_depth, INTRINSICS, PARAMS))
    for name in ("grid", "contours", "slic", "felzenszwalb"):
        found = cut_regions(seen, params_of(name))
        assert np.array_equal(found, cut_regions(seen, params_of(name, count=int(depth.max()))))
    assert cut_regions(seen, params_of("contours")).max() == depth.max()


def test_truth_is_things_and_what_has_no_label():
    seen = observe()
    ids = cut_regions(seen, params_of("truth"))
    segments = metrics.find_true_segments(seen.labels, seen.instances)
    assert len(np.unique(ids[seen.labels == 255])) == 1
    assert not np.intersect1d(ids[seen.labels == 255], ids[seen.labels != 255]).size
    pairs = np.unique(np.stack([ids[segments > 0], segments[segments > 0]]), axis=1)
    assert pairs.shape[1] == segments.max() == ids.max() - 1
    scores = metrics.score_regions(ids, seen.labels, seen.instances)
    assert (scores["purity"], scores["asa"], scores["under_segmentation"]) == (1, 1, 0)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 99), st.integers(1, 80))
def test_felzenszwalb_keeps_the_nearest_it_saw(seed, count):
    image = draw_street(seed)[0]
    seen, cut = [], sources.felzenszwalb
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "felzenszwalb", lambda *a, **k: seen.append(cut(*a, **k)) or seen[-1])
        ids = sources.cut_felzenszwalb(image, count)
    missed = [abs(int(found.max()) + 1 - count) for found in seen]
    assert abs(int(ids.max()) + 1 - count) == min(missed)
    assert len(seen) <= sources.CUTS
    assert all(miss > sources.NEAR * count for miss in missed[:-1])  # the search ends near the number


# --- what each source needs


@pytest.mark.parametrize(
    ("source", "given", "message"),
    [
        ("depth", {}, "source = 'depth' needs inverse depth"),
        ("depth", {"inverse_depth": np.ones((48, 72), np.float32)}, "source = 'depth' needs intrinsics"),
        ("truth", {}, "source = 'truth' needs labels"),
        ("learned", {}, "source = 'learned' needs clusters"),
        ("slic", {}, "source = 'slic' with count = 0 takes as many regions as depth"),
        ("contours", {}, "set count"),
    ],
)
def test_what_is_missing_is_named(source, given, message):
    with pytest.raises(ValueError, match=message):
        cut_regions(Observation(draw_street()[0], **given), params_of(source))


def test_no_depth_is_needed_where_a_number_is_given():
    seen = Observation(draw_street()[0])
    for source in ("slic", "grid", "felzenszwalb", "contours"):
        assert cut_regions(seen, params_of(source, count=5)).max() >= 1


def test_impossible_numbers_are_refused():
    small, large = Observation(np.zeros((8, 9, 3), np.uint8)), Observation(np.zeros((300, 300, 3), np.uint8))
    for source in ("slic", "grid", "felzenszwalb", "contours"):
        with pytest.raises(ValueError, match="73 regions cannot be cut from 8 x 9 pixels: set count to at most 72"):
            cut_regions(small, params_of(source, count=73))
        with pytest.raises(ValueError, match="at most 65535"):
            cut_regions(large, params_of(source, count=70_000))


def test_regions_beyond_16_bits_are_refused():
    labels = (np.indices((300, 300)).sum(axis=0) % 2).astype(np.uint8)
    seen = Observation(np.zeros((300, 300, 3), np.uint8), labels=labels)
    with pytest.raises(ValueError, match="90000 regions do not fit into 16 bits"):
        cut_regions(seen, params_of("truth"))


def test_wrong_arrays_are_refused():
    image = draw_street()[0]
    with pytest.raises(ValueError, match="need an RGB image"):
        Observation(image[..., 0])
    with pytest.raises(ValueError, match="need an RGB image"):
        Observation(image.astype(float))
    for name in ("inverse_depth", "labels", "instances"):
        with pytest.raises(ValueError, match=f"{name.replace('_', ' ')} .* differ in size"):
            Observation(image, **{name: np.zeros((4, 5), np.uint8)})


def test_a_number_for_learned_is_a_limit(monkeypatch):
    called = []
    monkeypatch.setattr(sources, "group_learned", lambda *a: called.append(a[-1]) or np.ones((48, 72), int))
    for count in (0, 7):
        cut_regions(observe(), params_of("learned", count=count))
    assert called == [0, 7]


# --- sizes


def draw_sizes(exponent, smallest, count, seed=0):
    """Whole numbers from a power law: the inverse of its distribution function, half a step below the bound."""
    uniform = np.random.default_rng(seed).random(count)
    return np.floor((smallest - 0.5) * (1 - uniform) ** (-1 / (exponent - 1)) + 0.5).astype(np.int64)


@pytest.mark.parametrize("exponent", [1.6, 2.0, 2.5, 3.2])
@pytest.mark.parametrize("smallest", [6, 30])
def test_the_exponent_of_draws_is_found(exponent, smallest):
    for seed in range(3):
        sizes = draw_sizes(exponent, smallest, 4000, seed)
        found = metrics.fit_exponent(*metrics.sum_tail(sizes, smallest))
        assert abs(found - exponent) < 4 * (exponent - 1) / np.sqrt(4000) + 0.01 * exponent


def test_sizes_below_the_bound_do_not_count_and_sums_add_up():
    sizes = draw_sizes(2.2, 10, 500)
    first, second = (metrics.sum_tail(part, 10) for part in (sizes[:200], sizes[200:]))
    both = metrics.sum_tail(np.concatenate([sizes, np.arange(10)]), 10)
    assert both == (500, pytest.approx(first[1] + second[1]))
    assert np.isnan(metrics.fit_exponent(*metrics.sum_tail(sizes, 10**12)))
    with pytest.raises(ValueError, match="at least 1 pixel"):
        metrics.sum_tail(sizes, 0)


def test_an_exponential_law_is_no_power_law():
    """Its fitted exponent grows with the bound; that of a power law stays."""
    rng = np.random.default_rng(0)
    exponential, power = 1 + rng.exponential(40, 20_000).astype(int), draw_sizes(2.3, 10, 20_000)
    low, high = (
        [metrics.fit_exponent(*metrics.sum_tail(s, bound)) for s in (exponential, power)] for bound in (10, 80)
    )
    assert high[0] > low[0] + 0.5
    assert abs(high[1] - low[1]) < 0.15


def test_largest_and_median_region():
    regions = np.array([[1, 1, 1, 2], [1, 1, 5, 5]])
    assert metrics.count_sizes(regions).tolist() == [5, 2, 1]
    assert metrics.measure_sizes(regions) == {"largest_region": 5 / 8, "median_region": 2 / 8}
    grid = metrics.cut_grid((40, 80), 8)
    assert metrics.measure_sizes(grid) == {"largest_region": 1 / 8, "median_region": 1 / 8}


# --- pictures


def test_pictures_of_all_sources():
    seen = observe()
    maps = {name: cut_regions(seen, params_of(name, count=12)) for name in sources.SOURCES}
    figure = region_sources.draw_sources(seen.image, maps)
    assert [axes.get_title() for axes in figure.axes if axes.images][: len(maps)] == [
        f"{name}: {ids.max()}" for name, ids in maps.items()
    ]
    sizes = {name: [ids, ids] for name, ids in maps.items()}
    law = region_sources.draw_size_law(sizes)
    (axes,) = law.axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list(maps)
    for line, ids in zip(axes.lines, maps.values()):
        shares, above = line.get_data()
        expected = [np.mean(metrics.count_sizes(ids) / ids.size >= share) for share in shares]
        assert np.allclose(above, expected)
        assert above[0] == 1
    assert all(len(picture._repr_mimebundle_()) == 1 for picture in (figure, law))


def test_contours_do_not_see_depth():
    seen = observe()
    other = replace(seen, inverse_depth=seen.inverse_depth[::-1].copy())
    cut = partial(cut_regions, params=params_of("contours", count=9))
    assert np.array_equal(cut(seen), cut(other))
    assert np.array_equal(cut(seen), contours.cut_contours(seen.image, 9))
    assert RegionParams().source == "depth"
