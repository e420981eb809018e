"""The reward model's losses, as pure functions of rewards and their differences."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


def bradley_terry_loss(differences: Tensor, strengths: Tensor, margin_per_strength: float = 0.0,
                       label_smoothing: float = 0.0) -> Tensor:
    """[P] each pair's negative log-likelihood, in nats.

    A decided pair wins with probability σ(Δ), Δ = r(chosen) − r(rejected) (Bradley & Terry 1952).
    A margin that grows with the strength of the preference asks for a wider gap where labelers
    were surer (Touvron et al. 2023, Llama 2, eq. 2). With label smoothing a decided label is wrong
    with probability ε (Szegedy et al. 2016, section 7; for preferences Mitchell 2023, "A note on
    DPO with noisy preferences"): the best gap is then log((1 − ε)/ε) beyond the margin, not
    infinite. The margin moves the one probability that both labels are judged by, so that the two
    still add up to 1 and the best gap is wider by the margin itself, whatever ε. A tie is a label
    of ½ for either side, so it is symmetric and smallest at Δ = 0 (Christiano et al. 2017, section
    2.2.3: "equally preferable" is the uniform μ).

    Args:
        differences: [P] Δ.
        strengths: [P] 0 for a tie, else 1 and up.
        margin_per_strength: margin m for each level of strength above 1.
        label_smoothing: ε, from 0 to below ½.
    """
    gaps = differences - margin_per_strength * (strengths - 1)
    # −log σ(Δ − m (s − 1))
    decided = -logsigmoid(gaps)
    if label_smoothing:
        # −(1 − ε) log σ(Δ − m (s − 1)) − ε log σ(−(Δ − m (s − 1)))
        decided = (1 - label_smoothing) * decided - label_smoothing * logsigmoid(-gaps)
    # −½ [log σ(Δ) + log σ(−Δ)]
    tied = -0.5 * (logsigmoid(differences) + logsigmoid(-differences))
    return torch.where(strengths == 0, tied, decided)


def centering_loss(chosen: Tensor, rejected: Tensor) -> Tensor:
    """[P] (r(chosen) + r(rejected))², which holds rewards near 0.

    Preferences say nothing of a reward's level, which may so drift from prompt to prompt
    (Eisenstein et al. 2023, "Helping or herding?", section 2; `center_rewards_coefficient` in TRL).

    Args:
        chosen: [P] rewards of the preferred responses.
        rejected: [P] rewards of the others.
    """
    return (chosen + rejected) ** 2
