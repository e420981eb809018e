"""The few plain routes beside the app: health, the ways to sign in and out.

Opening a link does not use it up, since mail programs and chats open links to preview them: the
page names who would be signed in, and its button redeems the code. These pages need no script.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import lru_cache, wraps
from urllib.parse import parse_qs

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from annotate.actions import sign_out as end_session
from annotate.door import oidc
from annotate.door.ratelimit import Limiter, Rate, Tally
from annotate.door.signin_pages import how_to_sign_in, link_page, message_page, start_page
from annotate.launch import cookie_name, public_url, workspace_of_environment
from data.errors import BadInput, PrefloopError
from data.records import Labeler
from data.store import Store

#: Sessions of the same site only, over any port: what a browser says of a request's origin.
_OWN_SITE = ("same-origin", "same-site", "none", None)
#: Failed tries: nobody guesses 256 bits, but nobody need be let try either, nor fill the log.
_EACH, _EVERYBODY = Rate(burst=20, seconds=3.0), Rate(burst=300, seconds=0.05)
#: The longest form that is read: a code, or nothing.
_LONGEST_FORM = 4096

_log = logging.getLogger(__name__)
_Endpoint = Callable[[Request], Awaitable[Response]]

limiter = Limiter(_EACH, _EVERYBODY)


@lru_cache(maxsize=1)
def store() -> Store:
    """The workspace's store, opened once for the whole server."""
    return Store.of_workspace(workspace_of_environment())


async def health(request: Request) -> Response:
    """200 once the database answers a read; why it does not, only the server's log says."""
    try:
        await run_in_threadpool(lambda: store().setting("worker"))
    except PrefloopError as error:
        _log.warning("the health check failed: %s", error)
        return JSONResponse({"status": "failed"}, status_code=503)
    return JSONResponse({"status": "ok"})


def in_plain_words(route: _Endpoint) -> _Endpoint:
    """Says so, without a path, where the store cannot be read or written just now.

    A full disk must not look like a wrong link, nor a sign-out that was not kept like one that was.
    """
    @wraps(route)
    async def answered(request: Request) -> Response:
        try:
            return await route(request)
        except PrefloopError:
            return HTMLResponse(message_page(
                "That did not work.", "The workspace cannot be read or written just now. Try "
                "again, or tell your lead."), status_code=503)
    return answered


@in_plain_words
async def show_signin(request: Request) -> Response:
    """Whom the link would sign in and the button that does it; without a link, the other ways."""
    code = request.query_params.get("code", "")
    if code and (wait := limiter.take(_client(request))):
        return _too_many(wait)
    labeler = await run_in_threadpool(store().people.of_code, code) if code else None
    if labeler is not None:
        limiter.give_back(_client(request))
        return HTMLResponse(link_page(labeler.name, code))
    # People keep their link and open it again; who is signed in is taken to the app.
    if await run_in_threadpool(_signed_in, request) is not None:
        return RedirectResponse("/", status_code=303)
    if code:
        return await _refused(request)
    return HTMLResponse(start_page(oidc.own_provider()))


@in_plain_words
async def redeem(request: Request) -> Response:
    """Trade the code for a session, kept in a cookie that scripts cannot read."""
    if wait := limiter.take(_client(request)):
        return _too_many(wait)
    if not _from_own_site(request):
        return await _refused(request)
    code = await _form_value(request, "code")
    token = await run_in_threadpool(_redeem, code)
    if token is None:
        return await _refused(request)
    limiter.give_back(_client(request))
    return await _signed_in_with(request, token)


@in_plain_words
async def start_single_sign_on(request: Request) -> Response:
    """On to the provider, through Streamlit's own route; a link, since forms may not lead away."""
    if oidc.own_provider() is None:
        return RedirectResponse("/signin", status_code=303)
    return RedirectResponse(oidc.login_address(), status_code=303)


@in_plain_words
async def finish_single_sign_on(request: Request) -> Response:
    """Trade what the provider said for a session, if the workspace knows the person."""
    if oidc.own_provider() is None:
        return RedirectResponse("/signin", status_code=303)
    if wait := limiter.take(_client(request)):
        return _too_many(wait)
    email, why = oidc.proven_email(request)
    token = None
    if email is not None:
        token, why = await run_in_threadpool(_admit, email)
    if token is None:
        await run_in_threadpool(failures.add, _client(request) or "unknown")
        response: Response = HTMLResponse(message_page("You are not signed in.", why),
                                          status_code=403)
    else:
        limiter.give_back(_client(request))
        response = await _signed_in_with(request, token)
    oidc.forget(request, response)
    return response


@in_plain_words
async def sign_out(request: Request) -> Response:
    """End the session and forget the cookie."""
    response = RedirectResponse("/", status_code=303)
    if not _from_own_site(request):
        return response
    token = request.cookies.get(cookie_name())
    if token:
        await run_in_threadpool(end_session, store(), token)
    response.delete_cookie(cookie_name(), httponly=True, samesite="lax", secure=_secure(request))
    return response


def _redeem(code: str) -> str | None:
    people = store().people
    with store().database.write():
        token = people.redeem(code)
        labeler = people.of_session(token) if token else None
        if labeler is not None:
            store().audit.record(labeler.id, "sign in", way="link")
        return token


def _admit(email: str) -> tuple[str | None, str]:
    """A session for who has this address; or None, and why not."""
    people = store().people
    with store().database.write():
        labeler = people.of_email(email) or _join(email)
        if labeler is None:
            return None, f"Nobody here has the address {email}. Ask your lead to add you."
        if labeler.disabled:
            return None, "Your lead has disabled your access."
        store().audit.record(labeler.id, "sign in", way="single sign-on")
        return people.sessions.start(labeler.id), ""


def _join(email: str) -> Labeler | None:
    """A new labeler, where the lead lets everybody of the address's domain join.

    None where the address was taken back, or is no name for anybody new: somebody is called by it
    (an annotator of a file, say), or it is too long.
    """
    people = store().people
    if email.rpartition("@")[2] not in people.domains() or people.was_taken_back(email):
        return None
    try:
        labeler = people.add(email, config={"email": email})
    except BadInput:
        return None
    store().audit.record(labeler.id, "join", labeler.name)
    return labeler


async def _signed_in_with(request: Request, token: str) -> Response:
    """The way into the app; whoever was signed in here before is signed out."""
    before = request.cookies.get(cookie_name())
    if before:
        with suppress(PrefloopError):  # it ends by itself; the link that was used cannot be again
            await run_in_threadpool(end_session, store(), before)
    rules = await run_in_threadpool(store().people.sessions.rules)
    response = RedirectResponse("/", status_code=303)
    response.set_cookie(cookie_name(), token, max_age=int(rules.lifetime.total_seconds()),
                        httponly=True, samesite="lax", secure=_secure(request))
    return response


def _signed_in(request: Request) -> Labeler | None:
    token = request.cookies.get(cookie_name())
    return store().people.of_session(token) if token else None


async def _form_value(request: Request, name: str) -> str:
    """One field of a small urlencoded body, without a form parser's dependencies."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _LONGEST_FORM:
            return ""
    return parse_qs(body.decode("ascii", "replace")).get(name, [""])[0]


def _from_own_site(request: Request) -> bool:
    return request.headers.get("sec-fetch-site") in _OWN_SITE


def _secure(request: Request) -> bool:
    return request.url.scheme == "https" or (public_url() or "").startswith("https:")


def _client(request: Request) -> str | None:
    return request.client.host if request.client else None


async def _refused(request: Request) -> Response:
    await run_in_threadpool(failures.add, _client(request) or "unknown")
    return HTMLResponse(message_page(
        "This link does not work.", "It was used already, has expired, or was replaced by a newer "
        "one.", how_to_sign_in(oidc.own_provider())), status_code=403)


def record_failures(count: int, last_from: str) -> None:
    """So many failed tries, in the audit log."""
    with suppress(PrefloopError):  # a full disk makes no wrong link a good one
        store().audit.record(None, "failed sign-in", last_from=last_from, failures=count)


#: Written down never so often that trying could fill the log.
failures = Tally(60.0, record_failures)


def _too_many(wait: float) -> Response:
    seconds = max(math.ceil(wait), 1)
    return HTMLResponse(
        message_page("Too many tries.", f"Wait {seconds} second{'s' if seconds > 1 else ''} and "
                     "open the link again; it still works."),
        status_code=429, headers={"retry-after": str(seconds)})


ROUTES = (
    Route("/healthz", health),
    Route("/signin", show_signin, methods=["GET"]),
    Route("/signin", redeem, methods=["POST"]),
    Route("/signin/start", start_single_sign_on, methods=["GET"]),
    Route("/signin/done", finish_single_sign_on, methods=["GET"]),
    Route("/signout", sign_out, methods=["POST"]),
)
