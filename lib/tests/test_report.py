import base64
import io
import re
from html.parser import HTMLParser

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from lib import ROOT, artifacts, params
from lib.run import reference
from lib.run.report import page
from lib.run.report.__main__ import main
from lib.run.report.album import Album
from lib.run.report.markdown import render_markdown, tidy, to_mathml

SECTIONS = ("Pictures", "Scores", "Notebooks", "Provenance", "Claims")
VOID = {"meta", "img", "br", "hr"}


class Reader(HTMLParser):
    """What a browser would find in a page; stops at a tag that is not closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.tags, self.text = [], [], [], ""
        self.feed(text)
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes nothing, at {self.getpos()}"

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


def noise(size=8, seed=0):
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "png")
    return base64.b64encode(buffer.getvalue()).decode()


def make_notebook(path, size=8, pictures=1):
    shown = [new_output("display_data", {"image/png": noise(size, k), "text/plain": "x"}) for k in range(pictures)]
    cells = [
        new_markdown_cell("# 4. Learning\n\nSee [5](05_evaluation.ipynb), [a file](x.txt), [more](https://a.org/b).\n\n$$"
                          "x_i < \\lVert y_j \\rVert_2, \\quad \\arg\\max_k *z*_k$$"),
        new_markdown_cell("## Bad\n<script>alert(1)</script>\n\n<b onclick='x()'>bold</b> [js](javascript:x) ![p](http://p/p.png)"),
        new_code_cell("a < b  # <script>", outputs=[
            new_output("stream", name="stdout", text="10 %\r"),
            new_output("stream", name="stdout", text="\x1b[31m100 %\x1b[0m <script>\n"),
            *shown,
            new_output("display_data", {"text/html": "<script>x</script><table><tr><td>7</td></tr></table>"}),
            new_output("display_data", {"application/vnd.jupyter.widget-view+json": {}, "text/plain": "VBox()"}),
            new_output("error", ename="ValueError", evalue="no <data>", traceback=["\x1b[0;31mValueError\x1b[0m"]),
        ]),
        new_markdown_cell("Look at the *noise*: it has no $k_i$. More words."),
    ]  # fmt: skip
    nbformat.write(new_notebook(cells=cells), path)


def make_stage(run, name, metrics, inputs=(), files=(), expectations=(), **values):
    schema = params.SCHEMAS.get(name, params.EvaluationParams)
    stage = artifacts.begin(name, schema(run=run, expect=False, **values), list(inputs))
    for file in files:
        stage.path(file).write_bytes(base64.b64decode(noise()) if file.endswith("png") else b"film")
    for what, value, bound in expectations:
        artifacts.expect(stage, what, value, at_least=bound)
    stage.finish(metrics, {"classes": "3 of <3>", "seeds": {"training": 0}})
    return artifacts.load(run, name)


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outputs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(artifacts.stages, "OUTPUTS", folder)
        patch.setattr(reference, "REFERENCE", folder / "reference")
        patch.setattr(reference, "_calibrate", lambda run: {})
        (folder / "reference").mkdir()
        depth = make_stage("x", "01_depth", {"abs_rel": 0.2, "train_seconds": 3.0}, steps=7)
        scores = {"miou": 0.28, "miou_low": 0.26, "miou_high": 0.3, "iou_road": 0.9, "iou_traffic_sign": None}
        pictures = ("scores.png", "overview.png", "extra_look.png", "maps/a.png")
        wanted = [("above the floor by", 0.01, 0.02), ("a <b>", 1.0, 0.5)]
        make_stage("x", "05_evaluation", scores, [depth], pictures, wanted)
        reference.record("x")
        found = artifacts.read_json(folder / "reference" / "x.json")
        found["stages"]["05_evaluation"]["metrics"]["miou"]["value"] = 0.5
        artifacts.write_json(folder / "reference" / "x.json", found)
        make_notebook(folder / "x" / "04_training.ipynb")
        make_notebook(folder / "x" / "05_evaluation.ipynb")
        (folder / "reference" / "claims.md").write_text("# Ledger\n\n| claim | n_1 |\n|---|---|\n| *a* | 3 |\n")
        yield folder


@pytest.fixture(scope="module")
def text(outputs):
    assert main(["x"]) == 0
    return (outputs / "x" / "report.html").read_text()


def test_a_page_is_whole_and_asks_no_network(text):
    found = Reader(text)
    assert len(found.ids) == len(set(found.ids))
    assert not {"script", "link", "iframe", "object", "video", "source"} & {tag for tag, _ in found.tags}
    assert not re.search(r"@import|url\(", text)
    for tag, attributes in found.tags:
        assert not any(name.startswith("on") for name in attributes)
        assert "src" not in attributes or attributes["src"].startswith("data:image/")
        if "href" in attributes:
            assert tag == "a"
            assert attributes["href"] == "https://a.org/b" or attributes["href"].removeprefix("#") in found.ids
    assert found.all("html") == [{"lang": "en"}]
    assert all("scope" in attributes for attributes in found.all("th"))


def test_order_contents_and_alt_texts(text):
    places = [text.index(f"<h2>{title}</h2>") for title in SECTIONS]
    assert places == sorted(places)
    found = Reader(text)
    alts = [attributes["alt"] for attributes in found.all("img")]
    assert all(alts)
    assert alts[0].startswith("Two frames")
    assert "mIoU 0.280 (95 % interval 0.260 to 0.300)" in alts[1]
    assert alts[2].startswith("Picture extra_look.png of 05_evaluation")
    assert "Figure 1 of 04_training, section 'Bad': Look at the noise: it has no k_i." in alts
    assert len(alts) == 3 + 2, "maps of the stage are no pictures of it"
    for piece in ("Ledger", "claim", "Parameters that differ", "steps", "01_depth of run x", "4. Learning"):
        assert piece in found.text
    assert "#notebook-05_evaluation" in {a.get("href") for a in found.all("a")}


def test_scores_say_what_is_not_met(text):
    words = Reader(text).text
    assert "NOT met: 1 of 2" in words
    assert "OUTSIDE" in words
    assert "0.280 (0.260\u00a0to\u00a00.300)" in words
    assert "abs_rel depth: mean of |error|" in words
    assert "not\u00a0compared" in words
    assert "3 of <3>" in words
    assert words.index("above the floor by") < words.index("a <b>")


def test_what_a_notebook_holds_is_text_and_never_markup(text):
    words = Reader(text).text
    assert "a < b  # <script>" in words
    assert "100 % <script>" in words
    assert "10 %\r" not in words
    assert "\x1b" not in words
    assert "ValueError: no <data>" in words
    assert "alert" not in words
    assert "panel with knobs" in words
    assert "[picture: p]" in words


def test_maths_is_mathml(text):
    found = Reader(text)
    assert len(found.all("math")) == 2 * 2
    assert "x_i < " in found.all("math")[0]["alttext"]
    assert "$" not in found.text
    assert "argmax" not in found.text
    assert "arg\u2009max" in found.text
    assert "<script" not in to_mathml(r"\text{<script>alert(1)</script>}")
    assert to_mathml(r"a < \unknown{b}") == r'<code class="tex">a &lt; \unknown{b}</code>'


def test_every_equation_of_the_notebooks_is_mathml():
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "markdown" and "$" in cell.source:
                assert 'class="tex"' not in render_markdown(cell.source, Album()), cell.source


def test_parts_of_a_chain_and_what_stands_on_it(outputs):
    depth = artifacts.load("x", "01_depth")
    make_stage("part", "05_evaluation", {"miou": None, "iou_road": None}, [depth])
    make_stage("part", "99_films", {"frames_per_second": 3.0}, files=["clip.mp4"])
    (outputs / "part" / "05_evaluation.ipynb").write_text("{}")
    (outputs / "part" / "02_regions").mkdir()
    (outputs / "part" / "05_evaluation" / "metrics.json").write_text('{"miou": null}')
    words = Reader(page.build_page("part")).text
    assert "01_depth (taken from run x)" in words
    assert "Nothing could be measured" in words
    assert "99_films/clip.mp4" in words
    assert "frames_per_second" in words
    assert "changed since it was made" in words
    assert "the file cannot be read" in words
    assert "No reference is recorded" in words


def test_a_page_stays_small(outputs, monkeypatch):
    make_stage("large", "01_depth", {"abs_rel": 0.2})
    make_notebook(outputs / "large" / "01_depth.ipynb", size=200, pictures=3)
    sizes = {}
    for largest in (1_000_000, 250_000, 18_000):
        monkeypatch.setattr(page, "LARGEST", largest)
        text = page.build_page("large")
        sizes[largest] = len(text.encode())
        assert sizes[largest] <= largest
        assert all(attributes["width"] == "200" for attributes in Reader(text).all("img"))
    assert sizes[1_000_000] > 3 * 200 * 200 * 3, "pictures stay as they are where they fit"
    assert "left out, the page would be too large: Figure 3" in text


def test_what_cannot_be_reported_is_one_sentence(outputs, capsys, monkeypatch):
    assert main(["nowhere"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("run 'nowhere' has no finished stage")
    assert said.count("\n") == 1
    assert not (outputs / "nowhere").exists()
    monkeypatch.setattr(page, "LARGEST", 1000)
    assert main(["x", "--out", str(outputs / "small.html")]) == 1
    assert "the text of this page alone" in capsys.readouterr().err
    assert not (outputs / "small.html").exists()


def test_programs_output_is_tidied():
    assert tidy("50 %\r100 %\r\ndone\x07") == "100 %\ndone"
    assert tidy(f"{ROOT}/lib/x.py") == "lib/x.py"
    assert "more characters" in tidy("x" * 30_000)
