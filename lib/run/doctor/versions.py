"""Part 1: Python, packages against their pins, the notebooks' kernel, the commit."""

from __future__ import annotations

import importlib
import platform
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from ... import ROOT
from .report import Report, first_sentence

OLDEST = (3, 11)
KERNEL = "python3"  # the one that the chain executes notebooks with
LOADED = ("numpy", "torch", "torchvision", "cv2", "skimage", "sklearn", "infomap", "papermill")
"""Modules with compiled parts or many dependencies: installed does not mean that they load."""
SHOWN = ("torch", "torchvision", "numpy", "scikit-image", "infomap", "papermill")
REMEDY = "make env"


def show_versions(report: Report) -> None:
    for what, function in (
        ("python", show_python),
        ("packages", show_packages),
        ("kernel", show_kernel),
        ("commit", show_commit),
    ):
        report.attempt(what, function, report)


def show_python(report: Report) -> None:
    report.say("python", f"{platform.python_version()} in {sys.prefix}")
    if sys.version_info < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        report.stop(f"Python {platform.python_version()} is too old, {oldest} is needed: {REMEDY} fetches one")


def read_needed(pyproject: Path) -> list[str]:
    """Names of the packages that the project asks for itself."""
    block = re.search(r"^dependencies = \[(.*?)^\]", pyproject.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return re.findall(r'^\s*"([\w.-]+)', block[1], re.MULTILINE) if block else []


def read_pins(requirements: Path) -> dict[str, set[str]]:
    """Package -> its pinned versions: more than one where they differ between versions of Python."""
    pins: dict[str, set[str]] = {}
    for name, pin in re.findall(r"^([\w.-]+)==([^\s;\\]+)", requirements.read_text(encoding="utf-8"), re.MULTILINE):
        pins.setdefault(name.lower(), set()).add(pin)
    return pins


def show_packages(report: Report) -> None:
    needed, pins = read_needed(ROOT / "pyproject.toml"), read_pins(ROOT / "requirements.txt")
    found: dict[str, str] = {}
    for name in needed:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    off = {n: v for n, v in found.items() if n in pins and v.split("+")[0] not in pins[n]}
    shown = "".join(f", {name} {found[name]}" for name in SHOWN if name in found)
    report.say("packages", f"{len(found) - len(off)} of {len(needed)} as pinned in requirements.txt{shown}")
    if missing := ", ".join(name for name in needed if name not in found):
        report.stop(f"not installed: {missing}: {REMEDY}, then make doctor")
    for name, version in off.items():
        pinned = " or ".join(sorted(pins[name]))
        report.warn(f"{name} is {version}, pinned is {pinned}: numbers may differ a little more; {REMEDY} mends it")
    for name in LOADED:
        check_loads(report, name)


def check_loads(report: Report, name: str) -> None:
    """Import a module whose package is there; one that is missing was named before."""
    try:
        importlib.import_module(name)
    except Exception as error:
        if getattr(error, "name", None) != name:
            report.stop(f"{name} is installed but does not load ({first_sentence(error)}): make clean, then {REMEDY}")


def show_kernel(report: Report) -> None:
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    try:
        command = Path(KernelSpecManager().get_kernel_spec(KERNEL).argv[0])
    except NoSuchKernel:
        report.stop(f"there is no Jupyter kernel {KERNEL}, which executes the notebooks: {REMEDY}")
        return
    report.say("kernel", f"{KERNEL} is there")
    if command.is_absolute() and command.parent != Path(sys.executable).parent:
        report.warn(
            f"it starts {command}, another Python than this one: notebooks would run there; "
            f"{sys.executable} -m ipykernel install --sys-prefix"
        )


def show_commit(report: Report) -> None:
    def git(*words: str) -> str:
        command = ["git", "-C", str(ROOT), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()

    try:
        changed = len(git("status", "--porcelain").splitlines())
        text = git("rev-parse", "--short", "HEAD")
    except (OSError, subprocess.SubprocessError):
        report.say("commit", "not known (no git, or no checkout): runs will not say which code made them")
        return
    report.say("commit", text + (f", and {changed} files changed since" if changed else ", nothing changed since"))
