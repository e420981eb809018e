"""Simulated labelers: the stated model, the stated noise, and the same answers after a kill."""

import math
import random
from collections import Counter
from pathlib import Path

import pytest
from data_world import World

from annotate import simulated
from data.errors import BadInput
from data.measures.agreement import percent_agreement
from data.progress import Stopped


def share(texts: dict[int, str], first: tuple[int, ...], noise: float, draws: int = 4000) -> float:
    rng = random.Random(7)
    return sum(simulated.rank(texts, "longer", noise, rng).ranking[0] == first
               for _ in range(draws)) / draws


def test_two_responses_follow_bradley_terry() -> None:
    for gap, noise in ((2, 2.0), (3, 2.0), (1, 4.0)):
        expected = 1 / (1 + math.exp(-gap / noise))
        assert share({1: "a" * (4 + gap), 2: "b" * 4}, (1,), noise) == pytest.approx(
            expected, abs=.025)


def test_several_responses_follow_plackett_luce() -> None:
    texts = {1: "a" * 5, 2: "b" * 4, 3: "c" * 3}
    weights = {i: math.exp(len(text) / 2) for i, text in texts.items()}
    rng, found = random.Random(8), Counter[tuple[int, ...]]()
    for _ in range(6000):
        ranking = simulated.rank(texts, "longer", 2.0, rng).ranking
        found[tuple(group[0] for group in ranking)] += 1
    for order, count in found.items():
        rest, expected = dict(weights), 1.0
        for i in order:
            expected *= rest[i] / sum(rest.values())
            del rest[i]
        assert count / 6000 == pytest.approx(expected, abs=.025)


def test_the_same_text_ties_and_no_noise_follows_the_scores() -> None:
    rng = random.Random(9)
    same = simulated.rank({4: "same", 2: "same "}, "longer", 1.0, rng)
    assert (same.ranking, same.strength) == (((2, 4),), 0)
    exact = simulated.rank({1: "ab", 2: "c", 3: "de"}, "longer", 0.0, rng)
    assert (exact.ranking, exact.strength) == (((1, 3), (2,)), 4)
    assert simulated.rank({1: "ab", 2: "c"}, "shorter", 0.0, rng).ranking == ((2,), (1,))


def test_wider_margins_are_called_stronger() -> None:
    rng = random.Random(10)
    close = [simulated.rank({1: "aa", 2: "b"}, "longer", 5.0, rng).strength for _ in range(500)]
    far = [simulated.rank({1: "a" * 9, 2: "b"}, "longer", 1.0, rng).strength for _ in range(500)]
    assert set(close) <= {1, 2, 3, 4} and sum(close) / 500 < 2.4 < 3.8 < sum(far) / 500


def test_sentiment_is_vaders_compound() -> None:
    assert simulated.sentiment("VADER is smart, handsome, and funny.") == 0.8316  # its own README
    assert simulated.sentiment("It was awful.") < 0 == simulated.sentiment("")


def test_noise_reaches_the_agreement_asked_for() -> None:
    rng = random.Random(11)
    differences = [rng.gauss(0, .6) for _ in range(500)]
    for target in (.6, .75, .9):
        noise = simulated.noise_for_agreement(differences, target)
        assert simulated.expected_agreement(differences, noise) == pytest.approx(target, abs=1e-6)


def test_an_agreement_out_of_reach_gives_the_least_noise() -> None:
    differences = [0.0] * 8 + [1.0, -1.0]
    noise = simulated.noise_for_agreement(differences, .75)
    assert noise < 1e-5
    assert simulated.expected_agreement(differences, noise) == pytest.approx(.6)
    assert simulated.noise_for_agreement([0.0], .75) > 0
    for wrong in ([], [1.0]):
        with pytest.raises(ValueError):
            simulated.noise_for_agreement(wrong, .5)


def _fill(world: World, tasks: int) -> None:
    rng = random.Random(12)
    words = ["good", "bad", "fine", "lovely", "awful", "house", "dog", "happy", "sad", "table"]
    for _ in range(tasks):
        world.task((" ".join(rng.choices(words, k=5)), " ".join(rng.choices(words, k=5))),
                   wanted=2)


def answers(world: World) -> dict[tuple[int, int], object]:
    return {(c.task_id, c.labeler_id): c.answer for c in world.store.comparisons.current()}


def test_they_answer_what_is_open_and_agree_as_planned(world: World) -> None:
    _fill(world, 150)
    differences = [simulated.sentiment(a) - simulated.sentiment(b)
                   for a, b in world.store.tasks.open_pairs()]
    noise = simulated.noise_for_agreement(differences)
    labelers = simulated.ensure_labelers(world.store, 4, "sentiment", noise)
    assert simulated.answer_open_tasks(world.store, labelers, seed=1) == 300
    assert world.store.tasks.labels_missing() == 0
    found = percent_agreement(world.store.comparisons.current())
    assert found is not None
    assert found.n == 150 and found.low < .75 < found.high
    per_labeler = Counter(c.labeler_id for c in world.store.comparisons.current())
    assert set(per_labeler.values()) == {75}
    assert {c.answer.seconds for c in world.store.comparisons.current()} == {0.0}
    assert simulated.answer_open_tasks(world.store, labelers, seed=1) == 0


class StopAt:
    """Progress that asks to stop after so many answers."""

    def __init__(self, answers: int) -> None:
        self.left = answers
        self.fractions: list[float] = []

    def update(self, fraction: float, message: str) -> None:
        self.fractions.append(fraction)
        self.left -= 1
        if self.left == 0:
            raise Stopped

    def metrics(self, step: int, values: object) -> None:
        pass


def test_stopped_and_run_again_gives_the_same_answers(tmp_path: Path) -> None:
    whole, parts = World.make(tmp_path / "whole.db"), World.make(tmp_path / "parts.db")
    for world in (whole, parts):
        _fill(world, 20)
    labelers = simulated.ensure_labelers(whole.store, 3, "sentiment", .4)
    simulated.answer_open_tasks(whole.store, labelers, seed=3)
    labelers = simulated.ensure_labelers(parts.store, 3, "sentiment", .4)
    with pytest.raises(Stopped):
        simulated.answer_open_tasks(parts.store, labelers, 3, progress=StopAt(8))
    # Killed between taking a task and answering it:
    parts.store.assignments.next_for(labelers[8 % 3].id)
    watch = StopAt(1000)
    simulated.answer_open_tasks(parts.store, labelers, 3, progress=watch)
    assert watch.fractions[-1] == 1.0
    assert answers(parts) == answers(whole)
    other = World.make(tmp_path / "other.db")
    _fill(other, 20)
    labelers = simulated.ensure_labelers(other.store, 3, "sentiment", .4)
    simulated.answer_open_tasks(other.store, labelers, seed=4)
    assert answers(other) != answers(whole)


def test_a_withdrawn_answer_is_given_anew(world: World) -> None:
    task = world.task(("good", "bad"))
    (labeler,) = simulated.ensure_labelers(world.store, 1, "longer", 1.0)
    assert simulated.answer_open_tasks(world.store, [labeler], 0) == 1
    world.store.comparisons.undo_last(labeler.id, task, "undo")
    assert simulated.answer_open_tasks(world.store, [labeler], 0) == 1
    assert [c.revision for c in world.store.comparisons.current()] == [3]


def test_labelers_are_reused_and_marked_simulated(world: World) -> None:
    world.store.people.add("Simulated longer 1")  # a person took the name
    first = simulated.ensure_labelers(world.store, 2, "longer", 1.0)
    assert [labeler.name for labeler in first] == ["Simulated longer 2", "Simulated longer 3"]
    assert {labeler.kind for labeler in first} == {"simulated"}
    assert simulated.ensure_labelers(world.store, 2, "longer", 1.0) == first
    assert simulated.ensure_labelers(world.store, 3, "longer", 1.0)[:2] == first
    other = simulated.ensure_labelers(world.store, 1, "longer", 2.0)
    assert other[0] not in first


def test_what_cannot_be_simulated_is_refused(world: World) -> None:
    (human,) = world.people(1)
    with pytest.raises(BadInput, match="human"):
        simulated.answer_open_tasks(world.store, [human], 0)
    for preference, noise, count in (("taste", 1.0, 1), ("longer", -1.0, 1),
                                     ("longer", math.nan, 1), ("longer", 1.0, 0)):
        with pytest.raises(BadInput):
            simulated.ensure_labelers(world.store, count, preference, noise)
