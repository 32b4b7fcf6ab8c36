"""What only a machine with a GPU can show: composites made there, and a training that is resumed there."""

import pytest
import torch

from lib.tests.methods.test_cpcdr import equal_batches, make_sources, make_task
from lib.training import hash_tensors, train
from lib.training.batches import move, place

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
GPU = torch.device("cuda")


def test_composites_of_the_gpu_are_those_of_the_cpu():
    here, there = (make_task(sources=make_sources(8), composites=c, device="cuda") for c in ("workers", "device"))
    steps = range(4)
    for step, batch in zip(steps, place(map(there.sample, steps), GPU)):
        expected, found = here.sample(step), {k: v if isinstance(v, int) else v.cpu() for k, v in batch.items()}
        assert int((expected.pop("images").int() - found.pop("images").int()).abs().max()) <= 2
        assert equal_batches(expected, found)


def test_the_first_loss_is_that_of_the_cpu():
    task = make_task(composites="workers")
    batch = task.make_batch(0)
    expected = float(task.loss(batch, 0)[0].detach())
    task.networks.to(GPU)
    found = float(task.loss(move(batch, GPU), 0)[0].detach())
    assert found == pytest.approx(expected, rel=1e-2)  # convolutions in TF32


@pytest.mark.parametrize("workers", [0, 1])
def test_a_resumed_training_equals_an_uninterrupted_one_with_deterministic_operations(tmp_path, workers):
    settings = {"device": GPU, "learning_rate": 1e-3, "deterministic": True, "workers": workers, "key": {}}
    settings["checkpoint_every"] = 2

    def stop(done, _):
        if done == 3:
            raise RuntimeError("stopped")

    whole, killed, rest = (make_task(composites="device") for _ in range(3))
    train(whole, tmp_path / "whole", steps=6, **settings)
    with pytest.raises(RuntimeError, match="stopped"):
        train(killed, tmp_path / "killed", steps=6, on_step=stop, **settings)
    train(rest, tmp_path / "killed", steps=6, **settings)
    assert hash_tensors(rest.networks.state_dict()) == hash_tensors(whole.networks.state_dict())
