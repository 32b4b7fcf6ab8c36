"""State of a training on disk: written aside and renamed, two kept, used again only for the very same training."""

import hashlib
import io
import json
import math
import os
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..artifacts import write_aside
from ..parallel.ranks import own_rank, share_with_ranks

KEPT = 2  # if the newest is damaged, the one before it is used


def hash_tensors(tensors: Mapping[str, Tensor]) -> str:
    """sha256 over names, in order, and the bytes of each tensor: equal if and only if all of them are."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


@dataclass
class History:
    """What a training leaves behind besides weights.

    columns: name -> one number a step: loss, learning_rate and what the task logs.
    train_seconds: time spent in training, over all resumes.
    pictures: steps made -> arrays that `on_picture` returned.
    warnings: steps made -> what `watch` said then.
    memory: bytes held at most, of which memory: of the process that trains (of several, the first). Not saved.
    """

    columns: dict[str, list[float]] = field(default_factory=dict)
    train_seconds: float = 0.0
    pictures: dict[int, dict[str, np.ndarray]] = field(default_factory=dict)
    warnings: dict[int, str] = field(default_factory=dict)
    memory: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.columns.get("loss", []))

    def mean_of_last(self, name: str, steps: int = 20) -> float:
        """Mean of a column over its last steps."""
        return float(np.mean(self.columns[name][-steps:]))

    def save(self, folder: Path) -> None:
        """history.json, without the pictures; null for what is not finite."""
        columns = {k: [v if math.isfinite(v) else None for v in values] for k, values in self.columns.items()}
        known = {"train_seconds": self.train_seconds, "columns": columns, "warnings": self.warnings}
        with write_aside(folder / "history.json") as aside:  # in one line: a long one is written ten times as fast
            aside.write_text(json.dumps(known, allow_nan=False))


class Checkpoints:
    """The checkpoints of one training: `folder`/checkpoints/checkpoint_000400.pt after 400 steps."""

    def __init__(self, folder: Path, key: dict[str, Any]) -> None:
        self.folder, self.key = folder / "checkpoints", json.loads(json.dumps(key))

    def save(self, networks: nn.Module, optimizer: torch.optim.Optimizer, history: History) -> None:
        """Raises OSError on a full disk, FloatingPointError if a weight is not finite; what was there stays."""
        if not all(bool(torch.isfinite(value).all()) for value in networks.state_dict().values()):
            raise FloatingPointError(
                f"weights are not finite after step {len(history)}: lower learning_rate; the last checkpoint is intact"
            )
        pictures = {step: {k: torch.from_numpy(v) for k, v in p.items()} for step, p in history.pictures.items()}
        state = {"key": json.dumps(self.key), "networks": networks.state_dict(), "optimizer": optimizer.state_dict()}
        columns = {name: torch.tensor(values, dtype=torch.float64) for name, values in history.columns.items()}
        state |= {"columns": columns, "train_seconds": history.train_seconds, "pictures": pictures}
        state["warnings"] = history.warnings
        buffer = io.BytesIO()  # torch's own file writer hides what went wrong with the disk
        torch.save(state, buffer)
        with write_aside(self.folder / f"checkpoint_{len(history):06d}.pt") as aside:
            aside.write_bytes(buffer.getbuffer())
        for old in self._list()[:-KEPT]:
            old.unlink()

    def load(self, networks: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> History:
        """Put the newest sound checkpoint of this very training into place; none = an empty history.

        Of several processes the first one reads, and tells the others.
        """
        state = share_with_ranks(self._find(steps) if own_rank() == 0 else None)
        if state is None:
            return History()
        networks.load_state_dict(state["networks"])
        optimizer.load_state_dict(state["optimizer"])
        pictures = {step: {k: v.numpy() for k, v in p.items()} for step, p in state["pictures"].items()}
        columns = {name: values.tolist() for name, values in state["columns"].items()}
        return History(columns, state["train_seconds"], pictures, state["warnings"])

    def is_finished(self, steps: int) -> bool:
        """Does the newest checkpoint belong to this very training, after as many steps?"""
        if not (self.folder / f"checkpoint_{steps:06d}.pt").is_file():
            return False
        state = self._read()
        return state is not None and len(state["columns"]["loss"]) == steps and not self._compare(state, steps)

    def _find(self, steps: int) -> dict[str, Any] | None:
        for unfinished in self.folder.glob(".checkpoint_*"):  # of one that was killed while it wrote
            unfinished.unlink()
        state = self._read()
        if state and (changes := self._compare(state, steps)):
            aside = self.folder.with_name("checkpoints_set_aside")
            shutil.rmtree(aside, ignore_errors=True)
            os.replace(self.folder, aside)
            print(f"checkpoints of another training, kept in {aside.name}; changed: {', '.join(changes)}")
            return None
        return state

    def _list(self) -> list[Path]:
        return sorted(self.folder.glob("checkpoint_*.pt"), key=lambda path: int(path.stem.split("_")[1]))

    def _read(self) -> dict[str, Any] | None:
        for path in reversed(self._list()):
            try:
                if zipfile.ZipFile(path).testzip():  # torch itself does not look at the checksums
                    raise ValueError("checksum")
                return torch.load(path, map_location="cpu", weights_only=True)
            except (OSError, MemoryError):
                raise  # the machine's fault, not the file's
            except Exception as error:  # whatever a damaged file makes torch raise
                os.replace(path, path.with_suffix(".damaged"))
                what = f"{path.name} is damaged ({type(error).__name__}) and now {path.stem}.damaged"
                print(f"{what}: trying the one before it")
        return None

    def _compare(self, state: dict[str, Any], steps: int) -> list[str]:
        """Names of what stands against going on from `state`."""
        old, new = ({**key, **key.get("params", {})} for key in (json.loads(state["key"]), self.key))
        changes = [name for name in sorted({*old, *new} - {"params"}) if old.get(name) != new.get(name)]
        return changes or ["steps, to fewer than were made"] * (len(state["columns"]["loss"]) > steps)
