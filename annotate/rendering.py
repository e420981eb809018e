"""Hostile text as harmless HTML.

Three walls, each enough by itself against scripts: markdown-it with raw HTML off, nh3's allow-list
(which has no attribute that can load or run anything), and the browser's side (Streamlit passes
`st.html` through DOMPurify, and the server sends a content security policy). Images and links are
shown as what they are, text and address: a response must not make a labeler's browser fetch
anything, and one click should not take them to a page that a model chose.
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

from data.records import Message

#: Longer text is shown as it is: Markdown of that size is a file, and takes seconds to parse.
LONGEST_MARKDOWN = 60_000
#: A conversation with more text than this above the last message starts folded.
LONGEST_OPEN_CONTEXT = 600

_TAGS = {"p", "br", "hr", "strong", "em", "s", "code", "pre", "blockquote", "ul", "ol", "li",
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


def _opening(tokens: Sequence[Token], closing: int) -> int:
    """Where the link that ends at `closing` begins; links do not nest."""
    return max(i for i in range(closing) if tokens[i].type == "link_open")


def _address(address: str) -> str:
    return f' <span class="pf-address">({html.escape(address)})</span>'


def _markdown() -> MarkdownIt:
    markdown = MarkdownIt("commonmark", {"html": False, "breaks": True}, renderer_cls=_Inert)
    return markdown.enable(["table", "strikethrough"])


_MARKDOWN = _markdown()


@lru_cache(maxsize=1024)
def to_html(text: str) -> str:
    """Markdown as HTML that runs nothing, loads nothing and leads nowhere."""
    if not text.strip():
        return '<p class="pf-empty">(empty response)</p>'
    if len(text) > LONGEST_MARKDOWN:
        return f"<pre>{html.escape(text)}</pre>"
    try:
        rendered = _MARKDOWN.render(text)
    except RecursionError:
        return f"<pre>{html.escape(text)}</pre>"
    return str(nh3.clean(rendered, tags=_TAGS, attributes={"ol": {"start"}},
                         allowed_classes={"span": {"pf-address"}}, url_schemes=set()))


def response_html(text: str) -> str:
    """One response in a pane of its own, which scrolls when it is long.

    The pane is part of the HTML so that the next response starts at its top.
    """
    return f'<div class="pf-pane pf-text" dir="auto" tabindex="0">{to_html(text)}</div>'


def conversation_html(messages: Sequence[Message]) -> str:
    """The prompt: the last message in full, what came before it above, folded when long."""
    *before, last = messages
    parts = [_turn(message) for message in before]
    if sum(len(message["content"]) for message in before) > LONGEST_OPEN_CONTEXT:
        turns = f"{len(before)} earlier message{'s' if len(before) > 1 else ''}"
        parts = [f"<details><summary>{turns}</summary>{''.join(parts)}</details>"]
    return (f'<div class="pf-conversation">{"".join(parts)}{_turn(last)}</div>')


def _turn(message: Message) -> str:
    role = _ROLES.get(message["role"], "Other")
    return (f'<div class="pf-turn pf-{role.lower()}"><div class="pf-role">{role}</div>'
            f'<div class="pf-text" dir="auto">{to_html(message["content"])}</div></div>')
