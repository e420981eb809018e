"""From examples to forward passes: a response is encoded once a step, whatever it stands in.

Three levels. A *unit* is a prompt's pairs whose responses are encoded together; a *step* is as many
units as fit one optimizer step; a *microbatch* is as many units of a step as
fit one forward and backward pass. Pairs never cross units, so gradients of microbatches simply add
up. Everything random follows from (seed, epoch): any step can be made again, in any process.
"""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from backbone.flat_pass import runs_flat
from backbone.model import Backbone
from backbone.text import conversation_ids
from data.records import Message
from reward.examples import Example, Pair
from reward.instant.features import EncodedResponse, encode_response
from reward.passes import Size, parts_within

#: A prompt whose responses are only this part too many for a step stays whole: cut in two, those
#: that are compared across the cut would be encoded twice.
STRETCH = 4


@dataclass(frozen=True)
class Unit:
    """Pairs of one prompt that share a forward pass."""

    example: Example
    pairs: tuple[Pair, ...]

    @property
    def response_ids(self) -> list[int]:
        """The responses of the pairs, each once."""
        return list(dict.fromkeys(i for p in self.pairs for i in (p.chosen_id, p.rejected_id)))


@dataclass(frozen=True)
class Step:
    """What one optimizer step learns from."""

    epoch: int
    ends_epoch: bool
    units: tuple[Unit, ...]

    @property
    def weight(self) -> float:
        """Sum of the pairs' weights, which the loss is divided by. Without their discounts, so
        that a step of old answers alone moves less than one of new ones."""
        return sum(pair.weight for unit in self.units for pair in unit.pairs)


@dataclass(frozen=True)
class Microbatch:
    """Responses of one forward and backward pass with the pairs among them."""

    parts: tuple[tuple[int, ...], ...]
    """Response ids. Almost always one part; a unit that is too large for the memory asked for comes
    in several."""
    pairs: tuple[Pair, ...]


@dataclass
class Encoder:
    """Conversations as token ids, each made once; counts those that had to be cut."""

    backbone: Backbone
    max_length: int
    cut: set[int] = field(default_factory=set)
    """Ids of responses whose conversation lost its oldest turns."""
    _ids: dict[int, array[int]] = field(default_factory=dict)
    _responses: dict[int, EncodedResponse] = field(default_factory=dict)

    def ids(self, example: Example, response_id: int) -> array[int]:
        """Token ids of a prompt with one of its responses."""
        if response_id not in self._ids:
            found, turns = encode(self.backbone, example.conversation(response_id),
                                  self.max_length)
            self._ids[response_id] = array("i", found)
            if turns:
                self.cut.add(response_id)
        return self._ids[response_id]

    def response(self, example: Example, response_id: int, question: str) -> EncodedResponse:
        """The same, with where the response stands and what is asked about it, if anything."""
        if response_id not in self._responses:
            self._responses[response_id] = encode_response(
                self.backbone, example.messages, example.texts[response_id], self.max_length,
                question)
        return self._responses[response_id]


def encode(backbone: Backbone, conversation: Sequence[Message],
           max_length: int) -> tuple[list[int], int]:
    """A conversation's token ids, and how many of its oldest turns were cut to make it fit."""
    return conversation_ids(backbone.tokenizer, conversation,
                            min(max_length, backbone.context_length), backbone.config_pad_id)


def plan_steps(examples: Sequence[Example], epochs: int, responses_per_step: int,
               seed: int, whole_rankings: bool = False) -> list[Step]:
    """Every step of a training run, in order: each pair once an epoch.

    With `whole_rankings` the pairs of one comparison stay in one unit, for losses that read a
    ranking from them; of a prompt cut in two, responses that are compared by several labelers are
    then encoded in both, and a ranking of more responses than a step holds is a step by itself.
    """
    steps = []
    for epoch in range(epochs):
        packed = list(_packed(_units(examples, responses_per_step, seed, epoch,
                                     whole_rankings),
                              responses_per_step))
        steps += [Step(epoch, number == len(packed), units)
                  for number, units in enumerate(packed, 1)]
    return steps


def microbatches(units: Sequence[Unit], encoder: Encoder, tokens: int) -> list[Microbatch]:
    """Units together, at most `tokens` tokens a forward pass, counted as `parts_within` does.

    Largest first, so that memory peaks in the first pass and not in the last.
    """
    texts: dict[int, Sequence[int]] = {}
    for unit in units:
        texts.update((i, encoder.ids(unit.example, i)) for i in unit.response_ids)
    flat = runs_flat(encoder.backbone)
    sizes = {n: Size.of([texts[i] for i in unit.response_ids], flat)
             for n, unit in enumerate(units)}
    found: list[Microbatch] = []
    batch: list[Unit] = []
    size = Size()
    for number in sorted(sizes, key=lambda n: (-sizes[n].longest, -sizes[n].tokens, n)):
        together = size.with_more(sizes[number])
        if batch and together.tokens_of_pass(flat) > tokens:
            found.append(_microbatch(batch, texts, tokens, flat))
            batch, together = [], sizes[number]
        batch.append(units[number])
        size = together
    return [*found, _microbatch(batch, texts, tokens, flat)]


def _units(examples: Sequence[Example], limit: int, seed: int, epoch: int,
           whole_rankings: bool) -> list[Unit]:
    shuffled = random.Random(f"units/{seed}/{epoch}")
    units = []
    for example in examples:
        parts = _parts(example.pairs, whole_rankings)
        shuffled.shuffle(parts)
        while parts:
            members = _members(parts, limit + limit // STRETCH)
            if len(members) > limit and any(_crosses(part, members) for part in parts):
                members = _members(parts, limit)
            together = [pair for part in parts if _ends(part) <= members for pair in part]
            parts = [part for part in parts if not _ends(part) <= members]
            units.append(Unit(example, tuple(together)))
    shuffled.shuffle(units)
    return units


def _parts(pairs: Sequence[Pair], whole_rankings: bool) -> list[tuple[Pair, ...]]:
    """What is never cut: each pair by itself, or all of a comparison."""
    if not whole_rankings:
        return [(pair,) for pair in pairs]
    of_comparison: dict[int, list[Pair]] = {}
    for pair in pairs:
        of_comparison.setdefault(pair.comparison_id, []).append(pair)
    return [tuple(mine) for mine in of_comparison.values()]


def _ends(part: Sequence[Pair]) -> set[int]:
    """The responses that the pairs compare."""
    return {i for pair in part for i in (pair.chosen_id, pair.rejected_id)}


def _crosses(part: Sequence[Pair], members: set[int]) -> bool:
    ends = _ends(part)
    return bool(ends & members) and not ends <= members


def _members(parts: Sequence[Sequence[Pair]], limit: int) -> set[int]:
    """Responses connected to the first part's through comparisons, at most `limit` of them (or as
    many as that part alone has)."""
    members = _ends(parts[0])
    grown = True
    while grown:
        grown = False
        for part in parts:
            ends = _ends(part)
            if ends & members and not ends <= members and len(members | ends) <= limit:
                members |= ends
                grown = True
    return members


def _packed(units: Sequence[Unit], limit: int) -> Iterator[tuple[Unit, ...]]:
    step: list[Unit] = []
    size = 0
    for unit in units:
        rows = len(unit.response_ids)
        if step and size + rows > limit:
            yield tuple(step)
            step, size = [], 0
        step.append(unit)
        size += rows
    if step:
        yield tuple(step)


def _microbatch(units: Sequence[Unit], texts: Mapping[int, Sequence[int]], tokens: int,
                flat: bool) -> Microbatch:
    mine = {i: texts[i] for unit in units for i in unit.response_ids}
    return Microbatch(tuple(parts_within(mine, tokens, flat)),
                      tuple(pair for unit in units for pair in unit.pairs))
