"""From the store to training pairs: split by prompt, weighed by comparison, by round."""

import json
from pathlib import Path

import pytest
from data_world import World
from models import one_thread, tiny_backbone  # noqa: F401

from data.exchange.chosen_rejected import Pair as FilePair
from data.exchange.importing import import_preferences
from data.records import Answer
from reward.config import RewardConfig
from reward.examples import PreferenceData, from_files, from_store
from reward.train import train


def world(tmp_path: Path, tasks: int = 40) -> World:
    """Tasks of as many prompts, each answered by two labelers."""
    made = World.make(tmp_path / "p.db")
    people = made.people(2)
    for number in range(tasks):
        task = made.task((f"good {number}", f"bad {number}"), prompt=f"question {number}")
        for person in people:
            made.choose(person, task, 0, strength=2)
    return made


def test_no_prompt_is_in_both_splits(tmp_path: Path) -> None:
    made = world(tmp_path)
    data = from_store(made.store)
    split = {p.id: p.split for p in made.store.prompts.all()}
    assert {split[e.prompt_id] for e in data.train} == {"train"}
    assert {split[e.prompt_id] for e in data.held_out} == {"held_out"}
    assert len(data.train) + len(data.held_out) == 40
    assert data.comparisons == {c.id: split[made.store.tasks.get(c.task_id).prompt_id]
                                for c in made.store.comparisons.current()}
    first = data.train[0]
    assert [p.strength for p in first.pairs] == [2, 2] and len(first.texts) == 2
    assert len({p.labeler_id for p in first.pairs}) == 2
    assert first.texts[first.pairs[0].chosen_id].startswith("good")
    assert first.conversation(first.pairs[0].chosen_id)[-1]["role"] == "assistant"
    reference = made.store.versions.policies()[0].id
    assert set(first.sampled) == {r.id for r in made.store.responses.get(list(first.texts))
                                  if r.policy_version_id == reference}


def test_what_is_held_out_changes_no_weight(tmp_path: Path) -> None:
    made = world(tmp_path)
    data = from_store(made.store)
    flipped = PreferenceData(data.train, ())
    config = RewardConfig(epochs=1, responses_per_step=8)
    weights = [train(backbone := tiny_backbone(tmp_path), d, config,
                     backbone.new_lora_config(2, 4)).model.head.weight.detach().clone()
               for d in (data, flipped)]
    assert weights[0].equal(weights[1])


def test_a_ranking_weighs_as_one_answer_and_ties_are_kept(tmp_path: Path) -> None:
    made = World.make(tmp_path / "p.db")
    (person,) = made.people(1)
    four = made.task(("a", "b", "c", "d"))
    a, b, c, d = four.response_ids
    made.answer(person, four, Answer(((a,), (b, c), (d,)), strength=3))
    both_bad = made.task(("e", "f"))
    made.answer(person, both_bad, Answer((both_bad.response_ids,), 0, "both_bad"))
    data = from_store(made.store)
    pairs = [p for e in (*data.train, *data.held_out) for p in e.pairs]
    assert len(pairs) == 7 and sum(p.is_tie for p in pairs) == 2
    by_comparison = {i: sum(p.weight for p in pairs if p.comparison_id == i)
                     for i in {p.comparison_id for p in pairs}}
    assert list(by_comparison.values()) == pytest.approx([1.0, 1.0])


def test_only_answers_that_stand_and_rounds_asked_for(tmp_path: Path) -> None:
    made = World.make(tmp_path / "p.db")
    (person,) = made.people(1)
    task = made.task()
    first = made.choose(person, task, 0)
    made.store.comparisons.submit(person.id, task, Answer(((task.response_ids[1],),
                                                           (task.response_ids[0],)), 4),
                                  "again", replaces=first.revision)
    undone = made.task()
    made.choose(person, undone, 0)
    made.store.comparisons.undo_last(person.id, undone, "undo")
    data = from_store(made.store)
    (only,) = [p for e in (*data.train, *data.held_out) for p in e.pairs]
    assert (only.chosen_id, only.strength) == (task.response_ids[1], 4)


def test_pairs_know_their_round_and_what_was_shown_first(tmp_path: Path) -> None:
    made = World.make(tmp_path / "p.db")
    people = made.people(8)
    four = made.task(("a", "b", "c", "d"), wanted=8)
    a, b, c, d = four.response_ids
    shown = {p.id: made.answer(p, four, Answer(((d,), (b, c), (a,)), strength=3)).shown
             for p in people}
    made.round = made.store.rounds.open(made.policy, made.reference)
    pair = made.task(("one", "two"), purpose="train")
    made.choose(people[0], pair, 1)
    data = from_store(made.store)
    pairs = [p for e in (*data.train, *data.held_out) for p in e.pairs]
    assert len(set(shown.values())) > 1 and len(pairs) == 8 * 6 + 1
    for found in pairs[:-1]:
        order = shown[found.labeler_id]
        assert found.shown_first == (order.index(found.chosen_id) < order.index(found.rejected_id))
    assert [p.round_number for p in pairs] == [0] * 48 + [1]
    assert {p.discount for p in pairs} == {1.0}


def test_imported_pairs_know_neither(tmp_path: Path) -> None:
    (tmp_path / "pairs.jsonl").write_text(json.dumps(
        {"prompt": "why", "chosen": "so", "rejected": "no"}))
    store = World.make(tmp_path / "p.db").store
    import_preferences(store, tmp_path / "pairs.jsonl")
    data = from_store(store)
    (found,) = [p for e in (*data.train, *data.held_out) for p in e.pairs]
    assert found.round_number is None and found.shown_first is None


def test_pairs_of_one_text_are_left_out_and_counted(tmp_path: Path) -> None:
    made = World.make(tmp_path / "p.db")
    (person,) = made.people(1)
    made.choose(person, made.task(("same", "same")), 0)
    assert from_store(made.store) == PreferenceData((), (), identical=1)


def test_json_and_back(tmp_path: Path) -> None:
    data = from_store(world(tmp_path, 12).store)
    assert PreferenceData.from_dict(json.loads(json.dumps(data.as_dict()))) == data


def test_files_group_by_prompt_and_share_texts() -> None:
    ask = [{"role": "user", "content": "why"}]
    examples = from_files([FilePair(ask, "a", "b"), FilePair(ask, "a", "c", 1),
                           FilePair([{"role": "user", "content": "how"}], "a", "b", 4)])
    assert [len(e.pairs) for e in examples] == [2, 1]
    assert [list(e.texts.values()) for e in examples] == [["a", "b", "c"], ["a", "b"]]
    assert len({i for e in examples for i in e.texts}) == 5
    assert [p.strength for e in examples for p in e.pairs] == [3, 1, 4]
