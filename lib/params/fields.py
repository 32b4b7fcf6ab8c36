"""What a field of a parameter class may say beside its type and default, and checks of values."""

import math
from dataclasses import field
from typing import Any


class ParameterError(ValueError):
    """A parameter with an unknown name, of the wrong type or outside its range."""


def how(default: Any) -> Any:
    """A field that says how to compute, not what: it may change at any time, and nothing becomes out of date."""
    return field(default=default, metadata={"kind": "how"})


def length(default: Any) -> Any:
    """A field that says how long to train: it may change when a run is resumed; the training then goes on."""
    return field(default=default, metadata={"kind": "length"})


def check(condition: bool, sentence: str) -> None:
    if not condition:
        raise ParameterError(sentence)


def check_positive(params: Any, *names: str) -> None:
    for name in names:
        check(getattr(params, name) > 0, f"{name} must be positive, not {getattr(params, name)}")


def check_not_negative(params: Any, *names: str) -> None:
    for name in names:
        check(getattr(params, name) >= 0, f"{name} must not be negative, not {getattr(params, name)}")


def check_finite(params: Any) -> None:
    """Every float of a parameter class: YAML writes .nan and .inf, and no comparison refuses both."""
    for name, value in vars(params).items():
        check(not isinstance(value, float) or math.isfinite(value), f"{name} must be a finite number, not {value}")


def check_fraction(params: Any, *names: str) -> None:
    for name in names:
        check(0 <= getattr(params, name) <= 1, f"{name} must lie in 0..1, not {getattr(params, name)}")


def check_choice(params: Any, name: str, choices: tuple[str, ...]) -> None:
    check(
        getattr(params, name) in choices,
        f"{name} must be one of {', '.join(choices)}; not {getattr(params, name)!r}",
    )
