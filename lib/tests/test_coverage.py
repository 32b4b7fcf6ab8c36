"""outputs/reference/coverage.md says where each piece of the four papers is; every name in it must exist."""

import ast
import re
from collections import Counter
from dataclasses import fields
from functools import cache

import pytest

from lib import ROOT
from lib.params import SCHEMAS

TEXT = (ROOT / "outputs" / "reference" / "coverage.md").read_text()
COLUMNS = ["what", "in the paper", "function", "test", "notebook", "params"]
PLANNED = ["06_finetuning", "07_semi_supervised", "08_methods", "09_ablations", "10_speed", "11_your_video"]
KINDS = ("sec.", "app.", "eq.", "algorithm", "table", "figure", "data:", "supplement")

# How many of each a paper has, counted in its text, appendices included. Equation 7 of SemiSeg is printed without its
# number, between 6 and 8; table 5 of ViCE has lost part of its caption.
NUMBERED = {
    "CPCDR": {"eq.": 7, "algorithm": 0, "table": 4, "figure": 6},
    "ViCE": {"eq.": 3, "algorithm": 3, "table": 8, "figure": 10},
    "PixDepth": {"eq.": 6, "algorithm": 0, "table": 5, "figure": 8},
    "SemiSeg": {"eq.": 11, "algorithm": 0, "table": 8, "figure": 4},
}
SECTIONS = {
    "CPCDR": "1 2 3 3.1 3.2 3.3 3.4 3.5 4 4.1 4.2 4.3 5",
    "ViCE": "1 2 3 3.1 3.2 3.3 4 4.1 4.2 4.3 4.4 5 A B C D E F G",
    "PixDepth": "1 2 3 3.1 3.2 4 4.1 4.2 4.3 4.4 5",
    "SemiSeg": "1 2 2.1 2.2 2.3 3 3.1 3.2 3.3 3.4 4 4.1 4.2 4.3 4.3.1 4.3.2 4.4 5 6",
}
DATA = {
    "CPCDR": ("Cityscapes", "KITTI raw", "KITTI 2015", "ImageNet", "COCO"),
    "ViCE": ("COCO-Stuff", "Cityscapes", "ImageNet"),
    "PixDepth": ("BoreholeImage", "Cityscapes", "ScanNet", "ImageNet", "MiDaS training set"),
    "SemiSeg": ("Cityscapes", "Pascal VOC", "GTA5", "ImageNet", "COCO"),
}


def read_tables(text):
    """Paper -> rows of its table, each a list of cells, with the row of column names but not the dashes below it."""
    tables, rows = {}, []
    for line in text.splitlines():
        if line.startswith("## "):
            rows = tables.setdefault(line[3:].split(":")[0], [])
        elif line.startswith("|") and not set(line) <= set("|- "):
            rows.append([cell.strip() for cell in line.strip().removeprefix("|").removesuffix("|").split("|")])
    return tables


@cache
def names_in(path):
    """What a module defines at its top level, and Class.method."""
    names = set()
    for node in ast.parse((ROOT / path).read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef)}
        if isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return names


def is_function(name):
    path, _, inner = name.partition(":")
    if not re.fullmatch(r"lib/[\w/]+\.py", path) or path.startswith("lib/tests/") or not (ROOT / path).is_file():
        return False
    return inner in names_in(path)


def is_test(name):
    path, colons, inner = name.partition("::")
    if not re.fullmatch(r"lib/tests/([\w/]+/)?test_\w+\.py", path) or not (ROOT / path).is_file():
        return False
    return not colons or (inner.startswith("test_") and inner in names_in(path))


def is_notebook(name):
    return name in PLANNED or (ROOT / "notebooks" / f"{name}.ipynb").is_file()


def is_parameter(name):
    if name.startswith("params/"):
        return name.endswith(".yaml") and (ROOT / name).is_file()
    number, _, field = name.partition(".")
    schemas = [schema for notebook, schema in SCHEMAS.items() if notebook.startswith(f"{number}_")]
    return any(field == f.name for schema in schemas for f in fields(schema))


EXISTS = {"function": is_function, "test": is_test, "notebook": is_notebook, "params": is_parameter}


def is_sound(entry, column):
    """One entry of a cell: a name with an optional remark, or a sentence about why there is none."""
    if named := re.fullmatch(r"`([^`]+)`( \([^()]+\))?", entry):
        return EXISTS[column](named[1])
    if planned := re.fullmatch(r"not yet: (\w+)( \([^()]+\))?", entry):
        return planned[1] in PLANNED
    return bool(re.fullmatch(r"(out of scope|none needed): \S.*", entry))


def find_wrong_cells(row):
    cells = dict(zip(COLUMNS, row))
    if len(row) != len(COLUMNS):
        return [f"{len(row)} cells in place of {len(COLUMNS)}"]
    wrong = [f"{column} is empty" for column, cell in cells.items() if not re.search(r"\w", cell)]
    if not row[0].startswith(KINDS):
        wrong.append("`what` begins with none of " + ", ".join(KINDS))
    for column in EXISTS:
        for entry in filter(None, (part.strip() for part in cells[column].split(";"))):
            if not is_sound(entry, column):
                wrong.append(f"{column}: {entry!r} does not exist or does not say what it must")
    return wrong


def find_problems(text):
    """One line for each mistake in the document, wherever it stands."""
    problems = []
    for paper, (head, *rows) in read_tables(text).items():
        if head != COLUMNS:
            problems.append(f"{paper}: the columns are {head}")
        twice = [what for what, count in Counter(row[0] for row in rows).items() if count > 1]
        problems += [f"{paper}, {what}: more than one row" for what in twice]
        problems += [f"{paper}, {row[0]}: {wrong}" for row in rows for wrong in find_wrong_cells(row)]
    return problems


def test_every_cell_says_something_true():
    problems = find_problems(TEXT)
    assert not problems, f"{len(problems)} in coverage.md:\n" + "\n".join(problems)


@pytest.mark.parametrize("paper", NUMBERED)
def test_nothing_of_a_paper_is_forgotten(paper):
    rows = read_tables(TEXT)[paper][1:]
    found = {row[0] for row in rows}
    numbered = {f"{kind} {n}" for kind, count in NUMBERED[paper].items() for n in range(1, count + 1)}
    assert {what for what in found if what.startswith(tuple(NUMBERED[paper]))} == numbered
    sections = {("sec. " if s[0].isdigit() else "app. ") + s for s in SECTIONS[paper].split()}
    assert {what for what in found if what.startswith(("sec.", "app.")) and "," not in what} == sections
    assert {what for what in found if what.startswith("data:")} == {f"data: {name}" for name in DATA[paper]}


def test_the_document_holds_the_four_papers():
    assert list(read_tables(TEXT)) == list(NUMBERED)


GOOD = [
    "eq. 1",
    "words",
    "`lib/prototypes.py:Prototypes.forward` (of points); not yet: 08_methods",
    "`lib/tests/test_prototypes.py`",
    "`04_training`",
    "`04.prototypes`; `params/street/04_training.yaml`",
]


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        (0, "a thing"),
        (1, ""),
        (2, ""),
        (2, "-"),
        (2, "`lib/prototypes.py`"),
        (2, "`lib/prototypes.py:forward`"),
        (2, "`lib/nowhere.py:Prototypes`"),
        (2, "`lib/tests/test_prototypes.py:draw_scores`"),
        (2, "lib/prototypes.py:Prototypes"),
        (2, "not yet"),
        (2, "not yet:"),
        (2, "not yet: 12_else"),
        (2, "none needed:"),
        (2, "out of scope: "),
        (3, "`lib/tests/test_nowhere.py`"),
        (3, "`lib/tests/test_prototypes.py::test_nothing`"),
        (3, "`lib/tests/test_prototypes.py::draw_scores`"),
        (4, "`12_else`"),
        (5, "`04.occlusion_weight`"),
        (5, "`4.prototypes`"),
        (5, "`params/street/06_nothing.yaml`"),
    ],
)
def test_a_mistake_in_a_cell_is_found(column, cell):
    document = "## Paper: title\n| " + " | ".join(COLUMNS) + " |\n|---|\n| {} |\n"
    assert find_problems(document.format(" | ".join(GOOD))) == []
    bad = [*GOOD[:column], cell, *GOOD[column + 1 :]]
    assert find_problems(document.format(" | ".join(bad)))


def test_mistakes_in_rows_are_found():
    document = "## Paper: title\n| " + " | ".join(COLUMNS) + " |\n|---|\n"
    good = f"| {' | '.join(GOOD)} |\n"
    assert find_problems(document + good + good) == ["Paper, eq. 1: more than one row"]
    assert find_problems(document + f"| {' | '.join(GOOD[:-1])} |\n") == ["Paper, eq. 1: 5 cells in place of 6"]
    assert find_problems(document + f"| {' | '.join(GOOD)} | more |\n") == ["Paper, eq. 1: 7 cells in place of 6"]
    assert len(find_problems(document.replace("what", "which") + good)) == 1
