"""What this machine has and lacks for a run.

    python -m lib.run.doctor                      versions, machine, data found, runs and their times, what to type
    python -m lib.run.doctor --data-root ~/data   looks for data there, not in DATA_ROOT
    python -m lib.run.doctor --quick              without measuring how fast this machine is

Exit codes: 0 the street run can be made here, 1 it cannot, 130 interrupted. Times are estimates.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

from .report import Report, first_sentence
from .versions import show_versions

ON_CPU = "-p 01.device=cpu -p 04.device=cpu -p 05.device=cpu"


def read_arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m lib.run.doctor", description="What this machine has and lacks.")
    parser.add_argument("--data-root", default="", metavar="DIR", help="folder of the downloads (DATA_ROOT)")
    parser.add_argument("--quick", action="store_true", help="do not measure the speed of this machine")
    return parser.parse_args(words)


def part(name: str) -> Any:
    """A module of this package; the later ones need packages that may be missing."""
    return importlib.import_module("." + name, __package__)


def examine(report: Report, arguments: argparse.Namespace) -> list[Any]:
    """Parts 1 to 4; returns the runs."""
    root = os.path.abspath(os.path.expanduser(arguments.data_root)) if arguments.data_root else ""
    report.section("1. Versions")
    show_versions(report)
    report.section("2. This machine")
    device = report.attempt("machine", lambda: part("machine").show_machine(report))
    report.section("3. Data found")
    found = report.attempt("data", lambda: part("data").show_data(report, root)) or {}
    report.section("4. Runs")
    here = report.attempt("speed", lambda: show_speed(report, arguments.quick, device)) or {}
    on_gpu = getattr(device, "type", "cpu") != "cpu"
    return report.attempt("runs", lambda: part("runs").show_runs(report, found, root, here, on_gpu)) or []


def show_speed(report: Report, quick: bool, device: Any) -> dict[str, float]:
    """The calibration of this machine, which times are scaled with; empty = not measured."""
    if quick or device is None:
        report.say("speed", "not measured: times are those of outputs/reference, on 2 cores without a GPU")
        return {}
    module = part("speed")
    busy = module.describe_load()
    try:
        here = module.calibrate(device)
    except RuntimeError as error:
        remedy = "make clean, then make env" if device.type == "cpu" else "add " + ON_CPU
        report.stop(f"{device.type} does not compute ({first_sentence(error)}): {remedy}")
        return {}
    report.say("speed", part("estimates").describe_speed(here))
    report.say("", "Times are estimates: recorded ones, times such ratios, to the machine and the day of each record.")
    if device.type != "cpu":
        report.warn("the reference has no GPU: on one they are rough")
    if busy:
        report.warn(f"{busy}: so long it takes beside that; look again when it is quiet")
    return here


def conclude(report: Report, runs: Sequence[Any]) -> int:
    """Part 5; returns the exit code."""
    report.section("5. What to do")
    for problem in report.problems:
        report.say("first", problem)
    if report.problems:
        return 1
    street = next((run for run in runs if run.name == "street"), None)
    if street is None:
        report.say("first", "part 4 says why params/street cannot be run here")
        return 1
    if street.left:
        report.say("next", f"make run: the street run can be made here{say_time(street)}")
    else:
        report.say("next", "make lab: the street run can be made here, and is up to date in outputs/street")
    ready = [run for run in runs if run.name not in ("street", "tiny") and run.has_data and run.left]
    ready.sort(key=lambda run: (run.seconds is None, run.seconds or 0.0))
    if ready:
        report.say("your data", f"{ready[0].command}{say_time(ready[0])}")
    return 0


def say_time(run: Any) -> str:
    if run.seconds is None:
        return " (how long is not measured)"
    return f" (about {part('runs').describe_time(run.seconds)})"


def main(words: Sequence[str]) -> int:
    arguments, report = read_arguments(words), Report()
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # a path may hold letters that the terminal lacks
    try:
        return conclude(report, examine(report, arguments))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `... | head`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
