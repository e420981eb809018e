"""Preferences as a reward model learns from them: grouped by prompt, split by prompt.

Plain values, read from the store once; nothing downstream knows SQL. Deliberately says nothing of
tokens (`reward.batches`) and of who is right where labelers differ: every answer that stands
counts, each labeler's separately.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from data import startable
from data.exchange.chosen_rejected import Pair as FilePair
from data.records import Message, Preference
from data.store import Store


@dataclass(frozen=True)
class Pair:
    """Two responses of one prompt, as one labeler compared them.

    A strength of 0 is a tie. "Both bad" is one too: it says nothing of which is better, and like
    any tie it pulls the two scores together.
    """

    chosen_id: int
    rejected_id: int
    strength: int
    weight: float
    """1 / (pairs of its comparison), so that a ranking of K responses weighs as much as one answer,
    as in InstructGPT's 1 / (K choose 2) (Ouyang et al. 2022, eq. 1)."""
    comparison_id: int
    labeler_id: int
    prompt_id: int
    round_number: int | None = None
    """Of the round that asked; None: it was imported, or nobody knows."""
    shown_first: bool | None = None
    """Whether the chosen response was shown before the rejected one; None where nobody knows."""
    discount: float = 1.0
    """What its weight is multiplied by in training, for the age of its round."""
    offset: float = 0.0
    """What its labeler's habits make of it, towards the chosen response, in logits."""
    flipped: float = 0.0
    """Probability that its labeler judged against the reward."""

    @property
    def counts(self) -> float:
        """How much it counts in training: its weight, and the discount for its age."""
        return self.weight * self.discount

    @property
    def is_tie(self) -> bool:
        """Whether the labeler put neither above the other."""
        return self.strength == 0


@dataclass(frozen=True)
class Example:
    """One prompt with all that was said of its responses."""

    prompt_id: int
    messages: list[Message]
    texts: dict[int, str]
    """Every compared response, by its id."""
    pairs: tuple[Pair, ...]
    sampled: tuple[int, ...] = ()
    """Those responses (ids) that the reference wrote, by whose scores rewards are centred."""

    def conversation(self, response_id: int) -> list[Message]:
        """The prompt with one response as the assistant's turn, which is what is scored."""
        return [*self.messages, Message(role="assistant", content=self.texts[response_id])]


@dataclass(frozen=True)
class PreferenceData:
    """What a reward model is trained on and what it is measured on: no prompt is in both."""

    train: tuple[Example, ...]
    held_out: tuple[Example, ...]
    identical: int = 0
    """Pairs left out because both texts are the same."""
    selection: tuple[Example, ...] = ()
    """Training prompts that are kept from training, to choose by among what was trained."""
    habits: dict[str, Any] = field(default_factory=dict)
    """What was estimated of the training pairs' labelers (`reward.habits`), if anything was."""

    @property
    def comparisons(self) -> dict[int, str]:
        """Comparison id -> split, for the reward model's lineage."""
        return {pair.comparison_id: split
                for split, examples in (("train", (*self.train, *self.selection)),
                                    ("held_out", self.held_out))
                for example in examples for pair in example.pairs}

    def as_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> PreferenceData:
        """The inverse of `as_dict`, through JSON too (which makes texts of the ids)."""
        train, held_out, selection = (tuple(_example(e) for e in values.get(split, ()))
                                      for split in ("train", "held_out", "selection"))
        return cls(train, held_out, values["identical"], selection, values.get("habits", {}))


def from_store(store: Store) -> PreferenceData:
    """The preferences of the answers that count, of all rounds and the imported ones."""
    preferences = store.comparisons.preferences()
    ids = sorted({i for p in preferences for i in (p.chosen_id, p.rejected_id)})
    responses = {response.id: response for response in store.responses.get(ids)}
    told_apart = [p for p in preferences
                  if responses[p.chosen_id].text != responses[p.rejected_id].text]
    pairs: dict[int, list[Pair]] = defaultdict(list)
    for pair in _weighted(told_apart):
        pairs[pair.prompt_id].append(pair)
    versions = store.versions.policies()
    reference = versions[0].id if versions else 0
    splits: dict[str, list[Example]] = {"train": [], "held_out": []}
    for prompt in store.prompts.all():
        if prompt.id not in pairs:
            continue
        members = sorted({i for p in pairs[prompt.id] for i in (p.chosen_id, p.rejected_id)})
        splits[prompt.split].append(Example(
            prompt.id, prompt.messages, {i: responses[i].text for i in members},
            tuple(pairs[prompt.id]),
            tuple(i for i in members if responses[i].policy_version_id == reference)))
    return PreferenceData(tuple(splits["train"]), tuple(splits["held_out"]),
                          len(preferences) - len(told_apart))


def from_files(pairs: Iterable[FilePair]) -> list[Example]:
    """Examples of preferences read from a file, without a store; ids are made up.

    Pairs of the same prompt come together, and so do responses with the same text.
    """
    by_prompt: dict[tuple[tuple[str, str], ...], list[FilePair]] = defaultdict(list)
    for pair in pairs:
        by_prompt[tuple((m["role"], m["content"]) for m in pair.messages)].append(pair)
    examples, comparison_id, response_id = [], 0, 0
    for prompt_id, group in enumerate(by_prompt.values(), 1):
        ids: dict[str, int] = {}
        made = []
        for pair in group:
            for text in (pair.chosen, pair.rejected):
                if text not in ids:
                    response_id += 1
                    ids[text] = response_id
            comparison_id += 1
            made.append(Pair(ids[pair.chosen], ids[pair.rejected], pair.strength, pair.weight,
                             comparison_id, 0, prompt_id))
        examples.append(Example(prompt_id, group[0].messages,
                                {i: text for text, i in ids.items()}, tuple(made)))
    return examples


def count_pairs(examples: Sequence[Example]) -> int:
    """How many pairs the examples hold, ties included."""
    return sum(len(example.pairs) for example in examples)


def require_learnable(data: PreferenceData) -> None:
    """Refuse data that nothing can be learned from, in one line that says why.

    Raises:
        BadInput: there is nothing to learn from.
    """
    pairs = [pair for example in data.train for pair in example.pairs]
    startable.require_learnable(startable.Compared(
        len(pairs), sum(pair.is_tie for pair in pairs), len(data.train),
        count_pairs(data.held_out), data.identical))


def _example(values: dict[str, Any]) -> Example:
    return Example(values["prompt_id"], values["messages"],
                   {int(i): text for i, text in values["texts"].items()},
                   tuple(Pair(**pair) for pair in values["pairs"]), tuple(values["sampled"]))


def _weighted(preferences: Sequence[Preference]) -> list[Pair]:
    pairs = [Pair(p.chosen_id, p.rejected_id, p.strength, 1.0, p.comparison_id, p.labeler_id,
                  p.prompt_id, p.round_number, p.shown_first) for p in preferences]
    of_comparison = Counter(pair.comparison_id for pair in pairs)
    return [replace(pair, weight=1 / of_comparison[pair.comparison_id]) for pair in pairs]
