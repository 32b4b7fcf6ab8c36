"""Values into parameter classes, from a notebook's cell, a YAML file or a dictionary; and back."""

import ast
import difflib
from dataclasses import asdict, fields
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import yaml

from .fields import ParameterError

P = TypeVar("P")
INJECTED = "# Parameters"  # how papermill begins the cell it injects


def _coerce(schema: type, name: str, value: Any) -> Any:
    """`value` as the field's type: whole floats for ints, ints for floats, lists for tuples; nothing else."""
    kind = get_type_hints(schema)[name]
    if get_origin(kind) is tuple:
        inner = get_args(kind)[0]
        allowed = (float, int) if inner is float else (inner,)
        if isinstance(value, list | tuple) and all(type(item) in allowed for item in value):
            return tuple(inner(item) for item in value)
        raise ParameterError(f"{name} must be a list of {inner.__name__}, not {value!r}")
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is kind or isinstance(kind, UnionType):
        return value
    hint = ""
    if isinstance(value, str) and kind in (int, float):
        try:
            hint = f": YAML reads {value} as text, write {float(value)!r}" if "e" in value.lower() else ""
            hint = hint.replace("e-", ".0e-") if hint and "." not in repr(float(value)) else hint
        except ValueError:
            pass
    raise ParameterError(f"{name} must be {kind.__name__}, not {type(value).__name__} {value!r}{hint}")


def is_text(schema: type, name: str) -> bool:
    """Is the parameter text? Then it is taken as it was typed, quotes around the whole of it aside."""
    return get_type_hints(schema).get(name) is str


def make(schema: type[P], values: dict[str, Any]) -> P:
    """The dataclass `schema` with `values` in place of defaults.

    Raises:
        ParameterError: an unknown name (with the nearest known one), a wrong type, or a value out of range.
    """
    known = [f.name for f in fields(schema)]
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise ParameterError(
                f"no parameter {name!r} in {schema.__name__}" + (f"; did you mean {near[0]!r}?" if near else "")
            )
    return schema(**{name: _coerce(schema, name, value) for name, value in values.items()})


def read(schema: type[P], namespace: dict[str, Any]) -> P:
    """The parameters of a running notebook: `read(DepthParams, globals())` right after the parameters cell.

    Names that papermill injected but the schema lacks are refused: papermill itself only logs them.

    Raises:
        ParameterError: see `make`; also a parameter that the cell does not define.
    """
    values = {}
    for f in fields(schema):
        if f.name not in namespace:
            raise ParameterError(f"the parameters cell does not define {f.name!r}: run it before this one")
        values[f.name] = namespace[f.name]
    for source in namespace.get("In", []):
        if source.startswith(INJECTED):
            for node in ast.parse(source).body:
                if isinstance(node, ast.Assign) and node.targets[0].id not in values:
                    values[node.targets[0].id] = None  # unknown: let `make` name the nearest
    return make(schema, values)


def read_file(schema: type[P], path: Path, overrides: dict[str, Any] | None = None) -> P:
    """The parameters of a flat YAML file, as `papermill -f` takes it, with `overrides` on top.

    Raises:
        ParameterError: the file is no flat mapping, or see `make`; the message names the file.
    """
    try:
        values = yaml.safe_load(Path(path).read_text()) or {}
    except yaml.YAMLError as error:
        raise ParameterError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(values, dict):
        raise ParameterError(f"{path} must hold one 'name: value' a line")
    try:
        return make(schema, {**values, **(overrides or {})})
    except ParameterError as error:
        raise ParameterError(f"{path}: {error}") from error


def as_dict(params: Any) -> dict[str, Any]:
    """All values, JSON-ready: tuples as lists."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(params).items()}


def fixed(params: Any) -> dict[str, Any]:
    """The values that must not change when a training is resumed: all but steps, workers, device, logging."""
    free = {f.name for f in fields(params) if f.metadata.get("kind")}
    return {name: value for name, value in as_dict(params).items() if name not in free}


def decisive(params: Any) -> dict[str, Any]:
    """The values that decide what comes out: all but workers, device, logging. Others leave a result up to date."""
    free = {f.name for f in fields(params) if f.metadata.get("kind") == "how"}
    return {name: value for name, value in as_dict(params).items() if name not in free}
