"""How far a long work is, for who looks on."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm


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


@contextmanager
def open_bar(title: str, unit: str, total: int, done: int = 0, wanted: bool = True) -> Iterator[tqdm | None]:
    """A bar with rate and time left where somebody sees it: on a terminal, or in a notebook at which somebody sits.

    It is gone at the end. Where a file keeps what is shown, or nobody wants it, there is none.

    Args:
        title, unit: "inverse depth", " images".
        total: how many there are in all; `done` of them before the work begins.
    """
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    # papermill, nbconvert and nbval tell the kernel that nobody can be asked; what they show is kept
    attended = getattr(getattr(shell, "kernel", None), "_allow_stdin", False)
    seen = sys.stderr is not None and sys.stderr.isatty()
    if not wanted or not (seen or attended):
        yield None
        return
    look = {"desc": title, "unit": unit, "mininterval": 0.5, "file": sys.stderr if seen else _Line()}
    with _Bar(total=total, initial=done, leave=False, **look) as bar:
        yield bar
