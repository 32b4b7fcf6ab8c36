"""How long steps take and what their short cuts cost, measured in turn in one run: what notebook 10 shows.

`grouping` for the regions of 02, `composites` for the items of 03, `steps` for a step of the training of 04.
"""

from .composites import describe_composites, make_sources, time_composites
from .grouping import (
    STEPS,
    compare_partitions,
    describe_choices,
    describe_steps,
    group_view,
    measure_choices,
    measure_scaling,
    profile_grouping,
    read_streets,
    time_ours,
    time_panel,
    time_released,
)
from .steps import PARTS, compare_losses, describe_step, measure_machine, profile_step, time_training

__all__ = [
    "PARTS",
    "STEPS",
    "compare_losses",
    "compare_partitions",
    "describe_choices",
    "describe_composites",
    "describe_step",
    "describe_steps",
    "group_view",
    "make_sources",
    "measure_choices",
    "measure_machine",
    "measure_scaling",
    "profile_grouping",
    "profile_step",
    "read_streets",
    "time_composites",
    "time_ours",
    "time_panel",
    "time_released",
    "time_training",
]
