"""Labelers without browsers: each a real session over the app's websocket, as light as it gets.

What a labeler sees of a question here is the mark that `labeling_world` ends its prompt with, so
that the same clients do for any look of the page; afterwards the marks tell which task it was.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from streamlit_client import Tab, Visitor
from streamlit_page import ends_a_run

from benchmarks.labeling_check import Side
from benchmarks.labeling_world import MARK

PATIENCE_SECONDS = 30.0
SIDES: tuple[Side, ...] = (0, 1, None)
_LABELS: dict[Side, str] = {0: "A better", 1: "B better", None: "Tie"}


@dataclass(frozen=True)
class Answered:
    """What became of one press: what the page said, and after how many seconds."""

    mark: str
    saved: bool
    said: str
    next_after: float
    said_after: float


class Labeler:
    """One tab of one person.

    Attributes:
        person: their id in the store.
        mark: of the question on the page; None where there is none.
    """

    def __init__(self, person: int, visitor: Visitor, tab: Tab) -> None:
        self.person = person
        self._visitor, self._tab = visitor, tab
        self.mark = self._mark()

    @classmethod
    async def sign_in(cls, url: str, code: str, person: int) -> Labeler:
        """Trade a one-time code for a session and open the first page.

        Raises:
            RuntimeError: the code is refused.
        """
        visitor = Visitor(url)
        reply = await asyncio.to_thread(visitor.sign_in, code)
        if reply.status != 303:
            raise RuntimeError(f"signing in gave {reply.status}")
        return cls(person, visitor, await visitor.tab())

    async def second_tab(self) -> Labeler:
        """The same person in another tab; also what is left after a lost connection."""
        return type(self)(self.person, self._visitor, await self._visitor.tab())

    async def close(self) -> None:
        """Close the tab."""
        await self._tab.close()

    async def answer(self, side: Side, times: int = 1) -> Answered:
        """Press the button of a side (so many times at once), and read what comes of it.

        Raises:
            TimeoutError: nothing came in time.
            ConnectionClosed: the server is gone (of `websockets`).
        """
        asked, next_after, said_after = self.mark, None, None
        assert asked is not None
        button = self._tab.labelled(_LABELS[side])
        began = time.perf_counter()
        for _ in range(times):
            await self._tab.press(button, wait=False)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not ends_a_run(await self._tab.next()):
                if next_after is None and self._mark() not in (asked, None):
                    next_after = time.perf_counter() - began
                if said_after is None and "Saved" in self._tab.text():
                    said_after = time.perf_counter() - began
        self.mark = self._mark()
        return Answered(asked, said_after is not None, self._tab.text()[-80:],
                        next_after or 0.0, said_after or 0.0)

    def _mark(self) -> str | None:
        found = MARK.search(self._tab.text())
        return found and found[1]
