"""What a dispute is listed as."""

from __future__ import annotations

from itertools import permutations

from annotate.leads.page_disputes import tally_of
from data.records import Answer

FOR_A, FOR_B = Answer(((1,), (2,)), 1), Answer(((2,), (1,)), 4)
TIE, BAD = Answer(((1, 2),), 0), Answer(((1, 2),), 0, "both_bad")


def test_sides_are_counted_in_one_order_whoever_leads() -> None:
    for answers in permutations((FOR_B, FOR_B, BAD, TIE, FOR_A)):
        assert tally_of(answers, (1, 2)) == "1 for A, 2 for B, 1 tie, 1 both bad"
    assert tally_of([FOR_B, FOR_A, FOR_A], (2, 1)) == "1 for A, 2 for B"  # in this page's letters


def test_rankings_are_counted_commonest_first() -> None:
    one, other = Answer(((1,), (2,), (3,))), Answer(((3,), (1, 2)))
    tie = Answer(((1, 2, 3),), 0)
    for answers in permutations((one, other, other, tie)):
        assert tally_of(answers, (1, 2, 3)) == "2 C > A = B, 1 A > B > C, 1 tie"
