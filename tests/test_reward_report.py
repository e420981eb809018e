"""The report's breakdowns, baselines, calibration and mistakes against plain counting."""

import json
import math
import random
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from data_world import World
from reward_world import example

from data.records import Answer, Message
from reward.examples import Example, from_store
from reward.report.baselines import baselines, said_by_others
from reward.report.calibration import calibration
from reward.report.figures import report
from reward.report.groups import Facts, agreement_of, drift, groups, votes_by_kind
from reward.report.mistakes import MOST_MISTAKES, worst_mistakes
from reward.report.votes import Votes, Word


def by(labelers: Iterable[int], of: Example) -> Example:
    """The example with its pairs' labelers set, in order."""
    return replace(of, pairs=tuple(replace(pair, labeler_id=who)
                                   for pair, who in zip(of.pairs, labelers, strict=True)))


def said_in(examples: Iterable[Example]) -> dict[tuple[int, int], list[Word]]:
    """What the examples' labelers said, where nobody has decided anything."""
    found: dict[tuple[int, int], list[Word]] = {}
    for pair in (pair for of in examples for pair in of.pairs):
        a, b = sorted((pair.chosen_id, pair.rejected_id))
        found.setdefault((a, b), []).append(
            Word(pair.labeler_id, pair.chosen_id if pair.strength else None))
    return found


def crowd(prompts: int, seed: int = 0) -> tuple[list[Example], dict[int, float]]:
    """Prompts with three responses; of each pair one to four labelers say something."""
    draw = random.Random(seed)
    made, scores = [], {}
    for number in range(1, prompts + 1):
        said, who = [], []
        for a, b in ((0, 1), (1, 2), (0, 2)):
            for labeler in range(1, draw.randint(2, 5)):
                said.append((*draw.sample((a, b), 2), draw.choice((0, 1, 2, 3, 4))))
                who.append(labeler)
        texts = [" ".join(["word"] * draw.randint(1, 30)) for _ in range(3)]
        made.append(by(who, example(number, texts, said)))
        scores |= {i: draw.gauss(0, 1) for i in made[-1].texts}
    return made, scores


def right(scores: dict[int, float], pair: object) -> float:
    gap = scores[pair.chosen_id] - scores[pair.rejected_id]  # type: ignore[attr-defined]
    return 0.5 if gap == 0 else float(gap > 0)


def test_groups_are_what_counting_by_hand_gives() -> None:
    examples, scores = crowd(40)
    facts = Facts(
        rounds={p.comparison_id: f"round {p.comparison_id % 3}" for e in examples for p in e.pairs},
        tags={e.prompt_id: ["all", "even"] if e.prompt_id % 2 == 0 else ["all"] for e in examples},
        labelers={i: f"Labeler {i}" for i in range(1, 5)},
        kinds={i: "simulated" if i == 4 else "human" for i in range(1, 5)},
        writers={i: "base" if i % 100 == 0 else "ppo-1" for e in examples for i in e.texts},
        newest="ppo-1")
    votes = Votes.of(examples, scores)
    found = groups(votes, facts)
    decided = [(e, p) for e in examples for p in e.pairs if p.strength]

    def words(text: str) -> float:
        return math.log(1 + len(text.split()))

    def length(e: Example, p: object) -> str:
        gap = words(e.texts[p.chosen_id]) - words(e.texts[p.rejected_id])  # type: ignore[attr-defined]
        return ("about the same length" if abs(gap) < 0.2
                else "longer wins" if gap > 0 else "shorter wins")

    expected = {
        "strength": lambda e, p: [{1: "negligibly better", 2: "slightly better", 3: "better",
                                   4: "significantly better"}[p.strength]],
        "length": lambda e, p: [length(e, p)],
        "tag": lambda e, p: facts.tags[e.prompt_id],
        "round": lambda e, p: [facts.rounds[p.comparison_id]],
        "labeler": lambda e, p: [f"Labeler {p.labeler_id}"],
        "policy": lambda e, p: [" and ".join(sorted(
            {facts.writers[p.chosen_id], facts.writers[p.rejected_id]}))]}
    for way, keys in expected.items():
        rows = {row["name"]: row for row in found[way]["rows"]}
        assert rows.keys() == {key for e, p in decided for key in keys(e, p)}, way
        for name, row in rows.items():
            inside = [(e, p) for e, p in decided if name in keys(e, p)]
            assert row["accuracy"]["n"] == len(inside)
            assert row["accuracy"]["value"] == pytest.approx(
                np.mean([right(scores, p) for _, p in inside]))
            lengths = {i: float(len(t)) for e, _ in inside for i, t in e.texts.items()}
            assert row["longer"]["value"] == pytest.approx(
                np.mean([right(lengths, p) for _, p in inside]))
    assert votes_by_kind(votes, facts) == {
        "human": sum(p.labeler_id < 4 for _, p in decided),
        "simulated": sum(p.labeler_id == 4 for _, p in decided)}
    newest = [p for _, p in decided if p.chosen_id % 100 and p.rejected_id % 100]
    drifted = drift(votes, facts)
    assert drifted and drifted["policy"] == "ppo-1"
    assert drifted["accuracy"]["n"] == len(newest) > 0
    assert drifted["accuracy"]["value"] == pytest.approx(
        np.mean([right(scores, p) for p in newest]))
    assert drifted["others"]["n"] == len(decided) - len(newest)


def test_agreement_is_of_all_who_judged_the_two() -> None:
    agree = by((1, 2), example(1, ["a", "b"], [(0, 1, 3), (0, 1, 1)]))
    differ = by((1, 2), example(2, ["a", "b"], [(0, 1, 3), (1, 0, 3)]))
    tied = by((1, 2), example(3, ["a", "b"], [(0, 1, 3), (0, 1, 0)]))
    alone = by((1,), example(4, ["a", "b"], [(0, 1, 3)]))
    assert [agreement_of(words) for words in said_in([agree, differ, tied, alone]).values()] == [
        ["all labelers agree"], ["labelers differ"], ["labelers differ"], ["one labeler"]]
    assert agreement_of([]) == [], "of a file, say"


def test_the_ceiling_is_what_the_others_said() -> None:
    examples = [by((1, 2, 3), example(1, ["a", "b"], [(0, 1, 3), (0, 1, 1), (1, 0, 2)])),
                by((1, 2), example(2, ["a", "b"], [(0, 1, 3), (0, 1, 0)])),
                by((1, 1), example(3, ["a", "b"], [(0, 1, 3), (0, 1, 3)])),
                by((1,), example(4, ["a", "b"], [(0, 1, 3)]))]
    scores = {100: 1.0, 101: 0.0, 200: 0.0, 201: 1.0, 300: 1.0, 301: 0.0, 400: 1.0, 401: 0.0}
    votes = Votes.of(examples, scores)
    # Of three labelers two say a: each of those meets one of each opinion, the third two others.
    said = said_in(examples)
    np.testing.assert_array_equal(said_by_others(votes, said),
                                  [0.5, 0.5, 0.0, 0.5, math.nan, math.nan, math.nan])
    found = baselines(votes, examples, said)
    assert found["other_labeler"]["value"] == pytest.approx(1.5 / 4)
    assert found["other_labeler"]["n"] == found["model_there"]["n"] == 4
    assert found["model_there"]["value"] == pytest.approx(2 / 4)
    assert found["over_other_labeler"]["value"] == pytest.approx(0.5 / 4)
    assert found["previous"] is None


def test_what_leads_decided_still_counts_as_disagreement(tmp_path: Path) -> None:
    """Ten pairs by two labelers who agree on half of them; a lead decides the others."""
    world = World.make(tmp_path / "p.db")
    store, (ann, ben) = world.store, world.people(2)
    lead = store.people.add("Lead", "lead")
    tasks = [world.task((f"good {n}", f"bad {n}"), wanted=2) for n in range(10)]
    with store.database.write() as db:
        db.conn.execute("UPDATE prompts SET split = 'held_out'")
    for number, task in enumerate(tasks):
        world.choose(ann, task, 0)
        world.choose(ben, task, number % 2)
        if number % 2:
            first, second = task.response_ids
            store.decisions.decide(lead.id, task.id, Answer(((first,), (second,)), 3), f"{number}")
    examples = from_store(store).held_out
    found = report(examples, {i: -float(i) for e in examples for i in e.texts},
                   Facts.from_store(store))
    # Of a decided pair the vote is the lead's, of whom one labeler said the same and one did not.
    assert found["baselines"]["other_labeler"]["value"] == pytest.approx((10 + 5 / 2) / 15)
    assert found["baselines"]["model_there"]["n"] == found["held_out_accuracy"]["n"] == 15
    assert {row["name"]: row["accuracy"]["n"] for row in found["groups"]["agreement"]["rows"]} == {
        "all labelers agree": 10, "labelers differ": 5}


def test_prompts_that_begin_alike_are_one_witness() -> None:
    """The same dialogue at two lengths: intervals are those of one prompt that has both's votes."""
    examples, scores = crowd(40)

    def begun(number: int, e: Example) -> Example:
        opening = Message(role="user", content=f"tell {number // 2}")
        rest = [Message(role="assistant", content="and?"), Message(role="user", content="more")]
        return replace(e, messages=[opening, *rest] if number % 2 else [opening])

    alike = [begun(number, e) for number, e in enumerate(examples)]
    merged = [replace(one, pairs=one.pairs + two.pairs, texts=one.texts | two.texts)
              for one, two in zip(alike[::2], alike[1::2], strict=True)]
    apart, found, wanted = (report(those, scores) for those in (examples, alike, merged))
    for name, of in (("held_out_accuracy", None), ("cross_entropy", None),
                     ("calibration", "error"), ("length_correlation", "pearson")):
        one, two, other = (each[name] if of is None else each[name][of]
                           for each in (found, wanted, apart))
        assert one == pytest.approx(two) and one != pytest.approx(other)
    assert found["prompts"] == apart["prompts"] == 40


def test_gains_are_of_the_same_pairs_and_know_their_prompts() -> None:
    examples, scores = crowd(60)
    before = {i: s if i % 5 else -s for i, s in scores.items()}
    votes = Votes.of(examples, scores)
    found = baselines(votes, examples, {}, ("reward-1", before))
    decided = [(e, p) for e in examples for p in e.pairs if p.strength]
    mine, its = (np.array([right(s, p) for _, p in decided]) for s in (scores, before))
    gain = found["over_previous"]
    assert found["previous"]["name"] == "reward-1"
    assert found["previous"]["accuracy"]["value"] == pytest.approx(its.mean())
    assert gain["value"] == pytest.approx((mine - its).mean()) and gain["n"] == len(decided)
    # An independent bootstrap over prompts.
    prompts = np.array([e.prompt_id for e, _ in decided])
    rng = np.random.default_rng(5)
    drawn = []
    for _ in range(2000):
        rows = np.concatenate([np.flatnonzero(prompts == p)
                               for p in rng.choice(np.unique(prompts), 60)])
        drawn.append((mine - its)[rows].mean())
    assert (gain["low"], gain["high"]) == pytest.approx(
        tuple(np.quantile(drawn, [0.025, 0.975])), abs=0.015)
    same = baselines(votes, examples, {}, ("reward-1", scores))["over_previous"]
    assert same["value"] == same["low"] == same["high"] == 0


def binned_error(predicted: np.ndarray, observed: np.ndarray) -> float:
    edges = np.linspace(0.5, 1, 11)
    edges[-1] += 1e-9
    total = 0.0
    for low, high in pairwise(edges):
        inside = (predicted >= low) & (predicted < high)
        if inside.any():
            total += inside.mean() * abs(observed[inside].mean() - predicted[inside].mean())
    return total


def test_calibration_error_its_interval_and_its_floor() -> None:
    examples, scores = crowd(80, seed=3)
    found = calibration(Votes.of(examples, scores))
    assert found
    decided = [(e.prompt_id, p) for e in examples for p in e.pairs if p.strength]
    gaps = np.array([scores[p.chosen_id] - scores[p.rejected_id] for _, p in decided])
    predicted, won = 1 / (1 + np.exp(-np.abs(gaps))), (gaps > 0).astype(float)
    assert found["error"]["value"] == pytest.approx(binned_error(predicted, won))
    prompts = np.array([p for p, _ in decided])
    rng = np.random.default_rng(1)
    drawn = []
    for _ in range(600):
        rows = np.concatenate([np.flatnonzero(prompts == p) for p in rng.integers(1, 81, 80)])
        drawn.append(binned_error(predicted[rows], won[rows]))
    assert (found["error"]["low"], found["error"]["high"]) == pytest.approx(
        tuple(np.quantile(drawn, [0.025, 0.975])), abs=0.03)
    floor = [binned_error(predicted, (rng.random(len(predicted)) < predicted).astype(float))
             for _ in range(600)]
    assert found["if_calibrated"]["mean"] == pytest.approx(np.mean(floor), abs=0.005)
    assert found["if_calibrated"]["high"] == pytest.approx(np.quantile(floor, 0.975), abs=0.01)
    for one in found["bins"]:
        inside = (predicted >= one["low"]) & (predicted < one["high"])
        assert one["n"] == inside.sum()
        if one["n"]:
            assert one["observed"]["value"] == pytest.approx(won[inside].mean())
            assert one["predicted"] == pytest.approx(predicted[inside].mean())


def test_mistakes_are_the_majoritys_the_surest_first_one_a_prompt() -> None:
    examples = [
        by((1, 2, 3), example(1, ["a", "b"], [(1, 0, 3), (1, 0, 3), (0, 1, 3)])),  # wrong, 2 to 1
        by((1, 2), example(2, ["a", "b"], [(1, 0, 3), (0, 1, 3)])),                # undecided
        example(3, ["a", "b"], [(0, 1, 3)]),                                       # right
        example(4, ["a", "b", "c"], [(1, 0, 3), (2, 0, 3)]),                       # wrong twice
        example(5, ["a", "b"], [(1, 0, 0)])]                                       # a tie
    scores = {i: float(i % 100 == 0) for e in examples for i in e.texts}
    scores[400], scores[402] = 5.0, 1.0
    found = worst_mistakes(examples, scores)
    assert [m["prompt_id"] for m in found] == [4, 1]
    assert (found[0]["chosen_id"], found[0]["rejected_id"]) == (401, 400)
    assert found[0]["probability"] == pytest.approx(1 / (1 + math.exp(5)))
    assert (found[1]["votes"], found[1]["against"], found[1]["ties"]) == (2, 1, 0)
    assert "texts" not in found[0]
    assert worst_mistakes(examples, scores, keep_texts=True)[0]["texts"] == {
        "prompt": "tell me about cat 4", "chosen": "b", "rejected": "a"}
    many, ranked = crowd(80)
    assert len(worst_mistakes(many, ranked)) == MOST_MISTAKES
    huge = worst_mistakes(examples, {i: 1e6 * s for i, s in scores.items()})
    assert huge[0]["probability"] == pytest.approx(0)


@pytest.mark.parametrize("prompts", [0, 1, 2])
def test_few_data_give_none_or_wide_intervals_and_always_json(prompts: int) -> None:
    examples, scores = crowd(prompts)
    found = json.loads(json.dumps(report(examples, scores, Facts()), allow_nan=False))
    assert found["drift"] is None
    if not prompts:
        assert found["calibration"] is found["held_out_accuracy"] is None
        assert found["mistakes"] == [] and found["groups"]["tag"] == {"rows": [], "left_out": 0}
    if prompts == 1:  # one prompt says nothing of how prompts differ
        assert found["baselines"]["over_longer"]["low"] is None
        assert found["cross_entropy"]["high"] is None


def test_only_ties_are_no_accuracy() -> None:
    found = report([example(1, ["a", "b"], [(0, 1, 0)])], {100: 1.0, 101: 0.0})
    assert found["held_out_accuracy"] is None and (found["pairs"], found["ties"]) == (1, 1)
    assert found["cross_entropy"]["n"] == 1
