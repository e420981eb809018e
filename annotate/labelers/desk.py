"""A labeler's desk: the questions in front of them, and what becomes of what the page sends.

One per browser tab, kept in Streamlit's session state. It can be lost at any time (a reload, a
restarted server): everything that matters is in the store or in the page's outbox, and a task's
key names it for good. Only texts in display order leave the store through here; who wrote them,
why they are asked and their ids stay behind (labelers are blind). Knows nothing of widgets, so
that every path can be tested without a browser.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

from annotate import actions
from annotate.choices import in_words, same_answer
from annotate.labelers import first_handed, showing, waiting
from annotate.labelers.entries import Asked, answer_of, key_of, version_of
from annotate.labelers.sealing import owner_of, seal, secret_of, unseal
from annotate.rendering import to_html
from data.comparisons import LONGEST_SECONDS
from data.database import now
from data.errors import AlreadyAnswered, BadInput, Conflict, NotFound, PrefloopError
from data.records import SKIP_REASONS, Answer, Assignment, Labeler
from data.store import Store

#: So many questions are with the page: the one at hand, and the one after it.
AHEAD = 2
#: So many acts of a page are looked at in one message, and remembered afterwards.
MOST_ENTRIES = 50

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Handed:
    """A question that is with the page."""

    task_id: int
    key: str
    payload: dict[str, Any]


@dataclass
class Desk:
    """The state of one tab's labeling page."""

    store: Store
    token: Callable[[], str | None]
    handed: list[Handed] = field(default_factory=list)
    acks: dict[str, dict[str, Any]] = field(default_factory=dict)
    _labeler_id: int | None = None
    _secret: bytes = b""

    def receive(self, message: object) -> None:
        """Act on what the page sent: its acts in their order, each once, each acknowledged.

        An act that failed for now (a full disk, an ended session) holds back those after it: they
        stay in the page's outbox and come again, in order.
        """
        entries = message.get("entries") if isinstance(message, Mapping) else None
        for entry in entries[:MOST_ENTRIES] if isinstance(entries, list) else ():
            try:
                key = key_of(entry)
            except BadInput:
                continue  # nothing of ours, and nothing to acknowledge it by
            if not self.acks.get(key, {}).get("final"):
                self.acks[key] = self._settle(key, entry)
            if not self.acks[key]["final"]:
                break
        for key in list(self.acks)[:-MOST_ENTRIES]:
            del self.acks[key]

    def view(self) -> dict[str, Any]:
        """All that the page shows, for `static/desk.js`.

        `question` and `ahead` (each None where there is none), `ask`, `progress`, `acks`, `last`
        (what Undo would bring back), `unguided` (somebody new has no guidelines to go by),
        `nothing` (why there is no question), `owner` (names the labeler's corner of the browser's
        storage), or `refused` (why nothing can be done).
        """
        try:
            me = self._sit_down()
            self._fill()
            questions = [each.payload for each in self.handed[:AHEAD]]
            asked = showing.ask(self.store)
            return {
                "owner": owner_of(self._secret),
                "question": questions[0] if questions else None,
                "ahead": questions[1] if len(questions) > 1 else None,
                "ask": asked, "progress": self._progress(me),
                "unguided": asked["guidelines"] is None and showing.is_new(self.store, me.id),
                "acks": list(self.acks.values()), "last": self._last(me),
                "nothing": None if questions else waiting.why_nothing(self.store, me),
                "refused": None}
        except PrefloopError as error:
            return {"owner": owner_of(self._secret) if self._secret else None, "question": None,
                    "ahead": None, "ask": None, "progress": None, "unguided": False,
                    "acks": list(self.acks.values()), "last": None, "nothing": None,
                    "refused": str(error)}

    def _sit_down(self) -> Labeler:
        """Who sits here now; another person finds an empty desk. Raises NotAllowed."""
        me = actions.require(self.store, self.token(), "answer")
        if me.id != self._labeler_id:
            self.handed, self.acks = [], {}
            self._secret, self._labeler_id = secret_of(self.store, me.id), me.id
        return me

    def _settle(self, key: str, entry: Mapping[str, Any]) -> dict[str, Any]:
        """Do one act; what the page is told of it. `final` acts are not to be sent again."""
        does = {"answer": self._answer, "skip": self._skip, "undo": self._undo}
        try:
            me = self._sit_down()
            act = does.get(str(entry.get("do")))
            if act is None:
                raise BadInput(f"do: must be one of {', '.join(does)}")
            task_id = unseal(self._secret, key.split("-")[0])
            if task_id is None:
                raise BadInput("this question was not given to you")
            return {"key": key, "ok": True, "final": True, **act(me, task_id, key, entry)}
        except (BadInput, AlreadyAnswered, Conflict) as error:
            self._rename(key)
            return {"key": key, "ok": False, "final": True, "words": str(error)}
        except PrefloopError as error:
            return {"key": key, "ok": False, "final": False, "words": str(error)}
        except Exception:
            # A defect of ours must not cost the answer: the page keeps it and says so.
            _log.exception("an act of a labeler could not be settled")
            return {"key": key, "ok": False, "final": False,
                    "words": "prefloop itself failed; the server's log says how"}

    def _answer(self, me: Labeler, task_id: int, key: str,
                entry: Mapping[str, Any]) -> dict[str, Any]:
        assignment = self._assignment(me, task_id)
        questions = self.store.questions
        guidelines = questions.guidelines()
        version = version_of(entry, "question_version", questions.current()[0])
        asked = Asked(
            assignment.shown,
            tuple(r.text for r in self.store.responses.get(assignment.shown)),
            questions.version(version), version,
            version_of(entry, "guidelines_version",
                       None if guidelines is None else guidelines.version))
        answer = answer_of(entry, asked, self._longest(me, task_id))
        actions.submit(self.store, self.token(), task_id, answer, key)
        self._put_away(task_id)
        return {"words": f"Saved: {in_words(answer, assignment.shown)}.",
                "feedback": self._feedback(assignment, answer)}

    def _skip(self, me: Labeler, task_id: int, key: str,
              entry: Mapping[str, Any]) -> dict[str, Any]:
        self._assignment(me, task_id)
        reason = entry.get("reason")
        if reason not in SKIP_REASONS:
            raise BadInput(f"reason: must be one of {', '.join(SKIP_REASONS)}")
        if showing.is_answered(self.store, task_id, me.id):
            raise AlreadyAnswered("you have answered this question already (in another tab?)")
        actions.skip(self.store, self.token(), task_id, str(reason), key)
        self._put_away(task_id)
        if showing.is_open(self.store, task_id, me.id):
            return {"words": "You have taken this skip back since."}
        return {"words": f"Skipped: {reason}."}

    def _undo(self, me: Labeler, task_id: int, key: str,
              entry: Mapping[str, Any]) -> dict[str, Any]:
        self._assignment(me, task_id)
        if self._is_practice(task_id):
            raise BadInput("practice cannot be taken back")
        actions.take_back(self.store, self.token(), task_id, key,
                          skipped=entry.get("of") == "skip")
        if not showing.is_open(self.store, task_id, me.id):
            return {"words": "You have answered or skipped it since."}
        self._put_away(task_id)
        self._hand(self._assignment(me, task_id), first=True)
        for later in self.handed[1:]:
            # Tasks left open come back in the order of their leases: after a reload, too, the one
            # that was taken back is the one at hand.
            self.store.assignments.assign(later.task_id, me.id)
        return {"words": "Taken back: answer it again.", "show": self.handed[0].key}

    def _assignment(self, me: Labeler, task_id: int) -> Assignment:
        """What they were given. Raises NotFound, which is final: it holds back no later act."""
        assignment = self.store.assignments.get(task_id, me.id)
        if assignment is None:
            self._put_away(task_id)  # where it is handed out again, then with a lease
            raise NotFound("this question was not given to you")
        return assignment

    def _fill(self) -> None:
        """Keep what is still to be answered, and fetch what is missing."""
        me = self._labeler_id
        assert me is not None  # only after _sit_down
        self.handed = [each for each in self.handed
                       if showing.is_open(self.store, each.task_id, me)
                       and not self.store.tasks.has_ended(each.task_id, me)]
        while len(self.handed) < AHEAD:
            given = actions.next_task(self.store, self.token(),
                                      self.handed[0].task_id if self.handed else None)
            if given is None or any(each.task_id == given.task.id for each in self.handed):
                return
            self._hand(given)

    def _hand(self, assignment: Assignment, first: bool = False) -> None:
        task_id = assignment.task.id
        key = self._new_key(task_id)
        payload = {"key": key, "practice": self._is_practice(task_id),
                   **showing.question(self.store, assignment)}
        if assignment.is_first:
            first_handed.note(str(self.store.database.path), assignment.labeler_id, task_id)
        self.handed.insert(0 if first else len(self.handed), Handed(task_id, key, payload))

    def _rename(self, key: str) -> None:
        """What was refused under a key is never looked at again: the next try needs another."""
        for place, each in enumerate(self.handed):
            if each.key == key:
                new = self._new_key(each.task_id)
                self.handed[place] = replace(each, key=new, payload={**each.payload, "key": new})

    def _new_key(self, task_id: int) -> str:
        return f"{seal(self._secret, task_id)}-{uuid4().hex}"

    def _put_away(self, task_id: int) -> None:
        self.handed = [each for each in self.handed if each.task_id != task_id]

    def _is_practice(self, task_id: int) -> bool:
        known = self.store.known.get(task_id)
        return known is not None and known.practice

    def _longest(self, me: Labeler, task_id: int) -> float:
        """No answer took longer than since its question first left here."""
        since = first_handed.seconds_since(str(self.store.database.path), me.id, task_id)
        return LONGEST_SECONDS if since is None else since

    def _feedback(self, assignment: Assignment, answer: Answer) -> dict[str, Any] | None:
        """After practice, how it should have been answered; hidden gold stays hidden."""
        known = self.store.known.get(assignment.task.id)
        if known is None or not known.practice:
            return None
        return {"right": same_answer(answer, known.answer),
                "known": in_words(known.answer, assignment.shown),
                "given": in_words(answer, assignment.shown),
                "html": to_html(known.explanation) if known.explanation else ""}

    def _last(self, me: Labeler) -> dict[str, str] | None:
        last = self.store.assignments.last_done(me.id)
        if last is None or self._is_practice(last[0]) \
                or self.store.tasks.has_ended(last[0], me.id):
            return None
        return {"id": seal(self._secret, last[0]), "of": "skip" if last[1] else "answer"}

    def _progress(self, me: Labeler) -> dict[str, Any]:
        """Of the open round, whatever round the question is of: hidden tasks have none."""
        today = self.store.comparisons.given_since(now()[:10], me.id)
        return {**showing.progress(self.store, me.id), "today": today.get(me.id, 0)}
