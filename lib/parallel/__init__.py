"""Many frames at once, and what a machine has left for them.

`pools` maps a function over items, in processes or on a Dask cluster (`cluster`); `failures` says what went wrong,
`progress` how far it is; `machine` knows memory and devices. Nothing here loads torch before it is asked for.
"""

from .failures import WorkerDied, explain
from .machine import fits_memory, free_memory, numpy_generator, peak_memory, pick_device, torch_generator
from .pools import parallel_map
from .progress import open_bar

__all__ = [
    "WorkerDied",
    "explain",
    "fits_memory",
    "free_memory",
    "numpy_generator",
    "open_bar",
    "parallel_map",
    "peak_memory",
    "pick_device",
    "torch_generator",
]
