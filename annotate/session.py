"""Who is at the other end of this page: the store, the session's token, the person."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

import streamlit as st

from annotate.actions import require
from annotate.launch import cookie_name
from annotate.permissions import Permission
from annotate.signin import store
from data.errors import PrefloopError
from data.records import Labeler

__all__ = ["guarded", "me", "store", "token"]


def token() -> str | None:
    """The session token of the browser's cookie."""
    value = st.context.cookies.get(cookie_name())
    return str(value) if value else None


def me() -> Labeler | None:
    """Who is signed in, read from the store each time; None when nobody is."""
    secret = token()
    return store().people.of_session(secret) if secret else None


def guarded(permission: Permission) -> Callable[[Callable[[Labeler], None]], Callable[[], None]]:
    """A page that renders only for those who hold a permission, and shows errors in one line."""
    def decorate(page: Callable[[Labeler], None]) -> Callable[[], None]:
        @wraps(page)
        def checked() -> None:
            try:
                page(require(store(), token(), permission))
            except PrefloopError as error:
                st.error(str(error))
        return checked
    return decorate
