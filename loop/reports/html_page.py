"""Self-contained HTML pages: texts escaped, plots inline, nothing loaded from anywhere."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from annotate.figures import text_html
from data.durable import whole
from data.visible import reveal

_STYLE = """
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;color:light-dark(#1d2330,#e4e6e8);
 background:light-dark(#fff,#14181c);margin:0}
main{max-width:1200px;margin:2rem auto;padding:0 1rem}
h2{margin-top:2.2rem}h3{margin:1.4rem 0 .3rem;font-size:1.05rem}
.scroll{overflow-x:auto;margin:1rem 0}
table{border-collapse:collapse;width:100%;font-size:14px}
th,td{border-bottom:1px solid light-dark(#d8dde6,#3a4148);padding:.5rem;text-align:left;
 vertical-align:top}
.pf-whole{white-space:nowrap}
.text{white-space:pre-wrap;overflow-wrap:anywhere}
table.texts{table-layout:fixed}.texts th:first-child:empty{width:9rem}
.small{font-size:.85rem;opacity:.85}
/* No wider than a sheet of paper: what is drawn keeps its width when it is printed. */
.plot{background:#fff;border-radius:.4rem;margin:.5rem 0;max-width:42rem;overflow:hidden}
@media (max-width:640px){
 th,td{padding:.4rem .3rem}
 table.texts,.texts tbody,.texts tr,.texts td{display:block}.texts th{display:none}
 .texts td{border:0;padding:.2rem 0}
 .texts tr{border-bottom:1px solid light-dark(#d8dde6,#3a4148);padding:.6rem 0}
 .texts td:not([data-head=""])::before{content:attr(data-head);display:block;font-weight:600}
}
/* Plots are drawn for a light page: turned over, hues kept. */
@media screen and (prefers-color-scheme:dark){.plot{filter:invert(.91) hue-rotate(180deg)}}
@media print{
 :root{color-scheme:light}main{margin:0;max-width:none;padding:0}.scroll{overflow:visible}
 tr,.plot{break-inside:avoid}h2,h3{break-after:avoid}
}
"""


def write(path: Path, title: str, body: Sequence[str]) -> None:
    """Write a page of parts that are HTML already; whole, or not at all."""
    with whole(path) as part:
        part.write_text(f'<!doctype html><html lang="en"><meta charset="utf-8">'
                        f'<meta name="viewport" content="width=device-width">'
                        f"<title>{html.escape(reveal(title))}</title><style>{_STYLE}</style>"
                        f"<main><h1>{text(title)}</h1>{''.join(body)}</main></html>", "utf-8")


def text(words: str) -> str:
    """Any text as HTML that shows it and does nothing else."""
    return text_html(words)


def paragraph(words: str, kind: str = "") -> str:
    """A paragraph of plain words."""
    return f'<p class="{kind}">{text(words)}</p>' if kind else f"<p>{text(words)}</p>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """A table of plain texts under a header, if there is one. `kind` is a class of its cells: of
    long texts, which on a narrow page stand one below the other, each under its own head."""
    mark = f' class="{kind}"' if kind else ""
    lines = [f"<tr>{''.join(f'<th>{text(word)}</th>' for word in head)}</tr>"] if any(head) else []
    for row in rows:
        cells = (f'<td{mark} data-head="{html.escape(title)}">{text(word)}</td>' if kind
                 else f"<td>{text(word)}</td>" for title, word in zip(head, row, strict=True))
        lines.append(f"<tr>{''.join(cells)}</tr>")
    kept = '<table class="texts">' if kind else "<table>"
    return f'<div class="scroll" tabindex="0">{kept}{"".join(lines)}</table></div>'


def plot(figure: Any, first: bool) -> str:
    """A Plotly figure; the first of a page brings Plotly along.

    `figure` is a `plotly.graph_objects.Figure` or the dictionary that makes one.
    """
    from plotly.graph_objects import Figure

    if isinstance(figure, Mapping):
        figure = Figure(figure)
    figure.update_layout(template="plotly_white")
    drawn: str = figure.to_html(full_html=False, include_plotlyjs=first,
                                config={"displayModeBar": False})
    return f'<div class="plot">{drawn}</div>'
