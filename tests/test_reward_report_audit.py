"""The report on a reward model, against sums over the raw tables that share no code with it."""

from __future__ import annotations

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from audit_world import Outcomes, Row, Tables, check, eventful, said, teaching

from data.measures.statistics import Estimate
from data.records import STRENGTHS
from reward.examples import from_store
from reward.report.figures import report
from reward.report.groups import Facts


def test_reward_report(tmp_path: Path) -> None:
    tables = Tables(eventful(tmp_path))
    data, facts = from_store(tables.store), Facts.from_store(tables.store)
    score = {i: math.sin(i) for i in tables.responses}
    found = report(data.held_out, score, facts)
    begins, split = tables.begins(), {i: row["split"] for i, row in tables.prompts.items()}
    text = {i: row["text"] for i, row in tables.responses.items()}
    taught = [(row, *x) for row in teaching(tables) if not row["aside"] for x in said(row)
              if text[x[0]] != text[x[1]]]
    assert not {begins[row["prompt_id"]] for row, *_ in taught
                if split[row["prompt_id"]] == "train"} & {
        begins[e.prompt_id] for e in data.held_out}
    assert sum(len(e.pairs) for e in data.train) + found["pairs"] == len(taught)
    tested = [vote for vote in taught if split[vote[0]["prompt_id"]] == "held_out"]
    decided = [(row, a, b) if outcome > 0 else (row, b, a) for row, a, b, outcome in tested
               if outcome]
    assert (found["pairs"], found["ties"]) == (len(tested), len(tested) - len(decided))
    assert found["comparisons"] == len({row["id"] for row, *_ in tested})

    def shares(value: Callable[[Row, int, int], float | None],
               votes: Iterable[tuple[Row, int, int]]) -> Outcomes:
        return [(v, begins[vote[0]["prompt_id"]]) for vote in votes
                if (v := value(*vote)) is not None]

    def right(row: Row, won: int, lost: int) -> float:
        return (1 + _sign(score[won] - score[lost])) / 2

    blind: dict[tuple[int, int], dict[int, int]] = defaultdict(dict)
    for row in tables.answers:
        if not row["aside"] and not row["decision"] and row["purpose"] in ("train", "evaluate"):
            for a, b, outcome in said(row):
                blind[a, b][row["labeler_id"]] = outcome

    def others(row: Row, won: int, lost: int) -> float | None:
        words = [outcome * (1 if won < lost else -1) for who, outcome
                 in blind[min(won, lost), max(won, lost)].items() if who != row["labeler_id"]]
        return statistics.fmean((1 + w) / 2 for w in words) if words else None

    def estimate(of: Any) -> Estimate | None:
        return None if of is None else Estimate.from_dict(of)

    check(estimate(found["held_out_accuracy"]), shares(right, decided))
    base = found["baselines"]
    check(estimate(base["longer"]), shares(lambda row, won, lost: (
        1 + _sign(len(text[won]) - len(text[lost]))) / 2, decided))
    check(estimate(base["other_labeler"]), shares(others, decided))
    check(estimate(base["model_there"]), shares(
        right, [vote for vote in decided if others(*vote) is not None]))
    kind = Counter(row["kind"] for row, *_ in decided)
    assert found["votes_by"] == kind and len(kind) > 1
    names: dict[str, Callable[[Row, int, int], str]] = {
        "labeler": lambda row, won, lost: facts.labelers[row["labeler_id"]],
        "strength": lambda row, won, lost: STRENGTHS[row["strength"]],
        "round": lambda row, won, lost: "imported" if row["round_id"] is None
        else f"round {row['round_id'] - 1}"}
    for group, name in names.items():
        groups = {one["name"]: one for one in found["groups"][group]["rows"]}
        assert groups.keys() == {name(*vote) for vote in decided}
        for key, one in groups.items():
            check(estimate(one["accuracy"]), shares(right, [v for v in decided if name(*v) == key]))
    sure = [(1 / (1 + math.exp(-abs(score[won] - score[lost]))),
             right(row, won, lost)) for row, won, lost in decided]
    bins: dict[int, float] = defaultdict(float)
    for predicted, was_right in sure:
        bins[min(int((predicted - 0.5) * 20), 9)] += was_right - predicted
    assert found["calibration"]["error"]["value"] == pytest.approx(
        sum(map(abs, bins.values())) / len(sure))
    losses = [math.log1p(math.exp(-(score[a] - score[b]) * outcome)) if outcome else
              sum(math.log1p(math.exp(s * (score[a] - score[b]))) for s in (1, -1)) / 2
              for _, a, b, outcome in tested]
    assert found["cross_entropy"]["value"] == pytest.approx(statistics.fmean(losses))


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)
