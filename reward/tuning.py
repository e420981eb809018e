"""Training a tuned reward: a linear head is fitted, then LoRA moves the features that it reads.

The loop is that of `reward.train`. What the blocks below the adapter make of the training responses
is computed once, before it. Ties are half a vote each way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from peft import LoraConfig

from backbone.model import Backbone
from data.progress import Part, Progress, Silent
from reward.combined import LinearPart
from reward.config import RewardConfig
from reward.examples import Example, PreferenceData
from reward.heads import encoded, linear_part
from reward.instant.linear import LinearReward
from reward.instant.response_features import FeatureTable
from reward.kinds import FeatureKind
from reward.train import TrainedReward, train
from reward.tuned import HEAD, TunedReward

#: The feature sets to begin from. Not the one that reads all depths: an adapter on the blocks below
#: its deepest layer would leave most of it as it is, and passes would run through all blocks.
_AMONG = ("early", "middle", "basic", "asked")
#: And the one to begin from where labels cannot tell which is better: of a middle layer's mean,
#: tuning made the most (docs/reward-model.md), and the blocks above it are never run.
_PREFERRED = "middle"
#: Where on the progress bar labelers' habits are known (if they are asked for), the head is found,
#: and the states of the blocks below the adapter are.
_PREPARED, _FITTED, _KEPT = 0.1, 0.2, 0.3


def tune(backbone: Backbone, examples: Sequence[Example], head: LinearReward,
         kinds: Sequence[FeatureKind], config: RewardConfig, lora: LoraConfig, *, seed: int = 0,
         progress: Progress | None = None, adapter: str = "reward") -> TunedReward:
    """Move the features (`kinds`, side by side) that a linear head reads.

    `lora` says how, `config.tuned_blocks` on which blocks, everything else as in
    `reward.train.train`.

    Raises:
        BadInput: there is nothing to learn from.
        PrefloopError: the loss is not a number.
    """
    model = TunedReward.fresh(backbone, head, kinds, config, lora, seed, adapter)
    model.keep_states(encoded(backbone, examples, config.max_length, model.question))
    train(backbone, PreferenceData(tuple(examples), ()), config, lora, seed=seed,
          progress=progress, adapter=adapter, begin=lambda _: model)
    model.forget_states()
    return model


def train_tuned(backbone: Backbone, data: PreferenceData, config: RewardConfig,
                lora: LoraConfig, *, seed: int = 0, progress: Progress | None = None,
                checkpoint_folder: Path | None = None, known: FeatureTable | None = None,
                adapter: str = "reward") -> TrainedReward:
    """Fit a linear head to the training comparisons, then move the features that it reads.

    Features and spread of the head are chosen within the training prompts (`reward.heads`), and
    what is `known` of them (by response id) is not computed again. The metrics' `train` names them.
    Everything else is as in `reward.train.train`; a run that goes on has the head of its beginning.

    Raises:
        BadInput: there is nothing to learn from.
        PrefloopError: the loss is not a number, or a checkpoint cannot be read.
        data.progress.Stopped: asked to stop; a checkpoint has been kept.
    """
    progress = progress or Silent()
    about: dict[str, Any] = {}
    fitting = Part(progress, _PREPARED if config.corrects else 0.0, _FITTED)

    def begin(data: PreferenceData) -> TunedReward:
        kept = None if checkpoint_folder is None else checkpoint_folder / HEAD
        found = _kept_head(kept)
        if found is None:
            found = linear_part(
                backbone, config.max_length, config.question, data.train, known,
                lambda share: fitting.update(share, "a linear head, to begin from"),
                among=_among(config), preferred=_PREFERRED)
            if kept is not None:
                found[0].head.save(kept, {"kinds": [str(kind) for kind in found[0].kinds],
                                          "chosen": found[1]})
        part, chosen = found
        about.update(chosen)
        model = TunedReward.fresh(backbone, part.head, part.kinds, config, lora, seed, adapter)
        model.keep_states(
            encoded(backbone, data.train, config.max_length, model.question),
            lambda share: progress.update(_FITTED + (_KEPT - _FITTED) * share,
                                          "the blocks that stay as they are"))
        return model

    trained = train(backbone, data, config, lora, seed=seed, adapter=adapter, begin=begin,
                    progress=Part(progress, _KEPT, 1.0), checkpoint_folder=checkpoint_folder,
                    known=known, preparing=Part(progress, 0.0, _PREPARED))
    assert isinstance(trained.model, TunedReward)
    trained.model.forget_states()
    return replace(trained, metrics={**trained.metrics,
                                     "train": {**trained.metrics["train"], **about}})


def _among(config: RewardConfig) -> tuple[str, ...]:
    """The feature sets that it may begin from."""
    return _AMONG if config.tuned_features == "chosen" else (config.tuned_features,)


def _kept_head(path: Path | None) -> tuple[LinearPart, dict[str, Any]] | None:
    """The head that a run began with, where it has one by now."""
    if path is None or not path.is_file():
        return None
    head, about = LinearReward.load(path)
    return LinearPart(tuple(map(FeatureKind.parse, about["kinds"])), head), about["chosen"]
