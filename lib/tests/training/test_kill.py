"""SIGKILL at random moments loses nothing; twenty times and more by `make test-kill`, whose record is checked here."""

import pytest

from lib import ROOT
from lib.artifacts import read_json
from lib.run.kill import kill_and_compare


@pytest.mark.parametrize(("kills", "workers"), [(2, 0), (1, 2)])
def test_a_killed_training_ends_as_one_that_never_was(kills, workers):
    found = kill_and_compare(kills, workers)
    assert found["kills"] == kills
    assert found["equal"] == found["finished"] > 0


def test_the_record_holds_twenty_kills_each():
    record = read_json(ROOT / "outputs" / "reference" / "kill.json")
    assert set(record["trainings"]) == {"0 workers", "2 workers"}
    for row in record["trainings"].values():
        assert row["kills"] >= 20
        assert row["of_resumed"] > 5
        assert row["equal"] == row["finished"] > 0
