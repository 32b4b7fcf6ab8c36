"""The workers of a Dask cluster: reached, asked whether they run this very code, and sent a function.

`distributed` is an optional extra; nothing of it is imported before a scheduler is named.
"""

import gc
import io
import pickle
import platform
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from uuid import uuid4

from joblib import Parallel, delayed, parallel_config

from .failures import WorkerDied
from .machine import use_one_thread

CONNECT = 10.0  # seconds in which a scheduler must answer and have its first worker
DECISIVE = ("numpy", "scikit-image", "opencv-python-headless", "infomap")  # libraries whose version decides a result


def map_on_cluster(function: Callable[..., Any], items: Iterable[Any], scheduler: str) -> Iterator[Any]:
    """As `parallel_map` with a scheduler. The function goes to the workers' memory: no folder need be shared for it."""
    with connect(scheduler) as client:
        code, packed = _pack(function)
        _check_cluster(client, code)
        sent = pickle.dumps((uuid4().hex, code, packed))  # never twice the same: Dask forgets old data in its own time
        if sum(client.ncores().values()) == 1:  # joblib would stay in this process
            there = client.scatter(sent)
            yield from (client.submit(_call_there, there, item, pure=False).result() for item in items)
            return
        with parallel_config(backend="dask", client=client, scatter=[sent]):
            pool = Parallel(return_as="generator", pre_dispatch="2 * n_jobs")
        yield from pool(delayed(_call_there)(sent, item) for item in items)


@contextmanager
def connect(scheduler: str) -> Iterator[Any]:
    """A `distributed.Client` of the scheduler, with at least one worker; closed at the end.

    Raises:
        ModuleNotFoundError, ConnectionError, WorkerDied: as `parallel_map`, in one sentence each.
    """
    try:
        import distributed
    except ImportError:
        raise ModuleNotFoundError(
            f'scheduler = {scheduler!r} needs Dask: pip install "depth-regions[cluster]", or leave scheduler empty to '
            "use the processes of this machine"
        ) from None
    failed = ""
    try:
        client = distributed.Client(scheduler, timeout=CONNECT, set_as_default=False)
    except Exception as error:  # whoever else listens there may answer anything
        failed = str(error) or type(error).__name__
    if failed:
        gc.collect()  # a client that never connected, if found by the collector while the next one starts, blocks it
        raise ConnectionError(
            f"no Dask scheduler answers at {scheduler!r} within {CONNECT:g} s ({failed}): start one with `dask "
            "scheduler` and give its address, e.g. tcp://10.0.0.1:8786"
        )
    with client:
        try:
            client.wait_for_workers(1, timeout=CONNECT)
        except TimeoutError:
            raise ConnectionError(
                f"the scheduler at {scheduler!r} has no worker: start some with `dask worker {scheduler} --nthreads 1`"
            ) from None
        try:
            yield client
        except (distributed.scheduler.KilledWorker, CancelledError) as error:
            raise WorkerDied(f"workers at {scheduler!r}, or their scheduler, were killed or lost: {error}") from error


class _Pickler(pickle.Pickler):
    """Notes which modules the things come from that it packs."""

    def reducer_override(self, thing: Any) -> Any:
        self.modules.add(getattr(thing, "__module__", None))
        return NotImplemented


def _pack(function: Callable[..., Any]) -> tuple[dict[str, str], bytes]:
    """A function to send, and the code that it needs at the other end, as `_describe_code` has it."""
    file = io.BytesIO()
    pickler = _Pickler(file)
    pickler.modules = set()
    pickler.dump(function)
    return _describe_code(tuple(sorted(m for m in pickler.modules if m and m.split(".")[0] == "lib"))), file.getvalue()


@lru_cache
def _describe_code(modules: tuple[str, ...]) -> dict[str, str]:
    """Hash of lib modules and all they import, and versions of the libraries beside them: equal code, equal results.

    Taken once in a process, so a worker goes on to say what it was when it began, though its files change.
    """
    from ..artifacts.code import hash_modules

    found = {"modules": " ".join(modules), "lib": "none"}
    with suppress(AttributeError):  # a module without a file here
        found["lib"] = hash_modules(*modules)[:12]
    found["python"] = f"{sys.version_info.major}.{sys.version_info.minor}"
    for name in DECISIVE:
        try:
            found[name] = version(name).partition("+")[0]
        except PackageNotFoundError:
            found[name] = "none"
    return found


def _check_cluster(client: Any, code: dict[str, str]) -> None:
    """Ask the scheduler, through which all passes, whether it knows lib, and the workers whether theirs is this one.

    By `run`, which answers at once, also from a busy worker; a task that a worker cannot unpack ends that worker.

    Raises:
        RuntimeError: one cannot import lib, or runs something else than this process.
    """
    try:
        answers = {"": client.run_on_scheduler(_compare_code, {})}
    except Exception as error:
        answers = {"": error}
    answers = answers if answers[""] else client.run(_compare_code, code, on_error="return")
    for address, answer in answers.items():
        if isinstance(answer, RuntimeError):  # from `_compare_code`
            raise answer
        if answer is not None:
            who = f"the worker at {address}" if address else "the scheduler"
            raise RuntimeError(f"{who} cannot import lib ({answer}): start it where this checkout is installed")


def _compare_code(code: dict[str, str]) -> None:
    """Is the code here as `_describe_code` described it elsewhere?"""
    here = _describe_code(tuple(code["modules"].split())) if code else {}
    for name, wanted in code.items():
        if here[name] != wanted:
            what = "other code of lib" if name == "lib" else f"{name} {here[name]} in place of {wanted}"
            raise RuntimeError(f"a worker on {platform.node()} runs {what}: install the same there, start it again")


def _call_there(sent: bytes, item: Any) -> Any:
    return _receive_there(sent)(item)


@lru_cache(maxsize=1)
def _receive_there(sent: bytes) -> Callable[..., Any]:
    _, code, packed = pickle.loads(sent)
    _compare_code(code)  # workers come and go: this one may have started after the first check
    function = pickle.loads(packed)
    use_one_thread()
    return function
