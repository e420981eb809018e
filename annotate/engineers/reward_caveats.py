"""What a reward model's report is over, and what may flatter its figures, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from data.reward_reports import over_file


def over_words(metrics: Mapping[str, Any]) -> str:
    """What the figures are over, and of a file how much of it may have been learned from."""
    if not over_file(metrics):
        return ("Over held-out prompts, on which no reward model is trained; every labeler's vote "
                "by itself.")
    prompts, known = (metrics["file"][key] for key in ("prompts", "training_prompts"))
    return (f"Over the pairs of a file: {known:,} of its {prompts:,} prompts are training prompts "
            "of this workspace"
            + (", from which its reward models may have learned." if known else "."))


def epoch_words(metrics: Mapping[str, Any]) -> str:
    """That the figures' own pairs chose the epoch whose weights were kept; empty where they did
    not."""
    found = metrics.get("epoch_chosen")
    return (f"Epoch {found['epoch']} of {found['of']} was kept because it was the best on "
            "held-out pairs (patience): these figures, and whether the gate lets the model "
            "through, are better than it is." if found else "")
