"""Single sign-on: an OpenID Connect provider says who somebody is, the workspace what they may do.

Streamlit speaks with the provider, on its own routes (`/auth/login`, `/oauth2callback`), and
leaves what the provider said in a signed cookie. That cookie would last thirty days and could not
be taken back, so it is traded at once for a session of ours (`annotate.door.signin`), which can.
"""

from __future__ import annotations

import json
import os
import secrets
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from annotate.launch import workspace_of_environment
from data.errors import BadInput

SECRETS_NAME = "secrets.toml"
#: Signs Streamlit's cookies; kept, so that a restart ends nobody's half-made sign-in.
COOKIE_SECRET_NAME = "cookie_secret"
LOGIN_PATH, CALLBACK_PATH = "/auth/login", "/oauth2callback"
_VARIABLES = {name: f"PREFLOOP_OIDC_{name.upper()}"
              for name in ("issuer", "client_id", "client_secret", "name")}
#: What the provider said is believed this long after it said so.
_FRESH_SECONDS = 600
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class Provider:
    """Where people prove who they are.

    Raises:
        BadInput: a field is missing or no such address; the message names it.
    """

    issuer: str
    """The provider's address; its configuration is at /.well-known/openid-configuration below."""
    client_id: str
    """What the provider calls this app."""
    client_secret: str
    """What proves to the provider that it is this app."""
    name: str = "your organisation's account"
    """What the button says after "Sign in with"."""

    def __post_init__(self) -> None:
        for field in ("issuer", "client_id", "client_secret"):
            if not getattr(self, field).strip():
                raise BadInput(f"single sign-on: {field} is missing (in {SECRETS_NAME} or "
                               f"{_VARIABLES[field]})")
        parts = urlsplit(self.issuer)
        if not parts.hostname or not (
                parts.scheme == "https"
                or (parts.scheme == "http" and parts.hostname in _LOOPBACK)):
            raise BadInput(f"single sign-on: issuer must be an https address, not {self.issuer!r}")

    def streamlit_section(self, address: str, cookie_secret: str) -> dict[str, Any]:
        """The `[auth]` section of Streamlit's secrets, for an app that people see at `address`."""
        return {"client_id": self.client_id, "client_secret": self.client_secret,
                "server_metadata_url":
                    self.issuer.rstrip("/") + "/.well-known/openid-configuration",
                "redirect_uri": address + CALLBACK_PATH, "cookie_secret": cookie_secret}


def provider_of(workspace: Path, environment: Mapping[str, str] = os.environ) -> Provider | None:
    """The provider that the workspace's secrets file or the environment names; None for none.

    Raises:
        BadInput: a setting is missing or unknown, the file can be read by others, or the
            packages that single sign-on needs are not installed.
    """
    settings = _of_file(workspace / SECRETS_NAME)
    settings |= {name: environment[variable] for name, variable in _VARIABLES.items()
                 if environment.get(variable)}
    if not settings:
        return None
    if find_spec("authlib") is None or find_spec("httpx") is None:
        raise BadInput("single sign-on needs Authlib and httpx: pip install 'prefloop[sso]'")
    return Provider(**{"issuer": "", "client_id": "", "client_secret": ""} | settings)


def _of_file(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise BadInput(f"{path}: others can read it; run `chmod 600 {path}`")
    try:
        section = tomllib.loads(path.read_text("utf-8")).get("auth", {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise BadInput(f"{path}: {error}") from None
    if not isinstance(section, dict):
        raise BadInput(f"{path}: auth: wanted a table, [auth]")
    for name, value in section.items():
        if name not in _VARIABLES or not isinstance(value, str):
            raise BadInput(f"{path}: [auth] {name}: wanted a text, and one of "
                           f"{', '.join(_VARIABLES)}")
    return dict(section)


def cookie_secret(workspace: Path) -> str:
    """The workspace's secret for signing cookies, made on first use, readable by its owner.

    Raises:
        BadInput: the file holds no secret.
    """
    path = workspace / COOKIE_SECRET_NAME
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        pass
    else:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
    secret = path.read_bytes().strip()
    if len(secret) < 32 or not secret.isascii():
        raise BadInput(f"{path}: holds no secret; remove the file to have a new one made")
    return secret.decode("ascii")


@lru_cache(maxsize=1)
def own_provider() -> Provider | None:
    """The provider of the workspace that this server serves; read once, like all secrets."""
    return provider_of(workspace_of_environment())


def login_address() -> str:
    """Streamlit's route to the provider; good for two minutes."""
    from streamlit.auth_util import encode_provider_token

    return f"{LOGIN_PATH}?provider={encode_provider_token('default')}"


def proven_email(request: Request) -> tuple[str | None, str]:
    """The address that the provider has just vouched for; or None, and why not."""
    from streamlit.auth_util import get_cookie_with_chunks
    from streamlit.web.server.server_util import get_cookie_secret
    from streamlit.web.server.starlette.starlette_app_utils import decode_signed_value
    from streamlit.web.server.starlette.starlette_server_config import USER_COOKIE_NAME

    def signed(name: str) -> bytes | None:
        value = request.cookies.get(name)
        return None if value is None else decode_signed_value(
            get_cookie_secret(), name, value.encode("latin-1"), _FRESH_SECONDS / 86_400)

    raw = get_cookie_with_chunks(signed, USER_COOKIE_NAME)
    if raw is None:
        return None, "The other page did not confirm who you are, or it took too long. Try again."
    claims = json.loads(raw)
    email = claims.get("email")
    if not isinstance(email, str) or not email.strip():
        return None, "The other page did not tell your e-mail address."
    # Entra's claims mapping can send nothing but texts.
    if (verified := claims.get("email_verified")) is not True and verified != "true":
        said = "no email_verified" if verified is None else "an email_verified that is not true"
        return None, (f"The other page does not vouch that {email} is your address: it sends "
                      f"{said}. Show this to your lead, or to whoever set up single sign-on: the "
                      "provider's settings have to change.")
    return email.strip().lower(), ""


def forget(request: Request, response: Response) -> None:
    """Take back the cookies that Streamlit's part of the sign-in has left."""
    for name in request.cookies:
        if name.startswith("_streamlit_user"):
            response.delete_cookie(name, httponly=True, samesite="lax")
