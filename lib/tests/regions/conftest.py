"""A generated street and its graph, for the tests of the cloud and of the panel."""

import numpy as np
import pytest

from lib.data.street import make_clip
from lib.regions import build_graph

from .fixtures import PANEL


@pytest.fixture(scope="module")
def world():
    """A generated street with its true inverse depth: image, inverse depth, intrinsics, labels."""
    clip = make_clip("val", 0, 1, 48, 96)
    inverse = np.clip(1 / clip.depth[0], 1e-6, None).astype(np.float32)
    return clip.images[0], inverse, clip.intrinsics, clip.labels[0]


@pytest.fixture(scope="module")
def graph(world):
    image, inverse, matrix, _ = world
    return build_graph(image, inverse, matrix, PANEL)
