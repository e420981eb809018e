"""Signing in and out over HTTP: links that work once, tries that are counted, cookies that are kept
from scripts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.cookies import SimpleCookie
from itertools import count
from pathlib import Path

import pytest
from browser import Server, make_workspace, serving
from starlette.requests import Request
from streamlit_client import Visitor
from websockets.exceptions import InvalidStatus

from annotate.door import signin
from annotate.door.signin import _EACH
from data.errors import BadInput, PrefloopError
from data.records import Labeler


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    workspace = tmp_path_factory.mktemp("signin") / "workspace"
    make_workspace(workspace)
    with serving(workspace) as running:
        yield running


@pytest.fixture
def person(server: Server) -> Callable[..., Labeler]:
    return lambda role="labeler": server.store.people.add(f"person {next(_number)}", role)


_number = count(1)
_client = (f"10.1.{number // 200}.{number % 200 + 1}" for number in count())


@pytest.fixture
def visitor(server: Server) -> Visitor:
    """A browser at an address of its own, as a proxy on this machine would tell it."""
    found = Visitor(server.url)
    found.headers["X-Forwarded-For"] = next(_client)
    return found


def code_of(server: Server, labeler: Labeler) -> str:
    return server.store.people.create_code(labeler.id)


def token_of(visitor: Visitor) -> str:
    return next(value for name, value in visitor.cookies.items() if name.startswith("prefloop_"))


def living(server: Server, token: str) -> bool:
    return server.store.people.of_session(token) is not None


def test_a_link_is_looked_at_often_and_works_once(
        server: Server, visitor: Visitor, person: Callable[..., Labeler]) -> None:
    labeler = person()
    code = code_of(server, labeler)
    for _ in range(3):
        page = visitor.request("GET", f"/signin?code={code}")
        assert page.status == 200 and f"Sign in as <bdi>{labeler.name}" in page.text
    assert not visitor.cookies
    assert visitor.sign_in(code).status == 303 and living(server, token_of(visitor))
    again = Visitor(server.url, headers=dict(visitor.headers))
    refused = again.sign_in(code)
    assert refused.status == 403 and "does not work" in refused.text and not again.cookies
    assert again.request("GET", f"/signin?code={code}").status == 403
    # Who is signed in and opens the old link again is taken to the app.
    assert visitor.request("GET", f"/signin?code={code}").headers["location"] == "/"


def test_expired_replaced_disabled_and_guessed_links_are_refused_alike(
        server: Server, visitor: Visitor, person: Callable[..., Labeler]) -> None:
    people = server.store.people
    expired = people.create_code(person().id, lifetime=timedelta(seconds=-1))
    twice = person()
    replaced, _ = people.create_code(twice.id), people.create_code(twice.id)
    gone = person()
    disabled = people.create_code(gone.id)
    people.set_disabled(gone.id, True)
    answers = [visitor.sign_in(code) for code in
               (expired, replaced, disabled, "guess", "", "x" * 5000, "\0", "é' OR 1=1 --")]
    assert {answer.status for answer in answers} == {403} and not visitor.cookies
    assert len({answer.body for answer in answers}) == 1


def test_guessing_is_slowed_down_and_nobody_is_locked_out_for_long(
        server: Server, visitor: Visitor, person: Callable[..., Labeler]) -> None:
    code = code_of(server, person())
    before = len(server.store.audit.entries(action="failed sign-in", limit=1000))
    began = time.monotonic()
    found = [visitor.sign_in(f"guess {i}").status for i in range(25)]
    assert found[:20] == [403] * 20
    assert found.count(429) >= 5 - (time.monotonic() - began) // _EACH.seconds  # it refills
    while visitor.sign_in("guess").status != 403:  # so that it has just been emptied
        pass
    slowed = visitor.sign_in(code)  # a right one is not let through either: that would tell
    assert slowed.status == 429 and "Too many tries" in slowed.text
    wait = int(slowed.headers["retry-after"])
    assert 1 <= wait <= 3 and f"Wait {wait} second" in slowed.text
    assert visitor.request("GET", f"/signin?code={code}").status == 429
    other = Visitor(server.url, headers={"X-Forwarded-For": next(_client)})
    assert other.request("GET", f"/signin?code={code}").status == 200
    time.sleep(wait)
    assert visitor.sign_in(code).status == 303
    told = server.store.audit.entries(action="failed sign-in", limit=1000)
    assert len(told) - before <= 1  # many failures, one entry a minute at most


def test_the_cookie_is_kept_from_scripts_and_from_plain_http(
        server: Server, visitor: Visitor, person: Callable[..., Labeler]) -> None:
    plain = visitor.sign_in(code_of(server, person()))
    visitor.headers["X-Forwarded-Proto"] = "https"  # from a proxy on this machine
    secure = visitor.sign_in(code_of(server, person()))
    for answer, https in ((plain, False), (secure, True)):
        (line,) = answer.set_cookie
        (morsel,) = SimpleCookie(line).values()
        assert morsel["httponly"] and morsel["samesite"].lower() == "lax" and morsel["path"] == "/"
        assert bool(morsel["secure"]) is https
        assert int(morsel["max-age"]) == 14 * 24 * 3600
        assert ("strict-transport-security" in answer.headers) is https


def test_signing_in_and_out_ends_what_was_before_and_is_told(
        server: Server, visitor: Visitor, person: Callable[..., Labeler]) -> None:
    first, second = person(), person()
    visitor.sign_in(code_of(server, first))
    before = token_of(visitor)
    visitor.sign_in(code_of(server, second))
    after = token_of(visitor)
    assert not living(server, before) and living(server, after)
    answer = visitor.sign_out()
    assert answer.status == 303 and not living(server, after)
    assert not [name for name in visitor.cookies if name.startswith("prefloop_")]
    told = server.store.audit.entries(limit=10)  # of the failures of others too, now and then
    assert [(entry.labeler_id, entry.action) for entry in told if entry.labeler_id][:4] == [
        (second.id, "sign out"), (first.id, "sign out"), (second.id, "sign in"),
        (first.id, "sign in")]


def test_another_site_can_neither_sign_in_nor_out(
        server: Server, visitor: Visitor, person: Callable[..., Labeler]) -> None:
    foreign = {"Sec-Fetch-Site": "cross-site"}
    code = code_of(server, person())
    assert visitor.request("POST", "/signin", {"code": code}, foreign).status == 403
    visitor.sign_in(code)
    token = token_of(visitor)
    assert not visitor.request("POST", "/signout", {}, foreign).set_cookie
    visitor.request("GET", "/signout")
    assert living(server, token) and token_of(visitor) == token


def test_downloads_need_a_session(server: Server, visitor: Visitor,
                                  person: Callable[..., Labeler]) -> None:
    assert visitor.request("GET", "/media/guess.csv").status == 403
    visitor.sign_in(code_of(server, person()))
    assert visitor.request("GET", "/media/guess.csv").status == 404



def test_the_health_check_tells_strangers_no_path(monkeypatch: pytest.MonkeyPatch,
                                                  caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> None:
        raise PrefloopError("/secret/place/prefloop.db cannot be read")

    monkeypatch.setattr(signin, "store", broken)
    answer = asyncio.run(signin.health(Request({"type": "http"})))
    assert answer.status_code == 503 and b"secret" not in bytes(answer.body)
    assert "/secret/place" in caplog.text  # whoever runs the server reads why


def test_a_public_address_is_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    from annotate.launch import PUBLIC_URL_VARIABLE, signin_url

    monkeypatch.setenv(PUBLIC_URL_VARIABLE, "https://label.example.org/")
    assert signin_url("0.0.0.0", 8501, "x") == "https://label.example.org/signin?code=x"
    for wrong in ("label.example.org", "ftp://example.org", "https://a@b.org", "https://x.org/app"):
        monkeypatch.setenv(PUBLIC_URL_VARIABLE, wrong)
        with pytest.raises(BadInput, match=PUBLIC_URL_VARIABLE):
            signin_url("0.0.0.0", 8501, "x")
    monkeypatch.setenv(PUBLIC_URL_VARIABLE, "")
    assert signin_url("0.0.0.0", 8501, "x") == "http://127.0.0.1:8501/signin?code=x"


def test_a_server_with_a_wrong_setting_does_not_start(tmp_path: Path,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    make_workspace(tmp_path / "w")
    secrets = tmp_path / "w" / "secrets.toml"
    secrets.write_text('[auth]\nissuer = "https://id.example.org"\n')
    secrets.chmod(0o644)
    with pytest.raises(AssertionError, match="others can read it"), serving(tmp_path / "w"):
        pass


def test_behind_a_proxy_the_public_address_counts(tmp_path: Path,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFLOOP_PUBLIC_URL", "https://label.example.org")
    make_workspace(tmp_path / "w")
    with serving(tmp_path / "w") as server:
        visitor = Visitor(server.url)
        answer = visitor.sign_in(code_of(server, server.store.people.add("Ann")))
        assert "; secure" in answer.set_cookie[0].lower()
        assert "strict-transport-security" in answer.headers
        host = visitor.request("GET", "/_stcore/health")
        assert all("; secure" in cookie.lower() for cookie in host.set_cookie)

        async def visit() -> None:
            async with await visitor.tab("account", origin="https://label.example.org") as tab:
                assert "Signed in as" in tab.text()
            for origin in ("http://label.example.org", "https://evil.example"):
                with pytest.raises(InvalidStatus, match="403"):
                    await visitor.tab(origin=origin)

        asyncio.run(visit())
