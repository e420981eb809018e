"""One frozen record per noun of the loop, as the store hands them out.

Rows are values: to change one, ask the store, then read it again. Times are ISO 8601 in UTC.
Nothing here knows SQL; `data.schema` lists what makes the tables.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict

SPLITS = ("train", "held_out")
PURPOSES = ("train", "evaluate", "gold", "repeat")
ROLES = ("labeler", "lead", "engineer")
KINDS_OF_LABELER = ("human", "ai", "simulated", "imported")
STAGES = ("sampling", "labeling", "training", "improving", "done")
SKIP_REASONS = ("unclear prompt", "cannot judge", "upsetting", "display broken", "other")

#: How much better the winner is. 0 is a tie; the labels are those that labelers see.
STRENGTHS = {0: "tie", 1: "negligibly better", 2: "slightly better", 3: "better",
             4: "significantly better"}

Verdict = Literal["ranked", "both_bad", "withdrawn"]


class Message(TypedDict):
    """One turn of a conversation; role is system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True)
class Labeler:
    """Somebody (or something) that answers tasks; `kind` says what, wherever answers show."""

    id: int
    name: str
    kind: str
    role: str
    disabled: bool
    config: dict[str, Any]
    created_at: str
    set_aside_at: str | None = None
    """Since when their answers, kept as they are, do not count; None: they do."""


@dataclass(frozen=True)
class Prompt:
    """A conversation so far, the last message from the user. `split` never changes."""

    id: int
    messages: list[Message]
    source: str
    split: str
    tags: list[str]
    created_at: str

    @property
    def text(self) -> str:
        """The last user message, which is what the responses answer."""
        return self.messages[-1]["content"]


@dataclass(frozen=True)
class PolicyVersion:
    """Weights that can be sampled: a base checkpoint plus, unless `path` is None, an adapter."""

    id: int
    name: str
    base: str
    path: str | None
    method: str
    parent_id: int | None
    reward_model_id: int | None
    round_id: int | None
    job_id: int | None
    config: dict[str, Any]
    metrics: dict[str, Any]
    created_at: str


@dataclass(frozen=True)
class RewardModel:
    """One reward model version; `path` holds adapter and score head in PEFT's layout, or several in
    folders of their own."""

    id: int
    name: str
    base: str
    path: str
    round_id: int | None
    job_id: int | None
    config: dict[str, Any]
    metrics: dict[str, Any]
    created_at: str


@dataclass(frozen=True)
class Response:
    """One sample of a policy version (or an imported text, when `policy_version_id` is None)."""

    id: int
    prompt_id: int
    policy_version_id: int | None
    round_id: int | None
    text: str
    token_ids: list[int]
    sampling: dict[str, Any]
    seed: int
    sample_index: int
    finish_reason: str
    logprob: float | None
    source: str
    created_at: str

    @property
    def is_cut(self) -> bool:
        """Whether it ended at the length limit, and not by itself; an unknown end is no cut."""
        return self.finish_reason == "length"


@dataclass(frozen=True)
class NewResponse:
    """A response that has not been stored yet."""

    prompt_id: int
    text: str
    policy_version_id: int | None = None
    round_id: int | None = None
    token_ids: list[int] = field(default_factory=list)
    sampling: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    sample_index: int = 0
    finish_reason: str = "eos"
    logprob: float | None = None
    source: str = "sample"


@dataclass(frozen=True)
class Task:
    """One question to labelers: a prompt and K >= 2 responses, wanted `wanted` times."""

    id: int
    round_id: int | None
    prompt_id: int
    purpose: str
    wanted: int
    priority: float
    response_ids: tuple[int, ...]
    created_at: str
    repeat_of: int | None = None
    """The earlier task that this one asks again, of the same labeler."""
    only_for: int | None = None
    """The one labeler who gets it, for repeats."""
    chosen_by: str | None = None
    """What chose it to be asked when it was (see `data.asking`); None: nothing has yet."""


@dataclass(frozen=True)
class KnownAnswer:
    """The right answer to a task of purpose `gold`, hidden among others or (`practice`) shown."""

    task_id: int
    practice: bool
    answer: Answer
    explanation: str
    created_by: int | None
    created_at: str


@dataclass(frozen=True)
class Decision:
    """A lead's last word on a task (a comparison of theirs), and whose answers it overrides."""

    comparison_id: int
    task_id: int
    labeler_id: int
    overrides: tuple[int, ...]
    """Ids of the comparisons that said otherwise."""
    note: str
    created_at: str


@dataclass(frozen=True)
class Assignment:
    """A task as one labeler sees it: `shown` is the display order, left (or top) first.

    `is_first` says that they were given it by this very call, and never before.
    """

    task: Task
    labeler_id: int
    shown: tuple[int, ...]
    is_first: bool = False


@dataclass(frozen=True)
class Rewrite:
    """A labeler's better version of one response: a demonstration."""

    response_id: int
    text: str


@dataclass(frozen=True)
class Answer:
    """What a labeler says of a task, before it is stored.

    `ranking` lists groups of response ids from best to worst; a group of several is a tie. A
    verdict of `both_bad` keeps a ranking with all of them in one group. `seconds` is since the
    task was on the page, `active_seconds` without the time when nobody was at the page (None
    where that was not measured). The versions are those of `data.questions`.
    """

    ranking: tuple[tuple[int, ...], ...]
    strength: int = 3
    verdict: Verdict = "ranked"
    flags: dict[int, tuple[str, ...]] = field(default_factory=dict)
    rationale: str = ""
    seconds: float = 0.0
    active_seconds: float | None = None
    scores: dict[int, int] = field(default_factory=dict)
    rewrite: Rewrite | None = None
    question_version: int | None = None
    guidelines_version: int | None = None

    @property
    def is_tie(self) -> bool:
        """Whether no response is ranked above another."""
        return len(self.ranking) == 1


@dataclass(frozen=True)
class Comparison:
    """One revision of one labeler's answer to one task. `shown` is the order of display, empty
    where that is not known: in imported preferences."""

    id: int
    task_id: int
    labeler_id: int
    revision: int
    answer: Answer
    shown: tuple[int, ...]
    submission_key: str
    created_at: str

    @property
    def winner(self) -> int | None:
        """The id of the one response ranked best; None for ties at the top."""
        best = self.answer.ranking[0]
        return best[0] if len(best) == 1 and not self.answer.is_tie else None


@dataclass(frozen=True)
class Preference:
    """A training pair derived from a comparison. strength 0 is a tie, and then the order of
    `chosen_id` and `rejected_id` says nothing."""

    id: int
    comparison_id: int
    task_id: int
    prompt_id: int
    labeler_id: int
    chosen_id: int
    rejected_id: int
    strength: int
    round_number: int | None = None
    """Of the round that asked; None: it was imported."""
    shown_first: bool | None = None
    """Whether `chosen_id` was shown before `rejected_id` (left of it, or above); None where the
    order of display is not known."""


@dataclass(frozen=True)
class Round:
    """One turn of the loop: who is sampled, who it is held against, and how far it is."""

    id: int
    number: int
    stage: str
    policy_version_id: int
    reference_id: int
    created_at: str
    closed_at: str | None


@dataclass(frozen=True)
class Job:
    """One long-running piece of work with its config, progress, metrics and result."""

    id: int
    kind: str
    status: str
    config: dict[str, Any]
    resolved: dict[str, Any] | None
    round_id: int | None
    """The round it works for, once it has begun: a sampling job opens its own."""
    requested_by: int | None
    progress: float
    message: str
    seconds_left: float | None
    attempts: int
    stop_requested: bool
    result: dict[str, Any] | None
    error: str | None
    created_at: str
    started_at: str | None
    finished_at: str | None
