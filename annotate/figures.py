"""Figures as people read them: never without their n and interval, and marked where simulated."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from data.measures.statistics import Estimate, percent
from data.records import Labeler
from data.visible import reveal

NOTHING = "–"
#: What the Markdown of Streamlit's labels takes for the beginning of an address.
_ADDRESS = re.compile(r"https?(?=:)|www(?=\.)|@", re.IGNORECASE)
#: What no line may end within: a time, a date, a figure, an interval, its n, a version's name
#: (`2026-11-30 08:41 UTC`, `-0.027`, `42.0–68.7 %`, `n = 296`, `reward-2`). None of it means
#: anything in HTML.
_WHOLE = re.compile(r"(?<![^\s(])(?:\d{4}-\d\d-\d\d \d\d:\d\d UTC|[-+]?\d[\d.,]{0,11} %"
                    r"|-\d[\d.]{0,11}|[\w.,]{1,20}(?:[-–]\d[\d.,]{0,9}){1,3}(?: %)?|n = [\d,]+)")
_HYPHEN = re.compile("[-–]")


def share(estimate: Estimate | None) -> tuple[str, str]:
    """A share as its value and what belongs under it: `71 %`, `n = 120, 62–79 %`."""
    if estimate is None or not math.isfinite(estimate.value):
        return NOTHING, "no data yet"
    return percent(estimate.value), _under(
        estimate, f"{100 * estimate.low:.0f}–{100 * estimate.high:.0f} %")


def number(estimate: Estimate | None) -> tuple[str, str]:
    """Any other estimate as its value and what belongs under it."""
    if estimate is None or not math.isfinite(estimate.value):
        return NOTHING, "no data yet"
    return plain(estimate.value), _under(
        estimate, f"{plain(estimate.low)} to {plain(estimate.high)}")


def time(estimate: Estimate | None) -> tuple[str, str]:
    """A time per task as its value and what belongs under it: `21 s`, `n = 120, 18 s to 24 s`."""
    if estimate is None or not math.isfinite(estimate.value):
        return NOTHING, "no data yet"
    return duration(estimate.value), _under(
        estimate, f"{duration(estimate.low)} to {duration(estimate.high)}")


def _under(estimate: Estimate, interval: str) -> str:
    """How many it is from, and its interval; of too few there is none."""
    return f"n = {estimate.n:,}" + (f", {interval}" if estimate.bounded else "")


def plain(value: float) -> str:
    """A number in as few digits as say something."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) or (math.isfinite(value) and value == int(value)
                                  and abs(value) < 1e6):
        return f"{int(value):,}"
    return f"{value:.3g}" if math.isfinite(value) else NOTHING


def estimate_of(value: Any) -> Estimate | None:
    """An estimate from a job's stored result, whose interval may be unbounded; None if it is
    something else."""
    if isinstance(value, Mapping) and {"value", "n", "low", "high"} <= value.keys() \
            and all(isinstance(value[k], int | float) for k in ("value", "n")) \
            and all(isinstance(value[k], int | float | None) for k in ("low", "high")):
        return Estimate.from_dict(value)
    return None


def is_share(name: str, estimate: Estimate) -> bool:
    """Whether a stored estimate is a share, to be shown in percent."""
    words = ("accuracy", "rate", "share", "agreement", "baseline", "chance", "wins")
    return 0 <= estimate.value <= 1 and any(word in name for word in words)


def title_of(name: str) -> str:
    """`held_out_accuracy` as `Held-out accuracy`."""
    words = name.replace("held_out", "held-out").replace("_", " ").strip()
    for short, written in (("kl", "KL"), ("eos", "EOS"), ("ppo", "PPO"), ("gae", "GAE")):
        words = " ".join(written if word == short else word for word in words.split())
    return words[:1].upper() + words[1:]


def facts_html(facts: Iterable[tuple[str, str, str]]) -> str:
    """Cards of name, value and what belongs under it."""
    cards = "".join(
        f'<div class="pf-fact"><div class="pf-name">{text_html(name)}</div>'
        f'<div class="pf-value">{text_html(value)}</div>'
        f'<div class="pf-more">{text_html(more)}</div></div>'
        for name, value, more in facts)
    return f'<div class="pf-facts">{cards}</div>'


@dataclass(frozen=True)
class Linked:
    """A text in a table that leads to another page of the app."""

    text: str
    address: str


def cell_html(what: str | Linked) -> str:
    """A plain text, or one that leads somewhere."""
    if isinstance(what, str):
        return text_html(what)
    return f'<a href="{html.escape(what.address)}" target="_self">{cell_html(what.text)}</a>'


def text_html(text: str) -> str:
    """A plain text as HTML, in which no line ends within a figure or a date."""
    def kept(whole: re.Match[str]) -> str:
        kind = "pf-whole pf-moment" if whole[0].endswith("UTC") else "pf-whole"
        return f'<span class="{kind}">{whole[0]}</span>'

    return _WHOLE.sub(kept, html.escape(reveal(text)))


def table_html(head: Sequence[str], rows: Iterable[Sequence[str | Linked]],
               numbers: Iterable[int] = ()) -> str:
    """A small table of plain texts; the columns in `numbers` are set to the right. A column whose
    head is empty has none, also for whoever listens."""
    right = set(numbers)

    def cell(tag: str, column: int, what: str | Linked) -> str:
        tag = tag if what else "td"
        kind = ' class="pf-number"' if column in right else ""
        return f"<{tag}{kind}>{cell_html(what)}</{tag}>"

    def line(tag: str, texts: Sequence[str | Linked]) -> str:
        return f"<tr>{''.join(cell(tag, i, text) for i, text in enumerate(texts))}</tr>"

    body = "".join(line("td", row) for row in rows)
    # Whoever has no mouse can scroll it too.
    return ('<div class="pf-scroll" tabindex="0"><table class="pf-table">'
            f"<thead>{line('th', head)}</thead><tbody>{body}</tbody></table></div>")


def name_of(labeler: Labeler) -> str:
    """A labeler's name, marked unless a person, and where their answers are set aside."""
    marks = ([] if labeler.kind == "human" else [labeler.kind]) + (
        [] if labeler.set_aside_at is None else ["set aside"])
    return f"{labeler.name} ({', '.join(marks)})" if marks else labeler.name


def moment(iso: str | None) -> str:
    """A stored time, in UTC, to the minute."""
    return NOTHING if not iso else iso[:16].replace("T", " ") + " UTC"


def short(text: str, length: int = 90) -> str:
    """The beginning of a text on one line."""
    line = " ".join(text[:4 * length].split())
    return line if len(line) <= length else line[:length - 1] + "…"


def as_label(text: str) -> str:
    """Safe in a Streamlit label, which reads Markdown (and its images, links and directives).

    It makes links of bare addresses too, even escaped ones, unless a word joiner parts them.
    """
    return _escaped(reveal(text))


def as_prose(text: str) -> str:
    """The same of a sentence with figures and dates, within which no line ends."""
    return _escaped(_WHOLE.sub(
        lambda whole: _HYPHEN.sub("\\g<0>\u2060", whole[0]).replace(" ", "\u00a0"), reveal(text)))


def _escaped(text: str) -> str:
    text = _ADDRESS.sub("\\g<0>\u2060", text)
    return "".join("\\" + c if c in "\\`*_{}[]()<>#+-.!|~:$&=" else c for c in text)


def duration(seconds: float | None) -> str:
    """`3.2 s`, `45 s`, `12 min`, `3.5 h`."""
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
