"""Answers between buttons, records and words: nothing may change its winner on the way."""

from __future__ import annotations

from itertools import permutations

import pytest

from annotate.choices import (
    PAIR_CHOICES,
    PLAIN_CHOICES,
    Choice,
    choice_of,
    choices_for,
    in_words,
    ranked,
    ranking_of,
    ranking_of_tiers,
    same_answer,
    tiers_of,
)
from data.errors import BadInput
from data.questions import Question
from data.records import Answer


@pytest.mark.parametrize("choice", PAIR_CHOICES, ids=lambda choice: choice.name)
@pytest.mark.parametrize("shown", [(7, 3), (3, 7)])
def test_a_choice_and_its_answer_say_the_same(choice: Choice, shown: tuple[int, ...]) -> None:
    answer = Answer(ranking_of(choice, shown), choice.strength, choice.verdict)
    assert choice_of(answer, shown) == choice
    assert in_words(answer, shown).lower() == choice.label.lower()
    if choice.better is not None:
        assert answer.ranking[0] == (shown[choice.better],)


def test_the_keys_lie_from_a_over_the_tie_to_b() -> None:
    assert "".join(choice.key for choice in PAIR_CHOICES) == "1234567890"
    assert [c.strength for c in PAIR_CHOICES[:9]] == [4, 3, 2, 1, 0, 1, 2, 3, 4]
    assert [c.better for c in PAIR_CHOICES] == [0] * 4 + [None] + [1] * 4 + [None]
    assert [c.label for c in PAIR_CHOICES[:2]] == ["A significantly better", "A better"]
    assert "".join(choice.key for choice in PLAIN_CHOICES) == "1230"


def test_a_lead_decides_what_is_offered() -> None:
    assert choices_for(Question()) == PAIR_CHOICES
    names = {c.name for c in choices_for(Question(scale="plain", tie=False))}
    assert names == {"a-better", "b-better", "both-bad"}
    assert len(choices_for(Question(both_bad=False))) == 9


def test_tiers_become_groups_and_come_back() -> None:
    for shown in permutations((40, 10, 30, 20)):
        tiers = [[1], [0, 3], [2]]
        answer = Answer(ranking_of_tiers(tiers, shown))
        assert answer.ranking == ((shown[1],), (shown[0], shown[3]), (shown[2],))
        assert tiers_of(answer, shown) == tiers
        assert in_words(answer, shown) == "B > A = D > C"


def test_ties_are_taken_where_they_are_asked_for_or_stood_before() -> None:
    shown, strict = (40, 10, 30, 20), Question(tie=False)
    assert ranked([[1], [0, 3], [2]], shown, Question()) == (((10,), (40, 20), (30,)), 3, "ranked")
    assert ranked([[0, 1, 2, 3]], shown, Question()) == ((shown,), 0, "ranked")
    assert ranked([[3], [2], [1], [0]], shown, strict)[0] == ((20,), (30,), (10,), (40,))
    before = Answer(((20, 40), (10,), (30,)))
    assert ranked([[2], [0, 3], [1]], shown, strict, before)[0] == ((30,), (40, 20), (10,))
    for tiers in ([[0, 3], [1, 2]], [[0, 1, 3], [2]]):
        with pytest.raises(BadInput, match="ties are not asked for"):
            ranked(tiers, shown, strict, before)
    with pytest.raises(BadInput, match="ties are not asked for"):
        ranked([[0, 1, 2, 3]], shown, strict, Answer((shown,), 0, "both_bad"))


def test_the_same_answer_whatever_the_strength_and_the_order_within_a_tie() -> None:
    assert same_answer(Answer(((1,), (2,)), 1), Answer(((1,), (2,)), 4))
    assert same_answer(Answer(((1, 2),), 0), Answer(((2, 1),), 0))
    assert not same_answer(Answer(((1,), (2,))), Answer(((2,), (1,))))
    assert not same_answer(Answer(((1, 2),), 0), Answer(((1, 2),), 0, "both_bad"))
