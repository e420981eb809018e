"""Counts that stand beside each other add up, or say what one of them leaves out; and a few are
said to be few."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from browser import Server, Tasks, make_workspace, open_round
from forging import Arrive, run

from annotate.leads.page_quality import MOST_ROWS
from data.records import Answer, Labeler, Message, NewResponse, Task
from data.store import Store

TAGS = 30


def answer(store: Store, who: Labeler, task: Task, winner: int | None) -> None:
    given = Answer((task.response_ids,), 0)
    if winner is not None:
        given = Answer(((task.response_ids[winner],), (task.response_ids[1 - winner],)))
    store.assignments.assign(task.id, who.id)
    store.comparisons.submit(who.id, task, given, f"{task.id}/{who.id}")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people have answered thirty tasks, each with a tag of its own, and one a repeat."""
    folder = tmp_path_factory.mktemp("counts") / "workspace"
    store = make_workspace(folder)
    turn, people = open_round(store), [store.people.add(name) for name in ("Ada", "Ben")]
    with store.database.write():
        for number in range(TAGS):
            prompt, _ = store.prompts.add([Message(role="user", content=f"prompt {number}?")],
                                          "test", [f"tag-{number:02}"])
            ids = store.responses.add(NewResponse(prompt, text, round_id=turn, sample_index=i)
                                      for i, text in enumerate(("one", "other")))
            task = store.tasks.get(store.tasks.add(prompt, ids, round_id=turn, wanted=2))
            for who in people:
                answer(store, who, task, 0)
        answer(store, people[0], store.tasks.get(store.tasks.add(
            task.prompt_id, task.response_ids, round_id=turn, purpose="repeat",
            repeat_of=task.id, only_for=people[0].id)), 1)
    return folder


def test_rounds_says_that_repeats_are_among_the_labels(server: Server, arrive: Arrive) -> None:
    async def main() -> None:
        async with await arrive("engineer")[1].tab("rounds") as tab:
            text = tab.text()
            assert "60 of 60" in text and "Labels from Ada (31), Ben (30)" in text
            assert "Hidden repeats are among these, and not among the labels" in text
    run(main())


def test_quality_says_which_counts_hold_repeats(server: Server, arrive: Arrive) -> None:
    async def main() -> None:
        async with await arrive("lead")[1].tab("quality") as tab:
            text = tab.text()
            assert "60 of 60" in text and "without hidden repeats" in text
            assert "with hidden repeats and without hidden known answers" in text
            assert re.search(r'Ada</a></td><td class="pf-number">31<', text)
    run(main())


def test_quality_says_what_is_not_of_the_chosen_kinds(server: Server, arrive: Arrive) -> None:
    server.store.people.add("Robot", kind="imported")

    async def main() -> None:
        async with await arrive("lead")[1].tab("quality") as tab:
            whose = tab.labelled("Whose answers")

            async def of(*kinds: str) -> str:
                tab.set(whose, list(kinds))
                await tab.rerun()
                return tab.text()

            assert "</span> of round 0, without hidden repeats" in await of("human", "imported")
            assert "</span> of round 0, of all kinds of labelers, without" in await of("human")
            for kinds in (("imported",), ()):
                text = await of(*kinds)
                assert "None of the chosen kinds of labelers has answered yet in round 0." in text
                assert "No answer has been given" not in text
    run(main())


def test_the_tags_with_few_labels_wait_until_they_are_asked_for(server: Server,
                                                                arrive: Arrive) -> None:
    async def main() -> None:
        async with await arrive("lead")[1].tab("quality") as tab:
            assert len(re.findall(r"<td>tag-\d\d</td>", tab.text())) == MOST_ROWS
            every = tab.labelled(f"All {TAGS} tags")
            tab.set(every, True)
            await tab.rerun(fragment=every.fragment)
            assert len(re.findall(r"<td>tag-\d\d</td>", tab.text())) == TAGS
    run(main())


def test_a_few_answers_clear_nobody(
        server: Server, arrive: Arrive, tasks: Tasks, person: Callable[..., Labeler]) -> None:
    who = person()

    async def quality_of(answers: int) -> str:
        """The page over a new round in which one person has given so many, of both sides."""
        for place, task_id in enumerate(tasks(answers)):
            answer(server.store, who, server.store.tasks.get(task_id), place % 2)
        _, visitor = arrive("lead")
        async with await visitor.tab("quality") as tab:
            return tab.text()

    async def main() -> None:
        few, more = await quality_of(3), await quality_of(12)
        assert "Too few answers to tell whether anybody clicks through." in few
        assert "Nobody stands out" not in few
        assert "Nobody stands out" in more and "Too few answers" not in more

    run(main())


def test_where_all_answers_are_ties_there_is_no_alpha(
        server: Server, arrive: Arrive, tasks: Tasks, person: Callable[..., Labeler]) -> None:
    async def quality_of(ties: int) -> str:
        """The page over a new round with one task, on which so many people have said the same."""
        task = server.store.tasks.get(tasks(1, wanted=2)[0])
        for _ in range(ties):
            answer(server.store, person(), task, None)
        async with await arrive("lead")[1].tab("quality") as tab:
            return tab.text()

    async def main() -> None:
        said = "undefined: all answers to compare are ties"
        assert said not in await quality_of(1) and said in await quality_of(2)

    run(main())
