"""The keys of the labeling page, as a list: for the page itself and for the Account page."""

from __future__ import annotations

from annotate.choices import choices_for
from data.questions import Question


def keys_of(question: Question) -> list[tuple[str, str]]:
    """Every key that the question in force gives something to do, and what it does."""
    keys = [(choice.key, f"Two responses: {choice.label}") for choice in choices_for(question)]
    keys += [("1 to 9", "Three responses or more: rank that response next"),
             ("Enter", "Three responses or more: save the ranking"),
             ("X", "Three responses or more: clear the ranking")]
    keys += [("=", "Three responses or more: tie the last two")] if question.tie else []
    keys += [("0", "Three responses or more: all bad")] if question.both_bad else []
    numbers = "each by its number" if len(question.flags) < 10 else "the first nine by number"
    keys += [("F", f"Flags of A, then of B, …, {numbers}")] if question.flags else []
    keys += [("P", "Scores of A, then of B, …, each by its number")] if question.scores else []
    keys += [("R", "Type a reason")] if question.reason else []
    keys += [("W", "Rewrite the best one")] if question.rewrite else []
    return [*keys, ("S", "Skip, then a number for the reason"),
            ("U", "Undo the last answer or skip"), ("G", "Show or hide the guidelines"),
            ("D", "Show what differs"), ("H", "Show or hide earlier messages"),
            ("+ and -", "Larger and smaller text"), ("?", "Show or hide the keys"),
            ("Esc", "Go back; out of a text field, to the keys")]
