"""The reward model: an adapter on the backbone and a scalar head read at the last real token."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from peft import LoraConfig
from torch import Tensor, nn

from backbone.flat_pass import runs_flat
from backbone.heads import ScalarHead
from backbone.layouts import lay_out
from backbone.model import Backbone
from backbone.storage import load_adapter, save_adapter
from data.errors import BadInput
from data.records import Message
from reward.batches import encode
from reward.config import RewardConfig
from reward.passes import parts_within

#: Beside PEFT's own files: what a score depends on besides the weights.
EXTRAS = "reward.json"
#: Tokens in one forward pass of scoring, where no gradients are kept.
SCORING_TOKENS = 8192


class RewardModel:
    """Scores conversations: the higher, the better the last turn as labelers see it.

    Only differences between responses to one prompt mean something; centre and scale are free.
    """

    def __init__(self, backbone: Backbone, adapter: str, head: ScalarHead,
                 max_length: int = RewardConfig.max_length) -> None:
        self.backbone = backbone
        self.adapter = adapter
        self.head = head
        self.max_length = max_length

    @classmethod
    def fresh(cls, backbone: Backbone, lora: LoraConfig, max_length: int, seed: int = 0,
              adapter: str = "reward") -> RewardModel:
        """An untrained reward model: the backbone's own hidden states under a random head."""
        backbone.add_adapter(adapter, lora, seed)
        head = ScalarHead(backbone.hidden_size, backbone.device, seed)
        return cls(backbone, adapter, head, max_length)

    @property
    def adapter_parameters(self) -> list[nn.Parameter]:
        """The adapter's trainable tensors, in a fixed order."""
        return self.backbone.adapter_parameters(self.adapter)

    def scores_of(self, sequences: Sequence[Sequence[int]]) -> Tensor:
        """[B] scores of token id sequences, in one forward pass; gradients flow.

        The beginning that texts share is encoded once, where the checkpoint's attention allows it.
        """
        scores: Tensor = self.head(lay_out(self.backbone, sequences).ends(self.adapter))
        return scores

    @torch.no_grad()
    def score(self, conversations: Sequence[Sequence[Message]], batch_size: int = 32,
              on_batch: Callable[[float], None] | None = None) -> list[float]:
        """One score for each conversation, whose last turn is the response, in the order given.

        Over-long conversations lose their oldest turns.
        `on_batch` hears the share that is done; what it raises ends the scoring.
        """
        return self.score_ids([encode(self.backbone, conversation, self.max_length)[0]
                               for conversation in conversations], batch_size, on_batch)

    @torch.no_grad()
    def score_ids(self, sequences: Sequence[Sequence[int]], batch_size: int = 32,
                  on_batch: Callable[[float], None] | None = None) -> list[float]:
        """`score` for conversations that are token ids already."""
        scores = [0.0] * len(sequences)
        done = 0
        flat = runs_flat(self.backbone)
        for part in parts_within(dict(enumerate(sequences)), SCORING_TOKENS, flat, batch_size):
            for row, value in zip(part, self.scores_of([sequences[i] for i in part]).tolist(),
                                  strict=True):
                scores[row] = value
            done += len(part)
            if on_batch is not None:
                on_batch(done / len(sequences))
        return scores

    def save(self, folder: Path, beside: Callable[[Path], None] | None = None) -> None:
        """Write adapter and head in PEFT's layout (AutoPeftModelForSequenceClassification).

        `beside` writes what else belongs into the folder, before that gets its name.
        """
        def fill(partial: Path) -> None:
            (partial / EXTRAS).write_text(json.dumps({"max_length": self.max_length}), "utf-8")
            if beside is not None:
                beside(partial)

        save_adapter(self.backbone, self.adapter, folder, self.head, fill)

    @classmethod
    def load(cls, backbone: Backbone, folder: Path, adapter: str = "reward") -> RewardModel:
        """Load what `save` wrote, or another tool's LoRA sequence classifier with one label.

        Raises:
            BadInput: no adapter there, one of another checkpoint, or one without a score head.
        """
        weight = load_adapter(backbone, adapter, folder)
        if weight is None or tuple(weight.shape) != (1, backbone.hidden_size):
            backbone.drop_adapter(adapter)
            raise BadInput(f"{folder}: the adapter holds no score head with one output, so it is "
                           "no reward model")
        head = ScalarHead(backbone.hidden_size, backbone.device)
        with torch.no_grad():
            head.weight.copy_(weight)
        return cls(backbone, adapter, head, _max_length(folder))


def _max_length(folder: Path) -> int:
    try:
        return int(json.loads((folder / EXTRAS).read_text("utf-8"))["max_length"])
    except FileNotFoundError:
        return RewardConfig.max_length
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{folder / EXTRAS}: cannot be read: {error}") from error
