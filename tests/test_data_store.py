"""Prompts, responses, settings, and the way back from a policy version to its labelers."""

from __future__ import annotations

import math
import sqlite3
from hashlib import sha256
from pathlib import Path

import pytest
from data_world import World, user

from data.errors import NotFound
from data.prompts import HELD_OUT_SHARE, fingerprint, split_of
from data.records import NewResponse
from data.store import Store


def test_the_split_is_the_prompts_own_and_never_changes(tmp_path: Path) -> None:
    texts = [f"Question number {i}?" for i in range(400)]
    one, two = Store(tmp_path / "one.db"), Store(tmp_path / "two.db")
    with one.database.write(), two.database.write():
        for text, last in zip(texts, reversed(texts), strict=True):
            one.prompts.add(user(text), "a")
            two.prompts.add(user(f"  {last} "), "b", ["tag"])  # blanks make no difference
    splits = [{p.text.strip(): p.split for p in store.prompts.all()} for store in (one, two)]
    assert splits[0] == splits[1]
    assert one.prompts.count("held_out") / 400 == pytest.approx(HELD_OUT_SHARE, abs=.07)
    # Pinned: another version of the program must not move prompts between the splits.
    assert fingerprint(user(" Why? ")) == sha256(b'[["user","Why?"]]').hexdigest()
    assert split_of(user("Why?")) == "train"
    longer = [*user("Why?"), {"role": "assistant", "content": "So."}, *user("Still, why?")]
    for last in map(str, range(20)):  # dialogues that begin alike stay together
        assert split_of([{"role": "system", "content": last}, *longer, *user(last)]) == "train"
    assert one.prompts.add(user(texts[0]), "again") == (1, False)


def test_responses_are_stored_once_and_read_in_any_number(world: World) -> None:
    prompt_id, _ = world.store.prompts.add(user("Many?"), "test")
    sample = NewResponse(prompt_id, "x", world.policy, world.round.id)
    ids = world.store.responses.add(
        NewResponse(prompt_id, "y" * (i % 7), world.policy, world.round.id, sample_index=i)
        for i in range(1, 40_000))
    assert [r.id for r in world.store.responses.get(ids[::-1])] == ids[::-1]
    assert world.store.responses.lengths(ids[:2]) == {ids[0]: 1, ids[1]: 2}
    world.store.responses.add([sample])
    with pytest.raises(sqlite3.IntegrityError):
        world.store.responses.add([NewResponse(prompt_id, "new"), sample])
    assert len(world.store.responses.all()) == 40_000  # nothing of the failed call
    with pytest.raises(NotFound):
        world.store.responses.get([ids[0], 99_999])


def test_a_policy_version_leads_back_to_its_labelers_in_plain_sql(world: World) -> None:
    ann, bob = world.people(2)
    first, second = world.task(wanted=2), world.task(wanted=2)
    kept = [world.choose(ann, first, 0), world.choose(bob, second, 1)]
    unused = world.choose(bob, first, 1)
    reward = world.store.versions.add_reward_model(
        name="rm", base="tiny", path="rm", round_id=world.round.id,
        comparisons={kept[0].id: "train", kept[1].id: "train", unused.id: "held_out"})
    tuned = world.store.versions.add_policy(
        name="tuned", base="tiny", method="ppo", parent_id=world.policy,
        reward_model_id=reward.id, round_id=world.round.id)
    child = world.store.versions.add_policy(name="child", base="tiny", method="best-of-n",
                                            parent_id=tuned.id)
    walk = sqlite3.connect(world.store.database.path).execute("""
        SELECT p.name, m.name, l.name, s.text, source.name FROM policy_versions p
        JOIN reward_models m ON m.id = p.reward_model_id
        JOIN reward_model_comparisons rc ON rc.reward_model_id = m.id AND rc.split = 'train'
        JOIN comparisons c ON c.id = rc.comparison_id JOIN labelers l ON l.id = c.labeler_id
        JOIN task_responses tr ON tr.task_id = c.task_id JOIN responses s ON s.id = tr.response_id
        JOIN policy_versions source ON source.id = s.policy_version_id
        WHERE p.id = ? ORDER BY c.id, tr.position""", [tuned.id]).fetchall()
    assert walk == [("tuned", "rm", ann.name, "one", "reference"),
                    ("tuned", "rm", ann.name, "two", "better"),
                    ("tuned", "rm", bob.name, "one", "reference"),
                    ("tuned", "rm", bob.name, "two", "better")]
    assert world.store.versions.labelers_behind(child.id) == {ann.name: 1, bob.name: 1}
    assert world.store.versions.labelers_behind(world.policy) == {}


def test_a_version_whose_metrics_are_no_numbers_is_kept_all_the_same(tmp_path: Path) -> None:
    versions = Store(tmp_path / "prefloop.db").versions
    figures = {"kl": 1.5, "explained_variance": math.nan, "deep": [{"std": math.inf}]}
    kept = {"kl": 1.5, "explained_variance": None, "deep": [{"std": None}]}
    assert versions.add_policy(name="a", base="x", method="ppo", metrics=figures).metrics == kept
    model = versions.add_reward_model(name="b", base="x", path="p", comparisons={},
                                      metrics=figures)
    assert model.metrics == kept


def test_settings_and_unknown_names(world: World) -> None:
    world.store.put_setting("k", {"a": [1]})
    world.store.put_setting("k", 2)
    assert (world.store.setting("k"), world.store.setting("none", 7)) == (2, 7)
    for ask in (lambda: world.store.versions.policy_named("x"),
                lambda: world.store.versions.reward_model_named("x"),
                lambda: world.store.people.named("x"), lambda: world.store.prompts.get(99),
                lambda: world.store.tasks.get(99), lambda: world.store.comparisons.get(99),
                lambda: world.store.rounds.get(99), lambda: world.store.jobs.get(99),
                lambda: Store.of_workspace(Path("/nowhere"))):
        with pytest.raises(NotFound):
            ask()


def test_a_job_that_is_queued_again_has_not_ended(store: Store) -> None:
    jobs = store.jobs
    job = jobs.add("ppo")
    jobs.claim(job.id)
    jobs.fail(job.id, "no")
    assert jobs.get(job.id).finished_at is not None
    again = jobs.resume(job.id)
    assert (again.status, again.finished_at, again.error) == ("queued", None, None)
    jobs.request_stop(job.id)
    assert jobs.get(job.id).finished_at is not None
    jobs.resume(job.id)
    taken = jobs.claim(job.id)
    assert taken is not None and taken.finished_at is None and taken.started_at is not None


def test_a_job_is_not_at_its_end_before_it_is_done(store: Store) -> None:
    jobs = store.jobs
    job = jobs.add("ppo")
    for fraction, stored in ((0.25, 0.25), (0.9951, 0.99), (1.0, 0.99)):
        jobs.set_progress(job.id, fraction, "")
        assert jobs.get(job.id).progress == stored
    jobs.finish(job.id, {})
    assert jobs.get(job.id).progress == 1


def test_a_step_that_is_done_again_takes_those_after_it_along(store: Store) -> None:
    jobs = store.jobs
    job, other = jobs.add("ppo"), jobs.add("ppo")
    for step in range(5):
        for each in (job, other):
            jobs.add_metrics(each.id, step, {"kl": 1.0})
    jobs.add_metrics(job.id, 2, {"kl": 9.0})  # killed after step 4, it goes on from step 2
    assert jobs.metrics(job.id) == [{"step": 0, "kl": 1.0}, {"step": 1, "kl": 1.0},
                                    {"step": 2, "kl": 9.0}]
    assert len(jobs.metrics(other.id)) == 5
