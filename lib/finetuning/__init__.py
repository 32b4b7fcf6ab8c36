"""Training with labels: what a start from trained weights brings, beside one from nothing.

`networks` classify pixels, `starts` say which weights they begin from, `labelled` and `data` which frames teach and
which count, `trials` compare trainings and keep what they gave; `instances` and `instance_trials` have the things one
by one.
"""

from .data import Lesson, common_classes, read_lesson
from .instance_trials import (
    InstanceOutcome,
    describe_instances,
    make_instance_task,
    read_truths,
    run_instance_trial,
    smallest_thing,
    summarise_instances,
)
from .labelled import LabelledSampler, LabelledTask, LazyFrames, choose_labelled, gather_labelled
from .networks import DeepLabV3, Frozen, LinearProbe, SemanticFPN, dilate
from .starts import Transfer, check_starts, copy_parts, find_pretrained, make_network, name_start, transfer
from .trials import Outcome, Trial, describe_summary, find_owns, list_trials, run_trial, stack_outcomes, summarise

__all__ = [
    "DeepLabV3",
    "Frozen",
    "InstanceOutcome",
    "LabelledSampler",
    "LabelledTask",
    "LazyFrames",
    "Lesson",
    "LinearProbe",
    "Outcome",
    "SemanticFPN",
    "Transfer",
    "Trial",
    "check_starts",
    "choose_labelled",
    "common_classes",
    "copy_parts",
    "describe_instances",
    "describe_summary",
    "dilate",
    "find_owns",
    "find_pretrained",
    "gather_labelled",
    "list_trials",
    "make_instance_task",
    "make_network",
    "name_start",
    "read_lesson",
    "read_truths",
    "run_instance_trial",
    "run_trial",
    "smallest_thing",
    "stack_outcomes",
    "summarise",
    "summarise_instances",
    "transfer",
]
