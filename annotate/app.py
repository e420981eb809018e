"""The page that Streamlit runs: sign-in state, the pages this person's role may see, one look."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from annotate.door import page_account
from annotate.door.oidc import own_provider
from annotate.door.signin_pages import how_to_sign_in
from annotate.engineers import page_jobs, page_learning, page_reward, page_rounds
from annotate.labelers import page_label, page_mine
from annotate.leads import (
    page_audit,
    page_browse,
    page_disputes,
    page_people,
    page_quality,
    page_settings,
)
from annotate.permissions import Permission, permits
from annotate.session import me
from annotate.style import STYLE
from data.errors import PrefloopError
from data.records import Labeler

_PAGES: tuple[tuple[str, str, Permission, Callable[[], None]], ...] = (
    ("label", "Label", "answer", page_label.page),
    ("answers", "My answers", "answer", page_mine.page),
    ("quality", "Quality", "quality", page_quality.page),
    ("disputes", "Disputes", "quality", page_disputes.page),
    ("browse", "Browse", "quality", page_browse.page),
    ("settings", "Settings", "settings", page_settings.page),
    ("people", "People", "people", page_people.page),
    ("audit", "Audit", "people", page_audit.page),
    ("rounds", "Rounds", "rounds", page_rounds.page),
    ("reward", "Reward model", "rounds", page_reward.page),
    ("learning", "Learning", "rounds", page_learning.page),
    ("jobs", "Jobs", "rounds", page_jobs.page),
    ("account", "Account", "answer", page_account.page),
)


def _pages(labeler: Labeler) -> list[st.Page]:
    """The pages, the labeling page first; those that a role may not see are not offered.

    They keep their address, and refuse there by themselves (`annotate.session.guarded`).
    """
    return [st.Page(page, title=title, url_path=path, default=path == "label",
                    visibility="visible" if permits(labeler, permission) else "hidden")
            for path, title, permission, page in _PAGES]


def _signed_out() -> None:
    """The same note under every address, so that a reload after the session's end explains."""
    st.navigation([st.Page(_signed_out_page, title="Sign in", url_path=path,
                           default=path == "label") for path, *_ in _PAGES],
                  position="hidden").run()


def _signed_out_page() -> None:
    st.html('<div class="pf-note"><h2>You are not signed in</h2>'
            f"{how_to_sign_in(own_provider())}</div>")


def main() -> None:
    """Render one run."""
    st.set_page_config(page_title="prefloop", layout="wide", initial_sidebar_state="collapsed")
    st.html(STYLE)
    try:
        labeler = me()
    except PrefloopError as error:
        st.error(str(error))
        return
    if labeler is None:
        _signed_out()
    else:
        shown = st.navigation(_pages(labeler), position="top")
        st.set_page_config(page_title=f"{shown.title} · prefloop")
        shown.run()


main()
