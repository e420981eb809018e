"""What a row of a published set says of the responses in it: which is better, and who found so.

`VERDICTS` is the table of fields that say it, and of how each does; a new set is mostly a line
there. Words are read by `data.exchange.foreign_choices`, and numbers only where no other reading is
possible: what leaves a doubt is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from data.errors import BadInput
from data.exchange.foreign_choices import Choice, choice_of
from data.exchange.foreign_fields import as_number, numbered
from data.exchange.judgements import Ranking, ranking_by
from data.exchange.messages import Lacking
from data.exchange.prompt_fields import from_cell

#: Fields that say who judged.
ANNOTATORS = ("labeler", "labeler_id", "annotator", "annotator_id", "worker", "worker_id", "rater",
              "judge")
NO_VERDICT = "a row that does not say which response is better"
_REASONS = ("rationale", "reason", "reasoning", "explanation")
#: Fields beside the responses that say what wrote each of them.
_MODELS = ("model", "model_name")
#: A field for each person (PandaLM): 0 is a tie, 1 the first.
_PERSON = re.compile(r"annotator_?(\d+)")
#: The number of a person, as a column of them is written that lacks some.
_NUMBERED = re.compile(r"\d+\.0")
#: A field for each outcome, of which one is 1.
_OUTCOMES = {"winner_model_a": Choice(0), "winner_model_b": Choice(1),
             "winner_tie": Choice(tie=True)}
#: A number for each response ("score_0", "rating_a"), and whether a low one is good.
_NUMBERS = {"score": False, "rating": False, "rank": True}


@dataclass(frozen=True)
class Verdict:
    """What one annotator found: a choice or a whole ranking; neither: nothing that can be used."""

    choice: Choice | None
    annotator: str = ""
    reason: str = ""
    ranking: Ranking = ()


def has_verdict(values: Mapping[str, Any]) -> bool:
    """Whether a row has a field that says which response is better."""
    return bool(values.keys() & {*VERDICTS, *_OUTCOMES, "votes"}) or any(
        _PERSON.fullmatch(name) or _is_of_one(name) for name in values)


def verdicts(values: Mapping[str, Any], names: Sequence[str]) -> Iterator[Verdict]:
    """What a row says of the responses of these names.

    Raises:
        BadInput: in no way that is known; the message names the field.
        Lacking: it has no field that says anything of them.
    """
    models = _models(values, names)
    votes = from_cell(values.get("votes"))
    people = {name: found[1] for name in values if (found := _PERSON.fullmatch(name))}
    said = _field_of(values, names, models)
    if isinstance(votes, list) and votes and all(isinstance(vote, dict) for vote in votes):
        for number, vote in enumerate(votes, 1):
            field = next((name for name in VERDICTS if vote.get(name) is not None), "choice")
            yield Verdict(_read(field, vote.get(field), names, models, f"votes[{number}]."),
                          annotator_in(vote), reason_in(vote))
    elif people:
        for name, person in people.items():
            yield Verdict(_read(name, values.get(name), names), f"annotator/{person}")
    elif said:
        yield Verdict(_read(said, values.get(said), names, models), annotator_in(values),
                      reason_in(values))
    elif votes == []:
        yield Verdict(None)
    elif values.keys() & _OUTCOMES:
        marked = [name for name in _OUTCOMES if number_in(values.get(name)) == 1]
        yield Verdict(_OUTCOMES[marked[0]] if len(marked) == 1 else None, annotator_in(values))
    else:
        yield Verdict(None, annotator_in(values), reason_in(values), _by_numbers(values, names))


def _models(values: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """What wrote each response, as the fields beside them say (`model_a`, `model_b`); empty where
    one is not there."""
    fields = {numbered(name)[1]: name for name in values if numbered(name)[0] in _MODELS}
    found = [dict(values).get(fields.get(numbered(name)[1], "")) for name in names]
    return [name for name in found if isinstance(name, str)] if all(
        isinstance(name, str) and name.strip() for name in found) else []


def _field_of(values: Mapping[str, Any], names: Sequence[str],
              models: Sequence[str]) -> str | None:
    """The field of VERDICTS to go by: one that names a response or a tie in words, since a number
    beside it may only say how much better that is; else the first that says something."""
    plain = dict(values)  # what is only looked past is not read
    there = {name: plain[name] for name in VERDICTS if name in plain}
    in_words = [name for name, value in there.items() if isinstance(value, str)
                and number_in(value) is None and _in_words(value, names, models)]
    filled = [name for name, value in there.items() if value not in (None, "")]
    return next(iter([*in_words, *filled, *there]), None)


def annotator_in(values: Mapping[str, Any]) -> str:
    """Who judged, "judge/expert_17"; empty where the row does not say."""
    for name in ANNOTATORS:
        who = from_cell(values.get(name))
        who = " ".join(map(str, who)) if isinstance(who, list) else who
        if isinstance(who, float) and who.is_integer():
            who = int(who)
        if isinstance(who, str | int) and str(who).strip():
            who = str(who)
            who = who.removesuffix(".0") if _NUMBERED.fullmatch(who) else who
            return f"{name.removesuffix('_id')}/{who}"
    return ""


def reason_in(values: Mapping[str, Any]) -> str:
    """Why, where the row says it."""
    return next((said for name in _REASONS if isinstance(said := values.get(name), str)), "")


def number_in(value: Any) -> float | None:
    """A number, also as a cell of CSV holds it, or as true and false."""
    if isinstance(value, bool):
        return float(value)
    if isinstance(value, str):
        if value.strip().lower() in ("true", "false"):
            return float(value.strip().lower() == "true")
        try:
            value = float(value)
        except ValueError:
            return None
    return as_number(value)


def _read(field: str, value: Any, names: Sequence[str], models: Sequence[str] = (),
          where: str = "") -> Choice | None:
    """What a field says; None where it says nothing, or in words that leave a doubt."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    number = number_in(value)
    if number is None:
        return _in_words(value, names, models) if isinstance(value, str) else None
    read = _of_people if _PERSON.fullmatch(field) else VERDICTS[field]
    found = None if isinstance(value, bool) else read(number, names)
    if found is None:
        raise BadInput(f"{where}{field}: {value!r} does not say which of {', '.join(names)} is "
                       "better; write the name of the better one, or tie")
    return found


def _in_words(value: str, names: Sequence[str], models: Sequence[str]) -> Choice | None:
    """A response's name, a tie, or the name of the one model that wrote it; None also where these
    contradict each other, as of a model called "assistant-b" that wrote `response_a`."""
    found = choice_of(value, names)
    found = found if found and found.is_preference else None
    if [model.strip() for model in models].count(value.strip()) != 1:
        return found
    place = [model.strip() for model in models].index(value.strip())
    return Choice(place) if found is None or found.best == place else None


def _signed(number: float, names: Sequence[str]) -> Choice | None:
    """HelpSteer's: -3, the first is much better, to 3, the second is."""
    if len(names) != 2 or number not in range(-3, 4):
        return None
    return Choice(int(number > 0), strength=int(abs(number)) + 1) if number else Choice(tie=True)


def _first_is_one(number: float, names: Sequence[str]) -> Choice | None:
    """SHP's: 1, `human_ref_A` is better, 0, `human_ref_B` is. Elsewhere 1 may well be the second.
    """
    is_shp = [name.lower() for name in names] == ["human_ref_a", "human_ref_b"]
    return Choice(int(not number)) if is_shp and number in (0, 1) else None


def _index(number: float, names: Sequence[str]) -> Choice | None:
    """The number in the name of the better one; of responses in a list, its place, from 0."""
    places = list(range(len(names))) if names[0].endswith("]") else _numbers_of(names)
    return Choice(places.index(int(number))) if number in places else None


def _from_one(number: float, names: Sequence[str]) -> Choice | None:
    """AlpacaFarm's and AlpacaEval's: 1, the first is better, to 2, the second is; in the middle a
    tie, as is their 0. Elsewhere 0 and 1 may well be the first and the second."""
    if list(names) == ["output_1", "output_2"] and number == 0:
        return Choice(tie=True)
    if _numbers_of(names) != [1, 2] or not 1 <= number <= 2:
        return None
    return Choice(tie=True) if number == 1.5 else Choice(int(number > 1.5))


def _of_people(number: float, names: Sequence[str]) -> Choice | None:
    """PandaLM's: 0, a tie, 1, the first, 2, the second."""
    if _numbers_of(names) != [1, 2] or number not in (0, 1, 2):
        return None
    return Choice(int(number) - 1) if number else Choice(tie=True)


def _word(number: float, names: Sequence[str]) -> Choice | None:
    """Of a field of words a number is only read as one that stands in the names."""
    places = _numbers_of(names)
    return Choice(places.index(int(number))) if number in places else None


def _is_of_one(field: str) -> bool:
    """Whether a field holds the number of one response among several."""
    kind, place = numbered(field)
    return kind in _NUMBERS and place is not None


def _numbers_of(names: Sequence[str]) -> list[int | None]:
    """The numbers of responses that are numbered; none of lettered ones."""
    return [numbered(name)[1] if name[-1:].isdigit() else None for name in names]


def _by_numbers(values: Mapping[str, Any], names: Sequence[str]) -> Ranking:
    """The ranking by a number for each response, as WebGPT's scores; none where one is missing."""
    for kind, low_is_good in _NUMBERS.items():
        of_place = {numbered(name)[1]: name for name in values if numbered(name)[0] == kind}
        fields = [of_place.get(numbered(name)[1], "") for name in names]
        if all(fields):
            found = {place: number for place, field in enumerate(fields)
                     if (number := number_in(values.get(field))) is not None}
            return ranking_by(found, low_is_good) if len(found) == len(names) else ()
    raise Lacking(NO_VERDICT, "cannot tell which field says which response is better; the fields "
                  f"are {', '.join(values)}; known are {', '.join(VERDICTS)}")


#: Fields that say which response is better, and what a number in them means. The first one of a row
#: that says something counts.
VERDICTS: dict[str, Callable[[float, Sequence[str]], Choice | None]] = {
    "winner": _word, "preferred": _word, "better": _word, "better_response_id": _index,
    "safer_response_id": _index, "overall_preference": _signed, "preference_strength": _signed,
    "labels": _first_is_one, "choice": _index, "preference": _from_one, "verdict": _word,
    "gold": _word, "chosen": _word, "label": _word}
