"""Who did what, newest first: for leads."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from annotate.figures import Linked, moment, name_of, table_html
from annotate.leads.audit_words import address_of, in_words
from annotate.leads.leads_style import STYLE
from annotate.picking import pick
from annotate.session import guarded, store
from data.audit import Entry
from data.records import Labeler

PAGE_SIZE = 50
_TRAIL = "audit-trail"
_COMMAND_LINE = "the command line"


@guarded("people")
def page(labeler: Labeler) -> None:
    """A page of entries; the ids where the newer pages began are kept to go back by."""
    st.html(STYLE)
    st.subheader("Audit log")
    st.caption("What people did beside answering: an answer is its own record. Nothing here can "
               "be changed or deleted.")
    people = {person.id: person for person in store().people.all()}
    actions = store().audit.actions()
    with st.container(horizontal=True, gap="small"):
        who = pick("Person", {i: name_of(person) for i, person in people.items()}, "audit-who",
                   placeholder="Anybody", width=220)
        action = st.selectbox("Action", actions, index=None, placeholder="Anything", width=220,
                              key="audit-action")
    trail: list[int] = st.session_state.setdefault(_TRAIL, [])
    if st.session_state.get("audit-filter") != (who, action):
        st.session_state["audit-filter"] = (who, action)
        trail.clear()
    found = store().audit.entries(labeler_id=who, action=action, limit=PAGE_SIZE + 1,
                                  before=trail[-1] if trail else None)
    entries = found[:PAGE_SIZE]
    if not entries:
        st.write("Nothing was done yet.")
        return
    st.html(table_html(("When", "Who", "Did", "To what", "Details"),
                       [_row(entry, people) for entry in entries]))
    with st.container(horizontal=True):
        st.button("Newer", disabled=not trail, on_click=_newer)
        st.button("Older", disabled=len(found) <= PAGE_SIZE, on_click=_older,
                  args=(entries[-1].id,))


def _newer() -> None:
    st.session_state[_TRAIL].pop()


def _older(before: int) -> None:
    st.session_state[_TRAIL].append(before)


def _row(entry: Entry, people: Mapping[int, Labeler]) -> tuple[str | Linked, ...]:
    person = people.get(entry.labeler_id) if entry.labeler_id is not None else None
    nobody = "nobody" if entry.action == "failed sign-in" else _COMMAND_LINE
    subject = entry.subject or "–"
    address = address_of(entry.subject, people.values())
    return (moment(entry.created_at),
            Linked(name_of(person), f"/browse?labeler={person.id}") if person else nobody,
            entry.action, Linked(subject, address) if address else subject,
            in_words(entry.details) or "–")
