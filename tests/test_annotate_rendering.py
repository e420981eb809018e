"""Hostile text: nothing that runs, loads or leads elsewhere is left of it."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from annotate.figures import as_label, facts_html, table_html
from annotate.rendering import LONGEST_MARKDOWN, conversation_html, response_html, to_html
from data.records import Message

PAYLOADS = {
    "script": "<script>alert(1)</script>",
    "image handler": '<img src=x onerror="alert(1)">',
    "svg": "<svg/onload=alert(1)>",
    "iframe": '<iframe src="https://evil.example/"></iframe>',
    "style": "<style>@import url(https://evil.example/x.css)</style>",
    "style attribute": '<p style="background:url(https://evil.example/x)">x</p>',
    "link element": '<link rel=stylesheet href=https://evil.example/x.css>',
    "meta refresh": '<meta http-equiv="refresh" content="0;url=https://evil.example/">',
    "form": '<form action=https://evil.example><button>Sign in</button></form>',
    "closing our own": '</div></div><script>alert(1)</script><div class="',
    "javascript link": "[click](javascript:alert(1))",
    "javascript in caps": "[click](JaVaScRiPt:alert(1))",
    "javascript by entity": "[click](&#106;avascript:alert(1))",
    "data link": "[click](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
    "vbscript": "[click](vbscript:msgbox(1))",
    "remote image": "![tracker](https://evil.example/pixel.png)",
    "image by reference": "![t][1]\n\n[1]: https://evil.example/pixel.png \"onerror=alert(1)\"",
    "image title": '![x](https://evil.example/x.png "a" onerror="alert(1)")',
    "link title": '[x](https://evil.example/ "\\"><script>alert(1)</script>")',
    "autolink": "<https://evil.example/?q=<script>>",
    "html in code": "```html\n<script>alert(1)</script>\n```",
    "language of a fence": "```\"><script>alert(1)</script>\nx\n```",
    "table": "| <img src=x onerror=alert(1)> |\n|---|\n| <script>alert(1)</script> |",
    "mxss": "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    "template": "<template><script>alert(1)</script></template>",
    "comment": "<!--><img src=x onerror=alert(1)>-->",
    "null byte": "<scr\x00ipt>alert(1)</scr\x00ipt>",
    "streamlit directive": ":material/home: :red[x] $\\href{javascript:alert(1)}{x}$",
    "direction override": "\u202etxt.exe\u202c",
}

SAFE_TAGS = {"p", "br", "hr", "strong", "em", "s", "code", "pre", "blockquote", "ul", "ol", "li",
             "h1", "h2", "h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td",
             "span", "div", "details", "summary"}
SAFE_ATTRIBUTES = {"class", "dir", "tabindex", "start"}


class Inventory(HTMLParser):
    """Every element and attribute as a browser's parser would find them."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.depth = 0
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.depth += tag == "div"

    def handle_endtag(self, tag: str) -> None:
        self.depth -= tag == "div"
        assert self.depth >= 0, "the text closed an element that is not its own"

    def handle_data(self, data: str) -> None:
        self.text += data


def inventory(html: str) -> Inventory:
    found = Inventory()
    found.feed(html)
    found.close()
    return found


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS.keys())
def test_nothing_executable_or_remote_remains(payload: str) -> None:
    message = Message(role="user", content=payload)
    for html in (to_html(payload), response_html(payload), to_html(f"> - {payload}"),
                 conversation_html([Message(role="<b>", content=payload * 50), message])):
        found = inventory(html)
        assert found.tags <= SAFE_TAGS
        assert found.attributes <= SAFE_ATTRIBUTES
        assert found.depth == 0


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS.keys())
def test_names_and_figures_are_escaped(payload: str) -> None:
    html = table_html((payload,), [(payload,)]) + facts_html([(payload, payload, payload)])
    found = inventory(html)
    assert found.tags <= SAFE_TAGS and found.attributes <= SAFE_ATTRIBUTES
    assert not re.search(r"(?<!\\)[\[\]<`$:]", as_label(payload))


def test_what_was_written_is_still_readable() -> None:
    assert "<script>alert(1)</script>" in inventory(to_html("<script>alert(1)</script>")).text
    assert inventory(to_html("![a cat](https://x.example/cat.png)")).text.split() == [
        "[image:", "a", "cat]", "(https://x.example/cat.png)"]
    assert inventory(to_html("see [the **site**](https://x.example)")).text.strip() == \
        "see the site (https://x.example)"
    assert inventory(to_html("<https://x.example>")).text.strip() == "https://x.example"


def test_markdown_that_models_write_is_rendered() -> None:
    text = ("# Plan\n\n1. **Buy** it\n2. *Read* it\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n"
            "```\nx < y\n```")
    html = to_html(text)
    for part in ("<h1>Plan</h1>", "<strong>Buy</strong>", "<td>2</td>", "x &lt; y"):
        assert part in html
    assert "<br>" in to_html("a poem\nof two lines")


def test_odd_sizes_are_no_trouble() -> None:
    assert "(empty response)" in to_html(" \n ")
    huge = "*a* " * LONGEST_MARKDOWN
    assert to_html(huge).startswith("<pre>")
    for nested in ("[" * 5000, ">" * 5000, "*" * 5000, "![" * 3000, "- " * 3000):
        to_html(nested)


def test_a_long_history_is_folded_and_a_short_one_is_open() -> None:
    ask, reply = Message(role="user", content="hi"), Message(role="assistant", content="hello")
    assert "<details>" not in conversation_html([ask, reply, ask])
    long = Message(role="assistant", content="word " * 300)
    assert "<summary>2 earlier messages</summary>" in conversation_html([ask, long, ask])
