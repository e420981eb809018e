"""The learning curve as words, rows and a plot: pure functions of what the worker has kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from annotate.figures import NOTHING, duration, estimate_of, share
from annotate.plots import CALM
from data.measures.statistics import Estimate

Document = Mapping[str, Any]
#: Points of the plot's dotted line, from the last point to where it is extended to.
_STEPS = 12


def facts(state: Document | None, curve: Document | None) -> Iterator[tuple[str, str, str]]:
    """The figures that come first, as cards: name, value, what belongs under it."""
    accuracy = estimate_of(curve["points"][-1]["accuracy"]) if curve else None
    yield ("Accuracy by now", *share(accuracy))
    yield ("On held-out prompts alone", *share(estimate_of(curve["held_out"]) if curve else None))
    ahead = (curve or {}).get("forecast")
    gain = estimate_of(ahead["gain"]) if ahead else None
    further = (curve or {}).get("further", 100)
    yield (f"A further {further} labels", *_points(gain))
    if state:
        yield ("Answers learned from", f"{state['answers']:,}",
               f"the last taken in within {_brief(state['seconds_learning'])}"
               if state["answers"] else "none yet")


def _brief(seconds: float) -> str:
    return duration(seconds) if seconds >= 0.1 else f"{max(1000 * seconds, 1):.0f} ms"


def plot(curve: Document) -> dict[str, Any]:
    """Dots with their intervals, the fitted law through them, and dotted on to where it leads."""
    points = [(point["labels"], Estimate.from_dict(point["accuracy"])) for point in curve["points"]]
    labels = [at for at, _ in points]
    data: list[dict[str, Any]] = [{
        "type": "scatter", "mode": "lines+markers", "x": labels,
        "y": [100 * e.value for _, e in points], "line": {"width": 1, "color": CALM},
        "marker": {"size": 9, "color": CALM},
        "error_y": {"type": "data", "symmetric": False, "thickness": 2, "width": 4,
                    "array": [100 * (e.high - e.value) for _, e in points],
                    "arrayminus": [100 * (e.value - e.low) for _, e in points],
                    "color": "#8a9299"},
        "customdata": [[e.n, 100 * e.low, 100 * e.high] for _, e in points],
        "hovertemplate": "%{x:.0f} labels: %{y:.0f} % (%{customdata[1]:.0f}–"
                         "%{customdata[2]:.0f} %, n = %{customdata[0]:,})<extra></extra>"}]
    if ahead := curve["forecast"]:
        first, last = labels[0], labels[-1]
        end = last + curve["further"]
        data += [_law(ahead, first, last, "solid"), _law(ahead, last, end, "dot")]
        gain = Estimate.from_dict(ahead["gain"])
        now = 100 * ahead["now"]
        data.append({"type": "scatter", "mode": "markers", "x": [end],
                     "y": [now + 100 * gain.value],
                     "marker": {"size": 11, "symbol": "diamond-open", "color": "#c77d1e"},
                     "error_y": {"type": "data", "symmetric": False, "thickness": 2, "width": 4,
                                 "array": [100 * (gain.high - gain.value)],
                                 "arrayminus": [100 * (gain.value - gain.low)],
                                 "color": "#c77d1e"},
                     "hovertemplate": "%{x:.0f} labels: about %{y:.0f} %<extra></extra>"})
    lowest = min([100 * e.low for _, e in points] + [45.0])
    return {"data": data, "layout": {
        "height": 360, "showlegend": False, "dragmode": False,
        "margin": {"l": 56, "r": 12, "t": 8, "b": 48},
        "shapes": [{"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": 50, "y1": 50,
                    "line": {"dash": "dot", "width": 1, "color": "#888"}}],
        "xaxis": {"title": {"text": "labels"}, "rangemode": "tozero", "nticks": 8},
        "yaxis": {"range": [max(0.0, lowest - 3), 102], "ticksuffix": " %", "nticks": 7}}}


def in_words(curve: Document) -> str:
    """The plot for who cannot see it."""
    return "Accuracy of the instant model: " + "; ".join(
        f"{labels} labels {accuracy}" for labels, accuracy in rows(curve))


def rows(curve: Document) -> list[tuple[str, str]]:
    """Every point as text."""
    return [(f"{point['labels']:.0f}", Estimate.from_dict(point["accuracy"]).percent())
            for point in curve["points"]]


def tested_words(curve: Document) -> str:
    """What the accuracies are of."""
    return (f"Tested on the same {curve['tested']:,} decided pairs of {curve['prompts']:,} prompts "
            "at every point, each by a model that has seen no answer on its prompt. Only tasks "
            "that chance chose are tested on, since what a rule likes is no sample of the whole. "
            "Labels: answers on training prompts, in the order in which they came. Intervals are "
            "95 %, over prompts; the dotted line is chance.")


def forecast_words(curve: Document) -> list[str]:
    """What is to be expected of more labels, how sure that is, and how it did so far."""
    ahead, further = curve["forecast"], curve["further"]
    if not ahead:
        return [f"Too early to say: it takes 30 tested pairs (there are {curve['tested']:,}) and a "
                f"curve of five points up to 40 labels or more (by now {_last(curve):.0f})."]
    gain = Estimate.from_dict(ahead["gain"])
    lines = [f"By the law fitted to these points, a further {further} labels would bring about "
             f"{_points(gain)[0]} of accuracy ({100 * gain.low:.1f} to {100 * gain.high:.1f}, "
             f"n = {gain.n:,}), from {100 * ahead['now']:.0f} %. The interval allows for which "
             "prompts happened to be tested and for the scatter of the points. It does not allow "
             "for a wrong law (error = floor + scale × labels to a negative power), nor for other "
             "responses in new rounds: the truth is less certain than it says."]
    if check := ahead["check"]:
        lines.append(f"A hundred labels ago the same fit would have foreseen "
                     f"{100 * check['foreseen']:.1f} % for today; it came to be "
                     f"{100 * check['came']:.1f} %.")
    return lines


def order_words(state: Document) -> str:
    """How tasks are put in order."""
    if state["rule"] == "random":
        return "Open tasks come at random (the settings' section asking)."
    how = ("features and prior as cross-validation chose them at "
           f"{state['chosen_at']:,} answers" if state["chosen_at"]
           else "features and prior not yet chosen by labels")
    return (f"Open tasks are put in order by {state['rule']}; chance chooses "
            f"{100 * state['random_share']:.0f} % of them, and all held-out and head-to-head ones. "
            f"The model stands on {state['responses']:,} responses, {how}.")


def _points(gain: Estimate | None) -> tuple[str, str]:
    if gain is None:
        return NOTHING, "too early to say"
    return (f"+{100 * gain.value:.1f} points",
            f"n = {gain.n:,}, {100 * gain.low:.1f} to {100 * gain.high:.1f}")


def _last(curve: Document) -> float:
    return float(curve["points"][-1]["labels"])


def _law(ahead: Document, start: float, end: float, dash: str) -> dict[str, Any]:
    """The fitted law between two numbers of labels."""
    at = [start + (end - start) * step / _STEPS for step in range(_STEPS + 1)]
    return {"type": "scatter", "mode": "lines", "x": at, "hoverinfo": "skip",
            "y": [100 * (1 - ahead["floor"] - ahead["scale"] * x ** -ahead["exponent"])
                  for x in at],
            "line": {"width": 2, "dash": dash, "color": "#c77d1e"}}
