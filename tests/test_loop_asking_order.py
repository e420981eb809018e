"""The order of tasks by itself: made-up tasks, a model of made-up features, and no store."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from test_reward_instant import answers, features

from data.asking import AskedTask
from loop.asking import live
from loop.asking.live import favourite_tasks, variances_of
from loop.asking.order import by_chance, order
from reward.instant.davidson import information
from reward.instant.model import InstantModel

Array = np.ndarray[Any, Any]


def task(number: int, responses: tuple[int, ...] = (), labels: int = 0,
         measures: bool = False) -> AskedTask:
    return AskedTask(number, number, responses, labels, True, measures, False, 0.0, None)


def test_chance_asks_what_measures_as_soon_as_what_teaches() -> None:
    """Which tasks are chance's says nothing of when they come."""
    tasks = [task(number, measures=number % 4 == 0) for number in range(60)]
    share, first, expected = 0.3, [], []
    for seed in range(400):
        of_chance = [t for t in tasks if by_chance(t, share, seed)]
        found = order(tasks, "margin", share, seed, lambda left, most: list(left)[:most])
        first.append(max(of_chance, key=lambda t: found[t.id][0]).measures)
        expected.append(sum(t.measures for t in of_chance) / len(of_chance))
    assert np.mean(first) == pytest.approx(np.mean(expected), abs=0.1)  # 4 standard errors


def test_chance_makes_up_at_the_second_label_for_what_it_lacked_at_the_first() -> None:
    lanes = {n: by_chance(task(n), 0.5, 0) for n in range(200)}
    ruled, chances = ([n for n, chance in lanes.items() if chance == wanted][:count]
                      for wanted, count in ((False, 16), (True, 10)))
    tasks = [task(n, labels=int(place >= 6)) for place, n in enumerate(ruled)]
    tasks += [task(n, labels=1) for n in chances]
    found = order(tasks, "margin", 0.5, 0, lambda left, most: list(left)[:most])
    asked = sorted(found, key=lambda n: -found[n][0])
    assert set(asked[:6]) == set(ruled[:6]), "first labels first"
    for so_far in range(10, 27):
        assert abs(sum(lanes[n] for n in asked[:so_far]) - so_far * 10 / 26) < 0.51


def test_no_more_are_put_in_order_than_are_soon_asked() -> None:
    """Of as many as there are; the rest wait behind them."""
    tasks = [task(n, labels=n % 2) for n in range(150)]
    asked: list[int] = []

    def favourites(left: Any, most: int) -> list[AskedTask]:
        asked.append(most)
        return list(left)[:most]

    found = order(tasks, "margin", 0.2, 0, favourites)
    places = [place for place, _ in found.values() if place > 0]
    assert len(places) == len(set(places)) == 64 and max(places) < 1
    assert len(found) == 150 and {tasks[n].labels for n in found if found[n][0] > 0} == {0}
    assert asked == [64]


@pytest.fixture
def model() -> InstantModel:
    """Knows 30 answers, ties among them, of the first of 100 prompts of 2 responses each."""
    table = features(200)
    made = InstantModel(table)
    made.learn(answers(table, 30))
    assert np.isfinite(made.posterior.log_tie)
    return made


def rows(model: InstantModel, of: AskedTask, covariance: Array) -> Array:
    """[k] the difference of two of a task's responses that is least certain by this covariance."""
    every = [model.table[a] - model.table[b] for a, b in combinations(of.response_ids, 2)]
    return max(every, key=lambda row: float(row @ covariance @ row))


def rankings(seed: int = 0) -> list[AskedTask]:
    """Tasks of two to four responses."""
    draw = np.random.default_rng(seed)
    return [task(n, tuple(draw.choice(np.arange(60, 200), 2 + n % 3, replace=False).tolist()))
            for n in range(25)]


@pytest.mark.parametrize("rule", ["margin", "d-optimal"])
def test_a_rules_favourites_by_brute_force(model: InstantModel, rule: str) -> None:
    """Chance has no part in them, and a ranking stands for its least certain pair."""
    tasks, posterior = rankings(), model.posterior
    covariance, expected = posterior.covariance, []
    of = {t.id: rows(model, t, covariance) for t in tasks}
    for _ in range(12):
        def worth(number: int, now: Array) -> float:
            row = of[number]
            if rule == "margin":
                return -abs(float(row @ posterior.coefficients))
            told = information(np.array([row @ posterior.coefficients]), posterior.log_tie)[0]
            return float(np.log1p(told * row @ now @ row))

        best = max((t.id for t in tasks if t.id not in expected),
                   key=lambda number: worth(number, covariance))
        expected.append(best)
        row = of[best]
        told = information(np.array([row @ posterior.coefficients]), posterior.log_tie)[0]
        covariance = np.linalg.inv(np.linalg.inv(covariance) + told * np.outer(row, row))
    for seed in range(3):
        assert [t.id for t in favourite_tasks(model, tasks, rule, 12, seed)] == expected


def test_of_very_many_candidates_a_rule_looks_at_a_random_part(
        model: InstantModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MOST_CANDIDATES", 5)
    tasks = rankings()
    seen = [{t.id for t in favourite_tasks(model, tasks, "margin", 64, seed)}
            for seed in range(40)]
    assert all(len(part) == 5 for part in seen) and set.union(*seen) == {t.id for t in tasks}


@pytest.mark.parametrize("at_once", [1, 4, 256])
def test_variances_of_many_tasks_are_those_of_each(
        model: InstantModel, monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr(live, "_AT_ONCE", at_once)
    tasks, covariance = rankings(), model.posterior.covariance
    expected = {t.id: float(row @ covariance @ row) for t in tasks
                for row in [rows(model, t, covariance)]}
    assert variances_of(model, tasks) == pytest.approx(expected)
