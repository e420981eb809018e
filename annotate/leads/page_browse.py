"""Search and filter over everything, and the lineage of anything: for leads and engineers.

One address a thing (`?task=12`) and a search (`?of=3&words=river`), so that the browser's way back
and links from other pages work.
Leads label too: who wrote a response stays hidden from whoever may still be asked about it.
"""

from __future__ import annotations

import streamlit as st

from annotate.answer_form import in_letters
from annotate.figures import as_label, short
from annotate.leads import addresses, browse_filters, downloads
from annotate.leads.browse_card import show_card, who_said
from annotate.leads.evidence import evidence_of
from annotate.leads.leads_style import STYLE
from annotate.session import guarded, store, token
from data.records import Labeler
from data.search import MOST_COUNTED, find

PAGE_SIZE = 25


@guarded("quality")
def page(labeler: Labeler) -> None:
    """The thing that the address names, or the search."""
    st.html(STYLE)
    thing = addresses.named()
    if thing is not None:
        show_card(*thing, labeler)
    else:
        _search(labeler)


def _search(labeler: Labeler) -> None:
    st.subheader("Browse")
    st.caption("You see here who answered what. Who wrote a response is hidden while you may "
               "still be asked about it yourself; other people's answers are not, so label "
               "first what you want to judge blind.")
    kind, filters, offered = browse_filters.choose()
    first = find(store(), kind, filters, PAGE_SIZE)
    if not first.total:
        asked = browse_filters.in_words(filters, offered)
        st.markdown(f"Nothing matches: {kind} with {asked}." if asked
                    else "There is nothing yet.")
        return
    with st.container(horizontal=True, vertical_alignment="center", key="browse-head"):
        total = f"More than {MOST_COUNTED:,}" if first.more else f"{first.total:,}"
        st.markdown(f"{total} {kind if first.total != 1 else kind[:-1]}", width="stretch")
        downloads.buttons(kind, filters, token())
    pages = -(-first.total // PAGE_SIZE)
    number = 1 if pages == 1 else st.pagination(
        pages, key=f"browse-page-{kind}-{hash(filters)}")
    found = first if number == 1 else find(store(), kind, filters, PAGE_SIZE,
                                           (number - 1) * PAGE_SIZE)
    with st.container(key="rows-browse"):
        for place, thing in enumerate(found.ids):
            _row(kind, place, thing, labeler)


def _row(kind: str, place: int, thing: int, labeler: Labeler) -> None:
    """One thing on one line; pressing it opens its card."""
    title, about = _ROWS[kind](thing)
    st.button(f"{as_label(title)}  :gray[{as_label(about)}]", type="tertiary",
              key=f"row-{place}", on_click=addresses.go_to, args=(kind[:-1], thing, labeler),
              width="stretch")


def _answer_row(thing: int) -> tuple[str, str]:
    comparison = store().comparisons.get(thing)
    task = store().tasks.get(comparison.task_id)
    order = comparison.shown or task.response_ids
    said = f"{short(who_said(comparison), 40)}: {in_letters(comparison.answer, order)}"
    return (" · ".join(filter(None, (said, evidence_of(comparison, task)))),
            short(store().prompts.get(task.prompt_id).text))


def _task_row(thing: int) -> tuple[str, str]:
    task = store().tasks.get(thing)
    return (f"Task {thing} ({task.purpose})", short(store().prompts.get(task.prompt_id).text))


def _response_row(thing: int) -> tuple[str, str]:
    response = store().responses.get([thing])[0]
    return (short(response.text) or "(empty response)",
            short(store().prompts.get(response.prompt_id).text, 60))


def _prompt_row(thing: int) -> tuple[str, str]:
    prompt = store().prompts.get(thing)
    tags = f", {', '.join(prompt.tags)}" if prompt.tags else ""
    return short(prompt.text), f"{prompt.source}, {prompt.split.replace('_', '-')}{tags}"


_ROWS = {"answers": _answer_row, "tasks": _task_row, "responses": _response_row,
         "prompts": _prompt_row}
