"""Sampling for labelers: the right tasks, blind to when it was killed, nothing lost or doubled."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from models import one_thread, tiny_backbone  # noqa: F401
from policy_world import backbone, store

from backbone.model import Backbone
from data.errors import BadInput
from data.progress import Silent, Stopped
from data.records import Message, NewResponse, Response, Round
from data.store import Store
from loop.context import JobContext
from loop.stages.improving import _training_prompts
from policy.collecting import Collected, collect, keep_plan, kept_plan, plan_round
from policy.config import SampleConfig
from policy.divergence import sampled_kl
from policy.roles import POLICY
from policy.samplers import LocalSampler

CONFIG = SampleConfig(responses=3, prompts=12, evaluate_share=0.25, wanted=2, max_new_tokens=8,
                      batch_size=8)


assert backbone and store  # fixtures


def run(store: Store, backbone: Backbone, round_: Round, config: SampleConfig = CONFIG,
        progress: Silent | None = None) -> Collected:
    plan = plan_round(store, backbone, round_, config, seed=3)
    adapters = {round_.policy_version_id: POLICY, round_.reference_id: None}
    sampler = LocalSampler(backbone, adapters, config)
    return collect(store, sampler, plan, round_, config, 3, progress or Silent())


def texts(store: Store, round_: Round) -> list[tuple[int, int | None, int, str]]:
    def key(r: Response) -> tuple[int, int | None, int, str]:
        return r.prompt_id, r.policy_version_id, r.sample_index, r.text
    return sorted(map(key, store.responses.of_round(round_.id)))


def test_a_first_round_compares_the_reference_with_itself(store: Store,
                                                          backbone: Backbone) -> None:
    round_ = store.rounds.open(1, 1)
    plan = plan_round(store, backbone, round_, CONFIG, 3)
    sampler = LocalSampler(backbone, {1: None}, CONFIG)
    done = collect(store, sampler, plan, round_, CONFIG, 3, Silent())
    tasks = store.tasks.of_round(round_.id)
    assert len(tasks) == done.tasks == 12 - done.identical and done.responses == 36
    assert {t.purpose for t in tasks} == {"train"} and {t.wanted for t in tasks} == {2}
    assert all(len(t.response_ids) == 3 for t in tasks)
    found = store.responses.of_round(round_.id)
    assert done.cut_off == sum(r.token_ids[-1] not in backbone.end_ids for r in found) > 0
    stored = found[0]
    assert stored.sampling == {"temperature": 0.7, "max_new_tokens": 8, "stop": []}
    assert stored.token_ids and stored.logprob is not None and stored.seed == 3


def test_later_rounds_set_the_policy_against_the_reference_on_held_out_prompts(
        store: Store, backbone: Backbone) -> None:
    round_ = store.rounds.open(2, 1)
    run(store, backbone, round_)
    evaluate = store.tasks.of_round(round_.id, "evaluate")
    assert len(evaluate) == 3
    for task in evaluate:
        assert store.prompts.get(task.prompt_id).split == "held_out"
        assert {r.policy_version_id for r in store.responses.get(task.response_ids)} == {1, 2}
    for task in store.tasks.of_round(round_.id, "train"):
        assert {r.policy_version_id for r in store.responses.get(task.response_ids)} == {2}


def test_head_to_head_the_order_of_storage_does_not_tell_who_wrote_what(
        store: Store, backbone: Backbone) -> None:
    round_, config = store.rounds.open(2, 1), replace(CONFIG, prompts=24, evaluate_share=1.0)
    plan = plan_round(store, backbone, round_, config, 3)
    assert {task.wanted for task in plan.tasks if task.purpose == "evaluate"} == {
        ((1, 0), (2, 0)), ((2, 0), (1, 0))}
    assert plan == plan_round(store, backbone, round_, config, 3)


def test_prompts_that_were_asked_least_come_first(store: Store, backbone: Backbone) -> None:
    seen = []
    for _ in range(2):
        round_ = store.rounds.open(1, 1)
        plan = plan_round(store, backbone, round_, CONFIG, 3)
        for task in plan.tasks:  # whatever comes out the same gives no task, so make one of each
            ids = store.responses.add([_blank(task.prompt.id, n) for n in range(2)])
            store.tasks.add(task.prompt.id, ids, round_id=round_.id)
        seen.append({task.prompt.id for task in plan.tasks})
    assert not seen[0] & seen[1] and len(seen[0] | seen[1]) == 24


def _blank(prompt_id: int, number: int) -> NewResponse:
    return NewResponse(prompt_id, str(number), source="import")


@pytest.mark.parametrize("calls", [1, 2, 4])
def test_a_killed_round_goes_on_where_it_was(store: Store, backbone: Backbone, tmp_path: Path,
                                             calls: int) -> None:
    class StopAt(Silent):
        left = calls

        def update(self, fraction: float, message: str) -> None:
            self.left -= 1
            if self.left < 0:
                raise Stopped

    round_ = store.rounds.open(2, 1)
    with pytest.raises(Stopped):
        run(store, backbone, round_, progress=StopAt())
    part = len(store.responses.of_round(round_.id))
    assert part < 3 * 9 + 2 * 3
    run(store, backbone, round_)
    again = store.rounds.open(2, 1)
    fresh = Store(tmp_path / "other.db")
    for prompt in store.prompts.all():
        fresh.prompts.add(prompt.messages, "test", split=prompt.split)
    for version in ("base", "ppo-1"):
        fresh.versions.add_policy(name=version, base="tiny", method="base")
    assert again.number == round_.number + 1
    whole = fresh.rounds.open(2, 1)
    run(fresh, backbone, whole)
    assert texts(store, round_) == texts(fresh, whole)
    assert (sorted(t.prompt_id for t in store.tasks.of_round(round_.id))
            == sorted(t.prompt_id for t in fresh.tasks.of_round(whole.id)))


def test_prompts_that_do_not_fit_are_left_out_and_counted(store: Store, tmp_path: Path) -> None:
    small = tiny_backbone(tmp_path / "small", context=32)
    store.prompts.add([Message(role="user", content="cat " * 40)], "test", split="train")
    round_ = store.rounds.open(1, 1)
    plan = plan_round(store, small, round_, SampleConfig(prompts=0, max_new_tokens=8), 0)
    assert plan.too_long and all(len(t.ids) + 8 <= 32 for t in plan.tasks)
    with pytest.raises(BadInput, match="none of the 25 prompts leaves room"):
        plan_round(store, small, round_, SampleConfig(max_new_tokens=30), 0)


def test_a_prompt_that_the_template_refuses_keeps_no_other_from_being_asked(
        store: Store, backbone: Backbone, tmp_path: Path) -> None:
    backbone.tokenizer.chat_template = (
        "{% if 'sea' in messages[-1].content %}{{ raise_exception('no seas') }}{% endif %}"
        + backbone.tokenizer.chat_template)
    refused, _ = store.prompts.add([Message(role="user", content="the sea")], "test", split="train")
    round_ = store.rounds.open(1, 1)
    plan = plan_round(store, backbone, round_, SampleConfig(prompts=0, max_new_tokens=8), 0)
    assert (len(plan.tasks), plan.refused, plan.too_long) == (24, [refused], [])
    keep_plan(tmp_path / "kept", plan)
    assert kept_plan(tmp_path / "kept", store, backbone) == plan
    context = cast(JobContext, SimpleNamespace(store=store))
    items, left_out = _training_prompts(context, backbone, 8)
    assert left_out == {"prompts_refused": 1}
    assert {item.id for item in items} == {
        p.id for p in store.prompts.all(split="train")} - {refused}
    backbone.tokenizer.chat_template = "{{ raise_exception('no prompts at all') }}"
    with pytest.raises(BadInput, match=r"all 25 prompts are refused: .*no prompts at all"):
        plan_round(store, backbone, round_, SampleConfig(), 0)


def test_the_kl_of_sampled_responses(backbone: Backbone, store: Store) -> None:
    round_ = store.rounds.open(2, 1)
    run(store, backbone, round_)
    mine = store.responses.of_round(round_.id, 2)
    prompts = [[1, 5, 7, 8]] * len(mine)
    same = sampled_kl(backbone, POLICY, POLICY, prompts, [r.token_ids for r in mine], 0.7)
    assert max(map(abs, same)) < 1e-5
    moved = sampled_kl(backbone, POLICY, None, prompts, [r.token_ids for r in mine], 0.7)
    one_by_one = [sampled_kl(backbone, POLICY, None, [p], [r.token_ids], 0.7)[0]
                  for p, r in zip(prompts, mine, strict=True)]
    assert moved == pytest.approx(one_by_one, abs=1e-4) and max(map(abs, moved)) > 0.1


