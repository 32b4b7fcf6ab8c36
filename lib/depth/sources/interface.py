"""What a source of inverse depth offers, and what several of them share."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np

from ...data import Dataset, Frame

FAR = 1e-6  # inverse depth of the sky and of all that is as far: 0 would mean "no value"
LOOKED_AT = 5  # frames that are tried when a source is opened
SAMPLED = 32  # frames that show how large the values of a source get
METRE = "1 / metre"


class DepthSource(ABC):
    """What every source offers; call it with frames and their images.

    name: as in the protocol of metrics.json.
    metric: values are in 1 / metre, to be scored without median scaling.
    unit: of the values.
    about: half a sentence that says where they come from.
    largest: bound of the values, for storage in 16 bits; None = unknown, take it from the maps.
    notes: what a user should know, a sentence each, e.g. a licence.
    """

    name: str
    about: str
    metric: bool = True
    unit: str = METRE
    largest: float | None = None

    def __init__(self) -> None:
        self.notes: list[str] = []

    def __call__(self, frames: Sequence[Frame], images: np.ndarray) -> np.ndarray:
        """Inverse depth of each frame, finite, 0 = no value. (B, H, W) float32

        Args:
            images: of the frames. (B, H, W, 3) uint8
        Raises:
            ValueError: a frame has no depth here, or the source gives NaN, infinity or negative values.
        """
        maps = np.asarray(self._predict(list(frames), images), np.float32)
        if maps.shape != images.shape[:3] or len(frames) != len(images):
            raise ValueError(f"{self.name} gives {maps.shape} for {len(frames)} frames and images {images.shape}")
        for frame, values in zip(frames, maps):
            if not np.isfinite(values).all() or values.min() < 0:
                raise ValueError(f"{self.name} gives NaN, infinite or negative inverse depth at {frame.id}: mend it")
        return maps

    @abstractmethod
    def _predict(self, frames: list[Frame], images: np.ndarray) -> np.ndarray: ...


def describe(source: DepthSource) -> str:
    """One sentence for the notebook, and the notes."""
    how = "scored as they are" if source.metric else "scaled by the median of each image before they are scored"
    return " ".join([f"Inverse depth is {source.about}; its values are in {source.unit}, {how}.", *source.notes])


def find_largest(source: DepthSource, dataset: Dataset, frames: Sequence[Frame]) -> float:
    """Bound of the values for storage in 16 bits: the source's own, or 1.5 times the largest in frames spread over all.

    Nearer pixels than that are stored as the bound.
    """
    if source.largest is not None:
        return source.largest
    tried = [frames[i] for i in np.unique(np.linspace(0, len(frames) - 1, SAMPLED).astype(int))]
    return 1.5 * max(float(source([frame], dataset.image(frame)[None]).max()) for frame in tried)


def invert(depth: np.ndarray) -> np.ndarray:
    """Inverse depth of a depth map: sky (inf) becomes FAR, holes (0, negative, NaN) stay 0. Same shape, float32"""
    known = depth > 0
    inverse = np.divide(1, depth, out=np.zeros(depth.shape, np.float64), where=known)
    return np.where(known, np.clip(inverse, FAR, 1 / FAR), 0).astype(np.float32)


def need_frames(dataset: Dataset, has: Callable[[Frame], bool], lack: str, advice: str) -> None:
    """Try a few frames, spread over the data set.

    Raises:
        ValueError: some of them have no such thing.
    """
    frames = dataset.frames()
    tried = [frames[i] for i in np.unique(np.linspace(0, len(frames) - 1, LOOKED_AT).astype(int))] if frames else []
    missing = [frame.id for frame in tried if not has(frame)]
    if missing or not tried:
        first = f", first {missing[0]}" if missing else ""
        raise ValueError(f"{dataset.name}: {len(missing)} of {len(tried)} frames tried have {lack}{first}; {advice}")
