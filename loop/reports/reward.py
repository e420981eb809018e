"""A reward model's report on the terminal and as one HTML file; the app's page says the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from annotate.engineers import reward_figures as figures
from annotate.engineers.reward_caveats import epoch_words, over_words
from data.reward_reports import FEW, judge, over_file
from data.visible import reveal_line
from loop.output import print_table
from loop.reports import html_page as page

if TYPE_CHECKING:
    from data.store import Store

_SIDES = ("chosen", "rejected")


def print_report(result: Mapping[str, Any], written: Path | None = None) -> None:
    """The report as tables on standard output; `written`: the page that it is in as well."""
    found = judge(result)
    print(reveal_line(f"{result['reward_model']}: {found.reason}"))
    for words in (over_words(result) if over_file(result) else "", epoch_words(result),
                  figures.voters_words(result), figures.habits_words(result),
                  figures.left_out_words(result)):
        if words:
            print(words)
    print_table("Figures", ["", "", ""], [list(fact) for fact in figures.facts(result)])
    for words in (figures.ensemble_words(result), figures.selection_words(result)):
        if words:
            print(f"\n{words}")
    print_table("Ensemble", ["scored by", "mean score", "right", "cross-entropy"],
                [list(row) for row in figures.rule_table(result)])
    print_table("Form", ["on training prompts set aside", "right", "cross-entropy",
                         "more than the chosen one's"],
                [list(row) for row in figures.selection_table(result)])
    print(f"\n{figures.calibration_words(result)}\n{reveal_line(figures.drift_words(result))}")
    print_table("Gain on the same pairs", ["over", ""],
                [list(row) for row in figures.gains(result)])
    if missing := figures.missing_words(result):
        print(reveal_line(missing))
    for way, title, _ in figures.WAYS:
        rows, others = figures.group_table(result, way), figures.others_words(result, way)
        print_table(title, ["", "this model is right", "the longer one wins"],
                    [list(row) for row in rows])
        if others:
            print(others if rows else f"\n{title}: {others}")
    mistakes = result.get("mistakes") or []
    if mistakes:
        there = (f"in {reveal_line(str(written))}" if written
                 else "with `prefloop eval-reward --html FILE`")
        print(f"\n{len(mistakes)} worst mistakes: read them on the Reward model page of the app, "
              f"or {there}")


def write_html(result: Mapping[str, Any], store: Store, path: Path) -> None:
    """The report as one HTML file with plots and texts, which loads nothing from anywhere."""
    name = str(result["reward_model"])
    page.write(path, f"Reward model {name}", [
        page.paragraph(judge(result).reason[:1].upper() + judge(result).reason[1:] + "."),
        page.paragraph(f"{over_words(result)} Intervals are 95 %, over prompts, of which "
                       "those that begin alike count as one. "
                       + figures.voters_words(result)),
        page.table(["", "", ""], figures.facts(result)),
        *(page.paragraph(words) for words in (epoch_words(result), figures.left_out_words(result))
          if words),
        *_what_it_is(result), "<h2>Against its baselines</h2>", *_baselines(result),
        "<h2>Drift</h2>", page.paragraph(figures.drift_words(result)),
        "<h2>Where it is right</h2>", *_groups(result),
        "<h2>The worst mistakes</h2>", *_mistakes(result.get("mistakes") or [], store)])


def _what_it_is(result: Mapping[str, Any]) -> list[str]:
    """An ensemble's members and its careful scores; the form that was chosen."""
    parts = []
    for title, words, heads, rows in (
            ("Ensemble", figures.ensemble_words(result),
             ["scored by", "mean score", "right", "cross-entropy, nats"],
             figures.rule_table(result)),
            ("Form", figures.selection_words(result),
             ["on training prompts that were set aside", "right", "cross-entropy, nats",
              "nats more than the chosen one"], figures.selection_table(result))):
        if words:
            parts += [f"<h2>{title}</h2>", page.paragraph(words)]
        if rows:
            parts.append(page.table(heads, rows))
    return parts


def _baselines(result: Mapping[str, Any]) -> list[str]:
    """What it is held against, and whether its probabilities can be believed."""
    from annotate.engineers.reward_plots import baseline_dots, reliability
    from annotate.plots import dots

    rows, diagram = baseline_dots(result), reliability(result)
    parts = [page.plot(dots(rows), first=True)] if rows else [
        page.paragraph(f"Fewer than {FEW} decided pairs: too few to compare.")]
    parts += [page.table(["gain on the same pairs, over", ""], figures.gains(result)),
              *(page.paragraph(words) for words in (figures.missing_words(result),) if words),
              page.paragraph("Published accuracy, on other data: " + "; ".join(
                  f"{where}: {figure}" for where, figure in figures.PUBLISHED) + ".", "small"),
              "<h2>Reliability</h2>"]
    if diagram is not None:
        parts.append(page.plot(diagram, first=not rows))
    return [*parts, page.paragraph(figures.calibration_words(result))]


def _groups(result: Mapping[str, Any]) -> list[str]:
    parts = []
    for way, title, words in figures.WAYS:
        rows, others = figures.group_table(result, way), figures.others_words(result, way)
        if rows or others:
            parts += [f"<h3>{page.text(title)}</h3>", page.paragraph(words, "small")]
        if rows:
            parts.append(page.table(["", "this model is right", "the longer one wins"], rows))
        if others:
            parts.append(page.paragraph(others, "small"))
    return parts


def _mistakes(mistakes: Sequence[Mapping[str, Any]], store: Store) -> list[str]:
    if not mistakes:
        return [page.paragraph("Most labelers order no pair otherwise than the model.")]
    rows = []
    for mistake in mistakes:
        texts = mistake.get("texts") or _texts(mistake, store)
        rows.append([figures.mistake_words(mistake), texts["prompt"],
                     *(f"{texts[side]}\n\n(score {mistake[f'{side}_score']:.2f})"
                       for side in _SIDES)])
    return [page.paragraph("Pairs that most of their labelers order otherwise, the surest of the "
                           "model first; one a prompt.", "small"),
            page.table(["", "prompt", "labelers chose", "the model chose"], rows, "text")]


def _texts(mistake: Mapping[str, Any], store: Store) -> dict[str, str]:
    """The texts of a mistake, as the store holds them: the whole conversation, turn by turn."""
    responses = store.responses.get([mistake[f"{side}_id"] for side in _SIDES])
    messages = store.prompts.get(mistake["prompt_id"]).messages
    prompt = messages[0]["content"] if len(messages) == 1 else "\n\n".join(
        f"{message['role']}: {message['content']}" for message in messages)
    return {"prompt": prompt, **{side: response.text for side, response
                                 in zip(_SIDES, responses, strict=True)}}
