"""Simulated labelers: a stated preference and a stated noise, in the place of people.

For demonstrations, tests and the tuning of labeling plans. They answer through the same store
calls as people do, and everything they say is recorded under labelers of kind `simulated`, so
that it can be told apart wherever it shows. They give no flags and no reasons, and take 0 s.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from data.errors import BadInput
from data.progress import Progress, Silent
from data.records import Answer, Assignment, Labeler
from data.store import Store

#: Margins, in logits, from which an answer is called slightly, plainly and significantly better.
_STRENGTH_FROM = (0.5, 1.5, 3.0)


@cache
def _vader() -> Any:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    return SentimentIntensityAnalyzer()


def sentiment(text: str) -> float:
    """VADER's compound score, −1 to 1 (Hutto & Gilbert 2014); Ziegler et al. 2019 used the task."""
    return float(_vader().polarity_scores(text)["compound"])


def shorter(text: str) -> float:
    """Fewer characters are better."""
    return -float(len(text))


def longer(text: str) -> float:
    """More characters are better."""
    return float(len(text))


#: What a simulated labeler can want, by the name in its config; higher is better.
PREFERENCES: Mapping[str, Callable[[str], float]] = {
    "sentiment": sentiment, "shorter": shorter, "longer": longer}


def ensure_labelers(store: Store, count: int, preference: str, noise: float) -> list[Labeler]:
    """`count` simulated labelers of exactly this preference and noise, made if missing; who is
    disabled or set aside is none of them.

    A changed noise gives new labelers rather than changing what the old ones' answers meant.

    Raises:
        BadInput: unknown preference, noise below 0 or not finite, or count below 1.
    """
    config = {"preference": preference, "noise": noise}
    _check(config)
    if count < 1:
        raise BadInput(f"labelers: at least 1 is needed, not {count}")
    with store.database.write():
        everybody = store.people.all()
        same = [labeler for labeler in everybody if labeler.kind == "simulated"
                and labeler.config == config and not labeler.disabled
                and labeler.set_aside_at is None]
        taken, number = {labeler.name for labeler in everybody}, 0
        while len(same) < count:
            number += 1
            name = f"Simulated {preference} {number}"
            if name not in taken:
                same.append(store.people.add(name, kind="simulated", config=config))
        return same[:count]


def rank(texts: Mapping[int, str], preference: str, noise: float,
         rng: random.Random) -> Answer:
    """One labeler's answer over responses (id to text).

    Utilities are score / noise plus Gumbel noise, best first: a draw from Plackett–Luce, which for
    two responses is Bradley–Terry, P(a over b) = sigmoid((s_a − s_b) / noise). Identical texts tie;
    equal scores of different texts are a coin toss, as the model says. Noise 0 follows the scores,
    and there equal scores tie. The strength is how far the best is above the next, in logits.
    """
    score = PREFERENCES[preference]
    groups: dict[Any, list[int]] = {}
    utility: dict[Any, float] = {}
    for response_id in sorted(texts):  # the draws must not depend on the order of display
        text = texts[response_id].strip()
        value = score(text)
        key: Any = text if noise > 0 else value
        if key not in groups:
            utility[key] = value / noise + _gumbel(rng) if noise > 0 else value
        groups.setdefault(key, []).append(response_id)
    order = sorted(groups, key=utility.__getitem__, reverse=True)
    ranking = tuple(tuple(groups[key]) for key in order)
    if len(order) == 1:
        return Answer(ranking, strength=0)
    margin = utility[order[0]] - utility[order[1]] if noise > 0 else math.inf
    return Answer(ranking, strength=1 + sum(margin >= start for start in _STRENGTH_FROM))


def answer_open_tasks(store: Store, labelers: Sequence[Labeler], seed: int,
                      progress: Progress | None = None) -> int:
    """Let simulated labelers answer what is open; returns how many answers they gave.

    Can be killed and run again: an answer depends on the seed, the labeler and the task alone,
    and whose turn it is follows from what is stored (whoever has answered least).

    Raises:
        BadInput: a labeler is not simulated, or its config is wrong.
        Stopped: the progress says so; everything answered is stored.
    """
    for labeler in labelers:
        if labeler.kind != "simulated":
            raise BadInput(f"{labeler.name} is {labeler.kind}, not simulated")
        _check(labeler.config)
    progress = progress or Silent()
    total = store.tasks.labels_missing()
    given = {a.id: len(store.comparisons.current(labeler_id=a.id, set_aside=True))
             for a in labelers}
    waiting, done = list(labelers), 0
    while waiting:
        labeler = min(waiting, key=lambda each: given[each.id])
        assignment = store.assignments.next_for(labeler.id)
        if assignment is None:
            waiting.remove(labeler)
            continue
        _answer(store, labeler, assignment, seed)
        given[labeler.id] += 1
        done += 1
        progress.update(min(1.0, done / max(1, total)), f"simulated labels: {done} of {total}")
    return done


def noise_for_agreement(score_differences: Sequence[float], target: float = 0.75) -> float:
    """The noise at which two such labelers are expected to agree `target` of the time.

    Solves mean(p² + (1 − p)²) = target with p = sigmoid(difference / noise) by bisection: the
    mean falls from 1 (less half the share of differences that are 0) to ½ as the noise grows.
    Where even the least noise agrees too seldom, that noise is returned: scores are followed to
    the letter and only the equal ones are tossed for. Measure the agreement, and show it.

    Raises:
        ValueError: no differences, or a target outside ½ to 1.
    """
    if not 0.5 < target < 1 or not score_differences:
        raise ValueError(f"target {target} over {len(score_differences)} differences")
    scale = max(abs(d) for d in score_differences) or 1.0
    low, high = math.log(scale * 1e-6), math.log(scale * 1e6)
    for _ in range(80):
        middle = (low + high) / 2
        if expected_agreement(score_differences, math.exp(middle)) > target:
            low = middle
        else:
            high = middle
    return math.exp(low)


def expected_agreement(score_differences: Sequence[float], noise: float) -> float:
    """How often two independent labelers of this noise say the same, over these differences."""
    chances = [1 / (1 + math.exp(-min(abs(d) / noise, 700.0))) for d in score_differences]
    return sum(p * p + (1 - p) * (1 - p) for p in chances) / len(chances)


def _answer(store: Store, labeler: Labeler, assignment: Assignment, seed: int) -> None:
    task = assignment.task
    texts = {r.id: r.text for r in store.responses.get(task.response_ids)}
    rng = random.Random(f"{seed}/{labeler.name}/{task.id}")
    answer = rank(texts, labeler.config["preference"], labeler.config["noise"], rng)
    # An answer withdrawn by hand is given anew, under a key of its own.
    earlier = len(store.comparisons.history(task.id, labeler.id))
    store.comparisons.submit(labeler.id, task, answer,
                             f"simulated/{seed}/{labeler.id}/{task.id}/{earlier}")


def _gumbel(rng: random.Random) -> float:
    # random() can be 0, never 1, and so can 1 − random() be 1, never 0; 1 would give log(0).
    return -math.log(-math.log(min(1 - rng.random(), 1 - 2**-53)))


def _check(config: Mapping[str, Any]) -> None:
    if config.get("preference") not in PREFERENCES:
        raise BadInput(f"preference: {config.get('preference')!r} is none of "
                       f"{', '.join(PREFERENCES)}")
    noise = config.get("noise")
    if not isinstance(noise, int | float) or not 0 <= noise < math.inf:
        raise BadInput(f"noise: wanted a number from 0 up, not {noise!r}")
