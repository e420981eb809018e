"""The learning curve as a document that the store keeps and pages and commands show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reward.instant.learning_curve import Curve, Forecast
    from reward.instant.model import InstantModel, Learned


def document(model: InstantModel, pairs: Learned) -> dict[str, Any] | None:
    """The curve, its last point by kind of prompt, and the forecast; None: nothing can be said."""
    from reward.instant.learning_curve import FURTHER, forecast, learning_curve

    curve = learning_curve(model, pairs)
    if curve is None:
        return None
    ahead = forecast(curve)
    return {"points": [_point(curve, place) for place in range(len(curve.labels))],
            "tested": curve.right.shape[1], "prompts": curve.prompts,
            "held_out": _held_out(curve), "further": FURTHER,
            "forecast": None if ahead is None else _forecast(ahead)}


def _point(curve: Curve, place: int) -> dict[str, Any]:
    accuracy = curve.accuracy(place)
    assert accuracy is not None  # a curve has tested pairs
    return {"labels": float(curve.labels[place]), "accuracy": accuracy.as_dict()}


def _held_out(curve: Curve) -> dict[str, Any] | None:
    """The last point on held-out prompts alone, which the LoRA model is tested on too."""
    accuracy = curve.accuracy(-1, curve.held_out)
    return None if accuracy is None else accuracy.as_dict()


def _forecast(ahead: Forecast) -> dict[str, Any]:
    return {"now": ahead.now, "gain": ahead.gain.as_dict(), "floor": ahead.law.floor,
            "scale": ahead.law.scale, "exponent": ahead.law.exponent,
            "check": None if ahead.check is None else
            {"foreseen": ahead.check[0], "came": ahead.check[1]}}
