"""A labeler's desk: the question in front of them, and what a press of a button does to it.

One per browser tab, kept in Streamlit's session state. Only texts in display order leave the
store through here; who wrote them, why they are asked and their ids stay behind (labelers are
blind). Knows nothing of widgets, so that every path can be tested without a browser.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from uuid import uuid4

from annotate import actions
from annotate.choices import in_words
from data.errors import AlreadyAnswered, PrefloopError
from data.records import Answer, Assignment, Message
from data.store import Store

#: A press this soon after the pair appeared, or after another press, comes from a double click
#: or a held key (keyboards repeat after up to 0.66 s): nobody has read two responses by then.
QUIET_SECONDS = 0.7
#: Two placing keys this close together came in one message, which has lost their order.
SAME_MESSAGE_SECONDS = 0.005


@dataclass(frozen=True)
class Question:
    """What is on the page, and the ids that the answer will need."""

    task_id: int
    round_id: int | None
    messages: tuple[Message, ...]
    texts: tuple[str, ...]
    shown: tuple[int, ...]


@dataclass
class Desk:
    """The state of one tab's labeling page."""

    store: Store
    token: Callable[[], str | None]
    question: Question | None = None
    submission_key: str = ""
    shown_at: float | None = None
    pressed_at: float = -QUIET_SECONDS
    notice: str = ""
    failed: bool = False
    skipping: bool = False
    ranks: dict[int, int] = field(default_factory=dict)
    placed: tuple[int, float] = (-1, -1.0)

    def take(self) -> None:
        """Fetch the next question, or None when nothing is left."""
        assignment = actions.next_task(self.store, self.token())
        if assignment is not None or self.question is not None or not self.submission_key:
            self._put(assignment)

    def rendered(self) -> None:
        """Start the clock, the first time the question is on the page."""
        if self.shown_at is None:
            self.shown_at = monotonic()

    def seconds(self) -> float:
        """Since the question first appeared."""
        return 0.0 if self.shown_at is None else monotonic() - self.shown_at

    def answer(self, submission_key: str, make: Callable[[Question, float], Answer]) -> None:
        """Store an answer to the question at hand and go on to the next."""
        question = self.question
        if question is None or not self._meant(submission_key):
            return
        answer = make(question, self.seconds())

        def save() -> None:
            actions.submit(self.store, self.token(), question.task_id, answer, submission_key)

        self._do(save, f"Saved: {in_words(answer, question.shown)}.", "NOT saved")

    def skip(self, submission_key: str, reason: str) -> None:
        """Give the question back and go on to the next."""
        question = self.question
        if question is None or not self._meant(submission_key):
            return
        self._do(lambda: actions.skip(self.store, self.token(), question.task_id, reason),
                 f"Skipped: {reason}.", "NOT skipped")

    def place(self, submission_key: str, position: int) -> None:
        """Give a response the first rank below all that have one (for rankings)."""
        if self.question is None or submission_key != self.submission_key:
            return
        before, self.placed = self.placed, (position, monotonic())
        if before[0] != position and self.placed[1] - before[1] < SAME_MESSAGE_SECONDS:
            for one in (before[0], position):
                self.ranks.pop(one, None)
            self._say("Two keys arrived at once: place these two again.")
            return
        others = [rank for other, rank in self.ranks.items() if other != position]
        self.ranks[position] = min(max(others, default=0) + 1, len(self.question.shown))

    def undo(self, submission_key: str) -> None:
        """Bring back what was answered or skipped last."""
        if submission_key != self.submission_key or self._hurried():
            return
        try:
            self._put(actions.undo(self.store, self.token(), uuid4().hex))
            self._say("Taken back: answer it again.")
        except PrefloopError as error:
            self._say(f"NOT undone: {error}", failed=True)

    def _do(self, act: Callable[[], None], done: str, not_done: str) -> None:
        try:
            act()
        except AlreadyAnswered as error:
            # Another tab was quicker; this tab's question is settled.
            self._advance(f"{not_done}: {error}", failed=True)
        except PrefloopError as error:
            self._say(f"{not_done}: {error}", failed=True)
        else:
            self._advance(done)

    def _advance(self, notice: str, failed: bool = False) -> None:
        try:
            self.take()
        except PrefloopError as error:
            self.question = None
            notice, failed = f"{notice} The next pair cannot be fetched: {error}", True
        self._say(notice, failed)

    def _meant(self, submission_key: str) -> bool:
        """Whether a press belongs to what is on the page and is no echo of the one before."""
        return submission_key == self.submission_key and not self._hurried()

    def _hurried(self) -> bool:
        since = max(self.pressed_at, self.shown_at or monotonic())
        self.pressed_at = monotonic()
        if self.pressed_at - since >= QUIET_SECONDS:
            return False
        self._say("That press came too soon after the last one and was ignored.")
        return True

    def _say(self, notice: str, failed: bool = False) -> None:
        self.notice, self.failed = notice, failed

    def _put(self, assignment: Assignment | None) -> None:
        self.question = None if assignment is None else _question(self.store, assignment)
        self.submission_key, self.shown_at, self.skipping = uuid4().hex, None, False
        self.ranks = {}


def _question(store: Store, assignment: Assignment) -> Question:
    prompt = store.prompts.get(assignment.task.prompt_id)
    texts = tuple(response.text for response in store.responses.get(assignment.shown))
    return Question(assignment.task.id, assignment.task.round_id, tuple(prompt.messages), texts,
                    assignment.shown)
