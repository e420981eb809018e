"""Who is at the other end of this page: the store, the session's token, the person."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

import streamlit as st

from annotate.actions import require
from annotate.door.signin import store
from annotate.launch import cookie_name
from annotate.permissions import Permission
from data.errors import NotAllowed, PrefloopError
from data.records import Labeler

P = ParamSpec("P")

__all__ = ["guarded", "me", "store", "token"]


def token() -> str | None:
    """The session token of the browser's cookie."""
    value = st.context.cookies.get(cookie_name())
    return str(value) if value else None


def me() -> Labeler | None:
    """Who is signed in, read from the store each time; None when nobody is."""
    secret = token()
    return store().people.of_session(secret) if secret else None


def guarded(permission: Permission) -> Callable[
        [Callable[Concatenate[Labeler, P], None]], Callable[P, None]]:
    """A page or fragment that renders only for who holds a permission, and errs in one line.

    Fragments need it as much as pages: they refresh by themselves, long after the page was
    allowed.
    """
    def decorate(render: Callable[Concatenate[Labeler, P], None]) -> Callable[P, None]:
        @wraps(render)
        def checked(*args: P.args, **kwargs: P.kwargs) -> None:
            try:
                render(require(store(), token(), permission), *args, **kwargs)
            except PrefloopError as error:
                st.error(str(error))
                if isinstance(error, NotAllowed) and me() is not None:  # another page is theirs
                    st.html('<p class="pf-link"><a href="/" target="_self">Go to Label</a></p>')
        return checked
    return decorate
