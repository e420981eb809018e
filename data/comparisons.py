"""Comparisons: append-only answers with revisions, and the preferences that follow from them."""

from __future__ import annotations

import json
import math
import sqlite3
from itertools import combinations

from data.answer_counts import IS_DECISION, AnswerCounts, has_decided
from data.database import now
from data.errors import AlreadyAnswered, BadInput, Conflict, NotAllowed, NotFound
from data.questions import SCORES
from data.records import STRENGTHS, Answer, Comparison, Preference, Rewrite, Task

LONGEST_RATIONALE = 4000
LONGEST_REWRITE = 40_000
LONGEST_SECONDS = 24 * 3600.0
#: `counted_preferences` as if no lead had decided anything.
_BLIND_PREFERENCES = """(SELECT b.* FROM preferences b
    JOIN blind_comparisons c ON c.id = b.comparison_id JOIN tasks t ON t.id = b.task_id
    WHERE t.purpose IN ('train', 'evaluate'))"""


def comparison_of(row: sqlite3.Row) -> Comparison:
    """A record from a row of the comparisons table; a rewrite stays where it is (`rewrite_of`)."""
    flags = {int(k): tuple(v) for k, v in json.loads(row["flags"]).items()}
    answer = Answer(tuple(tuple(group) for group in json.loads(row["ranking"])), row["strength"],
                    row["verdict"], flags, row["rationale"], row["seconds"],
                    row["active_seconds"],
                    {int(k): v for k, v in json.loads(row["scores"]).items()}, None,
                    row["question_version"], row["guidelines_version"])
    return Comparison(row["id"], row["task_id"], row["labeler_id"], row["revision"], answer,
                      tuple(json.loads(row["shown"])), row["submission_key"], row["created_at"])


def preference_of(row: sqlite3.Row) -> Preference:
    """A record from a row of the preferences table, with its comparison's `shown` and the number of
    its task's round."""
    chosen, rejected = row["chosen_id"], row["rejected_id"]
    place = {i: n for n, i in enumerate(json.loads(row["shown"]))}
    return Preference(row["id"], row["comparison_id"], row["task_id"], row["prompt_id"],
                      row["labeler_id"], chosen, rejected, row["strength"], row["round_number"],
                      place[chosen] < place[rejected] if {chosen, rejected} <= place.keys()
                      else None)


def pairs_of(answer: Answer) -> list[tuple[int, int, int]]:
    """(chosen, rejected, strength) for every pair of a ranking; strength 0 marks a tie.

    Both bad says nothing about which is better, so it gives ties; a withdrawn answer gives none.
    """
    if answer.verdict == "withdrawn":
        return []
    pairs = [(better, worse, answer.strength) for high, low in combinations(answer.ranking, 2)
             for better in high for worse in low]
    ties = [(a, b, 0) for group in answer.ranking for a, b in combinations(group, 2)]
    return pairs + ties


def check_answer(answer: Answer, task: Task) -> None:
    """Raise BadInput, naming the field, unless the answer fits the task."""
    if sorted(i for group in answer.ranking for i in group) != sorted(task.response_ids):
        raise BadInput(f"ranking: must name each of the task's responses "
                       f"{list(task.response_ids)} once, not {answer.ranking}")
    if answer.strength not in STRENGTHS or (answer.strength == 0) != answer.is_tie:
        raise BadInput(f"strength: {answer.strength!r} does not fit; 0 for a tie, else 1 to 4")
    if answer.verdict == "both_bad" and not answer.is_tie:
        raise BadInput("verdict: both_bad goes with a ranking of one group")
    if not set(answer.flags) <= set(task.response_ids):
        raise BadInput("flags: name a response that is not in the task")
    if not set(answer.scores) <= set(task.response_ids):
        raise BadInput("scores: name a response that is not in the task")
    if not set(answer.scores.values()) <= set(SCORES):
        raise BadInput(f"scores: {list(answer.scores.values())} must lie from {SCORES[0]} to "
                       f"{SCORES[-1]}")
    for name in ("seconds", "active_seconds"):
        if not math.isfinite(getattr(answer, name) or 0.0):
            raise BadInput(f"{name}: {getattr(answer, name)} is no time")
    if answer.rewrite is not None:
        if answer.rewrite.response_id not in task.response_ids:
            raise BadInput("rewrite: is of a response that is not in the task")
        if not 0 < len(answer.rewrite.text.strip()) <= LONGEST_REWRITE:
            raise BadInput(f"rewrite: must be 1 to {LONGEST_REWRITE:,} characters")
    if len(answer.rationale) > LONGEST_RATIONALE:
        raise BadInput(f"rationale: at most {LONGEST_RATIONALE} characters")


def _said(answer: Answer, rewrite: Rewrite | None) -> tuple[object, ...]:
    """All that an answer says, in one form; how long it took is no part of it."""
    return ([set(group) for group in answer.ranking], answer.strength, answer.verdict,
            {response: set(flags) for response, flags in answer.flags.items() if flags},
            answer.scores, answer.rationale.strip(),
            rewrite and (rewrite.response_id, rewrite.text.strip()),
            answer.question_version, answer.guidelines_version)


def _view(set_aside: bool) -> str:
    return "current_comparisons" if set_aside else "counted_comparisons"


def _clipped(seconds: float | None) -> float | None:
    return None if seconds is None else min(max(seconds, 0.0), LONGEST_SECONDS)


class Comparisons(AnswerCounts):
    """The labels. Which of them count (nobody's who is set aside) is said by the views `counted_*`
    alone, which of these were given blind by `blind_comparisons`, and which are the labels of their
    task by `placed_comparisons`; how many somebody has given is inherited."""

    def submit(self, labeler_id: int, task: Task, answer: Answer, submission_key: str,
               replaces: int | None = None, *, decision: bool = False) -> Comparison:
        """Store an answer, or (with `replaces`, the revision it changes) a revision of one.

        Only `Decisions` says `decision`: another answer of who has ever decided the task would
        count as given blind.

        Sending the same `submission_key` again (a double click, a retry after a lost connection)
        returns what was stored the first time; a revision that changes nothing is none, and returns
        what stands. The display order is the assignment's, never the caller's. A task that was
        skipped is so no more.

        Raises:
            BadInput: the answer does not fit the task.
            NotAllowed: the labeler is disabled.
            NotFound: the task was never shown to this labeler.
            AlreadyAnswered: there is a current answer and `replaces` is not given.
            Conflict: `replaces` is not the current revision, or they have decided the task.
        """
        check_answer(answer, task)
        with self._database.write() as db:
            again = self._database.row(
                "SELECT * FROM comparisons WHERE submission_key = ?", [submission_key])
            if again is not None:
                if (again["labeler_id"], again["task_id"]) != (labeler_id, task.id):
                    raise Conflict("this submission belongs to another answer; reload the page")
                return comparison_of(again)
            if self._database.value("SELECT disabled FROM labelers WHERE id = ?", [labeler_id]):
                raise NotAllowed("this account is disabled; the answer was not saved")
            shown = self._database.value(
                "SELECT shown FROM assignments WHERE task_id = ? AND labeler_id = ?",
                [task.id, labeler_id])
            if shown is None:
                raise NotFound(f"task {task.id} was not shown to labeler {labeler_id}")
            last = self._latest(task.id, labeler_id)
            if replaces is None and last is not None and last.answer.verdict != "withdrawn":
                raise AlreadyAnswered("you have answered this task already; change that answer "
                                      "in My answers")
            if not decision and last is not None and self.has_decided(task.id, labeler_id):
                raise Conflict("you have decided this task: decide it anew under Disputes")
            # Before the conflict: whoever pressed twice asks for what stands by now.
            if replaces is not None and last is not None and not decision \
                    and self.says(last, answer):
                return last
            if replaces is not None and (last is None or last.revision != replaces):
                raise Conflict("this answer was changed meanwhile (in another tab?); reload")
            comparison_id = self._insert(labeler_id, task, answer, submission_key, shown,
                                         1 if last is None else last.revision + 1)
            db.conn.execute(
                "UPDATE assignments SET skipped_at = NULL, skip_reason = NULL "
                "WHERE task_id = ? AND labeler_id = ?", [task.id, labeler_id])
            db.conn.execute(
                "UPDATE tasks SET labels = (SELECT count(*) FROM placed_comparisons c "
                "WHERE c.task_id = tasks.id) WHERE id = ?", [task.id])
            return self.get(comparison_id)

    def undo_last(self, labeler_id: int, task: Task, submission_key: str) -> Comparison:
        """Withdraw the labeler's answer to a task, by a revision; the task is theirs again.

        Raises:
            NotFound: there is none.
            Conflict: they have decided the task, or it was changed meanwhile.
        """
        last = self._latest(task.id, labeler_id)
        if last is None or last.answer.verdict == "withdrawn":
            raise NotFound("there is no answer to undo")
        withdrawn = Answer(last.answer.ranking, last.answer.strength, "withdrawn")
        with self._database.write() as db:
            stored = self.submit(labeler_id, task, withdrawn, submission_key, last.revision)
            db.conn.execute("UPDATE assignments SET leased_at = ? WHERE task_id = ? "
                            "AND labeler_id = ?", [now(), task.id, labeler_id])
            return stored

    def get(self, comparison_id: int) -> Comparison:
        """One comparison, current or not. Raises NotFound."""
        row = self._database.row("SELECT * FROM comparisons WHERE id = ?", [comparison_id])
        if row is None:
            raise NotFound(f"there is no comparison {comparison_id}")
        return comparison_of(row)

    def current(self, *, round_id: int | None = None, labeler_id: int | None = None,
                purpose: str | None = None, decisions: bool = False,
                set_aside: bool = False) -> list[Comparison]:
        """The answers that stand (of a round, a labeler, a purpose), oldest first.

        Without `decisions` only what was answered blind: a lead decides with the others' answers
        in view, which is nothing to measure agreement by. Without `set_aside` only what counts.
        """
        return [comparison_of(row) for row in self._database.rows(f"""
            SELECT c.* FROM {_view(set_aside)} c JOIN tasks t ON t.id = c.task_id
            WHERE (:round IS NULL OR t.round_id = :round)
            AND (:labeler IS NULL OR c.labeler_id = :labeler)
            AND (:purpose IS NULL OR t.purpose = :purpose)
            AND (:decisions OR NOT {IS_DECISION}) ORDER BY c.id""",
            {"round": round_id, "labeler": labeler_id, "purpose": purpose,
             "decisions": decisions})]

    def of_task(self, task_id: int, *, set_aside: bool = False) -> list[Comparison]:
        """Everybody's answers to one task that count (or, with `set_aside`, that stand), oldest
        first, decisions included."""
        return [comparison_of(row) for row in self._database.rows(
            f"SELECT * FROM {_view(set_aside)} WHERE task_id = ? ORDER BY id", [task_id])]

    def says(self, comparison: Comparison, answer: Answer) -> bool:
        """Whether a comparison already says all that an answer does, its rewrite too."""
        return _said(comparison.answer, self.rewrite_of(comparison.id)) == _said(
            answer, answer.rewrite)

    def rewrite_of(self, comparison_id: int) -> Rewrite | None:
        """The rewrite that came with a comparison, if one did."""
        row = self._database.row(
            "SELECT * FROM demonstrations WHERE comparison_id = ?", [comparison_id])
        return None if row is None else Rewrite(row["response_id"], row["text"])

    def history(self, task_id: int, labeler_id: int) -> list[Comparison]:
        """Every revision of one labeler's answer to one task, first to last."""
        return [comparison_of(row) for row in self._database.rows(
            "SELECT * FROM comparisons WHERE task_id = ? AND labeler_id = ? ORDER BY revision",
            [task_id, labeler_id])]

    def has_decided(self, task_id: int, labeler_id: int) -> bool:
        """Whether somebody has ever decided a task, also where they took that back."""
        return bool(self._database.value(
            f"SELECT {has_decided('me')} FROM (SELECT ? AS task_id, ? AS labeler_id) me",
            [task_id, labeler_id]))

    def preferences(self, split: str | None = None, *, blind: bool = False) -> list[Preference]:
        """The training pairs of the answers that count (on prompts of a split).

        With `blind` those of what was answered blind instead: what a lead has decided keeps all
        that labelers said of it, and the decision is none of it.
        """
        return [preference_of(row) for row in self._database.rows(f"""
            SELECT f.*, c.shown, r.number AS round_number
            FROM {_BLIND_PREFERENCES if blind else "counted_preferences"} f
            JOIN prompts p ON p.id = f.prompt_id
            JOIN comparisons c ON c.id = f.comparison_id
            JOIN tasks t ON t.id = f.task_id LEFT JOIN rounds r ON r.id = t.round_id
            WHERE :split IS NULL OR p.split = :split ORDER BY f.id""", {"split": split})]

    def _latest(self, task_id: int, labeler_id: int) -> Comparison | None:
        row = self._database.row(
            "SELECT * FROM comparisons WHERE task_id = ? AND labeler_id = ? "
            "ORDER BY revision DESC LIMIT 1", [task_id, labeler_id])
        return None if row is None else comparison_of(row)

    def _insert(self, labeler_id: int, task: Task, answer: Answer, submission_key: str, shown: str,
                revision: int) -> int:
        """Add a comparison, with the preferences and the demonstration that follow from it."""
        comparison_id = self._database.insert("comparisons", {
            "task_id": task.id, "labeler_id": labeler_id, "revision": revision,
            "verdict": answer.verdict, "ranking": answer.ranking,
            "strength": answer.strength,
            "flags": {str(k): v for k, v in answer.flags.items() if v},
            "rationale": answer.rationale,
            "seconds": _clipped(answer.seconds),
            "active_seconds": _clipped(answer.active_seconds),
            "scores": {str(k): v for k, v in answer.scores.items()},
            "question_version": answer.question_version,
            "guidelines_version": answer.guidelines_version,
            "shown": json.loads(shown), "submission_key": submission_key,
            "created_at": now()})
        for chosen, rejected, strength in pairs_of(answer):
            self._database.insert("preferences", {
                "comparison_id": comparison_id, "task_id": task.id,
                "prompt_id": task.prompt_id, "labeler_id": labeler_id, "chosen_id": chosen,
                "rejected_id": rejected, "strength": strength})
        if answer.rewrite is not None:
            self._database.insert("demonstrations", {
                "comparison_id": comparison_id, "prompt_id": task.prompt_id,
                "response_id": answer.rewrite.response_id, "labeler_id": labeler_id,
                "text": answer.rewrite.text.strip(), "created_at": now()})
        return comparison_id
