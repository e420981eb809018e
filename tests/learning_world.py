"""What the worker keeps of the instant model, made up: a curve, a forecast, a state."""

from __future__ import annotations

from typing import Any


def estimate(value: float, low: float, high: float, n: int = 120) -> dict[str, Any]:
    """As figures are kept."""
    return {"value": value, "n": n, "low": low, "high": high}


def kept_curve(forecast: bool = True) -> dict[str, Any]:
    """As the worker keeps it."""
    points = [{"labels": at, "accuracy": estimate(v, v - 0.08, v + 0.07)} for at, v in
              ((12.0, 0.58), (24.5, 0.64), (50.0, 0.69), (101.0, 0.73), (204.0, 0.76))]
    return {"points": points, "tested": 120, "prompts": 61, "further": 100, "answers": 260,
            "held_out": estimate(0.74, 0.6, 0.84, 45), "chosen_at": 128,
            "at": "2026-01-05T09:30:00.000000+00:00",
            "forecast": {"now": 0.757, "gain": estimate(0.013, 0.001, 0.031), "floor": 0.1,
                         "scale": 0.63, "exponent": 0.27,
                         "check": {"foreseen": 0.752, "came": 0.76}} if forecast else None}


STATE_KEPT = {"rule": "d-optimal", "random_share": 0.2, "at": "2026-01-05T09:31:00.000000+00:00",
              "answers": 204, "quick_updates": 1, "responses": 500, "features": "all",
              "spread": 0.7, "chosen_at": 128, "seconds_learning": 0.004, "seconds": 0.03}
