"""Which weights a network begins its training with labels from, and what it took over."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from ..artifacts import Artifact, ArtifactError, load, run_folder
from ..networks import Embedder, load_networks, seed_weights
from ..starts import load_start
from .networks import DeepLabV3, SemanticFPN

OWN = "own"  # the start: the 04 that the notebook stands on
KEPT = ("backbone", "head")  # parts of an embedder that a semantic FPN has too


@dataclass(frozen=True)
class Transfer:
    """What a network took over: names of parts and of their layers, tensors and values of it, and those still new."""

    start: str
    parts: tuple[str, ...]
    layers: tuple[str, ...]
    tensors: int
    values: int
    new_values: int

    def __str__(self) -> str:
        taken = (
            f"{', '.join(self.parts)}: {self.tensors} tensors, {self.values / 1e6:.2f} million values "
            f"({', '.join(self.layers)})"
            if self.parts
            else "nothing"
        )
        return f"{self.start} gives {taken}; new: {self.new_values / 1e6:.2f} million"


def name_start(start: str) -> str:
    """How a start is called in tables: a file by its name, all others as they are."""
    return Path(start).name if "/" in start else start


def find_pretrained(start: str, own: Artifact) -> Artifact | None:
    """The finished 04 that a start names: `own`, or that of another run; None = no run: random, imagenet or a file.

    Raises:
        ArtifactError: the run's 04 is unfinished or out of date.
    """
    if start == OWN:
        return own
    known = start not in ("random", "imagenet") and "/" not in start and run_folder(start).is_dir()
    return load(start, "04_training") if known else None


def make_network(kind: str, encoder: str, classes: int, stride: int, seed: int) -> nn.Module:
    """A semantic_fpn or deeplab_v3 with fresh weights."""
    with seed_weights(seed):
        return SemanticFPN(encoder, classes) if kind == "semantic_fpn" else DeepLabV3(encoder, classes, stride)


def transfer(network: nn.Module, start: str, encoder: str, pretrained: Artifact | None = None) -> Transfer:
    """Give a network the weights of a start, as far as it has the same parts; of a file or ImageNet the backbone alone.

    Args:
        pretrained: of `find_pretrained`.
    Raises:
        ValueError: the start has another encoder. FileNotFoundError, ConnectionError: as `load_start`.
    """
    before = sum(p.numel() for p in network.parameters())
    if pretrained is None:
        taken = load_start(network.backbone, start, encoder)
        parts, state = ("backbone",) if taken else (), network.backbone.state_dict()
        values = {f"backbone.{name}": state[name] for name in taken}
    else:
        source = load_networks(pretrained)[0]
        parts, values = _copy(network, source, pretrained, encoder), {}
        for part in parts:
            values |= {f"{part}.{name}": v for name, v in getattr(source, part).state_dict().items()}
    learned = dict(network.named_parameters())
    size = sum(v.numel() for name, v in values.items() if name in learned)
    return Transfer(name_start(start), parts, list_layers(values), len(values), size, before - size)


def list_layers(names: Iterable[str]) -> tuple[str, ...]:
    """From names of tensors to layers: backbone.layer1.0.conv1.weight is of backbone.layer1. Each once, in order."""
    return tuple(dict.fromkeys(".".join(name.split(".")[:2]) for name in names))


def _copy(network: nn.Module, source: Embedder, pretrained: Artifact, encoder: str) -> tuple[str, ...]:
    if source.about["encoder"] != encoder:
        known = f"04 of run {pretrained.run!r} has a {source.about['encoder']}, not {encoder}"
        raise ValueError(f"{known}: set encoder to the same")
    return copy_parts(network, source)


def copy_parts(network: nn.Module, embedder: nn.Module) -> tuple[str, ...]:
    """Give a network those parts of an embedder of the same encoder that it has too; their names."""
    parts = KEPT if isinstance(network, SemanticFPN) else KEPT[:1]
    for part in parts:
        getattr(network, part).load_state_dict(getattr(embedder, part).state_dict())
    return parts


def check_starts(values: Any, owns: Iterable[Artifact], classes: int) -> list[Transfer]:
    """Give a fresh network the weights of each start, so that what does not fit is told before any long work.

    Args:
        values: parameters of 06. owns: all that "own" means, see `find_owns`; the first says which encoder, if none is
            named.
    Returns:
        What each start hands over; "own" once, that of the first.
    Raises:
        ValueError: names what is neither a word that is known, nor a run, nor a file; two files of one name; another
            encoder, or no plain weights. ConnectionError: ImageNet's cannot be fetched.
    """
    called = [name_start(start) for start in values.starts]
    for name in {name for name in called if called.count(name) > 1}:
        raise ValueError(f"starts: two files are called {name}, and tables would mix them up: rename one")
    owns = list({own.run: own for own in owns}.values())
    encoder, found = values.encoder or owns[0].params.encoder, []
    for start in values.starts:
        given = [_find_start(start, own) for own in (owns if start == OWN else owns[:1])]
        networks = [make_network(values.network, encoder, classes, values.output_stride, 0) for _ in given]
        transfers = [transfer(network, start, encoder, each) for network, each in zip(networks, given)]
        found.append(transfers[0])
    return found


def _find_start(start: str, own: Artifact) -> Artifact | None:
    if start in ("random", "imagenet") or Path(start).expanduser().is_file():
        return None
    try:
        found = find_pretrained(start, own)
    except ArtifactError as error:
        raise ValueError(f"starts: {start!r}: {error}") from error
    if found is None:
        raise ValueError(f"starts: {start!r} is no run and no file: give random, imagenet, own, a run or a file")
    return found
