import errno
import itertools
import math
import os
import signal

import numpy as np
import pytest
import torch
from torch import nn

from lib.artifacts import files, read_json
from lib.figures.training import draw_moments
from lib.parallel import torch_generator
from lib.training import learning_rate_at, train

CPU = torch.device("cpu")


class Sampler:
    def __init__(self, seed: int, bad_step: int = -1) -> None:
        self.seed, self.bad_step = seed, bad_step

    def __call__(self, step: int) -> dict:
        x = torch.randn(8, 4, generator=torch_generator(self.seed, step))
        return {"x": x * (math.nan if step == self.bad_step else 1), "scale": np.float32(1.0)}


class Line:
    """Learns the sum of its inputs, through batch statistics that are state as well."""

    def __init__(self, seed: int = 0, bad_step: int = -1) -> None:
        self.sample = Sampler(seed, bad_step)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.networks = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))

    def loss(self, batch, step):
        error = self.networks(batch["x"])[:, 0] - batch["x"].sum(1) * batch["scale"]
        return error.square().mean(), {"largest": error.detach().abs().max(), "step": step}


def run(task, folder, steps=12, **options):
    settings = {"learning_rate": 0.05, "device": CPU, "key": {"params": {"seed": 0}}, "checkpoint_every": 5}
    return train(task, folder, steps=steps, **(settings | options))


def weights(task):
    return torch.cat([v.flatten().double() for v in task.networks.state_dict().values()])


def test_learning_rate_follows_warmup_and_cosine():
    rates = [learning_rate_at(s, 100, 0.1, 0.001, 10) for s in range(100)]
    assert rates[0] == pytest.approx(0.01)
    assert max(rates) == pytest.approx(0.1)
    assert rates[10] == pytest.approx(0.1)
    assert rates[-1] == pytest.approx(0.001)
    middle = (10 + 99) / 2
    assert (rates[int(middle)] + rates[int(middle) + 1]) / 2 == pytest.approx((0.1 + 0.001) / 2)
    assert all(a >= b for a, b in itertools.pairwise(rates[10:]))


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_training_lowers_the_loss_and_logs(tmp_path, optimizer):
    history = run(Line(), tmp_path, steps=150, optimizer=optimizer, warmup_steps=5, weight_decay=1e-4)
    loss = history.columns["loss"]
    assert np.mean(loss[-10:]) < 0.3 * np.mean(loss[:10])
    assert {len(column) for column in history.columns.values()} == {150}
    assert history.columns["step"] == list(range(150))
    saved = read_json(tmp_path / "history.json")
    assert saved["columns"] == history.columns
    assert saved["train_seconds"] > 0


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("stop", [3, 5, 11])
def test_resume_equals_no_interruption_bit_for_bit(tmp_path, optimizer, stop):
    whole, part, rest = Line(), Line(), Line()
    expected = run(whole, tmp_path / "a", optimizer=optimizer)

    def interrupt(batch, step):
        if step == stop - 1:
            os.kill(os.getpid(), signal.SIGINT)  # arrives during a step: that step is finished first
        return Line.loss(part, batch, step)

    part.loss = interrupt
    with pytest.raises(KeyboardInterrupt, match=f"stopped after step {stop}"):
        run(part, tmp_path / "b", optimizer=optimizer)
    history = run(rest, tmp_path / "b", optimizer=optimizer)
    assert torch.equal(weights(rest), weights(whole))
    assert history.columns == expected.columns


def test_a_kill_goes_back_to_the_last_checkpoint(tmp_path):
    class KilledError(Exception):
        pass

    def kill(done, _):
        if done == 8:
            raise KilledError

    whole, rest = Line(), Line()
    expected = run(whole, tmp_path / "a")
    with pytest.raises(KilledError):
        run(Line(), tmp_path / "b", on_step=kill)
    steps = []
    history = run(rest, tmp_path / "b", on_step=lambda done, _: steps.append(done))
    assert steps[0] == 6
    assert torch.equal(weights(rest), weights(whole))
    assert history.columns == expected.columns


def test_workers_change_nothing(tmp_path):
    alone, helped = Line(), Line()
    a = run(alone, tmp_path / "a")
    state = torch.get_rng_state()
    b = run(helped, tmp_path / "b", workers=2)
    assert a.columns == b.columns
    assert torch.equal(weights(alone), weights(helped))
    assert torch.equal(torch.get_rng_state(), state)


def test_a_finished_training_returns_at_once_and_more_steps_go_on(tmp_path, capsys):
    first = run(Line(), tmp_path)
    again, longer = Line(), Line()
    again.loss = None  # never called
    assert run(again, tmp_path).columns == first.columns
    history = run(longer, tmp_path, steps=20)
    assert history.columns["loss"][:12] == first.columns["loss"]
    assert history.columns["learning_rate"][12:] == [learning_rate_at(s, 20, 0.05) for s in range(12, 20)]
    assert "going on after step 12" in capsys.readouterr().out


def test_fewer_steps_or_another_key_begin_anew_and_keep_the_old(tmp_path, capsys):
    run(Line(), tmp_path)
    assert len(run(Line(), tmp_path, steps=6)) == 6
    assert "changed: steps, to fewer" in capsys.readouterr().out
    history = run(Line(seed=1), tmp_path, steps=6, key={"params": {"seed": 1}, "code": "b"})
    assert "changed: code, seed" in capsys.readouterr().out
    assert len(history) == 6
    assert [p.name for p in (tmp_path / "checkpoints_set_aside").iterdir()] != []


def flip_bit(content):
    """In the count of batches that normalisation keeps: torch alone would load a wrong number."""
    place = content.index(np.int64(12).tobytes())
    return content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :]


@pytest.mark.parametrize(
    "damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b[:-900] + bytes(900), flip_bit]
)
def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, capsys, damage):
    whole, rest = Line(), Line()
    expected = run(whole, tmp_path)
    names = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
    assert names == ["checkpoint_000010.pt", "checkpoint_000012.pt"]
    newest = tmp_path / "checkpoints" / names[-1]
    newest.write_bytes(damage(newest.read_bytes()))
    assert run(rest, tmp_path).columns == expected.columns
    assert torch.equal(weights(rest), weights(whole))
    assert "checkpoint_000012.pt is damaged" in capsys.readouterr().out


def test_a_loss_that_is_not_a_number_stops_and_harms_nothing(tmp_path):
    with pytest.raises(FloatingPointError, match="loss is nan at step 7"):
        run(Line(bad_step=7), tmp_path)
    rest = Line()
    history = run(rest, tmp_path)
    assert len(history) == 12
    assert bool(torch.isfinite(weights(rest)).all())


def test_a_full_disk_is_one_sentence_and_harms_nothing(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    def fill(done, _):
        if done == 9:
            monkeypatch.setattr(files.os, "fsync", refuse)

    with pytest.raises(OSError, match="no space left on the disk while writing checkpoint_000010.pt"):
        run(Line(), tmp_path, on_step=fill)
    monkeypatch.undo()
    whole, rest = Line(), Line()
    run(whole, tmp_path / "other")
    run(rest, tmp_path)
    assert torch.equal(weights(rest), weights(whole))


def test_pictures_are_kept_over_a_resume(tmp_path):
    def look(done):
        return {"map": np.full((2, 3), done, np.uint8)}

    options = {"pictures_every": 4, "on_picture": look}
    with pytest.raises(KeyboardInterrupt):
        run(Line(), tmp_path, on_step=lambda done, _: done == 6 and signal.raise_signal(signal.SIGINT), **options)
    history = run(Line(), tmp_path, **options)
    assert sorted(history.pictures) == [0, 4, 8, 12]
    assert all(int(p["map"][0, 0]) == step for step, p in history.pictures.items())


def test_global_settings_come_back(tmp_path):
    handler, fill = signal.getsignal(signal.SIGINT), torch.utils.deterministic.fill_uninitialized_memory
    run(Line(), tmp_path)
    assert signal.getsignal(signal.SIGINT) is handler
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.utils.deterministic.fill_uninitialized_memory == fill


def test_an_unknown_optimizer_is_refused(tmp_path):
    with pytest.raises(ValueError, match="sgd or adam"):
        run(Line(), tmp_path, optimizer="lion")


def test_moments_show_the_features_of_the_frame_they_are_asked_for():
    rng = np.random.default_rng(0)
    colors = rng.integers(0, 256, (2, 4, 8, 3), dtype=np.uint8)
    taken = {0: {"colors": colors, "prototypes": np.stack([np.zeros((4, 8), int), np.arange(32).reshape(4, 8)])}}
    shown = [
        [np.asarray(axes.images[0].get_array())[::4, ::4] for axes in draw_moments(colors[v], taken, [0], view=v).axes]
        for v in (0, -1)
    ]
    assert np.array_equal(shown[0][1], colors[0])
    assert np.array_equal(shown[1][1], colors[1])
    assert len(np.unique(shown[0][3].reshape(-1, 3), axis=0)) == 1
    assert len(np.unique(shown[1][3].reshape(-1, 3), axis=0)) > 20
