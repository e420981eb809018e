"""What every benchmark shares: flags, repeated timing, the machine, and how figures are shown."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any


def flags(description: str) -> argparse.Namespace:
    """The two flags that every benchmark takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="end within 8 minutes on 2 cores")
    parser.add_argument("--json", action="store_true", help="one flat JSON document instead")
    return parser.parse_args()


def seconds(work: Callable[[], object], repeats: int) -> list[float]:
    """Wall-clock seconds of repeated runs, after one that warms up."""
    work()
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return found


def rate(amount: float, timings: Sequence[float]) -> dict[str, float]:
    """Median, fastest and slowest of `amount` a second: with so few repeats that is the spread."""
    return {"value": amount / statistics.median(timings), "low": amount / max(timings),
            "high": amount / min(timings), "n": len(timings)}


def machine() -> dict[str, Any]:
    """Where and with what the figures were measured."""
    import torch

    return {"date": datetime.now(UTC).date().isoformat(), "processor": _processor(),
            "cores": os.cpu_count(), "python": platform.python_version(),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
            **{name: version(name) for name in ("torch", "transformers", "peft")}}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")),
                platform.processor())


def show(figures: Mapping[str, Mapping[str, float]], units: Mapping[str, str],
         as_json: bool) -> None:
    """A table for people, or one flat JSON document (KEY, KEY_low, KEY_high, KEY_n)."""
    about = machine()
    if as_json:
        flat: dict[str, Any] = {}
        for key, figure in figures.items():
            flat[key] = figure["value"]
            flat.update({f"{key}_{end}": figure[end] for end in ("low", "high", "n")})
        print(json.dumps({**flat, **about}, indent=2))
        return
    print(f"{'':28}{'median':>10}{'slowest':>10}{'fastest':>10}{'n':>4}")
    for key, figure in figures.items():
        print(f"{units[key]:28}{figure['value']:10.3g}{figure['low']:10.3g}"
              f"{figure['high']:10.3g}{figure['n']:4.0f}")
    print(", ".join(f"{key} {value}" for key, value in about.items() if value is not None))
