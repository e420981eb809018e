"""Responses sampled by us and by transformers' `generate`, in turns, on the embedded model.

Two kinds of batch: 32 prompts with one response each, as PPO samples them, and 16 prompts with four
each, as labelers are shown them. Starter prompts of all kinds, so their lengths differ; 48 new
tokens at most, the same weights and precision, one process. Tokens are counted as they come out,
since a response that ends early is shorter.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any

from benchmarks.harness import Figure, flags, median_ratio, rate, say, show

TOKENS, TEMPERATURE = 48, 0.7
BATCHES = {"distinct": (32, 1), "four": (16, 4)}
"""Prompts, and responses of each."""
_NAMES = {"distinct": "32 prompts", "four": "16 prompts x 4"}
UNITS = {key: text for name, words in _NAMES.items() for key, text in (
    (f"ours_{name}", f"{words}, tokens/s"), (f"peer_{name}", f"{words}, transformers, tokens/s"),
    (f"ratio_{name}", f"{words}, ours to theirs"))}


def _prompts(backbone: Any, count: int, each: int) -> list[list[int]]:
    from backbone.text import prompt_ids

    lines = (files("data") / "starter_prompts.jsonl").read_text("utf-8").splitlines()
    taken = lines[::len(lines) // count][:count]
    return [ids for line in taken
            for ids in [prompt_ids(backbone.tokenizer, json.loads(line)["messages"])] * each]


def _ours(backbone: Any, prompts: Sequence[Sequence[int]]) -> Callable[[int], int]:
    from policy.sampling import generate, uniform_draws

    def sample(turn: int) -> int:
        draws = uniform_draws([(turn, row) for row in range(len(prompts))], TOKENS)
        return sum(len(s.ids) for s in generate(backbone, None, prompts, draws, TEMPERATURE))

    return sample


def _peer(backbone: Any, prompts: Sequence[Sequence[int]]) -> Callable[[int], int]:
    import torch

    from backbone.text import pad

    batch = pad(prompts, backbone.pad_id, backbone.device, left=True)
    ends = torch.tensor(sorted(backbone.end_ids))

    def sample(turn: int) -> int:
        torch.manual_seed(turn)
        backbone.language_model.set_attn_implementation("sdpa")  # what it comes with
        found = backbone.language_model.generate(
            input_ids=batch.ids, attention_mask=batch.mask, max_new_tokens=TOKENS, do_sample=True,
            temperature=TEMPERATURE, top_k=0, top_p=1.0, eos_token_id=ends.tolist(),
            pad_token_id=backbone.pad_id)
        new = found[:, batch.ids.shape[1]:]
        # What stands behind the first token that ends a response is padding.
        ended = torch.isin(new, ends).cumsum(1)
        return int(((ended == 0) | ((ended == 1) & torch.isin(new, ends))).sum())

    return sample


def measure(turns: int) -> dict[str, Figure]:
    """Tokens a second of both, and the ratio of their medians."""
    from backbone.config import EMBEDDED, ModelConfig
    from backbone.model import Backbone

    backbone = Backbone.load(EMBEDDED, ModelConfig())
    figures: dict[str, Figure] = {}
    for name, (count, each) in BATCHES.items():
        prompts = _prompts(backbone, count, each)
        timings: dict[str, list[float]] = {"ours": [], "peer": []}
        samplers = {"ours": _ours(backbone, prompts), "peer": _peer(backbone, prompts)}
        for turn in range(turns + 1):  # the first one warms up
            for who, sample in samplers.items():
                start = time.perf_counter()
                tokens = sample(turn)
                if turn:
                    timings[who].append((time.perf_counter() - start) / tokens)
            say(f"{_NAMES[name]}: {turn} of {turns} turns ...")
        figures |= {f"{who}_{name}": rate(1, found) for who, found in timings.items()}
        figures[f"ratio_{name}"] = median_ratio(timings["peer"], timings["ours"])
    return figures


def main() -> None:
    """Sample in turns, then show."""
    asked = flags(__doc__ or "")
    show(measure(3 if asked.quick else 9), UNITS, asked.json)


if __name__ == "__main__":
    main()
