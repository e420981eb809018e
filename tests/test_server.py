"""What the server itself says and closes, whatever page is asked for."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from browser import Server
from starlette.applications import Starlette
from starlette.testclient import TestClient
from streamlit.web.server.starlette.starlette_routes import create_host_config_routes
from streamlit_client import Visitor

from annotate.server import OPTIONS, _while_up, content_security_policy
from data.errors import PrefloopError
from data.restoring import restore
from data.store import Store


@pytest.fixture
def visitor(server: Server) -> Visitor:
    return Visitor(server.url)


ROUTES = ("/", "/people", "/nowhere", "/healthz", "/signin", "/signin?code=guess", "/signin/start",
          "/signin/done", "/prefloop/top.js", "/_stcore/health", "/_stcore/host-config",
          "/_stcore/metrics", "/_stcore/upload_file/x/y", "/_stcore/agent/x", "/auth/login",
          "/auth/logout", "/oauth2callback", "/media/guess.csv", "/component/x/y.js",
          "/_stcore/bidi-components/x/y.js", "/static/nowhere.js", "/..%2f..%2fetc/passwd")


@pytest.mark.parametrize("path", ROUTES)
def test_every_answer_carries_the_headers(visitor: Visitor, path: str) -> None:
    answer = visitor.request("GET", path)
    assert answer.headers["content-security-policy"] == content_security_policy()
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert answer.headers["cross-origin-opener-policy"] == "same-origin"
    assert answer.status < 500 and "Traceback" not in answer.text


def test_the_policy_allows_no_inline_script_and_no_other_place() -> None:
    policy = dict(rule.split(" ", 1) for rule in content_security_policy().split("; "))
    assert "'unsafe-inline'" not in policy["script-src"]
    assert "'unsafe-eval'" not in policy["script-src"]
    assert policy["default-src"] == policy["connect-src"] == policy["form-action"] == "'self'"
    assert policy["frame-ancestors"] == policy["object-src"] == policy["base-uri"] == "'none'"
    sources = {source for rule in policy.values() for source in rule.split()}
    assert all(source.startswith("'") or source in ("data:", "blob:") for source in sources)


@pytest.mark.parametrize("path", ["/_stcore/metrics", "/_stcore/upload_file/x/y", "/auth/login",
                                  "/_stcore/agent/x", "/auth/logout", "/oauth2callback"])
def test_what_is_not_used_is_closed(visitor: Visitor, path: str) -> None:
    assert visitor.request("GET", path).status == 404


def test_the_host_is_as_streamlits_own_but_shows_no_dialogs(visitor: Visitor) -> None:
    own = TestClient(Starlette(routes=create_host_config_routes(None))).get("/_stcore/host-config")
    answer = visitor.request("GET", "/_stcore/host-config")
    assert answer.headers["cache-control"] == "no-cache"
    assert json.loads(answer.text) == own.json() | {
        "allowedOrigins": OPTIONS["client.allowedOrigins"], "blockErrorDialogs": True}


def test_beneath_a_server_that_is_up_no_backup_is_restored(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever thread has opened its store, and whether or not anybody has come yet."""
    with ThreadPoolExecutor(1) as threads:
        store = threads.submit(Store, tmp_path / "prefloop.db").result()
        threads.submit(store.database.backup, tmp_path / "today.db").result()
        threads.submit(lambda: store.database.connection.close()).result()
    monkeypatch.setattr("annotate.server.store", lambda: store)
    monkeypatch.setattr("data.restoring._PATIENCE", 0.0)

    async def up() -> None:
        async with _while_up(None):
            with pytest.raises(PrefloopError, match="end `prefloop up`"):
                restore(store.database.path, tmp_path / "today.db")

    asyncio.run(up())
