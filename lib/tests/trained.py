"""A finished run with random networks, for tests of what is done with one: no training."""

import numpy as np
import torch

from lib import artifacts
from lib.depth import build_networks
from lib.networks import Embedder, save_networks, seed_weights
from lib.params import AugmentationParams, DepthParams, EvaluationParams, RegionParams, TrainingParams

SIZE = (64, 96)  # of what the networks see
IDS = (0, 1, 2, 10, 11, 255)  # train ids of the prototypes; one has no name


def make_run(name: str, named: bool = True, **depth: object) -> None:
    """01 to 04 below `artifacts.stages.OUTPUTS`, and 05 if the prototypes are to have names.

    Args:
        depth: fields of `DepthParams`.
    """
    values = DepthParams(run=name, height=SIZE[0], width=SIZE[1], **depth)
    stage = artifacts.begin("01_depth", values)
    stage.save_tensors("depth.safetensors", build_networks(values).depth.state_dict())
    stage.finish({})
    made = [artifacts.load(name, "01_depth")]
    schemas = {"02_regions": RegionParams(run=name), "03_augmentation": AugmentationParams(run=name)}
    for notebook, params in schemas.items():
        artifacts.begin(notebook, params, list(made)).finish({})
        made.append(artifacts.load(name, notebook))
    stage = artifacts.begin("04_training", TrainingParams(run=name), made)
    with seed_weights(1):
        directions = torch.randn(len(IDS), 8)
        save_networks(stage, Embedder("resnet18", 8), directions - directions.mean(dim=0))
    stage.finish({})
    if named:
        stage = artifacts.begin("05_evaluation", EvaluationParams(run=name), [artifacts.load(name, "04_training")])
        of = np.array(IDS, np.uint8)
        stage.save_arrays("names.npz", prototypes=of, clusters=of[::-1].copy())
        stage.finish({})
