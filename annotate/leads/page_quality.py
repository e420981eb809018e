"""The leads' page of numbers: how far labelers agree, what their habits are, who clicks through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import streamlit as st

from annotate.figures import (
    NOTHING,
    as_label,
    as_prose,
    facts_html,
    moment,
    name_of,
    number,
    share,
    time,
)
from annotate.leads.leads_style import STYLE
from annotate.leads.quality_charts import PUBLISHED, over_time
from annotate.leads.quality_report import Report, reports
from annotate.permissions import permits
from annotate.plots import Dot, dots, show
from annotate.session import guarded, store
from data.measures.agreement import REFERENCE_FIGURES
from data.measures.alarms import COUNTED, least_answers
from data.measures.breakdowns import Breakdown
from data.measures.quality import Figures
from data.measures.statistics import percent
from data.records import STRENGTHS, Labeler, Round
from data.visible import reveal

REFRESH_SECONDS = 15
#: So many rounds, or tags, have a row in the plot, and of the tags, at first, in the table.
MOST_ROWS = 12
_ALL = "all"
_WORDS = {"always-left": "takes the first shown", "always-right": "takes the last shown",
          "always-longer": "takes the longer one", "always-shorter": "takes the shorter one",
          "always-tie": "calls ties throughout", "too-fast": "answers faster than one can read",
          "random": "answers as a coin would", "inconsistent": "contradicts themselves",
          "gold": "misses known answers"}


@guarded("quality")
def page(labeler: Labeler) -> None:
    """Figures of one round (or all), refreshed while the page is open."""
    st.html(STYLE)
    rounds = store().rounds.all()
    head, which, whose = st.columns([3, 2, 3], vertical_alignment="bottom")
    head.subheader("Quality")
    choices: dict[str, Round | None] = {str(turn.id): turn for turn in rounds[::-1]}
    choices[_ALL] = None
    chosen = which.selectbox("Round", list(choices), key="quality-round",
                             persist_state="session",
                             format_func=lambda name: _round_name(choices[name]))
    kinds = sorted({person.kind for person in store().people.all()})
    kept = whose.pills("Whose answers", kinds, selection_mode="multi", default=kinds,
                       key="quality-kinds")
    st.fragment(_figures, run_every=REFRESH_SECONDS)(
        choices.get(chosen or _ALL), tuple(kept or ()))


def _round_name(turn: Round | None) -> str:
    return "All rounds" if turn is None else f"Round {turn.number}"


@guarded("quality")
def _figures(labeler: Labeler, turn: Round | None, kinds: tuple[str, ...]) -> None:
    people = {person.id: person for person in store().people.all()}
    with st.spinner("Counting", show_time=True):
        report = reports.get(store(), turn.id if turn else None, kinds)
    everybody = {person.kind for person in people.values()} <= set(kinds)
    if not report.people:
        nobody = "No answer has been given" if everybody else \
            "None of the chosen kinds of labelers has answered"
        st.write(f"{nobody} yet" + (f" in round {turn.number}." if turn else "."))
        return
    _alarms(report, people, permits(labeler, "people"))
    _facts(report, turn, everybody)
    st.caption(as_prose(f"Counted {moment(report.counted_at)}, and again when more is answered."))
    others = sorted({people[i].kind for i in report.people.keys() - report.set_aside} - {"human"})
    if others:
        st.caption(f"Includes answers that are not from people: {', '.join(others)}.")
    if report.set_aside:
        st.caption(as_label("Set aside, and in no figure but their own: " + ", ".join(
            people[i].name for i in sorted(report.set_aside)) + "."))
    left, right = st.columns(2, gap="medium")
    with left:
        _reliability(report, people)
    with right:
        _by_strength(report)
    st.markdown("#### By labeler")
    _by_labeler(report, people)
    left, right = st.columns(2, gap="medium")
    with left:
        st.markdown("#### Labels over time")
        show(over_time(report.moments), "quality-time",
             f"Answers over time; {report.answers:,} in all")
    with right:
        _trend(report, turn)
    _by_tag(report)


def _alarms(report: Report, people: Mapping[int, Labeler], manages: bool) -> None:
    """Who clicks through, with the evidence: the first thing on the page."""
    if not report.alarms:
        hidden = "" if report.gold or report.self_agreement else (
            " Hidden known answers and repeats would find careless people sooner: their shares are "
            "in Settings, under Assignment.")
        if _too_few_to_tell(report):
            st.html('<div class="pf-few">Too few answers to tell whether anybody clicks through.'
                    f"{hidden}</div>")
            return
        st.html('<div class="pf-calm">Nobody stands out as clicking through. In a careful crew, '
                f"a name appears here by chance in at most 1 round of 20.{hidden}</div>")
        return
    parts = []
    for who in dict.fromkeys(alarm.labeler_id for alarm in report.alarms):
        own = [alarm for alarm in report.alarms if alarm.labeler_id == who]
        items = "".join(f"<li><strong>{escape(_WORDS.get(alarm.kind, alarm.kind))}</strong>: "
                        f"{escape(alarm.evidence)} <span>p = {alarm.p:.2g}</span></li>"
                        for alarm in own)
        parts.append(f'<div class="pf-alarm"><div><strong>{escape(name_of(people[who]))}</strong> '
                     f'stands out. <a href="/browse?of={who}" target="_self">Their answers</a>'
                     f"{_act(who) if manages else ''}</div><ul>{items}</ul></div>")
    st.html("".join(parts))
    st.caption(COUNTED)


def _too_few_to_tell(report: Report) -> bool:
    """Whether not even who always takes the same side would stand out yet."""
    given = [own.answers for who, own in report.people.items() if who not in report.set_aside]
    return max(given, default=0) < least_answers(max(1, len(given)))


def _act(who: int) -> str:
    """Where something can be done about a person, once their answers have been read."""
    return (f' · <a href="/people?person={who}" target="_self">Set aside or disable, on People'
            "</a>")


def _facts(report: Report, turn: Round | None, everybody: bool) -> None:
    """The figures as cards, over `everybody` or over the chosen kinds of labelers."""
    facts = []
    if turn is not None:
        given, wanted = store().tasks.progress(turn.id)
        facts.append(("Labels given", f"{given:,} of {wanted:,}",
                      f"{percent(given / wanted)} of round {turn.number}, "
                      f"{'' if everybody else 'of all kinds of labelers, '}without hidden repeats"
                      if wanted else "no pairs yet"))
    else:
        facts.append(("Answers", f"{report.answers:,}", "in all rounds, with hidden repeats"))
    facts += [("Agreement of two labelers", *share(report.agreement)),
              ("Krippendorff's alpha", *_alpha(report)),
              ("Same again on repeats", *share(report.self_agreement)),
              ("Known answers right", *_in_all_rounds(share(report.gold))),
              ("Shown first (A) wins", *share(report.left)),
              ("Longer one wins", *share(report.longer)),
              ("Median time per task", *time(report.seconds))]
    if turn is not None:
        facts.append(("New policy beats the reference", *(share(report.win) if report.win else (
            NOTHING, "this round samples the reference itself"
            if turn.policy_version_id == turn.reference_id else "no evaluation answered yet"))))
    st.html(facts_html(facts))


def _reliability(report: Report, people: Mapping[int, Labeler]) -> None:
    st.markdown("#### Reliability")
    alarming = {alarm.labeler_id for alarm in report.alarms}
    rows = [Dot(name_of(people[who]), figures.reliability, who in alarming)
            for who, figures in _worst_first(report) if figures.reliability is not None]
    if not rows:
        st.write("No pair has two answers yet, nor a known one: nobody can be held against "
                 "anybody.")
        return
    show(dots(rows), "quality-reliability", "Reliability by labeler: " + "; ".join(
        f"{row.name} {row.estimate.percent()}" for row in rows))
    st.caption("How often each names the truly better response, where the truth is what all "
               "together make likely. 50 % is a coin. Red diamonds stand out above.")


def _by_strength(report: Report) -> None:
    st.markdown("#### Agreement by strength")
    rows = [Dot(STRENGTHS[strength].capitalize(), report.by_strength[strength])
            for strength in sorted(report.by_strength, reverse=True)]
    if rows:
        show(dots(rows, PUBLISHED), "quality-strength",
             "Agreement by strength: " + "; ".join(
                 f"{row.name} {row.estimate.percent()}" for row in rows))
        st.caption("Where one labeler says so, how often another names the same winner.")
    else:
        st.write("No pair has two answers yet, so there is no agreement to measure.")
    published = "; ".join(f"{where}: {figure}" for where, figure in REFERENCE_FIGURES)
    st.caption(as_prose(f"Published agreement, to compare with: {published}."))


def _by_labeler(report: Report, people: Mapping[int, Labeler]) -> None:
    alarming = {alarm.labeler_id for alarm in report.alarms}
    head = ("Labeler", "Labels", "Reliability", "Agreement", "Known right", "Same again",
            "A wins", "Longer wins", "Ties", "Median time")
    rows = []
    for who, own in _worst_first(report):
        shares = (own.reliability, own.agreement, own.gold, own.self_agreement, own.left,
                  own.longer, own.ties)
        cells = "".join(_cell(*share(estimate)) for estimate in shares)
        mark = ' <span class="pf-mark">stands out</span>' if who in alarming else ""
        rows.append(
            f'<tr><td><a href="/browse?of={who}" target="_self">{escape(name_of(people[who]))}'
            f'</a>{mark}</td><td class="pf-number">{own.answers:,}</td>{cells}'
            f"{_cell(*time(own.seconds))}</tr>")
    _compact(head, rows)
    st.caption("Labels are those of the rounds shown, with hidden repeats and without hidden known "
               "answers. Each figure has its own n; that of Reliability counts decided pairs, also "
               "of known answers. A name leads to everything that the person has answered.")


def _compact(head: Sequence[str], rows: Sequence[str]) -> None:
    """A table of ready rows, whose figures have their n and interval below them."""
    titles = "".join(f"<th>{title}</th>" for title in head)
    st.html(f'<div class="pf-scroll" tabindex="0"><table class="pf-table pf-compact"><thead><tr>'
            f"{titles}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>")


def _cell(value: str, more: str) -> str:
    more = "" if value == NOTHING else f"<div>{escape(more)}</div>"
    return f'<td class="pf-number">{escape(value)}{more}</td>'


def _worst_first(report: Report) -> list[tuple[int, Figures]]:
    """Labelers with their figures: who stands out, the least reliable, last who is set aside."""
    alarming = {alarm.labeler_id for alarm in report.alarms}

    def order(entry: tuple[int, Figures]) -> tuple[bool, bool, float]:
        who, reliability = entry[0], entry[1].reliability
        return (who in report.set_aside, who not in alarming,
                reliability.value if reliability else 2.0)

    return sorted(report.people.items(), key=order)


def _trend(report: Report, turn: Round | None) -> None:
    """Agreement by round, or within one round by tag."""
    if turn is None:
        st.markdown("#### Agreement by round")
        groups = {f"Round {number}": group
                  for number, group in sorted(report.by_round.items(), reverse=True)}
    else:
        st.markdown("#### Agreement by tag")
        groups = dict(_by_size(report))
    rows = [Dot(name, group.agreement) for name, group in groups.items()
            if group.agreement is not None][:MOST_ROWS]
    if rows:
        show(dots(rows, PUBLISHED), "quality-trend", "Agreement: " + "; ".join(
            f"{row.name} {row.estimate.percent()}" for row in rows))
    else:
        st.write("No group has a pair with two answers yet.")


def _by_size(report: Report) -> list[tuple[str, Breakdown]]:
    return sorted(report.by_tag.items(), key=lambda entry: -entry[1].answers)


def _by_tag(report: Report) -> None:
    if not report.by_tag:
        return
    st.markdown("#### By tag of the prompt")
    tags = _by_size(report)
    few = len(tags) > MOST_ROWS and not st.toggle(
        f"All {len(tags):,} tags", key="quality-tags", persist_state="session")
    rows = [f'<tr><td>{escape(reveal(tag))}</td><td class="pf-number">{group.answers:,}</td>'
            f"{_cell(*share(group.agreement))}{_cell(*number(group.alpha))}"
            f"{_cell(*share(group.left))}{_cell(*share(group.longer))}</tr>"
            for tag, group in (tags[:MOST_ROWS] if few else tags)]
    _compact(("Tag", "Labels", "Agreement", "Alpha", "A wins", "Longer wins"), rows)
    st.caption("Labels without hidden repeats." + (
        f" The {MOST_ROWS} tags with the most labels; with few labels, an interval is too wide to "
        "say anything." if few else ""))


def _alpha(report: Report) -> tuple[str, str]:
    if report.alpha is None and report.agreement is not None:  # a single outcome, in both orders
        return NOTHING, "undefined: all answers to compare are ties"
    value, more = number(report.alpha)
    return value, more if value == NOTHING else f"{more}; 0 is chance, 1 perfect"


def _in_all_rounds(shown: tuple[str, str]) -> tuple[str, str]:
    """Known answers are of no round."""
    value, more = shown
    return value, more if value == NOTHING else f"{more}, in all rounds"
