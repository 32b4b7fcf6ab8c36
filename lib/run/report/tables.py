"""The tables of a page: scores beside their reference, what was expected, and where it all comes from."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from html import escape
from pathlib import Path
from typing import Any

from ... import artifacts, params
from .. import reference
from .captions import MEANING, explain, show_number
from .markdown import tidy
from .stages import CHAIN, Found


class Html(str):
    """Text that is HTML already."""


def make_table(title: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table whose first column names its rows; cells are escaped unless they are `Html`."""

    def safe(cell: Any) -> str:
        return cell if isinstance(cell, Html) else escape(tidy(str(cell)))

    head = "".join(f'<th scope="col">{safe(cell)}</th>' for cell in header)
    body = "".join(
        f'<tr><th scope="row">{safe(row[0])}</th>{"".join(f"<td>{safe(cell)}</td>" for cell in row[1:])}</tr>\n'
        for row in rows
    )
    label = escape(title)
    return (
        f'<div class="scroll" role="region" aria-label="{label}" tabindex="0"><table><caption>{label}</caption>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table></div>\n"
    )


def judge(good: bool, words: str) -> Html:
    return Html(f'<span class="{"good" if good else "bad"}">{words}</span>')


def show_scores(run: str, stages: Sequence[Found]) -> str:
    """The numbers of each stage in words, beside the reference where there is one, and what was expected."""
    path = reference.REFERENCE / f"{run}.json"
    expected = artifacts.read_json(path)["stages"] if path.is_file() else None
    parts = [show_expectations(stages)]
    if expected is None:
        parts.append("<p>No reference is recorded for this run, so there is nothing to compare its numbers with.</p>")
    else:
        parts.append(
            f"<p>The reference is <code>outputs/reference/{escape(path.name)}</code>; its tolerance is what another "
            "machine may differ by. How fast a machine is, is never compared.</p>"
        )
    for found in stages:
        parts += [f"<h3>{found.name}</h3>"] + [f'<p class="bad">{escape(found.problem)}.</p>'] * bool(found.problem)
        if found.numbers and all(value is None for value in found.numbers.values()):
            parts.append("<p>Nothing could be measured: this data has no truth to measure against.</p>")
        parts.append(
            _show_numbers(found, None if expected is None else expected.get(found.name, {}).get("metrics", {}))
        )
        protocol = [
            f"<dt>{escape(k)}</dt><dd>{escape(_flat(v))}</dd>" for k, v in found.metrics.get("protocol", {}).items()
        ]
        if protocol:
            parts.append(f"<p>How these numbers came about:</p><dl>{''.join(protocol)}</dl>")
    return "\n".join(parts)


def _show_numbers(found: Found, expected: Mapping[str, Any] | None) -> str:
    header = ["Number", "Value"] + ["Within?", "Reference"] * (expected is not None)
    key, further = [], []
    for name, value in found.numbers.items():
        if name.endswith(("_low", "_high")) and name.rpartition("_")[0] in found.numbers:
            continue  # shown beside its number
        low, high = found.numbers.get(f"{name}_low"), found.numbers.get(f"{name}_high")
        interval = "" if low is None or high is None else f" ({show_number(low)}\u00a0to\u00a0{show_number(high)})"
        meaning = explain(name)
        row: list[Any] = [Html(f"{escape(name)} <small>{escape(meaning)}</small>") if meaning else name]
        row.append(show_number(value) + interval)
        row += [] if expected is None else _compare(name, value, expected.get(name))
        (key if name in MEANING or found.name[:2] > CHAIN else further).append(row)
    parts = [make_table(f"Numbers of {found.name}", header, key)] if key else []
    if further:
        more = make_table(f"Further numbers of {found.name}", header, further)
        parts.append(f"<details><summary>{len(further)} further numbers</summary>{more}</details>")
    return "\n".join(parts)


def _compare(name: str, value: float | None, expected: Mapping[str, float] | None) -> list[Any]:
    if expected is None:
        return ["", "none"]
    words = f"{show_number(expected['value'])}\u00a0±\u00a0{show_number(expected['tolerance'])}"
    if any(word in name for word in reference.MACHINE):
        return ["not\u00a0compared", show_number(expected["value"])]
    if value is None:
        return ["not measured", words]
    within = abs(value - expected["value"]) <= expected["tolerance"]
    return [judge(within, "within" if within else "OUTSIDE"), words]


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {_flat(v)}" for k, v in value.items())
    return ", ".join(map(_flat, value)) if isinstance(value, list) else str(value) or "empty"


def show_expectations(stages: Sequence[Found]) -> str:
    """What the notebooks expected of these numbers: what is not met in plain sight, what is met folded."""
    header = ["What was expected", "Stage", "Value", "Expected", "Met?"]
    rows: dict[bool, list[Any]] = {True: [], False: []}
    for stage in stages:
        for name, e in stage.expectations.items():
            judged = judge(e["met"], "met" if e["met"] else "NOT met")
            rows[e["met"]].append((name, stage.name, show_number(e["value"]), e["expected"], judged))
    met, unmet = rows[True], rows[False]
    parts = ["<h3>Expectations</h3>"]
    if not (met or unmet):
        parts.append("<p>The notebooks of this run stated no expectation.</p>")
    if unmet:
        parts.append(f"<p>{judge(False, f'NOT met: {len(unmet)} of {len(met + unmet)}')}</p>")
        parts.append(make_table("Expectations that are not met", header, unmet))
    if met:
        words = f"{len(met)} expectations are met" if unmet else f"All {len(met)} expectations are met"
        table = make_table("Expectations that are met", header, met)
        parts.append(f"<details><summary>{judge(True, words)}</summary>{table}</details>")
    return "\n".join(parts)


def show_provenance(stages: Sequence[Found]) -> str:
    """Which code, machine, parameters and inputs made each stage."""
    header = ["Stage", "Commit", "Code committed?", "Seed", "Device", "Time", "Peak memory", "Files", "Made from"]
    rows = [_origin(found) for found in stages]
    changed = [
        (found.name, name, _flat(value), default)
        for found in stages
        for name, value, default in _changed_parameters(found)
    ]
    parameters = "<p>None.</p>"
    if changed:
        parameters = make_table("Parameters that differ", ["Stage", "Parameter", "Value", "Default"], changed)
    versions: dict[str, list[str]] = {}
    for found in stages:
        words = ", ".join(f"{name} {version}" for name, version in found.manifest["versions"].items())
        versions.setdefault(words, []).append(found.name)
    listed = [f"<li>{escape(', '.join(names))}: {escape(words)}</li>" for words, names in versions.items()]
    return (
        f"<h3>Stages</h3>{make_table('Where each stage comes from', [*header, 'Files now'], rows)}"
        f"<h3>Parameters that differ from the defaults</h3>{parameters}"
        f"<h3>Versions</h3><ul>{''.join(listed)}</ul>"
    )


def _origin(found: Found) -> list[Any]:
    manifest, dirty = found.manifest, found.manifest["git_dirty"]
    inputs = [f"{name} of run {Path(v['run']).name} ({v['sha256'][:8]})" for name, v in manifest["inputs"].items()]
    minutes, seconds = divmod(round(manifest["seconds"]), 60)
    return [
        found.name,
        (manifest["git_commit"] or "unknown")[:10],
        "unknown" if dirty is None else judge(not dirty, "NO, it had changes" if dirty else "yes"),
        manifest["seed"],
        manifest["device"],
        f"{minutes} min {seconds} s" if minutes else f"{seconds} s",
        f"{manifest['peak_memory_bytes'] / 1e9:.2f} GB",
        len(manifest["files"]),
        ", ".join(inputs) or "nothing below it",
        judge(not found.problem, found.problem or "unchanged"),
    ]


def _changed_parameters(found: Found) -> list[tuple[str, Any, str]]:
    """Name, value and default of the parameters that are not at their default; all where defaults are unknown."""
    schema = params.SCHEMAS.get(found.name)
    try:
        defaults = params.as_dict(schema()) if schema else {}
    except params.ParameterError:  # a notebook whose defaults need something from the user
        defaults = {field.name: field.default for field in fields(schema)}
    rows = [(k, v, _flat(defaults[k]) if k in defaults else "none") for k, v in found.manifest["params"].items()]
    return [row for row in rows if row[0] != "run" and row[2] != _flat(row[1])]
