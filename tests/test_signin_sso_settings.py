"""The settings of single sign-on: from where they come, what is refused, what the docs say."""

from __future__ import annotations

from pathlib import Path

import pytest
from hostile_text import ALL, LARGE

from annotate.door.oidc import SECRETS_NAME, provider_of
from annotate.door.signin import _EACH, _EVERYBODY
from data.errors import BadInput
from data.people import CODE_LIFETIME
from data.sessions import SessionRules


@pytest.mark.parametrize(("text", "why"), [
    ('[auth]\nissuer = "http://id.example.org"\nclient_id = "a"\nclient_secret = "b"', "https"),
    ('[auth]\nissuer = "https://id.example.org"\nclient_secret = "b"', "client_id is missing"),
    ('[auth]\nissuer = "https://id.example.org"\nclient_id = "a"', "client_secret is missing"),
    ('[auth]\nisuer = "https://id.example.org"', "isuer"),
    ("[auth]\nissuer = 3", "issuer"),
    ("[auth", "secrets.toml"), ("auth = 3", "auth: wanted a table"),
])
def test_settings_that_cannot_be_used_are_named(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / SECRETS_NAME
    path.touch(mode=0o600)
    path.write_text(text)
    with pytest.raises(BadInput, match=why):
        provider_of(tmp_path, {})


def test_the_environment_goes_before_the_file(tmp_path: Path) -> None:
    assert provider_of(tmp_path, {}) is None
    found = provider_of(tmp_path, {
        "PREFLOOP_OIDC_ISSUER": "https://id.example.org", "PREFLOOP_OIDC_CLIENT_ID": "a",
        "PREFLOOP_OIDC_CLIENT_SECRET": "b"})
    assert found is not None and found.client_secret == "b"
    section = found.streamlit_section("https://label.example.org", "signing secret")
    assert section["redirect_uri"] == "https://label.example.org/oauth2callback"
    assert section["server_metadata_url"] == \
        "https://id.example.org/.well-known/openid-configuration"


def test_the_documented_settings_are_accepted(tmp_path: Path) -> None:
    page = (Path(__file__).parents[1] / "docs" / "security.md").read_text("utf-8")
    path = tmp_path / SECRETS_NAME
    path.touch(mode=0o600)
    path.write_text(page.split("```ini\n")[1].split("```")[0])
    found = provider_of(tmp_path, {})
    assert found is not None and found.name == "Example Ltd"
    rules = SessionRules()
    assert f"{rules.lifetime_days} days after signing in" in page
    assert f"{rules.idle_hours}\n  hours" in page
    words = " ".join(page.split())
    assert f"After {_EACH.burst} failed tries from one address" in words
    assert f"after {_EVERYBODY.burst} failed tries from all addresses together" in words
    assert f"{1 / _EVERYBODY.seconds:g} a second" in words
    assert f"within {CODE_LIFETIME.days} days" in page and f"{len(ALL) + len(LARGE)} ways" in page
