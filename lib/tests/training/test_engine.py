import errno
import itertools
import os
import shutil
import signal
import sys

import numpy as np
import pytest
import torch

from lib.artifacts import files, read_json
from lib.figures.training import draw_moments
from lib.tests.training.fixtures import Line, refuse_to_compile, run, weights
from lib.training import History, engine, hash_tensors, learning_rate_at
from lib.training.checkpoints import Checkpoints
from lib.training.engine import pick_precision


def test_learning_rate_follows_warmup_and_cosine():
    rates = [learning_rate_at(s, 100, 0.1, 0.001, 10) for s in range(100)]
    assert rates[0] == pytest.approx(0.01)
    assert max(rates) == pytest.approx(0.1)
    assert rates[10] == pytest.approx(0.1)
    assert rates[-1] == pytest.approx(0.001)
    middle = (10 + 99) / 2
    assert (rates[int(middle)] + rates[int(middle) + 1]) / 2 == pytest.approx((0.1 + 0.001) / 2)
    assert all(a >= b for a, b in itertools.pairwise(rates[10:]))


def test_learning_rate_falls_as_a_power():
    rates = [learning_rate_at(s, 50, 0.1, 0.01, 10, "poly") for s in range(50)]
    assert rates[:11] == pytest.approx([0.1 * (s + 1) / 10 for s in range(10)] + [0.1])
    assert rates[30] == pytest.approx(0.01 + 0.09 * 0.5**0.9)
    with pytest.raises(ValueError, match="schedule must be cosine or poly"):
        learning_rate_at(0, 50, 0.1, schedule="linear")


def test_reports_are_as_many_as_wanted(tmp_path, capsys):
    run(Line(), tmp_path / "a", steps=12, reports=3)
    assert len(capsys.readouterr().out.splitlines()) == 3
    run(Line(), tmp_path / "b", steps=12, reports=0)
    assert not capsys.readouterr().out


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
    assert (tmp_path / "checkpoints" / "checkpoint_000012.damaged").is_file()  # nothing is thrown away


def test_a_disk_that_fails_while_reading_costs_no_checkpoint(tmp_path, monkeypatch):
    run(Line(), tmp_path)

    def fail(*_, **__):
        raise OSError(5, "input/output error")

    monkeypatch.setattr(torch, "load", fail)
    with pytest.raises(OSError, match="input/output error"):
        run(Line(), tmp_path, steps=15)
    monkeypatch.undo()
    assert len(run(Line(), tmp_path, steps=15)) == 15
    assert not list((tmp_path / "checkpoints").glob("*.damaged"))


def test_what_a_kill_left_half_written_is_removed(tmp_path):
    left = tmp_path / "checkpoints" / ".checkpoint_000010.4711.pt"
    left.parent.mkdir()
    left.write_bytes(b"half")
    run(Line(), tmp_path)
    assert not left.exists()


def test_checkpoints_are_in_the_order_of_their_numbers(tmp_path):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    for number in (1_000_000, 999_999):
        (folder / f"checkpoint_{number:06d}.pt").touch()
    assert [p.stem for p in Checkpoints(tmp_path, {})._list()] == ["checkpoint_999999", "checkpoint_1000000"]


def test_a_number_that_is_not_finite_is_null_in_the_file(tmp_path):
    History({"loss": [1.0], "effective_rank": [float("inf")]}).save(tmp_path)
    assert read_json(tmp_path / "history.json")["columns"] == {"loss": [1.0], "effective_rank": [None]}


def test_a_long_silence_ends_with_speed_and_time_left(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(engine, "SILENCE", 0.0)
    run(Line(), tmp_path)
    assert "steps a second" in capsys.readouterr().out


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
    def look(networks):
        return {"map": np.full((2, 3), int(networks[2].num_batches_tracked), np.uint8)}

    options = {"picture_every": 4, "on_picture": look}
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


def test_tensorboard_files_hold_the_columns_and_pictures_over_a_resume(tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

    def look(_):
        return {"colors": np.zeros((2, 4, 6, 3), np.uint8), "prototypes": np.zeros((2, 4, 6), np.uint16)}

    options = {"tensorboard": True, "picture_every": 6, "on_picture": look}
    with pytest.raises(KeyboardInterrupt):
        run(Line(), tmp_path, on_step=lambda done, _: done == 8 and signal.raise_signal(signal.SIGINT), **options)
    history = run(Line(), tmp_path, **options)
    found = events.EventAccumulator(str(tmp_path / "tensorboard"), {"images": 0, "scalars": 0}).Reload()
    scalars = found.Scalars("loss")
    assert [e.step for e in scalars] == list(range(12))
    np.testing.assert_allclose([e.value for e in scalars], history.columns["loss"], rtol=1e-6)
    assert {e.step for e in found.Images("colors")} == {0, 6, 12}
    assert "prototypes" not in found.Tags()["images"]


def test_without_the_package_tensorboard_there_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ModuleNotFoundError, match="needs the package tensorboard: pip install"):
        run(Line(), tmp_path, tensorboard=True)


def test_bfloat16_learns_too_and_repeats_bit_for_bit(tmp_path):
    one, two, exact = Line(), Line(), Line()
    first = run(one, tmp_path / "a", precision="bfloat16", steps=60)
    again = run(two, tmp_path / "b", precision="bfloat16", steps=60)
    expected = run(exact, tmp_path / "c", precision="float32", steps=60)
    assert first.columns == again.columns
    assert torch.equal(weights(one), weights(two))
    assert not torch.equal(weights(one), weights(exact))
    assert weights(one).isfinite().all()
    assert first.mean_of_last("loss") == pytest.approx(expected.mean_of_last("loss"), rel=0.2)


def test_precision_follows_the_device(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False, raising=False)
    assert pick_precision("auto", torch.device("cpu")) == torch.float32
    for supported, expected in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, yes=supported: yes)
        assert pick_precision("auto", torch.device("cuda")) == expected
    assert pick_precision("bfloat16", torch.device("cpu")) == torch.bfloat16
    assert pick_precision("float32", torch.device("cuda")) == torch.float32
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    assert pick_precision("auto", torch.device("cpu")) == torch.bfloat16
    with pytest.raises(ValueError, match="auto, float32 or bfloat16"):
        pick_precision("half", torch.device("cpu"))


def test_where_compilation_fails_training_goes_on_without(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(torch.nn.Module, "compile", refuse_to_compile)
    plain, tried = Line(), Line()
    expected = run(plain, tmp_path / "a")
    history = run(tried, tmp_path / "b", compiled=True)
    assert "torch.compile does not work here" in capsys.readouterr().out
    assert history.columns == expected.columns
    assert torch.equal(weights(tried), weights(plain))


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_a_compiled_training_is_the_same_training(tmp_path, capsys):
    plain, compiled = Line(), Line()
    expected = run(plain, tmp_path / "a")
    history = run(compiled, tmp_path / "b", compiled=True)
    assert "does not work" not in capsys.readouterr().out
    np.testing.assert_allclose(history.columns["loss"], expected.columns["loss"], rtol=1e-4)
    torch.testing.assert_close(weights(compiled), weights(plain), rtol=1e-4, atol=1e-4)


def test_what_is_watched_is_said_once_and_kept(tmp_path, capsys):
    def watch(history):
        return {"even": "an even number of tens"} if len(history) // 10 % 2 else {}

    history = run(Line(), tmp_path, steps=40, watch=watch)
    assert sorted(history.warnings) == [10, 30]
    assert capsys.readouterr().out.count("an even number of tens") == 2
    assert run(Line(), tmp_path, steps=40, watch=watch).warnings == history.warnings  # from the checkpoint


def test_hashes_tell_tensors_apart():
    tensors = {"b": torch.arange(6).float(), "a": torch.zeros(2, dtype=torch.bfloat16)}
    same = {"a": torch.zeros(2, dtype=torch.bfloat16), "b": torch.arange(6).float()}
    assert hash_tensors(tensors) == hash_tensors(same)
    changes = [{"b": torch.arange(6).float().view(2, 3)}, {"b": torch.arange(6.0) + 1e-6}, {"a": torch.zeros(2)}]
    assert len({hash_tensors(tensors | change) for change in [{}, *changes]}) == 4
