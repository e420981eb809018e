"""A checkpoint's own code is run once on a few tokens before anything is built on it.

Four things are taken for granted wherever it runs: what its decoder answers is what its head reads;
the head's scores are its scores; a token sees nothing of what comes after it (so padding on the
right needs no mask, and texts that begin alike share their beginning); and with its keys and values
kept it goes on token by token as if it had read the whole text. Where one does not hold, figures
would be wrong without a word.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from data.errors import BadInput

#: Config fields that alter the vocabulary scores after the head, which we read by ourselves.
SCALED_SCORES = ("final_logit_softcapping", "logits_scaling", "logit_scale", "logits_soft_cap",
                 "lm_head_multiplier")
#: Tokens read, of which the second half is then another.
TOKENS = 16
#: Largest relative distances between states that should be the same. Looking ahead alone, the
#: passes are alike to the bit; with a cache bf16 rounds otherwise (0.02 at most on what we tried,
#: and 0.7 at least where the cache was not heard).
LOOKING_AHEAD, GOING_ON = 0.01, 0.1
_LOOKS_AHEAD = ("its tokens see what comes after them, as in an encoder; take a causal "
                "(decoder-only) language model")
_TROUBLE = (AssertionError, AttributeError, IndexError, KeyError, NotImplementedError, TypeError,
            ValueError)


def look_over(model: Any, has_head: bool = True) -> None:
    """Refuse a model, which need have no weights (on the device `meta`), for what a look at it
    tells of all that `try_out` finds.

    Raises:
        BadInput: its code says that something which is taken for granted does not hold.
    """
    if has_head and (name := _scaled_by(model.config.get_text_config())):
        raise BadInput(_altered(name))
    if {part.is_causal for part in model.get_decoder().modules()
            if hasattr(part, "is_causal")} == {False}:
        raise BadInput(_LOOKS_AHEAD)


@torch.no_grad()
def try_out(model: Any, has_head: bool = True) -> None:
    """Run a causal language model, in evaluation mode, on a few tokens.

    Raises:
        BadInput: something that is taken for granted does not hold; the message says what.
    """
    rows = model.get_input_embeddings().weight.shape[0]
    ids = (torch.arange(TOKENS, device=model.device)[None] + 10) % rows
    try:
        seen = _seen(model, ids, has_head)
        if not torch.isfinite(seen["states"]).all():
            raise BadInput("what it makes of a few tokens is not finite: are its weights whole?")
        _sees_no_future(model, ids, seen["states"])
        _read_as_they_are(model, seen)
        _goes_on(model, ids, seen["states"])
    except _TROUBLE as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise BadInput(f"its own code cannot be run as ours runs it: {first}") from error


def _states(model: Any, **inputs: Any) -> Tensor:
    found: Tensor = model.get_decoder()(**{"use_cache": False, **inputs}).last_hidden_state
    return found


def _seen(model: Any, ids: Tensor, has_head: bool) -> dict[str, Tensor]:
    """What a pass of the whole model makes: the decoder's states [1, T, d], and with a head what
    that has read, its scores, and those that the model answers with."""
    if not has_head:
        return {"states": _states(model, input_ids=ids)}
    seen: dict[str, Tensor] = {}
    handles = [
        model.get_decoder().register_forward_hook(
            lambda _module, _inputs, output: seen.update(states=output.last_hidden_state)),
        model.get_output_embeddings().register_forward_hook(
            lambda _module, inputs, output: seen.update(read=inputs[0], scores=output))]
    try:
        seen["answered"] = model(input_ids=ids, use_cache=False).logits
    finally:
        for handle in handles:
            handle.remove()
    return seen


def _read_as_they_are(model: Any, seen: dict[str, Tensor]) -> None:
    config, width = model.config.get_text_config(), seen["states"].shape[-1]
    if width != config.hidden_size:
        raise BadInput(f"its decoder answers with {width} numbers a token where its blocks have "
                       f"{config.hidden_size}, which is not supported")
    if "scores" in seen and not torch.equal(seen["scores"].float(), seen["answered"].float()):
        raise BadInput(_altered(_scaled_by(config)))
    if "read" in seen and not torch.equal(seen["read"].float(), seen["states"].float()):
        raise BadInput("what its decoder answers is altered before the head reads it, which is not "
                       "supported yet")


def _scaled_by(config: Any) -> str | None:
    """The field of the config that alters the scores, if one does."""
    return next((name for name in SCALED_SCORES
                 if getattr(config, name, None) not in (None, 1, 1.0)), None)


def _altered(name: str | None) -> str:
    return ((f"its config sets {name}, and" if name else "its code is not plain:")
            + " scores that are altered after the head are not supported yet")


def _sees_no_future(model: Any, ids: Tensor, states: Tensor) -> None:
    half = TOKENS // 2
    other = torch.cat([ids[:, :half], ids[:, half:].flip(1)], 1)
    found = _states(model, input_ids=other)
    if _distance(found[:, :half], states[:, :half]) > LOOKING_AHEAD:
        raise BadInput(_LOOKS_AHEAD)


def _goes_on(model: Any, ids: Tensor, states: Tensor) -> None:
    cache = DynamicCache(config=model.config)
    mask, places = torch.ones_like(ids), torch.arange(TOKENS, device=ids.device)[None]
    for part in (slice(0, TOKENS - 1), slice(TOKENS - 1, TOKENS)):
        found = _states(model, input_ids=ids[:, part], attention_mask=mask[:, :part.stop],
                        position_ids=places[:, part], past_key_values=cache, use_cache=True)
    if _distance(found[:, -1], states[:, -1]) > GOING_ON:
        raise BadInput("it does not go on from what it has read (its code keeps no keys and values "
                       "as attention does), so it cannot be sampled from")


def _distance(found: Tensor, wanted: Tensor) -> float:
    return float((found.float() - wanted.float()).norm() / wanted.float().norm())
