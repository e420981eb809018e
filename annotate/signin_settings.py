"""How people sign in, for the leads' settings: for how long, and through which other page."""

from __future__ import annotations

import streamlit as st

from annotate import actions, notices, oidc
from annotate.notices import failing_as
from annotate.session import store, token
from data.sessions import SessionRules


def show() -> None:
    """The rules of sessions; and, where single sign-on is set up, addresses and domains."""
    people = store().people
    rules, provider = people.sessions.rules(), oidc.own_provider()
    with st.form("sign-in-rules"):
        left, right = st.columns(2, gap="medium")
        left.number_input("Signed in for at most, in days", 1, 365, rules.lifetime_days,
                          key="sign-in-days")
        right.number_input("Signed out after so long without use, in hours", 1, 365 * 24,
                           rules.idle_hours, key="sign-in-hours")
        if provider is not None:
            st.text_area("Domains whose addresses may join as labelers by themselves, one a line",
                         "\n".join(people.domains()), key="sign-in-domains", height=80)
        st.form_submit_button("Save", type="primary", on_click=_save)
    if provider is None:
        st.caption("People sign in with one-time links. Single sign-on is set up on the server: "
                   "see docs/security.md.")
        return
    st.markdown("#### E-mail addresses")
    st.caption("Whoever has one signs in with it; without one, a name that is an address counts.")
    humans = {person.id: person for person in people.all("human")}
    with st.form("sign-in-email", clear_on_submit=True):
        who, address = st.columns(2, gap="medium")
        who.selectbox("Person", list(humans), key="sign-in-person", format_func=lambda i: (
            f"{humans[i].name} · {humans[i].config.get('email', 'no address')}"))
        address.text_input("Address (empty: none)", key="sign-in-address", max_chars=254)
        st.form_submit_button("Save address", on_click=_save_address)


def _save() -> None:
    state, people = st.session_state, store().people
    domains = state.get("sign-in-domains")
    with failing_as("saved"):
        actions.set_sign_in(
            store(), token(),
            SessionRules(int(state["sign-in-days"]), int(state["sign-in-hours"])),
            people.domains() if domains is None else str(domains).splitlines())
        notices.say("Saved: the new rules hold for everybody who is signed in, too.")


def _save_address() -> None:
    with failing_as("saved"):
        chosen = st.session_state["sign-in-person"]
        actions.set_email(store(), token(), int(chosen), str(st.session_state["sign-in-address"]))
        notices.say("Saved.")
