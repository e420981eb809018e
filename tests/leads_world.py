"""A round that eight people have labeled, one of them carelessly: for tests of the leads' pages."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import pytest
from browser import add_task, open_round, press
from playwright.sync_api import Page

from data.assignments import AssignmentRules
from data.records import Answer, Labeler, Task
from data.store import Store

CREW = ("Ada Okafor", "Ben Sato", "Carla Nunes", "Dev Patel", "Elif Demir", "Finn Larsen",
        "Grace Hasty", "Hugo Weber")
CARELESS = "Grace Hasty"
TOPICS = ("rivers", "tax forms", "sourdough", "black holes", "grammar", "knots", "chess", "soil")
_CAREFUL_IS_RIGHT = 0.86


@dataclass
class LeadsWorld:
    """The people, and the tasks of the open round in the order in which they were asked."""

    store: Store
    people: dict[str, Labeler]
    tasks: list[int]

    @property
    def folder(self) -> Path:
        """The workspace."""
        return self.store.database.path.parent

    @classmethod
    def make(cls, store: Store, tasks: int = 90, wanted: int = 3, seed: int = 0) -> LeadsWorld:
        """Everybody answers about the same number of tasks; Grace takes the left one, at once."""
        rng = random.Random(seed)
        with store.database.write():
            turn = open_round(store)
            world = cls(store, {name: store.people.add(name) for name in CREW}, [])
            for number in range(tasks):
                topic = TOPICS[number % len(TOPICS)]
                world.tasks.append(add_task(
                    store, turn, f"Question {number}: what should I know about {topic}?",
                    [_text(rng, topic, better) for better in (True, False)],
                    purpose="evaluate" if number % 4 == 0 else "train", wanted=wanted))
            for number, task_id in enumerate(world.tasks):
                for place in range(wanted):
                    name = CREW[(number * wanted + place) % len(CREW)]
                    world.answer(name, task_id, rng)
        return world

    def answer(self, name: str, task_id: int, rng: random.Random) -> None:
        """One answer as its labeler gives it; the first response of a task is the better one."""
        who = self.people[name]
        given = self.store.assignments.assign(task_id, who.id)
        task: Task = given.task
        careless = name == CARELESS
        if careless:
            winner = given.shown[0] if rng.random() < 0.95 else given.shown[1]
        else:
            winner = task.response_ids[rng.random() > _CAREFUL_IS_RIGHT]
        loser = next(i for i in task.response_ids if i != winner)
        seconds = rng.uniform(0.8, 1.6) if careless else rng.lognormvariate(3.0, 0.3)
        tie = not careless and rng.random() < 0.06
        ranking = (task.response_ids,) if tie else ((winner,), (loser,))
        flags = {loser: ("untrue",)} if rng.random() < 0.05 and not careless else {}
        reason = rng.choice(("", "", "It answers what was asked.", "The other one wanders off."))
        self.store.comparisons.submit(who.id, task, Answer(
            ranking, 0 if tie else rng.randint(1, 4), flags=flags,
            rationale="" if careless else reason, seconds=seconds + 2, active_seconds=seconds),
            f"{task_id}/{who.id}")

    def hidden(self) -> None:
        """Known answers and repeats, which everybody has answered in their own way."""
        rng, store = random.Random(1), self.store
        with store.database.write():
            store.assignments.set_rules(AssignmentRules(gold_share=0.1, repeat_share=0.1))
            for task_id in self.tasks[:10]:
                task = store.tasks.get(task_id)
                gold = store.known.add(task.prompt_id, task.response_ids, Answer(
                    tuple((i,) for i in task.response_ids)), explanation="The first is sound.")
                for name in CREW:
                    self.answer(name, gold, rng)
            for name, who in self.people.items():
                for first in store.comparisons.current(labeler_id=who.id, purpose="train")[:8]:
                    task = store.tasks.get(first.task_id)
                    self.answer(name, store.tasks.add(
                        task.prompt_id, task.response_ids, round_id=task.round_id,
                        purpose="repeat", repeat_of=task.id, only_for=who.id), rng)


@pytest.fixture(scope="module")
def workspace(leads: LeadsWorld) -> Path:
    """What the server of a file serves, where its pages are the leads'."""
    return leads.folder


def _text(rng: random.Random, topic: str, better: bool) -> str:
    start = "Begin with" if better else "Perhaps look at"
    length = rng.randint(20, 60)
    words = ("the", topic, "and", "then", "what", "follows", "from", "it", "slowly", "with",
             "care", "for", "each", "part")
    return f"{start} **{topic}**. " + " ".join(rng.choices(words, k=length)) + "."


def section(page: Page, name: str) -> None:
    """Choose a section of the settings."""
    press(page, page.get_by_role("radio", name=name, exact=True))
