"""The engineers' page of the reward model: whether it can be trusted, and where it is wrong."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from annotate import actions, notices
from annotate.engineers import reward_figures as figures
from annotate.engineers.reward_caveats import epoch_words
from annotate.engineers.reward_plots import baseline_dots, group_dots, reliability
from annotate.figures import as_prose, facts_html, moment, short, table_html
from annotate.notices import failing_as, say
from annotate.plots import Dot, dots, show
from annotate.rendering import conversation_html, response_html
from annotate.session import guarded, store, token
from data.blindness import hidden_from
from data.records import Labeler, RewardModel
from data.reward_reports import FEW, Report, Verdict, judge, latest_report


@guarded("rounds")
def page(labeler: Labeler) -> None:
    """The newest version first; any other by its name."""
    models = {model.name: model for model in reversed(store().versions.reward_models())}
    head, which, again = st.columns([3, 2, 1.4], vertical_alignment="bottom")
    head.subheader("Reward model")
    notices.show()
    if not models:
        st.write("No reward model has been trained yet: *Train the reward model*, on Jobs, does "
                 "it.")
        return
    name = which.selectbox("Version", list(models), key="reward-version")
    model = models.get(name or "", next(iter(models.values())))
    again.button("Evaluate again", on_click=_evaluate, args=(model.name,), width="stretch",
                 help="Score today's held-out pairs: also those labeled since.")
    found = latest_report(store(), model)
    _standing(judge(found.metrics))
    _made(model, found)
    st.html(facts_html(figures.facts(found.metrics)))
    if not figures.known(found.metrics):
        st.info("This report was made before there were breakdowns. Evaluate again makes them.")
        return
    _what_it_is({"selection": model.metrics.get("selection"), **found.metrics})
    _baselines_and_calibration(found.metrics)
    _breakdowns(found.metrics)
    _mistakes(found.metrics, labeler)


def _standing(verdict: Verdict) -> None:
    """The gate's word on the version."""
    if verdict.standing == "beats":
        st.success(f"It beats its baselines on held-out prompts: {as_prose(verdict.reason)}.")
        return
    fails = verdict.standing == "fails"
    words = f"it {verdict.reason}" if fails else verdict.reason
    reason = as_prose(words[:1].upper() + words[1:])
    if verdict.standing == "unknown":
        st.info(f"{reason}. It may be used all the same.")
    else:
        box = st.error if fails else st.warning
        box(f"{reason}. It is not offered for improving the policy, unless somebody insists.")


def _made(model: RewardModel, found: Report) -> None:
    trained = found.metrics.get("train") or model.metrics.get("train") or {}
    learned = ""
    if {"pairs", "prompts"} <= trained.keys():
        learned = (f"Trained {moment(model.created_at)} on {trained['pairs']:,} pairs of "
                   f"{trained['prompts']:,} prompts. ")
    when = f"evaluated again {moment(found.made_at)}" if found.again else "measured after training"
    st.caption(as_prose(
        f"{learned}These figures: {when}, on prompts that are never trained on, every labeler's "
        "vote by itself. Intervals are 95 %, over prompts, of which those that begin alike count "
        "as one."))
    for words in (epoch_words(found.metrics), figures.voters_words(found.metrics),
                  figures.habits_words({"train": trained})):
        if words:
            st.caption(words)


def _what_it_is(metrics: Mapping[str, Any]) -> None:
    """A version that is more than a LoRA model, or might have been: its form, and its members."""
    ensemble, selection = figures.ensemble_words(metrics), figures.selection_words(metrics)
    if ensemble:
        st.markdown("#### Ensemble")
        st.text(ensemble)
        if rows := figures.rule_table(metrics):
            st.html(table_html(("Scored by", "Mean score", "Right", "Cross-entropy, nats"), rows))
    if selection:
        st.markdown("#### Form")
        st.text(selection)
        if rows := figures.selection_table(metrics):
            st.html(table_html(("On training prompts that were kept back", "Right",
                                "Cross-entropy, nats", "Nats more than the chosen one"), rows))


def _evaluate(name: str) -> None:
    with failing_as("started"):
        job = actions.start_job(store(), token(), "eval-reward", {"reward_model": name})
        say(f"Job {job.id} is queued; this page shows its report when it is done.")


def _baselines_and_calibration(metrics: Mapping[str, Any]) -> None:
    left, right = st.columns(2, gap="medium")
    with left:
        st.markdown("#### Against its baselines")
        _dots(baseline_dots(metrics), "reward-baselines",
              f"Fewer than {FEW} decided held-out pairs: too few to compare.")
        for over, gain in figures.gains(metrics):
            st.caption(f"Over {over}, on the same pairs: {as_prose(gain)}")
        if missing := figures.missing_words(metrics):
            st.caption(as_prose(missing))
        st.caption(as_prose("Published accuracy, on other data, to compare with: " + "; ".join(
            f"{where}: {figure}" for where, figure in figures.PUBLISHED) + "."))
    with right:
        st.markdown("#### Reliability")
        figure = reliability(metrics)
        if figure is not None:
            show(figure, "reward-reliability", "Reliability diagram: " + "; ".join(
                f"{x:.0f} % predicted, {y:.0f} % observed" for x, y in
                zip(figure["data"][1]["x"], figure["data"][1]["y"], strict=True)))
            st.caption("Each dot: pairs to which the model gives about that probability, bigger "
                       "for more pairs. On the line the model says what it means; red dots' "
                       "intervals miss it.")
        st.caption(as_prose(figures.calibration_words(metrics)))
    st.markdown("#### Drift")
    st.text(figures.drift_words(metrics))


def _dots(rows: Sequence[Dot], key: str, otherwise: str) -> None:
    if not rows:
        st.write(otherwise)
        return
    show(dots(rows), key, "; ".join(f"{row.name} {row.estimate.percent()}" for row in rows))


def _breakdowns(metrics: Mapping[str, Any]) -> None:
    """Accuracy by everything that may make a pair hard, two ways a row."""
    st.markdown("#### Where it is right")
    shown = [way for way in figures.WAYS if figures.rows_of(metrics, way[0])]
    if not shown:
        st.write("No held-out pair has been decided yet.")
    for start in range(0, len(shown), 2):
        for column, (way, title, words) in zip(st.columns(2, gap="medium"),
                                               shown[start:start + 2], strict=False):
            with column:
                st.markdown(f"**{title}**")
                _dots(group_dots(metrics, way), f"reward-{way}",
                      f"No group has {FEW} decided pairs: too few to say.")
                if words:
                    st.caption(as_prose(words))
    if shown:
        with st.expander("As tables, with how often the longer response wins"):
            for way, title, _words in shown:
                if rows := figures.group_table(metrics, way):
                    st.html(table_html((title, "This model is right", "The longer one wins"), rows))
                if others := figures.others_words(metrics, way):
                    st.caption(others if rows else f"{title}: {others}")


def _mistakes(metrics: Mapping[str, Any], viewer: Labeler) -> None:
    """The pairs to read, as safe as anywhere; not those that the viewer may still have to judge."""
    st.markdown("#### The worst mistakes")
    found = metrics.get("mistakes") or []
    hidden = hidden_from(store(), viewer.id, [m[key] for m in found
                                              for key in ("chosen_id", "rejected_id")])
    open_to_me = [m for m in found if not hidden & {m["chosen_id"], m["rejected_id"]}]
    if not found:
        st.write("Most labelers order no held-out pair otherwise than the model.")
        return
    st.caption("Held-out pairs that most of their labelers order otherwise, the surest of the "
               "model first; one a prompt. Reading them tells what it has learned instead.")
    if left := len(found) - len(open_to_me):
        st.caption(f"{left} of {len(found)} are not shown: you may still be asked about them.")
    for place, mistake in enumerate(open_to_me, 1):
        prompt = store().prompts.get(mistake["prompt_id"])
        label = f"{place}. {short(prompt.text, 60)} ({figures.mistake_words(mistake)})"
        with st.expander(as_prose(label), key=f"mistake-{mistake['chosen_id']}-{place}",
                         on_change="rerun") as fold:
            if fold.open:
                st.html(conversation_html(prompt.messages))
                _both_sides(mistake)


def _both_sides(mistake: Mapping[str, Any]) -> None:
    sides = ("chosen", "rejected")
    responses = store().responses.get([mistake[f"{side}_id"] for side in sides])
    titles = ("Labelers chose", "The model chose")
    for column, side, title, response in zip(st.columns(2), sides, titles, responses, strict=True):
        score = mistake[f"{side}_score"]
        column.html(f'<div class="pf-role">{html.escape(title)} (score {score:.2f})</div>'
                    + response_html(response.text))
