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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from backbone.flat_pass import runs_flat
from backbone.layouts import Layout, Lower, lay_out
from backbone.model import Backbone
from backbone.storage import write_folder
from data.errors import BadInput
from data.records import Message
from reward.about import read_about
from reward.batches import encode
from reward.model import SCORING_TOKENS, RewardModel
from reward.passes import parts_within

Array = np.ndarray[Any, Any]
Rule = Literal["mean", "worst", "variance-penalised"]
RULES: tuple[Rule, ...] = get_args(Rule)
#: Hears the share of the scoring that is done; what it raises ends the scoring.
OnBatch = Callable[[float], None] | None
#: Beside the members' folders: how many there are, and what they share.
ABOUT = "ensemble.json"
#: Texts in one forward pass of scoring, as of a reward model.
_ROWS = 32


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


def member_folder(folder: Path, number: int) -> Path:
    """Where a member of the ensemble kept in `folder` lies: a reward model by itself."""
    return folder / f"member-{number}"


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

    @property
    def max_length(self) -> int:
        """Longest conversation in tokens."""
        return self.members[0].max_length

    def score(self, conversations: Sequence[Sequence[Message]], rule: Rule = "mean",
              penalty: float = 1.0, *, on_batch: OnBatch = None) -> list[float]:
        """One score for each conversation, by a rule (see `combined`)."""
        found: list[float] = combined(self.member_scores(conversations, on_batch), rule,
                                      penalty).tolist()
        return found

    def spread(self, conversations: Sequence[Sequence[Message]]) -> list[float]:
        """Standard deviation of the members' centred scores, of each conversation."""
        found: list[float] = self.member_scores(conversations).std(axis=0).tolist()
        return found

    def score_ids(self, sequences: Sequence[Sequence[int]], batch_size: int = _ROWS,
                  on_batch: OnBatch = None) -> list[float]:
        """The members' mean, for conversations that are token ids already."""
        found: list[float] = self.member_scores_of_ids(sequences, batch_size,
                                                       on_batch).mean(axis=0).tolist()
        return found

    def member_scores(self, conversations: Sequence[Sequence[Message]],
                      on_batch: OnBatch = None) -> Array:
        """[M, n] each member's centred score of each conversation's last turn."""
        ids = [encode(self.backbone, conversation, self.max_length)[0]
               for conversation in conversations]
        return self.member_scores_of_ids(ids, on_batch=on_batch)

    @torch.no_grad()
    def member_scores_of_ids(self, sequences: Sequence[Sequence[int]], batch_size: int = _ROWS,
                             on_batch: OnBatch = None) -> Array:
        """[M, n] centred scores of token id sequences, in the very passes that each member alone
        would make; `on_batch` hears the share that is done."""
        found = np.zeros((len(self.members), len(sequences)))
        flat, done = runs_flat(self.backbone), 0
        for part in parts_within(dict(enumerate(sequences)), SCORING_TOKENS, flat, batch_size):
            for number, member in enumerate(self.one_pass()):
                scores = member.scores_of([sequences[row] for row in part])
                found[number, list(part)] = scores.cpu().numpy()
            done += len(part)
            if on_batch is not None:
                on_batch(done / len(sequences))
        return np.asarray(found - np.array(self.centers)[:, None])

    def one_pass(self) -> list[RewardModel | _Above]:
        """The members for one batch of texts, in order: what lower blocks they share is run once.

        Gradients flow into each member's own adapter and head; whoever carries them back before
        asking the next member for scores holds only one member's activations.
        """
        if not self.block:
            return [*self.members]
        lower: dict[tuple[tuple[int, ...], ...], tuple[Layout, Lower]] = {}
        return [_Above(member, self.block, lower) for member in self.members]

    def save(self, folder: Path) -> None:
        """Write M PEFT folders, `member-0` and on, each of which is a reward model by itself."""
        def fill(partial: Path) -> None:
            for number, member in enumerate(self.members):
                member.save(member_folder(partial, number))
            about = {"members": len(self.members), "centers": self.centers, "block": self.block}
            (partial / ABOUT).write_text(json.dumps(about), "utf-8")

        write_folder(folder, fill)

    @classmethod
    def load(cls, backbone: Backbone, folder: Path, adapter: str = "reward") -> Ensemble:
        """What `save` wrote.

        Raises:
            BadInput: there is no ensemble there, or one of another checkpoint.
        """
        with read_about(folder / ABOUT, "ensemble") as about:
            count, centers, block = (int(about["members"]), list(map(float, about["centers"])),
                                     int(about["block"]))
        if count < 1 or len(centers) != count or block < 0:
            raise BadInput(f"{folder / ABOUT}: names {count} members and {len(centers)} centers")
        members = [RewardModel.load(backbone, member_folder(folder, number), f"{adapter}-{number}")
                   for number in range(count)]
        return cls(members, centers, block)


class _Above:
    """A member whose passes begin behind the blocks that all members share."""

    def __init__(self, member: RewardModel, block: int,
                 lower: dict[tuple[tuple[int, ...], ...], tuple[Layout, Lower]]) -> None:
        self._member, self._block, self._lower = member, block, lower

    def scores_of(self, sequences: Sequence[Sequence[int]]) -> Tensor:
        """[B] scores of token id sequences; gradients flow."""
        backbone, key = self._member.backbone, tuple(map(tuple, sequences))
        if key not in self._lower:
            layout = lay_out(backbone, sequences)
            self._lower[key] = layout, layout.lower(self._block)
        layout, lower = self._lower[key]
        scores: Tensor = self._member.head(layout.ends(self._member.adapter, lower))
        return scores
