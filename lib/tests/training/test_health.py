"""The watch over a training: silent on healthy numbers, clear about others; its record says what it was tried on."""

import pytest

from lib import ROOT
from lib.artifacts import read_json
from lib.training import History
from lib.training.health import BOUNDS, FIRST, WINDOW, CollapseWatch

HEALTHY = {"feature_spread": 0.8, "effective_rank": 6.0, "prototypes_used": 200.0, "code_entropy": 0.1}


def make_history(steps: int, name: str = "", value: float = 0.0, since: int = 0) -> History:
    columns = {key: [number] * steps for key, number in HEALTHY.items()} | {"loss": [1.0] * steps}
    if name:
        columns[name][since:] = [value] * (steps - since)
    return History(columns)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("feature_spread", 0.001, "much alike"),
        ("effective_rank", 1.01, "along one line"),
        ("prototypes_used", 3.0, "a few prototypes"),
        ("code_entropy", 0.99, "near uniform"),
    ],
)
def test_each_number_has_its_sentence(name, value, words):
    watch = CollapseWatch(256)
    assert watch(make_history(300)) == {}
    found = watch(make_history(300, name, value, since=200))
    assert list(found) == [name]
    assert words in found[name]
    assert f"{BOUNDS[name]:g}" in found[name]


def test_more_prototypes_than_samples_looked_at_are_no_collapse():
    assert CollapseWatch(5000)(make_history(300, "prototypes_used", 900.0)) == {}


def test_the_first_steps_and_single_batches_are_not_judged():
    watch = CollapseWatch(256)
    assert watch(make_history(FIRST + WINDOW - 1, "effective_rank", 1.0)) == {}
    assert watch(make_history(300, "effective_rank", 1.0, since=300 - WINDOW // 3)) == {}
    assert watch(make_history(300, "effective_rank", 1.0, since=300 - WINDOW // 2 - 1))
    assert watch(History({"loss": [1.0] * 300})) == {}  # a task that measures nothing


def test_the_record_holds_what_is_claimed():
    record = read_json(ROOT / "outputs" / "reference" / "collapse.json")
    assert record["bounds"] == BOUNDS
    assert len(record["healthy"]) == 25
    assert not any(row["warnings"] for row in record["healthy"].values())
    assert len(record["forced"]) == 3
    assert all(0 < row["steps_to_warning"] <= 50 for row in record["forced"].values())
