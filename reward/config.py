"""Settings of reward model training. Free of torch, so that `--help` is quick."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from data.errors import BadInput
from data.limits import above_zero, at_least, one_of

#: Characters of the question about a response: it is read after each of them.
LONGEST_QUESTION = 300


@dataclass(frozen=True)
class RewardConfig:
    """How a reward model version is trained."""

    form: Literal["best", "lora", "linear", "tuned"] = "best"
    """What the version is. best: the best of the LoRA model, a linear head on frozen features and
    both together, chosen by a part of the training prompts that is kept from training; the linear
    head where there are too few to choose by. lora: the LoRA model, trained on all of them, as an
    ensemble always is. linear: the head alone, for which every response is read once. tuned: a
    linear head whose features LoRA on a few blocks has moved, which takes a fraction of the LoRA
    model's time."""

    tuned_blocks: int = 8
    """Blocks that get an adapter where the form is tuned: so many, up to the deepest layer that
    the linear head reads."""

    tuned_features: Literal["chosen", "early", "middle", "basic", "asked"] = "chosen"
    """Features that the tuned form begins from. chosen: what the labels say is best, and a middle
    layer's mean where they cannot tell; early, middle, basic, asked: these (docs/reward-model.md),
    and the blocks above what they read are never run."""

    question: str = "What is wrong with that answer?"
    """What the checkpoint is asked about each response before a linear head reads its state, the
    linear head's part of every form and the instant model: best in the words of what labelers
    judge ("How convincing is this argument?"); empty: nothing is asked."""

    selection_share: float = 0.2
    """Share of the training prompts that the form is chosen by, where there are enough of them."""

    members: int = 1
    """Reward models that are trained side by side as one version, an ensemble, whose members'
    disagreement says where none of them knows; 1: a single model."""

    resample: bool = True
    """Whether each member of an ensemble learns from comparisons drawn anew (the bootstrap); else
    members differ by their random beginnings alone."""

    shared_blocks: int = 0
    """Blocks of the checkpoint, from below, that no member of an ensemble changes, and that are
    computed once for all of them: members then cost that much less time."""

    epochs: int = 3
    """Passes over the training comparisons."""

    responses_per_step: int = 32
    """Responses encoded in one optimizer step, each once; every pair among them counts. A prompt
    with up to a quarter more stays whole, and with plackett-luce every ranking does."""

    learning_rate: float = 3e-4
    """AdamW's peak learning rate, reached by a linear warm-up over the first tenth of the steps and
    left by a linear decay to zero."""

    weight_decay: float = 0.01
    """AdamW's weight decay on the adapter; the score head has none."""

    margin_per_strength: float = 0.0
    """Margin subtracted from the reward difference per level of strength above 1 (Llama 2's
    margin loss); 0 switches it off."""

    label_smoothing: float = 0.0
    """Share of decided labels that is taken to be wrong, so that rewards do not grow without end
    where labels are noisy: 0.1, say; 0 switches it off."""

    centering: float = 0.0
    """Weight of the squared sum of a pair's two rewards, which holds rewards near 0 on every prompt
    (0.01, say), where their level matters and not only their order; 0 switches it off."""

    round_weight: float = 1.0
    """How much an answer counts in training beside one of the round after it: 0.5, say, where the
    policy or the guidelines have moved on. Imported answers count as the oldest round's. 1: all
    rounds count alike."""

    correct_reliability: bool = False
    """Estimate how often each labeler judges by what the others reward, and believe those who
    seldom do less: for crowds in which some answer at random or the wrong way round."""

    correct_side: bool = False
    """Estimate what being shown first (left) is worth to labelers, and keep it out of the reward:
    where the share of answers for the first side is not one half."""

    correct_length: bool = False
    """Estimate what length by itself is worth to labelers, and keep it out of the reward: where
    their love of length is known to be a habit, since it takes what is right about it too."""

    rankings: Literal["pairs", "plackett-luce"] = "pairs"
    """What a ranking of several responses counts as: all its pairs, or a choice of the best, of the
    best of the rest and so on (Plackett-Luce). Of two responses both say the same."""

    max_length: int = 1024
    """Longest conversation in tokens; longer ones lose their oldest turns."""

    microbatch_tokens: int = 2048
    """Tokens in one forward and backward pass (padding included, what texts share only once),
    which bounds memory; gradients add up to the whole step exactly."""

    patience: int = 0
    """Stop after so many epochs in which the held-out loss did not fall below its best, and keep
    the best epoch's weights; 0 trains to the end. The held-out figures of a model that was chosen
    by them, and the gate's word on it, are better than it is, the more so the more epochs."""

    max_grad_norm: float = 1.0
    """Gradients are clipped to this norm."""

    checkpoint_every: int = 20
    """Steps between checkpoints that a killed run resumes from."""

    def __post_init__(self) -> None:
        at_least(self, 1, "members", "tuned_blocks", "epochs", "responses_per_step", "max_length",
                 "microbatch_tokens", "checkpoint_every")
        above_zero(self, "learning_rate", "max_grad_norm")
        at_least(self, 0, "margin_per_strength", "centering", "weight_decay", "patience",
                 "shared_blocks")
        one_of(self, "form", "best", "lora", "linear", "tuned")
        one_of(self, "tuned_features", "chosen", "early", "middle", "basic", "asked")
        one_of(self, "rankings", "pairs", "plackett-luce")
        if self.tuned_features == "asked" and not self.question:
            raise BadInput("--tuned-features: asked needs a question; set --question, or --tuned-"
                           "features to basic")
        if (len(self.question) > LONGEST_QUESTION or not self.question.isprintable()
                or self.question != self.question.strip()):
            raise BadInput(f"--question: must be one line of at most {LONGEST_QUESTION} "
                           "characters, without spaces around it")
        if self.form in ("linear", "tuned") and self.members > 1:
            raise BadInput(f"--members: an ensemble is not made of {self.form} rewards; leave it "
                           "out, or set --form to lora")
        if not 0 < self.selection_share < 1:
            raise BadInput("--selection-share: must be between 0 and 1, "
                           f"not {self.selection_share}")
        if not 0 <= self.label_smoothing < 0.5:
            raise BadInput("--label-smoothing: must be at least 0 and below 0.5, "
                           f"not {self.label_smoothing}")
        if not 0 < self.round_weight <= 1:
            raise BadInput("--round-weight: must be above 0 and at most 1, "
                           f"not {self.round_weight}")
        if self.rankings == "plackett-luce" and self.label_smoothing:
            raise BadInput("--label-smoothing: a ranking as a whole is no label that may be wrong; "
                           "set it to 0, or --rankings to pairs")
        if self.rankings == "plackett-luce" and self.corrects:
            raise BadInput(f"--correct-{self.corrects[0]}: the likelihood of a ranking as a whole "
                           "has no term for it; leave it out, or set --rankings to pairs")
        if self.rankings == "plackett-luce" and self.margin_per_strength > 0:
            raise BadInput("--margin-per-strength: a ranking as a whole has no strength; set it to "
                           "0, or --rankings to pairs")
        if self.shared_blocks and self.members == 1:
            raise BadInput("--shared-blocks: only an ensemble shares blocks; set it to 0, or "
                           "--members to 2 or more")
        if self.responses_per_step < 2:
            raise BadInput("--responses-per-step: must be at least 2, to hold a pair")

    @property
    def corrects(self) -> tuple[str, ...]:
        """The habits of labelers that are estimated and kept out of the reward."""
        return tuple(name for name in ("reliability", "side", "length")
                     if getattr(self, f"correct_{name}"))
