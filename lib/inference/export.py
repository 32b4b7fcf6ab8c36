"""One file that segments, and needs nothing of `lib`: by torch.export, or ONNX.

Pixels go in and train ids come out: normalisation, backbone, head, projection, the enlarging of embeddings, the nearest
prototype and its name are all inside. With torch alone, of a run at 96 x 192:

    import torch
    model = torch.export.load("street.pt2").module()
    labels = model(torch.from_numpy(images))  # RGB (B, 96, 192, 3) uint8 -> train ids (B, 96, 192) uint8, 255 = no name

or with onnxruntime alone:

    import onnxruntime
    model = onnxruntime.InferenceSession("street.onnx")
    labels = model.run(None, {"images": images})[0]

Any number of images goes in at once. What the ids mean, and which run they come from, stands in the JSON file beside
the model. ONNX needs the extra: pip install "depth-regions[onnx]".
"""

import copy
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..artifacts import describe_machine, hash_file, read_json, write_aside, write_json
from .results import list_classes
from .runs import Segmenter

FORMATS = {"torch": ".pt2", "onnx": ".onnx"}
NEEDED = ("onnx", "onnxscript", "onnxruntime")  # what the extra brings
TOLERANCE = (
    1e-4  # share of pixels that may differ: two prototypes as near as makes no difference, summed in other orders
)
ON_GPU = "CUDAExecutionProvider"  # what onnxruntime calls it
EXAMPLE = 2  # images that are traced; 1 would be taken for a constant
ROUNDS = 5  # of the timing


Predict = Callable[[np.ndarray], np.ndarray]
"""RGB (B, H, W, 3) uint8 -> train ids (B, h, w) uint8."""


class LabelGraph(nn.Module):
    """All that lies between pixels and train ids, as one module without branches; on the CPU, nothing to be learned.

    Args:
        label_size: (h, w) of the labels.
    """

    def __init__(self, segmenter: Segmenter, label_size: tuple[int, int]) -> None:
        super().__init__()
        self.embedder, self.label_size = copy.deepcopy(segmenter.embedder).cpu().float(), label_size
        self.register_buffer("directions", F.normalize(segmenter.prototypes.cpu().float()).T.contiguous())  # (D, K)
        self.register_buffer("labels_of", torch.from_numpy(segmenter.labels_of.astype(np.uint8)))
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """RGB (B, H, W, 3) uint8 -> (B, h, w) uint8, as `Segmenter.labels`"""
        enlarged = F.interpolate(self.embedder(images), size=self.label_size, mode="bilinear", align_corners=False)
        return self.labels_of[(enlarged.permute(0, 2, 3, 1) @ self.directions).argmax(dim=-1)]


@dataclass(frozen=True)
class ModelFile:
    """An exported model, loaded. device: cpu, cuda or mps. about: the JSON file beside it."""

    path: Path
    predict: Predict
    device: str
    about: dict[str, Any]

    @property
    def label_size(self) -> tuple[int, int]:
        return tuple(self.about["output"]["size"])

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """RGB (B, H, W, 3) uint8 at the size of the run -> train ids (B, *label_size) uint8"""
        return self.predict(images)

    def check_run(self, segmenter: Segmenter, run: str, naming: str, size: tuple[int, int] | None) -> None:
        """Is it of this run as it is now, with labels of this naming and size (empty, None = any)?

        Raises:
            ValueError: it is not; says what to do.
        """
        if self.about["manifests"] != segmenter.digests:
            raise ValueError(
                f"{self.path} was exported from another run, or from {run} before it changed: "
                f"export it anew, python -m lib.run.export {run}"
            )
        if (size or self.label_size) != self.label_size:
            raise ValueError(
                f"{self.path} makes labels of {self.label_size[0]} rows, and size asks for {size[0]}: "
                f"leave size out, or export a model with --size {size[0]}"
            )
        if (naming or segmenter.naming) != segmenter.naming:
            raise ValueError(
                f"{self.path} was exported with the naming {segmenter.naming}, not {naming}: "
                f"leave naming out, or export a model with --naming {naming}"
            )


@dataclass(frozen=True)
class Comparison:
    """An exported model beside its run, on the same images.

    differ: pixels with another label, of `pixels`. rates: frames a second of each, medians of rounds in turn.
    """

    frames: int
    pixels: int
    differ: int
    rates: dict[str, float]

    @property
    def agrees(self) -> bool:
        return self.differ <= TOLERANCE * self.pixels


def scale_size(size: tuple[int, int], rows: int) -> tuple[int, int]:
    """`size` (H, W), with so many rows and of the same shape; 0 rows = as it is."""
    return (rows, round(rows * size[1] / size[0])) if rows else size


def find_format(path: Path) -> str:
    """torch or onnx, by the ending of a file.

    Raises:
        ValueError: another ending.
    """
    for name, ending in FORMATS.items():
        if path.suffix.lower() == ending:
            return name
    raise ValueError(f"{path}: the name of a model ends in {' or '.join(FORMATS.values())}, not in {path.suffix!r}")


def export_model(
    segmenter: Segmenter, path: str | Path, images: np.ndarray, label_size: tuple[int, int] | None = None
) -> Comparison:
    """Write a run as one model file, and a JSON file beside it, after a look at whether it gives the same labels.

    Args:
        path: ends in .pt2 (torch.export) or .onnx. What was there before stays if anything goes wrong.
        images: frames on which labels and times are compared, on the device of the segmenter. (B, H, W, 3) uint8
        label_size: (h, w) of the labels; None = that of the images that go in.
    Raises:
        ValueError: another ending, a file that is no exported model, or more than 1e-4 of the pixels get another label.
        ModuleNotFoundError: the extra `onnx` is not installed.
    """
    path, size = Path(path), label_size or segmenter.size
    if path.exists() and not _beside(path).is_file():
        raise ValueError(f"{path} is there, and was not exported from a run: choose another name")
    kind, device = find_format(path), segmenter.prototypes.device
    if kind == "onnx":
        _need("onnx", "onnxscript", "onnxruntime")
    with write_aside(path) as aside:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of formats to come, and of weights that lie channels last
            _write(LabelGraph(segmenter, size), segmenter.size, aside, kind)
        predict = _open(aside, kind, place_model(kind, device))
        found = compare_labels(segmenter, predict, images, size, path.name)
        if not found.agrees:
            raise ValueError(
                f"{path.name} is not written: {found.differ} of {found.pixels} pixels get another label than from the "
                "run; try the other format, or another version of torch"
            )
        digest = hash_file(aside)
    write_json(_beside(path), _describe(segmenter, kind, size, digest, found))
    return found


def place_model(kind: str, device: torch.device) -> torch.device:
    """Where a model of this format computes: ONNX on the CPU, unless onnxruntime has CUDA and is asked for it."""
    if kind == "onnx":
        _need("onnxruntime")
        known = import_module("onnxruntime").get_available_providers()
        return device if device.type == "cuda" and ON_GPU in known else torch.device("cpu")
    return device


def load_model(path: str | Path, device: torch.device) -> ModelFile:
    """An exported model, on a device; ONNX goes on the CPU where onnxruntime does not know the device.

    Raises:
        FileNotFoundError: no such file, or none beside it that describes it.
        ValueError: it is no model, or not the one that is described beside it.
        ModuleNotFoundError: the extra `onnx` is not installed.
    """
    path = Path(path).expanduser()
    kind, about = find_format(path), _beside(path)
    for file in (path, about):
        if not file.is_file():
            raise FileNotFoundError(
                f"no file {file}: export the model first, python -m lib.run.export RUN --out {path}"
            )
    known = read_json(about)
    if known.get("sha256") != hash_file(path):
        raise ValueError(f"{path} is damaged, or not the model that {about.name} describes: copy both, or export anew")
    device = place_model(kind, device)
    return ModelFile(path, _open(path, kind, device), device.type, known)


def compare_labels(
    segmenter: Segmenter, model: Predict, images: np.ndarray, size: tuple[int, int], name: str
) -> Comparison:
    """Labels and times of a run and of a model on the same images; both warm, in turn.

    Args:
        size: (h, w) of the labels of the model.
        name: of the model, in `rates`.
    """
    calls = {"run": lambda: segmenter.labels(images, size), name: lambda: model(images)}
    ours, theirs = (call() for call in calls.values())
    seconds: dict[str, list[float]] = {key: [] for key in calls}
    for _ in range(ROUNDS):
        for key, call in calls.items():
            started = time.perf_counter()
            call()
            seconds[key].append(time.perf_counter() - started)
    rates = {key: len(images) / float(np.median(times)) for key, times in seconds.items()}
    return Comparison(len(images), ours.size, int((ours != theirs).sum()), rates)


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _need(*modules: str) -> None:
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise ModuleNotFoundError(f'ONNX needs {", ".join(missing)}: pip install "depth-regions[onnx]"')


def _write(graph: LabelGraph, size: tuple[int, int], path: Path, kind: str) -> None:
    example = torch.zeros(EXAMPLE, *size, 3, dtype=torch.uint8)  # it is kept in the file: no picture of anybody's
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(graph, (example,), dynamic_shapes=({0: batch},))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine
    if kind == "torch":
        torch.export.save(program, path)
        return
    names = {"input_names": ["images"], "output_names": ["labels"]}
    torch.onnx.export(program, dynamo=True, verbose=False, external_data=False, **names).save(path)


def _open(path: Path, kind: str, device: torch.device) -> Predict:
    """What a model file computes, from arrays to arrays."""
    if kind == "torch":
        program = torch.export.load(path)
        if device.type != "cpu":
            program = torch.export.passes.move_to_device_pass(program, str(device))
        module = program.module()
        return lambda images: module(torch.from_numpy(images).to(device)).cpu().numpy()
    providers = [ON_GPU] * (device.type == "cuda") + ["CPUExecutionProvider"]
    session = import_module("onnxruntime").InferenceSession(path, providers=providers)
    return lambda images: session.run(None, {"images": images})[0]


def _describe(segmenter: Segmenter, kind: str, size: tuple[int, int], digest: str, found: Comparison) -> dict[str, Any]:
    """What stands in the JSON file beside a model."""
    training = next(stage for stage in segmenter.stages if stage.name == "04_training")
    machine = describe_machine()
    machine["versions"] |= {name: version(name) for name in NEEDED if kind == "onnx"}
    return {
        "format": kind,
        "input": {"name": "images", "is": "RGB (B, H, W, 3) uint8", "size": list(segmenter.size)},
        "output": {"name": "labels", "is": "train ids (B, H, W) uint8, 255 = no name", "size": list(size)},
        **list_classes(segmenter.classes),
        "run": Path(training.run).name,
        "naming": segmenter.naming,
        "clusters": None if segmenter.named else len(segmenter.classes),
        "manifests": segmenter.digests,
        "trained_by": {key: training.manifest[key] for key in ("git_commit", "versions", "device")},
        "exported_by": machine,
        "sha256": digest,
        "check": {"frames": found.frames, "pixels": found.pixels, "differ": found.differ},
        "frames_per_second": found.rates,
    }
