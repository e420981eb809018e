"""People who click through, found by tests that a crew without any of them passes.

An alarm asks two things of a labeler's share of something, both against the rest of the crew: that
chance alone would hardly give it (exact tests, corrected by Holm for all labelers and checks
together, so that at least 95 of 100 careful crews raise no alarm at all), and that it lies far on
the way from the crew's share to a careless person's. The second matters with many answers, where
any harmless difference between two people is significant. What the whole crew does, such as
preferring the longer response, is nobody's alarm.

Who raises an alarm is crew no longer, and everybody is tested again against those who are left,
until nobody new is found: a labeler who clicks at random spoils the others' agreement. In a careful
crew the first pass decides whether there is any alarm, so this adds no false ones to the 5 %.

Tasks are taken to be handed out at random. Where some labelers get harder ones than others, as in
different rounds, ask for each round by itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from data.measures.checks import Check, Measure, Side, checks_of
from data.measures.significance import Counts, Tails, binomial, fisher, holm, information
from data.measures.statistics import CONFIDENCE, Estimate
from data.measures.votes import Gold, Repeat
from data.records import Comparison

#: What an alarm's figures leave out that a round's count, to stand beside them.
COUNTED = ("Here the crew is everybody else who does not stand out, and agreement and repeats "
           "count only where a winner was named both times. The figures below count everybody, "
           "and ties too, so they differ.")


@dataclass(frozen=True)
class Alarm:
    """One way in which a labeler looks careless, and what speaks for it."""

    labeler_id: int
    kind: str
    """always-left, always-right, always-longer, always-shorter, always-tie, too-fast, random,
    inconsistent or gold."""
    share: Estimate
    """The labeler's share of what the kind is about; for random, of agreement with the others."""
    crew: Estimate | None
    """The others' share of the same; None where there is nobody to compare with."""
    p: float
    """How likely a careful crew is to raise any alarm as strong as this one, all checks counted."""
    evidence: str
    """The figures in words; whose they are is for the caller to put before them."""


def careless(comparisons: Iterable[Comparison], lengths: Mapping[int, int],
             repeats: Iterable[Repeat] = (), gold: Iterable[Gold] = ()) -> list[Alarm]:
    """The alarms that these answers raise, by labeler id, the strongest first.

    `lengths` holds the characters of every response. The answers in `repeats` (first, again) and
    `gold` (answer, right answer) may be among the comparisons or not; labelers who have no other
    raise no alarm, but others are held against them. Labelers who are not people count like
    people: leave out whom the crew should not be measured by.
    """
    answers = sorted(comparisons, key=lambda c: c.id)
    again, checked = list(repeats), list(gold)
    checks = checks_of(answers, lengths, again, checked)
    labelers = {c.labeler_id for c in answers}
    everybody = labelers | {c.labeler_id for c, _ in [*checked, *again]}
    crew, alarms = everybody, dict[tuple[int, str], Alarm]()
    while found := _alarms(checks, labelers, crew):
        alarms.update(((alarm.labeler_id, alarm.kind), alarm) for alarm in found)
        left = everybody - {labeler for labeler, _ in alarms}
        if left == crew:
            break
        crew = left
    return sorted(alarms.values(), key=lambda alarm: (alarm.labeler_id, alarm.p))


def least_answers(labelers: int) -> int:
    """How many answers the clearest habit, the same side always, needs to be told from chance in a
    crew of so many; where nobody has given as many, silence clears nobody.

    n decided pairs that all went one way have a chance of 0.5**n, which Holm multiplies by no more
    than the weights of all checks of all labelers. (Held against a small crew, it takes a few
    answers more.)
    """
    weights = sum(check.weight for check in checks_of([], {}, [], []))
    return math.ceil(math.log2(labelers * weights / (1 - CONFIDENCE)))


@dataclass(frozen=True)
class _Finding:
    """What one check found of one labeler."""

    labeler: int
    check: Check
    sides: list[tuple[Measure, Side, Side]]
    """Of every measure with outcomes: the labeler's, the crew's."""
    chance: float
    """The p-value of this test alone."""
    far: bool
    """Whether the share is far on the way from the crew's to a careless person's."""

    def alarm(self, p: float) -> Alarm:
        _, own, others = self.sides[0]
        share = own.estimate()
        assert share is not None  # there is no finding without outcomes
        words = [measure.evidence(own, crew) for measure, own, crew in self.sides]
        if self.check.detail is not None:
            words.append(self.check.detail(self.labeler))
        return Alarm(self.labeler, self.check.kind, share, others.estimate(), p, "; ".join(words))


def _alarms(checks: Sequence[Check], labelers: set[int], crew: set[int]) -> list[Alarm]:
    """One pass over all labelers, with p-values corrected for all that was tested."""
    found = []
    for labeler in sorted(labelers):
        # Several checks look at one measure.
        sides = {measure: measure.sides(labeler, crew)
                 for measure in dict.fromkeys(m for check in checks for m in check.measures)}
        found += [finding for check in checks
                  if (finding := _test(check, labeler, sides)) is not None]
    corrected = holm([finding.chance for finding in found],
                     [finding.check.weight for finding in found])
    return [finding.alarm(p) for finding, p in zip(found, corrected, strict=True)
            if finding.far and p <= 1 - CONFIDENCE]


def _test(check: Check, labeler: int,
          of_measure: Mapping[Measure, tuple[Side, Side]]) -> _Finding | None:
    """One labeler against the rest of the crew; None where there is nothing to test."""
    sides = [(measure, *of_measure[measure]) for measure in check.measures]
    compared = [side for side in sides if side[1].counts.n and side[2].counts.n]
    if check.harmless is None or compared:
        sides = compared
    ours = [own.counts for _, own, _ in sides]
    total = Counts(sum(c.successes for c in ours), sum(c.n for c in ours))
    if total.n == 0:
        return None
    chances, share, expected = [], total.successes / total.n, check.harmless or 0.0
    if compared:
        chances.append(_tail(fisher((own.counts, crew.counts) for _, own, crew in sides), check))
        # Outcomes weigh as in the test; the crew had as many of each measure as the labeler.
        weights = [own.counts.n * information(own.counts, crew.counts) for _, own, crew in sides]
        share = sum(weight * own.counts.successes / own.counts.n
                    for weight, (_, own, _) in zip(weights, sides, strict=True)) / sum(weights)
        expected = sum(weight * float(crew.values.mean())
                       for weight, (_, _, crew) in zip(weights, sides, strict=True)) / sum(weights)
    if check.harmless is not None:
        chances.append(_tail(binomial(total, check.harmless), check))
    way = (share - expected) / (check.careless - expected) if check.careless != expected else 0.0
    return _Finding(labeler, check, sides, max(chances), way > check.far)


def _tail(tails: Tails, check: Check) -> float:
    return tails.many if check.careless == 1 else tails.few
