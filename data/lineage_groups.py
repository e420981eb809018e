"""The groups of links that a card of `data.lineage` is made of.

Most take a query of ids that may name `:id`, and the thing that `:id` stands for. Whoever may still
be asked about a response is not told who wrote it (`data.blindness`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from sqlite3 import Row

from data.blindness import hidden_from
from data.plain_json import to_json
from data.store import Store

#: So many links of a group are given; `total` says how many there are.
MOST_LINKS = 12
#: Of so many responses, the newest, it is asked whether they are hidden.
_LOOKED_AT = 20 * MOST_LINKS
_SHORT = 80
#: Of a labeler, who may have been set aside since a model learned from them.
_NAME = "l.name || iif(l.set_aside_at IS NULL, '', ', set aside')"


@dataclass(frozen=True)
class Link:
    """One thing to go to: its kind (one of `data.lineage.KINDS`), its id, and what to call it."""

    kind: str
    id: int
    label: str


@dataclass(frozen=True)
class Group:
    """Things of one sort; `total` counts those beyond `links` too."""

    title: str
    links: tuple[Link, ...]
    total: int


class Groups:
    """The queries behind groups, for one viewer (a labeler's id)."""

    def __init__(self, store: Store, viewer: int) -> None:
        self._store = store
        self._viewer = viewer

    def labelers(self, ids: str, thing: int) -> Group:
        """Who answers."""
        return _group("Labelers", "labeler", self._rows(
            f"SELECT l.id, {_NAME} AS label FROM labelers l WHERE l.id IN ({ids}) ORDER BY l.id",
            thing))

    def labelers_counted(self, comparisons: str, thing: int) -> Group:
        """Whose comparisons those are, and how many of each, most first."""
        return _group("Labelers (comparisons)", "labeler", self._rows(f"""
            SELECT l.id, {_NAME} || ' (' || count(*) || ')' AS label FROM comparisons c
            JOIN labelers l ON l.id = c.labeler_id WHERE c.id IN ({comparisons})
            GROUP BY l.id ORDER BY count(*) DESC""", thing))

    def prompts(self, ids: str, thing: int) -> Group:
        """Conversations, by their last message."""
        return self._many("Prompt", "prompt", "prompts", ids, thing, """
            SELECT id, json_extract(messages, '$[#-1].content') AS label FROM prompts""")

    def tasks(self, ids: str, thing: int, title: str = "Tasks") -> Group:
        """Questions, by number and purpose."""
        return self._many(title, "task", "tasks", ids, thing, """
            SELECT id, 'Task ' || id || ' (' || purpose || ')' AS label FROM tasks""")

    def rounds(self, ids: str, thing: int, title: str = "Round") -> Group:
        """Turns of the loop."""
        return self._many(title, "round", "rounds", ids, thing,
                          "SELECT id, 'Round ' || number AS label FROM rounds")

    def policies(self, ids: str, thing: int, title: str = "Policy versions") -> Group:
        """Policy versions by name."""
        return self._many(title, "policy", "policy_versions", ids, thing,
                          "SELECT id, name AS label FROM policy_versions")

    def rewards(self, ids: str, thing: int, title: str = "Reward models") -> Group:
        """Reward model versions by name."""
        return self._many(title, "reward_model", "reward_models", ids, thing,
                          "SELECT id, name AS label FROM reward_models")

    def answers(self, ids: str, thing: int, title: str = "Answers") -> Group:
        """Comparisons, by labeler and number; decisions are called so."""
        return self._many(title, "answer", "comparisons", ids, thing, """
            SELECT id, (SELECT name FROM labelers l WHERE l.id = labeler_id)
            || CASE WHEN EXISTS (SELECT 1 FROM decisions d WHERE d.comparison_id = comparisons.id)
            THEN ', decision ' ELSE ', answer ' END || id AS label FROM comparisons""")

    def responses(self, ids: str, thing: int, leave_out_hidden: bool = False) -> Group:
        """Responses; those hidden from the viewer by their text alone, in no telling order."""
        rows = self._rows(f"SELECT id, substr(text, 1, {_SHORT + 1}) AS label FROM responses "
                          f"WHERE id IN ({ids}) ORDER BY id DESC LIMIT {_LOOKED_AT}", thing)
        total = len(rows) if len(rows) < _LOOKED_AT else int(self._rows(
            f"SELECT count(*) FROM responses WHERE id IN ({ids})", thing)[0][0])
        hidden = hidden_from(self._store, self._viewer, [row["id"] for row in rows])
        if leave_out_hidden:
            rows = [row for row in rows if row["id"] not in hidden]
            total -= len(hidden)
        if hidden:
            rows.sort(key=lambda row: str(row["label"]))
        return _group("Responses", "response", rows[:MOST_LINKS], total)

    def writers(self, responses: Group) -> list[Group]:
        """Who wrote them, and the reward models those learned against; nothing if hidden."""
        ids = [link.id for link in responses.links]
        if hidden_from(self._store, self._viewer, ids):
            return []
        wrote = ("SELECT policy_version_id FROM responses WHERE id IN "
                 f"(SELECT value FROM json_each('{to_json(ids)}'))")
        taught = f"SELECT reward_model_id FROM policy_versions WHERE id IN ({wrote})"
        return [self.policies(wrote, 0, "Written by"), self.rewards(taught, 0)]

    def taught(self, condition: str, thing: int) -> Group:
        """The rounds whose answers some reward models learned from."""
        return self.rounds("SELECT t.round_id FROM reward_model_comparisons rc "
                           "JOIN comparisons c ON c.id = rc.comparison_id "
                           "JOIN tasks t ON t.id = c.task_id "
                           f"WHERE rc.split = 'train' AND rc.{condition}", thing,
                           "Rounds that taught it")

    def learned(self, condition: str, thing: int) -> list[Group]:
        """The reward models that learned from some comparisons, what those taught, and the reward
        models that were only measured on them."""
        models = ("SELECT DISTINCT rc.reward_model_id FROM reward_model_comparisons rc "
                  "JOIN comparisons c ON c.id = rc.comparison_id "
                  f"WHERE {condition} AND rc.split = ")
        learned, measured = f"{models}'train'", f"{models}'held_out'"
        taught = f"SELECT id FROM policy_versions WHERE reward_model_id IN ({learned})"
        return [self.rewards(learned, thing, "Reward models that learned from it"),
                self.policies(taught, thing, "Policy versions that they taught"),
                self.rewards(measured, thing, "Reward models that were measured on it")]

    def labelers_behind(self, thing: int) -> Group:
        """The labelers of every comparison that a policy version goes back to."""
        behind = self._store.versions.labelers_behind(thing)
        people = {name: self._store.people.named(name) for name in behind}
        links = tuple(Link("labeler", people[name].id, name + (
            "" if people[name].set_aside_at is None else ", set aside") + f" ({n:,})")
            for name, n in behind.items())
        return Group("Labelers behind it (comparisons)", links[:MOST_LINKS], len(links))

    def _rows(self, sql: str, thing: int) -> list[Row]:
        return self._store.database.rows(sql, {"id": thing})

    def _many(self, title: str, kind: str, table: str, ids: str, thing: int,
              select: str) -> Group:
        rows = self._rows(f"{select} WHERE id IN ({ids}) ORDER BY id DESC LIMIT {MOST_LINKS}",
                          thing)
        total = len(rows) if len(rows) < MOST_LINKS else int(self._rows(
            f"SELECT count(*) FROM {table} WHERE id IN ({ids})", thing)[0][0])
        return _group(title, kind, rows, total)


def _group(title: str, kind: str, rows: Sequence[Row], total: int | None = None) -> Group:
    links = tuple(Link(kind, row["id"], _short(row["label"] or "")) for row in rows)
    return Group(title, links, len(links) if total is None else total)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHORT else line[:_SHORT - 1] + "…"
