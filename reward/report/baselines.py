"""What a reward model has to beat, and what it can hope for, on the very same held-out pairs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from reward.examples import Example, Pair
from reward.report.votes import Array, Scores, Votes, as_dict, both, other_votes


def baselines(votes: Votes, examples: Sequence[Example],
              previous: tuple[str, Scores] | None = None) -> dict[str, Any]:
    """Accuracy of what is free to have, and by how much the model beats it.

    - `chance`: ½.
    - `longer`: the longer response wins, in characters. `over_longer` is the model's gain over it.
    - `other_labeler`: what another labeler says of the same two responses, as a prediction; a tie
      counts half, as equal scores do. `model_there` is the model's accuracy on those votes alone,
      and `over_other_labeler` its gain. No model of *one* labeler's answers gets far beyond it; a
      model that knows what most people think may get somewhat beyond it.
    - `previous`: the reward model version before, with its `name`. `over_previous` is the gain.
    """
    other = said_by_others(votes, examples)
    shared = ~np.isnan(other)
    found: dict[str, Any] = {
        "chance": 0.5,
        "longer": as_dict(votes.share(votes.longer)),
        "over_longer": as_dict(votes.gain(votes.longer)),
        "other_labeler": as_dict(votes.share(other, shared)),
        "model_there": as_dict(votes.accuracy(shared)),
        "over_other_labeler": as_dict(votes.gain(other)),
        "previous": None, "over_previous": None}
    if previous is not None:
        name, scores = previous
        before = Votes.of(examples, scores)
        found["previous"] = {"name": name, "accuracy": as_dict(before.accuracy())}
        found["over_previous"] = as_dict(votes.gain(before.right))
    return found


def said_by_others(votes: Votes, examples: Iterable[Example]) -> Array:
    """[P] how often the other labelers of the same two responses say what this vote says.

    1, 0 or between; a tie counts half; nan where nobody else judged them.
    """
    said: dict[tuple[int, int], list[Pair]] = {}
    for example in examples:
        said |= other_votes(example.pairs)
    found = np.full(len(votes.pairs), np.nan)
    for i, pair in enumerate(votes.pairs):
        others = [0.5 if other.is_tie else float(other.chosen_id == pair.chosen_id)
                  for other in said[both(pair)] if other.labeler_id != pair.labeler_id]
        if others:
            found[i] = np.mean(others)
    return found
