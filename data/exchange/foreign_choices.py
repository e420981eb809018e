"""What the label of a choice says of a preference: "Response 2", "A is slightly better", "tie".

Labels are a project's own words, so only such are read as leave no doubt; of all others `None` is
returned, and the answer is left out and counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from data.exchange.foreign_fields import numbered
from data.exchange.judgements import (
    Judgement,
    LeftOut,
    Ranking,
    ranking_by,
    ranking_of_best,
    tie_of,
)
from data.records import STRENGTHS

_TIES = {"tie", "tied", "draw", "equal", "equally good", "both", "both good", "both equal", "same",
         "the same", "about the same", "no preference", "both are good", "both are equal",
         "equally preferred", "they are equal", "both are equally good", "no difference"}
_BAD = {"both bad", "both are bad", "all bad", "all are bad", "neither", "none", "none of them",
        "equally bad", "both are equally bad", "neither is good", "tie bothbad", "tie both bad"}
_NOUNS = {"response", "answer", "completion", "output", "generation", "reply", "candidate",
          "option", "summary", "text", "model", "assistant", "the"}
_STRENGTH_WORDS = {"significantly": 4, "much": 4, "strongly": 4, "far": 4, "clearly": 4,
                   "definitely": 4, "slightly": 2, "somewhat": 2, "bit": 2, "negligibly": 1,
                   "barely": 1, "marginally": 1}
_FILLERS = {"is", "are", "a", "better", "preferred", "best", "wins", "one", "than", "the", "was",
            "prefer", "choose"}
#: Names of questions and controls: one that asks which is better, one that asks why.
PREFERENCE = re.compile(r"best|better|prefer|rank|cho[os]|winner|compar|which", re.IGNORECASE)
RATIONALE = re.compile(r"reason|rationale|comment|explan|justif|feedback|why", re.IGNORECASE)
_MOST_DIGITS = 4
_SIDES = {"left": 0, "first": 0, "1st": 0, "right": 1, "second": 1, "2nd": 1}


@dataclass(frozen=True)
class Choice:
    """What a label says: the best response (by position), or a tie; both may be missing."""

    best: int | None = None
    tie: bool = False
    both_bad: bool = False
    strength: int | None = None

    @property
    def is_preference(self) -> bool:
        """Whether it says which is better, or that none is."""
        return self.best is not None or self.tie


def choice_of(label: str, names: Sequence[str]) -> Choice | None:
    """What a label says about responses of these names; None if it says nothing of the kind."""
    plain = _plain(label)
    if label.lower() in (same := [name.lower() for name in names]):
        return Choice(same.index(label.lower()))
    if plain in (alike := [_plain(name) for name in names]) and not _from_zero(names):
        return Choice(alike.index(plain))
    if plain in _TIES:
        return Choice(tie=True)
    if plain in _BAD:
        return Choice(tie=True, both_bad=True)
    known = {words: level for level, words in STRENGTHS.items() if level}
    if plain in known or plain in _STRENGTH_WORDS:
        return Choice(strength=known.get(plain) or _STRENGTH_WORDS[plain])
    best, strength = None, None
    words = plain.split()
    for i, word in enumerate(words):
        before_than = "than" not in words[:i]
        place = _place(word, names)
        if word in _STRENGTH_WORDS:
            strength = _STRENGTH_WORDS[word]
        elif place is not None and before_than and best is None and not (
                word == "a" and i + 1 < len(words) and words[i + 1] in ("bit", "little")):
            best = place
        elif word not in _FILLERS | _NOUNS and not (place is not None and not before_than):
            return None
    return None if best is None else Choice(best, strength=strength)


def judgements_of(base: Judgement, choice: Choice) -> Iterator[Judgement]:
    """What a choice says as rankings: the best of K beats each of the others, and no more."""
    count = len(base.responses)
    strength = choice.strength or base.strength
    if choice.tie or choice.best is None:
        yield replace(base, ranking=tie_of(range(count)), strength=0,
                      verdict="both_bad" if choice.both_bad else "ranked")
    elif count == 2:
        yield replace(base, ranking=ranking_of_best(choice.best, 2), strength=strength)
    else:
        for other in range(count):
            if other != choice.best:
                ranking: Ranking = ((choice.best,), (other,))
                yield replace(base, ranking=ranking, strength=strength)


def contradict(choices: Sequence[Choice]) -> bool:
    """Whether two of them name different responses, or one a response and one a tie."""
    return len({(choice.best, choice.tie) for choice in choices if choice.is_preference}) > 1


def without_order(base: Judgement, choices: Sequence[Choice],
                  ratings: Mapping[int, Sequence[float]],
                  silent: str) -> Iterator[Judgement | LeftOut]:
    """What somebody who put the responses in no order says by choices, or else by ratings.

    `silent` is why an answer without either is left out.
    """
    preferences, rated = [c for c in choices if c.is_preference], one_each(ratings)
    if contradict(choices):
        yield LeftOut("choices that contradict each other")
    elif preferences:
        yield from judgements_of(base, preferences[0])
    elif len(rated) > 1:
        yield replace(base, ranking=ranking_by(rated, best_first=False))
    elif len(ratings) > len(rated):
        yield LeftOut("ratings of responses in several respects")
    else:
        yield LeftOut(silent)


def named_order(text: str, names: Sequence[str]) -> Ranking | None:
    """A ranking written out, "response-2 > response-1 = response-3"; None if it is none."""
    groups, seen = [], []
    for group in text.split(">"):
        members = [name.strip() for name in group.split("=")]
        if not all(name in names for name in members):
            return None
        groups.append(tuple(list(names).index(name) for name in members))
        seen += members
    return tuple(groups) if len(set(seen)) == len(seen) > 1 else None


def one_each(ratings: Mapping[int, Sequence[float]]) -> dict[int, float]:
    """The rating of each response; empty where one has several, of which some may praise and some
    blame, and none is said to count."""
    several = any(len(values) > 1 for values in ratings.values())
    return {} if several else {place: values[0] for place, values in ratings.items()}


def whole(ratings: Mapping[int, float]) -> dict[int, int]:
    """The ratings that are whole numbers, as scores are."""
    return {place: int(rating) for place, rating in ratings.items() if rating == int(rating)}


def _place(word: str, names: Sequence[str]) -> int | None:
    """Which response a word stands for: by its number or letter, or by the side it is on."""
    places = [numbered(name)[1] for name in names]
    if len(names) == 2 and word in _SIDES:
        return _SIDES[word]
    if word.isascii() and word.isdigit():
        # No name has more digits, and Python refuses to read thousands of them.
        if _from_zero(names) or len(word) > _MOST_DIGITS:
            return None
        letters = all(re.search(r"[a-zA-Z]$", name) for name in names)
        wanted = int(word) - 1 if letters else int(word)
        return places.index(wanted) if wanted in places else None
    if re.fullmatch("[a-z]", word) and ord(word) - ord("a") < len(names):
        return ord(word) - ord("a")
    return None


def _from_zero(names: Sequence[str]) -> bool:
    """Whether "Response 1" could be the name response-1, or the first one as people count."""
    return 0 in (numbered(name)[1] for name in names if name[-1:].isdigit())


def _plain(label: str) -> str:
    """Lower case, with single blanks, without what people write around words."""
    spaced = re.sub(r"([a-zA-Z])(\d)", r"\1 \2", label.lower())
    return " ".join(re.sub(r"[_\-.,:;!()\[\]\"']+", " ", spaced).split())
