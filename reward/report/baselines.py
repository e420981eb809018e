"""What a reward model has to beat, and what it can hope for, on the very same held-out pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from reward.examples import Example
from reward.report.votes import Array, Said, Scores, Votes, as_dict, both


def baselines(votes: Votes, examples: Sequence[Example], said: Said,
              previous: tuple[str, Scores] | None = None) -> dict[str, Any]:
    """Accuracy of what is free to have, and by how much the model beats it.

    - `chance`: ½.
    - `longer`: the longer response wins, in characters. `over_longer` is the model's gain over it.
    - `other_labeler`: what another labeler says of the same two responses, as a prediction; a tie
      counts half, as equal scores do. It is what they `said` blind that predicts, so pairs on which
      a lead has decided count with all their disagreement. `model_there` is the model's accuracy on
      those votes alone, and `over_other_labeler` its gain. No model of *one* labeler's answers gets
      far beyond it; a model that knows what most people think may get somewhat beyond it.
    - `previous`: the reward model version before, with its `name`. `over_previous` is the gain.
    """
    other = said_by_others(votes, said)
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


def said_by_others(votes: Votes, said: Said) -> Array:
    """[P] how often the other labelers of the same two responses say what this vote says.

    1, 0 or between; a tie counts half; nan where nobody else judged them.
    """
    found = np.full(len(votes.pairs), np.nan)
    for i, pair in enumerate(votes.pairs):
        others = [0.5 if word.winner is None else float(word.winner == pair.chosen_id)
                  for word in said.get(both(pair), ()) if word.labeler_id != pair.labeler_id]
        if others:
            found[i] = np.mean(others)
    return found
