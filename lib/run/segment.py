"""Segment a video, a folder of videos or a folder of images with a trained run.

    python -m lib.run.segment street drive.mp4                        # outputs/street/segmented/drive
    python -m lib.run.segment street frames --out out --size 360 --crop-bottom 0.12
    python -m lib.run.segment street drive.mp4 --model street.onnx    # with what `lib.run.export` wrote

Writes a PNG of train ids a frame, at the size of the stored frame, a legend (`lib.inference.apply`) and overlays; the
last line says how fast it was. Interrupted, the same command goes on where it stopped. Exit codes: 0 done, 1 it failed,
or some images could not be read, 2 a parameter is wrong, 3 another call holds the folder, 130 interrupted.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import inference
from ..artifacts import ArtifactError
from ..artifacts.files import write_image
from ..data import resize_image
from ..data.labels import ClassSet
from ..figures.video import VideoFile, draw_legend, overlay_labels
from ..inference.views import SHOWN_HEIGHT
from ..params import ParameterError
from . import chain

SHOWN_WIDTH = 640  # columns of an overlay, at most


class Overlay:
    """Labels laid over frames, above a legend: overlay.mp4 of a video, overlay/NAME.png of each image.

    At most 360 x 640 pixels: to be looked at; what is to be computed with is in the labels. Even so, encoding a video
    can take longer than everything else.

    Args:
        folder: of the results of the clip.
        step: every so manyth frame comes, so that the video is as long as the drive.
    """

    def __init__(self, folder: Path, clip: inference.Clip, classes: ClassSet, step: int) -> None:
        self._folder, self._clip, self._classes, self._step = folder, clip, classes, step
        self._missing = not (folder / "overlay.mp4").is_file()
        self._video: VideoFile | None = None

    def __enter__(self) -> "Overlay":
        return self

    def wants(self, name: str) -> bool:
        return not self._picture(name).is_file() if self._clip.images else self._missing

    def add(self, name: str, image: np.ndarray, labels: np.ndarray) -> None:
        height = min(image.shape[0], SHOWN_HEIGHT, round(SHOWN_WIDTH * image.shape[0] / image.shape[1]))
        image = resize_image(image, inference.output_size(image.shape[:2], max(height, 2)))
        covered = overlay_labels(image, labels, self._classes.color_table())
        legend = draw_legend(self._classes.names, np.array(self._classes.colors), image.shape[1])
        page = np.concatenate([covered, legend])
        if self._clip.images:
            write_image(self._picture(name), page)
            return
        if self._video is None:
            rate = self._clip.header[0] / self._step
            self._video = VideoFile(self._folder / "overlay.mp4", rate, page.shape[:2]).__enter__()
        self._video.write(page)

    def __exit__(self, *error: Any) -> None:
        if self._video:
            self._video.__exit__(*error)

    def _picture(self, name: str) -> Path:
        return self._folder / "overlay" / f"{name}.png"


def read_arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m lib.run.segment", description="Segment with a trained run.")
    add = parser.add_argument
    add("run", help="name below outputs, or a folder; 01 to 04 are needed, and 05 for names")
    add("path", help="a video file, a folder of videos, a folder of images, or one image")
    add("--out", default="", metavar="FOLDER", help="of the results (outputs/RUN/segmented/NAME)")
    add("--naming", choices=("prototypes", "clusters"), default="", help="who has a name (prototypes)")
    add("--clusters", type=int, default=12, metavar="N", help="groups without names, of a run without 05 (12)")
    add("--size", type=int, default=0, metavar="HEIGHT", help="rows at which pixels are named; more = smoother borders")
    add("--step", type=int, default=1, metavar="N", help="every so manyth frame (1)")
    add("--start", type=float, default=0.0, metavar="S", help="seconds that are passed over")
    add("--seconds", type=float, default=0.0, metavar="S", help="how much is segmented (to the end)")
    add(
        "--crop-bottom",
        type=float,
        default=-1.0,
        metavar="F",
        help="share of the height that is bonnet: no labels",
    )
    keep = argparse.BooleanOptionalAction
    add("--keep-aspect", action=keep, default=None, help="cut, not stretch, what has another shape (as the run did)")
    add("--device", default="auto", help="auto, cuda, mps or cpu")
    add("--overlay", action=keep, default=True, help="pictures to look at")
    add("--model", default="", metavar="FILE", help="a model that lib.run.export wrote of this run")
    add("--force", action="store_true", help="remove what is there, and make it anew")
    return parser.parse_args(words)


def run(arguments: argparse.Namespace) -> inference.Segmented:
    """Segment, while nobody else does so in the same folder."""
    names = ("naming", "clusters", "size", "step", "start", "seconds", "crop_bottom", "keep_aspect")
    choices = {name: getattr(arguments, name) for name in names}

    def draw(folder: Path, clip: inference.Clip, classes: ClassSet) -> Overlay:
        return Overlay(folder, clip, classes, arguments.step)

    return inference.segment(
        arguments.run,
        arguments.path,
        arguments.out or None,
        model=arguments.model or None,
        device=arguments.device,
        draw=draw if arguments.overlay else None,
        hold=chain.only_run,
        force=arguments.force,
        **choices,
    )


def main(words: Sequence[str]) -> int:
    arguments = read_arguments(words)
    try:
        done = run(arguments)
    except ParameterError as error:
        print(error, file=sys.stderr)
        return chain.BAD_PARAMETER
    except BlockingIOError as error:
        print(error, file=sys.stderr)
        return chain.BUSY
    except (ArtifactError, ModuleNotFoundError, OSError, RuntimeError, ValueError) as error:
        print(error, file=sys.stderr)
        return chain.FAILED
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where it stopped", file=sys.stderr)
        return 130
    for note in done.notes:
        print(note)
    for sentence in done.unread:
        print(sentence, file=sys.stderr)
    print(f"labels, legend.json{' and overlays' if arguments.overlay else ''} in {done.folder}")
    print(done.describe())
    if done.unread:
        print(f"{len(done.unread)} of the images could not be read and have no labels, see above", file=sys.stderr)
    return chain.FAILED if done.unread else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
