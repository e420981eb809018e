"""The instant model beside the LoRA model: what a linear head makes of the very same labels.

A check on the training: a LoRA model that is no better on the same held-out pairs than a head that
took a second has not earned its time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from data.errors import PrefloopError
from loop.context import JobContext
from loop.settings import Settings, read_settings

if TYPE_CHECKING:
    from backbone.model import Backbone
    from data.asking import AskedPair
    from data.progress import Progress
    from reward.examples import PreferenceData
    from reward.instant.response_features import FeatureTable


#: Responses whose features a training job computes for the comparison alone, where no worker has
#: done so before.
MOST_READ = 512


def read_features(context: JobContext, backbone: Backbone, data: PreferenceData,
                  on_part: Callable[[float], None], *,
                  only_known: bool = False) -> FeatureTable | None:
    """The features of what a training job learns from; none where they cannot be kept, or where
    the job reads responses otherwise than the workspace does.

    `only_known`: of those texts that a worker has read already, and nothing is computed.
    """
    from loop.asking.extracting import extract_features, known_features

    kept, here = _as_kept(context), context.settings.reward
    if (kept.reward.question, kept.reward.max_length) != (here.question, here.max_length):
        return None
    wanted = [i for example in data.train for i in example.texts]
    try:
        if not only_known:
            extract_features(context.store, context.workspace, kept, most=len(wanted),
                             on_part=on_part, backbone=backbone, wanted=wanted)
        return known_features(context.store, context.workspace, kept, wanted)
    except PrefloopError:
        return None


def instant_beside(context: JobContext, backbone: Backbone, data: PreferenceData,
                   progress: Progress, *, only_known: bool = False) -> dict[str, Any]:
    """`instant_accuracy` on the held-out pairs of a training job's data, for its metrics.

    Of those pairs whose features are known (`only_known`: by now). Nothing where there are no
    decided ones; where features cannot be had, `instant_missing` says why, and the training is
    none the worse.
    """
    from loop.asking.extracting import extract_features, known_features
    from reward.instant.model import InstantModel

    pairs = _pairs(data)
    held_out = [p for p in pairs if p.held_out and not p.tie]
    if not held_out:
        return {}

    def read(share: float) -> None:
        progress.update(share, "the instant model, to compare")

    read(0.0)
    kept = _as_kept(context)
    try:
        if not only_known:
            extract_features(context.store, context.workspace, kept, most=MOST_READ, on_part=read,
                             backbone=backbone)
        features = known_features(context.store, context.workspace, kept)
        if not features.rows:
            return {}
        model = InstantModel(features)
        model.learn(pairs)
    except (PrefloopError, ValueError, ArithmeticError) as error:
        return {"instant_missing": str(error)}
    accuracy = model.accuracy(held_out)
    return {} if accuracy is None else {"instant_accuracy": accuracy.as_dict()}


def _as_kept(context: JobContext) -> Settings:
    """The settings by which the workspace keeps features, whatever this one job is to do: others
    read them too."""
    return context.settings.with_section("reward", read_settings(context.workspace).reward)


def _pairs(data: PreferenceData) -> list[AskedPair]:
    """In the order in which they were answered."""
    from data.asking import AskedPair

    pairs = [AskedPair(pair.comparison_id, pair.prompt_id, pair.chosen_id, pair.rejected_id,
                       pair.is_tie, held_out, None)
             for held_out, examples in ((False, data.train), (True, data.held_out))
             for example in examples for pair in example.pairs]
    return sorted(pairs, key=lambda pair: pair.comparison_id)
