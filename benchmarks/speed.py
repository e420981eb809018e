"""How fast the three heavy stages run, on the embedded model: sampling, reward training, PPO.

Sampling: 32 prompts x 48 tokens. Reward training: steps of 32 responses, two a prompt, every
response in one pair. PPO: one step of 32 prompts x 48 tokens with the settings' defaults (two
epochs, policy and value adapters trained). Each stage runs in a process of its own, so that its
peak memory is its own.
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from importlib.resources import files
from pathlib import Path
from typing import Any

from benchmarks.harness import flags, rate, seconds, show

RESPONSES, TOKENS = 32, 48
UNITS = {"sample_tokens_per_s": "sampled tokens/s", "reward_pairs_per_s": "reward pairs/s",
         "ppo_samples_per_s": "PPO samples/s", "ppo_peak_gb": "PPO peak memory, GB"}


def _prompts() -> list[Any]:
    lines = (files("data") / "starter_prompts.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line)["messages"] for line in lines]


def _backbone() -> Any:
    from backbone.config import EMBEDDED, ModelConfig
    from backbone.model import Backbone

    return Backbone.load(EMBEDDED, ModelConfig())


def sampling(repeats: int) -> dict[str, dict[str, float]]:
    """Tokens sampled a second, counted as they come out (a response that ends early is shorter)."""
    from backbone.text import prompt_ids
    from policy.sampling import generate, uniform_draws

    backbone = _backbone()
    ids = [prompt_ids(backbone.tokenizer, m) for m in _prompts()[:RESPONSES]]
    draws = uniform_draws([(0, row) for row in range(RESPONSES)], TOKENS)
    tokens = sum(len(s.ids) for s in generate(backbone, None, ids, draws, 0.7))
    return {"sample_tokens_per_s": rate(tokens, seconds(
        lambda: generate(backbone, None, ids, draws, 0.7), repeats))}


def reward(repeats: int) -> dict[str, dict[str, float]]:
    """Pairs trained on a second, in whole optimizer steps."""
    from backbone.config import ModelConfig
    from reward.config import RewardConfig
    from reward.examples import Example, Pair, PreferenceData
    from reward.train import train

    backbone, models = _backbone(), ModelConfig()
    # Real prose of the length of a response: the prompts themselves, two of them a response.
    texts = [m[-1]["content"] for m in _prompts()]
    examples = tuple(Example(n, _prompts()[n], {2 * n: f"{texts[-n]} {texts[n]} {texts[-2 * n]}",
                                                2 * n + 1: f"{texts[2 * n]} {texts[-3 * n]}"},
                             (Pair(2 * n, 2 * n + 1, 3, 1.0, n, 0, n),))
                     for n in range(1, RESPONSES + 1))
    config = RewardConfig(epochs=1, responses_per_step=RESPONSES)
    lora = backbone.new_lora_config(models.lora_rank, models.lora_alpha)
    return {"reward_pairs_per_s": rate(len(examples), seconds(
        lambda: train(backbone, PreferenceData(examples, ()), config, lora), repeats))}


def ppo(repeats: int) -> dict[str, dict[str, float]]:
    """Samples a second through whole PPO steps, and the process's peak resident memory."""
    from backbone.config import ModelConfig
    from backbone.text import prompt_ids
    from data.progress import Silent
    from policy.config import PPOConfig
    from policy.ppo import train
    from policy.roles import Roles, load_policy, load_value
    from policy.rollout import PromptItem, Reward
    from reward.model import RewardModel

    backbone, models = _backbone(), ModelConfig()
    lora = backbone.new_lora_config(models.lora_rank, models.lora_alpha)
    judge = RewardModel.fresh(backbone, lora, 1024)
    reference = load_policy(backbone, models, None)
    roles = Roles(backbone, backbone, load_value(backbone, models, None), reference)
    items = [PromptItem(n, m, prompt_ids(backbone.tokenizer, m))
             for n, m in enumerate(_prompts())]
    config = PPOConfig(steps=1, batch_size=RESPONSES, max_new_tokens=TOKENS)

    def step() -> None:
        with tempfile.TemporaryDirectory() as folder:
            train(roles, items, Reward(judge.score), config, 0, Silent(),
                  Path(folder) / "checkpoint")

    speed = rate(RESPONSES, seconds(step, repeats))
    return {"ppo_samples_per_s": speed, "ppo_peak_gb": _peak_gb()}


def _peak_gb() -> dict[str, float]:
    import torch

    peak = (torch.cuda.max_memory_allocated() if torch.cuda.is_available()
            else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024) / 1e9
    return {"value": peak, "low": peak, "high": peak, "n": 1}


def _alone(stage: Callable[[int], dict[str, dict[str, float]]],
           repeats: int) -> dict[str, dict[str, float]]:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(stage, repeats).result()


def main() -> None:
    """Run the three stages one after the other."""
    asked = flags(__doc__ or "")
    repeats = 3 if asked.quick else 5
    figures: dict[str, dict[str, float]] = {}
    for stage in (sampling, reward, ppo):
        print(f"measuring {stage.__name__} ...", file=sys.stderr, flush=True)
        figures |= _alone(stage, repeats)
    show(figures, UNITS, asked.json)


if __name__ == "__main__":
    main()
