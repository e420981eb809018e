"""The leads' page of people: add them, give them links, disable them."""

from __future__ import annotations

import streamlit as st

from annotate import actions
from annotate.figures import moment, table_html
from annotate.session import guarded, store, token
from data.errors import PrefloopError
from data.people import CODE_LIFETIME
from data.records import ROLES, Labeler

_ROLE_HELP = {"labeler": "labeler: answers",
              "lead": "lead: everything, people included",
              "engineer": "engineer: answers, quality, rounds and jobs"}


@guarded("people")
def page(labeler: Labeler) -> None:
    """Everybody, and what can be done about them."""
    st.subheader("People")
    _notice()
    with st.form("add-person", clear_on_submit=True):
        name, role, button = st.columns([3, 3, 1], vertical_alignment="bottom")
        name.text_input("Name", key="person-name", max_chars=80)
        role.selectbox("Role", ROLES, key="person-role", format_func=_ROLE_HELP.__getitem__)
        button.form_submit_button("Add", on_click=_add, width="stretch", type="primary")
    everybody = store().people.all()
    st.html(table_html(("Name", "Role", "Kind", "State", "Since"), [
        (p.name, p.role, p.kind, "disabled" if p.disabled else "active", moment(p.created_at))
        for p in everybody]))
    humans = {p.id: p for p in everybody if p.kind == "human"}
    st.markdown("#### Links and access")
    who, link, access = st.columns([4, 2, 2], vertical_alignment="bottom")
    chosen = who.selectbox("Person", list(humans), format_func=lambda i: humans[i].name,
                           key="person-chosen")
    if chosen is None:
        return
    person = humans[chosen]
    link.button("New sign-in link", width="stretch", on_click=_link, args=(person,),
                disabled=person.disabled)
    access.button("Enable" if person.disabled else "Disable", width="stretch",
                  on_click=_set_disabled, args=(person, not person.disabled),
                  disabled=person.id == labeler.id)


def _notice() -> None:
    """What the last press did; a link is shown this once, since only its hash is kept."""
    if error := st.session_state.pop("people-error", None):
        st.error(error)
    if done := st.session_state.pop("people-done", None):
        st.success(done)
    if found := st.session_state.pop("people-link", None):
        name, code = found
        with st.container(border=True):
            st.text(f"The sign-in link of {name}. It works once, for {CODE_LIFETIME.days} days, "
                    "and is shown only now:")
            st.code(f"{_address()}/signin?code={code}", language=None, wrap_lines=True)


def _address() -> str:
    """Where this browser reached the app, which is where the link should lead."""
    from urllib.parse import urlsplit

    url = urlsplit(st.context.url or "")
    return f"{url.scheme}://{url.netloc}" if url.netloc else "http://127.0.0.1:8501"


def _add() -> None:
    try:
        person, code = actions.add_labeler(store(), token(), st.session_state["person-name"],
                                           st.session_state["person-role"])
        st.session_state["people-link"] = (person.name, code)
    except PrefloopError as error:
        st.session_state["people-error"] = str(error)


def _link(person: Labeler) -> None:
    try:
        st.session_state["people-link"] = (
            person.name, actions.new_link(store(), token(), person.id))
    except PrefloopError as error:
        st.session_state["people-error"] = str(error)


def _set_disabled(person: Labeler, disabled: bool) -> None:
    try:
        actions.set_disabled(store(), token(), person.id, disabled)
        st.session_state["people-done"] = "Disabled and signed out." if disabled else "Enabled."
    except PrefloopError as error:
        st.session_state["people-error"] = str(error)
