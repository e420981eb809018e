"""What is asked of a server's completions, and what counts as an answer.

OpenAI's protocol as vLLM extends it: prompts and responses as token ids.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from policy.config import SampleConfig
from policy.samplers import Wanted


@dataclass(frozen=True)
class Completion:
    """One answer of the server, checked for its form."""

    ids: list[int]
    logprobs: list[float]
    """Of each token, as the server says, before or after the temperature."""


def request_for(wanted: Wanted, model: str, end_ids: Collection[int],
                config: SampleConfig) -> dict[str, Any]:
    """The body that asks for one response."""
    body = {
        "model": model, "prompt": wanted.prompt, "max_tokens": config.max_new_tokens, "n": 1,
        "temperature": config.temperature, "seed": seed_of(wanted.key), "logprobs": 1,
        # What else shapes the distribution is switched off: vLLM takes its defaults from the
        # checkpoint's generation config.
        "top_p": 1.0, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0,
        "stop_token_ids": sorted(end_ids),
        "return_token_ids": True, "return_tokens_as_token_ids": True}
    if config.stop:
        body["stop"] = config.stop
    return body


def seed_of(key: Sequence[int]) -> int:
    """A seed of 31 bits, which every server takes, from the integers that name a response."""
    return int(np.random.SeedSequence(list(key)).generate_state(1, np.uint32)[0] >> 1)


def completion_of(answer: Mapping[str, Any], model: str, prompt: Sequence[int],
                  vocabulary: int) -> Completion:
    """The one completion in an answer.

    Raises:
        ValueError: it is not what was asked for; the message says in what.
    """
    if answer.get("model") != model:
        raise ValueError(f"asked for {model}, it answers as {str(answer.get('model'))[:100]}")
    choices = answer.get("choices")
    if not (isinstance(choices, list) and len(choices) == 1 and isinstance(choices[0], dict)):
        raise ValueError("its answer does not hold one completion")
    choice = choices[0]
    echoed = choice.get("prompt_token_ids")
    if echoed is not None and echoed != list(prompt):
        raise ValueError("it did not go on from the token ids that it was given")
    said = choice.get("logprobs")
    said = said if isinstance(said, dict) else {}
    ids = choice.get("token_ids")
    if ids is None:
        ids = _ids_of_names(said.get("tokens"))
    if not (isinstance(ids, list) and ids and all(
            isinstance(i, int) and not isinstance(i, bool) for i in ids)):
        raise ValueError("its answer holds no token ids, without which a response cannot be "
                         "recorded; vLLM gives them (return_token_ids)")
    if not all(0 <= i < vocabulary for i in ids):
        raise ValueError(f"it answers with token {max(ids)}, and the checkpoint has {vocabulary}; "
                         "does it serve this workspace's checkpoint?")
    logprobs = said.get("token_logprobs")
    if not (isinstance(logprobs, list) and len(logprobs) == len(ids) and all(
            isinstance(x, int | float) and math.isfinite(x) for x in logprobs)):
        raise ValueError("its answer holds no log-probability for each token, by which it could be "
                         "checked that it samples this policy version")
    return Completion(ids, [float(x) for x in logprobs])


def _ids_of_names(tokens: Any) -> list[int] | None:
    """Ids of tokens that are named `token_id:17`, as older vLLMs can name them."""
    if not isinstance(tokens, list) or not all(
            isinstance(t, str) and t.removeprefix("token_id:").isdecimal()
            and t.startswith("token_id:") for t in tokens):
        return None
    return [int(t.removeprefix("token_id:")) for t in tokens]
