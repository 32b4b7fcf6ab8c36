"""What is scored: labelled frames, and finished runs to put beside this one."""

from contextlib import suppress
from pathlib import Path

import numpy as np

from ..artifacts import Artifact, ArtifactError, load, read_json, run_folder
from ..data import Dataset, Frame
from ..params import ParameterError, decisive


def read_labelled(dataset: Dataset, split: str) -> tuple[list[Frame], np.ndarray, np.ndarray]:
    """The labelled frames of a split, their images (N, H, W, 3) uint8 and class indices (N, H, W) uint8, 255 = ignore.

    Raises:
        ValueError: the data set has no labels there.
    """
    frames = dataset.frames(split, labelled=True)
    if not frames or dataset.classes is None:
        remedy = "score a data set with labels, or join one by `scored_dataset`; notebook 11 needs none"
        raise ValueError(f"{dataset.name} has no labelled frames in split {split!r}: {remedy}")
    labels = np.stack([dataset.labels(frame) for frame in frames])
    dataset.classes.check(labels, f"{dataset.name}, split {split}")
    return frames, np.stack([dataset.image(frame) for frame in frames]), dataset.classes.to_index(labels)


def find_run_without_paste(training: Artifact) -> Artifact | None:
    """A finished, up-to-date 04, beside this one, from the same inputs and parameters but `paste`, if somebody made it.

    Args:
        training: a 04 that pastes.
    """

    def recipe(made: Artifact) -> tuple:
        values = decisive(made.params)
        return made.manifest["inputs"], {k: v for k, v in values.items() if k not in ("run", "upstream", "paste")}

    for path in sorted(run_folder(training.run).parent.glob("*/04_training/manifest.json")):
        # a neighbour that is damaged, or made by an older set of parameters, is none of this run's business
        with suppress(ArtifactError, ParameterError, ValueError, KeyError):
            if not read_json(path)["params"].get("paste", True):
                made = load(str(Path(training.run).parent / path.parents[1].name), "04_training")
                if recipe(made) == recipe(training):
                    return made
    return None
