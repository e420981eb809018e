"""How the rest of prefloop starts the app: a command line, its environment and a health address.

Free of Streamlit, so that the command line stays quick.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from data.errors import BadInput

WORKSPACE_VARIABLE = "PREFLOOP_WORKSPACE"
#: Where people reach the app, where that is not its own address: behind a reverse proxy.
PUBLIC_URL_VARIABLE = "PREFLOOP_PUBLIC_URL"
DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8501


def command(workspace: Path, host: str = DEFAULT_HOST,
            port: int = DEFAULT_PORT) -> tuple[list[str], dict[str, str]]:
    """The server's argument vector, and what to add to its environment."""
    return ([sys.executable, "-m", "annotate.server", "--host", host, "--port", str(port)],
            {WORKSPACE_VARIABLE: str(workspace.resolve()),
             # Each run of a page is a thread; with an arena for each, memory would lie idle.
             "MALLOC_ARENA_MAX": os.environ.get("MALLOC_ARENA_MAX", "2")})


def health_url(host: str, port: int) -> str:
    """Answers 200 once the app and its database work; any address means this machine."""
    return f"{_base(host, port)}/healthz"


def signin_url(host: str, port: int, code: str) -> str:
    """The link that signs a person in with a one-time code."""
    return signin_link(app_url(host, port), code)


def signin_link(app: str, code: str) -> str:
    """The same, to an app at this address."""
    return f"{app}/signin?code={code}"


def address_of(host: str, port: int) -> dict[str, Any]:
    """Where an app that is about to start is to be reached, for the workspace to keep: another
    shell's environment says nothing about it.

    Raises:
        BadInput: see `public_url`.
    """
    return {"host": host, "port": port, "public_url": public_url()}


def url_of(address: Mapping[str, Any]) -> str:
    """Where people reach the app of an `address_of`; of the default one where none was kept."""
    public = address["public_url"] if "public_url" in address else public_url()
    return public or _base(address.get("host", DEFAULT_HOST), address.get("port", DEFAULT_PORT))


def app_url(host: str, port: int) -> str:
    """Where people reach the app: the public address, or its own."""
    return public_url() or _base(host, port)


def public_url() -> str | None:
    """The app's address as people see it, without a path or a slash; None: its own.

    Raises:
        BadInput: the environment names something else.
    """
    given = os.environ.get(PUBLIC_URL_VARIABLE, "").strip().rstrip("/")
    if not given:
        return None
    parts = urlsplit(given)
    if parts.scheme not in ("http", "https") or not parts.hostname \
            or given != f"{parts.scheme}://{parts.netloc}" or "@" in parts.netloc:
        raise BadInput(f"{PUBLIC_URL_VARIABLE}: wanted an address such as "
                       f"https://label.example.org, not {given!r}")
    return given


def _base(host: str, port: int) -> str:
    name = "127.0.0.1" if host in ("", "0.0.0.0", "::") else host
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def workspace_of_environment() -> Path:
    """The workspace that the server was started for."""
    return Path(os.environ.get(WORKSPACE_VARIABLE, "runs/default"))


def cookie_name() -> str:
    """One name a workspace: cookies ignore the port, and two workspaces may share a host."""
    path = str(workspace_of_environment().resolve())
    return "prefloop_" + hashlib.sha256(path.encode()).hexdigest()[:12]
