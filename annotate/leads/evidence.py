"""What an answer tells of its labeler: how long it took, and how a hidden task turned out.

The words beside one answer; `data.measures` has the figures over many.
"""

from __future__ import annotations

from collections.abc import Iterable

from annotate.figures import duration
from annotate.session import store
from data.measures.quality import seconds_of
from data.measures.votes import Outcome, repeated, right
from data.records import Comparison, Task


def evidence_of(comparison: Comparison, task: Task) -> str:
    """`0.9 s · known answer: wrong`; empty where nothing is known."""
    seconds = seconds_of(comparison.answer)
    name, result = hidden_result(comparison, task) or ("", "")
    return " · ".join(([] if seconds is None else [duration(seconds)])
                      + ([f"{name.lower()}: {result}"] if name else []))


def hidden_result(comparison: Comparison, task: Task) -> tuple[str, str] | None:
    """What kind of hidden task it is, and how it was answered; None for an ordinary one."""
    if task.purpose == "gold":
        known = store().known.get(task.id)
        if known is None:
            return None
        name = "Practice" if known.practice else "Known answer"
        answer = store().known.measures().get(task.id, known.answer)
        return name, _in_words(right([(comparison, answer)]), "right", "wrong",
                               "half right (one of the two is a tie)") or "nothing to be right in"
    if task.purpose == "repeat" and task.repeat_of is not None:
        first = store().comparisons.history(task.repeat_of, comparison.labeler_id)[-1:]
        return "Repeat", _in_words(repeated((one, comparison) for one in first), "same again",
                                   "not the same again") or "the first answer was taken back"
    return None


def _in_words(outcomes: Iterable[Outcome], so: str, otherwise: str, between: str = "") -> str:
    values = [outcome.value for outcome in outcomes]
    if len(values) > 1 and 0 < sum(values) < len(values):
        return f"{so} in {sum(values):g} of {len(values)} pairs"
    return {0.0: otherwise, 1.0: so}.get(sum(values) / len(values), between) if values else ""
