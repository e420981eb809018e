"""The annotator model against its own posterior by brute force, and against planted accuracies."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from crew_world import Crew, Habits, simulate

from data.measures import reliability as model
from data.measures.reliability import reliability
from data.measures.votes import votes_of
from data.records import Answer, Comparison


def said(number: int, task: int, labeler: int, *ranking: int) -> Comparison:
    """An answer that ranks responses without ties."""
    return Comparison(number, task, labeler, 1, Answer(tuple((i,) for i in ranking)), (),
                      str(number), "")


def table(votes: Sequence[Sequence[int | None]]) -> list[Comparison]:
    """Answers to pairs: a row a task, a column a labeler; 1 the first response, −1 the second."""
    rows = [(task, labeler, vote) for task, row in enumerate(votes, 1)
            for labeler, vote in enumerate(row, 1) if vote is not None]
    return [said(i, task, labeler, *((2 * task, 2 * task + 1) if vote > 0
                                     else (2 * task + 1, 2 * task)))
            for i, (task, labeler, vote) in enumerate(rows, 1)]


VOTES: list[list[int | None]] = [[1, 1, -1], [1, 1, 1], [-1, 1, None], [-1, -1, -1], [1, None, 1],
                                 [None, -1, -1], [1, 1, 1], [-1, 1, -1]]


#: For each of the 2^8 possible truths, how often each labeler would be right; shape [256, 3].
RIGHT = np.array([[sum(row[j] == true for row, true in zip(VOTES, truth, strict=True))
                   for j in range(3)] for truth in product((1, -1), repeat=len(VOTES))])
GIVEN = np.array([sum(row[j] is not None for row in VOTES) for j in range(3)])


def log_posterior(log_odds: np.ndarray) -> float:
    """Of three labelers' log-odds given VOTES, up to a constant: the sum over all truths."""
    right, wrong = -np.log1p(np.exp(-log_odds)), -np.log1p(np.exp(log_odds))
    likelihood = np.exp(RIGHT @ right + (GIVEN - RIGHT) @ wrong).sum()
    return float(np.log(likelihood) + model.PRIOR_RIGHT * right.sum()
                 + model.PRIOR_WRONG * wrong.sum())


def test_the_fit_is_the_maximum_of_the_posterior_and_its_curvature() -> None:
    votes = model._Votes.of(table(VOTES), [])
    accuracies = model._most_likely(votes)
    peak = np.log(accuracies / (1 - accuracies))
    top, step = log_posterior(peak), 1e-3
    for direction in np.random.default_rng(0).normal(size=(40, 3)):
        for length in (0.02, 0.5, 2.0):
            assert log_posterior(peak + length * direction) < top
    hessian = np.empty((3, 3))
    for j, k in product(range(3), repeat=2):
        a, b = np.eye(3)[j] * step, np.eye(3)[k] * step
        hessian[j, k] = (log_posterior(peak + a + b) - log_posterior(peak + a - b)
                         - log_posterior(peak - a + b) + log_posterior(peak - a - b)) / 4 / step**2
    covariance, _ = model._covariances(votes, accuracies)
    assert covariance == pytest.approx(np.linalg.inv(-hessian), rel=1e-3)


def test_intervals_hold_most_of_the_exact_posterior() -> None:
    grid = np.linspace(-6, 8, 57)
    joint = np.exp([[[log_posterior(np.array([a, b, c])) for c in grid] for b in grid[::2]]
                    for a in grid[::2]])
    marginal = joint.sum(axis=(0, 1)) / joint.sum()
    found = reliability(table(VOTES))[3]
    assert found is not None and found.n == 7
    ends = np.log([found.low / (1 - found.low), found.high / (1 - found.high)])
    assert marginal[(grid >= ends[0]) & (grid <= ends[1])].sum() == pytest.approx(.9, abs=.06)


def test_robust_covariance_is_summed_over_tasks() -> None:
    rankings = [[(1, 2, 3), (2, 1, 3), (1, 3, 2)], [(4, 5, 6), (4, 5, 6), (6, 5, 4)],
                [(7, 8, 9), (8, 7, 9), (7, 8, 9)], [(10, 11, 12), (10, 12, 11), (12, 10, 11)]]
    answers = [said(10 * task + j, task, j, *ranking) for task, row in enumerate(rankings)
               for j, ranking in enumerate(row, 1)]
    votes = model._Votes.of(answers, [])
    accuracies = model._most_likely(votes)
    bread, robust = model._covariances(votes, accuracies)
    chance = model._chance_right(votes, accuracies)
    meat = np.zeros((3, 3))
    for task in range(4):
        score = np.zeros(3)
        for i in np.flatnonzero(votes.task == task):
            score[votes.labeler[i]] += 2 / 3 * (chance[i] - accuracies[votes.labeler[i]])
        meat += np.outer(score, score)
    assert robust == pytest.approx(bread @ meat @ bread, rel=1e-9)


@pytest.mark.parametrize("overlap", [2, 3])
def test_planted_accuracies_are_covered_and_recovered(overlap: int) -> None:
    rng, planted = np.random.default_rng(overlap), (.5, .6, .7, .75, .8, .85, .9, .95)
    inside, errors = 0, []
    for _ in range(60):
        crew = simulate(rng, [Habits(accuracy=a) for a in planted], each=80, overlap=overlap)
        found = reliability(crew.comparisons)
        for labeler, accuracy in enumerate(planted, 1):
            estimate = found[labeler]
            assert estimate is not None
            inside += estimate.low <= accuracy <= estimate.high
            errors.append(estimate.value - accuracy)
    assert .92 <= inside / 480 <= .985
    assert abs(np.mean(errors)) < .02


def test_a_labeler_whom_nobody_meets_is_unknown() -> None:
    assert reliability([]) == {}
    alone = [said(i, i, 1, 2 * i, 2 * i + 1) for i in range(1, 60)]
    assert reliability(alone) == {1: None}
    ties = [replace(c, answer=Answer(((2 * c.task_id, 2 * c.task_id + 1),), 0),
                    labeler_id=2, id=100 + c.id) for c in alone]
    assert reliability([*alone, *ties]) == {1: None, 2: None}


def test_little_evidence_gives_wide_intervals() -> None:
    few = reliability(table([[1, 1, 1], [-1, -1, -1]]))[1]
    assert few is not None and few.n == 2
    assert few.low < .35 and few.high > .9
    # Two labelers who agree on 75 of 100: it may be either's fault, or both's. So with three
    # who always meet each other the same agreement tells far more of each.
    two = reliability(table([[1, 1]] * 75 + [[1, -1]] * 25))[1]
    three = reliability(table([[1, 1, 1]] * 63 + [[1, 1, -1], [1, -1, 1], [-1, 1, 1]] * 12))[1]
    assert two is not None and two.low < .6 and two.high > .95
    assert three is not None and three.high - three.low < (two.high - two.low) / 2
    # And two who mostly contradict each other: one is wrong, and nothing tells which.
    for estimate in reliability(table([[1, 1]] * 30 + [[1, -1]] * 70)).values():
        assert estimate is not None and estimate.low < .2 and estimate.high > .8


def test_known_answers_judge_even_a_labeler_alone() -> None:
    answers = [said(i, i, 7, *((2 * i, 2 * i + 1) if i % 5 else (2 * i + 1, 2 * i)))
               for i in range(1, 101)]
    known = [(c, Answer(((2 * c.task_id,), (2 * c.task_id + 1,)))) for c in answers]
    found = reliability([], known)[7]
    assert found == reliability(answers, known)[7]
    assert found is not None and found.n == 100
    assert found.value == pytest.approx((80 + 2) / (100 + 3))  # the prior: 2 right, 1 wrong
    assert found.low < .8 < found.high < .9


def test_known_answers_settle_who_of_two_is_wrong() -> None:
    answers = table([[1, 1]] * 40 + [[1, -1]] * 40)
    known = [(c, Answer(((2 * c.task_id,), (2 * c.task_id + 1,)))) for c in answers
             if c.task_id % 4 == 0]
    first, second = reliability(answers, known).values()
    assert first is not None and second is not None
    assert first.low > second.high


def test_sides_and_ids_change_nothing() -> None:
    crew = simulate(np.random.default_rng(1), [Habits()] * 4, each=30)
    before = reliability(crew.comparisons)
    assert reliability([replace(c, shown=c.shown[::-1]) for c in crew.comparisons]) == before
    for labeler, estimate in reliability(mirrored(crew)).items():
        other = before[labeler]
        assert estimate is not None and other is not None
        assert estimate.value == pytest.approx(other.value, abs=1e-6)
        assert estimate.low == pytest.approx(other.low, abs=1e-5)


def mirrored(crew: Crew) -> list[Comparison]:
    """The same answers where the lower of two response ids has become the higher."""
    return [replace(c, answer=replace(c.answer, ranking=tuple(
        tuple(-i for i in group) for group in c.answer.ranking))) for c in crew.comparisons]


def test_a_ranking_weighs_as_its_independent_decisions() -> None:
    rng = np.random.default_rng(3)
    rankings: list[Comparison] = []
    pairs: list[Comparison] = []
    for task in range(1, 61):
        for labeler in (1, 2, 3):
            order = [3 * task + i for i in range(3)]
            if rng.random() < .3:
                rng.shuffle(order)
            rankings.append(said(len(rankings), task, labeler, *order))
            # The same as three tasks of one pair each, which they are not.
            pairs += [said(len(pairs) + i, 10 * task + i, labeler, v.winner or 0,
                           v.first + v.second - (v.winner or 0))
                      for i, v in enumerate(sorted(votes_of(rankings[-1]),
                                                   key=lambda v: (v.first, v.second)))]
    whole, parts = reliability(rankings)[1], reliability(pairs)[1]
    assert whole is not None and parts is not None
    assert whole.n == parts.n == 180
    assert whole.value == pytest.approx(parts.value, abs=.02)
    assert whole.high - whole.low > 1.15 * (parts.high - parts.low)
