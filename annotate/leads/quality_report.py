"""The figures of the Quality page, counted at most once per change and per while.

One report serves every session that looks. Counting a large round takes seconds of CPU, so it is
done by another process at low priority: the labelers' answers share this one's interpreter, and
would wait for it. Whoever looks meanwhile gets the last report, which says of when it is.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from data.activity import latest_answer
from data.database import now
from data.errors import PrefloopError
from data.measures.agreement import (
    agreement_by_strength,
    first_shown_wins,
    krippendorff_alpha,
    longer_wins,
    percent_agreement,
    win_rate,
)
from data.measures.alarms import Alarm, careless
from data.measures.breakdowns import Breakdown, by
from data.measures.quality import Figures, figures, gold_accuracy, seconds_per_task, self_agreement
from data.measures.statistics import Estimate
from data.measures.votes import Gold, Repeat
from data.records import Comparison
from data.store import Store

#: A report is counted again no sooner than this, nor before this multiple of what it took.
LEAST_SECONDS = 8.0
REST = 20
#: With more answers than this, another process does the counting.
LARGE = 3000
_ASKED = ("train", "evaluate", "repeat")


@dataclass(frozen=True)
class Report:
    """All figures of a round (or of all rounds), over the answers of some kinds of labelers."""

    answers: int
    agreement: Estimate | None
    alpha: Estimate | None
    self_agreement: Estimate | None
    gold: Estimate | None
    left: Estimate | None
    longer: Estimate | None
    seconds: Estimate | None
    win: Estimate | None
    by_strength: dict[int, Estimate]
    by_tag: dict[str, Breakdown]
    by_round: dict[int, Breakdown]
    """By round number, in the report of all rounds."""
    people: dict[int, Figures]
    set_aside: frozenset[int]
    """Those of the people who count in no figure but their own, and raise no alarm."""
    alarms: list[Alarm]
    moments: dict[str, int]
    """Answers by ten minutes, as `2026-11-20T17:4`, in UTC."""
    counted_at: str


def make(store: Store, round_id: int | None, kinds: Collection[str]) -> Report:
    """Count everything, now and here."""
    asked = {person.id: person for person in store.people.all() if person.kind in kinds}
    current = [c for c in store.comparisons.current(round_id=round_id, set_aside=True)
               if c.labeler_id in asked]
    purposes, rounds = _purposes(store, round_id), _rounds(store, round_id)
    answers = [c for c in current if purposes[c.task_id] in _ASKED]
    gold, repeats = _gold(store, asked), _repeats(store, round_id, answers)
    lengths = store.responses.lengths({i for c in [*answers, *(c for c, _ in gold)]
                                       for group in c.answer.ranking for i in group})
    aside = frozenset(i for i, person in asked.items() if person.set_aside_at is not None)
    people = figures(answers, lengths, repeats, gold, aside)
    answers = [c for c in answers if c.labeler_id not in aside]
    gold = [known for known in gold if known[0].labeler_id not in aside]
    repeats = [pair for pair in repeats if pair[0].labeler_id not in aside]
    blind = [c for c in answers if purposes[c.task_id] != "repeat"]
    tags = _tags(store, round_id)
    return Report(
        len(answers), percent_agreement(blind), krippendorff_alpha(blind),
        self_agreement(repeats), gold_accuracy(gold), first_shown_wins(answers),
        longer_wins(answers, lengths), seconds_per_task(answers),
        None if round_id is None else win_rate(store, round_id, kinds),
        agreement_by_strength(blind), by(blind, lambda c: tags.get(c.task_id, ()), lengths),
        by(blind, lambda c: rounds.get(c.task_id, ()), lengths) if round_id is None else {},
        people, aside & people.keys(), careless(answers, lengths, repeats, gold),
        _moments(answers), now())


@dataclass
class _Entry:
    """The last report of one choice of round and kinds."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    report: Report | None = None
    version: tuple[int, int] | None = None
    made_at: float = 0.0
    took: float = 0.0

    def due(self) -> bool:
        """Whether it is old enough to be looked after."""
        return self.report is None or (
            time.monotonic() - self.made_at >= max(LEAST_SECONDS, REST * self.took))

    def renew(self, store: Store, round_id: int | None, kinds: Collection[str]) -> None:
        """Count again if anything was answered since, or a right answer was stated; the lock must
        be held."""
        version = latest_answer(store), store.known.count()
        if self.report is None or version != self.version:
            start = time.monotonic()
            self.report = _counted(store, round_id, kinds)
            self.took = time.monotonic() - start
        self.version, self.made_at = version, time.monotonic()


class Reports:
    """The last report for each round and choice of kinds; whoever looks meanwhile shares it."""

    def __init__(self) -> None:
        self._entries: dict[tuple[Path, int | None, tuple[str, ...]], _Entry] = {}
        self._lock = threading.Lock()

    def get(self, store: Store, round_id: int | None, kinds: Collection[str]) -> Report:
        """A report at most a while old, or the last one if nothing was answered since.

        Of a large round the last report is given while the next is being counted; only the very
        first has to be waited for.

        Raises:
            PrefloopError: it could not be counted.
        """
        key = (store.database.path, round_id, tuple(sorted(kinds)))
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
        if entry.report is not None and _size(store, round_id) > LARGE:
            if entry.due() and entry.lock.acquire(blocking=False):
                threading.Thread(target=_renew_and_release, daemon=True,
                                 args=(entry, store, round_id, kinds)).start()
            return entry.report
        with entry.lock:
            if entry.due():
                entry.renew(store, round_id, kinds)
            assert entry.report is not None  # it is due as long as there is none
            return entry.report


def _renew_and_release(entry: _Entry, store: Store, round_id: int | None,
                       kinds: Collection[str]) -> None:
    try:
        entry.renew(store, round_id, kinds)
    except PrefloopError:
        entry.made_at = time.monotonic()  # the last report stays, and shows its age
    finally:
        entry.lock.release()


def _counted(store: Store, round_id: int | None, kinds: Collection[str]) -> Report:
    if _size(store, round_id) <= LARGE:
        return make(store, round_id, kinds)
    wanted = pickle.dumps((store.database.path, round_id, tuple(kinds)))
    done = subprocess.run([sys.executable, "-c", f"from {__name__} import main; main()"],
                          input=wanted, capture_output=True, check=False)
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise PrefloopError(f"the figures could not be counted: {''.join(last) or 'killed'}")
    report = pickle.loads(done.stdout)
    assert isinstance(report, Report)
    return report


def main() -> None:
    """The other process: reads what is wanted from its input, writes the report."""
    os.nice(10)
    path, round_id, kinds = pickle.load(sys.stdin.buffer)
    sys.stdout.buffer.write(pickle.dumps(make(Store(path), round_id, kinds)))


def _size(store: Store, round_id: int | None) -> int:
    """About how many answers would be read; cheap to ask."""
    if round_id is None:
        return latest_answer(store)
    return store.tasks.progress(round_id)[0]


def _purposes(store: Store, round_id: int | None) -> dict[int, str]:
    return {row["id"]: row["purpose"] for row in store.database.rows(
        "SELECT id, purpose FROM tasks WHERE :round IS NULL OR round_id = :round",
        {"round": round_id})}


def _rounds(store: Store, round_id: int | None) -> dict[int, tuple[int]]:
    """The number of each task's round, by task id."""
    return {row["id"]: (row["number"],) for row in store.database.rows(
        "SELECT t.id, r.number FROM tasks t JOIN rounds r ON r.id = t.round_id "
        "WHERE :round IS NULL OR t.round_id = :round", {"round": round_id})}


def _tags(store: Store, round_id: int | None) -> dict[int, tuple[str, ...]]:
    """The tags of each task's prompt, by task id."""
    found: dict[int, list[str]] = {}
    for row in store.database.rows(
            "SELECT t.id, g.value AS tag FROM tasks t JOIN prompts p ON p.id = t.prompt_id, "
            "json_each(p.tags) g WHERE p.tags <> '[]' "
            "AND (:round IS NULL OR t.round_id = :round)", {"round": round_id}):
        found.setdefault(row["id"], []).append(str(row["tag"]))
    return {task: tuple(tags) for task, tags in found.items()}


def _gold(store: Store, asked: Collection[int]) -> list[Gold]:
    """Every answer to a hidden task with a known answer, whatever the round: they have none."""
    known = store.known.measures()
    return [(c, known[c.task_id]) for c in store.comparisons.current(purpose="gold", set_aside=True)
            if c.labeler_id in asked and c.task_id in known]


def _repeats(store: Store, round_id: int | None,
             answers: Iterable[Comparison]) -> list[Repeat]:
    """First answers, each with the same labeler's answer to its repeat."""
    by_task = {(c.task_id, c.labeler_id): c for c in answers}
    pairs = store.database.rows("SELECT id, repeat_of, only_for FROM tasks "
                                "WHERE purpose = 'repeat' AND only_for IS NOT NULL "
                                "AND (:round IS NULL OR round_id = :round)", {"round": round_id})
    return [(by_task[row["repeat_of"], row["only_for"]], by_task[row["id"], row["only_for"]])
            for row in pairs if (row["repeat_of"], row["only_for"]) in by_task
            and (row["id"], row["only_for"]) in by_task]


def _moments(answers: Iterable[Comparison]) -> dict[str, int]:
    return dict(sorted(Counter(c.created_at[:15] for c in answers).items()))


#: Shared by all sessions of this server.
reports = Reports()
