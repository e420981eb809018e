"""One frozen checkpoint with named LoRA adapters: several models for the memory of one.

RLHF's policy, reference, reward and value are adapters (or none) on the copy of the checkpoint
they start from. Weights of the checkpoint are never trained; a forward pass names the adapter it
runs with, so there is no "current" model to be surprised by.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict
from torch import Tensor, nn

from backbone.blocks import blocks_of, recomputing
from backbone.checkpoint import load_model, load_tokenizer, longest_text, resolve
from backbone.config import ModelConfig
from backbone.device import choose_device, choose_dtype
from backbone.fused import fuse_lora
from backbone.memory import keep_freed
from backbone.packing import Packed
from backbone.sharding import cut_up, is_cut_up
from backbone.targets import is_turned, linear_layers
from backbone.text import Batch
from data.errors import BadInput

#: No adapter is ever called this: what the checkpoint last ran with is not known.
UNKNOWN = ""
#: Above this many scores a head, plain attention would take gigabytes to train.
PLAIN_ATTENTION_SCORES = 1_000_000


class Backbone:
    """A checkpoint in memory, its tokenizer, and its adapters.

    Adapters are fp32 whatever the precision of the checkpoint; with bf16, matrix products run
    under autocast.
    """

    def __init__(self, checkpoint: str, device: torch.device, dtype: torch.dtype,
                 chat_template: str | None = None, recomputes: bool = False) -> None:
        self.checkpoint = checkpoint
        self.folder = resolve(checkpoint)
        self.device = device
        self.dtype = dtype
        self.recomputes = recomputes
        """Whether training passes make the inside of each block again (gradient checkpointing)."""
        self.tokenizer = load_tokenizer(checkpoint, chat_template)
        self.is_cut_up = is_cut_up()
        """Whether this process holds but a part of every layer."""
        self.language_model = (
            cut_up(load_model(checkpoint, torch.device("cpu"), dtype), device) if self.is_cut_up
            else load_model(checkpoint, device, dtype))
        self.context_length = longest_text(checkpoint, self.language_model.config, self.tokenizer)
        """Longest text in tokens that the checkpoint is made for."""
        self.trunk: nn.Module = self.language_model.get_decoder()
        self._peft: PeftModel | None = None
        self._running_with: str | None = UNKNOWN

    @classmethod
    def load(cls, checkpoint: str, config: ModelConfig,
             chat_template: str | None = None) -> Backbone:
        """Load a checkpoint on the device and in the precision that the config asks for."""
        device = choose_device(config.device)
        if device.type == "cpu":
            keep_freed()
        return cls(checkpoint, device, choose_dtype(config.precision, device), chat_template,
                   config.gradient_checkpointing)

    @property
    def hidden_size(self) -> int:
        """Width of the hidden states."""
        return int(self.language_model.config.get_text_config().hidden_size)

    @property
    def pad_id(self) -> int:
        """A token id to fill padding with; masks, not this id, say what is padding."""
        for candidate in (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id):
            if candidate is not None and candidate < self.embedded:
                return int(candidate)
        return 0

    @property
    def embedded(self) -> int:
        """How many token ids have an embedding; tokenizers may know fewer, or more."""
        return int(self.language_model.get_input_embeddings().weight.shape[0])

    def check_ids(self, texts: Sequence[Sequence[int]]) -> None:
        """See that every token of the texts has an embedding.

        Raises:
            BadInput: one has none.
        """
        highest = max(map(max, texts))
        if highest >= self.embedded:
            text = next(text for text in texts if highest in text)
            raise BadInput(f"{self.tokenizer.decode(text)[-60:]!r}: the text holds the token "
                           f"{self.tokenizer.convert_ids_to_tokens(highest)!r}, for which "
                           f"checkpoint {self.checkpoint} has no embedding: take the text out")

    @property
    def config_pad_id(self) -> int | None:
        """The pad token of the checkpoint's config, which transformers' classifiers go by."""
        found: int | None = getattr(self.language_model.config.get_text_config(), "pad_token_id",
                                    None)
        return found

    @property
    def end_ids(self) -> set[int]:
        """Every token id that ends a response."""
        named = self.language_model.generation_config.eos_token_id
        ids = set(named if isinstance(named, list) else [] if named is None else [named])
        if self.tokenizer.eos_token_id is not None:
            ids.add(self.tokenizer.eos_token_id)
        return ids

    @property
    def adapters(self) -> list[str]:
        """Names of the adapters in memory."""
        return [] if self._peft is None else list(self._peft.peft_config)

    def add_adapter(self, name: str, config: LoraConfig, seed: int = 0) -> None:
        """Add a fresh adapter, which changes nothing until it is trained; replaces its namesake."""
        self.drop_adapter(name)
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            # peft asks transformers for something by a name that is on its way out.
            warnings.simplefilter("ignore", FutureWarning)
            torch.manual_seed(seed)  # A is drawn at random, B is zero
            if self._peft is None:
                self._peft = get_peft_model(self.language_model, config, adapter_name=name)
            else:
                self._peft.add_adapter(name, config)
        if self.adapter_config(name).target_parameters:  # by peft's own doing, from names of layers
            self.drop_adapter(name)
            raise BadInput(f"adapter: LoRA on the experts of checkpoint {self.checkpoint} is not "
                           "supported, only on its other linear layers")
        for layer in self._lora_layers():
            # Under autocast the product casts its inputs itself; peft's cast would do it twice.
            layer.cast_input_dtype_enabled = self.dtype == torch.float32
            fuse_lora(layer)
        self._running_with = UNKNOWN

    def new_lora_config(self, rank: int, alpha: int) -> LoraConfig:
        """LoRA on all linear layers but the heads, without dropout."""
        names = sorted({name.rsplit(".", 1)[-1] for name, _ in linear_layers(self.trunk)})
        return LoraConfig(r=rank, lora_alpha=alpha, target_modules=names, lora_dropout=0.0,
                          bias="none", task_type="CAUSAL_LM",
                          fan_in_fan_out=is_turned(self.trunk),
                          base_model_name_or_path=self.folder)

    def drop_adapter(self, name: str) -> None:
        """Forget an adapter, if it is there."""
        if name not in self.adapters:
            return
        assert self._peft is not None
        if len(self.adapters) == 1:
            self._peft.unload()
            self.language_model = self._peft.get_base_model()
            self.trunk = self.language_model.get_decoder()
            self._peft = None
        else:
            self.switch_to(next(other for other in self.adapters if other != name))
            self._peft.delete_adapter(name)
        self._running_with = UNKNOWN

    def adapter_config(self, name: str) -> LoraConfig:
        """The LoRA configuration of an adapter."""
        assert self._peft is not None
        return self._peft.peft_config[name]

    def adapter_state(self, name: str) -> dict[str, Tensor]:
        """An adapter's weights under PEFT's own names."""
        return dict(get_peft_model_state_dict(self._peft, adapter_name=name))

    def load_adapter_state(self, name: str, state: dict[str, Tensor]) -> None:
        """Put weights (under PEFT's names) into an adapter that is there."""
        set_peft_model_state_dict(self._peft, state, adapter_name=name)

    def adapter_parameters(self, name: str) -> list[nn.Parameter]:
        """The trainable tensors of an adapter, in a fixed order."""
        return [parameter for key, parameter in self.trunk.named_parameters()
                if f".{name}." in key and "lora_" in key]

    def hidden(self, batch: Batch, adapter: str | None) -> Tensor:
        """[B, T, d] last hidden states of a batch, with one adapter on (or none)."""
        with self._running(adapter, *batch.ids.shape):
            output = self.trunk(
                input_ids=batch.ids, attention_mask=batch.mask if batch.left else None,
                position_ids=batch.positions if batch.left else None, use_cache=False)
        states: Tensor = output.last_hidden_state
        return states

    def hidden_of_packed(self, packed: Packed, adapter: str | None) -> Tensor:
        """[B, T, d] last hidden states of packed rows, with one adapter on (or none)."""
        with self._running(adapter, *packed.ids.shape):
            output = self.trunk(input_ids=packed.ids, attention_mask=packed.attention(self.dtype),
                                position_ids=packed.positions, use_cache=False)
        states: Tensor = output.last_hidden_state
        return states

    @property
    def can_pack(self) -> bool:
        """Whether every layer attends to all that its mask allows, as packed rows need."""
        config = self.language_model.config.get_text_config()
        layers = getattr(config, "layer_types", None) or []
        return (self._has_sdpa and not getattr(config, "sliding_window", None)
                and not getattr(config, "alibi", False)  # reads positions off a plain mask
                and all(kind == "full_attention" for kind in layers))

    @property
    def head(self) -> Any:
        """The head over the vocabulary, a linear layer.

        Raises:
            BadInput: the checkpoint holds none, as a reward model's may.
        """
        if getattr(self.language_model, "lacks_head", False):
            raise BadInput(f"--checkpoint {self.checkpoint}: its weights hold no head over the "
                           "vocabulary, so it can be no policy")
        return self.language_model.get_output_embeddings()

    def logits(self, hidden: Tensor) -> Tensor:
        """[..., V] vocabulary scores of hidden states, fp32."""
        with self.autocast():
            scores: Tensor = self.head(hidden.to(self.dtype))
        return scores.float()

    @property
    def _has_sdpa(self) -> bool:
        return bool(getattr(self.language_model, "_supports_sdpa", False))

    def choose_attention(self, rows: int, width: int) -> None:
        """Fused attention, but on a CPU plain matrix products where their [B, T, T] scores are
        few: there they train a fifth to two fifths faster (see docs/benchmarks.md).

        They round differently, so every pass chooses anew, by its shape alone: what came before
        it must not change what it gives.
        """
        plain = self.device.type == "cpu" and rows * width * width <= PLAIN_ATTENTION_SCORES
        wanted = "eager" if plain or not self._has_sdpa else "sdpa"
        if self.language_model.config._attn_implementation != wanted:
            self.language_model.set_attn_implementation(wanted)

    @contextmanager
    def _running(self, adapter: str | None, rows: int, width: int) -> Iterator[None]:
        """The context of a pass by the checkpoint's own code over [rows, width] tokens."""
        def prepare() -> None:
            self.switch_to(adapter)
            self.choose_attention(rows, width)

        prepare()
        again = self.recomputes and torch.is_grad_enabled()
        with (self.autocast(),
              recomputing(blocks_of(self.trunk), prepare) if again else nullcontext()):
            yield

    def autocast(self) -> Any:
        """The context that matrix products run in."""
        if self.dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self.dtype)

    def switch_to(self, adapter: str | None) -> None:
        """Make forward passes run with one adapter, or with none (the bare checkpoint).

        Raises:
            KeyError: there is no adapter of that name.
        """
        if adapter is not None and adapter not in self.adapters:
            raise KeyError(f"there is no adapter {adapter!r}, only {self.adapters}")
        if self._peft is None or adapter == self._running_with:
            return
        if adapter is None:
            self._peft.base_model.disable_adapter_layers()
        else:
            self._peft.base_model.enable_adapter_layers()
            self._peft.base_model.set_adapter(adapter)
        self._running_with = adapter

    def _lora_layers(self) -> list[Any]:
        return [module for module in self.trunk.modules() if isinstance(module, LoraLayer)]

