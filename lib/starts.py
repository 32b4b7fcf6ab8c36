"""Weights that a network starts from: torchvision's, a finished run's, or a file that another project wrote.

Projects keep the same ResNet under other key names: below a key of a checkpoint, behind a prefix, beside a second copy
that follows the first. `PREFIXES` and `WRAPPERS` know those of torchvision and timm (supervised), SwAV, MoCo, DenseCL,
PixPro, ORL and other trainings by OpenSelfSup, CAST, DINO and BYOL. What is read is plain weights: nothing that could
run code.
"""

import pickle
from argparse import Namespace
from pathlib import Path
from typing import Any

import torch
import torchvision
from safetensors import SafetensorError
from safetensors.torch import load_file

from .networks import Backbone

WRAPPERS = ("state_dict", "model", "backbone", "teacher", "student", "network")  # keys of a checkpoint, first come
PREFIXES = (  # before conv1.weight, the first that is there: of two copies the one that learns, DINO's teacher apart
    "",  # torchvision, timm, SwAV and DenseCL as extracted
    "encoder_q.",  # MoCo, DenseCL, CAST
    "encoder.",  # PixPro, beside encoder_k
    "online_encoder.",  # BYOL
    "online_network.",
    "backbone.",  # OpenSelfSup, for ORL and DenseCL; DINO; our own exports
    "encoder_q.0.",  # OpenSelfSup's MoCo: a backbone and its neck in a row
    "online_net.0.",
    "encoder.0.",
    "backbone.body.",  # torchvision's detectors
    "encoder.backbone.",
    "encoder_q.backbone.",
    "trunk.base_net.",
    "trunk._feature_blocks.",  # VISSL
)
OUTER = ("module.", "model.", "_orig_mod.")  # of parallel training, of a wrapper, of a compiled network
FIRST = "conv1.weight"  # of every ResNet


def read_weights(path: Path) -> dict[str, Any]:
    """The weights of a ResNet in a .safetensors or torch file, under torchvision's names, and what else is there.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no plain weights, or none of a ResNet; names the keys that were found.
    """
    try:
        found = load_file(path) if path.suffix == ".safetensors" else _unwrap(path)
    except FileNotFoundError:
        raise FileNotFoundError(f"start: no file {path}; give random, imagenet or the file of a backbone") from None
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, AttributeError, OSError) as error:
        raise ValueError(f"start: {path} holds no plain weights: save a state dict as .safetensors") from error
    return _strip({name: value for name, value in found.items() if isinstance(value, torch.Tensor)}, path)


def _unwrap(path: Path) -> dict[str, Any]:
    with torch.serialization.safe_globals([Namespace]):  # settings that PixPro keeps beside its weights
        found = torch.load(path, map_location="cpu", weights_only=True)
    # DINO keeps teacher and student, of which one may be empty
    while wrapped := next((found[k] for k in WRAPPERS if isinstance(found.get(k), dict) and found[k]), None):
        found = wrapped
    if not isinstance(found, dict):
        raise AttributeError("no dictionary")
    return found


def _strip(found: dict[str, Any], path: Path) -> dict[str, Any]:
    # beside the network there may be a queue, or a head of another name: outer prefixes are not on all keys
    outers = [""]
    for _ in OUTER:
        outers += [o + before for before in outers for o in OUTER if any(name.startswith(o + before) for name in found)]
    known = (outer + p for p in PREFIXES for outer in dict.fromkeys(outers))
    prefix = next((p for p in known if p + FIRST in found), None)
    if prefix is None:
        names = ", ".join(list(found)[:3]) or "nothing"
        raise ValueError(
            f"start: {path} holds no ResNet under a known name (it begins with {names}): rename its keys as torchvision"
        )
    return {name.removeprefix(prefix): value for name, value in found.items() if name.startswith(prefix)}


def load_start(backbone: Backbone, start: str, encoder: str) -> list[str]:
    """Give the backbone the weights it starts from; the names of those that it took over.

    Args:
        start: random (nothing happens), imagenet (torchvision downloads them), or a .safetensors or torch file of any
            project that `PREFIXES` knows.
    Raises:
        ConnectionError: the download is not possible here.
        FileNotFoundError, ValueError: no such file, or not the weights of this encoder; names the first that differs.
    """
    if start == "random":
        return []
    if start == "imagenet":
        source = torchvision.models.get_model_weights(encoder).IMAGENET1K_V1
        try:
            found = source.get_state_dict(progress=False, check_hash=True, weights_only=True)
        except OSError as error:
            advice = f"fetch {source.url} elsewhere and give its path, or use start = 'random'"
            raise ConnectionError(f"start = 'imagenet' needs a download that failed ({error}): {advice}") from error
    else:
        found = read_weights(Path(start).expanduser())
    own = {name: value for name, value in backbone.state_dict().items() if not name.endswith("num_batches_tracked")}
    for name, value in own.items():
        if name not in found or found[name].shape != value.shape:
            has = f"has shape {list(found[name].shape)}" if name in found else "is missing"
            raise ValueError(f"start: {start} is no {encoder}: {name} {has}, expected {list(value.shape)}")
        if not found[name].isfinite().all():
            raise ValueError(f"start: {start} is damaged: {name} holds values that are no numbers")
    backbone.load_state_dict({name: found[name] for name in own}, strict=False)
    return list(own)
