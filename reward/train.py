"""Training a reward model: LoRA and a scalar head on labelers' preferences.

One visible loop, for a single model, for one that begins as something else (`reward.tuning`), and
for an ensemble, whose members take every step together: a step's texts are laid out once, and each
member's gradient is carried back before the next one's turn, so that memory is that of one member's
activations. Labelers' habits are estimated before it, once (`reward.habits`), and learned from as
they are; deliberately left out: to estimate them anew as the model learns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from torch import Tensor
from torch.optim import AdamW, Optimizer

from backbone.model import Backbone
from data.errors import BadInput, PrefloopError
from data.measures.statistics import Estimate
from data.progress import Part, Progress, Silent, Stopped
from reward import checkpoints
from reward.batches import Encoder, Microbatch, Step, microbatches, plan_steps
from reward.config import RewardConfig
from reward.ensemble import Ensemble
from reward.evaluate import epoch_chosen, evaluate, score_responses
from reward.examples import Example, PreferenceData, count_pairs
from reward.gradients import ScoresOf, backward
from reward.instant.response_features import FeatureTable
from reward.members import Draw, drawn_from, draws, fresh
from reward.model import RewardModel
from reward.preparing import learned_from, mean_discount, prepared
from reward.report.figures import cross_entropy, held_out_accuracy
from reward.scorer import Scorer
from reward.tuned import TunedReward

_WARM_UP = 0.1  # share of all steps
#: Share of the progress bar that training takes; the report at the end has the rest.
_TRAINING = 0.95


@dataclass(frozen=True)
class TrainedReward:
    """What training hands back."""

    model: Scorer
    """An ensemble where `members` asks for more than one."""
    metrics: dict[str, Any]
    """The report of `reward.evaluate`, with `train` (steps, comparisons, final figures) and, where
    `patience` chose, `epoch_chosen`."""
    data: PreferenceData
    """What it really learned from and was measured on: a resumed run's own, for the lineage."""


@dataclass
class _Run:
    """A run under way."""

    model: checkpoints.Trainable
    optimizer: Optimizer
    """Of all members: what AdamW does to one tensor depends on no other."""
    draws: list[Draw]
    """What each member learns from."""
    data: PreferenceData
    mean_discount: float
    """What its pairs count for on average beside their weights, so that losses are means."""
    encoder: Encoder
    plan: list[Step]
    done: int
    """Optimizer steps taken."""
    curve: list[dict[str, Any]]
    """What was measured on held-out pairs at the end of each epoch."""
    best: dict[str, Tensor]
    """The weights that were best on the curve; kept only where `patience` asks for them."""
    scores: dict[int, float] | None = None
    """What the model as it stands says of the held-out responses, where it has just been asked."""

    @property
    def members(self) -> Sequence[RewardModel | TunedReward]:
        """The ensemble's, or the single model."""
        return _members_of(self.model)

    @property
    def epochs_without_gain(self) -> int:
        """Epochs since the held-out loss was at its best."""
        losses = [epoch["held_out_loss"] for epoch in self.curve]
        return len(losses) - 1 - losses.index(min(losses)) if losses else 0


def train(backbone: Backbone, data: PreferenceData, config: RewardConfig, lora: LoraConfig, *,
          seed: int = 0, progress: Progress | None = None, checkpoint_folder: Path | None = None,
          adapter: str = "reward",
          begin: Callable[[PreferenceData], TunedReward] | None = None,
          known: FeatureTable | None = None, preparing: Progress | None = None) -> TrainedReward:
    """Train a reward model (or an ensemble), going on from the checkpoint folder where a run was
    cut off.

    The same seed and data give the same weights to the bit on one machine, killed and resumed or
    not. `progress.metrics` gets each step's loss, accuracy, learning_rate and gradient_norm, and at
    each epoch's end held_out_accuracy and held_out_loss, which the metrics keep as `curve`. A
    checkpoint folder belongs to one run: the caller removes it when the result is safe. `begin`
    makes the model that is trained, of the data that the run began with, where it is not what
    `reward.members.fresh` makes. Where labelers' habits are estimated first, that tells `preparing`
    how far it is, and does not compute what is `known` (by response id) of the features it needs.

    Raises:
        BadInput: there is nothing to learn from, or nothing held out that `patience` could watch.
        PrefloopError: the loss is not a number, or a checkpoint cannot be read.
        data.progress.Stopped: asked to stop; a checkpoint has been kept.
    """
    progress = progress or Silent()
    run = _begin(backbone, config, lora, seed, checkpoint_folder,            # 1 begin, or go on
                 partial(prepared, backbone, data, config, known,
                         preparing or Part(progress, 0.0, 0.0)),
                 begin or (lambda _: fresh(backbone, config, lora, seed, adapter)))
    try:
        while run.done < len(run.plan) and not _has_stopped(run, config):
            step = run.plan[run.done]
            run.scores = None
            figures = _update(run, step, config)                                  # 2 learn
            run.done += 1
            if step.ends_epoch:
                figures |= _held_out(run, step, config)                           # 3 measure
            progress.metrics(run.done, figures)
            if checkpoint_folder and run.done % config.checkpoint_every == 0:
                _keep(run, checkpoint_folder)                                     # 4 keep
            progress.update(_TRAINING * run.done / len(run.plan), _message(run, step, figures))
        if run.best:
            checkpoints.put_weights(run.model, run.best)
            run.scores = None
        if isinstance(run.model, Ensemble):
            run.model.centers = _centers(run.model, run.data, run.encoder)
        progress.update(_TRAINING, "measuring")
        report = evaluate(run.model, run.data, encoder=run.encoder, known=run.scores,       # 5
                          on_batch=lambda share: progress.update(
                              _TRAINING + (1 - _TRAINING) * share, "measuring"))
    except Stopped:
        if checkpoint_folder:
            _keep(run, checkpoint_folder)
        raise
    chosen = epoch_chosen(run.curve) if config.patience else {}
    return TrainedReward(run.model, {**report, **chosen, "train": _summary(run)}, run.data)


def learning_rate_at(step: int, steps: int, peak: float) -> float:
    """The rate of the step with this number (from 0): linear warm-up, then linear decay.

    Neither end is zero: every step learns something.
    """
    warm_up = max(1, round(_WARM_UP * steps))
    if step < warm_up:
        return peak * (step + 1) / warm_up
    return peak * (steps - step) / (steps - warm_up + 1)


def _begin(backbone: Backbone, config: RewardConfig, lora: LoraConfig, seed: int,
           checkpoint_folder: Path | None, prepare: Callable[[], PreferenceData],
           begin: Callable[[PreferenceData], checkpoints.Trainable]) -> _Run:
    if checkpoint_folder is None:
        data = prepare()
    else:
        settings = {**asdict(config), "seed": seed, "rank": lora.r, "alpha": lora.lora_alpha,
                    "checkpoint": backbone.folder, "precision": str(backbone.dtype)}
        data = checkpoints.begin(checkpoint_folder, prepare, settings)
    if config.patience and not count_pairs(data.held_out):
        raise BadInput("--patience: no compared pair is on a held-out prompt, so there is no "
                       "held-out loss to stop by; label tasks of held-out prompts, or set it to 0")
    model = begin(data)
    optimizer = AdamW([group for member in _members_of(model) for group in (
        {"params": member.adapter_parameters, "weight_decay": config.weight_decay},
        {"params": _head_parameters(member), "weight_decay": 0.0})],
        lr=config.learning_rate)
    done, curve, best = (checkpoints.resume(checkpoint_folder, model, optimizer)
                         if checkpoint_folder else (0, [], {}))
    return _Run(model, optimizer, draws(data, config, seed), data,
                mean_discount(data.train), Encoder(backbone, config.max_length), plan_steps(
                    data.train, config.epochs, config.responses_per_step, seed,
                    config.rankings == "plackett-luce"), done, curve, best)


def _keep(run: _Run, folder: Path) -> None:
    checkpoints.save(folder, run.done, run.model, run.optimizer, run.curve, run.best)


def _has_stopped(run: _Run, config: RewardConfig) -> bool:
    return 0 < config.patience <= run.epochs_without_gain


def _update(run: _Run, step: Step, config: RewardConfig) -> dict[str, Any]:
    """One optimizer step; returns its figures, which are means over the members."""
    rate = learning_rate_at(run.done, len(run.plan), config.learning_rate)
    for group in run.optimizer.param_groups:
        group["lr"] = rate
    loss, decided = 0.0, []
    examples = {i: unit.example for unit in step.units for i in unit.response_ids}
    for batch in microbatches(step.units, run.encoder, config.microbatch_tokens):
        share, differences = _backward_all(run, batch, examples,
                                           step.weight * run.mean_discount, config)
        loss += share
        decided += [d for d, p in zip(differences.tolist(), batch.pairs, strict=True)
                    if not p.is_tie]
    norm = _clipped(run.members, config.max_grad_norm)
    if not math.isfinite(loss) or not math.isfinite(norm):
        raise PrefloopError(f"step {run.done + 1}: the loss is not a number; nothing was saved of "
                            "this step; train again with a lower --learning-rate")
    run.optimizer.step()
    run.optimizer.zero_grad(set_to_none=True)
    return {"epoch": step.epoch + 1, "loss": loss, "accuracy": _share_right(decided),
            "pairs": len(decided), "learning_rate": rate, "gradient_norm": norm}


def _backward_all(run: _Run, batch: Microbatch, examples: dict[int, Example], weight: float,
                  config: RewardConfig) -> tuple[float, Tensor]:
    """`backward` for every member in turn, each with the pairs that it drew; returns the means of
    their losses and of their [P] differences."""
    found = [backward(scores_of, drawn_from(batch, draw), weight, config)
             for scores_of, draw in zip(_scorers(run, examples), run.draws, strict=True)]
    return (sum(loss for loss, _ in found) / len(found),
            torch.stack([differences for _, differences in found]).mean(0))


def _scorers(run: _Run, examples: dict[int, Example]) -> list[ScoresOf]:
    """Each member's way from responses to scores."""
    model, encoder = run.model, run.encoder
    if isinstance(model, TunedReward):
        return [lambda part: model.rewards([encoder.response(examples[i], i, model.question)
                                            for i in part])]

    def reading(scores_of: Callable[[Sequence[Sequence[int]]], Tensor]) -> ScoresOf:
        return lambda part: scores_of([encoder.ids(examples[i], i) for i in part])

    members = model.one_pass() if isinstance(model, Ensemble) else [model]
    return [reading(member.scores_of) for member in members]


def _members_of(model: checkpoints.Trainable) -> Sequence[RewardModel | TunedReward]:
    return model.members if isinstance(model, Ensemble) else [model]


def _head_parameters(member: RewardModel | TunedReward) -> list[torch.nn.Parameter]:
    """Of a tuned reward none: its head stays as it is."""
    return [] if isinstance(member, TunedReward) else list(member.head.parameters())


def _clipped(members: Sequence[RewardModel | TunedReward], max_norm: float) -> float:
    """Clip each member's gradient by itself; returns the mean of their norms before."""
    norms = [float(torch.nn.utils.clip_grad_norm_(
        [*member.adapter_parameters, *_head_parameters(member)], max_norm)) for member in members]
    return sum(norms) / len(norms)


def _centers(ensemble: Ensemble, data: PreferenceData, encoder: Encoder) -> list[float]:
    """Each member's mean score over the training responses."""
    ids = [encoder.ids(example, i) for example in data.train for i in example.texts]
    found: list[float] = (ensemble.member_scores_of_ids(ids).mean(axis=1)
                          + ensemble.centers).tolist()
    return found


def _held_out(run: _Run, step: Step, config: RewardConfig) -> dict[str, Any]:
    """Accuracy and cross-entropy on the held-out pairs so far; None where there are none."""
    scores = run.scores = score_responses(run.model, run.data.held_out, run.encoder)
    found = {"held_out_accuracy": _value(held_out_accuracy(run.data.held_out, scores)),
             "held_out_loss": _value(cross_entropy(run.data.held_out, scores)),
             "held_out_pairs": count_pairs(run.data.held_out)}
    if found["held_out_pairs"]:
        run.curve.append({"epoch": step.epoch + 1, "step": run.done, **found})
        if config.patience and run.epochs_without_gain == 0:
            run.best = {name: value.detach().clone()
                        for name, value in checkpoints.weights_of(run.model).items()}
    return found


def _summary(run: _Run) -> dict[str, Any]:
    responses = [i for example in run.data.train for i in example.texts]
    return {"steps": run.done, "planned_steps": len(run.plan), "curve": run.curve,
            **learned_from(run.data),
            "cut_responses": len(run.encoder.cut.intersection(responses))}


def _message(run: _Run, step: Step, figures: dict[str, Any]) -> str:
    return (f"step {run.done}/{len(run.plan)}, epoch {step.epoch + 1}: "
            f"loss {figures['loss']:.3f}")


def _share_right(differences: Iterable[float]) -> float | None:
    won = [1.0 if d > 0 else 0.5 if d == 0 else 0.0 for d in differences]
    return sum(won) / len(won) if won else None


def _value(estimate: Estimate | None) -> float | None:
    return None if estimate is None else estimate.value
