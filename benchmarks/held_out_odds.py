"""Log odds of pairs from models that never saw their topic (or first prompt), fold by fold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.harness import say
from benchmarks.human_data import FIRST, SECOND, Pairs, features
from data.records import Message
from reward.examples import Example, Pair
from reward.instant.choosing import Candidate, Prepared, choose_committee, grouped_folds
from reward.instant.comparisons import Comparisons
from reward.instant.linear import LinearReward
from reward.instant.standard import standardise
from reward.kinds import FeatureKind

Array = np.ndarray[Any, Any]
#: Of the committee: what each head may choose from within the training groups.
SPREADS, POWER = (0.5, 0.7, 1.0), 1.25
COMPONENTS = 200
#: How a model is fine-tuned: the prior of the head that it begins from, and LoRA's run.
TUNED_SPREAD, TUNED_BLOCKS, TUNED_EPOCHS, TUNED_RATE, TUNED_STEP = 0.7, 8, 3, 1e-3, 48


@dataclass(frozen=True)
class Split:
    """Decided pairs, each with the fold that it is tested in."""

    pairs: Pairs
    used: Array
    """[m] indices of the decided pairs."""
    fold: Array
    """[m]"""
    seed: int = 0
    labels: int = 0
    """So many pairs, drawn from all that a fold may learn from, are what it learns from; 0: all."""

    @classmethod
    def of(cls, pairs: Pairs, folds: int, seed: int = 0) -> Split:
        """Groups dealt out at random."""
        used = np.flatnonzero((pairs.gold == FIRST) | (pairs.gold == SECOND))
        return cls(pairs, used, grouped_folds(pairs.groups[used], folds, seed), seed)

    @property
    def comparisons(self) -> Comparisons:
        """All decided pairs."""
        pairs, used = self.pairs, self.used
        return Comparisons(pairs.first[used], pairs.second[used], np.eye(3)[pairs.gold[used]],
                           pairs.groups[used])

    @property
    def folds(self) -> int:
        """How many there are."""
        return int(self.fold.max()) + 1

    def training(self, fold: int) -> Array:
        """Places among the decided pairs of those that a fold's models learn from."""
        found = np.flatnonzero(self.fold != fold)
        if not self.labels:
            return found
        return np.sort(np.random.default_rng(fold).permutation(found)[:self.labels])


def of_committee(split: Split, names: Sequence[str],
                 most: int | None = None) -> tuple[Array, Array]:
    """[M] log odds that the first wins each decided pair (of the first `most` folds), NaN
    elsewhere: those of a head for each feature set (kinds joined by +) together, and of the one of
    them that did best within the training groups."""
    pairs, whole, strict = split.pairs, split.comparisons, split.pairs.strict[split.used]
    prepared = []
    for name, values in feature_sets(pairs, names).items():
        standard = standardise(values, COMPONENTS, POWER, pairs.group_of_text)
        prepared.append(Prepared(name, standard, standard.of(values)))
    odds, single = np.full((2, len(pairs.first)), np.nan)
    chosen: Counter[str] = Counter()
    for fold in range(split.folds)[:most]:
        learned = split.training(fold)
        train, test = whole.take(learned), whole.take(split.fold == fold)
        committee = choose_committee(prepared, train, spreads=SPREADS, seed=split.seed,
                                     judged=strict[learned])
        of_members = [_odds(member, train, test) for member in committee.members]
        best = committee.members[0]
        chosen[f"{best.features.name}, spread {best.spread}"] += 1
        place = split.used[split.fold == fold]
        odds[place] = committee.temperature * np.mean(of_members, axis=0)
        single[place] = best.temperature * of_members[0]
    for text, times in chosen.most_common():
        say(f"  best alone in {times} of {split.folds} folds: {text}")
    return odds, single


def of_tuned(split: Split, name: str, most: int, seed: int) -> Array:
    """[M] log odds of a model fine-tuned from a head on one feature set (`reward.tuning`), of each
    decided pair of the first `most` folds; NaN elsewhere."""
    from backbone.config import EMBEDDED, ModelConfig
    from backbone.model import Backbone
    from reward.config import RewardConfig
    from reward.tuning import tune

    pairs, whole = split.pairs, split.comparisons
    table = feature_sets(pairs, [name])[name]
    standard = standardise(table, COMPONENTS, POWER, pairs.group_of_text)
    backbone = Backbone.load(EMBEDDED, ModelConfig())
    config = RewardConfig(form="tuned", tuned_blocks=TUNED_BLOCKS, epochs=TUNED_EPOCHS,
                          responses_per_step=TUNED_STEP, learning_rate=TUNED_RATE)
    lora = backbone.new_lora_config(ModelConfig.lora_rank, ModelConfig.lora_alpha)
    odds = np.full(len(pairs.first), np.nan)
    for fold in range(most):
        learned = split.training(fold)
        head = LinearReward.fitted(standard, standard.of(table), whole.take(learned), TUNED_SPREAD)
        model = tune(backbone, examples(pairs, split.used[learned]), head,
                     kinds_in(name), config, lora, seed=seed)
        place = split.used[split.fold == fold]
        texts = sorted({*pairs.first[place].tolist(), *pairs.second[place].tolist()})
        scores = np.full(len(pairs.texts), np.nan)
        scores[texts] = model.score([[*pairs.texts[i].turns(), Message(
            role="assistant", content=pairs.texts[i].response)] for i in texts])
        odds[place] = scores[pairs.first[place]] - scores[pairs.second[place]]
        say(f"  {name}: fold {fold + 1} of {most}")
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


def feature_sets(pairs: Pairs, names: Sequence[str]) -> dict[str, Array]:
    """[N, d] of each feature set."""
    found = features(pairs.texts, sorted({kind for name in names for kind in kinds_in(name)}))
    return {name: np.hstack([found[kind] for kind in kinds_in(name)]) for name in names}


def kinds_in(name: str) -> list[FeatureKind]:
    """The kinds of a feature set, which its name joins by +."""
    return [FeatureKind.parse(kind) for kind in name.split("+")]


def _odds(member: Candidate, train: Comparisons, test: Comparisons) -> Array:
    """[M] log odds of the first of each tested comparison."""
    table = member.features.table
    model = LinearReward.fitted(member.features.standard, table, train, member.spread)
    p = model.posterior.predictions(table[test.first] - table[test.second])
    return np.asarray(np.log(p[:, 0]) - np.log(p[:, 2]))
