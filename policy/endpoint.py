"""One HTTP server that speaks OpenAI's protocol: requests, retries, and errors in one line.

Only the configured address is contacted: no redirect is followed and no proxy is asked. The API key
comes from the environment, goes into one header, and is cut out of whatever the server says.
Deliberately left out: streaming, and connections that are kept between requests.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from email.message import Message
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from data.errors import BadInput, PrefloopError

#: The environment variable that holds the API key, where the server wants one.
KEY_VARIABLE = "PREFLOOP_SERVER_KEY"
#: Seconds before each further try.
WAITS = (0.5, 1.0, 2.0, 4.0, 8.0)
#: Longest that a server may ask for with Retry-After, seconds.
LONGEST_WAIT = 30.0
#: What may pass by itself: too many requests, and what goes wrong inside or before a server.
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
LARGEST_ANSWER = 16 * 2 ** 20  # bytes
LONGEST_SAID = 200  # characters of the server's own words in an error


class Refused(PrefloopError):
    """The server answered, and the answer is no."""

    def __init__(self, message: str, status: int, said: str) -> None:
        super().__init__(message)
        self.status = status
        self.said = said
        """In the server's own words; empty where it does not know the path."""


def key_from_environment() -> str:
    """The API key, or nothing.

    Raises:
        BadInput: it holds what no header may hold; the message does not say what.
    """
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise BadInput(f"{KEY_VARIABLE}: the key holds characters that no HTTP header may hold")
    return key


class Endpoint:
    """A server at one address; may be used from several threads.

    Args:
        address: as checked by `SampleConfig`: http(s)://HOST[:PORT]/PATH.
        timeout: seconds that one try of a request may take.
    """

    def __init__(self, address: str, timeout: float, key: str = "") -> None:
        self.address = address.rstrip("/")
        self.timeout = timeout
        self._parts = urlsplit(self.address)
        self._key = key
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()

    def __enter__(self) -> Endpoint:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End what is under way, in whichever thread; nothing is asked afterwards."""
        self._closed.set()
        with self._lock:
            for open_ in self._sockets:
                with suppress(OSError):
                    open_.shutdown(socket.SHUT_RDWR)

    def get(self, path: str) -> dict[str, Any]:
        """The JSON object at a path below the address; raises as `request` does."""
        return self._object(self.request("GET", path))

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The JSON object that answers a JSON body; raises as `request` does."""
        return self._object(self.request("POST", path, body))

    def request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> bytes:
        """What the server answers, whatever it is; trouble that may pass is waited out.

        Raises:
            Refused: the server said no, or sent elsewhere.
            PrefloopError: it could not be reached, or gave no answer in time, again and again.
        """
        payload = None if body is None else json.dumps(body).encode()
        timeouts = 0
        for wait in (*WAITS, None):
            asked_for = 0.0
            try:
                status, headers, answer = self._try(method, path, payload)
                if 200 <= status < 300:
                    return answer
                refusal = self._refusal(status, headers, answer)
                if status not in PASSING:
                    raise refusal
                problem: PrefloopError = refusal
                asked_for = _seconds(headers.get("Retry-After"))
            except ssl.SSLCertVerificationError as error:
                raise self._error(f"its certificate is not trusted: {error.verify_message}"
                                  ) from None
            except TimeoutError:
                timeouts += 1
                problem = self._error(f"no answer within {self.timeout:g} seconds (server_timeout)")
            except (OSError, http.client.HTTPException) as error:
                problem = self._error(_reason(error))
            # A server that hangs is given one more try: each costs the whole timeout.
            if wait is None or timeouts > 1 or self._closed.wait(max(wait, asked_for)):
                raise problem
        raise AssertionError("the last try returns or raises")

    def _try(self, method: str, path: str, payload: bytes | None
             ) -> tuple[int, Message, bytes]:
        deadline = time.monotonic() + self.timeout
        host, port = self._parts.hostname or "", self._parts.port
        connection = (http.client.HTTPSConnection if self._parts.scheme == "https"
                      else http.client.HTTPConnection)(host, port, timeout=self.timeout)
        headers = {"Content-Type": "application/json", "Connection": "close"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        try:
            connection.connect()
            open_: socket.socket = connection.sock
            with self._lock:
                self._sockets.add(open_)
            try:
                if self._closed.is_set():
                    raise ConnectionAbortedError("closed here")
                connection.request(method, self._parts.path + path, payload, headers)
                answer = connection.getresponse()
                return answer.status, answer.headers, _read(answer, open_, deadline)
            finally:
                with self._lock:
                    self._sockets.discard(open_)
        finally:
            connection.close()

    def _refusal(self, status: int, headers: Message, answer: bytes) -> Refused:
        said = self._without_key(_said(answer))
        if 300 <= status < 400:
            where = self._without_key(headers.get("Location", "elsewhere"))[:LONGEST_SAID]
            what = f"it redirects to {where}, and redirects are not followed"
        elif status in (401, 403):
            what = (f"it wants an API key, or another one (HTTP {status}): put it into the "
                    f"environment variable {KEY_VARIABLE}")
        elif status == 404 and not said:
            what = "there is nothing at this address (HTTP 404); vLLM's ends in /v1"
        else:
            what = f"HTTP {status}" + (f": {said}" if said else "")
        return Refused(f"server {self.address}: {what}", status, said)

    def _object(self, answer: bytes) -> dict[str, Any]:
        try:
            found = json.loads(answer)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise self._error("its answer is no JSON object; is it an OpenAI-compatible server?")
        return found

    def _error(self, what: str) -> PrefloopError:
        return PrefloopError(f"server {self.address}: {what}")

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "…") if self._key else text


def _read(answer: http.client.HTTPResponse, open_: socket.socket, deadline: float) -> bytes:
    """The body, within the deadline however slowly it drips."""
    parts: list[bytes] = []
    size = 0
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        open_.settimeout(left)
        part = answer.read1(65536)
        if not part:
            break
        parts.append(part)
        size += len(part)
        if size > LARGEST_ANSWER:
            raise http.client.HTTPException(
                f"its answer is larger than {LARGEST_ANSWER // 2 ** 20} MiB")
    if answer.length:  # what was announced and did not come
        raise http.client.IncompleteRead(b"".join(parts), answer.length)
    return b"".join(parts)


def _said(answer: bytes) -> str:
    """The message of an error as OpenAI's protocol and vLLM spell it, as one short line."""
    try:
        found = json.loads(answer)
    except ValueError:
        return ""
    for key in ("error", "message"):
        if isinstance(found, dict) and key in found:
            found = found[key]
    return " ".join(found.split())[:LONGEST_SAID] if isinstance(found, str) else ""


def _reason(error: Exception) -> str:
    if isinstance(error, http.client.IncompleteRead | http.client.RemoteDisconnected):
        return "it closed the connection in the middle of an answer"
    if isinstance(error, http.client.BadStatusLine):
        return "its answer is not HTTP"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split())[:LONGEST_SAID] or type(error).__name__


def _seconds(retry_after: str | None) -> float:
    """What Retry-After asks for, where it is a number; never more than we are ready to wait."""
    text = (retry_after or "").strip()
    return min(float(text), LONGEST_WAIT) if text.isdecimal() and len(text) < 10 else 0.0
