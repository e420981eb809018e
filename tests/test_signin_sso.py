"""Single sign-on against a provider that runs here: who comes in, who does not, and how it ends."""

from __future__ import annotations

import json
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from browser import Server, Visit, make_workspace, press, serving
from oidc_provider import CLIENT_ID, CLIENT_SECRET, Provider, providing, stranger
from playwright.sync_api import expect
from streamlit_client import Reply, Visitor

from annotate.door.oidc import SECRETS_NAME, cookie_secret
from data.errors import BadInput


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with providing() as running:
        yield running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, provider: Provider) -> Iterator[Server]:
    workspace = tmp_path_factory.mktemp("sso") / "workspace"
    make_workspace(workspace)
    secrets = workspace / SECRETS_NAME
    secrets.touch(mode=0o600)
    secrets.write_text(f'[auth]\nissuer = "{provider.issuer}"\nclient_id = "{CLIENT_ID}"\n'
                       f'client_secret = "{CLIENT_SECRET}"\nname = "Example <b>Ltd</b>"\n')
    with serving(workspace) as running:
        yield running


@pytest.fixture(autouse=True)
def honest(provider: Provider) -> None:
    provider.claims, provider.signed_by, provider.audience = {}, None, CLIENT_ID


def _patiently(who: Visitor, path: str) -> Reply:
    """All come from one address, and failed tries of one address are few."""
    for _ in range(10):
        answer = who.request("GET", path)
        if answer.status != 429:
            break
        time.sleep(float(answer.headers["retry-after"]))
    return answer


def follow(visitor: Visitor, provider: Provider, path: str = "/signin/start") -> Reply:
    """Go where a browser is sent, to the provider and back, until a page comes or the app."""
    elsewhere = Visitor(provider.issuer)
    for _ in range(10):
        url = urlsplit(path)
        who = elsewhere if url.port == provider.port else visitor
        answer = _patiently(who, url._replace(scheme="", netloc="").geturl())
        path = answer.headers.get("location", "")
        if not 300 <= answer.status < 400 or path == "/":
            return answer
    raise AssertionError("sent in circles")


def token_of(visitor: Visitor) -> str | None:
    return next((value for name, value in visitor.cookies.items()
                 if name.startswith("prefloop_")), None)


@pytest.fixture
def arrive(server: Server, provider: Provider) -> Callable[..., tuple[Visitor, Reply]]:
    """Come back from the provider as who the claims say."""
    def come(**claims: Any) -> tuple[Visitor, Reply]:
        visitor = Visitor(server.url)
        provider.claims = claims
        return visitor, follow(visitor, provider)
    return come


def test_a_person_of_a_known_address_comes_in_and_goes_out(
        server: Server, provider: Provider, arrive: Callable[..., tuple[Visitor, Reply]]) -> None:
    people = server.store.people
    lead = people.add("Lea", "lead", config={"email": "lea@example.org"})
    page = Visitor(server.url).request("GET", "/signin").text
    assert "Sign in with Example &lt;b&gt;Ltd&lt;/b&gt;" in page
    visitor, answer = arrive(email="Lea@Example.org", email_verified=True)
    assert answer.headers["location"] == "/"
    token = token_of(visitor)
    assert token and people.of_session(token) == lead  # the role is the workspace's, not theirs
    cookie = next(line for line in answer.set_cookie if line.startswith("prefloop_"))
    assert "httponly" in cookie.lower() and "samesite=lax" in cookie.lower()
    # What Streamlit would keep for thirty days is gone: signing out here is signing out.
    assert not [name for name in visitor.cookies if name.startswith("_streamlit_user")]
    entry = server.store.audit.entries(labeler_id=lead.id)[0]
    assert (entry.labeler_id, entry.action, entry.details) == (
        lead.id, "sign in", {"way": "single sign-on"})
    visitor.sign_out()
    assert people.of_session(token) is None and token_of(visitor) is None
    asked = provider.asked[-1]
    assert asked["code_challenge_method"] == "S256" and len(asked["state"]) >= 20
    assert "nonce" in asked and "openid" in asked["scope"] and "email" in asked["scope"]


def test_a_name_that_is_an_address_is_enough(
        server: Server, arrive: Callable[..., tuple[Visitor, Reply]]) -> None:
    bob = server.store.people.add("bob@example.org")
    visitor, _ = arrive(email="bob@example.org", email_verified=True)
    assert server.store.people.of_session(token_of(visitor) or "") == bob


def test_a_provider_that_can_only_send_texts_vouches_too(
        server: Server, arrive: Callable[..., tuple[Visitor, Reply]]) -> None:
    """As Microsoft Entra's claims mapping does."""
    tea = server.store.people.add("tea@example.org")
    visitor, _ = arrive(email="tea@example.org", email_verified="true")
    assert server.store.people.of_session(token_of(visitor) or "") == tea


@pytest.mark.parametrize(("claims", "why"), [
    ({"email": "eve@example.org", "email_verified": True}, "Nobody here has the address"),
    ({"email": "lea2@example.org", "email_verified": False}, "an email_verified that is not true"),
    ({"email": "lea2@example.org", "email_verified": 1}, "does not vouch"),
    ({"email": "lea2@example.org", "email_verified": "false"}, "does not vouch"),
    ({"email": "lea2@example.org"}, "it sends no email_verified"),
    ({"email_verified": True}, "did not tell your e-mail"),
    ({"email": "gone@example.org", "email_verified": True}, "disabled"),
    ({"email": "<script>alert(1)</script>@example.org", "email_verified": True}, "&lt;script&gt;"),
])
def test_everybody_else_stays_out(server: Server, arrive: Callable[..., tuple[Visitor, Reply]],
                                  claims: dict[str, Any], why: str) -> None:
    people = server.store.people
    if people.of_email("gone@example.org") is None:
        people.add("Lea 2", "lead", config={"email": "lea2@example.org"})
        people.set_disabled(people.add("gone@example.org").id, True)
    before = len(people.all())
    visitor, answer = arrive(**claims)
    assert answer.status == 403 and why in answer.text and "<script>" not in answer.text
    assert token_of(visitor) is None and len(people.all()) == before


def test_whoever_may_join_joins_as_a_labeler(
        server: Server, arrive: Callable[..., tuple[Visitor, Reply]]) -> None:
    people = server.store.people
    people.set_domains(["joining.example"])
    visitor, _ = arrive(email="new@joining.example", email_verified=True, role="lead")
    joined = people.of_session(token_of(visitor) or "")
    assert joined is not None and (joined.name, joined.role) == ("new@joining.example", "labeler")
    assert [entry.action for entry in server.store.audit.entries(labeler_id=joined.id)] == [
        "sign in", "join"]
    again, _ = arrive(email="new@joining.example", email_verified=True)
    assert people.of_session(token_of(again) or "") == joined
    people.set_email(joined.id, "")  # taken back, the address is no way in, nor one to join anew
    visitor, answer = arrive(email="new@joining.example", email_verified=True)
    assert answer.status == 403 and token_of(visitor) is None
    for other in ("eve@evil.joining.example", "eve@joining.example.evil", "eve@xjoining.example"):
        visitor, answer = arrive(email=other, email_verified=True)
        assert answer.status == 403 and token_of(visitor) is None
    people.set_domains([])


@pytest.mark.parametrize("claims", [
    {"iss": "https://evil.example"}, {"aud": "another app"}, {"exp": 1}, {"nonce": "replayed"}])
def test_a_token_that_is_not_for_this_sign_in_is_refused(
        server: Server, arrive: Callable[..., tuple[Visitor, Reply]],
        claims: dict[str, Any]) -> None:
    if server.store.people.of_email("ida@example.org") is None:
        server.store.people.add("Ida", config={"email": "ida@example.org"})
    visitor, answer = arrive(email="ida@example.org", email_verified=True, **claims)
    assert answer.status == 403 and token_of(visitor) is None


def test_a_token_with_a_strange_signature_is_refused(
        server: Server, provider: Provider, arrive: Callable[..., tuple[Visitor, Reply]]) -> None:
    server.store.people.add("Uma", config={"email": "uma@example.org"})
    provider.signed_by = stranger()
    visitor, answer = arrive(email="uma@example.org", email_verified=True)
    assert answer.status == 403 and token_of(visitor) is None
    provider.signed_by = None
    visitor, _ = arrive(email="uma@example.org", email_verified=True)
    assert token_of(visitor)


def test_callbacks_and_cookies_cannot_be_made_up(server: Server, provider: Provider) -> None:
    """No state, another browser's state, an unsigned cookie: nobody is signed in."""
    server.store.people.add("Max", config={"email": "max@example.org"})
    provider.claims = {"email": "max@example.org", "email_verified": True}
    visitor = Visitor(server.url)
    assert follow(visitor, provider, "/oauth2callback?code=x&state=y").status == 403
    started = visitor.request("GET", visitor.request("GET", "/signin/start").headers["location"])
    back = Visitor(provider.issuer).request(
        "GET", urlsplit(started.headers["location"])._replace(scheme="", netloc="").geturl())
    callback = urlsplit(back.headers["location"])._replace(scheme="", netloc="").geturl()
    victim = Visitor(server.url)  # was sent the attacker's link
    assert follow(victim, provider, callback).status == 403 and token_of(victim) is None
    forged = Visitor(server.url, {"_streamlit_user": json.dumps(
        {"email": "max@example.org", "email_verified": True, "is_logged_in": True})})
    answer = follow(forged, provider, "/signin/done")
    assert answer.status == 403 and token_of(forged) is None


def test_secrets_are_the_owners_alone(server: Server, tmp_path: Path) -> None:
    path = server.store.database.path.with_name("cookie_secret")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and len(path.read_text()) >= 64
    assert cookie_secret(path.parent) == path.read_text()
    assert cookie_secret(tmp_path) != path.read_text()
    for broken in (b"short", b"\xff" * 64):
        (tmp_path / "cookie_secret").write_bytes(broken)
        with pytest.raises(BadInput, match="cookie_secret: holds no secret"):
            cookie_secret(tmp_path)


@pytest.mark.browser
def test_a_browser_is_led_there_and_back(server: Server, provider: Provider,
                                         window: Callable[..., Visit]) -> None:
    """Past the content security policy, which lets no form lead to another site."""
    server.store.people.add("Bea", config={"email": "bea@example.org"})
    provider.claims = {"email": "bea@example.org", "email_verified": True}
    page = window().page
    page.goto(f"{server.url}/account")
    sign_on = page.get_by_role("link", name="Sign in with Example <b>Ltd</b>")
    sign_on.click()
    page.wait_for_url(f"{server.url}/signin")  # on which there is one of this name, too
    sign_on.click()
    expect(page.get_by_test_id("stTopNavLink").first).to_be_visible()
    page.goto(f"{server.url}/account")
    expect(page.get_by_text("Signed in as Bea")).to_be_visible()
    press(page, page.get_by_role("button", name="Sign out"))
    expect(page.get_by_text("You are not signed in")).to_be_visible()


def test_who_lost_an_address_does_not_join_by_it(
        server: Server, arrive: Callable[..., tuple[Visitor, Reply]]) -> None:
    people, why = server.store.people, "Nobody here has the address"
    people.set_domains(["lost.example"])
    ada = people.add("Ada L.", config={"email": "ada@lost.example"})
    people.set_email(ada.id, "")
    bea = people.add("Bea L.", config={"email": "bea@lost.example"})
    people.set_email(bea.id, "bea@elsewhere.example")
    people.set_disabled(bea.id, True)
    people.add("cas@lost.example", kind="imported")  # an annotator of a file, by whom it is taken
    before = len(people.all())
    for email in ("ada@lost.example", "bea@lost.example", "cas@lost.example"):
        visitor, answer = arrive(email=email, email_verified=True)
        assert answer.status == 403 and token_of(visitor) is None
        assert f"{why} {email}. Ask your lead to add you." in answer.text
    assert len(people.all()) == before
    eve = people.add("Eve L.", config={"email": "ada@lost.example"})  # whose it is now
    visitor, _ = arrive(email="ada@lost.example", email_verified=True)
    assert people.of_session(token_of(visitor) or "") == eve
    people.set_domains([])
