"""Batches from other processes: what goes wrong there is said here, in one sentence."""

import os
import signal
import subprocess
import sys

import pytest
import torch

from lib.parallel import WorkerDied
from lib.training.batches import make_batches
from lib.training.signals import hidden_from_children


def fail_at_three(step: int) -> dict:
    if step == 3:
        raise ValueError("no pixel positives in this item: raise pixel_points")
    return {"x": torch.tensor([step])}


def die_at_three(step: int) -> dict:
    if step == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"x": torch.tensor([step])}


@pytest.mark.parametrize("workers", [0, 2])
def test_what_a_worker_raises_is_raised_in_its_own_words(workers):
    batches = make_batches(fail_at_three, range(9), workers, pin=False)
    assert [int(next(batches)["x"]) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="^no pixel positives in this item: raise pixel_points$"):
        next(batches)


def test_a_killed_worker_is_one_sentence():
    with pytest.raises(WorkerDied, match="a process that makes batches was killed or crashed: is there memory"):
        list(make_batches(die_at_three, range(9), 1, pin=False))


def test_processes_started_out_of_sight_never_see_an_interrupt():
    listen = "signal.signal(signal.SIGINT, signal.default_int_handler)"  # even if who runs the tests does not
    code = f"import os, signal; {listen}; os.kill(os.getpid(), signal.SIGINT); print('alive')"
    with hidden_from_children():
        hidden = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert hidden.stdout == "alive\n"
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "KeyboardInterrupt" in seen.stderr
