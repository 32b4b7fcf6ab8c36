"""Depth by a network of others, from the package transformers, which is an optional extra."""

import inspect
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from ...artifacts import read_json
from ...data import Frame
from ...parallel import pick_device
from .interface import FAR, METRE, DepthSource, invert

NEED_PACKAGE = 'install it with: pip install "depth-regions[hugging_face]"'
CARDS = "https://huggingface.co"  # where a model's card is
LICENCES = (  # what the cards of these models say: end of the name, licence, is commercial use allowed?
    (re.compile(r"depth.?anything.?v2.*(base|large|giant|vit[blg])", re.IGNORECASE), "CC-BY-NC-4.0", False),
    (re.compile(r"depth.?pro(?![a-z])", re.IGNORECASE), "Apple-AMLR (for research)", False),
    # free: only what these owners published, or its copy; what others made of it may have any licence
    (re.compile(r"depth.?anything.?v2.*(small|vits)(.hf)?$", re.IGNORECASE), "Apache-2.0", True),
    (re.compile(r"^LiheYoung/depth-anything-large-hf$", re.IGNORECASE), "Apache-2.0", True),
    (re.compile(r"^Intel/dpt-hybrid-midas$", re.IGNORECASE), "Apache-2.0", True),
    (re.compile(r"^Intel/zoedepth-(nyu-)?kitti$", re.IGNORECASE), "MIT", True),
)
METRES, INVERSE = "depth in metres", "relative inverse depth"
OUTPUTS = {"dpt": INVERSE, "glpn": METRES, "zoedepth": METRES, "depth_pro": METRES}  # by config.model_type
OWN_SIZES = ("zoedepth", "depth_pro")  # pad the image, or give depth by way of the focal length: only they undo it


class HuggingFace(DepthSource):
    """A model by its name, or the folder of one: Depth Anything, DPT (MiDaS), ZoeDepth, GLPN, DepthPro.

    The model is given the frames at height x width of the parameters, so already shrunk; its own processor then brings
    them to the size that it was made for, which adds no detail. For its best maps, choose a larger height and width.

    Relative inverse depth is kept as the model gives it, but where some is negative, the image's least is subtracted:
    such values are inverse depth times a factor plus a shift, both unknown, and the median of an image finds only the
    factor. What is then 0 becomes FAR.

    Raises:
        ValueError: the licence forbids commercial use, or is unknown here, and was not accepted; or the model gives
            something unknown.
        ImportError: no transformers.
        OSError: the model is neither here nor can be fetched.
    """

    def __init__(self, params: Any, model: str) -> None:
        super().__init__()
        shown = Path(model).name if Path(model).expanduser().is_dir() else model  # no path of this machine
        self.name, self.about = f"hugging_face:{shown}", f"predicted by {shown}, a network trained elsewhere"
        self.notes.append(f"{shown}: {check_licence(model, params.accept_noncommercial)}.")
        self._batch, self._device = params.batch, pick_device(params.device)
        config, self._processor, self._network = _load(model)
        self._network = self._network.eval().to(self._device)
        self._type, self.metric = config.model_type, find_output(config, model) == METRES
        self.unit = METRE if self.metric else "an unknown unit, shifted by an unknown amount"
        self.largest = 1 / params.min_depth if self.metric else None

    def _predict(self, frames: list[Frame], images: np.ndarray) -> np.ndarray:
        parts = [self._run(images[i : i + self._batch]) for i in range(0, len(images), self._batch)]
        values = np.concatenate(parts)
        if self.metric:
            return invert(values)
        return np.maximum(values - np.minimum(values.min((1, 2), keepdims=True), 0), FAR)

    @torch.inference_mode()
    def _run(self, images: np.ndarray) -> np.ndarray:
        """What the model gives, at the size of the images. (B, H, W) float32"""
        size = images.shape[1:3]
        inputs = self._processor(images=list(images), return_tensors="pt")
        outputs = self._network(**{name: tensor.to(self._device) for name, tensor in inputs.items()})
        if self._type in OWN_SIZES:
            finish = self._processor.post_process_depth_estimation
            known = [n for n in ("source_sizes", "target_sizes") if n in inspect.signature(finish).parameters]
            finished = finish(outputs, **dict.fromkeys(known, [size] * len(images)))
            found = torch.stack([item["predicted_depth"] for item in finished])
        else:
            found = outputs.predicted_depth
            found = F.interpolate(found[:, None].float(), size=size, mode="bilinear", align_corners=False)[:, 0]
        return found.float().cpu().numpy()


def check_licence(model: str, accept_noncommercial: bool) -> str:
    """What is known of a model's licence, by its name.

    Raises:
        ValueError: it forbids commercial use, or is unknown here, and that was not accepted.
    """
    folder = Path(model).expanduser()
    names, about = [folder.name if folder.is_dir() else model], folder / "config.json"
    if about.is_file():  # a folder may have any name, but often says where it came from
        names.append(str(read_json(about).get("_name_or_path", "")))
    for pattern, licence, commercial in LICENCES:
        if any(pattern.search(name) for name in names):
            if commercial:
                return f"licence {licence}"
            if accept_noncommercial:
                return f"licence {licence}, no commercial use"
            raise ValueError(
                f"{model} has the licence {licence}, which forbids commercial use: set accept_noncommercial = True if "
                "your use is not commercial, or take the Small model of Depth Anything V2 (Apache-2.0)"
            )
    if accept_noncommercial:
        return "licence not known here, read the model's card"
    place = f"{CARDS}/{model}" if len(model.split("/")) == 2 and not folder.is_dir() else "its README.md"
    raise ValueError(
        f"the licence of {model} is not known to this project: read the model's card ({place}), and set "
        "accept_noncommercial = True if it allows your use, or take the Small model of Depth Anything V2 (Apache-2.0)"
    )


def find_output(config: Any, model: str) -> str:
    """METRES or INVERSE: what `predicted_depth` of a model means, by its configuration.

    Raises:
        ValueError: unknown.
    """
    kind = config.model_type
    if kind == "depth_anything":
        # older files have no such entry; then only the name tells
        by_name = "metric" if "metric" in Path(model).name.lower() else "relative"
        return METRES if getattr(config, "depth_estimation_type", by_name) == "metric" else INVERSE
    if kind == "dpt" and getattr(getattr(config, "backbone_config", None), "model_type", "") == "dinov2":
        return METRES  # DINOv2's heads for NYU and KITTI; all others are MiDaS
    if kind not in OUTPUTS:
        known = ", ".join(["depth_anything", *OUTPUTS])
        raise ValueError(f"nobody knows here what {model}, of type {kind}, predicts: choose a model of {known}")
    return OUTPUTS[kind]


def _load(model: str) -> tuple[Any, Any, Any]:
    """Configuration, image processor and network; what the model predicts is checked before its weights are read."""
    try:
        from transformers import AutoConfig, AutoImageProcessor, AutoModelForDepthEstimation
    except ImportError:
        raise ImportError(f"source = hugging_face needs the package transformers: {NEED_PACKAGE}") from None
    place = str(Path(model).expanduser()) if Path(model).expanduser().is_dir() else model
    try:
        config = _read_config(AutoConfig, place, model)
        processor = AutoImageProcessor.from_pretrained(place)
        # weights in the old format are pickles, which can run any code
        return config, processor, AutoModelForDepthEstimation.from_pretrained(place, use_safetensors=True)
    except OSError as error:
        first = str(error).strip().splitlines()[:1]
        text = f"{model} is no folder with a whole model in safetensors, not in the local cache and cannot be fetched"
        raise OSError(f"{text}: check its name and the network ({' '.join(first)})") from None


def _read_config(reader: Any, place: str, model: str) -> Any:
    try:
        config = reader.from_pretrained(place)
    except (ValueError, KeyError):
        raise ValueError(
            f"{model} is no model that transformers knows: choose another, or update transformers"
        ) from None
    find_output(config, model)
    return config
