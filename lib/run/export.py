"""A trained run as one file that needs nothing of `lib`: see `lib.inference.export` for how it is used.

    python -m lib.run.export street                          # outputs/street/exported/street.pt2, by torch.export
    python -m lib.run.export street --format onnx            # street.onnx; needs the extra: "depth-regions[onnx]"
    python -m lib.run.export street --out model.onnx --frames drive.mp4

Labels and speed of the model and of the run are compared at once, on frames of a generated street or of `--frames`; a
model with other labels is not written. Exit codes: 0 done, 1 it failed, 2 a parameter is wrong, 130 interrupted.
"""

import argparse
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from .. import inference
from ..artifacts import ArtifactError, run_folder
from ..data import find_window, resize_image
from ..data.street import make_clip
from ..inference.export import FORMATS, find_format, place_model, scale_size
from ..inference.frames import Walk
from ..parallel import pick_device
from ..params import ParameterError
from . import chain

FRAMES = 8  # that labels and times are compared on
STREET = ("test", 5)  # which generated street


def read_arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m lib.run.export", description="Write a trained run as one file.")
    add = parser.add_argument
    add("run", help="name below outputs, or a folder; 01 to 04 are needed, and 05 for names")
    add("--format", choices=tuple(FORMATS), default="", help="torch, or onnx (torch)")
    add("--out", default="", metavar="FILE", help="ends in .pt2 or .onnx (outputs/RUN/exported/RUN.pt2)")
    add("--naming", choices=("prototypes", "clusters"), default="prototypes", help="who has a name")
    add("--clusters", type=int, default=12, metavar="N", help="groups of a run without 05 (12)")
    add("--size", type=int, default=0, metavar="HEIGHT", help="rows of the labels (as many as go in)")
    add("--frames", default="", metavar="PATH", help="video or images to compare on (a generated street)")
    add("--device", default="auto", help="where both are compared: auto, cuda, mps or cpu")
    return parser.parse_args(words)


def choose_file(run: str, kind: str, out: str) -> Path:
    """The file to write; its ending and the format, if both are given, are the same.

    Raises:
        ParameterError: they are not, or no format ends so.
    """
    if not out:
        folder = run_folder(run)
        return folder / "exported" / f"{folder.name}{FORMATS[kind or 'torch']}"
    try:
        found = find_format(Path(out))
    except ValueError as error:
        raise ParameterError(str(error)) from None
    if kind and found != kind:
        raise ParameterError(f"--out {out} names a model of the format {found}, and --format says {kind}: drop one")
    return Path(out).expanduser().absolute()


def read_frames(path: str, segmenter: inference.Segmenter) -> np.ndarray:
    """The first frames at `path`, or of a generated street, as the networks see them. (B, H, W, 3) uint8

    Raises:
        FileNotFoundError, ValueError: there are none, or one cannot be read.
    """
    size = segmenter.size
    if not path:
        split, number = STREET
        return np.ascontiguousarray(make_clip(split, number, FRAMES, *size).images)
    walk = Walk(inference.find_clips(path)[0], 1, 0.0, 0.0, lambda name: False)
    images = [image for _name, image in islice(walk, FRAMES)]
    windows = [find_window(image.shape[:2], size, segmenter.learned.keep_aspect) for image in images]
    return np.stack([resize_image(image[window], size) for image, window in zip(images, windows)])


def export(arguments: argparse.Namespace) -> list[str]:
    """Write the model; what to print."""
    path = choose_file(arguments.run, arguments.format, arguments.out)
    device = place_model(find_format(path), pick_device(arguments.device))  # the run's networks too, or it is no race
    segmenter = inference.load_segmenter(arguments.run, arguments.naming, arguments.clusters, device)
    size = scale_size(segmenter.size, arguments.size)
    found = inference.export_model(segmenter, path, read_frames(arguments.frames, segmenter), size)
    height, width = segmenter.size
    rates = ", ".join(f"{name} {rate:.1f}" for name, rate in found.rates.items())
    return [
        f"{path}: {path.stat().st_size / 1e6:.1f} MB, {segmenter.classes.name}; described in {path.name}.json",
        f"{found.differ} of {found.pixels} pixels of {found.frames} frames have another label than from the run",
        f"frames a second, {found.frames} at once, {device.type}, {height} x {width}, labels {size[0]} x {size[1]}, "
        f"medians in turn: {rates}",
    ]


def main(words: Sequence[str]) -> int:
    try:
        print("\n".join(export(read_arguments(words))))
    except ParameterError as error:
        print(error, file=sys.stderr)
        return chain.BAD_PARAMETER
    except (ArtifactError, ModuleNotFoundError, OSError, RuntimeError, ValueError) as error:
        print(error, file=sys.stderr)
        return chain.FAILED
    except KeyboardInterrupt:
        print("interrupted; nothing was written", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
