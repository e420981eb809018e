"""The app's server: Streamlit with prefloop's own routes, headers and look.

`python -m annotate.server --host H --port P`, with the workspace in the environment; see
`annotate.launch.command`.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import re
from pathlib import Path
from typing import Any

import streamlit
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from annotate.launch import DEFAULT_HOST
from annotate.signin import ROUTES

#: Parts of Streamlit that prefloop does not use and that answer without a session.
CLOSED_PATHS = ("/_stcore/upload_file", "/_stcore/metrics", "/_stcore/agent")

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
    "server.enableAgentApi": False,
    "server.fileWatcherType": "none",
    "server.headless": True,
    "server.maxUploadSize": 1,
    "theme.baseRadius": "0.5rem",
    "theme.showWidgetBorder": True,
    **{f"theme.light.{name}": value for name, value in _LIGHT.items()},
    **{f"theme.dark.{name}": value for name, value in _DARK.items()},
}


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

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
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
        if scope["path"].startswith(CLOSED_PATHS):
            await send({"type": "http.response.start", "status": 404, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = {name for name, _ in self._headers}
                kept = [pair for pair in message["headers"] if pair[0].lower() not in own]
                message = {**message, "headers": kept + self._headers}
            await send(message)

        await self._app(scope, receive, with_headers)


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m annotate.server")
    parser.add_argument("--host", default=DEFAULT_HOST)
    parser.add_argument("--port", type=int, default=8501)
    arguments = parser.parse_args()
    from streamlit.starlette import App

    app = App(Path(__file__).with_name("app.py"), routes=ROUTES,
              middleware=[Middleware(SafeHeaders)])
    app.run(config={**OPTIONS, "server.address": arguments.host, "server.port": arguments.port})


if __name__ == "__main__":
    main()
