"""A few fixed prompts, answered again and again as the policy learns, beside the reference.

The same uniform numbers each time and for both models: what differs between two answers is the
model alone. No curve shows what reading these shows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from policy.config import PPOConfig
from policy.roles import POLICY, Roles
from policy.rollout import PromptItem
from policy.sampling import generate, uniform_draws
from policy.sharing import Share

PROBES = 3


def probe_prompts(prompts: Sequence[PromptItem], seed: int) -> list[PromptItem]:
    """The prompts to answer: the same ones all through a run."""
    order = np.random.default_rng([seed, len(prompts)]).permutation(len(prompts))
    return [prompts[int(i)] for i in sorted(order[:PROBES])]


def is_due(step: int, config: PPOConfig) -> bool:
    """Whether a step answers them: every `probe_every` steps, and at the last."""
    every = config.probe_every
    return every > 0 and (step % every == 0 or step == config.steps - 1)


def reference_texts(roles: Roles, prompts: Sequence[PromptItem], config: PPOConfig, seed: int,
                    share: Share, check: Callable[[], None]) -> list[str]:
    """What the frozen reference answers."""
    return _answers(roles, roles.reference_adapter, prompts, config, seed, share, check)


def policy_texts(roles: Roles, prompts: Sequence[PromptItem], config: PPOConfig, seed: int,
                 share: Share, check: Callable[[], None]) -> list[str]:
    """What the policy answers by now."""
    return _answers(roles, POLICY, prompts, config, seed, share, check)


def side_by_side(prompts: Sequence[PromptItem], answers: Sequence[str],
                 reference: Sequence[str]) -> list[dict[str, str]]:
    """As metrics hold them: the prompt, the policy's text and the reference's."""
    return [{"prompt": prompt.messages[-1]["content"], "text": text, "reference": before}
            for prompt, text, before in zip(prompts, answers, reference, strict=True)]


def _answers(roles: Roles, adapter: str | None, prompts: Sequence[PromptItem], config: PPOConfig,
             seed: int, share: Share, check: Callable[[], None]) -> list[str]:
    # Rollouts draw from (seed, 1 + step, row): no step has this stream.
    draws = uniform_draws([(seed, 0, row) for row in range(len(prompts))], config.max_new_tokens)
    found = generate(roles.policy, adapter, [p.ids for p in prompts], draws, config.temperature,
                     config.stop, check, share.agree)
    return [sample.text for sample in found]
