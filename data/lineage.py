"""Where anything came from and what came of it: one card a thing, with links both ways.

From an answer to its task, the responses, the policy versions that wrote them, the reward models
those learned against, the comparisons and labelers behind these; and from a labeler or an answer
down to every reward model and policy version that learned from it. Whoever may still be asked
about a response is not told who wrote it (`data.blindness`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from sqlite3 import Row

from data.blindness import hidden_from
from data.database import Database
from data.errors import BadInput
from data.plain_json import to_json
from data.store import Store

#: So many links of a group are given; `total` says how many there are.
MOST_LINKS = 12
SHORT = 80


@dataclass(frozen=True)
class Link:
    """One thing to go to: its kind (one of `KINDS`), its id, and what to call it."""

    kind: str
    id: int
    label: str


@dataclass(frozen=True)
class Group:
    """Things of one sort; `total` counts those beyond `links` too."""

    title: str
    links: tuple[Link, ...]
    total: int


@dataclass(frozen=True)
class Card:
    """One thing: facts about it, what it came from, what came of it. Empty groups are left out."""

    kind: str
    id: int
    title: str
    facts: tuple[tuple[str, str], ...]
    came_from: tuple[Group, ...]
    led_to: tuple[Group, ...]


def card(store: Store, kind: str, thing: int, viewer: int) -> Card:
    """The card of one thing, for a viewer (a labeler's id) who may still be asked about it.

    Raises:
        BadInput: an unknown kind.
        NotFound: there is no such thing.
    """
    if kind not in _CARDS:
        raise BadInput(f"kind: {kind!r} is none of {', '.join(KINDS)}")
    title, facts, came_from, led_to = _CARDS[kind](_Walk(store, viewer), thing)
    return Card(kind, thing, title, tuple(facts), tuple(g for g in came_from if g.links),
                tuple(g for g in led_to if g.links))


_OF_TASK = ("SELECT t.{} FROM comparisons c JOIN tasks t ON t.id = c.task_id WHERE c.id = :id")
_Parts = tuple[str, Sequence[tuple[str, str]], Sequence[Group], Sequence[Group]]


class _Walk:
    """The queries of one card."""

    def __init__(self, store: Store, viewer: int) -> None:
        self._store = store
        self._database: Database = store.database
        self._viewer = viewer

    def answer(self, thing: int) -> _Parts:
        """A comparison, current or not."""
        comparison = self._store.comparisons.get(thing)
        responses = self._responses("SELECT response_id FROM task_responses WHERE task_id = :id",
                                    comparison.task_id)
        revisions = self._store.comparisons.history(comparison.task_id, comparison.labeler_id)
        decision = self._store.decisions.of_task(comparison.task_id)
        came = [self._labelers("SELECT labeler_id FROM comparisons WHERE id = :id", thing),
                self._tasks("SELECT task_id FROM comparisons WHERE id = :id", thing),
                self._prompts(_OF_TASK.format("prompt_id"), thing),
                responses, *self._writers(responses),
                self._rounds(_OF_TASK.format("round_id"), thing)]
        others = Group("Other revisions", tuple(
            Link("answer", c.id, f"Revision {c.revision}") for c in revisions if c.id != thing),
            len(revisions) - 1)
        led = [others, self._answers("SELECT value FROM decisions, json_each(overrides) "
                                     "WHERE comparison_id = :id", thing, "Answers it overrides")]
        if decision is not None and thing in decision.overrides:
            led.append(Group("Overridden by", (
                Link("answer", decision.comparison_id, "A lead's decision"),), 1))
        return (f"Answer {thing}", [("Revision", f"{comparison.revision} of {len(revisions)}")],
                came, [*led, *self._learned("comparison_id = :id", thing)])

    def task(self, thing: int) -> _Parts:
        """A question, with everybody's answers."""
        task = self._store.tasks.get(thing)
        responses = self._responses("SELECT response_id FROM task_responses WHERE task_id = :id",
                                    thing)
        known = self._store.known.get(thing)
        facts = [("Purpose", task.purpose), ("Labels", str(self._database.value(
            "SELECT labels || ' of ' || wanted FROM tasks WHERE id = ?", [thing])))]
        if known is not None:
            facts.append(("Known answer", "practice" if known.practice else "hidden gold"))
        came = [self._prompts("SELECT prompt_id FROM tasks WHERE id = :id", thing), responses,
                *self._writers(responses),
                self._rounds("SELECT round_id FROM tasks WHERE id = :id", thing),
                self._tasks("SELECT repeat_of FROM tasks WHERE id = :id", thing, "Repeat of")]
        led = [self._answers("SELECT id FROM current_comparisons WHERE task_id = :id", thing),
               self._labelers("SELECT DISTINCT labeler_id FROM current_comparisons "
                              "WHERE task_id = :id", thing),
               self._tasks("SELECT id FROM tasks WHERE repeat_of = :id", thing, "Repeats"),
               *self._learned("c.task_id = :id", thing)]
        return f"Task {thing}", facts, came, led

    def prompt(self, thing: int) -> _Parts:
        """A conversation so far."""
        prompt = self._store.prompts.get(thing)
        facts = [("Source", prompt.source), ("Split", prompt.split.replace("_", "-")),
                 ("Tags", ", ".join(prompt.tags) or "none")]
        led = [self._responses("SELECT id FROM responses WHERE prompt_id = :id", thing),
               self._tasks("SELECT id FROM tasks WHERE prompt_id = :id", thing),
               self._answers("SELECT c.id FROM current_comparisons c JOIN tasks t "
                             "ON t.id = c.task_id WHERE t.prompt_id = :id", thing)]
        return f"Prompt {thing}", facts, [], led

    def response(self, thing: int) -> _Parts:
        """What a model wrote (or a file held)."""
        response = self._store.responses.get([thing])[0]
        mine = self._responses("SELECT id FROM responses WHERE id = :id", thing)
        tasks = "SELECT task_id FROM task_responses WHERE response_id = :id"
        facts = [("Source", response.source), ("Ended by", response.finish_reason)]
        came = [self._prompts("SELECT prompt_id FROM responses WHERE id = :id", thing),
                *self._writers(mine),
                self._rounds("SELECT round_id FROM responses WHERE id = :id", thing)]
        answers = f"SELECT id FROM current_comparisons WHERE task_id IN ({tasks})"
        led = [self._tasks(tasks, thing), self._answers(answers, thing),
               self._labelers("SELECT DISTINCT labeler_id FROM current_comparisons "
                              f"WHERE task_id IN ({tasks})", thing),
               *self._learned(f"c.task_id IN ({tasks})", thing)]
        hidden = thing in hidden_from(self._store, self._viewer, [thing])
        return "Response" if hidden else f"Response {thing}", facts, came, led

    def policy(self, thing: int) -> _Parts:
        """A policy version: what made it, what it wrote."""
        policy = self._store.versions.policy(thing)
        came = [self._policies("SELECT parent_id FROM policy_versions WHERE id = :id", thing,
                               "Parent version"),
                self._rewards("SELECT reward_model_id FROM policy_versions WHERE id = :id", thing),
                self._rounds("SELECT round_id FROM policy_versions WHERE id = :id", thing),
                self._labelers_behind(thing)]
        led = [self._policies("SELECT id FROM policy_versions WHERE parent_id = :id", thing,
                              "Versions made from it"),
               self._rounds("SELECT id FROM rounds WHERE policy_version_id = :id", thing,
                            "Rounds that sampled it"),
               self._responses("SELECT id FROM responses WHERE policy_version_id = :id", thing,
                               leave_out_hidden=True)]
        return (f"Policy version {policy.name}",
                [("Method", policy.method), ("Base", policy.base)], came, led)

    def reward_model(self, thing: int) -> _Parts:
        """A reward model version: whose comparisons it learned from, what it taught."""
        model = self._store.versions.reward_model(thing)
        learned = ("SELECT comparison_id FROM reward_model_comparisons "
                   "WHERE reward_model_id = :id")
        by_labeler = self._rows("""
            SELECT l.id, l.name || ' (' || count(*) || ')' AS label FROM comparisons c
            JOIN reward_model_comparisons rc ON rc.comparison_id = c.id
            JOIN labelers l ON l.id = c.labeler_id WHERE rc.reward_model_id = :id
            GROUP BY l.id ORDER BY count(*) DESC""", thing)
        came = [_group("Labelers (comparisons)", "labeler", by_labeler),
                self._answers(learned, thing, "Comparisons it learned from"),
                self._rounds("SELECT round_id FROM reward_models WHERE id = :id", thing)]
        led = [self._policies("SELECT id FROM policy_versions WHERE reward_model_id = :id", thing)]
        return f"Reward model {model.name}", [("Base", model.base)], came, led

    def labeler(self, thing: int) -> _Parts:
        """Somebody who answers."""
        person = self._store.people.get(thing)
        facts = [("Kind", person.kind), ("Role", person.role),
                 ("State", "disabled" if person.disabled else "active")]
        led = [self._answers("SELECT id FROM current_comparisons WHERE labeler_id = :id", thing),
               *self._learned("c.labeler_id = :id", thing)]
        return person.name, facts, [], led

    def round(self, thing: int) -> _Parts:
        """One turn of the loop."""
        turn = self._store.rounds.get(thing)
        came = [self._policies("SELECT policy_version_id FROM rounds WHERE id = :id", thing,
                               "Policy version sampled"),
                self._policies("SELECT reference_id FROM rounds WHERE id = :id", thing,
                               "Reference")]
        led = [self._tasks("SELECT id FROM tasks WHERE round_id = :id", thing),
               self._rewards("SELECT id FROM reward_models WHERE round_id = :id", thing),
               self._policies("SELECT id FROM policy_versions WHERE round_id = :id", thing)]
        return f"Round {turn.number}", [("Stage", turn.stage)], came, led

    # What the cards are made of: each takes a query of ids that may name :id -----------------

    def _rows(self, sql: str, thing: int) -> list[Row]:
        return self._database.rows(sql, {"id": thing})

    def _labelers(self, ids: str, thing: int) -> Group:
        return _group("Labelers", "labeler", self._rows(
            f"SELECT id, name AS label FROM labelers WHERE id IN ({ids}) ORDER BY id", thing))

    def _prompts(self, ids: str, thing: int) -> Group:
        return self._many("Prompt", "prompt", "prompts", ids, thing, """
            SELECT id, json_extract(messages, '$[#-1].content') AS label FROM prompts""")

    def _tasks(self, ids: str, thing: int, title: str = "Tasks") -> Group:
        return self._many(title, "task", "tasks", ids, thing, """
            SELECT id, 'Task ' || id || ' (' || purpose || ')' AS label FROM tasks""")

    def _rounds(self, ids: str, thing: int, title: str = "Round") -> Group:
        return self._many(title, "round", "rounds", ids, thing,
                          "SELECT id, 'Round ' || number AS label FROM rounds")

    def _policies(self, ids: str, thing: int, title: str = "Policy versions") -> Group:
        return self._many(title, "policy", "policy_versions", ids, thing,
                          "SELECT id, name AS label FROM policy_versions")

    def _rewards(self, ids: str, thing: int, title: str = "Reward models") -> Group:
        return self._many(title, "reward_model", "reward_models", ids, thing,
                          "SELECT id, name AS label FROM reward_models")

    def _answers(self, ids: str, thing: int, title: str = "Answers") -> Group:
        return self._many(title, "answer", "comparisons", ids, thing, """
            SELECT id, (SELECT name FROM labelers l WHERE l.id = labeler_id) || ', answer ' || id
            || CASE WHEN EXISTS (SELECT 1 FROM decisions d WHERE d.comparison_id = comparisons.id)
            THEN ' (decision)' ELSE '' END AS label FROM comparisons""")

    def _many(self, title: str, kind: str, table: str, ids: str, thing: int,
              select: str) -> Group:
        rows = self._rows(f"{select} WHERE id IN ({ids}) ORDER BY id DESC LIMIT {MOST_LINKS}",
                          thing)
        total = len(rows) if len(rows) < MOST_LINKS else int(self._rows(
            f"SELECT count(*) FROM {table} WHERE id IN ({ids})", thing)[0][0])
        return _group(title, kind, rows, total)

    def _responses(self, ids: str, thing: int, leave_out_hidden: bool = False) -> Group:
        """Responses; those hidden from the viewer by their text alone, in no telling order."""
        rows = self._rows(f"SELECT id, substr(text, 1, {SHORT + 1}) AS label FROM responses "
                          f"WHERE id IN ({ids}) ORDER BY id DESC LIMIT {20 * MOST_LINKS}", thing)
        hidden = hidden_from(self._store, self._viewer, [row["id"] for row in rows])
        if leave_out_hidden:
            rows = [row for row in rows if row["id"] not in hidden]
        if hidden:
            rows.sort(key=lambda row: str(row["label"]))
        total = len(rows) if len(rows) < 20 * MOST_LINKS else int(self._rows(
            f"SELECT count(*) FROM responses WHERE id IN ({ids})", thing)[0][0])
        return _group("Responses", "response", rows[:MOST_LINKS], total)

    def _writers(self, responses: Group) -> list[Group]:
        """Who wrote them, and the reward models those learned against; nothing if hidden."""
        ids = [link.id for link in responses.links]
        if hidden_from(self._store, self._viewer, ids):
            return []
        wrote = ("SELECT policy_version_id FROM responses WHERE id IN "
                 f"(SELECT value FROM json_each('{to_json(ids)}'))")
        taught = f"SELECT reward_model_id FROM policy_versions WHERE id IN ({wrote})"
        return [self._policies(wrote, 0, "Written by"), self._rewards(taught, 0)]

    def _learned(self, condition: str, thing: int) -> list[Group]:
        """The reward models that learned from some comparisons, and what those taught."""
        learned = ("SELECT DISTINCT rc.reward_model_id FROM reward_model_comparisons rc "
                   f"JOIN comparisons c ON c.id = rc.comparison_id WHERE {condition}")
        taught = f"SELECT id FROM policy_versions WHERE reward_model_id IN ({learned})"
        return [self._rewards(learned, thing, "Reward models that learned from it"),
                self._policies(taught, thing, "Policy versions that they taught")]

    def _labelers_behind(self, thing: int) -> Group:
        behind = self._store.versions.labelers_behind(thing)
        links = tuple(Link("labeler", self._store.people.named(name).id, f"{name} ({n:,})")
                      for name, n in behind.items())
        return Group("Labelers behind it (comparisons)", links[:MOST_LINKS], len(links))


def _group(title: str, kind: str, rows: Sequence[Row], total: int | None = None) -> Group:
    links = tuple(Link(kind, row["id"], _short(row["label"] or "")) for row in rows)
    return Group(title, links, len(links) if total is None else total)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHORT else line[:SHORT - 1] + "…"


_CARDS: dict[str, Callable[[_Walk, int], _Parts]] = {
    "answer": _Walk.answer, "task": _Walk.task, "prompt": _Walk.prompt,
    "response": _Walk.response, "policy": _Walk.policy, "reward_model": _Walk.reward_model,
    "labeler": _Walk.labeler, "round": _Walk.round}
KINDS = tuple(_CARDS)
