"""Settings of sampling, PPO and best-of-n. Free of torch, so that `--help` is quick."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from data.errors import BadInput
from data.limits import above_zero, at_least, one_of
from policy.server_address import check_address

ENSEMBLE_SCORES = ("mean", "worst", "variance-penalised")


def _check_stop(texts: list[str]) -> None:
    if "" in texts:
        raise BadInput("--stop: an empty text would end every response at once; leave it out")


@dataclass(frozen=True)
class SampleConfig:
    """How responses are sampled."""

    responses: int = 2
    """Responses to each prompt (K), 2 to 9."""

    prompts: int = 64
    """Prompts taken for a round; 0: all of them."""

    evaluate_share: float = 0.25
    """Share of the round's tasks that set the new policy against the reference, on held-out
    prompts; in the first round there is nothing to compare."""

    wanted: int = 1
    """Labels wanted for each task."""

    max_new_tokens: int = 96
    """Longest response in tokens."""

    temperature: float = 0.7
    """Sampling temperature of what labelers read; PPO and best-of-n have their own."""

    batch_size: int = 16
    """Sequences sampled together; with a server, requests that are under way at a time."""

    stop: list[str] = field(default_factory=list)
    """Texts that end a response, besides the tokenizer's end-of-sequence token."""

    server: str = ""
    """Address of an OpenAI-compatible server that samples in place of this process, such as vLLM's
    http://127.0.0.1:8000/v1; empty: none. Its API key is read from PREFLOOP_SERVER_KEY in the
    environment."""

    server_model: str = ""
    """Name under which the server knows the checkpoint; empty: the checkpoint's folder or hub id,
    as vLLM names it."""

    server_workspace: str = ""
    """The workspace's folder as the server sees it, which loads adapters from there; empty: the
    same path as here."""

    server_timeout: float = 300.0
    """Seconds within which the server must have answered a request."""

    def __post_init__(self) -> None:
        if not 2 <= self.responses <= 9:
            raise BadInput("--responses: labelers compare 2 to 9 responses of a prompt, "
                           f"not {self.responses}")
        at_least(self, 0, "prompts")
        at_least(self, 1, "wanted", "max_new_tokens", "batch_size")
        _check_stop(self.stop)
        above_zero(self, "temperature", "server_timeout")
        if self.server:
            check_address(self.server)
        if not 0 <= self.evaluate_share <= 1:
            raise BadInput(f"--evaluate-share: must be 0 to 1, not {self.evaluate_share}")


@dataclass(frozen=True)
class PPOConfig:
    """How a policy version is improved against a reward model (Ziegler et al. 2019)."""

    steps: int = 30
    """Rollouts, each followed by `epochs` passes of updates."""

    batch_size: int = 32
    """Responses sampled a step."""

    responses: int = 1
    """Responses to each of a step's prompts. What they share is computed once, so more of them make
    a step quicker, of fewer prompts."""

    minibatch_size: int = 32
    """Responses that share one optimizer step."""

    microbatch_size: int = 16
    """Responses in one forward and backward pass; gradients add up to a minibatch exactly."""

    epochs: int = 2
    """Passes over each rollout."""

    max_new_tokens: int = 48
    """Longest response in tokens."""

    temperature: float = 0.7
    """Temperature of sampling and of all log-probabilities (old, new and reference); what labelers
    read has its own."""

    learning_rate: float = 3e-4
    """AdamW's learning rate for the policy's adapter."""

    value_learning_rate: float = 3e-4
    """AdamW's learning rate for the value model's adapter and head."""

    learning_rate_decay: Literal["none", "linear"] = "none"
    """Whether both learning rates stay as they are, or fall to 0 with the last step."""

    value_training: Literal["adapter", "head"] = "adapter"
    """What of the value model is trained: its adapter and head, or the head alone, on features of
    the reward model that are computed once a rollout; that saves a third of a step's time."""

    gamma: float = 1.0
    """Discount a token."""

    gae_lambda: float = 0.95
    """Lambda of generalized advantage estimation (Schulman et al. 2016)."""

    clip_range: float = 0.2
    """The probability ratio is clipped to 1 ± this."""

    value_clip_range: float = 0.2
    """New values are clipped to the old ones ± this."""

    kl_coefficient: float = 0.05
    """Beta of the per-token KL reward; where adaptive it is the start."""

    kl_penalty: Literal["k1", "exact"] = "k1"
    """How the KL is taken at each token: from the sampled token alone (log π − log π_ref), or over
    the whole vocabulary, which measures the KL with less noise and takes more time."""

    kl_target: float = 0.0
    """KL to the reference, in nats a response, that an adaptive coefficient steers to; 0: the
    coefficient is fixed."""

    kl_horizon: int = 10_000
    """Responses over which the adaptive coefficient reacts."""

    kl_stop: float = 0.0
    """End training when a step's KL to the reference exceeds this many nats; 0: never."""

    update_kl_stop: float = 0.1
    """Skip a rollout's remaining updates when the policy has moved this far from the one that
    sampled it (approximate KL a token); 0: never."""

    missing_eos_penalty: float = 0.0
    """Subtracted from the reward of a response that was cut off before it ended."""

    reward_clip: float = 10.0
    """Rewards (after subtracting the reference's mean and dividing by its spread) are clipped to
    ± this; 0: not clipped."""

    credit: Literal["tokens", "end"] = "tokens"
    """Where a response's reward is paid. tokens: to each token what it brings, as far as the reward
    model can tell (a linear head, a tuned reward); end: all of it to the last token."""

    whiten_advantages: bool = True
    """Whether a rollout's advantages are shifted and scaled to mean 0 and variance 1."""

    max_grad_norm: float = 1.0
    """Gradients are clipped to this norm, policy and value each."""

    checkpoint_every: int = 5
    """Steps between checkpoints that a killed run resumes from."""

    probe_every: int = 5
    """Steps between answers to a few fixed prompts, shown beside the reference's; 0: never."""

    ensemble_score: Literal["mean", "worst", "variance-penalised"] = "mean"
    """What is optimised where the reward model is an ensemble: its members' mean, the worst of
    them, or the mean less `variance_penalty` times their variance (Coste et al. 2023); the careful
    ones are not taken in where one member alone is."""

    variance_penalty: float = 1.0
    """λ of the variance-penalised score, in 1 / logits."""

    judges: int = 2
    """Further reward models of the workspace, the newest first, that are asked about every response
    and not obeyed: what they think of it says what the one that is obeyed cannot; 0: none."""

    keep_every: int = 5
    """Updated steps between policies that are kept; the best of them and of the last one is the new
    version, by what the judges grant it at least; 0: the last is, whatever it is worth."""

    kl_budget: float = 0.0
    """The new version is the best policy within this KL to the reference, in nats a response, or
    the nearest where none is within; 0: no limit."""

    stop_on_alarm: bool = False
    """End training when the alarm for over-optimisation sounds; it is shown in any case."""

    stop: list[str] = field(default_factory=list)
    """Texts that end a response, besides the tokenizer's end-of-sequence token."""

    def __post_init__(self) -> None:
        at_least(self, 1, "steps", "batch_size", "responses", "minibatch_size", "microbatch_size",
                 "epochs", "max_new_tokens", "checkpoint_every", "kl_horizon")
        above_zero(self, "temperature", "learning_rate", "value_learning_rate", "clip_range",
                   "value_clip_range", "max_grad_norm")
        at_least(self, 0, "kl_coefficient", "kl_target", "kl_stop", "update_kl_stop",
                 "missing_eos_penalty", "reward_clip", "probe_every", "judges", "keep_every",
                 "kl_budget", "variance_penalty")
        one_of(self, "ensemble_score", *ENSEMBLE_SCORES)
        _check_stop(self.stop)
        one_of(self, "learning_rate_decay", "none", "linear")
        one_of(self, "kl_penalty", "k1", "exact")
        one_of(self, "credit", "tokens", "end")
        one_of(self, "value_training", "adapter", "head")
        for name in ("gamma", "gae_lambda"):
            if not 0 <= getattr(self, name) <= 1:
                raise BadInput(f"--{name.replace('_', '-')}: must be 0 to 1, "
                               f"not {getattr(self, name)}")
        if self.batch_size % self.minibatch_size:
            raise BadInput(f"--minibatch-size: {self.minibatch_size} does not divide "
                           f"--batch-size {self.batch_size}")
        if self.minibatch_size % self.responses:
            raise BadInput(f"--responses: {self.responses} to a prompt do not divide "
                           f"--minibatch-size {self.minibatch_size}")
        if self.kl_budget and not self.keep_every:
            raise BadInput("--kl-budget: only kept policies can be chosen by it; set --keep-every "
                           "to 1 or more")
        if self.kl_target and not self.kl_coefficient:
            raise BadInput("--kl-target: it is steered to by multiplying --kl-coefficient, which "
                           "has to start above 0")
        if 0 < self.kl_stop <= self.kl_target:
            raise BadInput(f"--kl-stop: {self.kl_stop} would end training before the KL is at "
                           f"--kl-target {self.kl_target}; set it higher, or one of the two to 0")


@dataclass(frozen=True)
class BestOfNConfig:
    """Rejection sampling: the reward model's best of n responses to each prompt,
    then supervised fine-tuning on the winners."""

    n: int = 8
    """Responses sampled for each prompt."""

    prompts: int = 64
    """Training prompts; 0: all of them."""

    max_new_tokens: int = 48
    """Longest response in tokens."""

    temperature: float = 0.7
    """Sampling temperature; the winners' likelihood, which is learned, is at the same."""

    batch_size: int = 32
    """Sequences sampled together."""

    epochs: int = 2
    """Passes over the winners."""

    learning_rate: float = 2e-4
    """AdamW's peak learning rate for the policy's adapter."""

    ensemble_score: Literal["mean", "worst", "variance-penalised"] = "mean"
    """By what the best is chosen where the reward model is an ensemble, as in PPO."""

    variance_penalty: float = 1.0
    """λ of the variance-penalised score, in 1 / logits."""

    microbatch_size: int = 16
    """Responses in one forward and backward pass, and in one optimizer step."""

    max_grad_norm: float = 1.0
    """Gradients are clipped to this norm."""

    checkpoint_every: int = 20
    """Fine-tuning steps between checkpoints that a killed run resumes from."""

    def __post_init__(self) -> None:
        if self.n < 2:
            raise BadInput(f"--n: best of {self.n} is no choice; give at least 2")
        at_least(self, 0, "prompts", "variance_penalty")
        one_of(self, "ensemble_score", *ENSEMBLE_SCORES)
        at_least(self, 1, "max_new_tokens", "batch_size", "epochs", "microbatch_size",
                 "checkpoint_every")
        above_zero(self, "temperature", "learning_rate", "max_grad_norm")
