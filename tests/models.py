"""Tiny models for tests: the very code that real checkpoints run, in milliseconds."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, PretrainedConfig

from backbone.checkpoint import load_tokenizer
from backbone.model import Backbone
from backbone.text import Batch
from backbone.tiny import make_tiny_checkpoint
from data.records import Message

TEXTS = ("tell me about the cat and the dog in a house by the sea . one two three four five six "
         "seven eight nine ten red green blue yes no maybe often never please say more ?",)
#: Conversations in these words.
ASK = [Message(role="user", content="tell me about the cat")]
LONG = [Message(role="user", content="one two three four five six seven eight nine ten")]


def tiny_checkpoint(folder: Path, *, texts: Sequence[str] = TEXTS, pad_is_eos: bool = False,
                    hidden_size: int = 32, layers: int = 2, context: int = 512,
                    seed: int = 0) -> Path:
    """A tiny random checkpoint below `folder`, whose words are those of the texts."""
    return make_tiny_checkpoint(folder / "tiny", texts, pad_is_eos=pad_is_eos,
                                hidden_size=hidden_size, layers=layers, context=context, seed=seed)


def tiny_backbone(folder: Path, *, dtype: torch.dtype = torch.float32, pad_is_eos: bool = False,
                  context: int = 512, layers: int = 2) -> Backbone:
    """A tiny checkpoint, written if need be, in memory on the CPU."""
    if not (folder / "tiny").exists():
        tiny_checkpoint(folder, pad_is_eos=pad_is_eos, context=context, layers=layers)
    return Backbone(str(folder / "tiny"), torch.device("cpu"), dtype)


def checkpoint_of(folder: Path, config: PretrainedConfig) -> Path:
    """A random checkpoint of any family, with the tiny one's tokenizer."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config)
        for parameter in model.parameters():
            parameter.data += 0.1 * torch.randn(parameter.shape)  # norms and biases too
    model.save_pretrained(folder / "family")
    load_tokenizer(str(tiny_checkpoint(folder))).save_pretrained(folder / "family")
    return folder / "family"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny models are quickest on one thread, whatever else the machine does; import to use."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def at_last_token(hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
    """[B, d] the hidden state at each row's last real token, found by the mask."""
    return hidden[torch.arange(hidden.shape[0], device=hidden.device), batch.last]
