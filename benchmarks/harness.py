"""What every benchmark shares: flags, repeated timing, percentiles, the machine, and how figures
are shown. Imports nothing heavy: what a benchmark does not need is not loaded beside it."""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

#: A figure: its value, the ends of its interval (or of its spread), and how many runs it is of.
Figure = dict[str, float]
#: What the stages that train and sample stand on; other benchmarks name their own.
MODEL_PACKAGES = ("torch", "transformers", "peft")
BOOTSTRAPS = 2000
#: Above this many times, products decide which precision trains faster.
CLEARLY = 4.0


def flags(description: str, *, curves: bool = False, keep: bool = False) -> argparse.Namespace:
    """The flags that every benchmark takes, with `curves` the file for them, and with `keep` the
    folder for what takes long."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="end within 8 minutes on 2 cores")
    parser.add_argument("--json", action="store_true", help="one flat JSON document instead")
    if curves:
        parser.add_argument("--curves", type=Path, metavar="FILE",
                            help="also keep the curves, for benchmarks.plots to draw")
    if keep:
        parser.add_argument("--keep", type=Path, metavar="FOLDER",
                            help="keep what is done there, and go on from what a run before kept")
    return parser.parse_args()


def peer_precisions(quick: bool) -> tuple[str, ...]:
    """The precisions in which a peer is tried, to be held against the faster one.

    Only that whose matrix products are faster on this machine with `quick`, or where the other one
    has no chance: bf16 is emulated on CPUs without instructions for it, and takes hours a step.
    """
    from backbone.device import bf16_speedup, choose_device

    speedup = bf16_speedup(choose_device("auto"))
    if quick or speedup > CLEARLY or speedup < 1 / CLEARLY:
        return ("bf16",) if speedup > 1 else ("fp32",)
    return ("bf16", "fp32")


def say(text: str) -> None:
    """One line of progress, apart from the figures."""
    print(text, file=sys.stderr, flush=True)


def seconds(work: Callable[[], object], repeats: int) -> list[float]:
    """Wall-clock seconds of repeated runs, after one that warms up."""
    work()
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return found


def rate(amount: float, timings: Sequence[float]) -> Figure:
    """Median, fastest and slowest of `amount` a second: with so few repeats that is the spread."""
    return {"value": amount / statistics.median(timings), "low": amount / max(timings),
            "high": amount / min(timings), "n": len(timings)}


def spread(values: Sequence[float]) -> Figure:
    """Median, least and greatest: of so few values that is all there is to say."""
    return {"value": statistics.median(values), "low": min(values), "high": max(values),
            "n": len(values)}


def percentile(values: Sequence[float], share: float) -> Figure:
    """The value below which a share (0 to 1) of the values lie, with its 95 % interval.

    The interval is made of order statistics, whatever the distribution: the number of values below
    the true percentile is binomial, here in its normal approximation. Where the sample is too
    small to bound it, its own smallest or largest value stands there.

    Raises:
        ValueError: there are no values.
    """
    ordered, n = sorted(values), len(values)
    if not ordered:
        raise ValueError("no values, so no percentile")
    spread = 1.96 * math.sqrt(n * share * (1 - share))

    def at(rank: float) -> float:
        """The value of a rank that counts from 1."""
        return ordered[min(max(math.ceil(rank), 1), n) - 1]

    return {"value": at(n * share), "low": at(n * share - spread),
            "high": at(n * share + spread + 1), "n": n}


def median_ratio(above: Sequence[float], below: Sequence[float]) -> Figure:
    """How many times the median of one sample is that of another, with a 95 % bootstrap interval.

    n is the size of the smaller sample.
    """
    rng = random.Random(0)

    def drawn(values: Sequence[float]) -> float:
        return statistics.median(rng.choices(values, k=len(values)))

    ratios = sorted(drawn(above) / drawn(below) for _ in range(BOOTSTRAPS))
    return {"value": statistics.median(above) / statistics.median(below),
            "low": ratios[round(0.025 * BOOTSTRAPS)], "high": ratios[round(0.975 * BOOTSTRAPS)],
            "n": min(len(above), len(below))}


def exact(value: float, n: int = 1) -> Figure:
    """A figure that is counted, not sampled: it has no spread."""
    return {"value": value, "low": value, "high": value, "n": n}


def machine(packages: Sequence[str] = MODEL_PACKAGES) -> dict[str, Any]:
    """Where and with what (versions of which packages) the figures were measured."""
    return {"date": datetime.now(UTC).date().isoformat(), "processor": _processor(),
            "cores": os.cpu_count(), "python": platform.python_version(),
            "gpu": _gpu() if "torch" in packages else None,
            **{name: version(name) for name in packages}}


def _gpu() -> str | None:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")),
                platform.processor())


def show(figures: Mapping[str, Mapping[str, float]], units: Mapping[str, str],
         as_json: bool, packages: Sequence[str] = MODEL_PACKAGES) -> None:
    """A table for people, or one flat JSON document (KEY, KEY_low, KEY_high, KEY_n)."""
    about = machine(packages)
    if as_json:
        flat: dict[str, Any] = {}
        for key, figure in figures.items():
            flat[key] = figure["value"]
            flat.update({f"{key}_{end}": figure[end] for end in ("low", "high", "n")})
        print(json.dumps({**flat, **about}, indent=2))
        return
    width = max([28, *(len(text) + 2 for text in units.values())])
    print(f"{'':{width}}{'value':>10}{'low':>10}{'high':>10}{'n':>8}")
    for key, figure in figures.items():
        cells = "".join(f"{_short(figure[end]):>10}" for end in ("value", "low", "high"))
        print(f"{units[key]:{width}}{cells}{figure['n']:8.0f}")
    print(", ".join(f"{key} {value}" for key, value in about.items() if value is not None))


def _short(number: float) -> str:
    """Three digits, but whole numbers whole."""
    return f"{number:,.0f}" if number == int(number) or abs(number) >= 1000 else f"{number:.3g}"
