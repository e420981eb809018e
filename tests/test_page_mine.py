"""My answers, over the app's own websocket: searched, page by page; decisions are left alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from browser import Server, Tasks
from forging import Arrive, run
from streamlit_client import Tab

from annotate.labelers.page_mine import PAGE_SIZE
from data.exchange.importing import import_file
from data.questions import Question
from data.records import Answer, Labeler


def answered(server: Server, who: Labeler, tasks: list[int], rationale: str = "") -> None:
    """The one shown first, each time."""
    for task in tasks:
        given = server.store.assignments.assign(task, who.id)
        first, second = given.shown
        server.store.comparisons.submit(who.id, given.task, Answer(
            ((first,), (second,)), rationale=rationale), f"{task}/{who.id}")


def folded(tab: Tab) -> list[str]:
    """The ids of what can be opened, from top to bottom."""
    return [one.block.expandable.id for _, one in sorted(tab.placed.items())
            if one.block is not None and one.block.WhichOneof("type") == "expandable"]


async def searched(tab: Tab, text: str) -> int:
    """How many answers are listed under a search."""
    tab.set(tab.labelled("Search"), text)
    await tab.rerun()
    assert not tab.all("exception"), tab.text()
    return len(folded(tab))


@pytest.mark.parametrize("text", ['"', '""', "AND", "OR NOT", "NEAR(a b)", "rationale:a", "^a", "(",
                                  "'; DROP TABLE comparisons", "a\0b", "*", "%", "日本", "🦆"])
def test_a_search_is_never_a_query(server: Server, arrive: Arrive, tasks: Tasks,
                                   text: str) -> None:
    async def main() -> None:
        (me, mine), (other, _) = arrive(), arrive()
        one, two = tasks(2, wanted=2)
        answered(server, me, [one], f"because {text}")
        answered(server, me, [two], "plain words")
        answered(server, other, [one, two], f"secret {text}")
        async with await mine.tab("answers") as tab:
            assert len(folded(tab)) == 2
            assert await searched(tab, text) == 1
            assert "secret" not in tab.text()
            assert await searched(tab, "secret") == 0
            assert await searched(tab, "PLAI wor") == 1
    run(main())


def test_a_page_that_is_gone_is_the_first_one(server: Server, arrive: Arrive,
                                              tasks: Tasks) -> None:
    async def main() -> None:
        me, mine = arrive()
        answered(server, me, made := tasks(PAGE_SIZE + 1))
        async with await mine.tab("answers") as tab:
            assert len(folded(tab)) == PAGE_SIZE
            (pages,) = tab.all("pagination")
            tab.set(pages, 2)
            await tab.rerun()
            assert len(folded(tab)) == 1
            task = server.store.tasks.get(made[0])
            server.store.comparisons.undo_last(me.id, task, "undo")  # in another tab
            await tab.rerun()
            assert len(folded(tab)) == PAGE_SIZE and not tab.all("exception")
    run(main())


def test_an_answer_of_more_than_nine_responses_can_be_read_and_changed(
        server: Server, arrive: Arrive, tmp_path: Path) -> None:
    texts = [f"text {number}" for number in range(11)]
    file = tmp_path / "eleven.jsonl"
    file.write_text(json.dumps({"prompt": "Which?", "responses": [
        {"text": text, "id": i} for i, text in enumerate(texts)],
        "ranking": [[i] for i in range(11)], "verdict": "ranked", "labeler": "Ada",
        "purpose": "train"}) + "\n")
    assert import_file(server.store, file).added == 1

    async def main() -> None:
        me, mine = arrive()
        task = server.store.tasks.get(server.store.database.value("SELECT max(id) FROM tasks"))
        given = server.store.assignments.assign(task.id, me.id)
        server.store.comparisons.submit(me.id, task, Answer(tuple((i,) for i in given.shown)), "11")
        async with await mine.tab("answers") as tab:
            answer, = folded(tab)
            tab.set(answer, True)
            await tab.rerun()
            assert not tab.all("exception") and "Save the change" in tab.text()
            assert tab.labelled("Rank of I") and tab.labelled("Rank of 11")
            await tab.press(tab.labelled("Save the change"))
            assert "Nothing was changed" in tab.text() and not tab.all("exception")
    run(main())


def test_a_ranking_takes_no_ties_that_were_not_asked_for(server: Server, arrive: Arrive,
                                                         tasks: Tasks) -> None:
    version = server.store.questions.change(Question(tie=False))

    async def main() -> None:
        me, mine = arrive()
        (task,) = tasks(1, ("one", "two", "three"))
        given = server.store.assignments.assign(task, me.id)
        server.store.comparisons.submit(me.id, given.task, Answer(
            (given.shown,), 0, "both_bad", question_version=version), f"{task}/{me.id}")
        async with await mine.tab("answers") as tab:
            async def saved(bad: bool, *ranks: str) -> str:
                tab.set(tab.labelled("All bad"), bad)
                for letter, rank in zip("ABC", ranks, strict=False):
                    tab.set(tab.labelled(f"Rank of {letter}"), [rank])
                await tab.press(tab.labelled("Save the change"))
                assert not tab.all("exception")
                return tab.text()

            answer, = folded(tab)
            tab.set(answer, True)
            await tab.rerun()
            assert "Nothing was changed" in await saved(True)
            assert "choose a rank for each response first" in await saved(False)
            assert "ties are not asked for" in await saved(False, "1", "1", "2")
            assert "NOT" not in await saved(False, "1", "3", "2")
        a, b, c = given.shown
        _, changed = server.store.comparisons.history(task, me.id)
        assert changed.answer.ranking == ((a,), (c,), (b,)) and changed.answer.strength == 3
    try:
        run(main())
    finally:
        server.store.questions.change(Question())


def test_a_decision_is_shown_and_not_offered_for_change(server: Server, arrive: Arrive,
                                                        tasks: Tasks) -> None:
    async def main() -> None:
        lead, mine = arrive("lead")
        mild, (task,) = tasks(1), tasks(1, wanted=2)
        answered(server, lead, mild)
        responses = server.store.tasks.get(task).response_ids
        server.store.decisions.decide(lead.id, task, Answer(tuple((i,) for i in responses)), "k")
        async with await mine.tab("answers") as tab:
            decided, answer = folded(tab)  # the newest first
            tab.set(decided, True)
            await tab.rerun()
            assert "Your decision" in tab.text() and "Save the change" not in tab.text()
            tab.set(answer, True)
            await tab.rerun()
            assert tab.text().count("Save the change") == 1
    run(main())
