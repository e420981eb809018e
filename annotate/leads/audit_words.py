"""The details of an audit entry, as a lead would say them, and where its subject is to be seen."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from data.records import Labeler

_TASK, _JOB = re.compile(r"task (\d+)", re.ASCII), re.compile(r"job (\d+)", re.ASCII)


def address_of(subject: str, people: Iterable[Labeler]) -> str | None:
    """The page that shows what an entry is about: a person, a task, a job; None for the rest.

    A person comes first: names are unique, and somebody may be called `task 7`.
    """
    for person in people:
        if person.name == subject:
            return f"/browse?labeler={person.id}"
    if task := _TASK.fullmatch(subject):
        return f"/browse?task={task[1]}"
    job = _JOB.fullmatch(subject)
    return f"/jobs?job={job[1]}" if job else None


def in_words(details: Mapping[str, Any]) -> str:
    """`from labeler to engineer`; details that nobody has put into words stand by their name."""
    rest = dict(details)
    said = []
    if {"before", "after"} <= rest.keys():
        said.append(f"from {_plain(rest.pop('before'))} to {_plain(rest.pop('after'))}")
    said += [_WORDS[name](value) if name in _WORDS else f"{name.replace('_', ' ')} {_plain(value)}"
             for name, value in rest.items()]
    return ", ".join(said)


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " / ".join(map(_plain, value)) or "none"
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def _counted(one: str, many: str = "") -> Callable[[Any], str]:
    """`1 answer`, `1,250 answers`."""
    def say(count: Any) -> str:
        if not isinstance(count, int):
            return f"{_plain(count)} {many or one + 's'}"
        return f"{count:,} {one if count == 1 else many or one + 's'}"
    return say


def _either(yes: str, no: str) -> Callable[[Any], str]:
    return lambda value: yes if value else no


def _titled(title: str) -> Callable[[Any], str]:
    return lambda value: f"{title} {_plain(value)}"


def _overridden(answers: Any) -> str:
    """By the numbers that Browse has them under."""
    if not answers:
        return "overrides nobody"
    return f"overrides answer{'s' if len(answers) > 1 else ''} {' and '.join(map(str, answers))}"


def _practice(value: Any) -> str:
    """Of a known answer whether it is for practice, of the rules how many tasks come first."""
    if isinstance(value, bool):
        return "for practice" if value else "hidden"
    return f"{_counted('practice task')(value)} first"


def _share(title: str) -> Callable[[Any], str]:
    return lambda value: f"{100 * value:.0f} % {title}"


_WORDS: dict[str, Callable[[Any], str]] = {
    "way": _titled("by"), "role": _titled("as"),
    "email": lambda value: value or "no address any more",
    "sessions": _counted("browser"), "rows": _counted("row"), "kind": lambda value: str(value),
    "characters": _counted("character"), "failures": _counted("failed try", "failed tries"),
    "filtered_by": lambda value: " and ".join(
        f"{name.removesuffix('_id')} {_plain(wanted)}" for name, wanted in value.items()),
    "comparison": _titled("decision"), "overrides": _overridden,
    "from_task": _titled("copy of task"), "practice": _practice,
    "gold_share": _share("hidden known answers"), "repeat_share": _share("hidden repeats"),
    "lease_minutes": lambda value: f"an open task is taken for {_counted('minute')(value)}",
    "daily_goal": lambda value: f"daily goal {value:,}" if value else "no daily goal",
    "lifetime_days": lambda value: f"signed in for {_counted('day')(value)}",
    "idle_hours": lambda value: f"or {_counted('hour')(value)} without use",
    "domains": lambda value: (f"whoever has an address at {' or '.join(value)} may join" if value
                              else "nobody may join by themselves"),
    "scale": lambda value: "by how much better" if value == "strength" else "only which is better",
    "tie": _either("ties", "no ties"), "both_bad": _either("both bad", "no both bad"),
    "scores": _either("scores", "no scores"), "reason": _either("a reason", "no reason"),
    "rewrite": _either("a rewrite", "no rewrite"),
}
