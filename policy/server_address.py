"""Which addresses of a server that samples are taken. Free of torch, as the settings are."""

from __future__ import annotations

from urllib.parse import urlsplit

from data.errors import BadInput


def check_address(address: str) -> None:
    """Take the HTTP address of a server, without anything secret in it.

    Raises:
        BadInput: it is no such thing.
    """
    try:
        parts = urlsplit(address)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    if not fits or not (address.isascii() and address.isprintable()) or " " in address:
        raise BadInput("--server: wanted an address such as http://127.0.0.1:8000/v1")
    if parts.username is not None or parts.password is not None:
        raise BadInput("--server: the address must hold no name or password; an API key belongs "
                       "into PREFLOOP_SERVER_KEY in the environment")
    if parts.query or parts.fragment:
        raise BadInput("--server: the address must end with its path, without ? or #")
