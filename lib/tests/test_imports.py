"""The order of lib's modules: each imports only from groups to its left; the list stands in lib/__init__.py."""

import ast
import subprocess
import sys

import lib
from lib import ROOT

GROUPS = [
    group.split() for group in lib.__doc__.split("groups to their left:")[1].replace("`", "").rstrip(". \n").split("·")
]
RANK = {name: rank for rank, group in enumerate(GROUPS) for name in group}


def imported(path):
    package = list(path.relative_to(ROOT).with_suffix("").parts)
    package = package[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = base + (node.module.split(".") if node.module else [])
            if module == ["lib"]:
                yield from (["lib", alias.name] for alias in node.names)
            else:
                yield module


def test_modules_import_only_from_the_left():
    for path in (ROOT / "lib").rglob("*.py"):
        parts = path.relative_to(ROOT / "lib").with_suffix("").parts
        if parts[0] in ("tests", "__init__"):
            continue
        assert parts[0] in RANK, f"{path.name} has no place in the order of lib/__init__.py"
        for module in imported(path):
            if module[0] == "lib" and len(module) > 1 and module[1] in RANK:
                assert RANK[module[1]] <= RANK[parts[0]], f"{'/'.join(parts)} imports {'.'.join(module)}, to its right"


def test_importing_the_core_pulls_in_no_notebook_tools():
    code = (
        "import sys, lib.training, lib.depth, lib.methods.cpcdr, lib.evaluation;"
        "print([m for m in ('papermill', 'ipywidgets', 'matplotlib', 'IPython') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_modules_stay_small():
    for path in (ROOT / "lib").rglob("*.py"):
        if "tests" not in path.parts:
            assert len(path.read_text().splitlines()) <= 420, f"{path} is too long: make it a package"
