"""Signing in and out while the workspace cannot be written: said in words, nothing pretended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from annotate.door import signin
from annotate.door.ratelimit import Tally
from annotate.launch import WORKSPACE_VARIABLE, cookie_name
from data.errors import PrefloopError
from data.store import Store

Route = Callable[[Request], Awaitable[Response]]


@pytest.fixture
def token(store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """Somebody's session, in a workspace that the routes serve."""
    monkeypatch.setenv(WORKSPACE_VARIABLE, str(tmp_path))
    monkeypatch.setattr(signin, "store", lambda: store)
    monkeypatch.setattr(signin, "failures", Tally(
        60.0, signin.record_failures, lambda *_: None))
    monkeypatch.setattr(signin.oidc, "own_provider", lambda: None)
    found = store.people.redeem(store.people.create_code(store.people.add("Ada").id))
    assert found is not None
    return found


def asked(route: Route, token: str = "", body: bytes = b"", query: str = "") -> Response:
    """What a route answers to a browser of this site."""
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    cookie = [(b"cookie", f"{cookie_name()}={token}".encode())] if token else []
    scope = {"type": "http", "method": "POST" if body else "GET", "path": "/", "headers": cookie,
             "query_string": query.encode(), "client": ("127.0.0.1", 1), "scheme": "http",
             "server": ("127.0.0.1", 80)}

    async def main() -> Response:
        return await route(Request(scope, receive))
    return asyncio.run(main())


def full(*_: object, **__: object) -> None:
    raise PrefloopError("/somewhere/prefloop.db: the disk is full, nothing was saved")


def test_a_full_disk_is_no_wrong_link_and_no_sign_out(store: Store, token: str,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    code = store.people.create_code(store.people.add("Ben").id)
    with monkeypatch.context() as trouble:
        trouble.setattr(store.audit, "record", full)
        for route, body in ((signin.redeem, f"code={code}".encode()), (signin.sign_out, b"x")):
            answer = asked(route, token, body)
            assert answer.status_code == 503 and b"just now" in bytes(answer.body)
            assert b"somewhere" not in bytes(answer.body)
            assert "set-cookie" not in answer.headers
    assert store.people.of_session(token) is not None  # still signed in, as the cookie says
    answer = asked(signin.redeem, "", f"code={code}".encode())  # the link still works
    assert answer.status_code == 303 and "set-cookie" in answer.headers


def test_who_comes_with_a_link_comes_in_even_if_the_last_session_cannot_be_ended(
        store: Store, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    code = store.people.create_code(store.people.add("Ben").id)
    monkeypatch.setattr(signin, "end_session", full)
    answer = asked(signin.redeem, token, f"code={code}".encode())
    assert answer.status_code == 303 and "set-cookie" in answer.headers


def test_a_wrong_link_is_wrong_on_a_full_disk_too(store: Store, token: str,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store.audit, "record", full)
    for answer in (asked(signin.show_signin, query="code=nothing"),
                   asked(signin.redeem, body=b"code=nothing")):
        assert answer.status_code == 403 and b"This link does not work" in bytes(answer.body)
