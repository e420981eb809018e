"""Two reward models with their reports in a workspace that people have labeled; no model is run."""

from __future__ import annotations

import math
import random

from data.records import RewardModel
from data.store import Store
from reward.examples import Example, from_store
from reward.report.figures import report
from reward.report.groups import Facts


def noisy_scores(examples: tuple[Example, ...], noise: float, seed: int,
                 wrong_about: int | None = None) -> dict[int, float]:
    """Scores that follow what most labelers say of a response, but for noise and a love of length.

    Of one prompt, if asked for, the opposite of what they say, and that for sure.
    """
    draw = random.Random(seed)
    scores = {}
    for example in examples:
        won = dict.fromkeys(example.texts, 0.0)
        for pair in example.pairs:
            if not pair.is_tie:
                won[pair.chosen_id] += 0.5
                won[pair.rejected_id] -= 0.5
        if example.prompt_id == wrong_about:
            won = {i: -9 * score for i, score in won.items()}
        for i, text in example.texts.items():
            scores[i] = won[i] + 0.3 * math.log1p(len(text.split())) + draw.gauss(0, noise)
    return scores


def add_reward_models(store: Store, noises: tuple[float, ...] = (1.6, 0.7),
                      wrong_about: int | None = None) -> list[RewardModel]:
    """A version for each noise, reported on as `prefloop train-reward` does it."""
    data = from_store(store)
    facts, made, previous = Facts.from_store(store), [], None
    for number, noise in enumerate(noises, 1):
        scores = noisy_scores(data.held_out, noise, number, wrong_about)
        name = f"reward-{number}"
        found = report(data.held_out, scores, facts, previous)
        made.append(store.versions.add_reward_model(
            name=name, base="tiny", path=f"adapters/{name}", comparisons=data.comparisons,
            metrics={**found, "cut_responses": 2, "score_mean": 0.0, "score_std": 1.0,
                     "train": {"pairs": sum(len(e.pairs) for e in data.train),
                               "prompts": len(data.train), "cut_responses": 5}}))
        previous = (name, scores)
    return made
