"""What the tests of learning depth share: a small size, its settings and camera, and a few frames in memory;
and what the tests of depth from elsewhere share."""

import numpy as np

from lib.data import Dataset, Frame
from lib.data.labels import STREET
from lib.depth.sources import DepthSource, describe
from lib.intrinsics import intrinsics_from_field_of_view
from lib.parallel import numpy_generator
from lib.params import DepthParams

SIZE = (64, 96)
PARAMS = DepthParams(height=SIZE[0], width=SIZE[1], batch=3, scales=2)
K = intrinsics_from_field_of_view(80.0, *SIZE)
COUNTS = {"train_clips": 1, "val_clips": 3, "test_clips": 1, "frames_per_clip": 3, "scored_frames_per_clip": 2}


class Memory(Dataset):
    """A few frames with truth, in memory."""

    name, classes, size = "street", STREET, SIZE

    def __init__(self, count=6, truth=True):
        rng = numpy_generator(0, 9)
        self._frames = [Frame(f"a/{i}", "a", "train", i / 10) for i in range(count)]
        self.images = rng.integers(0, 256, (count, *SIZE, 3), dtype=np.uint8)
        self.true = rng.uniform(2, 60, (count, *SIZE)).astype(np.float32) if truth else [None] * count

    def _number(self, frame):
        return int(frame.id.split("/")[1])

    def image(self, frame):
        return self.images[self._number(frame)]

    def depth(self, frame):
        return self.true[self._number(frame)]

    def labels(self, frame):
        return np.full(SIZE, 13, np.uint8) if self.depth(frame) is not None else None

    def moving(self, frame):
        return np.arange(SIZE[1])[None] + np.zeros(SIZE) < 10


def depth_params(source: str, **more) -> DepthParams:
    return DepthParams(source=source, workers=1, **{**COUNTS, **more})


def take(source: DepthSource, dataset, frames) -> np.ndarray:
    """Maps of frames, after the checks that hold for every source."""
    maps = source(frames, np.stack([dataset.image(f) for f in frames]))
    assert maps.shape == (len(frames), *dataset.size)
    assert maps.dtype == np.float32
    assert np.isfinite(maps).all()
    assert maps.min() >= 0
    assert source.largest is None or source.largest > 0
    assert source.unit in describe(source)
    return maps
