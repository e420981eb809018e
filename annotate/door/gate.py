"""What a tab may say to Streamlit, checked before Streamlit hears it.

Pages, fragments and actions check who is asking, each by itself. This is the wall in front of
them: it also holds for a page that forgets, and for messages that no page of ours ever sends.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ClientState_pb2 import ClientState

from annotate.launch import cookie_name, public_url
from data.errors import PrefloopError
from data.records import Labeler
from data.sessions import SEEN_EVERY
from data.store import Store

#: Streamlit keeps what this header says as the owner of a tab's state: nobody else can take a
#: tab over by its id. It is set here; what a client sends under this name is dropped.
PERSON_HEADER = "x-prefloop-person"
_STREAM = "/_stcore/stream"
#: Files that a page offers for download stay with people who are signed in.
_MEDIA = "/media/"
#: Other messages clear everybody's caches, read the source's repository or write into it.
_OPERATIONS = ("deferred_file", "dataframe_chunk")


class Gate:
    """Lets through what somebody who is signed in may send; of others, only "show me the page"."""

    def __init__(self, app: ASGIApp, store: Callable[[], Store]) -> None:
        self._app, self._store = app, store
        self._notes: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check connections of tabs and requests for files; pass everything else on."""
        if scope["type"] == "websocket" and scope["path"].endswith(_STREAM):
            await self._tab(scope, receive, send)
        elif scope["type"] == "http" and scope["path"].startswith(_MEDIA) \
                and not self._may_fetch(_token(scope)):
            await send({"type": "http.response.start", "status": 403, "headers": []})
            await send({"type": "http.response.body", "body": b""})
        else:
            await self._app(scope, receive, send)

    def _may_fetch(self, token: str | None) -> bool:
        try:
            return self.person(token) is not None
        except PrefloopError:
            return False

    async def _tab(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not from_here(HTTPConnection(scope)):
            await send({"type": "websocket.close", "code": 1008})
            return
        token, person = _token(scope), ""
        with suppress(PrefloopError):
            labeler = self.person(token)
            person = str(labeler.id) if labeler else ""
        ears = _Ears(self, token)
        headers = [(name, value) for name, value in scope["headers"]
                   if name.lower() != PERSON_HEADER.encode()]
        scope = {**scope, "headers": [*headers, (PERSON_HEADER.encode(), person.encode())]}

        async def heard() -> Message:
            while True:
                message = await receive()
                if message["type"] != "websocket.receive" or message.get("bytes") is None:
                    return message
                data = ears.hear(message["bytes"])
                if data is not None:
                    return {**message, "bytes": data}

        await self._app(scope, heard, send)

    def person(self, token: str | None) -> Labeler | None:
        """Who is signed in. Raises PrefloopError where the database cannot be read."""
        return self._store().people.of_session(token) if token else None

    def used(self, token: str) -> None:
        """Note in the background that somebody acts: no click waits for it."""
        async def note() -> None:
            try:
                await run_in_threadpool(self._store().people.sessions.used, token)
            except PrefloopError:
                return  # the next one will tell, or the session ends early
        task = asyncio.create_task(note())
        self._notes.add(task)
        task.add_done_callback(self._notes.discard)


class _Ears:
    """One tab's messages, heard on behalf of whose cookie it connected with."""

    def __init__(self, gate: Gate, token: str | None) -> None:
        self._gate, self._token = gate, token
        self._noted = -SEEN_EVERY.total_seconds()

    def hear(self, data: bytes) -> bytes | None:
        """The message to pass on; None for none."""
        try:
            message = BackMsg.FromString(data)
        except Exception:  # whatever protobuf raises: Streamlit closes the connection on it
            return data
        kind = message.WhichOneof("type")
        if kind in ("app_heartbeat", "stop_script"):
            return data
        try:
            person = self._gate.person(self._token)
        except PrefloopError:
            return data  # the page finds the same and says so; nothing can be written
        if kind == "backend_operation_request":
            operation = message.backend_operation_request.WhichOneof("payload")
            return data if person and operation in _OPERATIONS else None
        if kind != "rerun_script":
            return None
        if person is None:
            # The page (or the part of it that refreshes) runs and says that the session is over,
            # but nothing is pressed and nothing typed.
            message.rerun_script.ClearField("widget_states")
            bare: bytes = message.SerializeToString()
            return bare
        self._note(message.rerun_script)
        return data

    def _note(self, state: ClientState) -> None:
        late = monotonic() - self._noted >= SEEN_EVERY.total_seconds()
        if self._token and late and is_use(state):
            self._noted = monotonic()
            self._gate.used(self._token)


def is_use(state: ClientState) -> bool:
    """Whether somebody did something; a page that looks again by itself is no use of a session."""
    if state.is_auto_rerun:
        return False
    events = [widget.json_trigger_value for widget in state.widget_states.widgets
              if widget.HasField("json_trigger_value")]
    return not events or not all(_is_look(event) for event in events)


def _is_look(events: str) -> bool:
    """Whether the labeling page only asks what is new: it sends no act of the labeler."""
    try:
        return all(event["value"]["entries"] == [] for event in json.loads(events))
    except (ValueError, TypeError, KeyError, RecursionError):
        return False


def from_here(connection: HTTPConnection) -> bool:
    """Whether a page of ours asks, by the browser's word: another site's page may not.

    A client that is no browser says nothing, and has no cookies of people to misuse.
    """
    origin = connection.headers.get("origin")
    if origin is None:
        return True
    return origin == public_url() or urlsplit(origin).netloc == connection.headers.get("host")


def _token(scope: Scope) -> str | None:
    return HTTPConnection(scope).cookies.get(cookie_name())

