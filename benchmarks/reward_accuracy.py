"""How well reward models predict real people's preferences, on prompts they have not seen.

Four data sets, split by topic or first prompt: `ukp` (UKPConvArg1, arguments; trained on all
decided pairs and tested on the strict ones), `hh` (HH-RLHF harmless), `pandalm` (PandaLM's test
set) and `oasst` (OpenAssistant's ranked replies). Of each:

`*_linear`: a committee (`reward.instant.choosing`), of each feature set a Bayesian linear head,
whose log odds are averaged; the spread of each prior, and the temperature, are chosen anew in
every fold, within its training groups. `*_single`: the one of those heads that did best there.
Each set holds what the checkpoint makes of a question about the response (`Data.question`);
`*_plain` and `*_plain_single`: the same without it.
`*_lora`: LoRA models that begin where a linear head ends (`reward.tuning`), one from each of a few
feature sets, their log odds averaged; `*_lora_one`: the first of them alone. `*_both`: the mean of
the log odds of committee and LoRA models, each one counting alike; `*_same`: the committee on the
folds of those. `--quick` takes four folds of UKPConvArg1, one LoRA model on the first of them, and
every sixth dialogue of HH.

Baselines: `*_length`, the longer response wins (in words); `pandalm_labeler`, another person's word
on the same two responses, a tie counting half, and `pandalm_votes`, the committee on those votes.

`_matched`: accuracy where |Δ log(1 + words)| < 0.2; `_shorter`: where the shorter one won; `_ce`:
cross-entropy in nats; `_ece`: expected calibration error in ten bins. Intervals are of topics (of
first prompts): each is one cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from benchmarks.harness import Figure, flags, say, show
from benchmarks.held_out_odds import Split, of_committee, of_tuned
from benchmarks.human_data import FIRST, TIE, Pairs, arguments, harmless, instructions, replies
from benchmarks.plots import Line, Plot, keep
from data.measures.statistics import bootstrap, clustered_mean
from reward.config import RewardConfig

Array = np.ndarray[Any, Any]
#: The committee's feature sets, kinds side by side: a mean and a last token, of every two depths;
#: to each comes the question.
SETS = tuple(f"layer{mean}.mean+layer{last}.last" for mean in (16, 20, 24)
             for last in (16, 20, 30))
ASKED = "layer16.asked: "
#: What LoRA models begin from, the quickest first.
TUNED = ("layer20.mean+layer20.last", "layer16.mean+layer16.last", "layer24.mean+layer24.last")
BINS = 10
#: Kinds of model in the reliability diagrams, and the fewest pairs of a point there.
RELIABLE, FEWEST = ("linear", "lora", "both"), 20
QUICK_DIALOGUES = 245
WORDS = {"": "accuracy", "_matched": "accuracy, length matched", "_shorter": "where shorter won",
         "_ce": "cross-entropy, nats", "_ece": "calibration error"}


@dataclass(frozen=True)
class Data:
    """A data set, and how much is made of it."""

    name: str
    read: Callable[[], Pairs]
    folds: int
    """That the committee is tested in."""
    tuned_folds: int
    """That the LoRA models are tested in; as many of them as `tuned_most` says."""
    tuned_most: int
    tuned: Sequence[str] = TUNED
    question: str = RewardConfig.question
    """Asked about each response: our own, or in the words of what these people judged."""


CONVINCING, HARMLESS = "How convincing is this argument?", "Is the last answer harmless?"
DATA = (Data("ukp", arguments, 24, 4, 4, question=CONVINCING),
        Data("hh", harmless, 10, 5, 5, question=HARMLESS),
        Data("pandalm", instructions, 10, 5, 5), Data("oasst", replies, 10, 5, 5))
QUICK = (Data("ukp", arguments, 4, 4, 1, TUNED[:1], CONVINCING),
         Data("hh", partial(harmless, QUICK_DIALOGUES), 10, 5, 0, question=HARMLESS),
         Data("pandalm", instructions, 10, 5, 0), Data("oasst", replies, 10, 5, 0))


def main() -> None:
    """All data sets, with all models and with length alone."""
    asked = flags(__doc__ or "", curves=True)
    figures: dict[str, Figure] = {}
    words: dict[str, str] = {}
    plots: dict[str, Plot] = {}
    for data in QUICK if asked.quick else DATA:
        pairs = data.read()
        say(f"{data.name}: {int(pairs.strict.sum()):,} pairs, {data.folds} folds ...")
        found = odds_of(data, pairs)
        plots[f"reliability-{data.name}"] = reliability(data.name, pairs, found)
        for kind, odds in found.items():
            measured = replace(pairs, strict=pairs.strict & np.isfinite(odds))
            figures |= measure(f"{data.name}_{kind}", measured, odds)
            words |= {f"{data.name}_{kind}{end}": f"{data.name} {kind}: {text}"
                      for end, text in WORDS.items()}
            if kind == "linear" and len(np.unique(pairs.votes.labeler)) == 3:
                of_labelers = labelers(pairs, odds)
                figures |= {f"{data.name}_{key}": value for key, value in of_labelers.items()}
                words |= {f"{data.name}_{key}": f"{data.name} {key}: accuracy"
                          for key in of_labelers}
        longer = pairs.log_lengths[pairs.first] - pairs.log_lengths[pairs.second]
        figures[f"{data.name}_length"] = _accuracy(pairs, np.sign(longer), pairs.strict)
        words[f"{data.name}_length"] = f"{data.name} longer wins: accuracy"
    keep(asked.curves, plots)
    show(figures, words, asked.json)


def odds_of(data: Data, pairs: Pairs) -> dict[str, Array]:
    """[M] log odds of each kind of model, NaN where it was not tested."""
    split = Split.of(pairs, data.folds)
    sets = [f"{name}+{ASKED}{data.question}" for name in SETS]
    found = dict(zip(("linear", "single"), of_committee(split, sets), strict=True))
    found |= zip(("plain", "plain_single"), of_committee(split, SETS), strict=True)
    if not data.tuned_most:
        return found
    say(f"{data.name}: fine-tuning on {data.tuned_most} of {data.tuned_folds} folds ...")
    same = split if data.folds == data.tuned_folds else Split.of(pairs, data.tuned_folds)
    committee = found["linear"] if same is split else of_committee(same, sets)[0]
    tuned = [of_tuned(same, name, data.tuned_most, seed) for seed, name in enumerate(data.tuned)]
    return {**found, "lora": np.mean(tuned, axis=0), "lora_one": tuned[0],
            "both": np.mean([committee, *tuned], axis=0),
            "same": np.where(np.isfinite(tuned[0]), committee, np.nan)}


def measure(name: str, pairs: Pairs, odds: Array) -> dict[str, Figure]:
    """All figures that follow from the log odds of the strict pairs; none of no pairs."""
    won = np.where(pairs.gold == FIRST, 1, -1)
    longer = pairs.log_lengths[pairs.first] - pairs.log_lengths[pairs.second]
    toward = np.where(pairs.strict, odds * won, 0.0)  # log odds of what people said
    groups, count = pairs.groups, int(pairs.groups.max()) + 1

    def cross_entropy(drawn: Array) -> float:
        weights = drawn[groups] * pairs.strict
        return float(weights @ np.logaddexp(0, -toward) / weights.sum())

    def calibration(drawn: Array) -> float:
        weights = drawn[groups] * pairs.strict
        confidence, place = _confidence(toward)
        gaps = np.bincount(place, weights * ((toward > 0) - confidence), BINS)
        return float(np.abs(gaps).sum() / weights.sum())

    n = int(pairs.strict.sum())
    parts = {"": pairs.strict, "_matched": pairs.strict & (np.abs(longer) < 0.2),
             "_shorter": pairs.strict & (longer * won < 0)}
    return {**{f"{name}{end}": _accuracy(pairs, odds, used) for end, used in parts.items()
               if used.any()},
            f"{name}_ce": bootstrapped(cross_entropy, count, n),
            f"{name}_ece": bootstrapped(calibration, count, n)}


def reliability(name: str, pairs: Pairs, odds: Mapping[str, Array]) -> Plot:
    """How often models of `RELIABLE` are right, by how sure they are; bands are intervals over
    topics (first prompts), and bins of fewer than `FEWEST` pairs are left out."""
    lines = [Line("as sure as right", [0.5, 1.0], [0.5, 1.0])]
    for kind in (kind for kind in RELIABLE if kind in odds):
        confidence, place = _confidence(odds[kind])
        used = [pairs.strict & np.isfinite(odds[kind]) & (place == number)
                for number in range(BINS)]
        used = [chosen for chosen in used if chosen.sum() >= FEWEST]
        right = [_accuracy(pairs, odds[kind], chosen) for chosen in used]
        value, low, high = ([each[end] for each in right] for end in ("value", "low", "high"))
        lines.append(Line(kind, [float(confidence[chosen].mean()) for chosen in used], value, low,
                          high))
    return Plot(f"{name}: reliability on prompts not seen", "how sure the model is",
                "how often it is right", lines)


def _confidence(odds: Array) -> tuple[Array, Array]:
    """Probability of the likelier side, and which of ten bins from .5 to 1 it lies in."""
    confidence = 1 / (1 + np.exp(-np.abs(np.nan_to_num(odds))))
    return confidence, np.clip(((confidence - 0.5) * 2 * BINS).astype(int), 0, BINS - 1)


def labelers(pairs: Pairs, odds: Array) -> dict[str, Figure]:
    """How often another person, and the model, are right about one person's decided vote."""
    votes = pairs.votes
    table = np.full((len(pairs.first), int(votes.labeler.max()) + 1), TIE)
    table[votes.pair, votes.labeler] = votes.outcome
    said = TIE - table  # 1 the first, 0 a tie, -1 the second
    mine, number = np.nonzero((said != 0) & np.isfinite(odds)[:, None])
    vote = said[mine, number]
    others = np.stack([said[mine, (number + step) % said.shape[1]]
                       for step in range(1, said.shape[1])])
    return {"labeler": _mean(((1 + others * vote) / 2).mean(axis=0), pairs.groups[mine]),
            "votes": _mean((1 + np.sign(odds[mine]) * vote) / 2, pairs.groups[mine])}


def _accuracy(pairs: Pairs, odds: Array, used: Array) -> Figure:
    """How often the sign of the odds is what people said; 0 counts half."""
    right = (np.sign(odds[used]) * np.where(pairs.gold[used] == FIRST, 1, -1) + 1) / 2
    return _mean(right, pairs.groups[used])


def _mean(values: Array, groups: Array) -> Figure:
    found = clustered_mean(values.tolist(), groups.tolist())
    assert found is not None
    return {"value": found.value, "low": found.low, "high": found.high, "n": found.n}


def bootstrapped(statistic: Callable[[Array], float], groups: int, n: int) -> Figure:
    """A statistic of how often each group (topic, first prompt) was drawn, with its interval."""
    low, high = bootstrap(statistic, groups)
    return {"value": statistic(np.ones(groups)), "low": low, "high": high, "n": n}


if __name__ == "__main__":
    main()
