"""Random numbers, triplets of noise, the task that learns from them; and that no thread outlives a test."""

import threading

import numpy as np
import pytest

from lib import depth
from lib.data.street.dataset import Street
from lib.parallel import numpy_generator, torch_generator

from .fixtures import PARAMS, SIZE, K, depth_params


@pytest.fixture
def rng():
    return torch_generator(0, 2)


@pytest.fixture(scope="module")
def triplets():
    images = numpy_generator(0, 4).integers(0, 256, (7, *SIZE, 3), dtype=np.uint8)
    members = np.arange(5)[:, None] + np.arange(3)
    matrix = K.copy()
    matrix[0, 2] += 3  # a principal point off the middle, which a flip must move
    matrices = np.repeat(matrix[None], 5, 0).astype(np.float32)
    return depth.Triplets(images, members, matrices, np.zeros(5, bool), np.zeros(5, int))


@pytest.fixture(scope="module")
def task(triplets):
    return depth.DepthTask(PARAMS, triplets, steps=8)


@pytest.fixture(scope="module")
def street(tmp_path_factory):
    return Street(depth_params("learned"), cache=tmp_path_factory.mktemp("street"))


@pytest.fixture
def no_thread_stays():
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before
