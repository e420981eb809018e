"""How uncertain the instant model is: on a lead's card of an open task, on no labeler's page."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from browser import Server
from forging import Arrive, run, told

#: Nothing else on any page holds these digits.
VARIANCE, SHOWN = 0.739182645, "0.739"


@pytest.mark.parametrize("role", ["lead", "engineer"])
def test_who_leads_sees_it_on_the_tasks_card(server: Server, arrive: Arrive,
                                             tasks: Callable[..., list[int]], role: str) -> None:
    with_it, without = tasks(2)
    server.store.asking.put_variances({with_it: VARIANCE})

    async def main() -> None:
        async with await arrive(role)[1].tab("browse") as tab:
            await tab.rerun(page="browse", query=f"task={with_it}")
            assert "Posterior variance" in tab.text() and SHOWN in tab.text()
            assert "does not say which" in tab.text()
            await tab.rerun(page="browse", query=f"task={without}")
            assert "Posterior variance" not in tab.text()
    run(main())


def test_a_task_that_wants_no_more_labels_has_none(
        server: Server, arrive: Arrive, tasks: Callable[..., list[int]]) -> None:
    from data.records import Answer

    (task_id,) = tasks(1)
    server.store.asking.put_variances({task_id: VARIANCE})
    task, (who, _) = server.store.tasks.get(task_id), arrive()
    server.store.assignments.assign(task_id, who.id)
    server.store.comparisons.submit(who.id, task, Answer(
        tuple((response,) for response in task.response_ids)), f"variance-{task_id}")

    async def main() -> None:
        async with await arrive("lead")[1].tab("browse") as tab:
            await tab.rerun(page="browse", query=f"task={task_id}")
            assert f"Task {task_id}" in tab.text() and SHOWN not in tab.text()
    run(main())


def test_a_labeler_is_never_told(server: Server, arrive: Arrive,
                                 tasks: Callable[..., list[int]]) -> None:
    """Not on the desk while the task is asked, nor at any address, nor in any message at all."""
    (task_id,) = tasks(1, texts=("a text of its own", "another one"))
    server.store.asking.put_variances({task_id: VARIANCE})

    async def main() -> None:
        who, visitor = arrive()
        server.store.assignments.assign(task_id, who.id)
        async with await visitor.tab("", record=True) as tab:
            assert "a text of its own" in told(tab), "the very task is on the page"
            for page in ("", "mine", "browse", "account", "quality", "reward"):
                for query in ("", f"task={task_id}"):
                    await tab.rerun(page=page, query=query)
            assert "Posterior variance" not in told(tab)
            assert SHOWN not in told(tab) and "variance" not in told(tab).lower()
    run(main())
