"""Workspaces for the benchmarks of labeling: people, open questions, and years of old answers.

The past is written straight into the tables, in one transaction: 200,000 answers one by one through
the store would take an hour of syncing. What is written is what the store would have left.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from benchmarks.harness import say
from data.database import Database, now
from data.prompts import fingerprint, split_of
from data.records import Answer, Labeler, Message, NewResponse
from data.store import Store
from loop.workspace import Plan, make_workspace

#: Words of one response, as long as those that people were timed on.
WORDS = 60
#: Answers on each old question: enough to have something to agree about.
ANSWERS_EACH = 4
#: What the prompt of a new question ends with: which one it is, wherever it is shown.
MARK = re.compile(r"\((\d+/\d+)\)")
#: Rounds that are closed; the open one holds as much as all of them together.
CLOSED_ROUNDS = 5
PEOPLE_BEFORE = 20
#: One old task in so many was decided by a lead.
TASKS_A_DECISION = 250
_FLAGS = ("unsafe", "untrue", "off-topic")
#: A response's, as many as `WORDS` words have.
_TOKENS = [7919 * number % 50_000 for number in range(80)]


@dataclass(frozen=True)
class Past:
    """How much was labeled before: the last half of it in the round that is open now."""

    responses: int = 0
    comparisons: int = 0


@dataclass(frozen=True)
class World:
    """A workspace, and the people who will label in it."""

    folder: Path
    store: Store
    people: tuple[Labeler, ...]


def make(folder: Path, people: int, questions: int, wanted: int = 1,
         past: Past | None = None) -> World:
    """A new workspace with people, a past, and questions in a round that is open."""
    make_workspace(folder, Plan(starter_prompts=False))
    store = Store.of_workspace(folder)
    workers = tuple(store.people.add(f"Labeler {number}") for number in range(1, people + 1))
    reference = store.versions.add_policy(name="reference", base="none", method="sft")
    policy = store.versions.add_policy(name="ppo-1", base="none", method="ppo",
                                       parent_id=reference.id)
    for _ in range(CLOSED_ROUNDS if past else 0):
        store.rounds.open(policy.id, reference.id)
    turn = store.rounds.open(policy.id, reference.id)
    store.rounds.set_stage(turn.id, "labeling")
    if past:
        _write_past(store, past, workers)
    ask(store, questions, wanted)
    return World(folder, store, workers)


def ask(store: Store, questions: int, wanted: int = 1) -> None:
    """Put new pairs of two `WORDS`-word responses into the open round."""
    turn = store.rounds.current()
    assert turn is not None
    rng = random.Random(f"questions/{store.prompts.count()}")
    with store.database.write():
        for number in range(questions):
            prompt_id, _ = store.prompts.add(_messages(rng, f"{turn.id}/{number}"), "benchmark")
            ids = store.responses.add([
                NewResponse(prompt_id, text(rng), version, turn.id, token_ids=_TOKENS)
                for version in (turn.policy_version_id, turn.reference_id)])
            store.tasks.add(prompt_id, ids, round_id=turn.id, wanted=wanted)


@cache
def _vocabulary() -> list[str]:
    """Every word of the starter prompts, as often as they use it."""
    lines = (files("data") / "starter_prompts.jsonl").read_text("utf-8")
    return re.findall(r"[a-z]+", lines.lower())


def text(rng: random.Random, words: int = WORDS) -> str:
    """Words in sentences and paragraphs."""
    found = rng.choices(_vocabulary(), k=words)
    for start in range(0, words, 12):
        found[start] = found[start].capitalize()
        end = min(start + 11, words - 1)
        found[end] += ".\n\n" if start == 24 else "."
    return " ".join(found)


def _write_past(store: Store, past: Past, workers: Sequence[Labeler]) -> None:
    """Old answers in every round, by the workers and by people before them."""
    tasks = past.responses // 2
    if past.comparisons != tasks * ANSWERS_EACH:
        raise ValueError(f"{past}: each two responses have {ANSWERS_EACH} answers here")
    say(f"writing {past.responses:,} responses and {past.comparisons:,} comparisons ...")
    before = [store.people.add(f"Earlier {number}")
              for number in range(1, max(PEOPLE_BEFORE - len(workers), 0) + 1)]
    *closed, current = store.rounds.all()
    rounds = [closed[number * len(closed) // (tasks // 2)].id for number in range(tasks // 2)]
    rounds += [current.id] * (tasks - len(rounds))
    history = _History(store.database, random.Random(0),
                       [person.id for person in (*workers, *before)],
                       (current.policy_version_id, current.reference_id))
    with store.database.write():
        history.write(rounds)
        _decide(store)
        _teach(store, current.policy_version_id)
    store.database.value("PRAGMA wal_checkpoint(TRUNCATE)")


def _decide(store: Store) -> None:
    """A lead had the last word on some of the tasks."""
    lead = store.people.add("Earlier lead", role="lead")
    tasks = [row[0] for row in store.database.rows(
        "SELECT id FROM tasks WHERE id % ? = 1", [TASKS_A_DECISION])]
    for task_id in tasks:
        first, second = store.tasks.get(task_id).response_ids
        store.decisions.decide(lead.id, task_id, Answer(((second,), (first,))), f"old d{task_id}")


def _teach(store: Store, policy_version_id: int) -> None:
    """A reward model learned from every answer of the rounds that are closed, and a policy from
    it."""
    learned = {row[0]: "train" for row in store.database.rows(
        "SELECT c.id FROM comparisons c JOIN tasks t ON t.id = c.task_id "
        "JOIN rounds r ON r.id = t.round_id WHERE r.closed_at IS NOT NULL")}
    model = store.versions.add_reward_model(name="reward-1", base="none", path="none",
                                            comparisons=learned)
    with store.database.write() as db:
        db.conn.execute("UPDATE policy_versions SET reward_model_id = ? WHERE id = ?",
                        [model.id, policy_version_id])


@dataclass(frozen=True)
class _History:
    database: Database
    rng: random.Random
    people: Sequence[int]
    versions: tuple[int, int]

    def write(self, rounds: Sequence[int]) -> None:
        """One answered task for each round named."""
        first = {table: int(self.database.value(f"SELECT coalesce(max(id), 0) FROM {table}")) + 1
                 for table in ("prompts", "responses", "tasks", "comparisons")}
        for table, columns, rows in (
                ("prompts", "id, messages, fingerprint, source, split, created_at",
                 self._prompts(first, len(rounds))),
                ("responses", "id, prompt_id, policy_version_id, round_id, text, token_ids, "
                 "finish_reason, source, created_at", self._responses(first, rounds)),
                ("tasks", "id, round_id, prompt_id, purpose, wanted, labels, created_at",
                 self._tasks(first, rounds)),
                ("task_responses", "task_id, position, response_id",
                 self._members(first, len(rounds))),
                ("assignments", "task_id, labeler_id, shown, leased_at",
                 self._assignments(first, len(rounds))),
                ("comparisons", "id, task_id, labeler_id, revision, verdict, ranking, strength, "
                 "flags, rationale, seconds, shown, submission_key, created_at",
                 self._comparisons(first, len(rounds))),
                ("preferences", "comparison_id, task_id, prompt_id, labeler_id, chosen_id, "
                 "rejected_id, strength", self._preferences(first, len(rounds))),
                ("demonstrations", "comparison_id, prompt_id, response_id, labeler_id, text, "
                 "created_at", self._demonstrations(first, len(rounds)))):
            marks = ", ".join("?" * (columns.count(",") + 1))
            with self.database.write() as db:
                db.conn.executemany(
                    f"INSERT INTO {table} ({columns}) VALUES ({marks})", rows)

    def _prompts(self, first: dict[str, int], count: int) -> Iterator[tuple[Any, ...]]:
        for number in range(count):
            messages = _messages(self.rng, f"old {number}")
            yield (first["prompts"] + number, json.dumps(messages), fingerprint(messages),
                   "benchmark", split_of(messages), _when(number, count))

    def _responses(self, first: dict[str, int],
                   rounds: Sequence[int]) -> Iterator[tuple[Any, ...]]:
        tokens = json.dumps(_TOKENS)
        for number, round_id in enumerate(rounds):
            for side, version in enumerate(self.versions):
                yield (first["responses"] + 2 * number + side, first["prompts"] + number, version,
                       round_id, text(self.rng), tokens, "eos", "sample",
                       _when(number, len(rounds)))

    def _tasks(self, first: dict[str, int], rounds: Sequence[int]) -> Iterator[tuple[Any, ...]]:
        for number, round_id in enumerate(rounds):
            yield (first["tasks"] + number, round_id, first["prompts"] + number,
                   "evaluate" if number % 5 == 0 else "train", ANSWERS_EACH, ANSWERS_EACH,
                   _when(number, len(rounds)))

    def _members(self, first: dict[str, int], count: int) -> Iterator[tuple[int, int, int]]:
        for number in range(count):
            for side in range(2):
                yield first["tasks"] + number, side, first["responses"] + 2 * number + side

    def _answers(self, first: dict[str, int],
                 count: int) -> Iterator[tuple[int, int, int, tuple[int, int], int]]:
        """(number of the task, labeler, number of the answer, (chosen, rejected), strength)."""
        for number in range(count):
            better = first["responses"] + 2 * number
            for each in range(ANSWERS_EACH):
                index = ANSWERS_EACH * number + each
                # One in five says otherwise, and one in ten has no opinion.
                pair = (better, better + 1) if index % 5 else (better + 1, better)
                yield (number, self.people[index % len(self.people)], index, pair,
                       index % 10 and 1 + index % 4)

    def _assignments(self, first: dict[str, int], count: int) -> Iterator[tuple[Any, ...]]:
        for number, labeler, index, pair, _ in self._answers(first, count):
            yield (first["tasks"] + number, labeler, _shown(pair, index), _when(number, count))

    def _comparisons(self, first: dict[str, int], count: int) -> Iterator[tuple[Any, ...]]:
        for number, labeler, index, pair, strength in self._answers(first, count):
            chosen, rejected = pair
            ranking = [[chosen], [rejected]] if strength else [[chosen, rejected]]
            flags = {str(rejected): [_FLAGS[index % 3]]} if index % 11 == 0 else {}
            yield (first["comparisons"] + index, first["tasks"] + number, labeler, 1, "ranked",
                   json.dumps(ranking), strength, json.dumps(flags),
                   text(self.rng, 12) if index % 7 == 0 else "", 5 + index % 60,
                   _shown(pair, index), f"old {index}", _when(number, count))

    def _preferences(self, first: dict[str, int], count: int) -> Iterator[tuple[int, ...]]:
        for number, labeler, index, pair, strength in self._answers(first, count):
            yield (first["comparisons"] + index, first["tasks"] + number,
                   first["prompts"] + number, labeler, *pair, strength)

    def _demonstrations(self, first: dict[str, int], count: int) -> Iterator[tuple[Any, ...]]:
        """One answer in twenty came with a rewrite of what it chose."""
        for number, labeler, index, pair, _ in self._answers(first, count):
            if index % 20 == 0:
                yield (first["comparisons"] + index, first["prompts"] + number, pair[0], labeler,
                       text(self.rng), _when(number, count))


def _messages(rng: random.Random, mark: str) -> list[Message]:
    return [Message(role="user", content=f"{text(rng, 24)} ({mark})")]


def _shown(pair: tuple[int, int], index: int) -> str:
    return str(list(pair if index % 2 else pair[::-1]))


def _when(number: int, count: int) -> str:
    """Spread over the last thirty days, in order."""
    return now(-timedelta(days=30 * (1 - number / count)))
