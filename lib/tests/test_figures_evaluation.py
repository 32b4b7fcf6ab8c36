"""Pictures and panel of notebook 05, without a browser."""

import io

import cv2
import numpy as np
import pytest
import torch

from lib.data.labels import CAMVID_11, STREET
from lib.figures import evaluation as draw
from lib.figures import gallery
from lib.training.pictures import color_features
from lib.widgets.evaluation import explore_similarity

RNG = np.random.default_rng(0)


PROTOCOLS = [
    {"classes": classes, "crop": crop, "view": "plain", "clustering": f"k-means, seed {seed}", "matching": "iou"}
    | {"miou": 0.2 + 0.01 * seed, "accuracy": 0.5, "counted": 12}
    for classes in ("generated streets", "Cityscapes 7")
    for crop in ("whole image", "centre square")
    for seed in range(2)
] + [
    {"classes": "Cityscapes 7", "crop": "whole image", "view": "plain", "clustering": "none", "clusters": 40}
    | {"matching": matching, "miou": 0.3, "accuracy": 0.5, "counted": 7}
    for matching in ("greedy", "count")
]


def png_bytes(figure):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return len(buffer.getvalue())


def test_every_picture_is_drawn_and_small():
    classes, clusters = len(STREET), np.arange(40) % 12
    pairs = RNG.integers(0, 99, (classes, 40))
    images = RNG.integers(0, 256, (3, 16, 32, 3)).astype(np.uint8)
    labels = np.array(STREET.ids)[RNG.integers(0, classes, (3, 16, 32))]
    embeddings = torch.randn(3, 8, 4, 8, generator=torch.Generator().manual_seed(0))
    iou = np.where(np.arange(classes) == 3, np.nan, 0.5)
    scores = {"ours": (0.3, 0.6), "greedy": (0.4, 0.7), "floor": (0.2, 0.5)}
    for figure in (
        draw.draw_merging(torch.randn(40, 8), clusters, pairs, STREET),
        draw.draw_matching(RNG.random((classes, 5)), np.array([3, -1, 0, 5, 7]), STREET),
        draw.draw_scores(scores, (0.25, 0.33), ours=1),
        draw.draw_classes(
            {"ours": iou, "floor": iou}, [(0.4, 0.6)] * classes, RNG.integers(0, 9, (classes, classes + 1)), STREET
        ),
        draw.draw_predictions(images, labels, labels, STREET, [0.5, 0.4, 0.3]),
        draw.draw_similarity(images, embeddings, row=3, column=9),
        draw.draw_protocols(PROTOCOLS),
    ):
        assert 0 < png_bytes(figure) < 150_000


def test_the_gallery_has_the_worst_first_and_says_what_is_wrong(tmp_path):
    truth = np.full((3, 4, 10), 0, np.uint8)
    truth[:, :, 5:], truth[:, 0, 0] = 13, 255  # road and car
    predicted = truth.copy()
    predicted[1, :, 5:8], predicted[2, :2, 1:] = 0, 255
    images = RNG.integers(0, 256, (3, 4, 10, 3)).astype(np.uint8)
    assert gallery.tell_confusions(predicted[1], truth[1], STREET) == ["car taken for road: 31% of the frame"]
    assert gallery.tell_confusions(predicted[0], truth[0], STREET) == []
    told = gallery.tell_confusions(predicted[2], truth[2], STREET, most=1)
    assert told == ["car taken for nothing: 26% of the frame"]
    marked = gallery.mark_mistakes(images[1], predicted[1], truth[1])
    red = marked[..., 0].astype(int) - marked[..., 2] > 50
    assert np.array_equal(red, predicted[1] != truth[1])
    assert not marked[0, 0].any()
    path = tmp_path / "failures.html"
    scores, blocks = np.array([0.9, 0.2, 0.4]), np.array(["x", "y", "z"])
    gallery.write_gallery(path, ["a", "<b>", "c"], images, predicted, truth, STREET, scores, blocks, most=2)
    page = path.read_text()
    assert page.index("&lt;b&gt;") < page.index("<strong>c</strong>")
    assert "<strong>a</strong>" not in page
    assert page.count("data:image/png;base64,") == 8
    assert "2 of 3 frames" in page


def test_the_worst_frames_come_from_several_clips():
    scores, blocks = np.array([0.1, 0.2, 0.3, np.nan, 0.5]), np.array(["a", "a", "b", "b", "c"])
    assert gallery.pick_worst(scores, blocks, 2).tolist() == [0, 2]
    assert gallery.pick_worst(scores, blocks, 6).tolist() == [0, 1, 2, 4], "a frame that nobody labelled is not bad"
    assert gallery.pick_worst(scores[:3], np.array(["a"] * 3), 2).tolist() == [0, 1]


def test_indices_become_train_ids_and_unnamed_becomes_ignore():
    found = draw.to_train_ids(np.array([0, 11, -1, 255]), STREET)
    assert found.tolist() == [0, 13, 255, 255]
    assert found.dtype == np.uint8
    indices = RNG.integers(0, 11, (4, 5))
    np.testing.assert_array_equal(CAMVID_11.to_index(draw.to_train_ids(indices, CAMVID_11)), indices)


def test_like_features_get_like_colours():
    embeddings = torch.zeros(2, 6, 4, 4)
    embeddings[:, 0], embeddings[:, 1, :2], embeddings[0, 2, :, :2] = 1, 2, 3
    embeddings = embeddings + 0.01 * torch.randn(embeddings.shape, generator=torch.Generator().manual_seed(0))
    first, second = (c.astype(int) for c in color_features(embeddings, (4, 4)))
    assert abs(first[0, 3] - second[0, 0]).max() < 40
    assert abs(first[0, 3] - first[3, 0]).max() > 80


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_features_that_hardly_vary_have_colours_too(dimensions):
    for embeddings in (torch.randn(2, dimensions, 4, 4), torch.ones(2, dimensions, 4, 4)):
        colors = color_features(embeddings, (8, 8))
        assert [c.shape for c in colors] == [(8, 8, 3)] * 2
    assert not np.any(colors[0] != colors[0][0, 0])


def test_the_panel_redraws_for_another_pixel():
    images = RNG.integers(0, 256, (2, 16, 32, 3)).astype(np.uint8)
    panel = explore_similarity(images, torch.randn(2, 8, 4, 8, generator=torch.Generator().manual_seed(1)))
    frame, pixel, picture = panel.children
    seen = [picture.value]
    for change in (lambda: setattr(pixel, "value", (3, 2)), lambda: setattr(frame, "value", 1)):
        clicked = pixel.png
        change()
        assert picture.value not in seen
        seen.append(picture.value)
    assert pixel.png != clicked, "the other frame is there to be clicked on"
    assert (pixel.size, pixel.value) == ((16, 32), (3, 2))
    assert cv2.imdecode(np.frombuffer(pixel.png, np.uint8), cv2.IMREAD_COLOR).shape == (256, 512, 3)
    with pytest.raises(IndexError):
        draw.draw_similarity(images, torch.randn(2, 8, 4, 8), row=16, column=0)
