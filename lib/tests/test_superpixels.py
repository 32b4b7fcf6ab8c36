import numpy as np
import pytest
from skimage.measure import label
from skimage.segmentation import slic

from lib.superpixels import average, find_edges, segment_superpixels


@pytest.fixture
def image():
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 255, (6, 9, 3)).repeat(8, axis=0).repeat(8, axis=1)
    return np.clip(blocks + rng.normal(0, 6, blocks.shape), 0, 255).astype(np.uint8)


def test_superpixels_are_a_partition_into_connected_patches(image):
    ids = segment_superpixels(image, 60)
    assert ids.shape == image.shape[:2]
    assert ids.dtype == np.int32
    assert np.array_equal(np.unique(ids), np.arange(ids.max() + 1))
    assert abs(ids.max() + 1 - 60) <= 20
    assert all(label(ids == i, connectivity=1).max() == 1 for i in range(ids.max() + 1))


def test_same_image_same_superpixels_and_nearly_those_of_scikit_image(image):
    ids = segment_superpixels(image, 60)
    assert np.array_equal(ids, segment_superpixels(image, 60))
    plain = slic(image, n_segments=60, compactness=10, sigma=1, start_label=0)
    best = sum(np.bincount(plain[ids == i]).max() for i in range(ids.max() + 1))
    assert best / ids.size > 0.97  # only OpenCV's rounding of Lab differs


@pytest.mark.parametrize("value", [0, 255])
def test_one_colour_gives_a_grid(value):
    ids = segment_superpixels(np.full((32, 48, 3), value, np.uint8), 24)
    assert ids.max() + 1 == 24


def test_one_superpixel_has_no_edges(image):
    ids = segment_superpixels(image, 1)
    assert ids.max() == 0
    assert find_edges(ids).shape == (0, 2)


def test_edges_against_a_loop_over_pixels():
    ids = np.random.default_rng(1).integers(0, 12, (9, 11))
    ids[0, :12] = np.arange(11)
    slow = set()
    for r in range(9):
        for c in range(11):
            for r2, c2 in ((r + 1, c), (r, c + 1)):
                if r2 < 9 and c2 < 11 and ids[r, c] != ids[r2, c2]:
                    slow.add((min(ids[r, c], ids[r2, c2]), max(ids[r, c], ids[r2, c2])))
    assert find_edges(ids).tolist() == [list(pair) for pair in sorted(slow)]


def test_edges_of_more_superpixels_than_pairs_fit_into_32_bits():
    ids = np.arange(220 * 220, dtype=np.int32).reshape(220, 220)  # each pixel its own
    across, down = (np.stack([a.ravel(), b.ravel()], 1) for a, b in ((ids[:, :-1], ids[:, 1:]), (ids[:-1], ids[1:])))
    assert set(map(tuple, find_edges(ids).tolist())) == set(map(tuple, np.concatenate([across, down]).tolist()))


def test_average_against_masks_and_painted_back():
    rng = np.random.default_rng(2)
    ids = rng.permutation(np.arange(60) % 7).reshape(6, 10)
    values = rng.normal(size=(6, 10, 3))
    means = average(values, ids)
    assert np.allclose(means, [values[ids == i].mean(axis=0) for i in range(7)])
    assert np.allclose(average(means[ids], ids), means)
    assert average(values[..., 0], ids).shape == (7,)


def test_wrong_input_is_refused(image):
    with pytest.raises(ValueError, match="RGB image"):
        segment_superpixels(image[..., 0], 10)
    with pytest.raises(ValueError, match="RGB image"):
        segment_superpixels(image / 255.0, 10)
    with pytest.raises(ValueError, match="cannot be cut"):
        segment_superpixels(image, 48 * 72 + 1)
