"""The few plain routes beside the app: health, sign-in by one-time link, sign-out, one script.

Opening a link does not use it up, since mail programs and chats open links to preview them: the
page names who would be signed in, and its button redeems the code. These pages need no script.
"""

from __future__ import annotations

import html
from functools import lru_cache

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from annotate.launch import cookie_name, workspace_of_environment
from data.errors import PrefloopError
from data.people import SESSION_LIFETIME
from data.store import Store

#: Sessions of the same site only, over any port: what a browser says of a request's origin.
_OWN_SITE = ("same-origin", "same-site", "none", None)

#: Where the one script of our own is served from; the content security policy allows no other.
TOP_SCRIPT = "/prefloop/top.js"
_TOP = """document.querySelector('[data-testid="stMain"]')?.scrollTo(0, 0);"""

_PAGE = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>prefloop</title><style>
:root {{ color-scheme: light dark }}
body {{ font: 16px/1.6 system-ui, sans-serif; max-width: 26rem; margin: 18vh auto;
  padding: 0 1rem }}
button {{ font: inherit; padding: .6rem 1.2rem; border: 0; border-radius: .5rem;
  background: #2f6f8f; color: #fff; cursor: pointer }}
code {{ background: color-mix(in srgb, currentColor 10%, transparent); padding: .1em .35em;
  border-radius: .3em }}</style></head><body><h1>prefloop</h1>{body}</body></html>"""

HOW_TO_GET_A_LINK = (
    "Ask your lead for a sign-in link. On the machine itself, <code>prefloop labeler add "
    "NAME</code> adds a person and prints their link, and <code>prefloop labeler link NAME</code> "
    "prints a new one.")


@lru_cache(maxsize=1)
def store() -> Store:
    """The workspace's store, opened once for the whole server."""
    return Store.of_workspace(workspace_of_environment())


async def health(request: Request) -> Response:
    """200 once the database answers a read."""
    try:
        await run_in_threadpool(lambda: store().setting("worker"))
    except PrefloopError as error:
        return JSONResponse({"status": "failed", "error": str(error)}, status_code=503)
    return JSONResponse({"status": "ok"})


async def show_signin(request: Request) -> Response:
    """Whom the link would sign in, and the button that does it."""
    code = request.query_params.get("code", "")
    labeler = await run_in_threadpool(store().people.of_code, code)
    if labeler is None:
        # People keep their link and open it again; who is signed in is taken to the app.
        token = request.cookies.get(cookie_name())
        known = await run_in_threadpool(store().people.of_session, token) if token else None
        return RedirectResponse("/", status_code=303) if known else _refused()
    return HTMLResponse(_PAGE.format(body=(
        '<form method="post" action="/signin">'
        f'<input type="hidden" name="code" value="{html.escape(code)}">'
        f"<p>This link signs you in as <strong>{html.escape(labeler.name)}</strong>. It works "
        f'once.</p><button type="submit">Sign in as {html.escape(labeler.name)}</button></form>')))


async def redeem(request: Request) -> Response:
    """Trade the code for a session, kept in a cookie that scripts cannot read."""
    if request.headers.get("sec-fetch-site") not in _OWN_SITE:
        return _refused()
    code = await _form_value(request, "code")
    token = await run_in_threadpool(store().people.redeem, code)
    if token is None:
        return _refused()
    response = RedirectResponse("/", status_code=303)
    response.set_cookie(cookie_name(), token, max_age=int(SESSION_LIFETIME.total_seconds()),
                        httponly=True, samesite="lax", secure=request.url.scheme == "https")
    return response


async def sign_out(request: Request) -> Response:
    """End the session and forget the cookie."""
    token = request.cookies.get(cookie_name())
    if token and request.headers.get("sec-fetch-site") in _OWN_SITE:
        await run_in_threadpool(store().people.end_session, token)
    response = RedirectResponse("/", status_code=303)
    response.delete_cookie(cookie_name(), httponly=True, samesite="lax")
    return response


async def top_script(request: Request) -> Response:
    """The script that starts a new question at the top of the page."""
    return Response(_TOP, media_type="text/javascript",
                    headers={"cache-control": "public, max-age=86400"})


async def _form_value(request: Request, name: str) -> str:
    """One field of a small urlencoded body, without a form parser's dependencies."""
    from urllib.parse import parse_qs

    body = await request.body()
    return parse_qs(body[:4096].decode("ascii", "replace")).get(name, [""])[0]


def _refused() -> Response:
    return HTMLResponse(_PAGE.format(body=(
        "<p><strong>This link does not work.</strong> It was used already, has expired, or was "
        f"replaced by a newer one.</p><p>{HOW_TO_GET_A_LINK}</p>")), status_code=403)


ROUTES = (
    Route("/healthz", health),
    Route("/signin", show_signin, methods=["GET"]),
    Route("/signin", redeem, methods=["POST"]),
    Route("/signout", sign_out, methods=["POST"]),
    Route(TOP_SCRIPT, top_script),
)
