"""An executed notebook as HTML: its prose, its code and what came out."""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from ..notebooks import WIDGET
from .album import Album
from .markdown import render_markdown, sanitise, tidy

NOT_READING = ("*Check", "Check", "Next", "Turn", "With a live kernel", "Another")  # prose that speaks of what comes


def _plain(markdown: str) -> str:
    """Markdown as a line of words."""
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", markdown)
    return " ".join(re.sub(r"[*`$]|(?m:^#+ |^[-+] )|\\(?=[A-Za-z])", "", text).split())


@dataclass
class NotebookPage:
    """An executed notebook as HTML: what it says, what it holds, and where it stopped if it did."""

    name: str
    album: Album
    others: Sequence[str] = ()  # notebooks that the page holds
    title: str = ""
    section: str = ""
    pictures: int = 0
    cells: int = 0
    error: str = ""
    html: str = ""

    def render(self, path: Path) -> "NotebookPage":
        """Fill in everything from the file.

        Raises:
            ValueError: it is no notebook.
        """
        cells = nbformat.read(path, as_version=4).cells
        self.cells, parts = len(cells), []
        before = ""
        for cell, following in zip(cells, [*cells[1:], None]):
            if cell.cell_type == "markdown":
                prose = re.sub(r"(?s)```.*?```", "", cell.source)
                headings = [_plain(line) for line in prose.splitlines() if re.match("#{1,6} ", line)]
                self.section = headings[-1] if headings else self.section
                self.title = self.title or self.section
                parts.append(render_markdown(cell.source, self.album, self.others, cell.get("attachments")))
                before = _first_sentence(cell.source) or before
            elif cell.cell_type == "code":
                after = following.source if following is not None and following.cell_type == "markdown" else "#"
                reads_back = not after.lstrip().startswith(("#", *NOT_READING))
                parts.append(self._code(cell, _first_sentence(after) if reads_back else before))
        self.html = "\n".join(parts)
        return self

    def _code(self, cell: NotebookNode, reading: str) -> str:
        notes = {"parameters": "parameters: the defaults", "injected-parameters": "parameters of this run"}
        parts = [f'<p class="note">{notes[tag]}</p>' for tag in cell.metadata.get("tags", []) if tag in notes]
        code = highlight(tidy(cell.source), PythonLexer(), HtmlFormatter(nowrap=True))
        parts.append(f'<pre class="code"><code>{code}</code></pre>')
        streams = ""
        for output, after in zip(cell.outputs, [*cell.outputs[1:], None]):
            if output.output_type == "stream":  # pieces of one stream belong together
                streams += output.text
                if after is None or after.output_type != "stream" or after.name != output.name:
                    parts.append(_text(streams, f"output {output.name}"))
                    streams = ""
            elif output.output_type == "error":
                self.error = tidy(f"{output.ename}: {output.evalue}").split("\n")[0]
                parts.append(_text("\n".join(output.traceback) or self.error, "output error"))
            else:
                parts.append(self._data(output.data, reading))
        return "\n".join(parts)

    def _data(self, data: dict[str, Any], reading: str) -> str:
        """The richest form of an output that a page without programs can show."""
        if WIDGET in data:
            return '<p class="note">Here JupyterLab shows a panel with knobs; it needs a running notebook.</p>'
        for kind in ("image/png", "image/jpeg", "image/gif", "image/svg+xml"):
            if kind in data:
                self.pictures += 1
                where = f"Figure {self.pictures} of {self.name}, section '{self.section}'"
                content = data[kind].encode() if "svg" in kind else base64.b64decode(data[kind])
                picture = self.album.add(kind, content, f"{where}: {reading}" if reading else where)
                return f"<figure>{picture}<figcaption>Figure {self.pictures} of {self.name}</figcaption></figure>"
        table = sanitise(tidy(data.get("text/html", "")))
        if table.strip():
            return table
        for kind in ("text/markdown", "text/latex"):
            if kind in data:
                return render_markdown(data[kind], self.album, self.others)
        return _text(str(data.get("text/plain", "")), "output")


def _text(text: str, kind: str) -> str:
    text = tidy(text).strip("\n")
    return f'<pre class="{kind}">{escape(text)}</pre>' if text else ""


def _first_sentence(markdown: str) -> str:
    """The first sentence of a cell's prose, without headings."""
    prose = _plain(re.sub(r"(?m)^#+ .*$", "", markdown).strip().split("\n\n")[0])
    return re.split(r"(?<=[.!?])\s+(?=[A-Z(])", prose, maxsplit=1)[0]
