r"""LaTeX in a text as MathML, which browsers draw without any script.

Formulas stand between `$…$` or `\(…\)` in a line and between `$$…$$` or `\[…\]` by themselves.
What cannot be converted, or is too long to be worth it, is shown as it was written. The result is
as hostile as its source: `annotate.rendering` passes it through its allow-list like everything
else, so that nothing which links, loads, hides or overlaps is left of it.
"""

from __future__ import annotations

import html
import re
import xml.etree.ElementTree as ElementTree
from functools import lru_cache

from latex2mathml.converter import convert_to_element
from markdown_it import MarkdownIt
from markdown_it.rules_inline import StateInline
from mdit_py_plugins.dollarmath import dollarmath_plugin

#: A longer formula is no formula; the converter takes 20 ms for this many characters.
LONGEST_FORMULA = 2000
#: So deep may braces nest: the converter and browsers go as deep as their stacks do.
DEEPEST_FORMULA = 40

#: What is allowed of MathML: nothing that acts, loads, colours, or moves over its neighbours.
TAGS = frozenset({
    "math", "mrow", "mi", "mn", "mo", "ms", "mtext", "mspace", "mfrac", "msqrt", "mroot", "mstyle",
    "msub", "msup", "msubsup", "munder", "mover", "munderover", "mmultiscripts", "mprescripts",
    "none", "mtable", "mtr", "mtd", "menclose"})
ATTRIBUTES = {
    "math": {"display"}, "mi": {"mathvariant"}, "mn": {"mathvariant"}, "mtext": {"mathvariant"},
    "mo": {"stretchy", "fence", "form", "separator", "largeop", "movablelimits", "accent",
           "symmetric"},
    "mspace": {"width"}, "mfrac": {"linethickness"}, "munder": {"accentunder"},
    "mover": {"accent"}, "munderover": {"accent", "accentunder"}, "menclose": {"notation"},
    "mstyle": {"displaystyle", "scriptlevel"}, "mtable": {"columnalign", "rowlines", "columnlines"},
}
_VALUE = re.compile(r"[a-zA-Z0-9.\- ]{0,40}")
_BRACKETS = {"(": r"\)", "[": r"\]"}


def attribute(element: str, name: str, value: str) -> str | None:
    """An attribute's value if it is plain, and a blank no wider than a word; else None."""
    if name == "width":
        return value if re.fullmatch(r"\d(\.\d{1,4})?em", value) else None
    if name == "scriptlevel":
        return value if value in ("0", "1", "2") else None
    return value if _VALUE.fullmatch(value) else None


@lru_cache(maxsize=1024)
def formula(source: str, display: bool) -> str:
    """One formula as MathML, or its source as code where that cannot be."""
    source = source.strip()
    if source and len(source) <= LONGEST_FORMULA and _depth(source) <= DEEPEST_FORMULA:
        try:
            return _serialised(convert_to_element(source,
                                                  display="block" if display else "inline"))
        except Exception:  # the converter raises whatever it stumbles over
            pass
    return f"<code>{html.escape(source)}</code>"


def add_formulas(markdown: MarkdownIt) -> None:
    """Teach a Markdown parser the four ways in which formulas are written.

    A blank after the opening dollar, or a digit after the closing one, makes no formula: most
    dollars in prose are money.
    """
    markdown.use(dollarmath_plugin, allow_labels=False, allow_space=False, allow_digits=False,
                 allow_blank_lines=False, double_inline=True)
    markdown.inline.ruler.before("escape", "math_brackets", _brackets)


def _brackets(state: StateInline, silent: bool) -> bool:
    opening = state.src[state.pos:state.pos + 2]
    if len(opening) != 2 or opening[0] != "\\" or opening[1] not in _BRACKETS:
        return False
    end = state.src.find(_BRACKETS[opening[1]], state.pos + 2,
                         min(state.posMax, state.pos + 2 + LONGEST_FORMULA))
    content = state.src[state.pos + 2:end]
    if end < 0 or not content.strip():
        return False
    if not silent:
        token = state.push("math_inline_double" if opening[1] == "[" else "math_inline", "math", 0)
        token.content = content
    state.pos = end + 2
    return True


def _serialised(element: ElementTree.Element) -> str:
    """Markup in which text stays text: the converter's own writes `\text{<b>}` out as a tag."""
    for each in element.iter():
        each.text = each.text and html.unescape(each.text)
    return ElementTree.tostring(element, encoding="unicode")


def _depth(source: str) -> int:
    depth = deepest = 0
    for character in source:
        depth += (character == "{") - (character == "}")
        deepest = max(deepest, depth)
    return max(deepest, source.count(r"\left"), source.count(r"\begin"))
