"""Estimates with their n and 95 % interval: no figure of prefloop is shown without both.

Everything is closed form or seeded, so the same data give the same digits. Only numpy and the
standard library: there is no scipy among our dependencies.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Any

import numpy as np

CONFIDENCE = 0.95
Z = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)
BOOTSTRAP_DRAWS = 1000


@dataclass(frozen=True)
class Estimate:
    """A figure, what it was counted over, and the ends of its 95 % interval."""

    value: float
    n: int
    low: float
    high: float

    def as_dict(self) -> dict[str, Any]:
        """`value`, `n`, `low` and `high`, for JSON: an end that is not finite becomes None."""
        return {key: v if math.isfinite(v) else None for key, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Estimate:
        """The inverse of `as_dict`; other keys are ignored."""
        low, high = values["low"], values["high"]
        return cls(float(values["value"]), int(values["n"]),
                   -math.inf if low is None else float(low),
                   math.inf if high is None else float(high))

    @property
    def bounded(self) -> bool:
        """Whether there is an interval to write or draw: too few values bound nothing."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    def percent(self) -> str:
        """For a share: `71.2 % (62.0–79.1 %, n = 120)`."""
        return self.beside(percent(self.value, 1),
                           f"{100 * self.low:.1f}–{100 * self.high:.1f} %")

    def rounded(self, digits: int) -> str:
        """For anything else: `0.71 (0.62 to 0.79, n = 120)`, with so many digits."""
        return self.beside(f"{self.value:.{digits}f}",
                           f"{self.low:.{digits}f} to {self.high:.{digits}f}")

    def beside(self, value: str, interval: str) -> str:
        """A written value with its interval, where it has one, and its n."""
        return f"{value} ({f'{interval}, ' if self.bounded else ''}n = {self.n:,})"

    def __str__(self) -> str:
        """`0.712 (0.620 to 0.791, n = 120)`."""
        return self.rounded(3)


def percent(share: float, digits: int = 0) -> str:
    """`71 %`; what is neither nothing nor all is not rounded to it: `99.8 %`, not `100 %`."""
    while 1e-9 < share < 1 - 1e-9 and round(100 * share, digits) in (0, 100):
        digits += 1
    return f"{100 * share:.{digits}f} %"


def proportion(successes: float, n: int) -> Estimate | None:
    """A share of n independent trials with its Wilson interval; None when n is 0.

    `successes` may be a fraction, since a tie counts half. Wilson (1927): stays within 0 and 1
    and keeps its coverage at small n and near the ends, where the textbook interval fails.
    """
    if n == 0:
        return None
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes in {n} trials")
    low, high = _wilson(successes / n, n, Z)
    return Estimate(successes / n, n, low, high)


def mean(values: Sequence[float]) -> Estimate | None:
    """The mean of independent values with Student's t interval; None without values.

    One value says nothing of the spread: its interval is unbounded on both sides.
    """
    n = len(values)
    if n == 0:
        return None
    data = np.asarray(values, dtype=float)
    if n == 1:
        return Estimate(float(data[0]), 1, -math.inf, math.inf)
    middle = float(data.mean())
    half = student_t(n - 1) * float(data.std(ddof=1)) / math.sqrt(n)
    return Estimate(middle, n, middle - half, middle + half)


def mean_of_means(values: Sequence[float], clusters: Sequence[Hashable]) -> Estimate | None:
    """The mean of values that come in clusters, such as those of one prompt's responses, each
    cluster counting once with its own mean; n counts clusters. None without values."""
    of: dict[Hashable, list[float]] = {}
    for value, cluster in zip(values, clusters, strict=True):
        of.setdefault(cluster, []).append(value)
    return mean([sum(each) / len(each) for each in of.values()])


def median(values: Sequence[float]) -> Estimate | None:
    """The median of independent values between two of their order statistics; None without values.

    Distribution-free (Conover 1999, section 3.2): the median lies below the r-th smallest value
    as often as a fair coin falls on one side r − 1 times or fewer in n throws, and likewise above
    the r-th largest. Fewer than six values bound nothing: both ends are infinite.
    """
    n = len(values)
    if n == 0:
        return None
    data = np.sort(np.asarray(values, dtype=float))
    rank = _rank_below_median(n)
    low, high = ((float(data[rank - 1]), float(data[n - rank])) if rank
                 else (-math.inf, math.inf))
    return Estimate(float(np.median(data)), n, low, high)


def clustered_mean(values: Sequence[float], clusters: Sequence[Hashable]) -> Estimate | None:
    """The mean of values within 0 and 1 that come in clusters, such as pairs that share a prompt.

    Values of one cluster are no independent witnesses, so an interval from n alone is too narrow.
    Wilson's interval is taken at the effective sample size p(1 − p) / V, where V is the
    cluster-robust (linearised) variance of the mean, with t of clusters − 1 degrees of freedom in
    z's place (Korn & Graubard 1998, with Wilson's interval for theirs; Franco et al. 2019 compare
    them). The effective size is never above n; where all values agree V is 0 and says nothing,
    so every cluster counts once. None without values.

    Raises:
        ValueError: a value outside 0 to 1, or not one cluster for each value.
    """
    if len(values) != len(clusters):
        raise ValueError(f"{len(values)} values, but {len(clusters)} clusters")
    if len(values) == 0:
        return None
    data = np.asarray(values, dtype=float)
    if not ((data >= 0) & (data <= 1)).all():
        raise ValueError("a value lies outside 0 to 1")
    numbers: dict[Hashable, int] = {}
    index = np.array([numbers.setdefault(cluster, len(numbers)) for cluster in clusters])
    n, groups, share = len(data), len(numbers), float(data.mean())
    if groups == 1:
        low, high = _wilson(share, 1.0, Z)
        return Estimate(share, n, low, high)
    size = effective_size(data, index)
    # G/(G−1): with few clusters, V on its own is too small.
    size = groups if size is None else min(max(size * (groups - 1) / groups, 1.0), n)
    low, high = _wilson(share, size, student_t(groups - 1))
    return Estimate(share, n, low, high)


def effective_size(values: np.ndarray[Any, Any],
                   clusters: np.ndarray[Any, Any]) -> float | None:
    """How many independent values tell as much as these, which come in clusters; not bounded by n.

    p(1 − p) / V with the cluster-robust variance V = Σ_g (Σ_{i in g} (y_i − p))² / n² of their
    mean p: n where every cluster holds one value. `clusters` numbers each value's cluster from 0,
    shape [n]. None where V is 0 (all values agree, say), which tells nothing: count every cluster
    once.
    """
    share = float(values.mean())
    residuals = np.bincount(clusters, weights=values - share)
    variance = float((residuals**2).sum()) / len(values)**2
    return share * (1 - share) / variance if variance > 1e-15 else None


def bootstrap(statistic: Callable[[np.ndarray[Any, Any]], float], size: int,
              draws: int = BOOTSTRAP_DRAWS, seed: int = 0,
              copies: np.ndarray[Any, Any] | None = None) -> tuple[float, float]:
    """The percentile bootstrap's 95 % interval (Efron 1979) of a statistic of `size` units.

    `statistic` is given how often each unit was drawn (shape [size]); draws for which it is
    undefined (nan) are left out. Where many units are alike, `copies` says how many there are of
    each kind (shape [kinds], adding up to `size`), and the statistic is given how often each kind
    was drawn: the same interval for a fraction of the work. Seeded: the same units give the same
    interval. One unit says nothing of how they differ: its interval is unbounded.
    """
    if size == 1:
        return -math.inf, math.inf
    rng = np.random.default_rng(seed)

    def draw() -> np.ndarray[Any, Any]:
        if copies is not None:
            return np.asarray(rng.multinomial(size, copies / size))
        return np.bincount(rng.integers(size, size=size), minlength=size)

    found = np.array([statistic(draw()) for _ in range(draws)])
    found = found[~np.isnan(found)]
    if not len(found):
        return math.nan, math.nan
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(found, [tail, 1 - tail])
    return float(low), float(high)


@lru_cache(maxsize=1024)
def student_t(degrees: int) -> float:
    """The 97.5 % quantile of Student's t, by bisection of its exact distribution.

    Past 1,000 degrees of freedom the first term of Cornish–Fisher, z + (z³ + z)/4ν, is exact to
    five digits (Abramowitz & Stegun 26.7.5).
    """
    if degrees > 1000:
        return Z + (Z**3 + Z) / (4 * degrees)
    low, high = 0.0, 13.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, degrees) < CONFIDENCE else (low, middle)
    return high


def _within(t: float, degrees: int) -> float:
    """P(|T| < t), a finite sum for whole degrees of freedom (Abramowitz & Stegun 26.7.3–4)."""
    angle = math.atan(t / math.sqrt(degrees))
    cosine = math.cos(angle)
    odd = degrees % 2
    term, total = (cosine, 0.0) if odd else (1.0, 0.0)
    for k in range(2 + odd, degrees + 1, 2):
        total += term
        term *= cosine**2 * (k - 1) / k
    return 2 / math.pi * (angle + math.sin(angle) * total) if odd else math.sin(angle) * total


@lru_cache(maxsize=1024)
def _rank_below_median(n: int) -> int:
    """The largest r with P(Binomial(n, ½) ≤ r − 1) ≤ 2.5 %; 0 if there is none."""
    if n > 1000:
        return math.floor((n - Z * math.sqrt(n)) / 2)  # at most one rank off, at this n
    tail, rank = 1, 0  # in units of 2**-n
    while tail <= (1 - CONFIDENCE) / 2 * 2**n:
        rank += 1
        tail += math.comb(n, rank)
    return rank


def _wilson(share: float, n: float, z: float) -> tuple[float, float]:
    """Both roots q of (share − q)² = z² q(1 − q) / n."""
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    # Rounding must not push an end past the share itself (at 0 and at 1 they coincide).
    return max(0.0, min(middle - half, share)), min(1.0, max(middle + half, share))
