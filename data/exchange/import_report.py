"""What an import did, for the command line and for JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from data.visible import reveal_line

#: Fields not read that the line for the terminal names; JSON names all.
_MOST_NAMES = 30


@dataclass(frozen=True)
class ImportReport:
    """What an import did: how many of `what` came in, and what did not and why."""

    what: str
    added: int
    duplicates: int
    """Already in the workspace."""
    skipped: dict[str, int] = field(default_factory=dict)
    labelers: int = 0
    """How many annotators the comparisons are of; of preferences, those whom the file names."""
    repeats: int = 0
    """Standing earlier in the same file."""
    contradictions: int = 0
    """Preferences whose opposite stands earlier in the same file. They are stored all the same:
    people differ."""
    decisions: int = 0
    """How many of those added are leads' decisions, which stand for their tasks."""
    ranked_by: str = ""
    """The field by which responses with a grade each were ranked."""
    unread: tuple[str, ...] = ()
    """Fields that say something in some row, and that nothing was taken from."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"what": self.what, "added": self.added, "duplicates": self.duplicates,
                "repeats": self.repeats, "skipped": dict(self.skipped),
                **({"labelers": self.labelers, "decisions": self.decisions}
                   if self.what == "comparisons" else {}),
                **({"labelers": self.labelers}
                   if self.what == "preferences" and self.labelers else {}),
                **({"contradictions": self.contradictions} if self.what == "preferences" else {}),
                **({"ranked_by": self.ranked_by} if self.ranked_by else {}),
                **({"unread": list(self.unread)} if self.unread else {})}

    def __str__(self) -> str:
        people = f" of {self.labelers:,} annotators" if self.labelers else ""
        parts = [f"{self.added:,} {self.what}{people} added"]
        if self.decisions:
            parts.append(f"{self.decisions:,} of them leads' decisions")
        if self.duplicates:
            parts.append(f"{self.duplicates:,} there already")
        if self.repeats:
            parts.append(f"{self.repeats:,} in the file more than once")
        if self.contradictions:
            parts.append(f"{self.contradictions:,} in the file the other way round as well "
                         "(both count)")
        parts += [f"{count:,} left out: {reason}" for reason, count in self.skipped.items()]
        if self.ranked_by:
            parts.append(f"ranked by {self.ranked_by}")
        if self.unread:
            names, more = self.unread[:_MOST_NAMES], len(self.unread) - _MOST_NAMES
            parts.append("fields not read: " + ", ".join(map(reveal_line, names))
                         + (f" and {more:,} more" if more > 0 else ""))
        return "; ".join(parts)
