"""Setting answers aside on People, and what the other pages say of them then; tried by forging."""

from __future__ import annotations

import asyncio

import pytest
from browser import Server
from forging import Arrive, everything, run
from leads_world import CARELESS, LeadsWorld, workspace
from streamlit.proto.WidgetStates_pb2 import WidgetState
from streamlit_client import Tab, Visitor, press_of

from data.disputes import disputes

assert workspace  # a fixture

_ADDRESS = "E-mail address (for the organisation's single sign-on)"
SET_ASIDE, AGAIN = f"Set aside the answers of {CARELESS}", "Count answers again"


def shown(tab: Tab) -> str:
    """What a page says, once it is found to be whole."""
    assert not tab.all("exception"), tab.text()
    return tab.text().replace("\\", "")


async def quality(visitor: Visitor, words: str) -> str:
    """The Quality page once it says so: its figures are counted only so often, on a busy machine
    more seldom."""
    for _ in range(150):
        async with await visitor.tab("quality") as tab:
            if words in (text := shown(tab)):
                return text
        await asyncio.sleep(0.5)
    raise AssertionError(f"{words!r} is not on the page: {text}")


def test_a_lead_sets_answers_aside_and_counts_them_again(server: Server, arrive: Arrive,
                                                         leads: LeadsWorld) -> None:
    store, who = leads.store, leads.people[CARELESS].id
    careless = f"{CARELESS} (set aside)"
    hottest = next(dispute.task_id for dispute in disputes(store) if who in {
        c.labeler_id for c in store.comparisons.of_task(dispute.task_id)})

    async def main() -> None:
        lead, visitor = arrive("lead")

        async def page(path: str, query: str = "") -> str:
            async with await visitor.tab("account") as tab:
                await tab.rerun(page=path, query=query)
                return shown(tab)

        before = {path: await page(path) for path in ("rounds", "disputes")}
        await quality(visitor, f"{CARELESS}</strong> stands out")
        async with await visitor.tab("account") as tab:
            await tab.rerun(page="people", query=f"person={who}")
            assert "count no more" in shown(tab), "it is said first what comes of it"
            await tab.press(tab.labelled(SET_ASIDE))
            assert f"The answers of {CARELESS} are set aside." in shown(tab)
            assert "<td>set aside</td>" in tab.text()
            assert store.people.get(who).set_aside_at is not None
            meanwhile = {path: await page(path) for path in before}
            figures = await quality(visitor, "in no figure but their own")
            assert careless in figures and "Nobody stands out" in figures
            assert careless in meanwhile["rounds"] and careless not in meanwhile["disputes"]
            assert careless in await page("browse", f"of={who}")
            assert careless in await page("browse", f"task={hottest}")
            await tab.press(tab.labelled(AGAIN))
            assert f"The answers of {CARELESS} count again." in shown(tab)
        assert store.people.get(who).set_aside_at is None
        assert [(e.action, e.labeler_id, e.subject) for e in store.audit.entries()[:2]] == [
            ("count answers again", lead.id, CARELESS), ("set answers aside", lead.id, CARELESS)]
        for path in before:
            assert before[path] != meanwhile[path]
            assert await page(path) == before[path]
        await quality(visitor, f"{CARELESS}</strong> stands out")
    run(main())


def test_the_chosen_person_stays_in_view_as_their_name_changes(
        server: Server, arrive: Arrive, leads: LeadsWorld) -> None:
    """Else what is pressed next would be meant for somebody else."""
    who = leads.people[CARELESS].id

    async def main() -> None:
        async with await arrive("lead")[1].tab("people") as tab:
            label = CARELESS
            tab.set(tab.labelled("Person"), label)
            await tab.rerun()
            for press, aside in ((SET_ASIDE, True), (AGAIN, False)):
                label = tab.send_box("Person", label)
                await tab.press(tab.labelled(press))
                assert (server.store.people.get(who).set_aside_at is not None) is aside
                label = tab.send_box("Person", label)
                await tab.rerun()
                assert tab.labelled(AGAIN if aside else SET_ASIDE)
            server.store.people.set_aside(who, True)  # by somebody else
            for _ in range(2):
                await tab.rerun()
                assert tab.labelled(AGAIN)
                assert tab.labelled("Person").proto.raw_value == f"{CARELESS} (set aside)"
            await tab.press(tab.labelled("New sign-in link"))
            assert f"The sign-in link of {CARELESS}." in tab.text()
        server.store.people.set_aside(who, False)
    run(main())


def test_the_audit_log_stays_that_of_one_person_as_their_name_changes(
        server: Server, arrive: Arrive, leads: LeadsWorld) -> None:
    """Else everybody's entries would come back by themselves."""
    store, who, others = server.store, leads.people[CARELESS].id, "what others did"
    store.audit.record(None, "import", others)

    async def main() -> None:
        async with await arrive("lead")[1].tab("account") as tab:
            await tab.rerun(page="audit")
            assert others in shown(tab)
            label = CARELESS
            tab.set(tab.labelled("Person"), label)
            await tab.rerun()
            assert others not in shown(tab)
            for aside in (True, False):
                store.people.set_aside(who, aside)  # by somebody else
                for _ in range(2):
                    label = tab.send_box("Person", label)
                    await tab.rerun()
                    assert others not in shown(tab)
            await tab.rerun(WidgetState(id=tab.labelled("Person").id))  # emptied
            assert others in shown(tab)
    run(main())


def test_an_address_that_is_saved_as_it_stands_stays(server: Server, arrive: Arrive) -> None:
    """Also where it is but the person's name: else whoever is called by it would be locked out."""
    called = server.store.people.add("Ida@example.org")
    given = server.store.people.add("Uma", config={"email": "uma@example.org"})
    neither = server.store.people.add("Max")

    async def main() -> None:
        async with await arrive("lead")[1].tab("account") as tab:
            for person, address in ((called, "ida@example.org"), (given, "uma@example.org"),
                                    (neither, "")):
                await tab.rerun(page="people", query=f"person={person.id}")
                field = tab.labelled(_ADDRESS)
                assert field.proto.default == address
                before = everything(server.store), server.store.people.all()
                await tab.press(tab.labelled("Save address"))
                said = f"may sign in with {address}" if address else "has no address to sign in"
                assert f"{person.name} {said}" in shown(tab).replace("\u2060", "")
                assert (everything(server.store), server.store.people.all()) == before
            await tab.rerun(page="people", query=f"person={called.id}")
            tab.set(tab.labelled(_ADDRESS), "")
            await tab.press(tab.labelled("Save address"))
        assert server.store.people.of_email("ida@example.org") is None
        assert server.store.people.was_taken_back("ida@example.org")
    run(main())


def test_a_round_of_none_but_them_has_a_quality_page(server: Server, arrive: Arrive,
                                                     leads: LeadsWorld) -> None:
    async def main() -> None:
        for person in leads.people.values():
            leads.store.people.set_aside(person.id, True)
        text = await quality(arrive("lead")[1], "in no figure but their own: Ada Okafor")
        for person in leads.people.values():
            leads.store.people.set_aside(person.id, False)
        assert all(f"{name} (set aside)" in text for name in leads.people)
        assert "0 of 270" in text
    run(main())


def test_whoever_is_no_person_can_be_set_aside_too(server: Server, arrive: Arrive) -> None:
    robot = server.store.people.add("Robot", kind="imported")

    async def main() -> None:
        async with await arrive("lead")[1].tab("account") as tab:
            await tab.rerun(page="people", query=f"person={robot.id}")
            assert "New sign-in link" not in [one.proto.label for one in tab.all("button")]
            await tab.press(tab.labelled("Set aside the answers of Robot"))
            assert server.store.people.get(robot.id).set_aside_at is not None
            await tab.press(tab.labelled(AGAIN))
            assert server.store.people.get(robot.id).set_aside_at is None
    run(main())


@pytest.mark.parametrize("query", ["person=99999999999999999999", "person=-1", "person=²",
                                   "person=", "person=1&person=2"])
def test_an_address_that_names_nobody_shows_the_page(server: Server, arrive: Arrive,
                                                     query: str) -> None:
    async def main() -> None:
        async with await arrive("lead")[1].tab("account") as tab:
            await tab.rerun(page="people", query=query)
            assert "Links, access and answers" in shown(tab)
    run(main())


@pytest.mark.parametrize("role", ["labeler", "engineer"])
def test_nobody_else_presses_it(server: Server, arrive: Arrive, leads: LeadsWorld,
                                role: str) -> None:
    who = leads.people[CARELESS].id

    async def main() -> None:
        async with await arrive("lead")[1].tab("account") as theirs, \
                await arrive(role)[1].tab("account") as mine:
            await theirs.rerun(page="people", query=f"person={who}")
            chosen, press = theirs.labelled("Person"), theirs.labelled(SET_ASIDE)
            await mine.rerun(page="people")
            before = everything(server.store)
            for query in ("", f"person={who}"):
                await mine.rerun(WidgetState(id=chosen.id, string_value=CARELESS),
                                 press_of(press.id), query=query)
                await mine.rerun(press_of(press.id), fragment=press.fragment, query=query)
            assert everything(server.store) == before
            await theirs.press(press)
            assert server.store.people.get(who).set_aside_at is not None
            before = everything(server.store)
            again = theirs.labelled(AGAIN)
            await mine.rerun(press_of(again.id), query=f"person={who}")
            assert everything(server.store) == before
            await theirs.press(again)
        assert server.store.people.get(who).set_aside_at is None
    run(main())


def test_a_lead_cannot_forge_it_of_themselves(server: Server, arrive: Arrive) -> None:
    async def main() -> None:
        me, visitor = arrive("lead")
        async with await visitor.tab("account") as tab:
            await tab.rerun(page="people", query=f"person={me.id}")
            own = tab.labelled("Set answers aside")
            await tab.press(own)
        assert server.store.people.get(me.id).set_aside_at is None
    run(main())
