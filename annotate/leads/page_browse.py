"""Search and filter over everything, and the lineage of anything: for leads and engineers.

One address a thing (`?task=12`), so that the browser's way back and links from other pages work.
Leads label too: who wrote a response stays hidden from whoever may still be asked about it.
"""

from __future__ import annotations

from typing import Any

import streamlit as st

from annotate.answer_form import in_letters
from annotate.figures import as_label, name_of, short
from annotate.leads import downloads
from annotate.leads.browse_card import show_card
from annotate.leads.leads_style import STYLE
from annotate.session import guarded, store, token
from data import lineage
from data.records import PURPOSES, SPLITS, Labeler
from data.search import HEEDED, KINDS, MOST_COUNTED, VERDICTS, Filters, find, flags, sources, tags

PAGE_SIZE = 25
_CHOICES_SECONDS = 60
_OF = "of"
_LONGEST_ID = 18


@guarded("quality")
def page(labeler: Labeler) -> None:
    """The thing that the address names, or the search."""
    st.html(STYLE)
    thing = _named()
    if thing is not None:
        show_card(*thing, labeler)
    else:
        _search(labeler)


def _named() -> tuple[str, int] | None:
    """What the address asks for."""
    for kind in lineage.KINDS:
        thing = id_of(st.query_params.get(kind, ""))
        if thing is not None:
            return kind, thing
    return None


def id_of(text: str) -> int | None:
    """The id that a part of an address is, as the database can hold it; None if it is none."""
    return int(text[:_LONGEST_ID]) if text.isascii() and text.isdigit() else None


def _search(labeler: Labeler) -> None:
    st.subheader("Browse")
    st.caption("You see here who answered what. Who wrote a response is hidden while you may "
               "still be asked about it yourself; other people's answers are not, so label "
               "first what you want to judge blind.")
    if who := st.query_params.get(_OF):
        # A link from the figures: this person's answers.
        st.session_state["browse-kind"] = "answers"
        st.session_state["browse-labeler_id"] = id_of(who)
        del st.query_params[_OF]
    kind = st.segmented_control("What", KINDS, default="answers", required=True,
                                format_func=str.capitalize, key="browse-kind",
                                label_visibility="collapsed", persist_state="session") or "answers"
    text = st.text_input("Search", key="browse-text", persist_state="session",
                         placeholder='Words, or "a phrase"', label_visibility="collapsed")
    filters = _filters(kind, text or "")
    first = find(store(), kind, filters, PAGE_SIZE)
    if not first.total:
        st.write("Nothing matches." if filters != Filters() else "There is nothing yet.")
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


def _filters(kind: str, text: str) -> Filters:
    """The choices that this kind heeds."""
    known = _choices(str(store().database.path))
    rounds = {turn.id: f"Round {turn.number}" for turn in store().rounds.all()[::-1]}
    people = {person.id: name_of(person) for person in store().people.all()}
    offered: dict[str, tuple[str, dict[Any, str]]] = {
        "round_id": ("Round", rounds), "labeler_id": ("Labeler", people),
        "purpose": ("Purpose", {p: p.capitalize() for p in PURPOSES}),
        "verdict": ("Verdict", {v: v.capitalize() for v in VERDICTS}),
        "flag": ("Flag", {flag: flag for flag in known["flag"]}),
        "tag": ("Tag", {tag: tag for tag in known["tag"]}),
        "source": ("Source", {source: source for source in known["source"]}),
        "split": ("Split", {s: s.replace("_", "-").capitalize() for s in SPLITS})}
    chosen: dict[str, Any] = {}
    with st.container(horizontal=True, gap="small", key="browse-filters"):
        for name, (title, options) in offered.items():
            if name in HEEDED[kind]:
                picked = st.selectbox(title, list(options), index=None, placeholder="Any",
                                      format_func=options.__getitem__, width=168,
                                      key=f"browse-{name}", persist_state="session")
                chosen[name] = picked if picked in options else None
    return Filters(text=text, **chosen)


@st.cache_data(ttl=_CHOICES_SECONDS, show_spinner=False)
def _choices(path: str) -> dict[str, list[str]]:
    """What there is to choose from; read at most once a while, since it reads every row."""
    return {"tag": tags(store()), "source": sources(store()), "flag": flags(store())}


def _row(kind: str, place: int, thing: int, labeler: Labeler) -> None:
    """One thing on one line; pressing it opens its card."""
    title, about = _ROWS[kind](thing)
    st.button(f"{as_label(title)}  :gray[{as_label(about)}]", type="tertiary",
              key=f"row-{place}", on_click=_open, args=(kind[:-1], thing), width="stretch")


def _open(kind: str, thing: int) -> None:
    st.query_params.from_dict({kind: str(thing)})


def _answer_row(thing: int) -> tuple[str, str]:
    comparison = store().comparisons.get(thing)
    task = store().tasks.get(comparison.task_id)
    order = comparison.shown or task.response_ids
    person = name_of(store().people.get(comparison.labeler_id))
    return (f"{person}: {in_letters(comparison.answer, order)}",
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
