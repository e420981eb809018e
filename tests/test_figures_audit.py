"""The figures that pages show, against sums over the raw tables that share no code with them."""

from __future__ import annotations

import json
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

import pytest
from audit_world import Outcomes, Row, Tables, check, eventful, said, teaching

from annotate.leads import quality_report
from data.activity import activity
from data.exchange.exporting import export
from data.store import Store
from loop.status import status_of

KINDS = (("human",), ("human", "simulated", "imported"))


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    return Tables(eventful(tmp_path_factory.mktemp("audit")))


def agreement(answers: Iterable[Row], of: int | None = None) -> Outcomes:
    """Every two labelers (one of them `of`) of one task, pair by pair of its responses."""
    tasks: dict[int, list[Row]] = defaultdict(list)
    for row in answers:
        tasks[row["task_id"]].append(row)
    return [(float(x[2] == y[2]), task) for task, rows in tasks.items()
            for one, other in combinations(rows, 2)
            if of in (None, one["labeler_id"], other["labeler_id"])
            for x, y in zip(said(one), said(other), strict=True)]


def alpha(answers: Iterable[Row]) -> float:
    """1 − D_o / D_e of outcomes entered in both orders, from pairs of values alone."""
    units: dict[tuple[int, int, int], list[int]] = defaultdict(list)
    for row in answers:
        for a, b, outcome in said(row):
            units[row["task_id"], a, b].append(outcome)
    shared = [unit for values in units.values() if len(values) > 1
              for unit in (values, [-v for v in values])]
    n = sum(map(len, shared))
    observed = sum(sum(a != b for a, b in permutations(unit, 2)) / (len(unit) - 1)
                   for unit in shared) / n
    counts = Counter(v for unit in shared for v in unit)
    expected = sum(counts[a] * counts[b] for a, b in permutations(counts, 2)) / (n * (n - 1))
    return 1 - observed / expected


def left(answers: Iterable[Row]) -> Outcomes:
    return [(float((outcome > 0) == (shown.index(a) < shown.index(b))), row["task_id"])
            for row in answers if (shown := json.loads(row["shown"]))
            for a, b, outcome in said(row) if outcome]


def longer(tables: Tables, answers: Iterable[Row]) -> Outcomes:
    length = {i: len(row["text"]) for i, row in tables.responses.items()}
    return [(float((outcome > 0) == (length[a] > length[b])), row["task_id"]) for row in answers
            for a, b, outcome in said(row) if outcome and length[a] != length[b]]


def repeats(answers: Sequence[Row]) -> Outcomes:
    first = {(row["task_id"], row["labeler_id"]): row for row in answers}
    return [(float(x[2] == y[2]), before["task_id"]) for row in answers
            if row["purpose"] == "repeat"
            and (before := first.get((row["repeat_of"], row["labeler_id"])))
            for x, y in zip(said(before), said(row), strict=True)]


def gold(tables: Tables, kinds: Sequence[str]) -> Outcomes:
    """Held against the newest known answer to the same responses; a tie is half right."""
    members: dict[int, set[int]] = defaultdict(set)
    for row in tables.rows("task_responses"):
        members[row["task_id"]].add(row["response_id"])
    known = sorted(tables.rows("known_answers"), key=lambda row: int(row["task_id"]))
    newest = {frozenset(members[row["task_id"]]): row for row in known}
    hidden = {row["task_id"] for row in known if not row["practice"]}
    return [(0.5 if x[2] == 0 else float(x[2] == truth[2]), row["task_id"])
            for row in tables.answers
            if row["task_id"] in hidden and row["kind"] in kinds
            and not row["aside"] and not row["decision"]
            for truth, x in zip(said(newest[frozenset(members[row["task_id"]])]), said(row),
                                strict=True) if truth[2]]


def wins(tables: Tables, answers: Iterable[Row]) -> Outcomes:
    """The newer policy wrote all but a task's first response; prompts that begin alike are one."""
    version = {i: row["policy_version_id"] for i, row in tables.responses.items()}
    begins = tables.begins()
    new = max(v for v in version.values() if v)
    return [((1 + outcome * (1 if version[a] == new else -1)) / 2, begins[row["prompt_id"]])
            for row in answers if row["purpose"] == "evaluate"
            for a, b, outcome in said(row) if version[a] != version[b]]


def seconds(answers: Iterable[Row]) -> list[float]:
    times = [row["seconds"] if row["active_seconds"] is None else row["active_seconds"]
             for row in answers]
    return [time for time in times if time > 0]


@pytest.mark.parametrize("kinds", KINDS)
@pytest.mark.parametrize("turn", [None, 1, 2])
def test_quality(tables: Tables, kinds: Sequence[str], turn: int | None) -> None:
    found = quality_report.make(tables.store, turn, kinds)
    everybodys = [row for row in tables.answers if row["kind"] in kinds and not row["decision"]
                  and row["purpose"] != "gold" and turn in (None, row["round_id"])]
    answers = [row for row in everybodys if not row["aside"]]
    blind = [row for row in answers if row["purpose"] != "repeat"]
    assert found.answers == len(answers) == sum(found.moments.values())
    check(found.agreement, agreement(blind))
    assert found.alpha is not None and found.alpha.value == pytest.approx(alpha(blind))
    assert found.alpha.low <= found.alpha.value <= found.alpha.high
    check(found.self_agreement, repeats(answers))
    check(found.gold, gold(tables, kinds))
    check(found.left, left(answers))
    check(found.longer, longer(tables, answers))
    assert found.seconds is not None
    assert found.seconds.n == len(seconds(answers))
    assert found.seconds.value == pytest.approx(statistics.median(seconds(answers)))
    if turn is None:
        assert found.win is None
        for number, group in found.by_round.items():
            here = [row for row in blind if row["round_id"] == number + 1]
            assert group.answers == len(here)
            check(group.agreement, agreement(here))
            check(group.left, left(here))
    else:
        check(found.win, wins(tables, answers))
    for who, figures in found.people.items():
        aside = bool(tables.people[who]["set_aside_at"])
        mine = [row for row in everybodys if row["labeler_id"] == who]
        among = [*answers, *mine] if aside else answers
        assert figures.answers == len(mine)
        check(figures.agreement, agreement(among, who))
        check(figures.left, left(mine))
        check(figures.longer, longer(tables, mine))
        check(figures.self_agreement, repeats(mine))
        check(figures.ties, [(float(not x[2]), row["task_id"]) for row in mine
                             for x in said(row)])
    assert found.people.keys() == {row["labeler_id"] for row in everybodys}


def test_counts(tables: Tables, tmp_path: Path) -> None:
    store = tables.store
    standing = [row for row in tables.answers if not row["decision"]]
    for turn in status_of(store)["rounds"]:
        wanted = [t for t in tables.tasks.values()
                  if t["round_id"] == turn["id"] and t["purpose"] in ("train", "evaluate")]
        labels = Counter(row["task_id"] for row in _placed(tables))
        assert turn["labels_wanted"] == sum(t["wanted"] for t in wanted)
        assert turn["labels_given"] == sum(min(labels[t["id"]], t["wanted"]) for t in wanted)
        by_labeler = Counter(row["labeler_id"] for row in standing
                             if row["round_id"] == turn["id"])
        assert store.comparisons.by_labeler(turn["id"]) == by_labeler
    assert status_of(store)["imported"] == sum(row["kind"] == "imported" for row in standing) == 12
    given = activity(store)
    for who in tables.people:
        assert given[who].answers == sum(row["labeler_id"] == who for row in standing)
    rows = {what: _exported(store, tmp_path / f"{what}.jsonl", what)
            for what in ("comparisons", "preferences")}
    assert sorted(row["comparison_id"] for row in rows["comparisons"]) == sorted(
        row["id"] for row in tables.answers)
    assert Counter((row["comparison_id"], row["chosen_id"], row["rejected_id"])
                   for row in rows["preferences"]) == Counter(
        (row["id"], a if outcome > 0 else b, b if outcome > 0 else a)
        for row in teaching(tables) for a, b, outcome in said(row) if outcome)


def _placed(tables: Tables) -> Iterable[Row]:
    """The labels of tasks: what stands and was given blind, by those who count; where a lead has
    decided after an answer given blind, that answer keeps its place."""
    decisions = {row["comparison_id"] for row in tables.rows("decisions")}
    blind = {(row["task_id"], row["labeler_id"]): row["verdict"] for row in sorted(
        tables.rows("comparisons"), key=lambda row: int(row["revision"]))
        if row["id"] not in decisions}
    return [row for row in tables.answers if not row["aside"]
            and blind.get((row["task_id"], row["labeler_id"]), "withdrawn") != "withdrawn"]


def _exported(store: Store, path: Path, what: str) -> list[dict[str, Any]]:
    report = export(store, path, what)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert report.rows == len(rows) and report.set_aside == sum(row["set_aside"] for row in rows)
    return rows


def test_everything_has_happened(tables: Tables) -> None:
    verdicts = Counter(row["verdict"] for row in tables.rows("comparisons"))
    assert min(verdicts[v] for v in ("both_bad", "withdrawn")) > 5
    assert any(row["skipped_at"] for row in tables.rows("assignments"))
    for name in ("decision", "aside", "repeat_of"):
        assert sum(bool(row[name]) for row in tables.answers) > 3
    assert {row["purpose"] for row in tables.answers} == {"train", "evaluate", "gold", "repeat"}
    assert {row["kind"] for row in tables.answers} == {"human", "simulated", "imported"}
    assert {len(list(said(row))) for row in tables.answers} == {1, 6}
    assert len(gold(tables, KINDS[1])) > 20 and len(repeats(tables.answers)) > 20
