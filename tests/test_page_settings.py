"""Names in the settings' labels stay names: labels are Markdown to Streamlit. Two leads at once do
not undo each other's changes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import streamlit as st
from browser import Server
from forging import Arrive, run
from streamlit_client import Tab

from annotate.figures import as_label
from annotate.leads import guidelines
from data.assignments import AssignmentRules
from data.records import Labeler
from data.sessions import SessionRules
from data.store import Store

HOSTILE = "![x](http://evil.test/x) **bold** :material/delete:"


def test_who_wrote_the_guidelines_is_no_markdown(store: Store,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    lead = store.people.add(HOSTILE, "lead")
    store.questions.write_guidelines("Be fair.", lead.id)
    labels: list[str] = []

    def expander(label: str, **_: Any) -> Any:
        labels.append(label)
        return nullcontext(SimpleNamespace(open=False))

    monkeypatch.setattr(guidelines, "store", lambda: store)
    monkeypatch.setattr(st, "expander", expander)
    for old in store.questions.all_guidelines():
        guidelines._version(old, current=1)
    assert len(labels) == 1 and as_label(lead.name) in labels[0] and lead.name not in labels[0]


async def section(tab: Tab, name: str) -> None:
    """Choose a section of the page."""
    tab.set(tab.labelled("Section"), [name])
    await tab.rerun()
    assert not tab.all("exception"), tab.text()


def test_a_form_is_not_saved_over_what_another_lead_has_saved(server: Server,
                                                              arrive: Arrive) -> None:
    """It shows what is in force then, and is saved from there."""
    store = server.store

    async def main() -> None:
        (_, mine), (other, theirs) = arrive("lead"), arrive("lead")
        refused = f"NOT saved: changed meanwhile by {other.name}: look again"

        async def save(tab: Tab, button: str, *typed: tuple[str, bool | float]) -> str:
            for label, value in typed:
                tab.set(tab.labelled(label), value)
            await tab.press(tab.labelled(button))
            assert not tab.all("exception"), tab.text()
            return tab.text().replace("\\", "")

        async with await mine.tab("settings") as a, await theirs.tab("settings") as b:
            assert "Saved" in await save(b, "Save question", ("A tie may be said", False))
            reason = ("A reason may be typed", False)
            assert refused in await save(a, "Save question", reason)
            assert not a.labelled("A tie may be said").proto.default
            assert a.labelled("A reason may be typed").proto.default
            assert "Saved" in await save(a, "Save question", reason)
            question = store.questions.current()[1]
            assert not question.tie and not question.reason

            for tab in (a, b):
                await section(tab, "Assignment")
            assert "Saved" in await save(b, "Save assignment", ("Practice tasks", 3.0))
            goal = ("Daily goal", 40.0)
            assert refused in await save(a, "Save assignment", goal)
            assert a.labelled("Practice tasks").proto.default == 3
            assert "Saved" in await save(a, "Save assignment", goal)
            assert store.assignments.rules() == AssignmentRules(practice=3, daily_goal=40)

            for tab in (a, b):
                await section(tab, "Signing in")
            days, hours = ("so many days", 7.0), ("so many hours", 48.0)
            assert "Saved" in await save(b, "Save signing in", days)
            assert refused in await save(a, "Save signing in", hours)
            assert "Saved" in await save(a, "Save signing in", hours)
            assert store.people.sessions.rules() == SessionRules(7, 48)
    run(main())


def test_a_draft_is_not_saved_over_guidelines_that_nobody_has_seen(
        server: Server, arrive: Arrive, person: Callable[[str], Labeler]) -> None:
    """They are told of once, and the draft stays."""
    questions, other = server.store.questions, person("lead")

    async def main() -> None:
        async with await arrive("lead")[1].tab("settings") as tab:
            await section(tab, "Guidelines")
            tab.set(tab.labelled("Guidelines (Markdown)"), "Mine")
            await tab.rerun()
            newer = questions.write_guidelines("Theirs", other.id)
            await tab.press(tab.labelled("Save guidelines"))
            text = tab.text().replace("\\", "")
            assert "NOT saved: changed meanwhile: look again" in text
            assert f"Version {newer} came into force" in text
            assert [g.text for g in questions.all_guidelines()][:1] == ["Theirs"]
            await tab.press(tab.labelled("Save guidelines"))
            assert [g.text for g in questions.all_guidelines()][:2] == ["Mine", "Theirs"]
    run(main())
