"""The app's server: Streamlit with prefloop's own routes, headers and look.

`python -m annotate.server --host H --port P`, with the workspace in the environment; see
`annotate.launch.command`.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import streamlit
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from annotate import warming
from annotate.door import oidc
from annotate.door.gate import PERSON_HEADER, Gate
from annotate.door.signin import ROUTES, failures, store
from annotate.launch import DEFAULT_HOST, app_url, public_url, workspace_of_environment
from data.errors import PrefloopError

#: Parts of Streamlit that prefloop does not use and that answer without a session.
CLOSED_PATHS = ("/_stcore/upload_file", "/_stcore/metrics", "/_stcore/agent")
#: Streamlit's part of single sign-on, closed where the workspace has none; nobody signs out there.
_SIGN_ON_PATHS = (oidc.LOGIN_PATH, oidc.CALLBACK_PATH)
_NEVER_PATHS = ("/auth/logout",)

_FINISH = b"/signin/done"
_STRICT_TRANSPORT = (b"strict-transport-security", b"max-age=15552000")
Headers = list[tuple[bytes, bytes]]

_LIGHT = {"primaryColor": "#2f6f8f", "backgroundColor": "#fbfaf8", "textColor": "#23282c",
          "secondaryBackgroundColor": "#f1efea", "borderColor": "#dedad2"}
_DARK = {"primaryColor": "#6fb3d2", "backgroundColor": "#15181b", "textColor": "#e4e6e8",
         "secondaryBackgroundColor": "#1f2428", "borderColor": "#343b41"}

OPTIONS: dict[str, Any] = {
    "browser.gatherUsageStats": False,
    "client.allowedOrigins": [],
    "client.showErrorDetails": "none",
    "client.showErrorLinks": False,
    "client.toolbarMode": "minimal",
    "logger.hideWelcomeMessage": True,
    "runner.magicEnabled": False,
    # Walking every object of the process after each answer took longer than the answer itself;
    # Python collects by itself when there is something to collect.
    "runner.postScriptGC": False,
    "secrets.files": [],
    "server.enableAgentApi": False,
    "server.fileWatcherType": "none",
    "server.headless": True,
    "server.maxMessageSize": 50,
    "server.maxUploadSize": 1,
    "server.maxWidgetStateSize": 4,
    "server.trustedUserHeaders": json.dumps({PERSON_HEADER: "person"}),
    "theme.baseRadius": "0.5rem",
    "theme.showWidgetBorder": True,
    **{f"theme.light.{name}": value for name, value in _LIGHT.items()},
    **{f"theme.dark.{name}": value for name, value in _DARK.items()},
}

#: What Streamlit's page asks of whoever hosts it. As Streamlit's own answer, but for dialogs: the
#: one of a lost connection took the focus, and so the words, from whoever was typing, to speak of
#: terminals. The page's header and the labeling page say that the server is away.
_HOST_PATH = "/_stcore/host-config"
_HOST_CONFIG = {
    "allowedOrigins": OPTIONS["client.allowedOrigins"], "blockErrorDialogs": True,
    "useExternalAuthToken": False, "enableCustomParentMessages": False,
    "enforceDownloadInNewTab": False, "metricsUrl": "", "resourceCrossOriginMode": None}


def content_security_policy() -> str:
    """Nothing from anywhere but here; the page's own inline scripts are named by their hashes."""
    page = (Path(streamlit.__file__).parent / "static" / "index.html").read_text("utf-8")
    inline = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        for script in inline)
    return "; ".join((
        "default-src 'self'", f"script-src 'self' {hashes}", "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:", "font-src 'self' data:", "connect-src 'self'",
        "worker-src 'self' blob:", "object-src 'none'", "frame-src 'none'", "base-uri 'none'",
        "form-action 'self'", "frame-ancestors 'none'"))


class SafeHeaders:
    """Adds the headers that keep a page to itself, and closes what prefloop does not use."""

    def __init__(self, app: ASGIApp, single_sign_on: bool = False) -> None:
        self._app = app
        self._closed = CLOSED_PATHS + _NEVER_PATHS + (() if single_sign_on else _SIGN_ON_PATHS)
        self._https = (public_url() or "").startswith("https:")
        self._headers = [(name.encode(), value.encode()) for name, value in (
            ("content-security-policy", content_security_policy()),
            ("x-content-type-options", "nosniff"), ("x-frame-options", "DENY"),
            ("referrer-policy", "same-origin"),
            ("permissions-policy", "camera=(), microphone=(), geolocation=()"),
            ("cross-origin-opener-policy", "same-origin"))]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on but the closed paths."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        https = self._https or scope.get("scheme") == "https"

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": self._safe(message["headers"], scope, https)}
            await send(message)

        if scope["path"].startswith(self._closed):
            await with_headers({"type": "http.response.start", "status": 404, "headers": []})
            await send({"type": "http.response.body", "body": b""})
        elif scope["path"] == _HOST_PATH:
            answer = JSONResponse(_HOST_CONFIG, headers={"cache-control": "no-cache"})
            await answer(scope, receive, with_headers)
        else:
            await self._app(scope, receive, with_headers)

    def _safe(self, headers: Headers, scope: Scope, https: bool) -> Headers:
        own = {name for name, _ in self._headers}
        safe = [(name, value) for name, value in headers if name.lower() not in own]
        if https:
            safe = [(name, _secure(value) if name.lower() == b"set-cookie" else value)
                    for name, value in safe] + [_STRICT_TRANSPORT]
        if scope["path"] == oidc.CALLBACK_PATH:
            # Streamlit goes on to the app; first, what the provider said is traded for a session.
            safe = [(name, _FINISH if name.lower() == b"location" else value)
                    for name, value in safe]
        return safe + self._headers


@asynccontextmanager
async def _while_up(_: object) -> AsyncIterator[None]:
    """What is counted is not lost when the server is stopped. As long as it is up this thread has
    the database open, so that no backup is restored beneath it."""
    with suppress(PrefloopError):  # /healthz says what is wrong
        store().setting("worker")
    yield
    await run_in_threadpool(failures.flush)


def _secure(cookie: bytes) -> bytes:
    return cookie if b"; secure" in cookie.lower() else cookie + b"; Secure"


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m annotate.server")
    parser.add_argument("--host", default=DEFAULT_HOST)
    parser.add_argument("--port", type=int, default=8501)
    arguments = parser.parse_args()
    try:
        serve(arguments.host, arguments.port)
    except PrefloopError as error:
        sys.exit(f"prefloop: {error}")


def serve(host: str, port: int) -> None:
    """Serve the workspace of the environment until interrupted.

    Raises:
        PrefloopError: a setting cannot be used, or there is no workspace.
    """
    secret = oidc.cookie_secret(workspace_of_environment())
    os.environ["STREAMLIT_SERVER_COOKIE_SECRET"] = secret
    provider = oidc.own_provider()
    secrets = {} if provider is None else {
        "auth": provider.streamlit_section(app_url(host, port), secret)}
    from streamlit.starlette import App

    app = App(Path(__file__).with_name("app.py"), routes=ROUTES, secrets=secrets or None,
              middleware=[Middleware(SafeHeaders, single_sign_on=provider is not None),
                          Middleware(Gate, store=store)], lifespan=_while_up)
    warming.soon()
    app.run(config={**OPTIONS, "server.address": host, "server.port": port,
                    "server.corsAllowedOrigins": [url] if (url := public_url()) else []})


if __name__ == "__main__":
    main()
