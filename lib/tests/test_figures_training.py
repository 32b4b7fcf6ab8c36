"""What grows below the cell while notebook 04 trains, and the frames it looks at."""

import io
from types import SimpleNamespace

import numpy as np
import pytest

from lib.figures import training as pictures
from lib.training import History
from lib.training.pictures import choose_views

RNG = np.random.default_rng(0)


def make_history(steps):
    names = ("loss", "loss_pixel", "loss_region", *pictures.CURVES)
    columns = {name: RNG.random(steps).tolist() for name in names}
    picture = {
        "prototypes": RNG.integers(0, 9, (2, 8, 16)).astype(np.uint16),
        "colors": RNG.integers(0, 256, (2, 8, 16, 3)).astype(np.uint8),
    }
    return History(columns, pictures={0: picture, steps: picture}, memory={"memory": 1_500_000_000})


@pytest.fixture
def screen(monkeypatch):
    """Every output, in the order it was displayed, with all it has shown."""
    outputs = []

    def display(content, **_):
        shown = [content]
        outputs.append(shown)
        return SimpleNamespace(update=lambda content, **_: shown.append(content))

    monkeypatch.setattr(pictures, "display", display)
    return outputs


def test_curves_and_pictures_grow_in_the_same_places(screen, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(pictures.time, "monotonic", lambda: now[0])
    live = pictures.LiveCurves(100, 8, views=np.zeros((2, 32, 64, 3), np.uint8), every=20)
    for done in range(1, 100):
        now[0] = done / 2  # seconds
        live(done, make_history(done))
    assert len(screen) == 3  # a line, the curves, the latest picture
    assert [len(shown) for shown in screen] == [1 + 3] * 3  # an empty place, then after 0, 20 and 40 seconds
    last = screen[0][-1]["text/plain"]
    for part in ("of 100", "learning rate", "16 images/s", "minutes left", "1.5 GB of memory"):
        assert part in last
    for shown in screen[1:]:
        buffer = io.BytesIO()
        shown[-1].savefig(buffer, format="png")
        assert buffer.tell() > 1000
    live.close()
    assert all(shown[-1] == {"text/plain": ""} for shown in screen)


def test_a_warning_is_part_of_the_line_and_a_start_shows_nothing(screen):
    live = pictures.LiveCurves(10, 8)
    live(0, History())
    assert not screen
    history = make_history(3)
    history.warnings = {3: "a collapse? embeddings are much alike"}
    live(3, history)
    assert screen[0][-1]["text/plain"].endswith("a collapse? embeddings are much alike")


def test_views_are_of_clips_that_nothing_is_learned_from():
    frames = {"val": list(range(10)), "train": [99]}
    dataset = SimpleNamespace(frames=frames.get, image=lambda frame: np.full((2, 3, 3), frame, np.uint8))
    chosen, images = choose_views(dataset)
    assert chosen == images[:, 0, 0, 0].tolist() == [0, 2, 4, 6]
    frames["val"] = []
    assert choose_views(dataset)[1][:, 0, 0, 0].tolist() == [99]
