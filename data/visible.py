"""Characters that are not seen but do something, as signs that are seen.

Text from a model or a file can turn the reading direction of what follows it, hide words in
characters without a shape, or steer a terminal. Whoever judges it should see that it does, and
what stands beside it should stay as it was. Only for showing: what is stored, exported and
trained on is the text itself.
"""

from __future__ import annotations

import re

# Left as they are: line ends and tabs, and the marks and joiners that some scripts and emoji need
# (U+200C to U+200F, U+061C, the common variation selectors).
_HIDDEN = re.compile(
    "\r(?!\n)|"  # a return alone, which lets a terminal write over the line
    "[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f"  # control characters, ANSI escapes
    "\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180e\u3164\uffa0"  # blank fillers
    "\u200b\u2028-\u202e\u2060-\u206f\ufeff\ufff0-\ufffb"  # zero width, separators, directions
    "\ud800-\udfff"  # halves of surrogate pairs, which no file can hold
    "\U000e0000-\U000e0fff\U0001d173-\U0001d17a]")  # tags and other ways to smuggle text


def reveal(text: str) -> str:
    """The text with each hidden character as a sign, its number: `⟨001B⟩` for escape."""
    return _HIDDEN.sub(_sign, text)


def reveal_line(text: str) -> str:
    """The same on one line, whatever line ends it holds."""
    return reveal(text.replace("\r\n", "\n")).replace("\n", "\\n").replace("\t", "\\t")


def _sign(match: re.Match[str]) -> str:
    # No control pictures (U+2400 and on): many fonts have none, and draw an empty box.
    return f"⟨{ord(match.group()):04X}⟩"
