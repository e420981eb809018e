"""The Quality page's own plots: what others have published, and labels over time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from annotate.plots import CALM

#: Published agreement as bands of percent: who, from, to (see `data.measures.agreement`).
PUBLISHED = (("HH", 62.5, 63.5), ("InstructGPT, Stiennon", 71.1, 78.6))


def over_time(moments: Mapping[str, int]) -> dict[str, Any]:
    """Answers by ten minutes within a day, by hour within four days, else by day.

    `moments` counts them by ten minutes: `2026-11-20T17:4` for those from 17:40 on.
    """
    days = len({moment[:10] for moment in moments})
    length, rest, minutes = ((15, "0", 10) if days < 2 else (13, ":00", 60) if days < 5
                             else (10, "", 24 * 60))
    counts: dict[str, int] = {}
    for moment, count in moments.items():
        counts[moment[:length] + rest] = counts.get(moment[:length] + rest, 0) + count
    return {"data": [{"type": "bar", "x": list(counts), "y": list(counts.values()),
                      "width": 0.92 * minutes * 60_000, "offset": 0, "marker": {"color": CALM},
                      "hovertemplate": "%{x}: %{y:,} labels<extra></extra>"}],
            "layout": {"height": 220, "showlegend": False, "dragmode": False,
                       "margin": {"l": 44, "r": 8, "t": 8, "b": 30},
                       "xaxis": {"type": "date", "nticks": 8},
                       "yaxis": {"nticks": 5}}}
