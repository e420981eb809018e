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


def crowd_loss(differences: Tensor, strengths: Tensor, offsets: Tensor, flipped: Tensor,
               margin_per_strength: float = 0.0, label_smoothing: float = 0.0) -> Tensor:
    """[P] the same for labelers with known habits, which Δ then need not explain, in nats.

        P(chosen wins) = (1 − q) σ(Δ' + h) + q σ(−Δ' + h),   Δ' = Δ − m (s − 1),

    where h is what their habits make of the pair (for the side shown first Davidson & Beaver 1977,
    for length as in Dubois et al. 2024) and q the probability that they judge against the reward
    (Chen et al. 2013, Crowd-BT, but the flip turns the reward alone: an unreliable labeler's habits
    stay theirs). P(rejected wins) is the rest to 1. Ties and smoothed labels weigh the two as in
    `bradley_terry_loss`, which this is where h = q = 0.

    Args:
        differences: [P] Δ.
        strengths: [P] 0 for a tie, else 1 and up.
        offsets: [P] h, towards the chosen response, in logits.
        flipped: [P] q.
        margin_per_strength: margin m for each level of strength above 1.
        label_smoothing: ε, from 0 to below ½.
    """
    gaps = differences - margin_per_strength * (strengths - 1).clamp(min=0)
    straight, turned = torch.log1p(-flipped), torch.log(flipped)
    won = torch.logaddexp(straight + logsigmoid(gaps + offsets),
                          turned + logsigmoid(-gaps + offsets))
    # 1 − σ(x) = σ(−x), in both readings
    lost = torch.logaddexp(straight + logsigmoid(-gaps - offsets),
                           turned + logsigmoid(gaps - offsets))
    right = torch.full_like(won, 1 - label_smoothing).masked_fill(strengths == 0, 0.5)
    return -right * won - (1 - right) * lost


def centering_loss(chosen: Tensor, rejected: Tensor) -> Tensor:
    """[P] (r(chosen) + r(rejected))², which holds rewards near 0.

    Preferences say nothing of a reward's level, which may so drift from prompt to prompt
    (Eisenstein et al. 2023, "Helping or herding?", section 2; `center_rewards_coefficient` in TRL).

    Args:
        chosen: [P] rewards of the preferred responses.
        rejected: [P] rewards of the others.
    """
    return (chosen + rejected) ** 2
