"""An OpenID Connect provider on this machine: discovery, authorization code with PKCE, RS256.

It asks for no password: whoever comes to it is `claims`, and a test says who that is.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode

import uvicorn
from joserfc import jwt
from joserfc.jwk import RSAKey
from processes import free_port
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

CLIENT_ID, CLIENT_SECRET = "prefloop-test", "a secret of the test"


@dataclass
class Provider:
    """The provider's state; `claims` go into the next ID token, `signed_by` signs it."""

    port: int
    claims: dict[str, Any] = field(default_factory=dict)
    published: RSAKey = field(default_factory=lambda: _key("published"))
    signed_by: RSAKey | None = None
    audience: str = CLIENT_ID
    asked: list[dict[str, str]] = field(default_factory=list)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def issuer(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    async def configuration(self, request: Request) -> Response:
        """Where everything is."""
        return JSONResponse({
            "issuer": self.issuer, "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token", "jwks_uri": f"{self.issuer}/jwks",
            "response_types_supported": ["code"], "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "code_challenge_methods_supported": ["S256"]})

    async def authorize(self, request: Request) -> Response:
        """Back to the app at once, with a code."""
        asked = dict(request.query_params)
        self.asked.append(asked)
        code = secrets.token_urlsafe(16)
        self.codes[code] = asked
        return RedirectResponse(asked["redirect_uri"] + "?" + urlencode(
            {"code": code, "state": asked["state"]}))

    async def token(self, request: Request) -> Response:
        """An ID token for a code, once, to who knows the secret and the verifier."""
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode())
                .items()}
        asked = self.codes.pop(form["code"], None)
        basic = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if asked is None or asked["code_challenge"] != challenge \
                or request.headers["authorization"] != f"Basic {basic}" \
                or form["redirect_uri"] != asked["redirect_uri"]:
            return JSONResponse({"error": "invalid_grant"}, status_code=400)
        now = int(time.time())
        claims = {"iss": self.issuer, "sub": "somebody", "aud": self.audience, "iat": now,
                  "exp": now + 60, "nonce": asked["nonce"], **self.claims}
        signer = self.signed_by or self.published
        return JSONResponse({
            "access_token": secrets.token_urlsafe(16), "token_type": "Bearer", "expires_in": 60,
            "id_token": jwt.encode({"alg": "RS256", "kid": "published"}, claims, signer)})

    async def jwks(self, request: Request) -> Response:
        """The key that it signs with, or claims to."""
        return JSONResponse({"keys": [self.published.as_dict(private=False)]})


def _key(name: str) -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": name, "use": "sig", "alg": "RS256"})


def stranger() -> RSAKey:
    """A key that the provider does not publish."""
    return _key("published")


@contextmanager
def providing() -> Iterator[Provider]:
    """The provider, running while the block lasts."""
    provider = Provider(free_port())
    app = Starlette(routes=[
        Route("/.well-known/openid-configuration", provider.configuration),
        Route("/authorize", provider.authorize), Route("/jwks", provider.jwks),
        Route("/token", provider.token, methods=["POST"])])
    server = uvicorn.Server(uvicorn.Config(app, "127.0.0.1", provider.port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the provider did not start"
            time.sleep(0.02)
        yield provider
    finally:
        server.should_exit = True
        thread.join(10)
