"""Answers that the labeling page would not send, over the app's own websocket."""

from __future__ import annotations

from typing import Any

from browser import Server, Tasks
from forging import Arrive, everything, run, told
from streamlit_client import Tab

from data.assignments import AssignmentRules
from data.records import Answer


def answer_to(question: dict[str, Any], ask: dict[str, Any], **more: Any) -> dict[str, Any]:
    """What the page would send for its first button."""
    return {"key": question["key"], "do": "answer", "choice": ask["choices"][0]["name"],
            "seconds": 5.0, "active_seconds": 4.0, **more}


async def sent(tab: Tab, *entries: Any) -> list[dict[str, Any]]:
    """Let the page send these; what it is told of them."""
    await tab.trigger(tab.component("desk"), "send", {"entries": list(entries)})
    return list(tab.component("desk").data["acks"])


def test_a_labeler_answers_only_what_was_given_to_them(
        server: Server, arrive: Arrive, tasks: Tasks) -> None:
    tasks(10, wanted=2)

    async def main() -> None:
        (one, first), (other, second) = arrive(), arrive()
        count = server.store.comparisons.count
        async with await first.tab() as mine, await second.tab() as theirs:
            view = theirs.component("desk").data
            stolen = answer_to(view["question"], view["ask"])
            acks = await sent(mine, stolen, {**stolen, "do": "skip", "reason": "other"},
                              {**stolen, "do": "undo", "of": "answer"})
            assert acks and not any(ack["ok"] for ack in acks)
            assert count(one.id) == count(other.id) == 0
            (ack,) = await sent(theirs, stolen)
            assert ack["ok"] and count(other.id) == 1 and count(one.id) == 0
            # Their session, sent along with another's key, is of no use either.
            view = mine.component("desk").data
            first.sign_out()
            await sent(mine, answer_to(view["question"], view["ask"]))
            assert count(one.id) == 0
            assert "your session has ended" in mine.component("desk").data["refused"]
    run(main())


def test_forged_answers_are_refused_and_leave_nothing(
        server: Server, arrive: Arrive, tasks: Tasks) -> None:
    tasks(10, wanted=2)

    async def main() -> None:
        labeler, visitor = arrive()
        async with await visitor.tab() as tab:
            view = tab.component("desk").data
            good = answer_to(view["question"], view["ask"])
            before = everything(server.store)
            sealed = good["key"].split("-")[0]
            forgeries: tuple[Any, ...] = (
                    {**good, "choice": "c-better"}, {**good, "choice": None},
                    {**good, "choice": ["a"]}, {**good, "do": "decide"}, {**good, "key": "x-y"},
                    {**good, "key": 7}, {**good, "key": good["key"] + "\u0000"},
                    {**good, "flags": {"0": "unsafe"}}, {**good, "flags": {"9": ["unsafe"]}},
                    {**good, "reason": {"$ne": 1}}, {**good, "reason": "half \ud800"},
                    {**good, "reason": "x" * 1_000_000}, {**good, "seconds": "NaN"},
                    {**good, "seconds": -1}, {**good, "question_version": 99},
                    {**good, "rewrite": {"base": 0, "text": "not asked for", "labeler_id": 1}}
                    if view["ask"]["rewrite"] else {**good, "rank": 1, "choice": 0},
                    None, 7, "answer", [], {})
            for number, forged in enumerate(forgeries):
                if isinstance(forged, dict) and forged.get("key") == good["key"]:
                    forged = {**forged, "key": f"{sealed}-{number}"}  # a settled key is not read
                assert not any(ack["ok"] for ack in await sent(tab, forged)), forged
            wrong: tuple[Any, ...] = ("send", None, {"entries": "x"}, {"entries": [[]] * 5000})
            for junk in wrong:
                await tab.trigger(tab.component("desk"), "send", junk)
            assert everything(server.store) == before
            # A refused key stays refused; the page makes a new one for another try.
            again = {**good, "key": good["key"].split("-")[0] + "-again"}
            assert [ack["ok"] for ack in await sent(tab, again) if ack["key"] == again["key"]] == [
                True]
            assert server.store.comparisons.count(labeler.id) == 1
    run(main())


def test_hidden_tasks_look_like_any_other(
        server: Server, arrive: Arrive, tasks: Tasks) -> None:
    """By what reaches the browser: the same fields of the same kinds, and names without numbers."""
    store = server.store
    ordinary = store.tasks.get(tasks(40, wanted=2)[0])
    lead, _ = arrive("lead")

    def shape(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: shape(of) for name, of in value.items()}
        return type(value).__name__

    async def main() -> None:
        seen = {}
        for share in (0.0, 0.5):
            store.assignments.set_rules(AssignmentRules(gold_share=share))
            for _ in range(12):
                labeler, visitor = arrive()
                async with await visitor.tab(record=True) as tab:
                    question = tab.component("desk").data["question"]
                    open_task, = [row["task_id"] for row in store.database.rows(
                        "SELECT task_id FROM assignments WHERE labeler_id = ? "
                        "ORDER BY leased_at LIMIT 1", [labeler.id])]
                    purpose = store.tasks.get(open_task).purpose
                    seen[purpose] = shape(question)
                    assert str(open_task) not in question["key"].split("-")
                    assert purpose == "train" or purpose not in told(tab)
        assert set(seen) == {"train", "gold"} and seen["train"] == seen["gold"]

    store.known.add(ordinary.prompt_id, ordinary.response_ids,
                    Answer(tuple((i,) for i in ordinary.response_ids), 3), practice=False,
                    explanation="", by=lead.id)
    try:
        run(main())
    finally:
        store.assignments.set_rules(AssignmentRules())
