"""Lines of the report as they are found, and what stands in the way of a run."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable
from typing import Any

WIDTH, INDENT = 118, 18


def first_sentence(error: object) -> str:
    """The first sentence of an error as one line; the name of its class where it says nothing."""
    text = " ".join(str(error).split())
    sentence = re.split(r"(?<=[.!?]) (?=[A-Z])", text)[0]
    return sentence.rstrip(".") or type(error).__name__


class Report:
    """Prints the report line by line. `problems` is what stops the street run, each with its remedy."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def section(self, title: str) -> None:
        print(f"\n{title}", flush=True)

    def say(self, label: str, text: str) -> None:
        """One entry, wrapped."""
        head = f"  {label:{INDENT - 3}} "
        wrapped = textwrap.wrap(text, WIDTH - INDENT, break_long_words=False, break_on_hyphens=False) or [""]
        print(head + wrapped[0], *(" " * INDENT + line for line in wrapped[1:]), sep="\n", flush=True)

    def warn(self, text: str) -> None:
        """Something to know that stops nothing; ends with what to do."""
        self.say("", f"note: {text}")

    def stop(self, problem: str) -> None:
        """Something without which the street run cannot be made; ends with what to do."""
        self.problems.append(problem)
        self.say("", f"PROBLEM: {problem}")

    def attempt(self, what: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """`function(*arguments)`, or None and a line that says why not: no part of the report may end it."""
        try:
            return function(*arguments)
        except BrokenPipeError:  # nobody reads on
            raise
        except Exception as error:
            self.say(what, f"not known here: {first_sentence(error)} ({type(error).__name__})")
            return None
