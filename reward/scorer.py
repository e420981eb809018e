"""Whatever a reward model version is made of, in memory and ready to score."""

from __future__ import annotations

from pathlib import Path

from backbone.model import Backbone
from reward import combined, ensemble, tuned
from reward.combined import CombinedReward
from reward.ensemble import Ensemble
from reward.members import forget
from reward.model import RewardModel
from reward.tuned import TunedReward

#: All have `score`: conversations in, one number each out.
Scorer = RewardModel | Ensemble | CombinedReward | TunedReward


def load_scorer(backbone: Backbone, folder: Path, adapter: str = "reward") -> Scorer:
    """Whichever lies there, in the place of what was loaded under that name before.

    Raises:
        BadInput: no reward model can be read there, or it is one of another checkpoint.
    """
    forget(backbone, adapter)
    for kind, about in ((CombinedReward, combined.ABOUT), (Ensemble, ensemble.ABOUT),
                        (TunedReward, tuned.ABOUT)):
        if (folder / about).is_file():
            return kind.load(backbone, folder, adapter)
    return RewardModel.load(backbone, folder, adapter)
