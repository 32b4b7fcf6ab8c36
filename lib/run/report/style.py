"""How a page looks: light or dark as the reader's screen is, on a phone, and on paper."""

STYLE = """
:root { --text: #1c2126; --soft: #4d5761; --back: #ffffff; --panel: #f3f5f7; --line: #c9d0d7; --link: #0b5cad;
  --good: #17692f; --bad: #b3191f; --keyword: #7a1fa2; --string: #1b6b36; --number: #9a4300; --comment: #5b6670; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e4e8ec; --soft: #aeb8c2; --back: #15191d; --panel: #1f252b; --line: #434d57; --link: #7cbcff;
    --good: #7bd694; --bad: #ff8a85; --keyword: #d7a5f0; --string: #9ad8a8; --number: #f0b27a; --comment: #9aa5b0; }
}
* { box-sizing: border-box; }
html { color-scheme: light dark; scroll-behavior: auto; }
body { margin: 0 auto; max-width: 66rem; padding: 1rem 1.25rem 4rem; color: var(--text); background: var(--back);
  font: 1rem/1.55 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; overflow-wrap: break-word; }
h1, h2, h3, h4, h5, h6 { line-height: 1.25; margin: 1.6em 0 .5em; }
h1 { font-size: 1.9rem; margin-top: .6em; }
h2 { font-size: 1.5rem; border-bottom: 2px solid var(--line); padding-bottom: .25rem; margin-top: 2.2em; }
h3 { font-size: 1.2rem; }
h4 { font-size: 1.05rem; }
p, ul, ol, dl { max-width: 48rem; }
a { color: var(--link); }
nav ul { list-style: none; padding: 0; margin: .5rem 0; display: flex; flex-wrap: wrap; gap: .25rem 1.25rem;
  max-width: none; }
nav ul ul { margin: 0; padding-left: .9rem; display: inline-flex; gap: .25rem .9rem; font-size: .9rem; }
figure { margin: 1.2rem 0; }
img { max-width: 100%; height: auto; background: #fff; border-radius: 4px; }
figcaption, .note, small { color: var(--soft); font-size: .875rem; }
code, pre { font-family: ui-monospace, "Cascadia Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: .86em; }
pre { padding: .6rem .8rem; margin: .6rem 0; white-space: pre-wrap; overflow-wrap: anywhere; line-height: 1.45;
  border-radius: 4px; }
pre.code, .notebook pre:not(.output) { background: var(--panel); border: 1px solid var(--line); }
pre code { font-size: 1em; }
pre.output { border-left: 3px solid var(--line); border-radius: 0; }
pre.stderr, pre.error { border-left-color: var(--bad); }
.note { margin: 1rem 0 -.3rem; }
pre.code span[class^="k"], pre.code .ow { color: var(--keyword); }
pre.code span[class^="s"] { color: var(--string); }
pre.code span[class^="m"] { color: var(--number); }
pre.code span[class^="c"] { color: var(--comment); font-style: italic; }
.good { color: var(--good); }
.bad { color: var(--bad); font-weight: 700; }
.scroll { overflow-x: auto; margin: .8rem 0 1.4rem; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
th, td { text-align: left; vertical-align: top; padding: .3rem 1.1rem .3rem 0; border-bottom: 1px solid var(--line);
  overflow-wrap: normal; }
thead th { border-bottom: 2px solid var(--line); }
tbody th { font-weight: 600; }
tbody th small { display: block; min-width: 11rem; font-weight: 400; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; font-size: .9rem; margin: .4rem 0 1rem; }
dt { color: var(--soft); }
dd { margin: 0; }
details { margin: .6rem 0; }
summary { cursor: pointer; padding: .35rem 0; }
details.notebook { border: 1px solid var(--line); border-radius: 6px; padding: .3rem 1rem; }
details.notebook[open] > summary { border-bottom: 1px solid var(--line); margin-bottom: 1rem; }
math { font-family: "STIX Two Math", "Cambria Math", "Latin Modern Math", "DejaVu Math TeX Gyre", math;
  font-size: 1.08em; }
math[display="block"] { margin: .9rem 0; overflow-x: auto; overflow-y: hidden; }
@media (max-width: 40rem) {
  body { padding: .5rem .8rem 3rem; }
  th, td { padding-right: .7rem; }
  details.notebook { padding: .2rem .6rem; }
}
@media print {
  :root { --text: #000; --soft: #333; --back: #fff; --panel: #f5f5f5; --line: #999; --good: #000; --bad: #000; }
  body { max-width: none; }
  nav { display: none; }
  details::details-content { content-visibility: visible; block-size: auto; }
  figure, tr { break-inside: avoid; }
  h2, h3, h4 { break-after: avoid; }
  .scroll { overflow: visible; }
}
"""
