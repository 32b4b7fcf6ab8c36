"""The page of a run, put together: pictures, scores, notebooks, provenance, claims, in this order."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

import nbformat

from ... import artifacts, params
from .. import reference
from .album import Album
from .captions import FIGURES, caption
from .markdown import render_markdown
from .notebook import NotebookPage
from .stages import CHAIN, NUMBERED, Found, find_dataset, read_stages
from .style import STYLE
from .tables import show_provenance, show_scores

LARGEST = 10_000_000  # bytes of a page
MOST_PICTURES = 12  # of one stage
PICTURES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".svg": "image/svg+xml"}
VIDEOS = (".mp4", ".webm", ".avi", ".mov", ".gif")
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"  # a browser keeps to it: no network, no script


def show_pictures(stages: Sequence[Found], album: Album, dataset: str) -> str:
    """Every stage's pictures, those that say most first; videos by their names."""
    chosen, videos = [], []
    for found in stages:
        files = {k: v for k, v in found.manifest["files"].items() if (found.folder / k).is_file()}
        pictures = [k for k, v in files.items() if "/" not in k and Path(k).suffix in PICTURES]
        pictures = [k for k in pictures if files[k].get("dtype") != "uint16"]  # maps of ids are no pictures
        chosen += [(found, file) for file in pictures[:MOST_PICTURES]]
        videos += [(f"{found.name}/{k}", v["bytes"]) for k, v in files.items() if k.endswith(VIDEOS)]
    rank = {name: i for i, name in enumerate(FIGURES)}
    chosen.sort(key=lambda item: (rank.get(f"{item[0].name}/{item[1]}", len(rank)), item[0].name, item[1]))
    parts = []
    for found, file in chosen:
        words, alt = caption(found.name, file, found.metrics, dataset in ("street", ""))
        picture = album.add(PICTURES[Path(file).suffix], (found.folder / file).read_bytes(), alt)
        words = f"{escape(words)} <code>{found.name}/{escape(file)}</code>"
        parts.append(f"<figure>{picture}<figcaption>{words}</figcaption></figure>")
    if videos:
        rows = "".join(f"<li><code>{escape(name)}</code>, {size / 1e6:.1f} MB</li>" for name, size in videos)
        parts.append(f"<p>Videos, in the folder of this page:</p><ul>{rows}</ul>")
    return "\n".join(parts) or "<p>No stage of this run left a picture.</p>"


def show_notebooks(run: str, album: Album) -> tuple[str, list[str]]:
    """The executed notebooks of a run, folded; and their names."""
    paths = sorted(p for p in artifacts.run_folder(run).glob("*.ipynb") if NUMBERED.fullmatch(p.stem))
    names, parts = [path.stem for path in paths], []
    for path in paths:
        notebook = NotebookPage(path.stem, album, names)
        try:
            notebook.render(path)
        except (ValueError, KeyError, nbformat.ValidationError):
            notebook.error, notebook.html = "the file cannot be read", "<p>This file is damaged: execute it anew.</p>"
        about = f"{path.name}: {notebook.cells} cells, {notebook.pictures} pictures"
        stopped = f' <span class="bad">stopped: {escape(notebook.error)}</span>' if notebook.error else ""
        head = f"<strong>{escape(notebook.title or path.stem)}</strong> <small>{about}</small>{stopped}"
        start = f'<details id="notebook-{path.stem}" class="notebook"><summary>{head}</summary>'
        parts.append(f"{start}\n{notebook.html}\n</details>")
    return "\n".join(parts) or "<p>No executed notebook lies in this run.</p>", names


def show_claims(album: Album) -> str:
    """outputs/reference/claims.md, if it is there."""
    path = reference.REFERENCE / "claims.md"
    if not path.is_file():
        return "<p>No ledger of claims is there yet (<code>outputs/reference/claims.md</code>).</p>"
    return render_markdown(path.read_text(encoding="utf-8"), album)


def _lead(run: str, stages: Sequence[Found], dataset: str) -> str:
    """What this page is of, in a sentence; what is not in it, in another."""
    expected = [e["met"] for found in stages for e in found.expectations.values()]
    unmet = expected.count(False)
    count = "1 finished stage" if len(stages) == 1 else f"{len(stages)} finished stages"
    where = f" on {'generated streets' if dataset == 'street' else escape(dataset)}" if dataset else ""
    verdict = (
        f"; expectations NOT met: {unmet} of {len(expected)}" if unmet else f"; all {len(expected)} expectations met"
    )
    parts = [f"<p>{count} of run <code>{escape(run)}</code>{where}{verdict if expected else ''}.</p>"]
    made, lower = {found.name for found in stages}, {}
    for found in stages:
        lower |= {name: Path(source["run"]).name for name, source in found.manifest["inputs"].items()}
    missing = [
        f"{name} (taken from run {lower[name]})" if name in lower else name
        for name in params.SCHEMAS
        if name not in made and name[:2] <= CHAIN
    ]
    if missing:
        parts.append(f"<p>Not finished in this run: {escape(', '.join(missing))}.</p>")
    if dataset not in ("street", ""):
        parts.append(f"<p>This page shows photographs of {escape(dataset)}: its licence says who may see them.</p>")
    return "\n".join(parts)


def build_page(run: str) -> str:
    """The whole page of a run as HTML.

    Raises:
        ArtifactError: the run has nothing finished.
        ValueError: a file of the run is damaged, or the page would be too large.
    """
    stages, album, name = read_stages(run), Album(), Path(run).name
    dataset = find_dataset(stages)
    notebooks, names = show_notebooks(run, album)
    content = {
        "Pictures": show_pictures(stages, album, dataset),
        "Scores": show_scores(run, stages),
        "Notebooks": notebooks,
        "Provenance": show_provenance(stages),
        "Claims": show_claims(album),
    }
    entries = [f'<li><a href="#{title.lower()}">{title}</a></li>' for title in content]
    inner = "".join(f'<li><a href="#notebook-{n}">{n}</a></li>' for n in names)
    entries[2] = entries[2].replace("</li>", f"<ul>{inner}</ul></li>") if names else entries[2]
    sections = [
        f'<section id="{title.lower()}">\n<h2>{title}</h2>\n{html}\n</section>\n' for title, html in content.items()
    ]
    page = (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>Run {escape(name)}: depth regions</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<header>\n"
        f"<h1>Run {escape(name)}</h1>\n{_lead(name, stages, dataset)}\n"
        f'<nav aria-label="Contents"><ul>{"".join(entries)}</ul></nav>\n</header>\n<main>\n{"".join(sections)}</main>\n'
        "</body>\n</html>\n"
    )
    return album.place(page, LARGEST)
