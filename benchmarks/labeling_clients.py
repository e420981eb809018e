"""Labelers without browsers: each a real session over the app's websocket, as light as it gets.

They do what `annotate/labelers/static/desk.js` does: an act stays in the outbox until the server
has acknowledged it by its key, and is sent again after a lost connection.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from streamlit_client import Tab, Visitor
from streamlit_page import Placed, ends_a_run

from benchmarks.labeling_check import Side
from benchmarks.labeling_world import MARK

PATIENCE_SECONDS = 30.0
SIDES: tuple[Side, ...] = (0, 1, None)
_COMPONENT, _EVENT = "desk", "send"


@dataclass(frozen=True)
class Answered:
    """What became of one answer: whether and how the page said that it is saved, and how many
    seconds after it was sent. The same message brings the question after the next."""

    mark: str
    side: Side
    saved: bool
    words: str
    after: float


@dataclass
class Act:
    """An answer in the outbox."""

    mark: str
    side: Side
    entry: dict[str, Any]
    sent_at: float


class Labeler:
    """One tab of one person.

    Attributes:
        person: their id in the store.
        outbox: what the server has not acknowledged yet, by key.
    """

    def __init__(self, person: int, visitor: Visitor, tab: Tab,
                 outbox: dict[str, Act] | None = None) -> None:
        self.person = person
        self.outbox = {} if outbox is None else outbox
        self._visitor, self._tab = visitor, tab
        self._read: tuple[Placed | None, dict[str, Any]] = (None, {})

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
        """The same person in another tab, with an outbox of its own."""
        return type(self)(self.person, self._visitor, await self._visitor.tab())

    async def back(self) -> Labeler:
        """This tab once its connection is lost: a new one, with what was not acknowledged."""
        return type(self)(self.person, self._visitor, await self._visitor.tab(), self.outbox)

    async def close(self) -> None:
        """Close the tab."""
        await self._tab.close()

    @property
    def refused(self) -> str:
        """Why nothing can be done on this page just now, as it says; empty where all is well."""
        return self._data()["refused"] or ""

    @property
    def waiting(self) -> bool:
        """Whether there is no question on the page."""
        return self._data()["question"] is None

    async def look_again(self) -> None:
        """Ask whether there is a question by now, as the page does by itself."""
        await self._tab.rerun(fragment=self._tab.component(_COMPONENT).fragment)

    async def answer(self, side: Side, times: int = 1) -> Answered:
        """Answer the question at hand, sent so many times, and read what comes of it.

        Raises:
            TimeoutError: nothing came in time.
            ConnectionClosed: the server is gone (of `websockets`).
        """
        data = self._data()
        mark = MARK.search(data["question"]["conversation"])
        assert mark is not None  # every prompt here ends with one
        choice = next(one["name"] for one in data["ask"]["choices"]
                      if one["side"] == {0: "a", 1: "b", None: ""}[side])
        key = data["question"]["key"]
        self.outbox[key] = Act(mark[1], side, {
            "key": key, "do": "answer", "choice": choice, "seconds": 4.0, "active_seconds": 3.0,
            "question_version": data["ask"]["version"]}, time.perf_counter())
        return (await self.send(times))[-1]

    async def send(self, times: int = 1) -> list[Answered]:
        """Send all that is in the outbox, and wait until each act was settled or put off.

        What is put off (the server could not keep it for now) stays in the outbox.
        """
        for _ in range(times):
            await self._tab.trigger(
                self._tab.component(_COMPONENT), _EVENT,
                {"entries": [act.entry for act in self.outbox.values()]}, wait=False)
        found: list[Answered] = []
        async with asyncio.timeout(PATIENCE_SECONDS):
            while self.outbox:
                ended = ends_a_run(await self._tab.next())
                found += self._settled()
                put_off = self._put_off() if ended else []
                if put_off:
                    return found + put_off
        return found

    def _settled(self) -> list[Answered]:
        """What the page has called final, which leaves the outbox."""
        return [self._answered(self.outbox.pop(ack["key"]), ack) for ack in self._data()["acks"]
                if ack["final"] and ack["key"] in self.outbox]

    def _put_off(self) -> list[Answered]:
        return [self._answered(self.outbox[ack["key"]], ack) for ack in self._data()["acks"]
                if not ack["final"] and ack["key"] in self.outbox]

    def _answered(self, act: Act, ack: dict[str, Any]) -> Answered:
        return Answered(act.mark, act.side, ack["ok"], ack["words"],
                        time.perf_counter() - act.sent_at)

    def _data(self) -> dict[str, Any]:
        """What the page's component was given last."""
        placed = self._tab.component(_COMPONENT)
        if placed is not self._read[0]:
            self._read = (placed, placed.data)
        return self._read[1]
