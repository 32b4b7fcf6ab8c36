"""What a run has by itself: its networks, and the depth that comes with its data."""

from typing import Any

import numpy as np

from ...data import Dataset, Frame
from ..task import predict_inverse_depth
from .interface import METRE, DepthSource, invert, need_frames


class Learned(DepthSource):
    """The networks of this run. In 1 / metre if right images, whose baseline is known, were learned from."""

    name, about = "learned", "predicted by the networks that were trained on this video"

    def __init__(self, params: Any, networks: Any) -> None:
        super().__init__()
        if networks is None:
            raise ValueError(
                "source = learned needs trained networks: hand them to open_source, or take another source"
            )
        self._networks, self.largest, self.metric = networks, 1 / params.min_depth, params.stereo
        self.unit = METRE if params.stereo else "1 / scene unit"

    def _predict(self, frames: list[Frame], images: np.ndarray) -> np.ndarray:
        return predict_inverse_depth(self._networks, images)


class Measured(DepthSource):
    """The data set's own depth: true, from its sensors, or the folder `params.maps`, whose unit nobody knows."""

    name, about = "measured", "the data set's own, measured or true"
    advice = "give a folder of 16-bit depth in `maps`, or choose another source"

    def __init__(self, params: Any, dataset: Dataset) -> None:
        super().__init__()
        self._dataset, self.metric = dataset, not params.maps
        self.largest = 1 / params.min_depth if self.metric else None
        if params.maps:
            self.unit, self.about = "an unknown unit", "read from the folder of maps"
        need_frames(dataset, lambda frame: dataset.depth(frame) is not None, "no measured depth", self.advice)

    def _predict(self, frames: list[Frame], images: np.ndarray) -> np.ndarray:
        maps = np.zeros(images.shape[:3], np.float32)
        for target, frame in zip(maps, frames):
            depth = self._dataset.depth(frame)
            if depth is None:
                raise ValueError(f"{self._dataset.name} has no measured depth at {frame.id}; {self.advice}")
            target[:] = invert(depth)
        return maps
