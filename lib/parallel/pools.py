"""One function over many items, in processes of this machine or of a cluster."""

import pickle
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from joblib import Parallel, delayed

from .cluster import map_on_cluster
from .failures import WorkerDied
from .machine import use_one_thread


def parallel_map(
    function: Callable[..., Any], items: Iterable[Any], workers: int = 1, scheduler: str = ""
) -> Iterator[Any]:
    """`function(item)` for each item, in order, as soon as it is there.

    Without a scheduler each of `workers` is a process of this machine with one thread, so that `workers` is also the
    number of cores in use; 1 = no other process. With one, as many are at work as the cluster has threads; start its
    workers with one thread each (`dask worker ADDRESS --nthreads 1`). What they read and write must lie at the same
    place for all of them; the function does not: it travels.

    Args:
        function: sent once to each worker, not with every item: it may carry the list of all frames of a data set.
        scheduler: address of a Dask scheduler, e.g. tcp://10.0.0.1:8786; connected to before the first item, left
            after the last.
    Raises:
        WorkerDied: a process was killed or crashed; on a cluster, after Dask tried others.
        ModuleNotFoundError: a scheduler, but no package `distributed`. ConnectionError: nobody answers there, or
            there is no worker. RuntimeError: a worker runs other code, or another version of a library that decides.
    """
    if scheduler:
        yield from map_on_cluster(function, items, scheduler)
    elif workers > 1:
        yield from _map_on_processes(function, items, workers)
    else:
        yield from map(function, items)


def _map_on_processes(function: Callable[..., Any], items: Iterable[Any], workers: int) -> Iterator[Any]:
    with TemporaryDirectory() as folder:
        sent = Path(folder) / "function"
        sent.write_bytes(pickle.dumps(function))
        with Parallel(
            n_jobs=workers,
            return_as="generator",
            pre_dispatch="2 * n_jobs",
            inner_max_num_threads=1,
            backend="loky",
        ) as pool:
            try:
                yield from pool(delayed(_call)(str(sent), item) for item in items)
            except BrokenProcessPool as error:
                raise WorkerDied(
                    "a worker process was killed or crashed: is there memory for so many? Fewer workers need less, and "
                    "workers = 1 shows where it happens"
                ) from error


def _call(sent: str, item: Any) -> Any:
    return _receive(sent)(item)


@lru_cache(maxsize=1)
def _receive(sent: str) -> Callable[..., Any]:
    function = pickle.loads(Path(sent).read_bytes())  # our own, written by the process that started this one
    use_one_thread()
    return function
