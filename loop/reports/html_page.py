"""Self-contained HTML pages: texts escaped, plots inline, nothing loaded from anywhere."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from data.durable import whole
from data.visible import reveal

_STYLE = """
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;color:light-dark(#1d2330,#e4e6e8);
 background:light-dark(#fff,#14181c);margin:0}
main{max-width:1200px;margin:2rem auto;padding:0 1rem;overflow-x:auto}
h2{margin-top:2.2rem}h3{margin:1.4rem 0 .3rem;font-size:1.05rem}
table{border-collapse:collapse;width:100%;font-size:14px;margin:1rem 0}
th,td{border-bottom:1px solid light-dark(#d8dde6,#3a4148);padding:.5rem;text-align:left;
 vertical-align:top;overflow-wrap:anywhere}
th{overflow-wrap:normal}
.text{white-space:pre-wrap;min-width:9rem}
.plot{background:#fff;border-radius:.4rem;margin:.5rem 0;overflow-x:auto}
.small{font-size:.85rem;opacity:.85}
"""


def write(path: Path, title: str, body: Sequence[str]) -> None:
    """Write a page of parts that are HTML already; whole, or not at all."""
    with whole(path) as part:
        part.write_text(f'<!doctype html><html lang="en"><meta charset="utf-8">'
                        f'<meta name="viewport" content="width=device-width">'
                        f"<title>{text(title)}</title><style>{_STYLE}</style>"
                        f"<main><h1>{text(title)}</h1>{''.join(body)}</main></html>", "utf-8")


def text(words: str) -> str:
    """Any text as HTML that shows it and does nothing else."""
    return html.escape(reveal(words))


def paragraph(words: str, kind: str = "") -> str:
    """A paragraph of plain words."""
    return f'<p class="{kind}">{text(words)}</p>' if kind else f"<p>{text(words)}</p>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """A table of plain texts under a header, if there is one; `kind` is a class of its cells."""
    mark = f' class="{kind}"' if kind else ""
    lines = [f"<tr>{''.join(f'<th>{text(word)}</th>' for word in head)}</tr>"] if any(head) else []
    lines += [f"<tr>{''.join(f'<td{mark}>{text(word)}</td>' for word in row)}</tr>"
              for row in rows]
    return f"<table>{''.join(lines)}</table>"


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
