"""The page that Streamlit runs: sign-in state, the pages this person's role may see, one look."""

from __future__ import annotations

import streamlit as st

from annotate import (
    page_account,
    page_jobs,
    page_label,
    page_mine,
    page_people,
    page_quality,
    page_rounds,
)
from annotate.permissions import permits
from annotate.session import me
from annotate.signin import HOW_TO_GET_A_LINK
from annotate.style import STYLE
from data.errors import PrefloopError
from data.records import Labeler


def _pages(labeler: Labeler) -> list[st.Page]:
    """The pages for a role, the labeling page first."""
    pages = [st.Page(page_label.page, title="Label", url_path="label", default=True),
             st.Page(page_mine.page, title="My answers", url_path="answers")]
    if permits(labeler, "quality"):
        pages.append(st.Page(page_quality.page, title="Quality", url_path="quality"))
    if permits(labeler, "people"):
        pages.append(st.Page(page_people.page, title="People", url_path="people"))
    if permits(labeler, "rounds"):
        pages += [st.Page(page_rounds.page, title="Rounds", url_path="rounds"),
                  st.Page(page_jobs.page, title="Jobs", url_path="jobs")]
    pages.append(st.Page(page_account.page, title="Account", url_path="account"))
    return pages


def _signed_out() -> None:
    st.navigation([st.Page(lambda: None, title="Sign in", url_path="welcome")], position="hidden")
    st.html('<div class="pf-note"><h2>You are not signed in</h2>'
            f"<p>{HOW_TO_GET_A_LINK}</p></div>")


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
        st.navigation(_pages(labeler), position="top").run()


main()
