"""Best-of-n: sample n responses a prompt, keep the one the reward model likes best, learn those.

The simple alternative to PPO. Choosing the best of n moves the policy at most log n − (n − 1)/n
nats from where it samples (Stiennon et al. 2020, appendix G.3).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from backbone.model import Backbone
from data.errors import PrefloopError
from data.progress import Progress
from data.records import Message
from policy.config import BestOfNConfig
from policy.finetuning import Demonstration, finetune
from policy.frontier import best_of_n_kl
from policy.roles import POLICY
from policy.rollout import PromptItem, Score, begun_with
from policy.sampling import Sample, generate, uniform_draws

#: Where on the progress bar sampling ends, and scoring, by the time they take, about.
SAMPLED, SCORED = 0.5, 0.6
#: Responses that are scored between two looks at whether the job should stop.
SCORED_TOGETHER = 256


def train(backbone: Backbone, prompts: Sequence[PromptItem], score: Score, config: BestOfNConfig,
          seed: int, progress: Progress, checkpoint: Path) -> dict[str, Any]:
    """Fine-tune the policy's adapter on the winners, in place; returns what there is to report.

    Sampling is done anew after a kill (it gives the same responses), with the prompts that the run
    began with; fine-tuning goes on where it was.

    Args:
        prompts: training prompts, of which the first `config.prompts` are taken.

    Raises:
        PrefloopError: there are no prompts, or one that a killed run had is gone.
    """
    if not prompts:
        raise PrefloopError("best-of-n needs training prompts, and the workspace has none")
    prompts = begun_with(checkpoint, prompts, config.prompts or None)
    winners, rewards = _winners(backbone, prompts, score, config, seed, progress)
    examples = [Demonstration(p.ids, w.ids) for p, w in zip(prompts, winners, strict=True)]
    figures = finetune(backbone, examples, config, seed, progress, checkpoint, SCORED)
    return {**figures, "prompts": len(prompts), "n": config.n,
            "mean_score": float(rewards.mean()), "best_score": float(rewards.max(1).mean()),
            "kl_bound": best_of_n_kl(config.n),
            "samples": [{"prompt": p.messages[-1]["content"], "text": w.text}
                        for p, w in list(zip(prompts, winners, strict=True))[:3]]}


def _winners(backbone: Backbone, prompts: Sequence[PromptItem], score: Score,
             config: BestOfNConfig, seed: int, progress: Progress
             ) -> tuple[list[Sample], np.ndarray]:
    asked = [(row, index) for row in range(len(prompts)) for index in range(config.n)]
    samples: list[Sample] = []
    for start in range(0, len(asked), config.batch_size):
        part = asked[start:start + config.batch_size]
        progress.update(SAMPLED * start / len(asked),
                        f"sampling {config.n} responses a prompt: {start} of {len(asked)}")
        draws = uniform_draws([(seed, prompts[row].id, index) for row, index in part],
                              config.max_new_tokens)
        samples += generate(backbone, POLICY, [prompts[row].ids for row, _ in part], draws,
                            config.temperature)
    conversations = [[*prompts[row].messages, Message(role="assistant", content=s.text)]
                     for (row, _), s in zip(asked, samples, strict=True)]
    said: list[float] = []
    for start in range(0, len(asked), SCORED_TOGETHER):
        progress.update(SAMPLED + (SCORED - SAMPLED) * start / len(asked),
                        f"scoring responses: {start} of {len(asked)}")
        said += score(conversations[start:start + SCORED_TOGETHER])
    scores = np.array(said).reshape(len(prompts), config.n)
    best = scores.argmax(1)
    return [samples[row * config.n + int(column)] for row, column in enumerate(best)], scores
