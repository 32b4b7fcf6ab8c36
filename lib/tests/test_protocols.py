"""One prediction by every protocol: each row against a slow scoring of the pixels themselves."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lib.clustering import cluster_by_means
from lib.codebooks import Codebook
from lib.data import open_dataset
from lib.data.labels import CAMVID_11, CITYSCAPES_7, CITYSCAPES_19, IGNORE, STREET
from lib.evaluation import Labeling, count_protocols, find_labelings, protocols, score_protocols
from lib.evaluation.protocols import cut_center, merge_classes
from lib.params import DepthParams

from .data import layouts

PROTOTYPES = 16


def random_maps(seed, classes=12):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, (3, 6, 10)).astype(np.uint8)
    prototypes = np.where(rng.random(truth.shape) < 0.5, truth % PROTOTYPES, rng.integers(0, PROTOTYPES, truth.shape))
    truth[rng.random(truth.shape) < 0.1] = IGNORE
    return truth, prototypes


def slow_score(truth, prototypes, naming_truth, naming_prototypes, classes, clusters, matching):
    """mIoU and accuracy from label maps, one pixel set after the other."""
    found, named = clusters[prototypes], clusters[naming_prototypes]
    overlap = np.zeros((classes, clusters.max() + 1))
    for c in range(classes):
        for k in range(clusters.max() + 1):
            a, b = naming_truth == c, (named == k) & (naming_truth != IGNORE)
            both, either = (a & b).sum(), (a | b).sum()
            overlap[c, k] = both / max(either, 1) if matching == "iou" else both
    if matching == "greedy":
        names = {k: int(overlap[:, k].argmax()) for k in range(overlap.shape[1]) if overlap[:, k].sum()}
    else:
        from scipy.optimize import linear_sum_assignment

        names = {k: c for c, k in zip(*linear_sum_assignment(-overlap))}
    predicted = np.vectorize(lambda k: names.get(k, -1))(found)
    valid, ious = truth != IGNORE, []
    for c in range(classes):
        if (truth == c).any():
            ious.append(((predicted == c) & (truth == c)).sum() / (((predicted == c) & valid) | (truth == c)).sum())
    return np.mean(ious), (predicted == truth)[valid].mean()


def look(maps, mirrored=False):
    """Stands in for a network: images are maps of prototypes; the other book has half as many directions."""
    turned = maps[:, ::-1] if mirrored else maps
    return {"prototypes": turned, "other": turned[:, :, ::-1] // 2}


def make_books():
    ways = {
        "a": lambda clusters: np.arange(PROTOTYPES) % clusters,
        "b": lambda clusters: np.arange(PROTOTYPES) // 2,
    }
    some = torch.zeros(PROTOTYPES // 2, 3)
    return {
        "prototypes": Codebook(torch.zeros(PROTOTYPES, 3), ways),
        "other": Codebook(some, {"c": lambda clusters: np.arange(len(some)) % clusters}, clusters=7),
    }


def test_every_row_is_what_its_protocol_says(monkeypatch):
    monkeypatch.setattr(protocols, "GREEDY", (5, 13, 16))  # the first and the last are left out
    data = {part: random_maps(seed) for part, seed in (("scored", 0), ("naming", 1))}
    table = merge_classes(STREET)
    counts, labels, books = {}, {}, make_books()
    groups = {name: group for book in books.values() for name, group in book.groupings.items()}
    for part, (truth, prototypes) in data.items():
        labelings = [Labeling(STREET, truth), Labeling(CITYSCAPES_7, table[truth])]
        labels[part] = {one.classes.name: one for one in labelings}
        counts[part] = count_protocols(labelings, look, prototypes, look(prototypes), books)
    rows = score_protocols(counts["scored"], counts["naming"], books, {"split": "x"})
    assert len(rows) == 2 * 2 * ((2 * 2 + 2) + (3 * 2 + 2)), "one book can be cut into seven clusters alone"
    ways = {tuple(row[k] for k in ("classes", "crop", "view", "clustering", "clusters", "matching")) for row in rows}
    assert len(ways) == len(rows)
    assert all(row["split"] == "x" for row in rows)
    assert {row["crop"] for row in rows} == {"whole image 6x10", "centre square 6x6"}
    assert {row["clusters"] for row in rows if row["matching"] == "greedy"} == {13, 16}
    for row in rows:
        crop = row["crop"].rpartition(" ")[0]
        cut = cut_center if crop == "centre square" else np.asarray
        book, mirrored = "other" if row["clustering"] == "c" else "prototypes", row["view"] != "plain"
        maps = [
            each
            for part, (_, prototypes) in data.items()
            for each in (cut(labels[part][row["classes"]].truth), look(cut(prototypes), mirrored)[book])
        ]
        found = groups.get(row["clustering"], lambda _: np.arange(PROTOTYPES))
        classes, clusters = len(labels["scored"][row["classes"]].classes), found(row["clusters"])
        expected = slow_score(*maps, classes, clusters, row["matching"])
        assert (row["miou"], row["accuracy"]) == pytest.approx(expected), row
        assert row["counted"] == len(np.setdiff1d(np.unique(maps[0]), [IGNORE]))


def test_the_centre_is_a_square_in_the_middle():
    maps = np.arange(2 * 4 * 9).reshape(2, 4, 9)
    assert np.array_equal(cut_center(maps), maps[:, :, 2:6])
    assert np.array_equal(cut_center(maps.transpose(0, 2, 1)), maps.transpose(0, 2, 1)[:, 2:6])


def test_a_large_square_becomes_that_of_the_papers():
    """PiCIE and STEGO bring the shorter side to 320, then cut 320 x 320; labels stay labels."""
    ramp = np.broadcast_to(np.arange(800, dtype=np.float32)[None, :, None], (400, 800, 3)).astype(np.uint8)
    assert cut_center(ramp[None]).shape == (1, 320, 320, 3)
    labels = np.zeros((2, 400, 800), np.uint8)
    labels[:, :, 400:] = 7
    found = cut_center(labels)
    assert found.shape == (2, 320, 320)
    assert (found[:, :, :160] == 0).all()
    assert (found[:, :, 160:] == 7).all()
    assert cut_center(labels[:, :300]).shape == (2, 300, 300), "nothing is made larger"


def test_classes_become_their_category():
    names = [CITYSCAPES_7.names[i] for i in merge_classes(STREET)[: len(STREET)]]
    assert dict(zip(STREET.names, names)) == {
        "road": "flat", "sidewalk": "flat", "building": "construction", "wall": "construction",
        "fence": "construction", "pole": "object", "traffic sign": "object", "vegetation": "nature",
        "terrain": "nature", "sky": "sky", "person": "human", "car": "vehicle",
    }  # fmt: skip
    assert merge_classes(CITYSCAPES_19)[255] == IGNORE
    assert merge_classes(CITYSCAPES_19)[18] == CITYSCAPES_7.names.index("vehicle")


def test_labelings_follow_what_a_data_set_stores(tmp_path):
    layouts.write_cityscapes(tmp_path)
    values = DepthParams(dataset="cityscapes", data_root=str(tmp_path), height=64, width=128)
    data = open_dataset(values)
    frames = data.frames("val", labelled=True)
    truth = np.stack([data.classes.to_index(data.labels(frame)) for frame in frames])
    found = find_labelings(values, data, frames, truth)
    assert [len(one.classes) for one in found] == [19, 27, 7]
    merged = merge_classes(CITYSCAPES_19)[truth]
    known = truth != IGNORE
    assert np.array_equal(found[2].truth[known], merged[known])  # and more pixels: parking is flat, and no train id
    assert (found[1].truth != IGNORE).sum() >= known.sum()
    street = SimpleNamespace(dataset="street", scored_dataset="")
    one, other = find_labelings(street, SimpleNamespace(classes=STREET), [], np.array([[[0, 11, 255]]]))
    assert one.classes is STREET
    assert other.truth.tolist() == [[[0, 6, 255]]]
    camvid = SimpleNamespace(dataset="camvid", scored_dataset="")
    assert len(find_labelings(camvid, SimpleNamespace(classes=CAMVID_11), [], np.zeros((1, 1, 1), np.uint8))) == 1


@pytest.mark.parametrize("spherical", [False, True])
def test_means_find_directions_that_lie_apart(spherical):
    rng = np.random.default_rng(0)
    centers = np.eye(5)[:4]
    sizes = (20, 12, 7, 3)
    parts = [5 * rng.random((n, 1)) * (c + 0.1 * rng.normal(size=(n, 5))) for n, c in zip(sizes, centers)]
    vectors, truth = torch.from_numpy(np.concatenate(parts)), np.repeat(range(4), sizes)
    found = cluster_by_means(vectors, 4, 0, spherical).numpy()
    assert np.array_equal(found, truth)  # the largest first
    assert np.array_equal(cluster_by_means(vectors, 4, 0, spherical).numpy(), found)
