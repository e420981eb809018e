"""The reward model's loss, as pure functions of reward differences."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


def bradley_terry_loss(differences: Tensor, strengths: Tensor,
                       margin_per_strength: float = 0.0) -> Tensor:
    """[P] each pair's negative log-likelihood, in nats.

    A decided pair wins with probability σ(Δ), Δ = r(chosen) − r(rejected) (Bradley & Terry 1952).
    A margin that grows with the strength of the preference asks for a wider gap where labelers
    were surer (Touvron et al. 2023, Llama 2, eq. 2). A tie is a label of ½ for either side, so it
    is symmetric and smallest at Δ = 0 (Christiano et al. 2017, section 2.2.3: "equally preferable"
    is the uniform μ).

    Args:
        differences: [P] Δ.
        strengths: [P] 0 for a tie, else 1 and up.
        margin_per_strength: margin m for each level of strength above 1.
    """
    # −log σ(Δ − m (s − 1))
    decided = -logsigmoid(differences - margin_per_strength * (strengths - 1))
    # −½ [log σ(Δ) + log σ(−Δ)]
    tied = -0.5 * (logsigmoid(differences) + logsigmoid(-differences))
    return torch.where(strengths == 0, tied, decided)
