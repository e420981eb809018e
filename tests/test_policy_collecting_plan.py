"""What a round asks for, and by which numbers: who samples is a stand-in, or a tiny model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from models import one_thread, tiny_backbone  # noqa: F401
from policy_world import filled, randomise, store

from backbone.model import Backbone
from backbone.text import prompt_ids
from data.progress import Silent
from data.records import Round
from data.store import Store
from policy.collecting import Collected, collect, plan_round
from policy.config import SampleConfig
from policy.logprobs import response_logprobs
from policy.responses import join
from policy.roles import POLICY
from policy.samplers import LocalSampler, Sampler, Wanted
from policy.sampling import Sample

ALL = SampleConfig(responses=3, prompts=0, evaluate_share=0.25, max_new_tokens=8)


class Echo:
    """Answers everything alike, and keeps what it was asked for."""

    def __init__(self) -> None:
        self.keys: list[tuple[int, ...]] = []

    @property
    def figures(self) -> dict[str, float]:
        """Nothing."""
        return {}

    def __call__(self, version: int, wanted: Sequence[Wanted], check: Callable[[], None]
                 ) -> Iterator[list[tuple[int, Sample]]]:
        """As every `Sampler`."""
        self.keys += [each.key for each in wanted]
        yield [(place, Sample([5, 2], [-1.0, -0.5], "same", "eos"))
               for place in range(len(wanted))]


assert store  # a fixture


@pytest.fixture
def backbone(tmp_path: Path) -> Backbone:
    return tiny_backbone(tmp_path)


def sampled(store: Store, backbone: Backbone, round_: Round, sampler: Sampler,
            config: SampleConfig = ALL, seed: int = 3) -> Collected:
    plan = plan_round(store, backbone, round_, config, seed)
    return collect(store, sampler, plan, round_, config, seed, Silent())


def test_every_response_has_a_stream_of_its_own(store: Store, backbone: Backbone) -> None:
    """In every round, of both policies that meet on a prompt, by every seed: else two answers
    would differ by their models alone, or not at all."""
    echo = Echo()
    for seed in (3, 4, 3):
        round_ = store.rounds.open(2, 1)
        sampled(store, backbone, round_, echo, seed=seed)
        assert len(store.responses.of_round(round_.id)) == 18 * 3 + 6 * 2
    assert len(echo.keys) == len(set(echo.keys)) == 3 * (18 * 3 + 6 * 2)
    one, other = Echo(), Echo()
    for seed, echo in ((3, one), (4, other)):  # by the seed alone
        fresh = filled(Path(store.database.path).with_name(f"seed-{seed}.db"), 24)
        sampled(fresh, backbone, fresh.rounds.open(2, 1), echo, seed=seed)
    assert not set(one.keys) & set(other.keys)


def test_responses_alike_are_a_tie_head_to_head_and_nothing_to_train_on(
        store: Store, backbone: Backbone) -> None:
    round_ = store.rounds.open(2, 1)
    done = sampled(store, backbone, round_, Echo())
    assert (done.identical, done.tasks, done.cut_off) == (18, 6, 0)
    assert {task.purpose for task in store.tasks.of_round(round_.id)} == {"evaluate"}


@pytest.mark.parametrize(("prompts", "share", "evaluated"), [
    (12, 0.3, 4), (10, 0.25, 2), (4, 0.5, 2), (4, 1.0, 4), (0, 1.0, 8), (5, 0.0, 0)])
def test_a_round_has_as_many_tasks_as_were_asked_for_and_a_prompt_once(
        store: Store, backbone: Backbone, prompts: int, share: float, evaluated: int) -> None:
    config = replace(ALL, prompts=prompts, evaluate_share=share)
    for seed in range(4):
        round_ = store.rounds.open(2, 1)
        plan = plan_round(store, backbone, round_, config, seed)
        assert len({task.prompt.id for task in plan.tasks}) == len(plan.tasks) == (prompts or 24)
        assert sum(task.purpose == "evaluate" for task in plan.tasks) == evaluated


def test_where_a_task_stands_does_not_tell_its_purpose(store: Store, backbone: Backbone) -> None:
    orders = []
    for seed in range(4):
        plan = plan_round(store, backbone, store.rounds.open(2, 1), ALL, seed)
        orders.append([task.purpose for task in plan.tasks])
    assert all(order not in (sorted(order), sorted(order)[::-1]) for order in orders)
    assert len(set(map(tuple, orders))) == 4


def test_what_is_stored_is_how_likely_a_response_was_at_the_temperature_it_was_drawn_at(
        store: Store, backbone: Backbone) -> None:
    backbone.add_adapter(POLICY, backbone.new_lora_config(4, 8))
    randomise(backbone, POLICY)
    adapters, config = {2: POLICY, 1: None}, replace(ALL, prompts=6, temperature=0.4)
    first = store.rounds.open(2, 1)
    sampled(store, backbone, first, LocalSampler(backbone, adapters, config), config)
    words = Counter(word for response in store.responses.of_round(first.id)
                    for word in set(response.text.split()))
    config = replace(config, stop=[word for word, _ in words.most_common(2)])
    round_ = store.rounds.open(2, 1)
    sampled(store, backbone, round_, LocalSampler(backbone, adapters, config), config)
    found = store.responses.of_round(round_.id)
    assert {response.finish_reason for response in found} > {"stop"}
    for response in found:
        assert not any(word in response.text for word in config.stop)
        prompt = prompt_ids(backbone.tokenizer, store.prompts.get(response.prompt_id).messages)
        texts = join([prompt], [response.token_ids], backbone.pad_id, backbone.device)
        logprobs = response_logprobs(backbone, adapters[response.policy_version_id or 0], texts,
                                     0.4).logprobs.detach()
        assert response.logprob == pytest.approx(float(logprobs.sum()), abs=1e-3)
