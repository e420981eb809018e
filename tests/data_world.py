"""Small workspaces for the tests of `data/`: a store, its versions, rounds, tasks and people."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

from data.records import Answer, Comparison, Labeler, Message, NewResponse, Round, Task
from data.schema import migrations
from data.store import Store


def user(text: str) -> list[Message]:
    """A prompt of one message."""
    return [{"role": "user", "content": text}]


@dataclass
class World:
    """A store with a reference policy, a newer one, and an open round between them."""

    store: Store
    round: Round
    reference: int
    policy: int

    @classmethod
    def make(cls, path: Path) -> "World":
        store = Store(path)
        reference = store.versions.add_policy(name="reference", base="tiny", method="sft").id
        policy = store.versions.add_policy(name="better", base="tiny", method="ppo",
                                           parent_id=reference).id
        return cls(store, store.rounds.open(policy, reference), reference, policy)

    def people(self, count: int, kind: str = "human") -> list[Labeler]:
        """New labelers."""
        already = len(self.store.people.all())
        return [self.store.people.add(f"Labeler {already + i}", kind=kind) for i in range(count)]

    def task(self, texts: tuple[str, ...] = ("one", "two"), *, prompt: str = "",
             further: Sequence[Message] = (), purpose: str = "train", wanted: int = 1,
             priority: float = 0.0) -> Task:
        """A task of the open round; its first response is the reference's, the others the new.

        `further` messages follow the prompt's first.
        """
        count = self.store.database.value("SELECT count(*) FROM responses")
        prompt_id, _ = self.store.prompts.add(
            [*user(prompt or f"question {count}"), *further], "test")
        versions = [self.reference] + [self.policy] * (len(texts) - 1)
        ids = self.store.responses.add(
            NewResponse(prompt_id, text, version, self.round.id, seed=count + i)
            for i, (text, version) in enumerate(zip(texts, versions, strict=True)))
        return self.store.tasks.get(self.store.tasks.add(
            prompt_id, ids, round_id=self.round.id, purpose=purpose, wanted=wanted,
            priority=priority))

    def answer(self, labeler: Labeler, task: Task, answer: Answer, key: str = "") -> Comparison:
        """Show a task to a labeler and store what they say."""
        self.store.assignments.assign(task.id, labeler.id)
        return self.store.comparisons.submit(labeler.id, task, answer,
                                             key or f"{task.id}/{labeler.id}")

    def choose(self, labeler: Labeler, task: Task, winner: int | None,
               strength: int = 3) -> Comparison:
        """An answer to a pair: the position of the winner in the task, None for a tie."""
        first, second = task.response_ids
        if winner is None:
            return self.answer(labeler, task, Answer(((first, second),), 0))
        ranking = ((first,), (second,)) if winner == 0 else ((second,), (first,))
        return self.answer(labeler, task, Answer(ranking, strength))


def as_before(store: Store, path: Path, known: int) -> None:
    """Write what a store holds into a new database that only the first so many migrations made."""
    older = Migrations("prefloop")
    for migration in migrations._migrations[:known]:
        older(name=migration.name)(migration.fn)
    with closing(sqlite3.connect(path)) as db:
        older.apply(Database(db))
        db.execute("ATTACH ? AS new", [str(store.database.path)])
        for table in ("labelers", "policy_versions", "rounds", "prompts", "responses", "tasks",
                      "task_responses", "assignments", "comparisons", "preferences", "decisions"):
            columns = ", ".join(row[1] for row in db.execute(f"PRAGMA main.table_info({table})"))
            db.execute(f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM new.{table}")
        db.commit()
