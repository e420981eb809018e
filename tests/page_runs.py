"""Which runs a page in a real browser has asked for, which code, and whether that has come.

The page itself tells of a run only once its beginning has come back from the server: for as long as
a press is on its way, which on a busy machine is long, it looks as if nothing had been pressed.
What goes over its connection tells the truth. And it fetches the code of each kind of widget when
one is first drawn: where that comes in the middle of a press, what is pressed is drawn anew, and
the press is lost.
"""

from __future__ import annotations

import time
from weakref import WeakKeyDictionary

from playwright.sync_api import Page, Request, WebSocket
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit_page import ends_a_run


class Runs:
    """The runs of one page, over its latest connection."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        """Of what no beginning came back yet: ids of fragments, and "" for the whole page."""
        self.under_way = False
        self._drawn: set[str] = set()
        self._whole = True

    @property
    def over(self) -> bool:
        """Whether nothing is still to come."""
        return not self.asked and not self.under_way

    def sent(self, frame: str | bytes) -> None:
        """The page asks for something."""
        message = BackMsg.FromString(_bytes(frame))
        if message.WhichOneof("type") == "rerun_script":
            self.asked.append(message.rerun_script.fragment_id)

    def received(self, frame: str | bytes) -> None:
        """The server tells of a beginning, of what it draws, or of an end."""
        message = ForwardMsg.FromString(_bytes(frame))
        kind = message.WhichOneof("type")
        if kind == "new_session":
            parts = message.metadata.run.fragment_ids
            self._whole, self.under_way = not parts, True
            if self._whole:
                self._drawn = set()
            self.asked = [each for each in self.asked if parts and each not in parts]
        elif kind == "delta" and message.delta.fragment_id:
            self._drawn.add(message.delta.fragment_id)
        elif ends_a_run(message):
            self.under_way = False
            if self._whole:  # a fragment that stands on the page no more is not run
                self.asked = [each for each in self.asked if not each or each in self._drawn]


_RUNS: WeakKeyDictionary[Page, Runs] = WeakKeyDictionary()
#: Scripts and style sheets that are on their way.
_CODE: WeakKeyDictionary[Page, set[Request]] = WeakKeyDictionary()
#: Two frames later what has come is drawn, and has asked for what it needs; where none is drawn, a
#: moment later.
_DRAWN = """new Promise((done) => {
  requestAnimationFrame(() => requestAnimationFrame(() => done(null)));
  setTimeout(() => done(null), 250);
})"""


def follow(page: Page) -> None:
    """Know of this page's runs from now on."""
    def connected(socket: WebSocket) -> None:
        if "/_stcore/stream" in socket.url:
            runs = _RUNS[page] = Runs()  # what an earlier connection still owed never comes
            socket.on("framesent", runs.sent)
            socket.on("framereceived", runs.received)

    def asked(request: Request) -> None:
        if request.resource_type in ("script", "stylesheet"):
            _CODE[page].add(request)

    def came(request: Request) -> None:
        _CODE[page].discard(request)

    def loaded(page: Page) -> None:
        _CODE[page].clear()  # what a document before still wanted

    _CODE[page] = set()
    page.on("websocket", connected)
    page.on("request", asked)
    page.on("requestfinished", came)
    page.on("requestfailed", came)
    page.on("domcontentloaded", loaded)


def wait_for_runs(page: Page, seconds: float) -> None:
    """Until all that the page has asked for has come; at once where nobody follows it. What was
    pressed counts once the page has been asked anything since: then we have heard of it."""
    deadline = time.monotonic() + seconds
    while not (runs := _RUNS.get(page) or Runs()).over:
        assert time.monotonic() < deadline, f"asked for {runs.asked}, under way: {runs.under_way}"
        page.wait_for_timeout(20)


def wait_for_code(page: Page, seconds: float) -> None:
    """Until what is drawn has all of its code, and is drawn by it."""
    deadline = time.monotonic() + seconds
    page.evaluate(_DRAWN)
    while code := _CODE.get(page):
        assert time.monotonic() < deadline, f"on their way: {[each.url for each in code]}"
        page.wait_for_timeout(20)
        if not _CODE[page]:
            page.evaluate(_DRAWN)  # it may want more


def _bytes(frame: str | bytes) -> bytes:
    return frame if isinstance(frame, bytes) else frame.encode()
