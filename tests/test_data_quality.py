"""A lead's figures against hand counts; alarms against crews whose habits are planted."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from crew_world import (
    ALWAYS_LEFT,
    ALWAYS_LONGER,
    CAREFUL,
    NOISY,
    RANDOM,
    TOO_FAST,
    Crew,
    Habits,
    simulate,
)

from data.measures import quality
from data.measures.agreement import percent_agreement
from data.measures.alarms import Alarm, careless, least_answers
from data.measures.reliability import reliability
from data.measures.statistics import Estimate
from data.measures.votes import shared_votes
from data.records import Answer, Comparison

LENGTHS = {1: 300, 2: 500, 3: 200}


def said(number: int, ranking: tuple[tuple[int, ...], ...], *, seconds: float = 0.0,
         active: float | None = None, shown: tuple[int, ...] = (), labeler: int = 1) -> Comparison:
    return Comparison(number, number, labeler, 1,
                      Answer(ranking, seconds=seconds, active_seconds=active), shown,
                      str(number), "")


def value(estimate: Estimate | None) -> tuple[float, int]:
    assert estimate is not None
    assert estimate.low <= estimate.value <= estimate.high
    return estimate.value, estimate.n


def test_self_agreement_is_by_response_whatever_the_side() -> None:
    first = said(1, ((1,), (2,)), shown=(1, 2))
    same, other = said(2, ((1,), (2,)), shown=(2, 1)), said(3, ((2,), (1,)), shown=(2, 1))
    tie = said(4, ((1, 2),))
    assert quality.self_agreement([]) is None
    assert value(quality.self_agreement([(first, same), (first, other), (first, tie),
                                         (tie, tie)])) == (.5, 4)


def test_a_ranking_earns_the_share_of_the_pairs_it_has_right() -> None:
    known = Answer(((1,), (2,), (3,)))
    assert value(quality.gold_accuracy([(said(1, ((1,), (2,), (3,))), known)])) == (1, 3)
    assert value(quality.gold_accuracy([(said(1, ((1,), (3,), (2,))), known)])) == (2 / 3, 3)
    # A tie is half right; of pairs on which the known answer is a tie, nothing is asked.
    assert value(quality.gold_accuracy([(said(1, ((1,), (2, 3))), known)])) == (2.5 / 3, 3)
    assert value(quality.gold_accuracy([(said(1, ((1,), (2,), (3,))),
                                         Answer(((1,), (2, 3))))])) == (1, 2)
    assert quality.gold_accuracy([(said(1, ((1,), (2,))), Answer(((1, 2),), 0))]) is None
    withdrawn = said(1, ((1,), (2,)))
    withdrawn = replace(withdrawn, answer=replace(withdrawn.answer, verdict="withdrawn"))
    assert quality.gold_accuracy([(withdrawn, Answer(((1,), (2,))))]) is None


def test_time_is_the_median_without_idle_time() -> None:
    answers = [said(i, ((1,), (2,)), seconds=s, active=a) for i, (s, a) in enumerate(
        [(10, None), (900, 20), (30, None), (0, None), (40, 40), (50, 0.0)], 1)]
    assert quality.seconds_per_task(answers) is not None
    assert value(quality.seconds_per_task(answers)) == (25, 4)  # 10, 20, 30, 40; two are unknown
    speed = quality.characters_per_second([*answers[:3], said(9, ((1,), (2,), (3,)), seconds=10)],
                                          LENGTHS)
    assert value(speed) == (60, 4)  # 80, 40, 26.7 and 1000 characters in 10 s
    assert quality.seconds_per_task([said(1, ((1,), (2,)))]) is None


def test_figures_are_those_of_each_labeler() -> None:
    crew = simulate(np.random.default_rng(2), [CAREFUL, CAREFUL, NOISY, ALWAYS_LEFT], each=60,
                    golds=10, repeats=8)
    found = quality.figures(crew.comparisons, crew.lengths, crew.repeats, crew.gold)
    assert list(found) == [1, 2, 3, 4]
    relied = reliability(crew.comparisons, crew.gold)
    for labeler, figures in found.items():
        mine = [c for c in crew.comparisons if c.labeler_id == labeler]
        assert figures.answers == len(mine)
        assert figures.reliability == relied[labeler]
        assert figures.gold == quality.gold_accuracy(
            [known for known in crew.gold if known[0].labeler_id == labeler])
        assert figures.self_agreement is not None and figures.self_agreement.n == 8
        assert figures.seconds == quality.seconds_per_task(mine)
        assert value(figures.ties)[0] == pytest.approx(
            np.mean([len(c.answer.ranking) == 1 for c in mine]))
    assert value(found[4].left)[0] > .85 > value(found[1].left)[0]
    assert value(found[1].reliability)[0] > value(found[3].reliability)[0]
    assert quality.figures([], {}) == {}


def kinds(alarms: Sequence[Alarm]) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    for alarm in alarms:
        found.setdefault(alarm.labeler_id, set()).add(alarm.kind)
    return found


def alarms_of(crew: Crew) -> list[Alarm]:
    return careless(crew.comparisons, crew.lengths, crew.repeats, crew.gold)


@pytest.mark.parametrize(("habits", "kind", "each", "least"), [
    (ALWAYS_LEFT, "always-left", 60, 20),
    (ALWAYS_LONGER, "always-longer", 60, 20),
    (TOO_FAST, "too-fast", 60, 20),
    (RANDOM, "random", 80, 19),
    (NOISY, "random", 100, 18),
])
def test_one_careless_labeler_among_eight_is_found(habits: Habits, kind: str, each: int,
                                                   least: int) -> None:
    """In 20 rounds, and hardly ever somebody else; a tenth of the tasks is gold, a tenth comes
    again. Guessing four times out of ten still leaves much agreement, so it takes more answers."""
    rng, found, others = np.random.default_rng(3), 0, 0
    for _ in range(20):
        crew = simulate(rng, [CAREFUL] * 3 + [habits] + [CAREFUL] * 4, each=each, overlap=2,
                        golds=each // 10, repeats=each // 10)
        raised = kinds(alarms_of(crew))
        found += kind in raised.get(4, ())
        others += bool(raised.keys() - {4})
    assert found >= least
    assert others <= 2


def test_a_clean_crew_raises_no_alarm() -> None:
    """Of 200 rounds at most 10 may; people differ in care, pace, ties and taste for length."""
    rng, raised = np.random.default_rng(4), Counter[str]()
    rounds = 0
    for i in range(200):
        people = [Habits(accuracy=rng.uniform(.8, .9), longer=rng.uniform(0, .15),
                         tie=rng.uniform(0, .25), steady=rng.uniform(.6, .9),
                         characters_per_second=rng.uniform(12, 45)) for _ in range(8)]
        crew = simulate(rng, people, each=60 + 20 * (i % 2), overlap=2 + i % 2, golds=6, repeats=6)
        alarms = alarms_of(crew)
        rounds += bool(alarms)
        raised.update(alarm.kind for alarm in alarms)
    assert rounds <= 10, raised


def test_somebody_a_little_less_careful_raises_no_alarm_however_much_they_answer() -> None:
    """With so many answers the difference is beyond chance, but it is no carelessness."""
    people = [Habits(accuracy=.8, steady=.7)] + [CAREFUL] * 5
    crew = simulate(np.random.default_rng(10), people, each=1500, golds=100, repeats=100)
    found = quality.figures(crew.comparisons, crew.lengths, crew.repeats, crew.gold)
    lowest, *others = (found[labeler].reliability for labeler in range(1, 7))
    assert lowest is not None and all(o is not None and lowest.high < o.value for o in others)
    assert alarms_of(crew) == []


def test_five_careless_of_eight_are_told_apart() -> None:
    crew = simulate(np.random.default_rng(1), [CAREFUL] * 3 + [
        NOISY, ALWAYS_LEFT, ALWAYS_LONGER, RANDOM, TOO_FAST], each=120, golds=15, repeats=12)
    raised = kinds(alarms_of(crew))
    assert not raised.keys() & {1, 2, 3}
    for labeler, kind in enumerate(("random", "always-left", "always-longer", "random",
                                    "too-fast"), 4):
        assert kind in raised[labeler]
    relied = reliability(crew.comparisons, crew.gold)
    lowest = min(value(relied[labeler])[0] for labeler in (1, 2, 3))
    assert max(value(relied[labeler])[0] for labeler in (4, 5, 7)) < lowest


def test_what_the_whole_crew_does_is_nobodys_alarm() -> None:
    """All prefer the longer, the page favours the left, and all skim: only a lead can say why."""
    rng, rounds = np.random.default_rng(5), 0
    habits = Habits(longer=.6, left=.15, characters_per_second=60)
    for _ in range(20):
        rounds += bool(alarms_of(simulate(rng, [habits] * 8, each=60, longer_is_better=.8)))
    assert rounds <= 2


def test_the_opposite_habits_have_names_too() -> None:
    rng = np.random.default_rng(6)
    crew = simulate(rng, [Habits(left=1)] + [CAREFUL] * 4, each=60)
    turned = [replace(c, shown=c.shown[::-1]) if c.labeler_id == 1 else c
              for c in crew.comparisons]
    assert "always-right" in kinds(careless(turned, crew.lengths))[1]
    crew = simulate(rng, [Habits(longer=1)] + [CAREFUL] * 4, each=60)
    size = max(crew.lengths.values())
    shorter = {i: size + 1 - n for i, n in crew.lengths.items()}
    assert "always-shorter" in kinds(careless(crew.comparisons, shorter))[1]
    crew = simulate(rng, [Habits(tie=.95)] + [CAREFUL] * 4, each=60)
    assert "always-tie" in kinds(alarms_of(crew))[1]


def test_an_alarm_shows_its_evidence() -> None:
    crew = simulate(np.random.default_rng(7), [ALWAYS_LEFT, RANDOM, TOO_FAST] + [CAREFUL] * 5,
                    each=100, golds=12, repeats=10)
    alarms = {(alarm.labeler_id, alarm.kind): alarm for alarm in alarms_of(crew)}
    left = alarms[1, "always-left"]
    decided = [c for c in crew.comparisons if c.labeler_id == 1 and c.winner is not None]
    won = sum(c.winner == c.shown[0] for c in decided)
    assert left.evidence.startswith(
        f"chose the one shown first (left) in {won} of {len(decided)} decided pairs (the crew: ")
    assert left.share.value == won / len(decided) and left.share.n == len(decided)
    assert left.crew is not None and .4 < left.crew.value < .6
    assert left.p < 1e-6
    random = alarms[2, "random"].evidence
    for words in ("agrees with the others in ", "known answers right", "repeats"):
        assert words in random
    fast = alarms[3, "too-fast"].evidence
    mine = [c for c in crew.comparisons if c.labeler_id == 3]
    pace = quality.seconds_per_task(mine)
    assert pace is not None
    assert f"median {pace.value:.1f} s for " in fast
    assert fast.endswith(" characters/s; reading speed is 15–50")
    assert [alarm.labeler_id for alarm in alarms_of(crew)] == sorted(
        alarm.labeler_id for alarm in alarms_of(crew))
    assert alarms_of(crew) == alarms_of(crew)


def test_the_crew_in_the_evidence_is_counted_as_the_page_says() -> None:
    """Without whoever stands out, and without ties: not what the round's own figures count."""
    sloppy = replace(CAREFUL, tie=.3)
    crew = simulate(np.random.default_rng(7), [ALWAYS_LEFT, RANDOM] + [sloppy] * 6, each=100,
                    golds=12, repeats=30)
    alarms = alarms_of(crew)
    suspects = set(kinds(alarms))
    assert suspects == {1, 2}
    evidence, = (a.evidence for a in alarms if (a.labeler_id, a.kind) == (2, "random"))
    apart = {c.id for c, _ in crew.gold} | {again.id for _, again in crew.repeats}
    blind = [c for c in crew.comparisons if c.id not in apart]
    same, pairs = 0, 0
    for votes in shared_votes(c for c in blind if c.labeler_id not in suspects):
        for one, other in combinations(votes, 2):
            if one.winner is not None and other.winner is not None:
                same, pairs = same + (one.winner == other.winner), pairs + 1
    both = [(a.winner, b.winner) for a, b in crew.repeats
            if a.labeler_id not in suspects and a.winner and b.winner]
    again = sum(a == b for a, b in both)
    assert re.search(r"agrees with the others in \d+ of \d+ pairs that both decided "
                     rf"\(the crew: {100 * same / pairs:.0f} %\)", evidence)
    assert re.search(r"named the same winner in \d+ of \d+ repeats decided both times "
                     rf"\(the crew: {100 * again / len(both):.0f} %\)", evidence)
    everybody = percent_agreement(blind)
    assert everybody is not None and everybody.value < same / pairs - .1  # the page says why


def test_a_labeler_alone_is_held_against_what_is_harmless_anyway() -> None:
    answers = [said(i, ((2 * i,), (2 * i + 1,)), seconds=1.0, shown=(2 * i, 2 * i + 1))
               for i in range(1, 41)]
    found = careless(answers, dict.fromkeys(range(100), 300))
    assert [alarm.kind for alarm in found] == ["always-left", "too-fast"]
    assert all(alarm.crew is None and "nobody to compare with" in alarm.evidence
               for alarm in found)
    assert careless(answers[:5], dict.fromkeys(range(100), 300)) == []
    assert careless([], {}) == []


def test_from_so_many_answers_on_the_same_side_always_is_an_alarm() -> None:
    answers = [said(i, ((2 * i,), (2 * i + 1,)), shown=(2 * i, 2 * i + 1)) for i in range(1, 41)]
    lengths = dict.fromkeys(range(100), 300)
    found = careless(answers[:least_answers(1)], lengths)
    assert [alarm.kind for alarm in found] == ["always-left"]
    assert careless(answers[:least_answers(1) // 2], lengths) == []
    assert least_answers(8) > least_answers(1)


def test_known_answers_of_others_are_crew_but_raise_no_alarm() -> None:
    crew = simulate(np.random.default_rng(8), [RANDOM] * 2 + [CAREFUL] * 5, each=10, golds=40)
    first = [c for c in crew.comparisons if c.labeler_id == 1]
    assert kinds(careless(first, crew.lengths, (), crew.gold)) == {1: {"gold", "random"}}
    assert careless([], crew.lengths, crew.repeats, crew.gold) == []


def test_sides_and_order_of_answers_change_no_alarm_but_lefts() -> None:
    crew = simulate(np.random.default_rng(9), [RANDOM, TOO_FAST] + [CAREFUL] * 4, each=80,
                    golds=8, repeats=8)
    turned = {c.id: replace(c, shown=c.shown[::-1]) for c in crew.comparisons}
    again = careless([*turned.values()][::-1], crew.lengths,
                     [(turned[a.id], turned[b.id]) for a, b in crew.repeats],
                     [(turned[c.id], answer) for c, answer in crew.gold])
    assert kinds(again).keys() >= {1, 2}
    assert again == alarms_of(crew)
