"""Several reward models on one backbone that can disagree: mean, spread and careful scores.

M adapters, each with a head of its own, learn the same steps from different beginnings and, if
asked, from comparisons drawn anew (Lakshminarayanan et al. 2017; Coste et al. 2023, "Reward model
ensembles help mitigate overoptimization", whose conservative rules these are):

    mean              R̄ = 1/M Σ_m R_m
    worst             min_m R_m
    variance-penalised  R̄ − λ · 1/M Σ_m (R_m − R̄)²

Where the adapters leave the lower blocks alone (`block` above 0), what those make of a batch is
computed once for all members, in training and in scoring. A reward model's scores have no zero of
their own, so each member's are first moved to average 0 over the responses it was trained on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from backbone.model import Backbone
from backbone.storage import write_folder
from data.errors import BadInput
from data.records import Message
from reward.batches import encode
from reward.model import SCORING_TOKENS, RewardModel
from reward.passes import by_length
from reward.states import lay_out, lower_states, upper_run

Array = np.ndarray[Any, Any]
Rule = Literal["mean", "worst", "variance-penalised"]
RULES: tuple[Rule, ...] = get_args(Rule)
_ABOUT = "ensemble.json"


def combined(scores: Array, rule: Rule = "mean", penalty: float = 1.0) -> Array:
    """[n] one score for each response, from [M, n] of the members.

    Args:
        scores: each member's, centred.
        rule: see the module.
        penalty: λ, in 1 / logits.

    Raises:
        BadInput: an unknown rule.
    """
    if rule == "mean":
        return np.asarray(scores.mean(axis=0))
    if rule == "worst":
        return np.asarray(scores.min(axis=0))
    if rule == "variance-penalised":
        return np.asarray(scores.mean(axis=0) - penalty * scores.var(axis=0))
    raise BadInput(f"--rule: {rule!r} is none of {', '.join(RULES)}")


class Ensemble:
    """M reward models on one backbone."""

    def __init__(self, members: Sequence[RewardModel], centers: Sequence[float],
                 block: int = 0) -> None:
        self.members = list(members)
        self.centers = list(centers)
        """Each member's mean score over the responses it was trained on."""
        self.block = block

    @property
    def backbone(self) -> Backbone:
        """What they stand on."""
        return self.members[0].backbone

    def member_scores(self, conversations: Sequence[Sequence[Message]]) -> Array:
        """[M, n] each member's centred score of each conversation's last turn."""
        longest = self.members[0].max_length
        ids = [encode(self.backbone, conversation, longest)[0] for conversation in conversations]
        return np.asarray(self.scores_of_ids(ids) - np.array(self.centers)[:, None])

    def score(self, conversations: Sequence[Sequence[Message]], rule: Rule = "mean",
              penalty: float = 1.0) -> list[float]:
        """One score for each conversation, by a rule (see `combined`)."""
        found: list[float] = combined(self.member_scores(conversations), rule, penalty).tolist()
        return found

    def spread(self, conversations: Sequence[Sequence[Message]]) -> list[float]:
        """Standard deviation of the members' centred scores, of each conversation."""
        found: list[float] = self.member_scores(conversations).std(axis=0).tolist()
        return found

    @torch.no_grad()
    def scores_of_ids(self, sequences: Sequence[Sequence[int]]) -> Array:
        """[M, n] raw scores of token id sequences."""
        found = np.zeros((len(self.members), len(sequences)))
        lengths = {row: len(ids) for row, ids in enumerate(sequences)}
        for part in by_length(lengths, SCORING_TOKENS):
            passes = self.passes([sequences[row] for row in part])
            for number, (_, scores) in enumerate(passes):
                found[number, list(part)] = scores.cpu().numpy()
        return found

    def passes(self, sequences: Sequence[Sequence[int]]) -> Iterator[tuple[RewardModel, Tensor]]:
        """Each member with its [N] scores of token id sequences, one forward pass at a time.

        Gradients flow into the member's own adapter and head; whoever carries them back before
        asking for the next member holds only one member's activations.
        """
        backbone = self.backbone
        layout = lay_out(backbone, sequences)
        run = layout.run
        if self.block:
            run = upper_run(backbone, layout, self.block, lower_states(backbone, layout,
                                                                      self.block))
        for member in self.members:
            yield member, member.head(run(member.adapter)[layout.rows, layout.last])

    def save(self, folder: Path) -> None:
        """Write M PEFT folders, `member-0` and on, each of which is a reward model by itself."""
        def fill(partial: Path) -> None:
            for number, member in enumerate(self.members):
                member.save(partial / f"member-{number}")
            about = {"members": len(self.members), "centers": self.centers, "block": self.block}
            (partial / _ABOUT).write_text(json.dumps(about), "utf-8")

        write_folder(folder, fill)

    @classmethod
    def load(cls, backbone: Backbone, folder: Path, adapter: str = "reward") -> Ensemble:
        """What `save` wrote.

        Raises:
            BadInput: there is no ensemble there, or one of another checkpoint.
        """
        try:
            about = json.loads((folder / _ABOUT).read_text("utf-8"))
            count, centers, block = (int(about["members"]), list(map(float, about["centers"])),
                                     int(about["block"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BadInput(f"{folder}: no ensemble can be read there: {error}") from error
        members = [RewardModel.load(backbone, folder / f"member-{number}", f"{adapter}-{number}")
                   for number in range(count)]
        return cls(members, centers, block)
