"""Agreement and habits against hand counts and the krippendorff library."""

from dataclasses import replace
from itertools import combinations

import krippendorff
import numpy as np
import pytest
from crew_world import CAREFUL, NOISY, Crew, simulate
from data_world import World, user

from data.measures import agreement, votes
from data.measures.breakdowns import by
from data.measures.statistics import clustered_mean
from data.records import Answer, Comparison, Message


def test_percent_agreement_counts_pairs_of_labelers(world: World) -> None:
    ann, bob, cat = world.people(3)
    first, second, alone = world.task(), world.task(), world.task()
    for labeler, winner in ((ann, 0), (bob, 0), (cat, 1)):
        world.choose(labeler, first, winner)  # 1 of 3 agree
    world.choose(ann, second, None)
    world.choose(bob, second, None)  # two ties agree
    world.choose(ann, alone, 1)  # nobody to agree with
    found = agreement.percent_agreement(world.store.comparisons.current())
    assert found is not None
    assert (found.value, found.n) == (0.5, 4)
    assert found.low < .5 < found.high


def test_one_task_says_nothing_of_how_tasks_differ(world: World) -> None:
    ann, bob = world.people(2)
    task = world.task(("a", "b", "c"))
    first, second, third = task.response_ids
    world.answer(ann, task, Answer(((first,), (second,), (third,))))
    world.answer(bob, task, Answer(((first,), (third,), (second,))))
    found = agreement.krippendorff_alpha(world.store.comparisons.current())
    assert found is not None and found.value < 1 and not found.bounded


def test_a_tie_disagrees_with_a_winner_and_nothing_gives_none(world: World) -> None:
    ann, bob = world.people(2)
    assert agreement.percent_agreement([]) is None
    assert agreement.krippendorff_alpha([]) is None
    assert agreement.first_shown_wins([]) is None
    task = world.task()
    world.choose(ann, task, 0)
    world.choose(bob, task, None)
    found = agreement.percent_agreement(world.store.comparisons.current())
    assert found is not None and found.value == 0


def test_a_ranking_counts_as_all_its_pairs(world: World) -> None:
    ann, bob = world.people(2)
    task = world.task(("a", "b", "c"))
    a, b, c = task.response_ids
    world.answer(ann, task, Answer(((a,), (b,), (c,))))
    world.answer(bob, task, Answer(((a,), (c,), (b,))))
    found = agreement.percent_agreement(world.store.comparisons.current())
    assert found is not None
    assert (found.value, found.n) == (pytest.approx(2 / 3), 3)


def test_only_current_answers_count_whatever_side_they_were_shown_on(world: World) -> None:
    ann, bob = world.people(2)
    task = world.task()
    world.choose(ann, task, 0)
    old = world.choose(bob, task, 1)
    first, second = task.response_ids
    world.store.comparisons.submit(bob.id, task, Answer(((first,), (second,))), "again",
                                   old.revision)
    found = agreement.percent_agreement(world.store.comparisons.current())
    assert found is not None and (found.value, found.n) == (1.0, 1)


def _noisy(world: World, tasks: int, agree: float, lean: float = .5) -> list[list[int]]:
    """Three labelers over pairs: each says the truth with a chance; returns outcomes by task."""
    rng, people, said = np.random.default_rng(5), world.people(3), []
    for _ in range(tasks):
        task, truth = world.task(), int(rng.random() < lean)
        outcomes = [truth if rng.random() < agree else int(rng.integers(3)) for _ in people]
        for labeler, outcome in zip(people, outcomes, strict=True):
            world.choose(labeler, task, None if outcome == 2 else outcome)
        said.append(outcomes)
    return said


def test_alpha_is_the_librarys_over_both_orders(world: World) -> None:
    said = _noisy(world, 60, .6)
    mirrored = [[(1, 0, 2)[o] for o in outcomes] for outcomes in said]
    expected = krippendorff.alpha(reliability_data=np.array(said + mirrored).T.tolist(),
                                  level_of_measurement="nominal")
    found = agreement.krippendorff_alpha(world.store.comparisons.current())
    assert found is not None
    assert found.value == pytest.approx(expected, abs=1e-12)
    assert found.n == 180
    assert found.low < found.value < found.high
    assert found == agreement.krippendorff_alpha(world.store.comparisons.current())


def test_alphas_own_formula_is_the_librarys() -> None:
    rng = np.random.default_rng(6)
    for _ in range(20):
        counts = rng.integers(0, 4, size=(12, 3)).astype(float)
        counts = counts[counts.sum(axis=1) > 1]
        mine = agreement._alpha_of(agreement._coincidences(counts).sum(axis=0))
        assert mine == pytest.approx(krippendorff.alpha(
            value_counts=counts, level_of_measurement="nominal"), abs=1e-12)


def test_a_policy_that_always_wins_is_no_disagreement(world: World) -> None:
    """By response id alone nearly everything is one outcome, and plain alpha would fall to 0."""
    said = _noisy(world, 60, .9, lean=.98)
    plain = krippendorff.alpha(reliability_data=np.array(said).T.tolist(),
                               level_of_measurement="nominal")
    found = agreement.krippendorff_alpha(world.store.comparisons.current())
    share = agreement.percent_agreement(world.store.comparisons.current())
    assert found is not None and share is not None
    assert plain < .3 < .6 < found.value
    assert share.value > .8


def test_agreement_by_strength_asks_about_each_ones_word(world: World) -> None:
    ann, bob = world.people(2)
    clear, close = world.task(), world.task()
    world.choose(ann, clear, 0, strength=4)
    world.choose(bob, clear, 0, strength=4)
    world.choose(ann, close, 0, strength=1)
    world.choose(bob, close, 1, strength=4)
    found = agreement.agreement_by_strength(world.store.comparisons.current())
    assert {s: (e.value, e.n) for s, e in found.items()} == {
        1: (0.0, 1), 4: (pytest.approx(2 / 3), 3)}


def test_first_shown_and_longer_wins(world: World) -> None:
    (ann,) = world.people(1)
    firsts = longer = 0
    for i in range(30):
        task = world.task(("short", "much longer"))
        shown = world.store.assignments.assign(task.id, ann.id).shown
        winner = 0 if i % 3 else 1
        world.choose(ann, task, winner)
        firsts += task.response_ids[winner] == shown[0]
        longer += winner
    world.choose(ann, world.task(), None)  # a tie is not decided
    world.choose(ann, world.task(("same", "size")), 0)
    answers = world.store.comparisons.current()
    ids = {i for c in answers for group in c.answer.ranking for i in group}
    first, length = (agreement.first_shown_wins(answers[:31]),
                     agreement.longer_wins(answers, world.store.responses.lengths(ids)))
    assert first is not None and length is not None
    assert (first.value, first.n) == (firsts / 30, 30)
    assert (length.value, length.n) == (longer / 30, 30)


@pytest.fixture(scope="module")
def crew() -> Crew:
    return simulate(np.random.default_rng(8), [CAREFUL, CAREFUL, NOISY, NOISY], each=40, overlap=3)


def outcomes(answers: list[Comparison]) -> dict[int, dict[int, int]]:
    """By task and labeler: 1 the lower response id won, −1 the higher, 0 a tie."""
    found: dict[int, dict[int, int]] = {}
    for c in answers:
        best = c.answer.ranking[0]
        found.setdefault(c.task_id, {})[c.labeler_id] = (
            0 if len(best) > 1 else 1 if best[0] == 2 * c.task_id else -1)
    return found


def test_groups_are_held_against_everybody_by_brute_force(crew: Crew) -> None:
    answers, said = crew.comparisons, outcomes(crew.comparisons)
    for labeler, found in by(answers, lambda c: [c.labeler_id], crew.lengths).items():
        pairs = [(votes[labeler], votes[other]) for votes in said.values() if labeler in votes
                 for other in votes if other != labeler]
        assert found.agreement is not None and found.alpha is not None
        assert found.answers == sum(labeler in votes for votes in said.values())
        assert found.agreement.n == len(pairs)
        assert found.agreement.value == pytest.approx(np.mean([a == b for a, b in pairs]))
        both = np.array(pairs + [(-a, -b) for a, b in pairs]).T.tolist()
        assert found.alpha.value == pytest.approx(krippendorff.alpha(
            reliability_data=both, level_of_measurement="nominal"), abs=1e-12)
        mine = [c for c in answers if c.labeler_id == labeler]
        assert found.left == agreement.first_shown_wins(mine)
        assert found.longer == agreement.longer_wins(mine, crew.lengths)
    for strength, found in by(answers, lambda c: [c.answer.strength], crew.lengths).items():
        used = {(c.task_id, c.labeler_id) for c in answers if c.answer.strength == strength}
        equal = [votes[i] == votes[j] for task, votes in said.items()
                 for i, j in combinations(votes, 2) if {(task, i), (task, j)} & used]
        assert found.agreement is not None
        assert found.agreement.n == len(equal)
        assert found.agreement.value == pytest.approx(np.mean(equal))


def test_groups_of_whole_tasks_are_those_tasks_alone(crew: Crew) -> None:
    tags = {0: ("even",), 1: ("odd", "all"), 2: ("even", "all")}
    found = by(crew.comparisons, lambda c: tags.get(c.task_id % 4, ()), crew.lengths)
    assert set(found) == {"even", "odd", "all"}
    for tag, got in found.items():
        alone = [c for c in crew.comparisons if tag in tags.get(c.task_id % 4, ())]
        assert got.answers == len(alone)
        assert got.agreement == agreement.percent_agreement(alone)
        assert got.alpha == agreement.krippendorff_alpha(alone)


def test_display_order_changes_nothing_but_the_left_share(crew: Crew) -> None:
    turned = [replace(c, shown=c.shown[::-1]) for c in crew.comparisons]
    before, after = (by(answers, lambda c: [c.labeler_id], crew.lengths)
                     for answers in (crew.comparisons, turned))
    for labeler, found in before.items():
        left, other = found.left, after[labeler].left
        assert left is not None and other is not None
        assert other.value == pytest.approx(1 - left.value)
        assert replace(after[labeler], left=left) == found


def test_the_votes_of_one_pair_are_matched_by_response(crew: Crew) -> None:
    one = crew.comparisons[0]
    a, b = 2 * one.task_id, 2 * one.task_id + 1
    turned = replace(one, answer=Answer(((b,), (a,))))
    ((before, after),) = votes.same_pairs(replace(one, answer=Answer(((a,), (b,)))), turned)
    assert (before.winner, after.winner) == (a, b)
    assert votes.same_pairs(one, replace(one, answer=Answer(((998,), (999,))))) == []


def test_win_rate_is_of_policy_against_reference(world: World) -> None:
    ann, bob = world.people(2)
    (robot,) = world.people(1, kind="simulated")
    assert agreement.win_rate(world.store, world.round.id) is None
    for winner in (1, 1, 1, 0, None):
        task = world.task(purpose="evaluate", wanted=3)
        world.choose(ann, task, winner)
        world.choose(bob, task, winner)
        world.choose(robot, task, 0)
    world.choose(ann, world.task(), 0)  # not an evaluation
    people = agreement.win_rate(world.store, world.round.id, ("human",))
    assert people is not None
    assert (people.value, people.n) == (0.7, 10)
    everyone = agreement.win_rate(world.store, world.round.id)
    assert everyone is not None and (everyone.value, everyone.n) == (pytest.approx(7 / 15), 15)


def test_what_begins_alike_is_one_witness_of_a_win_rate(world: World) -> None:
    (ann,), further = world.people(1), [Message(role="assistant", content="and?"), *user("more")]
    won = [0, 0, 1, 1, 1, 1, 0, 1, 0, 0]
    for number, winner in enumerate(won):
        task = world.task(purpose="evaluate", prompt=f"tell {number // 2}",
                          further=further if number % 2 else ())
        world.choose(ann, task, winner)
    found = agreement.win_rate(world.store, world.round.id)
    assert found == clustered_mean([float(w) for w in won], [n // 2 for n in range(10)])
    assert found != clustered_mean([float(w) for w in won], range(10))


def test_a_round_of_the_reference_has_no_win_rate(world: World) -> None:
    again = world.store.rounds.open(world.reference, world.reference)
    assert agreement.win_rate(world.store, again.id) is None
