"""A labeler at their desk, without a browser: what the page would send, and what it is told."""

from __future__ import annotations

import json
from typing import Any

from data_world import World

from annotate.labelers import desk
from data.records import Answer, Labeler
from data.store import Store


class Person:
    """A labeler with a session, and the desks of their tabs."""

    def __init__(self, store: Store, name: str = "me") -> None:
        self.store = store
        self.labeler: Labeler = store.people.add(name)
        token = store.people.redeem(store.people.create_code(self.labeler.id))
        assert token is not None
        self.token: str = token

    def desk(self) -> desk.Desk:
        """A new tab's."""
        return desk.Desk(self.store, lambda: self.token)

    def stands(self) -> list[Answer]:
        """Their answers that stand, oldest first."""
        return [c.answer for c in self.store.comparisons.current(labeler_id=self.labeler.id)]


def pairs(world: World, count: int) -> None:
    """So many questions."""
    for number in range(count):
        world.task((f"one {number}", f"two {number}"), wanted=3)


def entry(question: dict[str, Any], **more: Any) -> dict[str, Any]:
    """An answer to a question, as the page sends it."""
    return {"key": question["key"], "do": "answer", "choice": "a-better", "seconds": 3.0,
            "active_seconds": 2.0, **more}


def send(mine: desk.Desk, *entries: dict[str, Any]) -> dict[str, Any]:
    """What the page does: its outbox goes in as JSON, the next view comes back as JSON."""
    mine.receive(json.loads(json.dumps({"entries": entries})))
    found: dict[str, Any] = json.loads(json.dumps(mine.view()))
    return found


def ack(view: dict[str, Any], key: str) -> dict[str, Any]:
    """What the page is told of an entry."""
    found: dict[str, Any] = next(each for each in view["acks"] if each["key"] == key)
    return found


def undo(question: dict[str, Any], of: str = "answer") -> dict[str, Any]:
    """A press of Undo after a question was answered or skipped, as the page sends it."""
    return {"key": f"{question['key'].split('-')[0]}-undo1", "do": "undo", "of": of}
