"""One function over many items, in processes and on a cluster; the tests of a cluster need `distributed`."""

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest

from lib import parallel
from lib.parallel import WorkerDied, cluster, parallel_map, progress


class Squares:
    """Callable that notes in a folder each time that it is unpacked."""

    def __init__(self, folder):
        self.folder = folder

    def __setstate__(self, state):
        self.__dict__ = state
        (self.folder / f"{os.getpid()}-{time.monotonic_ns()}").touch()

    def __call__(self, number):
        time.sleep(0.01 * (number % 3))  # so that they do not end in order
        return number**2, os.getpid(), cv2.getNumThreads()


def refuse(number):
    if number == 3:
        raise ValueError("3 is no good")
    return number


def die(number):
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@cache
def start_cluster(workers=2):
    """Address of a cluster of processes on this machine; they end with this one."""
    distributed = pytest.importorskip("distributed", reason="Dask is an optional extra: cluster")
    started = distributed.LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=":0")
    start_cluster.kept = [*getattr(start_cluster, "kept", []), started]
    return started.scheduler_address


def free_address():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{sock.getsockname()[1]}"


# --- processes


def test_one_worker_is_this_process_and_asks_for_the_next_item_only_when_it_must():
    taken = []
    results = parallel_map(lambda n: (n, os.getpid()), (taken.append(n) or n for n in range(5)))
    assert [next(results), next(results)] == [(0, os.getpid()), (1, os.getpid())]
    assert taken == [0, 1]


def test_processes_keep_the_order_get_the_function_once_and_use_one_thread_each(tmp_path):
    found = list(parallel_map(Squares(tmp_path), range(20), workers=2))
    assert [value for value, _, _ in found] == [n**2 for n in range(20)]
    pids = {pid for _, pid, _ in found}
    assert os.getpid() not in pids
    assert len(list(tmp_path.iterdir())) == len(pids) <= 2
    assert {threads for _, _, threads in found} == {1}


def test_an_error_and_a_death_in_a_worker_reach_the_caller_and_the_next_call_works():
    with pytest.raises(ValueError, match="3 is no good"):
        list(parallel_map(refuse, range(5), workers=2))
    with pytest.raises(WorkerDied, match="killed or crashed: is there memory for so many"):
        list(parallel_map(die, range(5), workers=2))
    assert list(parallel_map(die, range(3), workers=2)) == [0, 1, 2]


def test_no_torch_where_it_is_not_asked_for():
    code = "import sys, lib.parallel; lib.parallel.numpy_generator(0, 1); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


# --- a cluster


def test_without_dask_the_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ModuleNotFoundError, match=r'tcp://a:1.*pip install "depth-regions\[cluster\]", or leave'):
        list(parallel_map(refuse, range(2), scheduler="tcp://a:1"))


def test_nobody_answers_at_the_address_or_nobody_works_there(monkeypatch):
    start_cluster()
    monkeypatch.setattr(cluster, "CONNECT", 0.3)
    with pytest.raises(ConnectionError, match=r"no Dask scheduler answers at 'tcp://127.0.0.1:\d+' within 0.3 s"):
        list(parallel_map(refuse, range(2), scheduler=free_address()))
    with pytest.raises(ConnectionError, match="no Dask scheduler answers at 'nowhere'.*missing port"):
        list(parallel_map(refuse, range(2), scheduler="nowhere"))
    with pytest.raises(ConnectionError, match="has no worker: start some with `dask worker tcp://"):
        list(parallel_map(refuse, range(2), scheduler=start_cluster(0)))


def test_a_cluster_keeps_the_order_and_gets_the_function_once(tmp_path):
    found = list(parallel_map(Squares(tmp_path), range(20), scheduler=start_cluster()))
    assert [value for value, _, _ in found] == [n**2 for n in range(20)]
    pids = {pid for _, pid, _ in found}
    assert os.getpid() not in pids
    assert len(list(tmp_path.iterdir())) == len(pids) <= 2
    assert {threads for _, _, threads in found} == {1}
    with pytest.raises(ValueError, match="3 is no good"):
        list(parallel_map(refuse, range(5), scheduler=start_cluster()))


def test_a_cluster_of_one_thread_works_there_too(monkeypatch, tmp_path):
    address = start_cluster()
    client = sys.modules["distributed"].Client
    monkeypatch.setattr(client, "ncores", lambda self: dict(list(self.nthreads().items())[:1]))
    found = list(parallel_map(Squares(tmp_path), range(4), scheduler=address))
    assert [value for value, _, _ in found] == [0, 1, 4, 9]
    assert os.getpid() not in {pid for _, pid, _ in found}


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("lib", "runs other code of lib: install the same there"), ("infomap", r"runs infomap [\d.]+ in place of 0.0")],
)
def test_workers_with_other_code_are_refused(monkeypatch, name, sentence):
    address, describe = start_cluster(), cluster._describe_code
    monkeypatch.setattr(cluster, "_describe_code", lambda modules: {**describe(modules), name: "0.0"})
    with pytest.raises(RuntimeError, match=sentence):
        list(parallel_map(refuse, range(3), scheduler=address))


class Deaf:
    """In place of a client whose scheduler, or whose worker, was started where lib is not installed."""

    def __init__(self, scheduler):
        self.scheduler = scheduler

    def run_on_scheduler(self, function, *_):
        if self.scheduler:
            raise Exception("No module named 'lib'")

    def run(self, *_, on_error):
        return {"tcp://a:1": None, "tcp://b:2": Exception("No module named 'lib'")}


def test_machines_without_lib_are_named():
    with pytest.raises(
        RuntimeError, match=r"the scheduler cannot import lib \(No module named 'lib'\): start it where"
    ):
        cluster._check_cluster(Deaf(scheduler=True), {})
    with pytest.raises(RuntimeError, match="the worker at tcp://b:2 cannot import lib"):
        cluster._check_cluster(Deaf(scheduler=False), {})


def test_code_that_travels_is_found_by_what_it_is_made_of(tmp_path):
    code, packed = cluster._pack(Squares(tmp_path))
    assert code["modules"] == "lib.tests.test_parallel"
    assert code["lib"] != cluster._pack(np.mean)[0]["lib"]
    assert set(code) == {"modules", "lib", "python", *cluster.DECISIVE}
    assert b"lib.tests.test_parallel" in packed


# --- the rest


@pytest.mark.parametrize(
    ("error", "kind", "sentence"),
    [
        (ValueError("too dark"), ValueError, "frame a: too dark"),
        (KeyError("x"), RuntimeError, "frame a: 'x'"),
        (MemoryError(), RuntimeError, "frame a: MemoryError"),
        (FileNotFoundError("no file b"), FileNotFoundError, "frame a: no file b"),
        (OSError(errno.ENOSPC, "no space"), OSError, "frame a: no space"),
    ],
)
def test_errors_keep_their_kind_and_say_where(error, kind, sentence):
    found = parallel.explain(error, "frame a")
    assert type(found) is kind
    assert sentence in str(found)
    assert getattr(found, "errno", None) == getattr(error, "errno", None)


def test_memory_is_measured():
    before = parallel.peak_memory()
    block = np.ones(8 << 20)  # 64 MiB
    assert parallel.peak_memory() >= before
    assert parallel.peak_memory() > block.nbytes
    assert parallel.fits_memory(1)
    assert not parallel.fits_memory(2 * parallel.free_memory())


def test_a_bar_only_where_somebody_sees_it(monkeypatch, capsys):
    with parallel.open_bar("regions", " frames", 10) as bar:
        bar.update(3)
    assert capsys.readouterr() == ("", ""), "what is done soon leaves nothing behind"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with parallel.open_bar("regions", " frames", 10, wanted=False) as bar:
        assert bar is None
    with parallel.open_bar("regions", " frames", 10, done=4) as bar:
        bar.update(3)
        assert (bar.n, bar.total) == (7, 10)
    assert "regions" in capsys.readouterr().err


def test_where_nobody_looks_a_long_work_says_now_and_then_how_far_it_is(monkeypatch, capsys):
    monkeypatch.setattr(progress, "EVERY", 1e-3)
    with parallel.open_bar("regions", " frames", 10) as bar:
        for _ in range(3):
            time.sleep(2e-3)
            bar.update(2)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("regions: 6 of 10 frames, ")
    assert lines[-1].endswith(" left")
    assert not any("\r" in line for line in lines)


def test_a_process_started_from_a_large_one_does_not_inherit_its_peak():
    block = np.ones(48 << 20)  # 384 MiB
    code = "from lib.parallel import peak_memory; print(peak_memory())"
    there = int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout)
    assert there < block.nbytes or not Path("/proc/self/status").exists()
