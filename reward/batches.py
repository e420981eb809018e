"""From examples to forward passes: a response is encoded once a step, whatever it stands in.

Three levels. A *unit* is a prompt's pairs whose responses are encoded together; a *step* is as many
units as fit one optimizer step; a *microbatch* is as many units of a step, of similar length, as
fit one forward and backward pass. Pairs never cross units, so gradients of microbatches simply add
up. Everything random follows from (seed, epoch): any step can be made again, in any process.
"""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from backbone.model import Backbone
from backbone.text import conversation_ids
from data.records import Message
from reward.examples import Example, Pair


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
        """Sum of the pairs' weights, which the loss is divided by."""
        return sum(pair.weight for unit in self.units for pair in unit.pairs)


@dataclass(frozen=True)
class Microbatch:
    """Responses of one forward and backward pass with the pairs among them."""

    parts: tuple[tuple[int, ...], ...]
    """Response ids by length. Almost always one part; a unit that is too large for the memory asked
    for comes in several."""
    pairs: tuple[Pair, ...]


@dataclass
class Encoder:
    """Conversations as token ids, each made once; counts those that had to be cut."""

    backbone: Backbone
    max_length: int
    cut: set[int] = field(default_factory=set)
    """Ids of responses whose conversation lost its oldest turns."""
    _ids: dict[int, array[int]] = field(default_factory=dict)

    def ids(self, example: Example, response_id: int) -> array[int]:
        """Token ids of a prompt with one of its responses."""
        if response_id not in self._ids:
            found, turns = encode(self.backbone, example.conversation(response_id),
                                  self.max_length)
            self._ids[response_id] = array("i", found)
            if turns:
                self.cut.add(response_id)
        return self._ids[response_id]


def encode(backbone: Backbone, conversation: Sequence[Message],
           max_length: int) -> tuple[list[int], int]:
    """A conversation's token ids, and how many of its oldest turns were cut to make it fit."""
    return conversation_ids(backbone.tokenizer, conversation,
                            min(max_length, backbone.context_length), backbone.config_pad_id)


def plan_steps(examples: Sequence[Example], epochs: int, responses_per_step: int,
               seed: int) -> list[Step]:
    """Every step of a training run, in order: each pair once an epoch."""
    steps = []
    for epoch in range(epochs):
        packed = list(_packed(_units(examples, responses_per_step, seed, epoch),
                              responses_per_step))
        steps += [Step(epoch, number == len(packed), units)
                  for number, units in enumerate(packed, 1)]
    return steps


def microbatches(units: Sequence[Unit], encoder: Encoder, tokens: int) -> list[Microbatch]:
    """Units of similar length together, at most `tokens` tokens (padding included) a forward pass.

    Longest first, so that memory peaks in the first pass and not in the last.
    """
    lengths: dict[int, int] = {}
    for unit in units:
        lengths.update((i, len(encoder.ids(unit.example, i))) for i in unit.response_ids)
    order = sorted(units, key=lambda u: max(lengths[i] for i in u.response_ids), reverse=True)
    found: list[Microbatch] = []
    batch: list[Unit] = []
    for unit in order:
        if batch and not _fits([*batch, unit], lengths, tokens):
            found.append(_microbatch(batch, lengths, tokens))
            batch = []
        batch.append(unit)
    return [*found, _microbatch(batch, lengths, tokens)]


def by_length(lengths: Mapping[int, int], tokens: int,
              rows: int | None = None) -> list[tuple[int, ...]]:
    """Keys sorted by length, longest first, cut where padded tokens (or rows) become too many."""
    parts: list[list[int]] = []
    widest = 0
    for key in sorted(lengths, key=lambda k: (-lengths[k], k)):
        full = parts and (len(parts[-1]) == rows or (len(parts[-1]) + 1) * widest > tokens)
        if not parts or full:
            parts.append([])
            widest = lengths[key]
        parts[-1].append(key)
    return [tuple(part) for part in parts]


def _units(examples: Sequence[Example], limit: int, seed: int, epoch: int) -> list[Unit]:
    shuffled = random.Random(f"units/{seed}/{epoch}")
    units = []
    for example in examples:
        pairs = list(example.pairs)
        shuffled.shuffle(pairs)
        while pairs:
            members = _members(pairs, limit)
            together = [p for p in pairs if {p.chosen_id, p.rejected_id} <= members]
            pairs = [p for p in pairs if not {p.chosen_id, p.rejected_id} <= members]
            units.append(Unit(example, tuple(together)))
    shuffled.shuffle(units)
    return units


def _members(pairs: Sequence[Pair], limit: int) -> set[int]:
    """Responses connected to the first pair's through comparisons, at most `limit` of them."""
    members = {pairs[0].chosen_id, pairs[0].rejected_id}
    grown = True
    while grown:
        grown = False
        for pair in pairs:
            ends = {pair.chosen_id, pair.rejected_id}
            if ends & members and not ends <= members and len(members) < limit:
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


def _fits(units: Sequence[Unit], lengths: Mapping[int, int], tokens: int) -> bool:
    ids = [i for unit in units for i in unit.response_ids]
    return len(ids) * max(lengths[i] for i in ids) <= tokens


def _microbatch(units: Sequence[Unit], lengths: Mapping[int, int], tokens: int) -> Microbatch:
    mine = {i: lengths[i] for unit in units for i in unit.response_ids}
    return Microbatch(tuple(by_length(mine, tokens)),
                      tuple(pair for unit in units for pair in unit.pairs))
