"""Controls: depth that knows nothing of the frame."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...data import Dataset, Frame
from ...parallel import numpy_generator
from .interface import DepthSource


class Constant(DepthSource):
    """The same everywhere: what any other source has to beat."""

    name, about, metric, unit, largest = "constant", "1 at every pixel, a control", False, "no unit", 1.0

    def __init__(self, params: Any = None, dataset: Dataset | None = None) -> None:
        super().__init__()

    def _predict(self, frames: list[Frame], images: np.ndarray) -> np.ndarray:
        return np.ones(images.shape[:3], np.float32)


def derange(clips: Sequence[str], seed: int) -> np.ndarray:
    """For each frame another one, of another clip if there are two: a function of its arguments.

    Each frame is taken once, unless one clip has more than half of all frames: then others are taken again.

    Args:
        clips: name of each frame's clip. (N,)
    Returns:
        (N,) int
    Raises:
        ValueError: fewer than two frames.
    """
    if len(clips) < 2:
        raise ValueError(f"source = shuffled needs at least 2 frames to exchange depth between, not {len(clips)}")
    rng = numpy_generator(seed, 2)
    names, number, sizes = np.unique(clips, return_inverse=True, return_counts=True)
    order = np.lexsort((rng.random(len(clips)), rng.permutation(len(names))[number]))  # clip by clip, mixed within
    partner = np.empty(len(clips), int)
    # the longest clip's length further on no clip meets itself, and a lone clip takes one step
    partner[order] = np.roll(order, -int(sizes.max() if len(names) > 1 else 1))
    for i in np.flatnonzero(number == number[partner]) if len(names) > 1 else ():
        partner[i] = rng.choice(np.flatnonzero(number != number[i]))
    return partner


class Shuffled(DepthSource):
    """Another frame's map: plausible depth that knows nothing of the frame. A control."""

    def __init__(self, inner: DepthSource, dataset: Dataset, seed: int) -> None:
        super().__init__()
        frames = dataset.frames()
        self._partners = {f.id: frames[i] for f, i in zip(frames, derange([f.clip for f in frames], seed))}
        self._inner, self._dataset, self.name, self.notes = inner, dataset, f"shuffled {inner.name}", inner.notes
        self.metric, self.unit, self.largest = inner.metric, inner.unit, inner.largest
        self.about = f"that of another frame, of another clip if there is one, a control ({inner.about})"

    def _predict(self, frames: list[Frame], images: np.ndarray) -> np.ndarray:
        if unknown := [f.id for f in frames if f.id not in self._partners]:
            raise ValueError(f"{self._dataset.name} has no frame {unknown[0]}: open the source with its own data set")
        others = [self._partners[frame.id] for frame in frames]
        return self._inner(others, np.stack([self._dataset.image(frame) for frame in others]))
