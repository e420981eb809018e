"""The documentation's pages, their fenced blocks and their inline code, for the tests of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
ENGINEERS = ROOT / "docs" / "engineers.md"
SHELL = ("bash", "sh", "console")
FENCE = re.compile(r"(?:^<!-- (?P<mark>[^\n]*?) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$",
                    re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block; `mark` is the comment in front of it that says what it is."""

    page: str
    language: str
    mark: str
    text: str


def blocks(page: Path) -> list[Block]:
    return [Block(page.name, m["language"], m["mark"] or "", m["text"])
            for m in FENCE.finditer(page.read_text("utf-8"))]


ALL = [block for page in PAGES for block in blocks(page)]


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return FENCE.sub("", page.read_text("utf-8"))


def spans(page: Path) -> list[str]:
    """Inline code, which may be broken over two lines."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose(page))]
