"""Browsers without a browser: cookies over HTTP, tabs over Streamlit's websocket.

For sending what no browser would send, and for driving the app with many people at once. A tab
keeps what a browser's tab keeps (the page's elements, the values of its widgets); it draws
nothing and runs no script. Everything that arrives can be read as a page, as single messages, or
as raw bytes.
"""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from streamlit_page import Drawn, Placed, ends_a_run
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

#: How long a page may take before a test is told that it hangs.
PATIENCE_SECONDS = 120.0
#: Values by their Python type, as Streamlit's widgets send them.
_FIELDS = {bool: "bool_value", int: "int_value", float: "double_value", str: "string_value",
           bytes: "bytes_value", dict: "json_value"}

Value = bool | int | float | str | bytes | Mapping[str, Any] | Sequence[str]


@dataclass(frozen=True)
class Reply:
    """An HTTP answer; header names are lower case, and cookies that it sets are in `set_cookie`."""

    status: int
    headers: Mapping[str, str]
    set_cookie: tuple[str, ...]
    body: bytes

    @property
    def text(self) -> str:
        """The body as UTF-8."""
        return self.body.decode("utf-8", "replace")


@dataclass
class Visitor:
    """A browser: an address, the cookies it was given there, and headers it always sends."""

    url: str
    cookies: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)

    def request(self, method: str, path: str, form: Mapping[str, str] | None = None,
                headers: Mapping[str, str] | None = None) -> Reply:
        """One request, following no redirect; blocks, so see `asyncio.to_thread`."""
        host = urlsplit(self.url).netloc
        connection = http.client.HTTPConnection(host, timeout=PATIENCE_SECONDS)
        body = None if form is None else urlencode(form)
        kind = {} if form is None else {"Content-Type": "application/x-www-form-urlencoded"}
        try:
            connection.request(method, path, body, {**self._sent_headers(), **kind,
                                                    **(headers or {})})
            answer = connection.getresponse()
            given = tuple(value for name, value in answer.getheaders()
                          if name.lower() == "set-cookie")
            reply = Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, given,
                          answer.read())
        finally:
            connection.close()
        for line in given:
            for name, morsel in SimpleCookie(line).items():
                if morsel.value:
                    self.cookies[name] = morsel.value
                else:
                    self.cookies.pop(name, None)
        return reply

    def sign_in(self, code: str) -> Reply:
        """Redeem a one-time code, as the button on the link's page does."""
        return self.request("POST", "/signin", {"code": code})

    def sign_out(self) -> Reply:
        """End the session, as the form does."""
        return self.request("POST", "/signout", {})

    async def tab(self, path: str = "", *, session: str = "", origin: str | None = None,
                  record: bool = False) -> Tab:
        """Open a tab on a page (`""` is the first one) and wait until it is drawn.

        Args:
            path: the page's address below the app's, without a slash.
            session: id of a Streamlit session to take over, as after a dropped connection.
            origin: what the tab claims to have been loaded from; None for the truth.
            record: keep the bytes of all messages in `Tab.received`.
        """
        tab = Tab(self, await self._connect(session, origin), record)
        try:
            await tab.rerun(page=path)
        except BaseException:
            await tab.close()
            raise
        return tab

    async def _connect(self, session: str, origin: str | None) -> ClientConnection:
        # The browser passes these three by position, and leaves out what it does not have.
        xsrf = self.cookies.get("_streamlit_xsrf", "PLACEHOLDER_AUTH_TOKEN")
        protocols = ["streamlit", xsrf, session] if session else ["streamlit", xsrf]
        address = urlsplit(self.url)._replace(scheme="ws").geturl() + "/_stcore/stream"
        return await connect(
            address, origin=Origin(origin or self.url), proxy=None, max_size=None,
            subprotocols=[Subprotocol(name) for name in protocols],
            additional_headers=self._sent_headers(), close_timeout=2,
            open_timeout=PATIENCE_SECONDS, ping_timeout=PATIENCE_SECONDS)

    def _sent_headers(self) -> dict[str, str]:
        pairs = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        return {**self.headers, **({"Cookie": pairs} if pairs else {})}


class Tab(Drawn):
    """One tab: what is on its page, and every way to send something back.

    Attributes:
        received: the bytes of every message, when recording.
    """

    def __init__(self, visitor: Visitor, connection: ClientConnection, record: bool) -> None:
        super().__init__()
        self.visitor = visitor
        self.received: list[bytes] = []
        self._connection, self._record = connection, record
        self._values: dict[str, WidgetState] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the tab."""
        await self._connection.close()

    # What is sent

    def set(self, widget: Placed | str, value: Value, kind: str = "") -> None:
        """Remember a widget's value, to go with the next message.

        `kind` names the protobuf field where the value's type does not tell it.
        """
        name = widget if isinstance(widget, str) else widget.id
        self._values[name] = _state(name, value, kind)

    def send_box(self, title: str, label: str) -> str:
        """Let a select box go with the next message as a browser sends it: with the label that the
        server set last, if it set any, else with this one. Returns which."""
        box = self.labelled(title)
        label = box.proto.raw_value or label
        self.set(box, label)
        return label

    async def rerun(self, *triggers: WidgetState, page: str | None = None, fragment: str = "",
                    query: str = "", wait: bool = True) -> None:
        """Ask for a run of the page (or of one fragment) and, unless told not to, await its end.

        Args:
            triggers: values for this run only (see `trigger_of`, `press_of`).
            page: go to this page, by its address.
            fragment: rerun only this fragment.
            query: the address's query string.
            wait: False to return as soon as the message is sent.
        """
        message = BackMsg()
        state = message.rerun_script
        if page is not None:
            self.page_hash = self.pages.get(page, "")
            state.page_name = "" if self.page_hash else page
        state.page_script_hash, state.fragment_id = self.page_hash, fragment
        state.query_string = query
        state.context_info.url = f"{self.visitor.url}/{page or ''}"
        state.widget_states.widgets.extend([*self._values.values(), *triggers])
        await self.send(message)
        if wait:
            await self.finished()

    async def press(self, button: Placed | str, *, wait: bool = True) -> None:
        """Press a button, in the fragment that drew it."""
        name, fragment = (button, "") if isinstance(button, str) else (button.id, button.fragment)
        await self.rerun(press_of(name), fragment=fragment, wait=wait)

    async def trigger(self, component: Placed, event: str, value: Any, *,
                      wait: bool = True) -> None:
        """Let a component send an event, in the fragment that drew it."""
        await self.rerun(trigger_of(component.id, event, value), fragment=component.fragment,
                         wait=wait)

    async def send(self, message: BackMsg) -> None:
        """Send any message at all."""
        await self.send_raw(message.SerializeToString())

    async def send_raw(self, data: bytes | str) -> None:
        """Send one frame that need not be a message."""
        await self._connection.send(data)

    # What comes back

    async def next(self) -> ForwardMsg:
        """The next message, already entered into the page.

        Raises:
            ConnectionClosed: the server has closed the connection (of `websockets`).
        """
        data = await self._connection.recv()
        assert isinstance(data, bytes)
        if self._record:
            self.received.append(data)
        message: ForwardMsg = ForwardMsg.FromString(data)
        self.enter(message)
        return message

    async def finished(self, seconds: float = PATIENCE_SECONDS) -> None:
        """Read until a run has ended that was not cut short by another. Raises TimeoutError."""
        await self.until(ends_a_run, seconds)

    async def until(self, wanted: Callable[[ForwardMsg], bool],
                    seconds: float = PATIENCE_SECONDS) -> ForwardMsg:
        """Read until a message of that kind; returns it. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while not wanted(message := await self.next()):
                pass
            return message

def press_of(button: str) -> WidgetState:
    """A button's press, by the button's id."""
    return WidgetState(id=button, trigger_value=True)


def trigger_of(component: str, event: str, value: Any) -> WidgetState:
    """A component's event, by the component's id."""
    from streamlit.runtime.state.session_state import STREAMLIT_INTERNAL_KEY_PREFIX

    return WidgetState(id=f"{STREAMLIT_INTERNAL_KEY_PREFIX}_{component}__events",
                       json_trigger_value=json.dumps([{"event": event, "value": value}]))


def _state(name: str, value: Value, kind: str) -> WidgetState:
    state = WidgetState(id=name)
    if kind in ("", "string_array_value") and isinstance(value, list | tuple):
        state.string_array_value.data.extend(value)
    else:
        text = json.dumps(value) if isinstance(value, Mapping) else value
        setattr(state, kind or _FIELDS[type(value)], text)
    return state
