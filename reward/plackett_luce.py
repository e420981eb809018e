"""A ranking of K responses as one outcome: the Plackett–Luce likelihood, ties averaged over.

A ranking is read as K choices, each of the best of what is left (Luce 1959; Plackett 1975):

    log P(1 ≻ 2 ≻ … ≻ K) = Σ_j [ r_j − log Σ_{i ≥ j} exp r_i ],

and for K = 2 that is Bradley–Terry. Responses that a labeler tied count as every order among them,
each with the same share of one vote: the loss is the mean over those orders of −log P. So a tie of
two is the label of ½ for either side that `reward.losses` uses, a tie pulls scores together, and no
propensity to tie has to be learned. (Summing the orders' probabilities instead, the exact partial
likelihood of Kalbfleisch & Prentice 1973, would let a tie of all K say nothing at all.)
What is left out: strengths and margins, which a ranking as a whole does not have.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from reward.examples import Pair

#: The largest tied group whose orders are all averaged over: 2⁸ sets. Of a larger one only the
#: orders that begin anywhere and go round, in which every response has every place once.
MOST_TIED = 8


@dataclass(frozen=True)
class Ranking:
    """What one labeler said of some responses of one prompt."""

    groups: tuple[tuple[int, ...], ...]
    """Groups of response ids, best to worst; a group of several is a tie."""
    weight: float = 1.0
    """How much it counts: 1 is one answer, whatever the number of its responses."""

    @property
    def ids(self) -> list[int]:
        """Every response that it ranks."""
        return [i for group in self.groups for i in group]


def rankings_of(pairs: Sequence[Pair]) -> list[Ranking]:
    """The rankings that pairs were derived from: one for each comparison, in its pairs' order.

    A response stands one place below the lowest of those that beat it. Pairs may be missing (those
    of identical texts are left out); what is not said is then a tie, so all that are kept of a
    comparison have to come together.
    """
    of_comparison: dict[int, list[Pair]] = defaultdict(list)
    for pair in pairs:
        of_comparison[pair.comparison_id].append(pair)
    found = []
    for mine in of_comparison.values():
        place = {i: 0 for p in mine for i in (p.chosen_id, p.rejected_id)}
        for _ in place:  # as many passes as the longest chain could need
            for pair in mine:
                if not pair.is_tie:
                    place[pair.rejected_id] = max(place[pair.rejected_id],
                                                  place[pair.chosen_id] + 1)
                else:
                    lower = max(place[pair.chosen_id], place[pair.rejected_id])
                    place[pair.chosen_id] = place[pair.rejected_id] = lower
        groups: dict[int, list[int]] = defaultdict(list)
        for response_id, number in place.items():
            groups[number].append(response_id)
        found.append(Ranking(tuple(tuple(groups[number]) for number in sorted(groups)),
                             sum(pair.counts for pair in mine)))
    return found


def plackett_luce_losses(scores: Tensor, rankings: Sequence[Ranking],
                         rows: Mapping[int, int]) -> Tensor:
    """[R] each ranking's −log likelihood in nats a choice: divided by K − 1, so that answers about
    many responses and about two weigh alike, as pairs' weights see to where pairs are learned from.

    Args:
        scores: [B] rewards; the result is differentiable in them.
        rankings: of responses that are all among the rows, none of a single one.
        rows: response id -> index into scores.
    """
    choices = [(number, weight, [rows[i] for i in members])
               for number, ranking in enumerate(rankings)
               for weight, members in _choices(ranking.groups)]
    width = max(len(members) for _, _, members in choices)
    device = scores.device
    # −log P = Σ over choices of log Σ exp r (over what is left) − Σ over responses of r
    index = torch.tensor([m + [0] * (width - len(m)) for _, _, m in choices], device=device)
    real = torch.tensor([[n < len(m) for n in range(width)] for _, _, m in choices], device=device)
    weights = torch.tensor([w for _, w, _ in choices], device=device, dtype=scores.dtype)
    which = torch.tensor([number for number, _, _ in choices], device=device)
    left = scores[index].masked_fill(~real, -torch.inf).logsumexp(1)
    losses = scores.new_zeros(len(rankings)).index_add(0, which, weights * left)
    taken = torch.tensor([rows[i] for r in rankings for i in r.ids], device=device)
    owner = torch.tensor([n for n, r in enumerate(rankings) for _ in r.ids], device=device)
    losses = losses.index_add(0, owner, -scores[taken])
    return losses / torch.tensor([len(r.ids) - 1 for r in rankings], device=device)


def ranking_loss(scores: Tensor, pairs: Sequence[Pair], rows: Mapping[int, int]) -> Tensor:
    """The weighted sum of the losses of the rankings that pairs were derived from."""
    rankings = rankings_of(pairs)
    weights = torch.tensor([r.weight for r in rankings], device=scores.device, dtype=scores.dtype)
    return (weights * plackett_luce_losses(scores, rankings, rows)).sum()


def _choices(groups: Sequence[Sequence[int]]) -> Iterator[tuple[float, list[int]]]:
    """Every set that was chosen from, with its share of the orders that agree with the ranking.

    Before each choice within a tied group of m, what is left of it is any of its subsets of that
    size, all equally often: s of m are left in 1 of (m choose s) orders each.
    """
    below: list[int] = []
    for group in reversed(groups):
        size = len(group)
        if size <= MOST_TIED:
            for left in range(1, size + 1):
                for subset in combinations(group, left):
                    yield 1 / math.comb(size, left), [*subset, *below]
        else:
            round_twice = [*group, *group]
            yield 1.0, [*group, *below]
            for left in range(1, size):
                for start in range(size):
                    yield 1 / size, [*round_twice[start:start + left], *below]
        below = [*group, *below]
