"""SIGKILL at random moments loses nothing; twenty times and more by `make test-kill`."""

import pytest

from lib.run.kill import kill_and_compare


@pytest.mark.parametrize(("kills", "workers"), [(2, 0), (1, 2)])
def test_a_killed_training_ends_as_one_that_never_was(kills, workers):
    found = kill_and_compare(kills, workers)
    assert found["kills"] == kills
    assert found["equal"] == found["finished"] > 0
