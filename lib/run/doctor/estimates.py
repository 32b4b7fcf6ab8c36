"""Seconds that a stage will take here: recorded ones, or rates of the street run, times the speed of this machine."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ... import artifacts
from .speed import Speed

FARTHEST = 8  # a rate is trusted for images of at most so many times the pixels it was measured at, or as few


@dataclass(frozen=True)
class Estimate:
    seconds: float
    by_rate: bool = False  # from the street run's rate, not from a run of this kind


def read_recorded(path: Path) -> dict[str, Any]:
    """The stages of an outputs/reference/RUN.json by name; empty where there is none that can be read."""
    try:
        return dict(artifacts.read_json(path)["stages"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def scale_stage(name: str, stages: Mapping[str, Any], speed: Speed) -> float:
    """Recorded seconds of a stage -> seconds here: its training by the network, the rest by the grouping.

    A training is never faster than one process can make its composites, at the rate that 03 measured.
    """
    stage = stages[name]
    training = min(_number(stage, "train_seconds"), stage["seconds"])
    here = training * speed.network
    made = _number(stages.get("03_augmentation", {}), "images_per_second")
    if name == "04_training" and made:
        images = stage["protocol"].get("steps", 0) * stage["protocol"].get("images_per_step", 0)
        here = max(here, images / made * speed.grouping)
    return here + (stage["seconds"] - training) * speed.grouping


def _number(stage: Mapping[str, Any], metric: str) -> float:
    return float(stage.get("metrics", {}).get(metric, {}).get("value", 0.0))


def measure_work(name: str, values: Mapping[str, Any], frames: int | None, scored: int | None) -> float | None:
    """How much a stage has to do, in pixels; None where that is not known.

    With the rates of the street run this gives the recorded seconds of the camvid run to a fifth.
    """
    depth, recipe = values["01_depth"], values["03_augmentation"]
    pixels = depth.height * depth.width
    if name == "01_depth":
        return (depth.steps + depth.start_steps) * depth.batch * pixels
    if name == "02_regions":
        return frames * pixels if frames else None
    if name == "03_augmentation":
        return recipe.samples * recipe.images * pixels
    if name == "04_training":
        return values[name].steps * 2 * recipe.images * pixels
    return scored * pixels if scored and not values[name].ceiling_steps else None


def is_alike(name: str, values: Mapping[str, Any], base: Mapping[str, Any]) -> bool:
    """Does a rate of `base` hold for the stage: the same network, a comparable size?"""
    depth, other = values["01_depth"], base["01_depth"]
    ratio = depth.height * depth.width / (other.height * other.width)
    fields = {"01_depth": ("encoder", "scales"), "04_training": ("encoder",)}.get(name, ())
    same = all(getattr(values[name], field) == getattr(base[name], field) for field in fields)
    return same and 1 / FARTHEST <= ratio <= FARTHEST


def estimate_stage(
    name: str,
    values: Mapping[str, Any],
    recorded: Mapping[str, Any],
    street: Mapping[str, Any],
    base: Mapping[str, Any],
    dataset: Any,
    speed: Speed,
) -> Estimate | None:
    """Seconds of a stage here; None = not measured.

    Args:
        values: parameters of every notebook of the run.
        recorded: the run's own recorded stages; empty = none.
        street, base: recorded stages and parameters of the street run.
        dataset: the frames that the run is about; None = not here.
    """
    if name in recorded:
        return Estimate(scale_stage(name, recorded, speed))
    if name not in street or not is_alike(name, values, base):
        return None
    frames = scored = None
    if dataset is not None:
        frames = len(dataset.frames())
        scored = len(dataset.frames(values["05_evaluation"].split, labelled=True))
    protocol = street["02_regions"]["protocol"]
    work = measure_work(name, values, frames, scored)
    there = measure_work(name, base, protocol["frames"], protocol["scored"])
    return Estimate(scale_stage(name, street, speed) * work / there, by_rate=True) if work and there else None
