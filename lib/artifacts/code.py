"""Which code a result depends on: a notebook's cells and the modules of `lib` that they import, as one hash.

Comments, formatting and docstrings do not count: the hash is taken over the syntax tree.
"""

import ast
import hashlib
import json
from collections.abc import Set
from functools import cache
from pathlib import Path

from .. import ROOT

LEFT_OUT = ("lib.figures", "lib.widgets", "lib.run", "lib.params")  # pictures; parameters are compared by name


def _module_file(name: str) -> Path | None:
    base = ROOT.joinpath(*name.split("."))
    return next((p for p in (base.with_suffix(".py"), base / "__init__.py") if p.is_file()), None)


def _imports(tree: ast.AST, package: str) -> set[str]:
    """Names of lib modules that a syntax tree imports, also inside functions."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            base = ".".join(parts[: len(parts) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, [base, node.module]))
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] == "lib" and _module_file(name)}


def _tree_hash(tree: ast.AST) -> str:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
        ):
            node.body = body[1:] or [ast.Pass()]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


@cache
def _module(name: str) -> tuple[str, frozenset[str]]:
    path = _module_file(name)
    tree = ast.parse(path.read_text())
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    imports = _imports(tree, package)
    return _tree_hash(tree), frozenset(imports | {package} - {"", name})


def modules_behind(names: set[str]) -> dict[str, str]:
    """Hash of every lib module that `names` import, directly or not; pictures and parameters are left out."""
    hashes, queue = {}, list(names)
    while queue:
        name = queue.pop()
        if name not in hashes and not name.startswith(LEFT_OUT):
            hashes[name], more = _module(name)
            queue += more
    return dict(sorted(hashes.items()))


def _combine(hashes: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(hashes).encode()).hexdigest()


def hash_modules(*names: str) -> str:
    """One hash of the named lib modules and all they import, e.g. hash_modules("lib.depth")."""
    return _combine(modules_behind(set(names)))


def hash_alone(*names: str) -> str:
    """One hash of the named lib modules, without what they import: for work that outlives changes elsewhere."""
    return _combine({name: _module(name)[0] for name in sorted(names)})


def hash_code(notebook: str, also: Set[str] = frozenset()) -> str:
    """One hash of a notebook's code cells (parameters left out) and the lib modules behind them.

    Args:
        notebook: name without ending, e.g. "01_depth".
        also: modules that are loaded by name, e.g. the readers of its data sets.
    """
    path = ROOT / "notebooks" / f"{notebook}.ipynb"
    hashes, names = {}, set(also)
    cells = json.loads(path.read_text())["cells"] if path.is_file() else []
    for cell in cells:
        tags = cell["metadata"].get("tags", [])
        if cell["cell_type"] == "code" and not {"parameters", "injected-parameters"} & set(tags):
            tree = ast.parse("".join(cell["source"]))
            names |= _imports(tree, "")
            hashes[f"cell {len(hashes)}"] = _tree_hash(tree)
    return _combine({**hashes, **modules_behind(names)})
