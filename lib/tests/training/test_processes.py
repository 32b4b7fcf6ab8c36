"""Several processes train as one: the same first step, the same course, one end for all."""

import os
import pickle
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import distributed, multiprocessing

from lib.networks import SynchronizedBatchNorm2d, synchronize_batch_norms
from lib.parallel import WorkerDied
from lib.parallel.ranks import sum_gradients, sum_ranks
from lib.tests.methods.test_cpcdr import make_sources, make_task
from lib.tests.training.fixtures import Line, refuse_to_compile, run, weights


def take_first_step(task) -> dict[str, torch.Tensor]:
    loss, numbers = task.loss(task.sample(0), 0)
    loss.backward()
    sum_gradients(list(task.networks.parameters()))
    state = {f"state {name}": value for name, value in task.networks.state_dict().items()}
    gradients = {f"gradient {name}": p.grad for name, p in task.networks.named_parameters()}
    losses = {name: value for name, value in numbers.items() if name.startswith("loss")}
    return {"loss": sum_ranks(loss.detach().clone()), **losses, **state, **gradients}


def smooth(module: torch.nn.Module) -> None:
    """Without kinks: at one, a rounding error turns a gradient on or off, in one process as in two."""
    for name, child in module.named_children():
        if isinstance(child, torch.nn.ReLU):
            setattr(module, name, torch.nn.SiLU())
        elif isinstance(child, torch.nn.MaxPool2d):
            setattr(module, name, torch.nn.AvgPool2d(3, 2, 1))
        else:
            smooth(child)


def make_double_item_task(exact: torch.dtype):
    task = make_task(sources=make_sources(8), items=2)
    if exact == torch.float32:
        smooth(task.networks)
    task.networks.to(exact)
    return task


def run_rank(rank: int, folder: str, exact: torch.dtype) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", f"file://{folder}/meeting", world_size=2, rank=rank)
    task = make_double_item_task(exact).for_rank(rank, 2)
    synchronize_batch_norms(task.networks)
    (Path(folder) / f"{rank}").write_bytes(pickle.dumps(take_first_step(task)))
    distributed.destroy_process_group()


def measure_distances(found: dict, expected: dict) -> dict[str, float]:
    """Relative to the size of what is expected, the worst of each kind; all gradients as one vector."""
    worst: dict[str, float] = {}
    for name, value in expected.items():
        if not name.startswith("gradient"):
            kind, scale = name.split()[0].split("_")[0], value.double().norm().clamp(min=1e-12)
            worst[kind] = max(worst.get(kind, 0.0), float((found[name].double() - value).norm() / scale))
    ours, theirs = (
        torch.cat([g.flatten().double() for n, g in d.items() if "gradient" in n]) for d in (found, expected)
    )
    return worst | {"gradient": float((ours - theirs).norm() / theirs.norm())}


@pytest.mark.parametrize("exact", [torch.float64, torch.float32])
def test_two_processes_take_the_step_of_one_with_twice_as_much(tmp_path, exact):
    multiprocessing.spawn(run_rank, (str(tmp_path), exact), 2)
    first, second = (pickle.loads((tmp_path / f"{rank}").read_bytes()) for rank in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    alone = take_first_step(make_double_item_task(exact))
    assert alone["loss"].dtype == exact
    apart = measure_distances(first, alone)
    if exact == torch.float64:
        assert max(apart.values()) < 1e-9
        return
    assert apart["loss"] < 1e-5
    assert apart["state"] < 1e-5
    task = make_double_item_task(torch.float32)
    task.networks.double()
    truth = take_first_step(task)
    errors = [measure_distances(result, truth)["gradient"] for result in (alone, first)]
    assert max(errors) < 1e-4
    assert errors[1] < 2 * errors[0] + 1e-5  # two are no farther from float64 than one


def test_fifty_steps_of_two_processes_run_as_those_of_one(tmp_path):
    both, alone = (make_task(sources=make_sources(8, height=32, width=64), items=2) for _ in range(2))
    options = {"steps": 50, "precision": "float32", "learning_rate": 0.02}
    expected = run(alone, tmp_path / "one", **options)
    seen = []
    history = run(both, tmp_path / "two", processes=2, on_step=lambda done, h: seen.append((done, len(h))), **options)
    assert seen == [(done, done) for done in range(1, 51)]
    ours, theirs = (np.array(h.columns["loss"]) for h in (history, expected))
    assert ours[0] == pytest.approx(theirs[0], rel=1e-5)
    assert abs(ours.mean() / theirs.mean() - 1) < 0.01
    assert not np.array_equal(ours, theirs)  # rounding drives them apart, step by step


def test_networks_of_several_processes_end_where_they_began(tmp_path, capsys):
    task, alone = Line(), Line()
    history = run(task, tmp_path / "two", processes=2, steps=12)
    expected = run(alone, tmp_path / "one", steps=12)
    torch.testing.assert_close(weights(task), weights(alone), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(history.columns["loss"], expected.columns["loss"], rtol=1e-4)
    assert capsys.readouterr().out.count("step 12 of 12") == 2
    assert run(task, tmp_path / "two", processes=2, steps=12).columns == history.columns  # at once


class Fatal(Line):
    """Its second process dies, or raises, at step 7."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def loss(self, batch, step):
        if step == 7 and self.sample.rank == 1:
            if self.how == "raise":
                raise ValueError("this batch is no good")
            os.kill(os.getpid(), signal.SIGKILL)
        return super().loss(batch, step)


def test_a_killed_process_stops_all_and_another_number_goes_on(tmp_path):
    with pytest.raises(WorkerDied, match="process 2 of 2 of the training was ended by signal 9"):
        run(Fatal("kill"), tmp_path / "broken", processes=2)
    rest, whole = Line(), Line()
    history = run(rest, tmp_path / "broken")
    expected = run(whole, tmp_path / "whole")
    torch.testing.assert_close(weights(rest), weights(whole), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(history.columns["loss"], expected.columns["loss"], rtol=1e-4)


class Unreadable(Line):
    def __setstate__(self, _):
        raise RuntimeError("this task cannot be read in another process")


def test_a_task_that_does_not_arrive_trains_nowhere(tmp_path):
    with pytest.raises(RuntimeError, match="cannot be read in another process"):
        run(Unreadable(), tmp_path, processes=2)
    assert not list(tmp_path.glob("checkpoints/*"))


def test_what_one_raises_is_raised(tmp_path):
    with pytest.raises(ValueError, match="this batch is no good"):
        run(Fatal("raise"), tmp_path, processes=2)


def test_where_compilation_fails_several_train_without(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(torch.nn.Module, "compile", refuse_to_compile)
    compiled, plain = Line(), Line()
    history = run(compiled, tmp_path / "a", processes=2, compiled=True)
    assert "torch.compile does not work here" in capsys.readouterr().out
    assert history.columns == run(plain, tmp_path / "b", processes=2).columns
    assert torch.equal(weights(compiled), weights(plain))


def test_an_interrupt_saves_and_leaves_a_training_to_go_on_with(tmp_path):
    def interrupt(done, _):
        if done == 7:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match="stopped after step"):
        run(Line(), tmp_path / "a", processes=2, steps=400, checkpoint_every=1000, on_step=interrupt)
    made = [int(p.stem.split("_")[1]) for p in (tmp_path / "a" / "checkpoints").iterdir()]
    assert len(made) == 1
    assert 7 <= made[0] < 400
    history, expected = run(Line(), tmp_path / "a", steps=400), run(Line(), tmp_path / "b", steps=400)
    np.testing.assert_allclose(history.columns["loss"], expected.columns["loss"], rtol=1e-3)


def test_synchronized_normalization_is_torchs_own_in_one_process():
    ours, theirs = torch.nn.Sequential(torch.nn.BatchNorm2d(5)), torch.nn.Sequential(torch.nn.BatchNorm2d(5))
    synchronize_batch_norms(ours)
    assert type(ours[0]) is SynchronizedBatchNorm2d
    x = torch.randn(4, 5, 3, 7)
    for training in (True, False):
        torch.testing.assert_close(ours.train(training)(x), theirs.train(training)(x))
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict())


class Plain:
    networks, sample, loss = torch.nn.Linear(1, 1), None, None


def test_a_task_that_cannot_be_shared_is_refused(tmp_path):
    with pytest.raises(ValueError, match="Plain trains in one process only"):
        run(Plain(), tmp_path, processes=2)
