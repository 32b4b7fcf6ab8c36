"""Markdown as safe HTML, and equations as MathML: nothing in them asks a network for anything."""

import base64
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import bleach
import latex2mathml.converter
import mistune
from nbconvert.filters.markdown_mistune import MarkdownWithMath

from ... import ROOT
from .album import MARK, Album, fill_in

MOST_TEXT = 20_000  # characters of one output
TAGS = """a abbr b blockquote br caption code dd del details div dl dt em h3 h4 h5 h6 hr i kbd li ol p pre s small span
strong sub summary sup table tbody td tfoot th thead tr u ul"""
MATH_TAGS = """math mrow mi mn mo ms mtext mspace mstyle mfrac msqrt mroot msub msup msubsup munder mover munderover
mtable mtr mtd mpadded mphantom menclose mmultiscripts mprescripts none"""
MATH_ATTRIBUTES = """display displaystyle scriptlevel mathvariant mathcolor stretchy fence form accent accentunder width
height depth lspace rspace linethickness columnalign columnspacing rowspacing minsize maxsize notation"""
SIDES = {"l": "left", "r": "right"}
UNDERNEATH = {"max", "min", "sup", "inf", "lim", "arg\u2009max", "arg\u2009min"}  # where a display puts its limits


def tidy(text: str) -> str:
    """Text of a program as a reader wants it: no terminal codes, nothing that was overwritten, no folders of a user."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|[\ue000\ue001\x00-\x08\x0b\x0c\x0e-\x1f]", "", text.replace("\r\n", "\n"))
    text = "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    for folder, name in ((str(ROOT) + "/", ""), (str(Path.home()) + "/", "~/")):
        text = text.replace(folder, name) if len(folder) > 2 else text
    if len(text) > MOST_TEXT:
        text = f"{text[:MOST_TEXT]}\n[{len(text) - MOST_TEXT} more characters are left out]"
    return text


def to_mathml(tex: str, block: bool = False) -> str:
    """An equation as MathML, which browsers draw by themselves; as plain TeX where it cannot be converted."""
    tex = " ".join(tex.split())
    for text in (_polish(tex), tex):
        try:
            converted = latex2mathml.converter.convert(text, display="block" if block else "inline")
            tree = ElementTree.fromstring(converted)
        except Exception:  # the converter raises what it likes on TeX that it does not know
            continue
        for element in tree.iter():
            element.tag = element.tag.rpartition("}")[2]
            element.attrib = {k: v for k, v in element.attrib.items() if k in MATH_ATTRIBUTES.split()}
            if block and element.tag == "msub" and element[0].text in UNDERNEATH:
                element.tag = "munder"
        if all(element.tag in MATH_TAGS.split() for element in tree.iter()) and "\\" not in "".join(tree.itertext()):
            tree.set("alttext", tex)
            return ElementTree.tostring(tree, encoding="unicode", short_empty_elements=False)
    return f'<code class="tex">{escape(tex)}</code>'


def _polish(tex: str) -> str:
    """What the converter knows by another name; bars that know their side."""
    tex = re.sub(r"\\arg\s*\\(max|min)(?![A-Za-z])", r"\\arg\1", tex)
    tex = re.sub(r"\\(begin|end)\{(aligned|equation\*?)\}", r"\\\1{align*}", tex)
    if re.search(r"(left|right|[bB]igg?[lmr]?)\s*\\[lr][vV]ert(?![A-Za-z])", tex):
        return tex
    return re.sub(r"\\(l|r)([vV])ert(?![A-Za-z])", lambda m: f"\\{SIDES[m[1]]}\\{m[1]}{m[2]}ert", tex)


class _Renderer(mistune.HTMLRenderer):
    """Markdown to HTML: headings below the page's own, links only out of the page or to its notebooks."""

    def __init__(self, notebooks: Sequence[str], pictures: dict[str, dict[str, str]], album: Album) -> None:
        super().__init__(escape=False)
        self.notebooks, self.attached, self.album = notebooks, pictures, album
        self.pieces: list[str] = []

    def _keep(self, html: str) -> str:
        self.pieces.append(html)
        return MARK.format(len(self.pieces) - 1)

    def heading(self, text: str, level: int, **_: Any) -> str:
        return f"<h{min(level + 2, 6)}>{text}</h{min(level + 2, 6)}>\n"

    def link(self, text: str, url: str, title: str | None = None) -> str:
        if Path(url).suffix == ".ipynb" and Path(url).stem in self.notebooks:
            url = f"#notebook-{Path(url).stem}"
        return f'<a href="{escape(url)}">{text}</a>'

    def image(self, text: str, url: str, title: str | None = None) -> str:
        found = self.attached.get(url.removeprefix("attachment:"), {})
        for kind in ("image/png", "image/jpeg"):
            if kind in found:
                alt = text or "a picture in the prose, not described there"
                return self._keep(self.album.add(kind, base64.b64decode(found[kind]), alt))
        return f"<em>[picture: {text or escape(url)}]</em>"

    def block_math(self, body: str) -> str:
        return self._keep(to_mathml(body, block=True))

    def inline_math(self, body: str) -> str:
        return self._keep(to_mathml(body))

    def latex_environment(self, name: str, body: str) -> str:
        return self.block_math(rf"\begin{{{name}}}{body}\end{{{name}}}")


def _leads_somewhere(tag: str, name: str, value: str) -> bool:
    """Links for a reader to follow, and those to the notebooks of this page; never to files beside it."""
    return name == "href" and value.startswith(("https://", "http://", "mailto:", "#notebook-"))


def sanitise(html: str) -> str:
    """HTML of others without scripts, styles, pictures, anchors and links within; tables as on the rest of the page."""
    html = re.sub(r"(?is)<(script|style)\b.*?(</\1\s*>|\Z)", "", html)
    spans = ["colspan", "rowspan"]
    html = bleach.clean(html, TAGS.split(), {"a": _leads_somewhere, "th": spans, "td": spans}, strip=True)
    html = re.sub(r"(?s)<thead>.*?</thead>", lambda m: re.sub("<th(?=[ >])", '<th scope="col"', m[0]), html)
    html = re.sub(r"<th(?=[ >])(?! scope)", '<th scope="row"', html)
    return html.replace("<table>", '<div class="scroll" tabindex="0"><table>').replace("</table>", "</table></div>")


def render_markdown(text: str, album: Album, notebooks: Sequence[str] = (), pictures: dict | None = None) -> str:
    """Markdown with equations as safe HTML; its first level of headings becomes <h3>.

    Args:
        notebooks: those that the page holds, so that links to them work.
        pictures: a cell's attachments.
    """
    renderer = _Renderer(notebooks, pictures or {}, album)
    html = sanitise(MarkdownWithMath(renderer=renderer)(re.sub("[\ue000\ue001]", "", text)))
    return fill_in(html, renderer.pieces)
