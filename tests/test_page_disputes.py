"""What a dispute is listed as."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import pytest
from browser import Server, Tasks
from forging import Arrive, run

from annotate.leads.page_disputes import tally_of
from data.records import Answer, Labeler, Task

FOR_A, FOR_B = Answer(((1,), (2,)), 1), Answer(((2,), (1,)), 4)
TIE, BAD = Answer(((1, 2),), 0), Answer(((1, 2),), 0, "both_bad")


def disputed(server: Server, tasks: Tasks, person: Callable[..., Labeler]) -> Task:
    """A task of which two people say opposite things."""
    store, task = server.store, server.store.tasks.get(tasks(1, wanted=2)[0])
    one, other = task.response_ids
    for better, worse in ((one, other), (other, one)):
        who = person()
        store.assignments.assign(task.id, who.id)
        store.comparisons.submit(who.id, task, Answer(((better,), (worse,))), f"{who.id}")
    return task


def test_sides_are_counted_in_one_order_whoever_leads() -> None:
    for answers in permutations((FOR_B, FOR_B, BAD, TIE, FOR_A)):
        assert tally_of(answers, (1, 2)) == "1 for A, 2 for B, 1 tie, 1 both bad"
    assert tally_of([FOR_B, FOR_A, FOR_A], (2, 1)) == "1 for A, 2 for B"  # in this page's letters


def test_rankings_are_counted_commonest_first() -> None:
    one, other = Answer(((1,), (2,), (3,))), Answer(((3,), (1, 2)))
    tie = Answer(((1, 2, 3),), 0)
    for answers in permutations((one, other, other, tie)):
        assert tally_of(answers, (1, 2, 3)) == "2 C > A = B, 1 A > B > C, 1 tie"


def test_one_answer_to_each_question_is_no_agreement(
        server: Server, arrive: Arrive, tasks: Tasks, person: Callable[..., Labeler]) -> None:
    store, (task_id,) = server.store, tasks(1, wanted=2)

    def answer() -> None:
        who = person()
        task = store.assignments.assign(task_id, who.id).task
        first, second = task.response_ids
        store.comparisons.submit(who.id, task, Answer(((first,), (second,))), f"{who.id}")

    async def main() -> None:
        _, visitor = arrive("lead")

        async def page() -> str:
            async with await visitor.tab("disputes") as tab:
                return tab.text()

        assert "No question has two answers yet" in await page()
        answer()
        alone = await page()
        assert "No question has two answers yet" in alone and "Nobody disagrees" not in alone
        answer()
        assert "Nobody disagrees here." in await page()

    run(main())


def test_a_decided_task_can_be_decided_anew_whoever_answered_it(
        server: Server, arrive: Arrive, tasks: Tasks) -> None:
    """A lead who labels too may have given the only answer to it, or nobody any."""
    store = server.store

    async def main() -> None:
        lead, visitor = arrive("lead")
        task = store.tasks.get(tasks(1, wanted=2)[0])
        answer = Answer(tuple((i,) for i in task.response_ids))
        store.decisions.decide(lead.id, task.id, answer, f"slip {task.id}")
        async with await visitor.tab("disputes") as tab:
            assert "All disputes are decided." in tab.text() and "No question" not in tab.text()
            tab.set(tab.labelled("Show decided ones"), True)
            await tab.rerun()
            fold = next(one for one in tab.placed.values() if one.block is not None
                        and "no other answer" in one.block.expandable.label)
            assert "decided" in fold.block.expandable.label
            tab.set(fold.block.expandable.id, True)
            await tab.rerun()
            assert "Overrides nobody" in tab.text() and "Decide anew" in tab.text()
            assert not tab.all("exception")

    run(main())


def test_what_another_lead_decides_meanwhile_stays_in_view_and_is_not_overruled_unseen(
        server: Server, arrive: Arrive, tasks: Tasks, person: Callable[..., Labeler]) -> None:
    store, task = server.store, disputed(server, tasks, person)
    one, other = task.response_ids

    async def main() -> None:
        (me, visitor), colleague = arrive("lead"), person("lead")
        async with await visitor.tab("disputes") as tab:
            fold = next(one for one in tab.placed.values() if one.block is not None
                        and one.block.expandable.label)
            tab.set(fold.block.expandable.id, True)
            await tab.rerun()
            tab.set(tab.labelled("Right answer"), ["Tie"])
            await tab.rerun()
            theirs = store.decisions.decide(colleague.id, task.id, Answer(((one,), (other,))), "k")
            await tab.press(tab.labelled("Record decision"))
            words = tab.text().replace("\\", "")
            assert f"NOT decided: {colleague.name} has decided it meanwhile: look again" in words
            assert f"{colleague.name} decided: " in words and "Decide anew" in words
            assert store.decisions.of_task(task.id) == theirs

            await tab.press(tab.labelled("Record decision"))
            mine = store.decisions.of_task(task.id)
            assert mine is not None and mine.labeler_id == me.id
            assert theirs.comparison_id in mine.overrides
            assert "All disputes are decided." in tab.text()  # off the list, with its fold
            assert not tab.all("exception")

    run(main())


def test_ones_own_decision_is_taken_back_and_anothers_only_decided_anew(
        server: Server, arrive: Arrive, tasks: Tasks, person: Callable[..., Labeler]) -> None:
    store, task = server.store, disputed(server, tasks, person)
    one, other = task.response_ids

    async def main() -> None:
        (me, visitor), colleague = arrive("lead"), person("lead")
        theirs = store.decisions.decide(colleague.id, task.id, Answer(((one,), (other,))), "theirs")
        async with await visitor.tab("disputes") as tab:
            async def unfold() -> None:
                fold, = {one.block.expandable.id for one in tab.placed.values()
                         if one.block is not None and one.block.expandable.label}
                tab.set(fold, True)
                await tab.rerun()

            tab.set(tab.labelled("Show decided ones"), True)
            await tab.rerun()
            await unfold()
            with pytest.raises(LookupError):
                tab.labelled("Take back")
            store.decisions.decide(me.id, task.id, Answer(((other,), (one,))), "mine")
            await tab.rerun()
            for stands in (theirs, None):
                await tab.press(tab.labelled("Take back"))
                assert store.decisions.of_task(task.id) == stands
                words = tab.text().replace("\\", "")
                if stands is not None:
                    assert f"The decision of {colleague.name} stands again." in words
                    assert "0 open, 1 decided" in words
                    store.decisions.take_back(colleague.id, task.id, theirs.comparison_id, "back")
                    store.decisions.decide(me.id, task.id, Answer(((other,), (one,))), "anew")
                    await unfold()
            assert "Everybody's answers stand again." in words and "1 open, 0 decided" in words
            assert not tab.all("exception")

    run(main())
