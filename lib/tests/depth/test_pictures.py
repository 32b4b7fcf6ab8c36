"""Pictures and panels of depth: drawn with truth, without it, and where only some frames have it."""

import io

import numpy as np
import pytest
from matplotlib.figure import Figure

from lib import depth
from lib.figures import depth as pictures
from lib.widgets.depth import explore_pixel, show_pixel

from .fixtures import PARAMS, SIZE, K, Memory


def test_pictures_of_frames_of_which_some_have_truth():
    dataset = Memory()
    dataset.true = [None, dataset.true[1]]
    images, frames = dataset.images[:2], dataset.frames()[:2]
    titles = [axes.get_title() for axes in pictures.draw_clip(dataset, frames).axes]
    assert "true depth" in titles
    inverse = np.full((2, *SIZE), 0.1)
    mixed = pictures.draw_depth(images, inverse, dataset.true, 1 / inverse)
    assert [axes.get_title() for axes in mixed.axes][2:4] == ["true depth", "error (white: > 50 %)"]
    blind = pictures.draw_depth(images, inverse, [None, None], 1 / inverse)
    assert [axes.get_title() for axes in blind.axes] == ["frame", "predicted depth", "", ""]


def sparse_maps(width, share=0.02):
    """A dense depth of two walls, and the few pixels of it that a scan has."""
    dense = np.where(np.arange(width) < width // 2, 8.0, 40.0) + np.zeros((width // 4, 1))
    return dense, np.where(np.random.default_rng(0).random(dense.shape) < share, dense, 0)


@pytest.mark.parametrize(("width", "times"), [(128, 4), (640, 8)])
def test_sparse_truth_is_drawn_in_blots(width, times):
    dense, sparse = sparse_maps(width)
    seen = pictures.thicken(sparse, sparse > 0)
    assert (seen > 0).sum() > times * (sparse > 0).sum()
    np.testing.assert_array_equal(seen[sparse > 0], sparse[sparse > 0])
    away = np.abs(np.arange(width) - width / 2) > 5
    np.testing.assert_array_equal(seen[:, away][seen[:, away] > 0], dense[:, away][seen[:, away] > 0])
    for known in (dense, np.where(np.arange(width) % 2, dense, 0), np.zeros_like(dense)):
        assert pictures.thicken(known, known > 0) is known


def grey_share(axes):
    """Share of a picture of depth without a value."""
    return (axes.images[0].get_array() == 128).all(-1).mean()


def test_pictures_beside_truth_draw_what_a_scan_has():
    dense, sparse = sparse_maps(128)
    image, error = np.zeros((*dense.shape, 3), np.uint8), np.where(sparse > 0, 0.4, 0)
    predicted, share = 1 / (1.5 * dense), (sparse > 0).mean()
    found = pictures.draw_depth([image], [predicted], [sparse], [1 / predicted])
    failed = pictures.draw_failures([image], [predicted], [sparse], [error], ["a"])
    for axes in (found.axes, failed.axes):
        assert grey_share(axes[2]) < 1 - 4 * share
        assert (axes[3].images[0].get_array() > 0).any(-1).mean() > 4 * share
    thick = pictures.draw_failures([image], [predicted], [dense], [error], ["a"]).axes[3]
    assert (thick.images[0].get_array() > 0).any(-1).mean() == share, "dense truth stays"


def search(places, true=None, size=(96, 320)):
    """The picture of a search whose loss is lowest at 10, where 12 is predicted."""
    images, depths = np.zeros((2, *size, 3), np.uint8), np.geomspace(1, 100, len(places))
    errors = np.abs(np.log(depths / 10))
    return pictures.draw_search(images, (200, 60), places, depths, errors, 12.0, true=true)


def test_the_search_for_a_pixel_is_enlarged_around_its_line():
    line = np.stack([np.linspace(230, 200, 50), np.linspace(70, 60, 50)], 1)
    figure, told = search(line), search(line, true=9.0)
    _, middle, right = figure.axes
    assert middle.images[0].get_array().shape[:2] == (24, 80)
    (a, b), (bottom, top) = middle.get_xlim(), middle.get_ylim()
    assert (b - a, bottom - top) == (80, 24)
    assert a < 200 < 230 < b
    assert top < 60 < 70 < bottom
    names = [text.get_text() for text in told.legends[0].get_texts()]
    assert names[:4] == ["nearest candidate, 1", "farthest candidate, 100", "predicted, 12", "true, 9"]
    assert names[4].startswith("lowest loss, ")
    assert len(figure.legends[0].get_texts()) == 4
    assert len(told.axes[2].lines) == len(right.lines) + 2
    assert "grey" not in right.get_title()


@pytest.mark.parametrize(
    ("first", "last", "size"),
    [((310, 90), (319, 95), (24, 80)), ((-500, 300), (200, 60), None), ((0, 40), (319, 60), (96, 320))],
)
def test_the_window_of_a_search_stays_in_the_frame(first, last, size):
    axes = search(np.linspace(first, last, 50), true=9.0).axes[1]
    assert size in (None, axes.images[0].get_array().shape[:2])
    (a, b), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    assert -0.5 <= a < b <= 319.5
    assert -0.5 <= top < bottom <= 95.5


@pytest.mark.parametrize("place", [(200.0, 60.0), (-50.0, 60.0), (np.nan, np.nan)])
def test_a_search_without_a_line_is_drawn_too(place):
    """The camera rests, or all candidates fall outside the frame."""
    figure = search(np.full((50, 2), place), true=9.0)
    assert figure.axes[1].images[0].get_array().shape[:2] == (24, 80)
    figure.savefig(io.BytesIO(), format="png")


def test_pictures_and_panel_are_drawn(task, triplets):
    dataset, frames = Memory(), Memory().frames()
    figure = show_pixel(task.networks, triplets.images[:2], K, 0.85, 20, 10)
    assert isinstance(figure, Figure)
    assert isinstance(pictures.draw_clip(dataset, frames[:2]), Figure)
    assert isinstance(pictures.draw_clip(Memory(truth=False), frames[:2]), Figure)
    masks = depth.explain_triplet(task.networks, triplets.images[:3], K, PARAMS)
    assert isinstance(pictures.draw_masks(triplets.images[1], *masks), Figure)
    box = explore_pixel(task.networks, triplets.images[:2], K, 0.85)
    before = box.children[-1].value
    box.children[0].value = 3
    assert box.children[-1].value != before
