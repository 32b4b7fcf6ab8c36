"""Seconds that a stage will take here: recorded ones, or rates of another run, times the speed of this machine.

A record holds the calibration of its own machine, taken when it was recorded: one machine is faster on one day than on
another, and two records scale alike only with their own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ... import artifacts
from ..reference import REFERENCE

POINT = 1.4  # pixels that a point of the loss costs as much as: half of the points made a street run a 15th shorter
LOOKS = 4  # of 05 at a scored frame: as it is, mirrored, its centre, by random weights; at a training frame one
TAUGHT = 200  # frames that 05 fits to, at least, where there are more: it takes every so many
FARTHEST = 8  # a rate is trusted for images of at most so many times the pixels it was measured at, or as few


@dataclass(frozen=True)
class Estimate:
    seconds: float
    by_rate: str = ""  # the run whose rate it is from; empty = recorded from a run of this kind


@dataclass(frozen=True)
class Speed:
    """Seconds here over seconds of a record, for what the device does and what the cores do."""

    network: float = 1.0
    grouping: float = 1.0


@dataclass(frozen=True)
class Record:
    """What is used of an outputs/reference/RUN.json.

    stages: by name; empty = nothing recorded.
    machine: its description and `calibration_seconds`, see `speed.describe_processor`; empty = not known.
    """

    stages: Mapping[str, Any] = field(default_factory=dict)
    machine: Mapping[str, Any] = field(default_factory=dict)

    def compare(self, here: Mapping[str, float]) -> Speed:
        """Beside the calibration of this machine; equal where one of both is not known."""
        there = self.machine.get("calibration_seconds", {})
        if not here or not there:
            return Speed()
        return Speed(**{name: here[name] / there[name] for name in ("network", "grouping")})


def read_record(path: Path) -> Record:
    """An outputs/reference/RUN.json; empty where there is none that can be read."""
    try:
        found = artifacts.read_json(path)
        return Record(dict(found["stages"]), dict(found.get("machine", {})))
    except (OSError, ValueError, KeyError, TypeError):
        return Record()


def describe_speed(here: Mapping[str, float]) -> str:
    """A sentence: this machine beside that of the street run."""
    street = read_record(REFERENCE / "street.json")
    if not street.machine:
        return "no record of the street run to compare with"
    speed, machine = street.compare(here), street.machine
    return (
        f"here {speed.network:.2f} times the reference's seconds for the network, {speed.grouping:.2f} for the "
        f"grouping; the reference: {machine['cores']} cores of {machine['processor']}, {machine['device']}"
    )


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

    With the rates of the street run this gives the recorded seconds of the camvid run to less than a third.
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
        points = values[name].pixel_points + values[name].region_points
        return values[name].steps * 2 * recipe.images * (pixels + POINT * points)
    if not frames or not scored or values[name].ceiling_steps:
        return None
    taught = -(-frames // max(frames // TAUGHT, 1))
    return (taught + LOOKS * scored) * pixels


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
    recorded: Record,
    others: Sequence[tuple[Record, Mapping[str, Any]]],
    dataset: Any,
    here: Mapping[str, float],
) -> Estimate | None:
    """Seconds of a stage here; None = not measured.

    Args:
        values: parameters of every notebook of the run.
        recorded: the run's own record.
        others: records of other runs with their parameters, the best first: the first one whose rate holds is used.
        dataset: the frames that the run is about; None = not here.
        here: the calibration of this machine; empty = not measured, and seconds stay those of the record.
    """
    if name in recorded.stages:
        return Estimate(scale_stage(name, recorded.stages, recorded.compare(here)))
    frames = scored = None
    if dataset is not None:
        frames = len(dataset.frames())
        scored = len(dataset.frames(values["05_evaluation"].split, labelled=True))
    for other, base in others:
        if name in other.stages and is_alike(name, values, base):
            protocol = other.stages.get("02_regions", {}).get("protocol", {})
            work = measure_work(name, values, frames, scored)
            there = measure_work(name, base, protocol.get("frames"), protocol.get("scored"))
            if work and there:
                seconds = scale_stage(name, other.stages, other.compare(here)) * work / there
                return Estimate(seconds, by_rate=base["01_depth"].run)
    return None
