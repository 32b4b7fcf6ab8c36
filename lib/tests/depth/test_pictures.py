"""Pictures and panels of depth: drawn with truth, without it, and where only some frames have it."""

import numpy as np
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
