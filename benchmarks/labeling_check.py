"""Whether the database holds what the server had acknowledged: each answer once, as given."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from benchmarks.labeling_world import MARK
from data.store import Store

#: Which side an answer prefers: 0 is what is shown first, None is a tie.
Side = int | None


@dataclass
class Ledger:
    """What the page has called saved, kept by those who labeled."""

    entries: dict[tuple[int, str], Side] = field(default_factory=dict)
    """By person and question: the side."""
    lost: int = 0
    """Answers that were acknowledged and are not there, or not as they were given."""
    doubled: int = 0
    """Answers that are there once more than they were given."""
    unacknowledged: int = 0
    """Answers that are there although their labeler never heard of it: allowed, after a kill."""

    def acknowledge(self, person: int, mark: str, side: Side) -> None:
        """The page has called an answer saved; a second time for the same question changes none."""
        self.entries.setdefault((person, mark), side)

    def check(self, store: Store) -> None:
        """Count against the database, which must be sound.

        Raises:
            RuntimeError: the file or the links in it are damaged.
        """
        _sound(store)
        stored: dict[tuple[int, str], list[Side]] = {}
        for row in store.database.rows(
                "SELECT c.labeler_id, c.ranking, c.strength, c.shown, p.messages "
                "FROM comparisons c JOIN tasks t ON t.id = c.task_id "
                "JOIN prompts p ON p.id = t.prompt_id "
                "WHERE c.submission_key NOT LIKE 'old %' ORDER BY c.id"):
            mark = MARK.search(row["messages"])
            assert mark is not None  # every prompt here ends with one
            best = json.loads(row["ranking"])[0][0]
            side = json.loads(row["shown"]).index(best) if row["strength"] else None
            stored.setdefault((row["labeler_id"], mark[1]), []).append(side)
        self.lost = sum(side not in stored.get(entry, []) for entry, side in self.entries.items())
        self.doubled = sum(len(sides) - 1 for sides in stored.values())
        self.unacknowledged = len(stored.keys() - self.entries.keys())


def _sound(store: Store) -> None:
    """The file, its links, and every count that is kept beside what it counts."""
    for what, sql in (
            ("integrity", "SELECT * FROM pragma_integrity_check WHERE integrity_check <> 'ok'"),
            ("foreign keys", "SELECT * FROM pragma_foreign_key_check"),
            ("labels of a task", "SELECT id FROM tasks WHERE labels <> (SELECT count(*) "
             "FROM placed_comparisons c WHERE c.task_id = tasks.id)"),
            ("preferences", "SELECT id FROM comparisons c WHERE c.verdict <> 'withdrawn' "
             "AND NOT EXISTS (SELECT 1 FROM preferences f WHERE f.comparison_id = c.id)"),
            ("progress of a round", "SELECT * FROM round_progress r WHERE (given, wanted) <> "
             "(SELECT sum(min(labels, t.wanted)), sum(t.wanted) FROM tasks t WHERE "
             "t.round_id = r.round_id AND t.purpose IN ('train', 'evaluate'))")):
        found = store.database.rows(sql)
        if found:
            raise RuntimeError(f"{what}: {[tuple(row) for row in found[:3]]}")
