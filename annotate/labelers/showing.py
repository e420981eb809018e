"""What a question looks like from outside: the parts that a labeler may see, as plain data."""

from __future__ import annotations

from typing import Any

from annotate.choices import LETTERS, choice_of, choices_for, tiers_of
from annotate.keys import keys_of
from annotate.labelers import waiting
from annotate.rendering import CUT_OFF, conversation_html, to_html
from data.comparisons import LONGEST_RATIONALE, LONGEST_REWRITE
from data.questions import SCORES
from data.records import SKIP_REASONS, Assignment, Round
from data.store import Store

#: So many answers a labeler gives before they are told nothing more of what to do.
FIRST_ANSWERS = 3


def question(store: Store, assignment: Assignment) -> dict[str, Any]:
    """The conversation and the responses in display order, and what was said of it before.

    Each response as sanitised HTML to read, as plain text to rewrite, and with what is said below
    it where it was cut off.
    """
    prompt = store.prompts.get(assignment.task.prompt_id)
    return {"conversation": conversation_html(prompt.messages),
            "responses": [{"html": to_html(response.text), "text": response.text,
                           "cut": CUT_OFF if response.is_cut else ""}
                          for response in store.responses.get(assignment.shown)],
            "before": _before(store, assignment)}


def ask(store: Store) -> dict[str, Any]:
    """What is asked of every question, and the guidelines to answer by."""
    version, asked = store.questions.current()
    guidelines = store.questions.guidelines()
    return {
        "version": version,
        "choices": [{"name": choice.name, "label": choice.label, "key": choice.key,
                     "side": "ab"[choice.better] if choice.better is not None else "",
                     "strength": choice.strength} for choice in choices_for(asked)],
        "tie": asked.tie, "both_bad": asked.both_bad, "flags": list(asked.flags),
        "scores": list(SCORES) if asked.scores else [], "reason": asked.reason,
        "rewrite": asked.rewrite, "skip_reasons": list(SKIP_REASONS),
        "longest_reason": LONGEST_RATIONALE, "longest_rewrite": LONGEST_REWRITE,
        "letters": LETTERS, "keys": keys_of(asked),
        "guidelines": None if guidelines is None or not guidelines.text.strip() else {
            "version": guidelines.version, "html": to_html(guidelines.text)}}


def is_new(store: Store, labeler_id: int) -> bool:
    """Whether this labeler has given too few answers to know what is wanted."""
    return store.comparisons.count(labeler_id) < FIRST_ANSWERS


def progress(store: Store, labeler_id: int) -> dict[str, Any]:
    """How far the open round is, and one's own part; never a rate, which would push to hurry.

    One's own hidden known answers and repeats count as any other answer, or the figures would stand
    still after these alone and give them away. So `given` is ahead by them until the round is full.
    It stands still with every answer of somebody who is set aside, and so with these too.
    While the round's responses are being written, `wanted` grows with them: then it is None.
    """
    goal = store.assignments.rules().daily_goal
    current = store.rounds.current()
    if current is None:
        return {"round": None, "given": 0, "wanted": 0, "goal": goal,
                "mine": store.comparisons.count(labeler_id)}
    given, wanted = store.tasks.progress(current.id)
    gold, repeats = store.comparisons.hidden(labeler_id, current.id)
    if store.people.get(labeler_id).set_aside_at is None:
        given += gold + repeats
    grows = _is_being_sampled(store, current)
    return {"round": current.number, "given": given if grows else min(given, wanted),
            "wanted": None if grows else wanted, "goal": goal,
            "mine": store.comparisons.count(labeler_id, current.id) + gold}


def _is_being_sampled(store: Store, turn: Round) -> bool:
    """Whether a job still writes the round's responses; its stage spares most views the look."""
    job = waiting.sampling(store) if turn.stage == "sampling" else None
    return job is not None and job.round_id == turn.id


def is_answered(store: Store, task_id: int, labeler_id: int) -> bool:
    """Whether this labeler has answered a task, and not taken that back."""
    history = store.comparisons.history(task_id, labeler_id)
    return bool(history) and history[-1].answer.verdict != "withdrawn"


def is_open(store: Store, task_id: int, labeler_id: int) -> bool:
    """Whether a task waits for this labeler's answer: they have neither answered nor skipped it."""
    return not (is_answered(store, task_id, labeler_id)
                or store.assignments.is_skipped(task_id, labeler_id))


def _before(store: Store, assignment: Assignment) -> dict[str, Any] | None:
    """The answer that was taken back, to begin the new one with."""
    history = store.comparisons.history(assignment.task.id, assignment.labeler_id)
    if len(history) < 2 or history[-1].answer.verdict != "withdrawn":
        return None
    answer, shown = history[-2].answer, assignment.shown
    choice = choice_of(answer, shown) if len(shown) == 2 else None
    rewrite = store.comparisons.rewrite_of(history[-2].id)
    return {
        "choice": "all-bad" if len(shown) > 2 and answer.verdict == "both_bad"
        else choice and choice.name,
        "tiers": tiers_of(answer, shown) if len(shown) > 2 and answer.verdict == "ranked" else [],
        "flags": {shown.index(i): list(flags) for i, flags in answer.flags.items()},
        "scores": {shown.index(i): score for i, score in answer.scores.items()},
        "reason": answer.rationale,
        "spent": {"seconds": answer.seconds, "active": answer.active_seconds or 0.0},
        "rewrite": rewrite and {"base": shown.index(rewrite.response_id), "text": rewrite.text}}
