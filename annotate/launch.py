"""How the rest of prefloop starts the app: a command line, its environment and a health address.

Free of Streamlit, so that the command line stays quick.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

WORKSPACE_VARIABLE = "PREFLOOP_WORKSPACE"
DEFAULT_HOST = "127.0.0.1"


def command(workspace: Path, host: str = DEFAULT_HOST,
            port: int = 8501) -> tuple[list[str], dict[str, str]]:
    """The server's argument vector, and what to add to its environment."""
    return ([sys.executable, "-m", "annotate.server", "--host", host, "--port", str(port)],
            {WORKSPACE_VARIABLE: str(workspace.resolve())})


def health_url(host: str, port: int) -> str:
    """Answers 200 once the app and its database work; any address means this machine."""
    return f"{_base(host, port)}/healthz"


def signin_url(host: str, port: int, code: str) -> str:
    """The link that signs a person in with a one-time code."""
    return f"{_base(host, port)}/signin?code={code}"


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
