"""Of many groups the largest are shown; a gain is over those votes that there is a word on."""

import math
from dataclasses import replace

import numpy as np
import pytest
from data_world import World
from reward_world import example

from reward.examples import from_store
from reward.report.figures import length_correlation, report
from reward.report.groups import AGREEMENT, MOST_GROUPS, Facts, agreement_of, groups
from reward.report.mistakes import MOST_MISTAKES, worst_mistakes
from reward.report.votes import Votes, Word, ratio


def test_of_many_groups_those_with_the_most_pairs_are_shown() -> None:
    """Labeler n has judged n pairs."""
    made, labelers = [], MOST_GROUPS + 4
    for labeler in range(1, labelers + 1):
        for n in range(labeler):
            one = example(100 * labeler + n, ["a", "b"], [(0, 1, 3)])
            made.append(replace(one, pairs=(replace(one.pairs[0], labeler_id=labeler),)))
    names = {n: f"Labeler {n}" for n in range(1, labelers + 1)}
    found = groups(Votes.of(made, {i: 0.0 for e in made for i in e.texts}),
                   Facts(labelers=names))["labeler"]
    assert [row["name"] for row in found["rows"]] == [
        names[n] for n in range(labelers, labelers - MOST_GROUPS, -1)]
    assert [row["accuracy"]["n"] for row in found["rows"]] == list(
        range(labelers, labelers - MOST_GROUPS, -1))
    assert found["left_out"] == 4


def test_rounds_are_told_of_from_the_newest_on_however_many_pairs_they_have(world: World) -> None:
    """A trend is not seen in the order of how much was labeled."""
    store, (me,) = world.store, world.people(1)
    for asked in (1, 3, 2):
        for _ in range(asked):
            world.choose(me, world.task(), 0)
        world.round = store.rounds.open(world.policy, world.reference)
    data = from_store(store)
    made = [*data.train, *data.held_out]
    found = groups(Votes.of(made, {i: 0.0 for e in made for i in e.texts}), Facts.from_store(store))
    assert [(row["name"], row["accuracy"]["n"]) for row in found["round"]["rows"]] == [
        ("round 2", 2), ("round 1", 3), ("round 0", 1)]


def test_votes_that_nothing_is_known_of_are_no_part_of_a_gain() -> None:
    """Not of its interval either: a prompt of such votes alone is as if it were not there."""
    rng = np.random.default_rng(0)
    made = [example(p, ["a", "b"], [(0, 1, 3)] * 3) for p in range(1, 41)]
    scores = {i: float(rng.normal()) for e in made for i in e.texts}
    votes, some = Votes.of(made, scores), Votes.of(made[:25], scores)
    over = rng.choice([0.0, 0.5, 1.0], len(some.pairs))
    whole = votes.gain(np.append(over, np.full(len(votes.pairs) - len(over), math.nan)))
    assert whole is not None and whole == some.gain(over) and whole.n == 75
    assert whole.value == pytest.approx(float((some.right - over).mean()))
    assert votes.gain(np.full(len(votes.pairs), math.nan)) is None
    known = np.arange(len(over)) % 3 > 0  # two votes of each prompt
    part = some.gain(np.where(known, over, math.nan))
    assert part is not None and part.n == 50
    assert part.value == pytest.approx(float((some.right - over)[known].mean()))
    one = ratio(np.array([1.0, 0.0]), np.array([1.0, 1.0]), np.array([0, 0]))
    assert (one.value, one.n, one.low, one.high) == (0.5, 2, -math.inf, math.inf)


def test_prompts_that_only_ties_are_known_of_change_no_figure_over_votes() -> None:
    """Nor its interval: they are no witnesses of what nobody decided there."""
    rng = np.random.default_rng(1)
    made = [example(p, ["a", "b b"], [(0, 1, 3), (1, 0, 2)][:1 + p % 2]) for p in range(1, 31)]
    tied = [example(p, ["a", "b b"], [(0, 1, 0)]) for p in range(31, 61)]
    mixed = [one for pair in zip(tied, made, strict=True) for one in pair]
    scores = {i: float(rng.normal()) for e in mixed for i in e.texts}
    alone, found = report(made, scores), report(mixed, scores)
    for name in ("held_out_accuracy", "calibration", "groups"):
        assert found[name] == alone[name]
    assert found["baselines"]["over_longer"] == alone["baselines"]["over_longer"]
    assert (found["ties"], alone["ties"]) == (30, 0)


def test_of_two_responses_nothing_is_said_and_equal_scores_are_no_mistake() -> None:
    two = [example(1, ["a", "bb"], [(0, 1, 3)])]
    assert length_correlation(two, {100: 1.0, 101: 0.0}) == {"pearson": None, "spearman": None}
    assert worst_mistakes(two, {100: 0.5, 101: 0.5}) == []
    assert len(worst_mistakes(two, {100: 0.5, 101: 0.6})) == 1


def test_mistakes_are_the_worst_of_each_prompt_and_of_all_prompts() -> None:
    rng = np.random.default_rng(2)
    made = [example(p, ["a", "b", "c", "d"], [(0, 1, 3), (2, 3, 3), (0, 3, 3)])
            for p in range(1, 61)]
    scores = {i: float(rng.normal()) for e in made for i in e.texts}
    gaps = sorted(min(scores[p.chosen_id] - scores[p.rejected_id] for p in e.pairs) for e in made)
    assert sum(gap < 0 for gap in gaps) > MOST_MISTAKES
    found = worst_mistakes(made, scores)
    assert [m["chosen_score"] - m["rejected_score"] for m in found] == gaps[:MOST_MISTAKES]


def test_a_labeler_who_answered_twice_agrees_with_nobody() -> None:
    once, twice = [Word(1, 100)], [Word(1, 100), Word(1, 101)]
    assert agreement_of(once) == agreement_of(twice) == [AGREEMENT[2]]
