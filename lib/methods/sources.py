"""What is pasted: image, regions and inverse depth of each training frame, in memory, or packed on the disk."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ..artifacts import Artifact
from ..copy_paste import Source, prepare_source
from ..data import Dataset, Frame, read_map
from ..data.prepared import CACHE, CACHE_VERSION, READY_BYTES, SHARD_BYTES, Shards, build
from ..parallel import fits_memory
from ..regions import read_inverse_depth_of

BYTES_PER_PIXEL = 12  # of a `Source`: four channels and smaller copies, regions, inverse depth
CODES = 65535  # steps of packed inverse depth


def read_maps(frame: Frame, dataset: Dataset, depth: Artifact, regions: Artifact) -> tuple[np.ndarray, np.ndarray]:
    """Regions (02) of a frame, (H, W) uint16, and the inverse depth that they were made from, (H, W) float32."""
    inverse_depth = read_inverse_depth_of(frame, dataset, depth, regions.params.depth)
    return read_map(regions.path(f"regions/{frame.id}.png")), inverse_depth


def read_sources(
    dataset: Dataset, frames: Sequence[Frame], depth: Artifact, regions: Artifact, workers: int = 1, copies: int = 0
) -> Sequence[Source]:
    """The frames ready to be pasted: in memory, or where they would take too much of it, `PackedSources`.

    Both have inverse depth in 16 bits, so that what a training makes of it does not hang on the memory of a machine.

    Args:
        workers: processes that are sent the sources later, each of them a copy of what is in memory; and that pack.
        copies: in memory in all; 0 = one here, and one in each worker.
    """
    size = len(frames) * BYTES_PER_PIXEL * int(np.prod(dataset.size))
    if fits_memory(size * (copies or 1 + workers)) and not (dataset.is_prepared and size > READY_BYTES):
        parts = ((frame, _pack(frames, dataset, depth, regions, index)) for index, frame in enumerate(frames))
        return [_unpack(dataset.image(frame), part) for frame, part in parts]
    return pack_sources(dataset, frames, depth, regions, workers)


@dataclass(frozen=True)
class PackedSources(Sequence):
    """Sources made when they are asked for, from prepared frames and packed maps; sent to workers as a few paths."""

    dataset: Dataset
    frames: Sequence[Frame]
    shards: Shards

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> Source:
        parts = {name: self.shards.read(int(index), name) for name in ("inverse_depth", "largest", "regions")}
        return _unpack(self.dataset.image(self.frames[int(index)]), parts)


def pack_sources(
    dataset: Dataset, frames: Sequence[Frame], depth: Artifact, regions: Artifact, workers: int = 1
) -> PackedSources:
    """Pack regions and 16-bit inverse depth of the frames into shards, once for all runs of 04 on these regions."""
    about = [CACHE_VERSION, depth.digest, regions.digest, SHARD_BYTES, [f.id for f in frames]]
    key = hashlib.sha256(json.dumps(about).encode()).hexdigest()[:12]
    kinds = {"inverse_depth": (dataset.size, "uint16"), "largest": ((), "float64"), "regions": (dataset.size, "uint16")}
    shards = Shards(CACHE / f"maps-{regions.run.replace('/', '_')}-{key}", len(frames), kinds)
    build(shards, partial(_pack, frames, dataset, depth, regions), workers, "regions and inverse depth")
    return PackedSources(dataset, frames, shards)


def _pack(
    frames: Sequence[Frame], dataset: Dataset, depth: Artifact, regions: Artifact, index: int
) -> dict[str, np.ndarray]:
    ids, inverse_depth = read_maps(frames[index], dataset, depth, regions)
    predicted = regions.params.depth == "predicted"
    largest = float(depth.about["inverse_depth_largest"] if predicted else max(inverse_depth.max(), 1e-6))
    code = np.clip(np.rint(inverse_depth * (CODES / largest)), inverse_depth > 0, CODES)  # 0 is kept for no value
    return {"inverse_depth": code.astype(np.uint16), "largest": np.array(largest), "regions": ids.astype(np.uint16)}


def _unpack(image: np.ndarray, parts: dict[str, np.ndarray]) -> Source:
    inverse_depth = parts["inverse_depth"].astype(np.float32) * np.float32(float(parts["largest"]) / CODES)
    return prepare_source(image, parts["regions"], inverse_depth)
