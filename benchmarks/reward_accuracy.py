"""How well reward models predict real people's preferences, on prompts they have not seen.

`ukp_*`: UKPConvArg1, leave-topics-out, trained on the gold labels of all decided pairs and tested
on the strict ones: each topic alone, with `--quick` four folds of six topics. `hh_*`: HH-RLHF
harmless, 10 folds by first prompt; with `--quick` every sixth dialogue. The linear model
(`reward.instant.linear`) is a committee: of each feature set a head, whose log odds are averaged.
The prior's spread of each, and the temperature, are chosen anew in every fold, by cross-validation
over the fold's own training topics, judged by their strict pairs. `ukp_single`: the best of the
feature sets alone, chosen in the same way. Beside them: the longer response wins (in words).

`*_lora`: LoRA that begins where a linear head ends (`reward.tuning`; 4 blocks, 2 epochs),
on as many of the folds as `TUNED_FOLDS` says: 4 of UKP's 4 and 2 of HH's 10, with `--quick` 1 of
UKP's 4 alone; `n` says how many pairs that was. `*_both`: the mean of its log odds and the
committee's, on the same pairs; `*_same`: the committee alone on those.

`_matched`: accuracy where |Δ log(1 + words)| < 0.2; `_shorter`: where the shorter one won; `_ce`:
cross-entropy in nats; `_ece`: expected calibration error in ten bins. Intervals are of topics (of
first prompts): each is one cluster.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.harness import Figure, flags, say, show
from benchmarks.human_data import FIRST, SECOND, Pairs, arguments, features, harmless
from data.measures.statistics import bootstrap, clustered_mean
from data.records import Message
from reward.examples import Example, Pair
from reward.instant.choosing import Candidate, choose_committee, grouped_folds, prepare
from reward.instant.comparisons import Comparisons
from reward.instant.linear import fit_linear
from reward.instant.standard import standardise

Array = np.ndarray[Any, Any]
#: The committee's feature sets, kinds side by side: a mean and a last token, of every two depths.
SETS = tuple(f"layer{mean}.mean+layer{last}.last" for mean in (16, 20, 24)
             for last in (16, 20, 30))
#: Of those, what needs only the first two thirds of the layers.
SHALLOW = tuple(name for name in SETS if "24" not in name and "30" not in name)
SPREADS, POWERS = (0.5, 0.7, 1.0), (1.25,)
COMPONENTS = 200
#: What is fine-tuned: the head's features and its prior.
TUNED, TUNED_SPREAD = ((20, "mean"), (20, "last")), 0.7
#: Folds that are fine-tuned on, and of how many: in full, and with `--quick`.
TUNED_FOLDS = {"ukp": ((4, 4), (1, 4)), "hh": ((2, 10), (0, 10))}
BINS = 10
QUICK_DIALOGUES = 245
WORDS = {"": "accuracy", "_matched": "accuracy, length matched", "_shorter": "where shorter won",
         "_ce": "cross-entropy, nats", "_ece": "calibration error"}


def main() -> None:
    """Both data sets, with the linear model and with length alone."""
    asked = flags(__doc__ or "")
    figures: dict[str, Figure] = {}
    words: dict[str, str] = {}
    ukp, hh = arguments(), harmless(QUICK_DIALOGUES if asked.quick else None)
    for name, pairs, sets, folds in (("ukp", ukp, SETS, 4 if asked.quick else 24),
                                     ("hh", hh, SHALLOW, 10)):
        table = _sets(pairs, sets)
        say(f"{name}: {int(pairs.strict.sum()):,} pairs, {folds} folds ...")
        odds_of = dict(zip(("linear", "single"), linear(pairs, table, folds), strict=True))
        for kind, odds in odds_of.items():
            figures |= measure(f"{name}_{kind}", pairs, odds)
            words |= {f"{name}_{kind}{end}": f"{name} {kind}: {text}"
                      for end, text in WORDS.items()}
        most, of = TUNED_FOLDS[name][asked.quick]
        if most:
            say(f"{name}: fine-tuning on {most} of {of} folds ...")
            committee = linear(pairs, table, of)[0] if of != folds else odds_of["linear"]
            lora = tuned(pairs, most, of)
            measured = replace(pairs, strict=pairs.strict & np.isfinite(lora))
            for kind, odds in (("lora", lora), ("both", (lora + committee) / 2),
                               ("same", committee)):
                figures |= measure(f"{name}_{kind}", measured, odds)
                words |= {f"{name}_{kind}{end}": f"{name} {kind}: {text}"
                          for end, text in WORDS.items()}
        longer = pairs.log_lengths[pairs.first] - pairs.log_lengths[pairs.second]
        figures[f"{name}_length"] = _accuracy(pairs, np.sign(longer), pairs.strict)
        words[f"{name}_length"] = f"{name} longer wins: accuracy"
    show(figures, words, asked.json)


def linear(pairs: Pairs, table: dict[str, Array], folds: int, seed: int = 0
           ) -> tuple[Array, Array]:
    """[M] log odds that the first wins each decided pair, from models that never saw its group.

    Those of the committee, and of the one of its members that did best within the training groups.
    """
    used = np.flatnonzero((pairs.gold == FIRST) | (pairs.gold == SECOND))
    strict = pairs.strict[used]
    whole = Comparisons(pairs.first[used], pairs.second[used], np.eye(3)[pairs.gold[used]],
                        pairs.groups[used])
    split = grouped_folds(whole.groups, folds, seed)
    prepared = prepare(table, POWERS, COMPONENTS, pairs.group_of_text)
    odds, single = np.full((2, len(pairs.first)), np.nan)
    chosen: Counter[str] = Counter()
    for fold in range(folds):
        train, test = whole.take(split != fold), whole.take(split == fold)
        committee = choose_committee(prepared, train, spreads=SPREADS, seed=seed,
                                     judged=strict[split != fold])
        of_members = [_odds(member, table, train, test) for member in committee.members]
        best = committee.members[0]
        chosen[f"{best.features.name}, spread {best.spread}"] += 1
        place = used[split == fold]
        odds[place] = committee.temperature * np.mean(of_members, axis=0)
        single[place] = best.temperature * of_members[0]
    for text, times in chosen.most_common():
        say(f"  best alone in {times} of {folds} folds: {text}")
    return odds, single


def _odds(member: Candidate, table: dict[str, Array], train: Comparisons,
          test: Comparisons) -> Array:
    """[M] log odds of the first of each tested comparison."""
    values = table[member.features.name]
    model = fit_linear(values, train, spread=member.spread, standard=member.features.standard)
    p = model.predictions(values[test.first], values[test.second])
    return np.asarray(np.log(p[:, 0]) - np.log(p[:, 2]))


def tuned(pairs: Pairs, most: int, folds: int, seed: int = 0) -> Array:
    """[M] log odds of each decided pair of the first `most` folds; NaN elsewhere."""
    from backbone.config import EMBEDDED, ModelConfig
    from backbone.model import Backbone
    from reward.config import RewardConfig
    from reward.instant.features import FeatureKind
    from reward.tuning import tune

    kinds = [FeatureKind(*kind) for kind in TUNED]
    found = features(pairs.texts, TUNED)
    table = np.hstack([found[str(kind)] for kind in kinds])
    standard = standardise(table, COMPONENTS, POWERS[0], pairs.group_of_text)
    used = np.flatnonzero((pairs.gold == FIRST) | (pairs.gold == SECOND))
    whole = Comparisons(pairs.first[used], pairs.second[used], np.eye(3)[pairs.gold[used]],
                        pairs.groups[used])
    split = grouped_folds(whole.groups, folds, seed)
    backbone = Backbone.load(EMBEDDED, ModelConfig())
    config = RewardConfig(form="tuned", tuned_blocks=4, epochs=2, responses_per_step=48,
                          learning_rate=1e-3)
    lora = backbone.new_lora_config(ModelConfig.lora_rank, ModelConfig.lora_alpha)
    odds = np.full(len(pairs.first), np.nan)
    for fold in range(most):
        head = fit_linear(table, whole.take(split != fold), spread=TUNED_SPREAD, standard=standard)
        model = tune(backbone, examples(pairs, used[split != fold]), head, kinds, config, lora,
                     seed=seed)
        place = used[split == fold]
        texts = sorted({*pairs.first[place].tolist(), *pairs.second[place].tolist()})
        scores = np.full(len(pairs.texts), np.nan)
        scores[texts] = model.score([[*pairs.texts[i].turns(), Message(
            role="assistant", content=pairs.texts[i].response)] for i in texts])
        odds[place] = scores[pairs.first[place]] - scores[pairs.second[place]]
        say(f"  fold {fold + 1} of {folds}")
    return odds


def examples(pairs: Pairs, chosen: Array) -> list[Example]:
    """Some decided pairs, by prompt, as reward training reads them."""
    by_prompt: dict[tuple[tuple[str, str], ...], list[Pair]] = {}
    for number in chosen.tolist():
        sides = int(pairs.first[number]), int(pairs.second[number])
        won, lost = sides if pairs.gold[number] == FIRST else sides[::-1]
        by_prompt.setdefault(pairs.texts[won].messages, []).append(
            Pair(won, lost, 1, 1.0, number, 0, int(pairs.groups[number])))
    return [Example(mine[0].prompt_id, pairs.texts[mine[0].chosen_id].turns(),
                    {i: pairs.texts[i].response for p in mine
                     for i in (p.chosen_id, p.rejected_id)}, tuple(mine))
            for mine in by_prompt.values()]


def measure(name: str, pairs: Pairs, odds: Array) -> dict[str, Figure]:
    """All figures that follow from the log odds of the strict pairs."""
    won = np.where(pairs.gold == FIRST, 1, -1)
    longer = pairs.log_lengths[pairs.first] - pairs.log_lengths[pairs.second]
    toward = np.where(pairs.strict, odds * won, 0.0)  # log odds of what people said
    groups, count = pairs.groups, int(pairs.groups.max()) + 1

    def cross_entropy(drawn: Array) -> float:
        weights = drawn[groups] * pairs.strict
        return float(weights @ np.logaddexp(0, -toward) / weights.sum())

    def calibration(drawn: Array) -> float:
        weights = drawn[groups] * pairs.strict
        confidence = 1 / (1 + np.exp(-np.abs(toward)))
        place = np.clip(((confidence - 0.5) * 2 * BINS).astype(int), 0, BINS - 1)
        gaps = np.bincount(place, weights * ((toward > 0) - confidence), BINS)
        return float(np.abs(gaps).sum() / weights.sum())

    n = int(pairs.strict.sum())
    return {name: _accuracy(pairs, odds, pairs.strict),
            f"{name}_matched": _accuracy(pairs, odds, pairs.strict & (np.abs(longer) < 0.2)),
            f"{name}_shorter": _accuracy(pairs, odds, pairs.strict & (longer * won < 0)),
            f"{name}_ce": _bootstrapped(cross_entropy, count, n),
            f"{name}_ece": _bootstrapped(calibration, count, n)}


def _accuracy(pairs: Pairs, odds: Array, used: Array) -> Figure:
    """How often the sign of the odds is what people said; 0 counts half."""
    right = (np.sign(odds[used]) * np.where(pairs.gold[used] == FIRST, 1, -1) + 1) / 2
    found = clustered_mean(right.tolist(), pairs.groups[used].tolist())
    assert found is not None
    return {"value": found.value, "low": found.low, "high": found.high, "n": found.n}


def _bootstrapped(statistic: Callable[[Array], float], groups: int, n: int) -> Figure:
    low, high = bootstrap(statistic, groups)
    return {"value": statistic(np.ones(groups)), "low": low, "high": high, "n": n}


def _sets(pairs: Pairs, names: tuple[str, ...]) -> dict[str, Array]:
    """[N, d] of each feature set."""
    kinds = sorted({kind for name in names for kind in name.split("+")})
    split = [kind.removeprefix("layer").split(".") for kind in kinds]
    found = features(pairs.texts, [(int(layer), pooling) for layer, pooling in split])
    return {name: np.hstack([found[kind] for kind in name.split("+")]) for name in names}


if __name__ == "__main__":
    main()
