"""The pairs to read: those where labelers and reward model differ most."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from reward.examples import Example, Pair
from reward.report.votes import Scores, other_votes

MOST_MISTAKES = 20
#: Of a text that stands in no store, so much is kept in the report, in characters.
_LONGEST_TEXT = 4000


def worst_mistakes(examples: Iterable[Example], scores: Scores,
                   keep_texts: bool = False) -> list[dict[str, Any]]:
    """The pairs that most labelers order otherwise than the model, most certain model first.

    At most `MOST_MISTAKES`, and one of each prompt, or a single odd response of a ranking would
    fill the list. Each names the two responses by id (`chosen_id` is the labelers'), their scores,
    the `probability` σ(Δ) that the model gave to the labelers' choice, and how many labelers chose
    it (`votes`), the other one (`against`) or neither (`ties`). With `keep_texts`, also the
    beginnings of the texts: for a report on a file, which no store can look up.
    """
    found = []
    for example in examples:
        wrong = [mistake for said in other_votes(example.pairs).values()
                 if (mistake := _mistake(said, scores)) is not None]
        if not wrong:
            continue
        worst = min(wrong, key=_gap)
        if keep_texts:
            worst["texts"] = {
                "prompt": example.messages[-1]["content"][:_LONGEST_TEXT],
                "chosen": example.texts[worst["chosen_id"]][:_LONGEST_TEXT],
                "rejected": example.texts[worst["rejected_id"]][:_LONGEST_TEXT]}
        found.append(worst)
    return sorted(found, key=_gap)[:MOST_MISTAKES]


def _gap(mistake: Mapping[str, Any]) -> float:
    """Δ of the labelers' choice, below zero: the lower, the surer the model."""
    return float(mistake["chosen_score"] - mistake["rejected_score"])


def _mistake(said: list[Pair], scores: Scores) -> dict[str, Any] | None:
    """One pair of responses, if most labelers order it otherwise than the scores."""
    pair = said[0]
    votes = {i: sum(p.chosen_id == i for p in said if not p.is_tie)
             for i in (pair.chosen_id, pair.rejected_id)}
    chosen, rejected = sorted(votes, key=lambda i: (-votes[i], i))
    difference = scores[chosen] - scores[rejected]
    if votes[chosen] == votes[rejected] or difference >= 0:
        return None
    return {"prompt_id": pair.prompt_id, "chosen_id": chosen, "rejected_id": rejected,
            "chosen_score": scores[chosen], "rejected_score": scores[rejected],
            "probability": 1 / (1 + math.exp(min(-difference, 700.0))),
            "votes": votes[chosen], "against": votes[rejected],
            "ties": sum(p.is_tie for p in said)}
