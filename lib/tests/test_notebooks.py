"""What is committed in notebooks/: executed, normalised, small, and without a trace of the machine."""

import ast
import json
import re

import pytest

from lib import ROOT, params

PATHS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture(params=PATHS, ids=lambda p: p.stem)
def notebook(request):
    return json.loads(request.param.read_text())


def source(cell):
    return "".join(cell["source"])


def code_cells(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def test_there_is_a_notebook_for_every_schema():
    assert [p.stem for p in PATHS] == list(params.SCHEMAS)


def test_size():
    for path in PATHS:
        assert path.stat().st_size <= 400_000, f"{path.name}: {path.stat().st_size} bytes"


def test_executed_in_order_without_errors(notebook):
    cells = code_cells(notebook)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        for output in cell["outputs"]:
            assert output["output_type"] != "error"
            assert output.get("name") != "stderr", source(cell)


def test_normalised(notebook):
    assert set(notebook["metadata"]) == {"kernelspec", "language_info"}
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert all(set(cell["metadata"]) <= {"tags"} for cell in notebook["cells"])


def test_no_trace_of_the_machine(notebook):
    text = json.dumps([o for c in code_cells(notebook) for o in c["outputs"] if "image/png" not in o.get("data", {})])
    assert not re.search(r"/home/|/root/|/Users/|/tmp/|/work/|[A-Z]:\\\\", text)
    assert not re.search(r"[0-9a-f]{40}", text), "a hash in an output"


def test_anatomy(notebook):
    cells = notebook["cells"]
    assert cells[0]["cell_type"] == "markdown"
    assert re.match(r"# \d+\. ", source(cells[0]))
    code = code_cells(notebook)
    assert code[0]["metadata"].get("tags") == ["parameters"]
    assert "read(" in source(code[1])
    lengths = sorted(len(source(cell).splitlines()) for cell in code[1:])
    assert lengths[len(lengths) // 2] <= 8
    assert lengths[-1] <= 20
    for cell in code:
        assert not re.search(r"(?m)^\s*[!%]", source(cell)), "no shell or magic"
        tree = ast.parse(source(cell))
        assert not any(isinstance(n, ast.FunctionDef | ast.ClassDef) for n in ast.walk(tree)), "functions live in lib"


def test_prose_for_code(notebook):
    words = sum(len(source(cell).split()) for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    lines = sum(len(source(cell).splitlines()) for cell in code_cells(notebook)[1:])
    assert 4 <= words / lines <= 12, f"{words / lines:.1f} words of prose per code line"


def test_saved_outputs_hold_no_clock(notebook):
    for cell in code_cells(notebook):
        for output in cell["outputs"]:
            text = "".join(output.get("text", [])) + "".join(output.get("data", {}).get("text/plain", []))
            assert not re.search(r"\d\d:\d\d:\d\d|\b\d+(\.\d+)? ?(s|seconds|minutes|images/s)\b", text), text[:200]
