"""A reward model's report in words and rows, wherever it is shown.

From the JSON that `reward.report.figures` made and the store keeps: the page of the app, the
command's tables and its HTML file all say the same. Nothing here draws.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from annotate.figures import NOTHING, estimate_of, number, plain, share
from data.measures.statistics import Estimate, percent
from data.reward_reports import FEW, over_file

#: Calibration of fewer pairs than this says nothing: ten bins have five each.
FEW_FOR_BINS = 50

#: Each way to break accuracy down: its key in a report, its title, and what it says.
WAYS = (
    ("strength", "By strength", "How much better the labeler called the winner."),
    ("agreement", "By agreement", "Of the labelers on the same two responses, before a lead "
     "decided. Where they differ, no model can be right about all of them."),
    ("length", "By length", "About the same: |Δ log(1 + words)| < 0.2. A model that has learned "
     "nothing but length is at 50 % there, and below where the shorter one wins."),
    ("policy", "By policy", "Who wrote the two responses."),
    ("round", "By round", "In which the pair was labeled."),
    ("tag", "By tag of the prompt", ""),
    ("labeler", "By labeler", "Each labeler's own votes."),
)

_FORMS = {"lora": "The LoRA model", "linear": "A linear head on frozen features",
          "combined": "Both together", "tuned": "A linear head on features that LoRA has moved"}

#: Accuracy that others have published: (where, what it says).
PUBLISHED = (
    ("Llama 2, significantly / better / slightly / negligibly better", "94 / 76 / 66 / 55 %"),
    ("Huang et al. 2024, summaries, at 1B / 2.8B / 6.9B", "62.8 / 66.9 / 68.9 %"),
    ("InstructGPT, a labeler against another", "72.6 ± 1.5 %"),
    ("prefloop's linear model on UKPConvArg1Strict, 24 topics", "85.0 %"),
)


def known(metrics: Mapping[str, Any]) -> bool:
    """Whether a report has breakdowns; those of older versions have not."""
    return "groups" in metrics


def accuracy_words(estimate: Estimate | None) -> str:
    """An accuracy with n and interval, or that there are too few pairs for one."""
    if estimate is None:
        return "no pairs"
    return estimate.percent() if estimate.n >= FEW else f"too few to say (n = {estimate.n})"


def gain_words(estimate: Estimate | None) -> str:
    """A difference of two accuracies in points, with its interval where it has one."""
    if estimate is None or estimate.n < FEW:
        return "too few to say" if estimate else NOTHING
    return estimate.beside(f"{100 * estimate.value:+.1f} points",
                           f"{100 * estimate.low:+.1f} to {100 * estimate.high:+.1f}")


def facts(metrics: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """The figures that come first, as cards: name, value, what belongs under it."""
    of_file = over_file(metrics)
    accuracy = estimate_of(metrics.get("held_out_accuracy"))
    yield ("Accuracy over the file" if of_file else "Held-out accuracy", *accuracy_card(accuracy))
    drift = metrics.get("drift")
    if drift:
        yield (f"On {drift['policy']}'s samples alone",
               *accuracy_card(estimate_of(drift["accuracy"])))
    value, more = number(estimate_of(metrics.get("cross_entropy")))
    yield "Cross-entropy, nats", value, f"{more}; knowing nothing is 0.693"
    yield ("Calibration error", *_calibration(metrics))
    ensemble = metrics.get("ensemble")
    if ensemble:
        value, more = number(estimate_of(ensemble.get("spread")))
        yield f"Spread of {ensemble['members']} members", value, f"{more}; a response's scores"
    spearman = estimate_of((metrics.get("length_correlation") or {}).get("spearman"))
    few = spearman is not None and spearman.n < FEW
    value, more = number(None if few else spearman)
    yield ("Score goes with length", value,
           "too few responses" if few else f"{more}; rank correlation")
    yield ("Pairs of the file" if of_file else "Held-out pairs", f"{metrics.get('pairs', 0):,}",
           f"of {metrics.get('prompts', 0):,} prompts, {metrics.get('ties', 0):,} ties")
    cut = metrics.get("cut_responses", 0)
    trained = (metrics.get("train") or {}).get("cut_responses")
    yield ("Texts shortened to be scored", f"{cut:,}", (
        "of the file's" if of_file else "of the held-out ones") + (
        "" if trained is None else f", {trained:,} of those trained on"))


def gains(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """By how much the model beats each baseline: what over, and the difference in words."""
    base = metrics.get("baselines") or {}
    rows = [("the longer one wins", base.get("over_longer")),
            ("the version before", base.get("over_previous")),
            ("another labeler", base.get("over_other_labeler"))]
    return [(over, gain_words(estimate)) for over, values in rows
            if (estimate := estimate_of(values)) is not None]


def missing_words(metrics: Mapping[str, Any]) -> str:
    """Why the version before is not among what the model is held against; empty where it is."""
    missing = metrics.get("previous_missing")
    return (f"The version before, {missing['name']}, could not be read: {missing['why']}"
            if missing else "")


def rule_table(metrics: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Each rule that makes one score of an ensemble's: its mean score, accuracy, cross-entropy."""
    found = metrics.get("ensemble") or {}
    titles = {"mean": "Mean of the members (this report)", "worst": "The worst member",
              "variance-penalised": f"Mean − {plain(found.get('penalty', 1.0))} · variance"}
    return [(titles.get(rule, rule), _plain_estimate(values.get("score")),
             accuracy_words(estimate_of(values.get("accuracy"))),
             _plain_estimate(values.get("cross_entropy")))
            for rule, values in (found.get("rules") or {}).items()]


def ensemble_words(metrics: Mapping[str, Any]) -> str:
    """That the version is an ensemble, and whether its spread tells where it is wrong; empty for a
    single model."""
    found = metrics.get("ensemble")
    if not found:
        return ""
    each = [100 * estimate.value for values in found.get("each", ())
            if (estimate := estimate_of(values)) is not None and estimate.n >= FEW]
    words = f"An ensemble of {found['members']} reward models"
    words += f", each right in {min(each):.1f} to {max(each):.1f} %. " if each else ". "
    right, wrong = (estimate_of(found.get(f"spread_{name}")) for name in ("right", "wrong"))
    if right is None or wrong is None or min(right.n, wrong.n) < FEW:
        pairs = "pairs of the file" if over_file(metrics) else "held-out pairs"
        return f"{words}Too few {pairs} to say whether its members differ more where it is wrong."
    return words + (f"On a pair its members differ by {right} where their mean is right, and by "
                    f"{wrong} where it is wrong.")


def selection_words(metrics: Mapping[str, Any]) -> str:
    """Which form the version has and why; empty for an ensemble, and where nothing says so."""
    found = metrics.get("selection")
    if not found or metrics.get("ensemble"):
        return ""
    why = found["why"].replace("`", "")  # nothing that shows this reads Markdown
    if "forms" not in found:
        return f"{_FORMS.get(found['form'], found['form'])}: {why}."
    return (f"{_FORMS.get(found['form'], found['form'])}: {why}, "
            f"{found['pairs']:,} pairs of {found['prompts']:,} prompts.")


def selection_table(metrics: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Each form on the prompts that were kept back: accuracy, cross-entropy, and how much more of
    it than the chosen one's."""
    found = metrics.get("selection") or {}
    return [(_FORMS.get(form, form), accuracy_words(estimate_of(values.get("accuracy"))),
             _plain_estimate(values.get("cross_entropy")),
             "chosen" if form == found["form"] else
             _plain_estimate((found.get("over") or {}).get(form)))
            for form, values in (found.get("forms") or {}).items()]


def habits_words(metrics: Mapping[str, Any]) -> str:
    """What training kept out of the reward of its labelers' habits; empty where nothing was asked
    for, or nothing says so."""
    found = (metrics.get("train") or {}).get("habits") or {}
    parts = []
    if "side" in found:
        parts.append(f"being shown first ({_logits(found, 'side')}, of "
                     f"{found['pairs_of_known_side']:,} pairs whose sides are known)")
    if "length" in found:
        parts.append(f"length ({_logits(found, 'length')} for a standard deviation of the log of "
                     "the words)")
    if eta := found.get("reliability"):
        parts.append(f"unreliable answers ({len(eta):,} labelers judge by the reward in "
                     f"{100 * min(eta.values()):.0f} to {100 * max(eta.values()):.0f} % of theirs)")
    return (f"Habits of labelers that were estimated from {found['pairs']:,} training pairs and "
            f"kept out of the reward: {'; '.join(parts)}." if parts else "")


def _logits(found: Mapping[str, Any], name: str) -> str:
    """A habit with its 95 % interval; versions of before have none."""
    value = f"{found[name]:+.2f} logits"
    if f"{name}_low" not in found:
        return value
    return f"{value}, 95 % interval {found[f'{name}_low']:+.2f} to {found[f'{name}_high']:+.2f}"


def group_table(metrics: Mapping[str, Any], way: str) -> list[tuple[str, str, str]]:
    """Every group of `FEW` pairs or more: its name, the accuracy, how often the longer one wins
    there."""
    return [(str(row["name"]), accuracy_words(estimate_of(row["accuracy"])),
             accuracy_words(estimate_of(row["longer"])))
            for row in rows_of(metrics, way) if not _is_small(row)]


def others_words(metrics: Mapping[str, Any], way: str) -> str:
    """What is to be said of the groups that `group_table` does not show; empty where it shows all.
    """
    rows = rows_of(metrics, way)
    small = sum(map(_is_small, rows))
    if rows and small == len(rows):
        return f"No group has {FEW} decided pairs: too few to say."
    count = small + int(((metrics.get("groups") or {}).get(way) or {}).get("left_out", 0))
    return f"And {count:,} more with fewer pairs." if count else ""


def _is_small(row: Mapping[str, Any]) -> bool:
    estimate = estimate_of(row["accuracy"])
    return estimate is None or estimate.n < FEW


def voters_words(metrics: Mapping[str, Any]) -> str:
    """Whose votes these are; empty where the report does not say."""
    by = metrics.get("votes_by") or {}
    return "Votes by " + ", ".join(
        f"{'people' if kind == 'human' else f'{kind} labelers'}: {n:,}"
        for kind, n in by.items()) + "." if by else ""


def left_out_words(metrics: Mapping[str, Any]) -> str:
    """What of a file the report is not over, and why; empty where nothing was left out."""
    left_out = metrics.get("left_out") or {}
    return "Left out of the file: " + ", ".join(
        f"{count:,} ({reason})" for reason, count in left_out.items()) + "." if left_out else ""


def drift_words(metrics: Mapping[str, Any]) -> str:
    """Whether the model still ranks what the newest policy writes."""
    drift = metrics.get("drift")
    if over_file(metrics):
        return "A file does not say which policy wrote its texts."
    if not drift:
        return "No policy's samples have been labeled: only imported texts."
    new, others = (estimate_of(drift[key]) for key in ("accuracy", "others"))
    if new is None:
        return (f"No held-out pair of two responses of {drift['policy']}, the newest policy that "
                "was sampled, has been decided yet.")
    return (f"Where {drift['policy']}, the newest policy that was sampled, wrote both responses: "
            f"{accuracy_words(new)}. All other pairs: {accuracy_words(others)}.")


def calibration_words(metrics: Mapping[str, Any]) -> str:
    """The calibration error beside what chance alone would make of it."""
    found = metrics.get("calibration") or {}
    error, chance = estimate_of(found.get("error")), found.get("if_calibrated")
    if error is None or error.n < FEW_FOR_BINS or not chance:
        return f"Fewer than {FEW_FOR_BINS} decided pairs: too few to say anything of calibration."
    return (f"Expected calibration error {error}. A model that is right about every probability "
            f"would show {chance['mean']:.3f} on as many pairs, and up to {chance['high']:.3f} "
            "by chance.")


def mistake_words(mistake: Mapping[str, Any]) -> str:
    """How many chose what, and what the model thought of it."""
    votes, against, ties = (int(mistake[key]) for key in ("votes", "against", "ties"))
    people = f"{votes} of {votes + against + ties} chose it" + (f", {ties} tied" if ties else "")
    return f"{people}; the model gave it {percent(mistake['probability'], 1)}"


def rows_of(metrics: Mapping[str, Any], way: str) -> list[Mapping[str, Any]]:
    """The groups of one way to break accuracy down, as the report holds them."""
    return list(((metrics.get("groups") or {}).get(way) or {}).get("rows", ()))


def _plain_estimate(values: Any) -> str:
    """An estimate with its interval and n, or that there is none."""
    estimate = estimate_of(values)
    return NOTHING if estimate is None else str(estimate)


def accuracy_card(estimate: Estimate | None) -> tuple[str, str]:
    """An accuracy's value and what belongs under it, or that there are too few pairs for one."""
    if estimate is None:
        return NOTHING, "no held-out pair decided yet"
    if estimate.n < FEW:
        return NOTHING, f"too few to say: n = {estimate.n}"
    return share(estimate)


def _calibration(metrics: Mapping[str, Any]) -> tuple[str, str]:
    error = estimate_of((metrics.get("calibration") or {}).get("error"))
    if error is None:
        return NOTHING, "not measured"
    if error.n < FEW_FOR_BINS:
        return NOTHING, f"too few to say: n = {error.n}"
    return number(error)
