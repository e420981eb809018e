"""Hostile text as harmless HTML.

Three walls, each enough by itself against scripts: markdown-it with raw HTML off, nh3's allow-list
(which has no attribute that can load or run anything), and the browser's side (Streamlit passes
`st.html` through DOMPurify, the labeling page goes through `static/inert.js`, and the server sends
a content security policy). Images and links are shown as what they are, text and address: a
response must not make a labeler's browser fetch anything, and one click should not take them to a
page that a model chose.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import nh3
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import OptionsDict

from annotate.formulas import ATTRIBUTES, TAGS, add_formulas, attribute, formula
from data.records import Message
from data.visible import reveal

#: Longer text is shown as it is: Markdown of that size is a file, and takes seconds to parse.
LONGEST_MARKDOWN = 60_000
#: So is text of more marks than this. Parsing costs 15 to 60 µs a mark, whatever it turns out to
#: mean: 60,000 of them would take seconds, these some tenths of one. Prose, code and lists of the
#: greatest length have a few thousand.
MOST_MARKS = 10_000
_MARKS = "\n[]*_`<&\\$~!|"
#: And so is text whose tables have more cells than this: short rows are filled up with empty
#: ones, so that the cells can be many more than the marks.
MOST_CELLS = 10_000
#: So many characters above the last message are shown; what is older starts folded.
LONGEST_OPEN_CONTEXT = 600
#: Said below a response that did not end by itself: it is not its writer who broke off.
CUT_OFF = "Cut off here: the length limit was reached"

_TAGS = TAGS | {"p", "br", "hr", "strong", "em", "s", "code", "pre", "blockquote", "ul", "ol", "li",
         "h1", "h2", "h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td", "span"}
_ROLES = {"system": "System", "user": "User", "assistant": "Assistant"}


class _Inert(RendererHTML):
    """Links and images as text with their address behind it."""

    def link_open(self, tokens: Sequence[Token], index: int, options: OptionsDict,
                  env: Any) -> str:
        """The link's text is shown as any other."""
        return ""

    def link_close(self, tokens: Sequence[Token], index: int, options: OptionsDict,
                   env: Any) -> str:
        """After the text comes the address, unless the text is the address."""
        opening = _opening(tokens, index)
        address = str(tokens[opening].attrGet("href") or "")
        text = "".join(token.content for token in tokens[opening + 1:index])
        return "" if address in (text, f"mailto:{text}") else _address(address)

    def image(self, tokens: Sequence[Token], index: int, options: OptionsDict,
              env: Any) -> str:
        """An image is never fetched, only named."""
        token = tokens[index]
        alt = html.escape(token.content or "no description")
        return f"[image: {alt}]{_address(str(token.attrGet('src') or ''))}"

    def math_inline(self, tokens: Sequence[Token], index: int, options: OptionsDict,
                    env: Any) -> str:
        """A formula in a line."""
        return formula(tokens[index].content, False)

    def math_inline_double(self, tokens: Sequence[Token], index: int, options: OptionsDict,
                           env: Any) -> str:
        """A displayed formula inside a paragraph."""
        return formula(tokens[index].content, True)

    def math_block(self, tokens: Sequence[Token], index: int, options: OptionsDict,
                   env: Any) -> str:
        """A displayed formula by itself."""
        return f"<p>{formula(tokens[index].content, True)}</p>\n"


def _opening(tokens: Sequence[Token], closing: int) -> int:
    """Where the link that ends at `closing` begins; links do not nest."""
    return next(i for i in reversed(range(closing)) if tokens[i].type == "link_open")


def _address(address: str) -> str:
    return f' <span class="pf-address">({html.escape(address)})</span>'


def _markdown() -> MarkdownIt:
    markdown = MarkdownIt("commonmark", {"html": False, "breaks": True}, renderer_cls=_Inert)
    add_formulas(markdown)
    for name in ("math_inline", "math_inline_double", "math_block"):
        # The plug-in brings renderers of its own, which leave the formula to a script.
        markdown.renderer.rules[name] = getattr(markdown.renderer, name)  # type: ignore[attr-defined]
    return markdown.enable(["table", "strikethrough"])


_MARKDOWN = _markdown()


@lru_cache(maxsize=1024)
def to_html(text: str) -> str:
    """Markdown as HTML that runs nothing, loads nothing and leads nowhere.

    Characters that are not seen but do something (turn what follows, hide words) become signs.
    """
    if not text.strip():
        return '<p class="pf-empty">(empty response)</p>'
    text = reveal(text)
    if _is_costly(text):
        return f"<pre>{html.escape(text)}</pre>"
    try:
        rendered = _MARKDOWN.render(text)
    except RecursionError:
        return f"<pre>{html.escape(text)}</pre>"
    return str(nh3.clean(rendered, tags=_TAGS, attributes={"ol": {"start"}, **ATTRIBUTES},
                         attribute_filter=attribute, allowed_classes={"span": {"pf-address"}},
                         url_schemes=set()))


def _is_costly(text: str) -> bool:
    return (len(text) > LONGEST_MARKDOWN or sum(map(text.count, _MARKS)) > MOST_MARKS
            or _most_cells(text) > MOST_CELLS)


def _most_cells(text: str) -> int:
    """The cells of a text's tables or more: each line below a delimiter row has as many as that."""
    cells = columns = 0
    for line in text.split("\n"):
        if not line.strip():
            columns = 0
        elif "-" in line and not line.strip("|-: \t>"):
            columns = max(columns, line.count("|") + 1)
        cells += columns
    return cells


def response_html(text: str) -> str:
    """One response in a pane of its own, which scrolls when it is long.

    The pane is part of the HTML so that the next response starts at its top.
    """
    return f'<div class="pf-pane pf-text" dir="auto" tabindex="0">{to_html(text)}</div>'


def conversation_html(messages: Sequence[Message]) -> str:
    """The prompt: its last message in full, the turns just before it, and older ones folded."""
    *before, last = messages
    kept, room = len(before), LONGEST_OPEN_CONTEXT
    while kept and (room := room - len(before[kept - 1]["content"])) >= 0:
        kept -= 1
    parts = [_turn(message) for message in before]
    if kept:
        turns = f"{kept} earlier message{'s' if kept > 1 else ''}"
        folded = "".join(parts[:kept])
        parts[:kept] = [f"<details><summary>{turns}</summary>{folded}</details>"]
    return f'<div class="pf-conversation" tabindex="0">{"".join(parts)}{_turn(last)}</div>'


def _turn(message: Message) -> str:
    role = _ROLES.get(message["role"], "Other")
    return (f'<div class="pf-turn pf-{role.lower()}"><div class="pf-role">{role}</div>'
            f'<div class="pf-text" dir="auto">{to_html(message["content"])}</div></div>')
