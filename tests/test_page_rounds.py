"""The page of rounds: figures that are kept between looks follow every answer all the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import Server, add_task, make_workspace, open_round, serving
from forging import Arrive, run
from streamlit_client import Visitor

from annotate.engineers.page_rounds import MOST_NAMED, PAGE_SIZE
from data.records import Answer


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a round of three tasks that set the new policy against the reference."""
    folder = tmp_path_factory.mktemp("rounds") / "workspace"
    store = make_workspace(folder)
    turn = open_round(store)
    for number in range(3):
        add_task(store, turn, f"prompt {number}?", ["new", "old"], purpose="evaluate", wanted=2)
    return folder


def test_the_win_rate_follows_answers_revisions_and_decisions(server: Server,
                                                              arrive: Arrive) -> None:
    store = server.store
    me, lead = store.people.add("Ada"), store.people.add("Lea", "lead")
    turn = store.rounds.current()
    assert turn is not None
    tasks = store.tasks.of_round(turn.id)

    def answer(number: int, winner: int, replaces: int | None = None) -> None:
        task = tasks[number]
        store.assignments.assign(task.id, me.id)
        best, worst = task.response_ids[winner], task.response_ids[1 - winner]
        store.comparisons.submit(me.id, task, Answer(((best,), (worst,))),
                                 f"{number}/{replaces}", replaces)

    async def main() -> None:
        visitor = arrive("engineer")[1]
        for act, shown in (
                (lambda: None, ("no data yet", "0 of 6")),
                (lambda: answer(0, 0), ("100 %", "n = 1,", "Ada (1)")),
                (lambda: answer(1, 1), ("50 %", "n = 2,", "Ada (2)")),
                (lambda: answer(1, 0, 1), ("100 %", "n = 2,", "Ada (2)")),
                (lambda: store.decisions.decide(lead.id, tasks[2].id, Answer(
                    (tasks[2].response_ids[1:], tasks[2].response_ids[:1])), "decided"),
                 ("100 %", "n = 2,", "Labels from Ada (2)"))):
            act()
            for _ in range(2):  # counted, and then from what is kept
                async with await visitor.tab("rounds") as tab:
                    text = tab.text()
                    assert all(words in text for words in shown), text
                    assert "Lea" not in text and not tab.all("exception")
                    assert f'href="/browse?policy={turn.policy_version_id}"' in text

    run(main())


def test_two_rounds_may_be_of_one_policy(server: Server, arrive: Arrive) -> None:
    rounds = server.store.rounds
    first = rounds.current()
    assert first is not None
    rounds.open(first.policy_version_id, first.reference_id)

    async def main() -> None:
        async with await arrive("engineer")[1].tab("rounds") as tab:
            assert not tab.all("exception")
            assert tab.text().count("Labelers behind it") == 2
            assert "Policy versions" in tab.text()  # below the rounds

    run(main())


def test_many_rounds_are_shown_some_at_a_time_and_many_labelers_counted(tmp_path: Path) -> None:
    store = make_workspace(tmp_path)
    lead, turn = store.people.add("Lea", "lead"), store.rounds.get(open_round(store))
    for _ in range(PAGE_SIZE):
        last = store.rounds.open(turn.policy_version_id, turn.reference_id)
    task = store.tasks.get(add_task(store, last.id, "Why?", ["new", "old"], wanted=MOST_NAMED + 1))
    for number in range(MOST_NAMED + 1):
        who = store.people.add(f"Labeler {number}").id
        store.assignments.assign(task.id, who)
        store.comparisons.submit(who, task, Answer((task.response_ids,), 0), f"answer {number}")

    async def main() -> None:
        with serving(tmp_path) as server:
            visitor = Visitor(server.url)
            visitor.sign_in(server.store.people.create_code(lead.id))
            async with await visitor.tab("rounds") as tab:
                text = tab.text()
                assert text.count("Beats the reference") == PAGE_SIZE
                assert "Round 5" in text and "Round 0" not in text and "Policy versions" in text
                assert f"Labels from {MOST_NAMED + 1} labelers" in [
                    one.block.expandable.label for one in tab.placed.values() if one.block]
                assert "Labeler 0 (1), Labeler 1 (1)" in text  # in the fold
                (pages,) = tab.all("pagination")
                tab.set(pages, 2)
                await tab.rerun()
                assert "Round 0" in tab.text() and "Round 5" not in tab.text()

    run(main())


def test_a_new_workspace_says_how_to_begin_and_has_no_table_without_rows(tmp_path: Path) -> None:
    lead = make_workspace(tmp_path).people.add("Lea", "lead")

    async def main() -> None:
        with serving(tmp_path) as server:
            visitor = Visitor(server.url)
            visitor.sign_in(server.store.people.create_code(lead.id))
            async with await visitor.tab("rounds") as tab:
                assert "*Open the next round*, on Jobs, does it." in tab.text()
                assert "Policy versions" not in tab.text()

    run(main())
