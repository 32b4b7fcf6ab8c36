"""Frames to predict, a source that needs no network, and the plain loop that writes what prediction must write."""

import threading
import time

import numpy as np

from lib import artifacts
from lib.data import Dataset, Frame
from lib.params import DepthParams

SIZE = (12, 20)
LARGEST = 2.0


class Pictures(Dataset):
    """Frames whose pixels are a function of their number; notes which thread read which, and how many at once."""

    name, size = "pictures", SIZE

    def __init__(self, count, files=True, seconds=0.0):
        self._frames = [Frame(f"clip_{i // 8}/{i:04d}", f"clip_{i // 8}", "train") for i in range(count)]
        self.files, self.seconds, self.reads, self.now, self.most = files, seconds, [], 0, 0

    def image_path(self, frame):
        return frame.id if self.files else None

    def image(self, frame):
        self.now += 1
        self.most = max(self.most, self.now)
        time.sleep(self.seconds)
        self.reads.append((frame.id, threading.current_thread()))
        self.now -= 1
        return np.random.default_rng(int(frame.id.split("/")[1])).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


def look(frames, images):
    """Inverse depth that is a function of the image; 0 where it is dark."""
    grey = images.astype(np.float32).mean(3) / 255
    return np.where(grey > 0.2, LARGEST * grey, 0).astype(np.float32)


def make_stage(folder, continued=False):
    folder.mkdir(parents=True, exist_ok=True)
    return artifacts.Stage("01_depth", DepthParams(), folder, [], strict=False, continued=continued)


def simple_loop(folder, dataset):
    """Cell 01-23, as it was."""
    stage, left = make_stage(folder), dataset.frames()
    for first in range(0, len(left), 16):
        batch = left[first : first + 16]
        maps = look(batch, np.stack([dataset.image(f) for f in batch]))
        for frame, inverse_depth in zip(batch, maps):
            stage.save_inverse_depth(f"inverse_depth/{frame.id}.png", inverse_depth, LARGEST)
    return contents(folder)


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def names(frames):
    return {f"inverse_depth/{frame.id}.png" for frame in frames}
