"""The leads' page of people: add them, give them links, see how far they are, change or disable
them, set their answers aside."""

from __future__ import annotations

from urllib.parse import urlsplit

import streamlit as st

from annotate import actions, notices
from annotate.figures import NOTHING, as_label, moment, name_of, table_html
from annotate.leads import lead_actions
from annotate.leads.leads_style import STYLE
from annotate.notices import failing_as, say
from annotate.picking import pick, pick_from_address
from annotate.session import guarded, store, token
from data.activity import Activity, activity
from data.people import CODE_LIFETIME, sign_in_address, state_of
from data.records import ROLES, Labeler

_ROLE_HELP = {"labeler": "labeler: answers",
              "lead": "lead: everything, people included",
              "engineer": "engineer: answers, quality, rounds and jobs"}
_LINKS = "people-links"
_CHOSEN = "person-chosen"
_ASIDE = """\
All their answers, also those still to come, count no more: reward models do not learn from them \
and are not tested on them, and win rates, the crew's figures on Quality and Disputes leave them \
out. Tasks of the open round that they answered want a label more.

Nothing is deleted. The answers stay in Browse and in exports, marked, and count again when you \
say so. Reward models that have learned from them already stay as they are: train a new one.

They are not told and can go on answering, unless you disable them too."""


@guarded("people")
def page(labeler: Labeler) -> None:
    """Everybody, and what can be done about them."""
    st.html(STYLE)
    st.subheader("People")
    notices.show()
    _links()
    with st.form("add-person"):
        name, role, button = st.columns([3, 3, 1], vertical_alignment="bottom")
        # Without `max_chars`, by which the browser would drop a long name without a word.
        name.text_input("Name", key="person-name")
        role.selectbox("Role", ROLES, key="person-role", format_func=_ROLE_HELP.__getitem__)
        button.form_submit_button("Add", on_click=_add, width="stretch", type="primary")
    with st.expander("Add several at once", key="add-several", on_change="rerun") as fold:
        if fold.open:
            _several()
    everybody = store().people.all()
    _table(everybody)
    # People first: nobody else can come in, but whoever answers can be set aside.
    choices = {p.id: p for p in sorted(everybody, key=lambda p: p.kind != "human")}
    pick_from_address("person", choices, _CHOSEN)
    st.markdown("#### Links, access and answers")
    chosen = pick("Person", {i: name_of(p) for i, p in choices.items()}, _CHOSEN,
                  default=next(iter(choices), None))
    if chosen is not None and choices[chosen].kind == "human":
        _access(choices[chosen], labeler)
    elif chosen is not None:
        _counting(choices[chosen], own=False)


def _several() -> None:
    with st.form("add-people", border=False):
        st.text_area("Names, one a line", key="people-names", height=140)
        st.selectbox("Role of all of them", ROLES, key="people-role",
                     format_func=_ROLE_HELP.__getitem__)
        st.form_submit_button("Add all", on_click=_add_several)


def _table(everybody: list[Labeler]) -> None:
    found, goal = activity(store()), store().assignments.rules().daily_goal
    st.html(table_html(
        ("Name", "Role", "Kind", "State", "Answers", "This round", "Today", "Last seen", "Since"),
        [(p.name, p.role, p.kind, state_of(p),
          *_progress(found.get(p.id, Activity()), goal), moment(p.created_at))
         for p in everybody], numbers=(4, 5, 6)))
    st.caption("Today by UTC, changed answers counted once. Hidden repeats and known answers are "
               "counted, leads' decisions are not; practice is of no round."
               + (f" The daily goal is {goal:,}." if goal else ""))


def _progress(of: Activity, goal: int) -> tuple[str, str, str, str]:
    today = f"{of.today:,} of {goal:,}" if goal else f"{of.today:,}"
    return (f"{of.answers:,}", f"{of.in_round:,}", today,
            moment(of.last_seen) if of.last_seen else NOTHING)


def _access(person: Labeler, labeler: Labeler) -> None:
    """A link, a role, an address, the way out; one's own role and access are others' to change."""
    own = person.id == labeler.id
    link, access, counting = st.columns(3, vertical_alignment="bottom")
    link.button("New sign-in link", width="stretch", on_click=_link, args=(person,),
                disabled=person.disabled)
    if person.disabled or own:
        access.button("Enable" if person.disabled else "Disable", width="stretch",
                      on_click=_set_disabled, args=(person, False), disabled=own)
    else:
        with access.popover("Disable", width="stretch", key=f"disable-{person.id}"):
            st.text("They are signed out everywhere and cannot come back until somebody enables "
                    "them. Their answers stay.")
            st.button(f"Disable {as_label(person.name)}", key=f"disable-now-{person.id}",
                      type="primary", on_click=_set_disabled, args=(person, True))
    with counting:
        _counting(person, own)
    role, change = st.columns([7, 2], vertical_alignment="bottom")
    role.selectbox("Role", ROLES, ROLES.index(person.role), key=f"role-{person.id}",
                   format_func=_ROLE_HELP.__getitem__, disabled=own)
    change.button("Change role", width="stretch", on_click=_change_role, args=(person,),
                  disabled=own)
    email, save = st.columns([7, 2], vertical_alignment="bottom")
    email.text_input("E-mail address (for the organisation's single sign-on)",
                     sign_in_address(person), key=f"email-{person.id}",
                     placeholder="None")
    save.button("Save address", width="stretch", on_click=_set_email, args=(person,))


def _counting(person: Labeler, own: bool) -> None:
    """Whether their answers count; setting them aside says first what comes of it."""
    if person.set_aside_at is not None or own:
        st.button("Set answers aside" if person.set_aside_at is None else "Count answers again",
                  width="stretch", on_click=_set_aside, args=(person, False), disabled=own)
        return
    with st.popover("Set answers aside", width="stretch", key=f"aside-{person.id}"):
        st.text(_ASIDE)
        st.button(f"Set aside the answers of {as_label(person.name)}",
                  key=f"aside-now-{person.id}", type="primary", on_click=_set_aside,
                  args=(person, True))


def _links() -> None:
    """Links are shown this once, since only their hashes are kept."""
    found = st.session_state.pop(_LINKS, None)
    if not found:
        return
    with st.container(border=True):
        if len(found) == 1:
            st.text(f"The sign-in link of {found[0][0]}. It works once, for {CODE_LIFETIME.days} "
                    "days, and is shown only now:")
            st.code(_url(found[0][1]), language=None, wrap_lines=True)
        else:
            st.text(f"The sign-in links of {len(found)} people. Each works once, for "
                    f"{CODE_LIFETIME.days} days, and is shown only now:")
            st.code("\n".join(f"{name}\t{_url(code)}" for name, code in found), language=None,
                    wrap_lines=True)


def _url(code: str) -> str:
    """A link to where this browser reached the app."""
    url = urlsplit(st.context.url or "")
    base = f"{url.scheme}://{url.netloc}" if url.netloc else "http://127.0.0.1:8501"
    return f"{base}/signin?code={code}"


def _add() -> None:
    with failing_as("added"):
        _welcome([actions.add_labeler(store(), token(), st.session_state["person-name"],
                                      st.session_state["person-role"])])
        st.session_state["person-name"] = ""


def _add_several() -> None:
    with failing_as("added"):
        _welcome(lead_actions.add_labelers(
            store(), token(), str(st.session_state["people-names"]).splitlines(),
            st.session_state["people-role"]))
        st.session_state["people-names"] = ""


def _welcome(added: list[tuple[Labeler, str]]) -> None:
    """Show the links; what is pressed next is meant for whoever has just come."""
    st.session_state[_LINKS] = [(person.name, code) for person, code in added]
    st.session_state[_CHOSEN] = added[0][0].id


def _link(person: Labeler) -> None:
    with failing_as("made"):
        st.session_state[_LINKS] = [
            (person.name, actions.new_link(store(), token(), person.id))]


def _set_disabled(person: Labeler, disabled: bool) -> None:
    with failing_as("changed"):
        actions.set_disabled(store(), token(), person.id, disabled)
        say(f"{person.name} is disabled and signed out." if disabled
            else f"{person.name} is enabled.")


def _set_aside(person: Labeler, aside: bool) -> None:
    with failing_as("changed"):
        lead_actions.set_aside(store(), token(), person.id, aside)
        say(f"The answers of {person.name} are set aside." if aside
            else f"The answers of {person.name} count again.")


def _change_role(person: Labeler) -> None:
    role = st.session_state[f"role-{person.id}"]
    with failing_as("changed"):
        lead_actions.change_role(store(), token(), person.id, role)
        say(f"{person.name} is {'an' if role == 'engineer' else 'a'} {role} now.")


def _set_email(person: Labeler) -> None:
    address = str(st.session_state[f"email-{person.id}"] or "")
    with failing_as("saved"):
        actions.set_email(store(), token(), person.id, address)
        say(f"{person.name} may sign in with {address.strip()}." if address.strip()
            else f"{person.name} has no address to sign in with.")
