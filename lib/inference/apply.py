"""One call for many frames: every frame of videos, or of a folder of images, becomes a PNG of train ids.

    from lib import inference
    print(inference.segment("street", "drive.mp4", "out", size=360).describe())

Below `out` (of several videos in a folder each): labels/NAME.png, 8-bit train ids at the size of the stored frame,
255 where there is no name; legend.json, name and colour of each id; segment.json, the settings and how fast it was.
Interrupted, the same call goes on where it stopped; images that were added or changed since are the only ones that are
segmented again. `lib.run.segment` is the same as a command, with overlays.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from ..artifacts import run_folder, write_json
from ..artifacts.files import write_image
from ..data import find_window, read_map, resize_image, resize_map
from ..data.labels import IGNORE, ClassSet
from ..data.video import name_clips
from ..parallel import open_bar, pick_device
from ..params import make
from .export import ModelFile, load_model, scale_size
from .frames import Clip, Walk, find_clips, hash_images, hash_videos
from .results import LEGEND, SETTINGS, Choices, Segmented, begin_folder, check_folder, list_classes
from .runs import Segmenter, load_segmenter
from .views import CHUNK, is_own

BATCH_PIXELS = 1 << 20  # of the maps of a batch: an exported model compares all of them with all prototypes at once


class Drawing(Protocol):
    """What is drawn beside the labels of one clip; used in a `with` block."""

    def wants(self, name: str) -> bool:
        """Is this frame still to be drawn?"""

    def add(self, name: str, image: np.ndarray, labels: np.ndarray) -> None:
        """Frames that are wanted come in order. (H, W, 3) uint8, (H, W) uint8"""


Draw = Callable[[Path, Clip, ClassSet], AbstractContextManager[Drawing]]
"""Folder of the results of a clip, the clip, the classes -> what draws it."""


@dataclass(frozen=True)
class _Task:
    """What all clips of a call share. `model` None = the run's own networks; `window`: keep_aspect and crop_bottom."""

    segmenter: Segmenter
    model: ModelFile | None
    choices: Choices
    label_size: tuple[int, int]
    window: tuple[bool, float]

    def settings(self) -> dict[str, Any]:
        """All that decides the labels of a stored frame, and which frames have some; JSON-ready."""
        part = {name: getattr(self.choices, name) for name in ("step", "start", "seconds")}
        part["naming"] = self.segmenter.naming if self.segmenter.named else f"{len(self.segmenter.classes)} groups"
        window = dict(zip(("keep_aspect", "crop_bottom"), self.window))
        model = self.model.about["sha256"] if self.model else None
        return {**part, **window, "size": self.label_size[0], "model": model, **self.segmenter.digests}

    @property
    def batch(self) -> int:
        return min(max(BATCH_PIXELS // (self.label_size[0] * self.label_size[1]), 1), CHUNK)

    @property
    def device(self) -> str:
        return self.model.device if self.model else self.segmenter.prototypes.device.type

    def predict(self, images: list[np.ndarray]) -> tuple[list[np.ndarray], float]:
        """Labels of stored frames, each at its own size; and the seconds that the networks took."""
        size = self.segmenter.size
        windows = [find_window(image.shape[:2], size, *self.window) for image in images]
        small = np.stack([resize_image(image[window], size) for image, window in zip(images, windows)])
        started = time.perf_counter()
        found = self.model(small) if self.model else self.segmenter.labels(small, self.label_size)
        took = time.perf_counter() - started
        whole = [_enlarge(labels, image.shape[:2], window) for labels, image, window in zip(found, images, windows)]
        return whole, took


@dataclass
class _Count:
    """What has been done so far, over all clips; see `Segmented`."""

    made: int = 0
    network_seconds: float = 0.0
    drawing_seconds: float = 0.0

    def draw(self, function: Callable[..., None], *arguments: Any) -> None:
        """Call it, and note how long it took."""
        started = time.perf_counter()
        function(*arguments)
        self.drawing_seconds += time.perf_counter() - started


def _enlarge(labels: np.ndarray, shape: tuple[int, int], window: tuple[slice, slice]) -> np.ndarray:
    whole = np.full(shape, IGNORE, np.uint8)
    whole[window] = resize_map(labels, whole[window].shape)
    return whole


def default_folder(run: str, path: str | Path) -> Path:
    """Where results lie if nothing else is said: outputs/RUN/segmented/NAME, named after the file or folder."""
    return run_folder(run) / "segmented" / name_clips([Path(path).expanduser().absolute()])[0]


def segment(
    run: str,
    path: str | Path,
    out: str | Path | None = None,
    *,
    model: str | Path | None = None,
    device: str = "auto",
    draw: Draw | None = None,
    hold: Callable[[Path], AbstractContextManager[Any]] = nullcontext,
    force: bool = False,
    **choices: Any,
) -> Segmented:
    """Label every frame of a video file, of a folder of videos or of images, or one image, with a finished run.

    Args:
        run: name below outputs, or a folder; its 04 is needed, and its 05 for names.
        path: what to segment.
        out: folder of the results; None = `default_folder`.
        model: a file that `export_model` wrote of this run: used in place of its networks, with its naming and size.
        draw, hold: what draws pictures of each clip, and what keeps others out of the folder meanwhile.
        force: the pictures of an earlier call in this folder are removed, whatever its settings.
        choices: the fields of `Choices`.
    Raises:
        ArtifactError: there is no such run, or a stage is unfinished.
        ParameterError: a choice that is unknown or out of range.
        FileNotFoundError, ValueError: nothing to segment, or nothing that can be read, or a folder with other results.
            Of a folder of images those that cannot be read are passed over, see `Segmented.unread`.
    """
    chosen, clips = make(Choices, choices), find_clips(path)
    task = _open(run, path, chosen, model, pick_device(device))
    folder = Path(out).expanduser().absolute() if out else default_folder(run, path)
    if folder.is_file():
        raise ValueError(f"{folder} is a file: name a folder for the results")
    settings = {"run": run, **task.settings(), "path": Path(path).name, "videos at the path": hash_videos(clips)}
    names = [clip.name for clip in clips]
    if not force:
        check_folder(folder, settings)
    with hold(folder):
        begin_folder(folder, settings, names, hash_images(clips), force)
        write_json(folder / LEGEND, list_classes(task.segmenter.classes))
        done = _segment_clips(clips, folder, task, draw)
        record = {"settings": settings, "clips": names, "frames": done.made + done.found, "notes": done.notes}
        write_json(folder / SETTINGS, {**record, "last": done.describe()})
    return done


def _open(run: str, path: str | Path, choices: Choices, model: str | Path | None, device: torch.device) -> _Task:
    """Load the run or, after a look at whether it is one of this run, the exported model; fill in what is left open."""
    exported = load_model(model, device) if model else None
    about = exported.about if exported else {"naming": choices.naming or "prototypes", "clusters": None}
    place = torch.device("cpu") if exported else device  # the run's own networks then compute nothing
    segmenter = load_segmenter(run, about["naming"], about["clusters"] or choices.clusters, place)
    size = scale_size(segmenter.size, choices.size)
    if exported:
        exported.check_run(segmenter, run, choices.naming, size if choices.size else None)
        size = exported.label_size
    learned = segmenter.learned
    keep = learned.keep_aspect if choices.keep_aspect is None else choices.keep_aspect
    own = is_own(Path(path).expanduser().absolute(), learned)
    crop = choices.crop_bottom if choices.crop_bottom >= 0 else learned.crop_bottom if own else 0.0
    return _Task(segmenter, exported, choices, size, (keep, crop))


def _segment_clips(clips: list[Clip], folder: Path, task: _Task, draw: Draw | None) -> Segmented:
    started, total, walks = time.perf_counter(), _Count(), []
    for clip in clips:
        walk = _segment_clip(clip, folder / clip.name, task, draw, total)
        walks.append(walk)
    return Segmented(
        folder,
        made=total.made,
        found=sum(walk.seen - len(walk.unread) for walk in walks) - total.made,
        seconds=time.perf_counter() - started,
        network_seconds=total.network_seconds,
        drawing_seconds=total.drawing_seconds,
        device=task.device,
        size=task.segmenter.size,
        label_size=task.label_size,
        notes=tuple(walk.note for walk in walks if walk.note),
        unread=tuple(sentence for walk in walks for sentence in walk.unread),
    )


def _segment_clip(clip: Clip, folder: Path, task: _Task, draw: Draw | None, total: _Count) -> Walk:
    """Label one clip, and add to the total; what was walked."""
    maps, choices = folder / "labels", task.choices
    with ExitStack() as stack:
        drawing = stack.enter_context(draw(folder, clip, task.segmenter.classes)) if draw else None

        def is_done(name: str) -> bool:
            return (maps / f"{name}.png").is_file() and not (drawing and drawing.wants(name))

        walk = Walk(clip, choices.step, choices.start, choices.seconds, is_done)
        frames = iter(walk)
        with open_bar(clip.path.name, " frames", total=walk.expected) as bar:
            while chunk := list(islice(frames, task.batch)):
                _segment_chunk(dict(chunk), maps, task, drawing, total)
                bar.update(walk.seen - bar.n)
        if walk.unread and len(walk.unread) == walk.seen:
            raise ValueError(walk.unread[0])
        if not walk.seen:
            raise ValueError(f"{clip.path} has no frame from second {choices.start:g} on: choose another start")
        total.draw(stack.close)  # an encoder does much of its work at the end
    return walk


def _segment_chunk(
    images: dict[str, np.ndarray], maps: Path, task: _Task, drawing: Drawing | None, total: _Count
) -> None:
    """Write the labels of frames, unless they are there, and draw them."""
    files = {name: maps / f"{name}.png" for name in images}
    missing = [name for name, file in files.items() if not file.is_file()]
    made, seconds = task.predict([images[name] for name in missing]) if missing else ([], 0.0)
    found = dict(zip(missing, made))
    for name, labels in found.items():
        write_image(files[name], labels)
    total.made += len(missing)
    total.network_seconds += seconds
    for name, image in images.items():
        if drawing and drawing.wants(name):
            total.draw(drawing.add, name, image, found[name] if name in found else read_map(files[name]))
