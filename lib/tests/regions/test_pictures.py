"""Pictures of notebook 02 are drawn; its panel answers (see test_widgets)."""

import numpy as np

from lib.data.labels import CITYSCAPES_19
from lib.figures import regions as pictures
from lib.figures.region_cloud import draw_boundaries
from lib.regions import count_mixtures, grouping
from lib.regions.grouping import weigh_edges
from lib.widgets.regions import explore_weights

from .fixtures import INTRINSICS, PARAMS, draw_street


def test_every_picture_is_drawn_and_the_panel_answers():
    image, inverse, kind = draw_street()
    graph = grouping.build_graph(image, inverse, INTRINSICS, PARAMS)
    regions, weights = grouping.group_graph(graph, PARAMS), weigh_edges(graph, PARAMS)
    labels = np.where(kind == 3, 255, kind).astype(np.uint8)
    scores = {prefix + name: 0.5 for prefix in ("", "slic_", "grid_") for name in pictures.SCORES}
    drawn = [
        pictures.draw_superpixels(image, inverse, graph.superpixels),
        pictures.draw_nodes(graph),
        draw_boundaries(image, inverse, INTRINSICS, graph, {"occlusion": 3, "support": 7}),
        pictures.draw_grouping(image, graph, weights, regions),
        pictures.draw_weights(weights, PARAMS.cut, weights > 0.5),
        pictures.draw_scores(scores),
        pictures.draw_failures([image], [regions], [labels]),
        pictures.draw_mixtures(*count_mixtures(regions, labels, 60), CITYSCAPES_19),
    ]
    assert all(len(picture._repr_mimebundle_()) == 1 for picture in drawn)
    bars = drawn[-1].axes[0]
    assert 1 <= len(bars.patches) <= 6
    assert all(" in a region of " in text.get_text() for text in bars.get_yticklabels())
    panel = explore_weights(image, graph, PARAMS)
    before = panel.children[-1].value
    panel.children[0].value = 60.0
    assert panel.children[-1].value != before
