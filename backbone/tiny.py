"""A tiny random Llama with a small vocabulary of whole words, for `--tiny` and for tests.

It runs the very code that real checkpoints run, in milliseconds, and knows nothing: whatever it
says is random, and nothing that it shows is a claim about quality.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from backbone.storage import write_folder

SPECIAL = ["<unk>", "<|im_start|>", "<|im_end|>", "<pad>"]
ROLES = ["system", "user", "assistant"]
#: Words that a sentiment lexicon knows, so that even random text has something to prefer.
FEELING = ["good", "great", "happy", "love", "wonderful", "best", "nice", "fun",
           "bad", "awful", "sad", "hate", "terrible", "worst", "ugly", "boring"]
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|> {{ message['role'] }} {{ message['content'] }} "
    "<|im_end|> {% endfor %}{% if add_generation_prompt %}<|im_start|> assistant {% endif %}")


def make_tiny_checkpoint(folder: Path, texts: Sequence[str], *, words: int = 200,
                         hidden_size: int = 32, layers: int = 2, seed: int = 0,
                         pad_is_eos: bool = False, context: int = 512) -> Path:
    """Write a tiny checkpoint whose vocabulary are the commonest words of the texts."""
    common = [word for word, _ in Counter(
        word for text in texts for word in re.findall(r"\w+|[^\w\s]", text)).most_common(words)]
    vocabulary = list(dict.fromkeys([*SPECIAL, *ROLES, *FEELING, *common]))

    def fill(partial: Path) -> None:
        tokenizer = _tokenizer(vocabulary, pad_is_eos)
        config = LlamaConfig(
            vocab_size=len(vocabulary), hidden_size=hidden_size,
            intermediate_size=2 * hidden_size, num_hidden_layers=layers, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=context, tie_word_embeddings=True,
            bos_token_id=1, eos_token_id=2, pad_token_id=tokenizer.pad_token_id,
            initializer_range=hidden_size ** -0.5)  # the usual 0.02 leaves so small a model mute
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = LlamaForCausalLM(config)
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)

    write_folder(folder, fill)
    return folder


def _tokenizer(vocabulary: list[str], pad_is_eos: bool) -> PreTrainedTokenizerFast:
    words = Tokenizer(models.WordLevel(
        {word: i for i, word in enumerate(vocabulary)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, unk_token="<unk>", bos_token="<|im_start|>",
        eos_token="<|im_end|>", pad_token="<|im_end|>" if pad_is_eos else "<pad>",
        clean_up_tokenization_spaces=False)
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer
