"""How far a long work is, for who looks on."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

EVERY = 60.0  # seconds between two lines where nobody looks on
LINE = "{desc}: {n_fmt} of {total_fmt}{unit}, {rate_fmt}, {remaining} left"


class _Bar(tqdm):
    monitor_interval = 0  # else the first bar starts a thread that never ends


class _Line:
    """A file for a bar: each text takes the place of the one before, below the cell of a notebook."""

    encoding = "utf-8"

    def __init__(self) -> None:
        from IPython.display import display

        self._handle = display({"text/plain": ""}, raw=True, display_id=True)

    def write(self, text: str) -> None:
        self._handle.update({"text/plain": text.strip()}, raw=True)


class _Log:
    """A file for a bar: each text is a line of its own."""

    encoding = "utf-8"

    def write(self, text: str) -> None:
        if text.strip():
            print(text.strip(), flush=True)


@contextmanager
def open_bar(title: str, unit: str, total: int, done: int = 0, wanted: bool = True) -> Iterator[tqdm | None]:
    """How far it is, how fast, and how long it will take.

    A bar where somebody sees it, on a terminal or in a notebook at which somebody sits; it is gone at the end.
    Elsewhere a line every minute, so that the log of a long night is not silent; what is done sooner leaves nothing.

    Args:
        title, unit: "inverse depth", " images".
        total: how many there are in all; `done` of them before the work begins.
    """
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    # papermill, nbconvert and nbval tell the kernel that nobody can be asked; what they show is kept
    attended = getattr(getattr(shell, "kernel", None), "_allow_stdin", False)
    seen = sys.stderr is not None and sys.stderr.isatty()
    if not wanted:
        yield None
        return
    if seen or attended:
        look = {"mininterval": 0.5, "file": sys.stderr if seen else _Line()}
    else:
        look = {"mininterval": EVERY, "miniters": 1, "delay": EVERY, "file": _Log(), "bar_format": LINE}
    with _Bar(desc=title, unit=unit, total=total, initial=done, leave=False, **look) as bar:
        yield bar
