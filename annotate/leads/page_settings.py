"""The leads' page of settings: what is asked, by which guidelines, of whom, and what is known.

Where another lead has saved meanwhile, a form is refused, and then shows what is in force.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from zlib import crc32

import streamlit as st

from annotate import actions, notices
from annotate.leads import guidelines, known_answers, lead_actions
from annotate.leads.leads_style import STYLE
from annotate.notices import failing_as, say
from annotate.session import guarded, store, token
from data.assignments import AssignmentRules
from data.errors import BadInput
from data.questions import Question
from data.records import Labeler
from data.sessions import SessionRules

#: What numbers are called here, by their field.
_NUMBERS = {"practice": "Practice tasks before anything else",
            "lease_minutes": "A task left open counts as taken for so many minutes",
            "daily_goal": "Daily goal, in answers (0 shows none)",
            "lifetime_days": "A session ends after so many days",
            "idle_hours": "A session ends after so many hours without use"}
_SCALES = {"strength": "How much better (four levels each side)", "plain": "Which is better"}


@guarded("settings")
def page(labeler: Labeler) -> None:
    """One section at a time."""
    st.html(STYLE)
    st.subheader("Settings")
    notices.show()
    sections = {"Question": _question, "Guidelines": guidelines.show, "Assignment": _assignment,
                "Known answers": lambda: known_answers.show(labeler), "Signing in": _sign_in}
    chosen = st.segmented_control("Section", list(sections), default="Question", required=True,
                                  key="settings-section", label_visibility="collapsed",
                                  persist_state="session")
    sections[chosen or "Question"]()


def _key(section: str, in_force: object) -> str:
    """What the keys of a section's widgets begin with: other ones when something else comes into
    force, since a widget of the same key keeps what it showed first."""
    return f"{section}-{crc32(repr(in_force).encode()):08x}"


def _number(key: str, name: str, value: int) -> None:
    """A box without bounds: the browser would keep a number beyond them to itself, and the one
    before would be saved in its place. What is saved is checked (see `_called`)."""
    st.number_input(_NUMBERS[name], value=value, step=1, key=f"{key}-{name}")


@contextmanager
def _called() -> Iterator[None]:
    """What is wrong with a number is said under its name on this page."""
    try:
        yield
    except BadInput as error:
        name, _, wrong = str(error).partition(": ")
        raise BadInput(f"{_NUMBERS[name]}: {wrong}") if name in _NUMBERS else error from None


def _question() -> None:
    version, question = store().questions.current()
    st.caption("What every labeler is asked from their next task on. "
               + (f"Version {version} is in force; each answer keeps the version that it was "
                  "given under." if version else "This is the default; nobody has changed it."))
    key = _key("question", question)
    with st.form("question"):
        st.radio("Pairs", list(_SCALES), format_func=_SCALES.__getitem__, key=f"{key}-scale",
                 index=list(_SCALES).index(question.scale))
        left, right = st.columns(2)
        left.checkbox("A tie may be said", question.tie, key=f"{key}-tie")
        left.checkbox("Both (or all) may be called bad", question.both_bad,
                      key=f"{key}-both_bad")
        left.checkbox("A reason may be typed", question.reason, key=f"{key}-reason")
        right.checkbox("Each response gets a score from 1 to 7", question.scores,
                       key=f"{key}-scores")
        right.checkbox("The best response may be rewritten into a better one (a demonstration)",
                       question.rewrite, key=f"{key}-rewrite")
        st.text_area("Flags that may be set on each response, one a line",
                     "\n".join(question.flags), key=f"{key}-flags", height=130)
        st.form_submit_button("Save question", type="primary", on_click=_save_question,
                              args=(key, question))


def _save_question(key: str, began: Question) -> None:
    state = st.session_state
    with failing_as("saved"):
        flags = tuple(line.strip() for line in str(state[f"{key}-flags"]).splitlines()
                      if line.strip())
        switches = {name: bool(state[f"{key}-{name}"])
                    for name in ("tie", "both_bad", "scores", "reason", "rewrite")}
        version = lead_actions.change_question(store(), token(), Question(
            scale=str(state[f"{key}-scale"]), flags=flags, **switches), began)
        say(f"Saved: version {version} of the question is in force.")


def _assignment() -> None:
    rules = store().assignments.rules()
    key = _key("rules", rules)
    known = store().known.all()
    practice = sum(k.practice for k in known)
    st.caption("How tasks are handed out from now on. Hidden tasks look like any other and come "
               "only while ordinary ones are left.")
    with st.form("assignment"):
        left, right = st.columns(2, gap="medium")
        left.slider("Hidden tasks with a known answer, in %", 0, 50,
                    round(100 * rules.gold_share), key=f"{key}-gold_share",
                    help="Measures accuracy. Each labeler gets each known answer once. With "
                         "a tenth of each kind, Quality finds careless people much sooner.")
        left.caption(f"{len(known) - practice} hidden known answers are in use.")
        right.slider("Hidden repeats with the sides swapped, in %", 0, 50,
                     round(100 * rules.repeat_share), key=f"{key}-repeat_share",
                     help="Measures self-agreement: a task of one's own, at least ten answers "
                          "later.")
        with left:
            _number(key, "practice", rules.practice)
            st.caption(f"{practice} practice tasks are in use.")
        with right:
            _number(key, "lease_minutes", rules.lease_minutes)
            _number(key, "daily_goal", rules.daily_goal)
        st.form_submit_button("Save assignment", type="primary", on_click=_save_rules,
                              args=(key, rules))


def _save_rules(key: str, began: AssignmentRules) -> None:
    state = st.session_state
    with failing_as("saved"), _called():
        lead_actions.set_rules(store(), token(), AssignmentRules(
            gold_share=int(state[f"{key}-gold_share"]) / 100,
            repeat_share=int(state[f"{key}-repeat_share"]) / 100,
            practice=int(state[f"{key}-practice"]),
            lease_minutes=int(state[f"{key}-lease_minutes"]),
            daily_goal=int(state[f"{key}-daily_goal"])), began)
        say("Saved: the rules hold for every task handed out from now on.")


def _sign_in() -> None:
    rules, domains = store().people.sessions.rules(), store().people.domains()
    key = _key("sign-in", (rules, domains))
    st.caption("How long people stay signed in, and who may join by themselves where the "
               "organisation's single sign-on is set up. Sessions that are open end sooner where "
               "the days become fewer; more days hold from the next sign-in on. The hours hold "
               "for all at once.")
    with st.form("sign-in"):
        left, right = st.columns(2, gap="medium")
        with left:
            _number(key, "lifetime_days", rules.lifetime_days)
        with right:
            _number(key, "idle_hours", rules.idle_hours)
        st.text_area("Whoever has an e-mail address in these domains may join as a labeler, "
                     "one a line (none: only who was added)", "\n".join(domains),
                     key=f"{key}-domains", height=90)
        st.form_submit_button("Save signing in", type="primary", on_click=_save_sign_in,
                              args=(key, (rules, domains)))


def _save_sign_in(key: str, began: tuple[SessionRules, tuple[str, ...]]) -> None:
    state = st.session_state
    with failing_as("saved"), _called():
        actions.set_sign_in(store(), token(), SessionRules(
            lifetime_days=int(state[f"{key}-lifetime_days"]),
            idle_hours=int(state[f"{key}-idle_hours"])),
            str(state[f"{key}-domains"] or "").splitlines(), began)
        say("Saved: the rules for signing in are in force.")
