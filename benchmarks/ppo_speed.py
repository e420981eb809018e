"""PPO side by side with TRL 1.12's PPOTrainer, in turns of one step each, on the embedded model.

Both: 32 prompts x 48 new tokens a step, 4 epochs x 1 minibatch, LoRA of rank 16 on all linear
layers of policy and value model, the same prompts as the same token ids, the same fixed reward (the
checkpoint under one random score head), the same learning rate. Each takes the microbatches that
suit it, which change no result: ours of 16, TRL of 8 (of 16 it takes as long, and twice the
memory). TRL takes no activation checkpointing, and the faster of bf16 and fp32 (`--quick`: that of
the faster matrix products). `reward` and `reward_trl`: the mean score of the responses of the last
step that both have done, by one judge. `floor_ratio`: our seconds a step over the seconds that the
floating-point operations needed take at the matrix rate measured here. In full, five seeds of 40
steps of TRL against our own settings: `time_to_reward_ratio` is TRL's time over the time in which
we first reach its last reward (median, least and most of the seeds); with `--quick` that key is
left out. That takes hours: with `--keep FOLDER` what is done is kept there, seed by seed and side
by side, and a run that was ended goes on from there. Needs `make peers`.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from benchmarks.harness import (
    Figure,
    exact,
    flags,
    median_ratio,
    peer_precisions,
    rate,
    say,
    show,
    spread,
)
from benchmarks.machine_rates import matrix_rate
from benchmarks.turns import Contender

ROOT = Path(__file__).resolve().parents[1]
PEER = ROOT / ".venv-peers" / "bin" / "python"
SETTINGS: dict[str, Any] = {
    "responses": 32, "new_tokens": 48, "epochs": 4, "rank": 16, "alpha": 32,
    "temperature": 0.7, "kl_coefficient": 0.05, "gamma": 1.0, "gae_lambda": 0.95,
    "clip_range": 0.2, "value_clip_range": 0.2, "learning_rate": 3e-4, "update_kl_stop": 0.0,
    "value_training": "adapter", "seed": 0, "pad_token": "<|endoftext|>", "max_length": 1024,
    "ours_in": "auto", "gradient_checkpointing": False, "shape": ""}
MICROBATCH = {"ours": 16, "trl": 8}
#: What we would choose ourselves: bolder steps, fewer passes, a value head on fixed features.
OWN_SETTINGS = {"epochs": 2, "learning_rate": 1e-3, "value_training": "head",
                "update_kl_stop": 0.1}
#: Steps that are timed, after the first, which warms up.
TIMED_QUICK, TIMED, LEARNING_STEPS, SEEDS = 2, 5, 40, 5
#: Steps over which a reward is averaged where it is reached or not.
WINDOW = 5
#: A turn is at least so long, so exactly one step.
TURN = 0.1


def job_of(folder: Path, **changed: Any) -> dict[str, Any]:
    """All that either side needs, as JSON can hold it."""
    from safetensors.torch import save_file

    from backbone.checkpoint import resolve
    from backbone.config import EMBEDDED

    head = folder / "head.safetensors"
    if not head.exists():
        save_file({"weight": _judge().head.weight.detach().contiguous()}, head)
    return {**SETTINGS, **asked(resolve(EMBEDDED)), "head": str(head), **changed}


def asked(checkpoint: str) -> dict[str, Any]:
    """The checkpoint, and the starter prompts as it reads them."""
    from backbone.checkpoint import load_tokenizer
    from backbone.text import prompt_ids

    tokenizer, messages = load_tokenizer(checkpoint), prompts()
    return {"checkpoint": checkpoint, "threads": os.cpu_count(), "messages": messages,
            "ids": [prompt_ids(tokenizer, m) for m in messages]}


def _judge() -> Any:
    from backbone.config import EMBEDDED, ModelConfig
    from backbone.model import Backbone
    from reward.model import RewardModel

    backbone = Backbone.load(EMBEDDED, ModelConfig())
    lora = backbone.new_lora_config(SETTINGS["rank"], SETTINGS["alpha"])
    return RewardModel.fresh(backbone, lora, SETTINGS["max_length"])


def contender(job: dict[str, Any], folder: Path, name: str) -> Contender:
    """One side (ours or trl), not started."""
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"microbatch": MICROBATCH[name], **job}), "utf-8")
    python, module = ((str(PEER), "benchmarks.peer_trl_ppo") if name == "trl"
                      else (sys.executable, "benchmarks.our_ppo"))
    return Contender([python, "-m", module, str(path)])


def side_by_side(job: dict[str, Any], folder: Path) -> tuple[Contender, Contender]:
    """Ours and TRL's, step by step in turns; each has its result."""
    ours, theirs = contender(job, folder, "ours"), contender(job, folder, "trl")
    try:
        for side in (ours, theirs):
            side.start()
        while ours.result is None or theirs.result is None:
            for side in (ours, theirs):
                if side.result is None:
                    side.turn(TURN)
    finally:
        for side in (ours, theirs):
            side.stop()
    say(f"samples/s: ours {ours.rates()}, TRL in {job['precision']} {theirs.rates()}")
    return ours, theirs


def figures_of(ours: Contender, theirs: Contender, judge: Any) -> dict[str, Figure]:
    """Speed, memory and reward of both, and our seconds by phase."""
    assert ours.result is not None and theirs.result is not None
    found = {
        "speed_ratio": median_ratio(ours.rates(), theirs.rates()),
        "memory_ratio": exact(ours.peak_gb / theirs.peak_gb)}
    last = min(len(side.result["steps"]) for side in (ours, theirs) if side.result) - 1
    for side, who in ((ours, ""), (theirs, "_trl")):
        assert side.result is not None
        found[f"samples_per_s{who}"] = rate(1.0, [1 / speed for speed in side.rates()])
        found[f"peak_gb{who}"] = exact(side.peak_gb)
        found[f"reward{who}"] = _reward(judge, side.result["steps"][last]["scored"])
    timed = ours.result["steps"][1:]
    for phase in timed[0]["phases"]:
        found[phase] = spread([step["phases"][phase] for step in timed])
    floor = floor_seconds(timed[-1]["scored"], judge.backbone)
    found["floor_seconds"] = exact(floor)
    found["floor_ratio"] = spread([step["seconds"] / floor for step in timed])
    return found


def _scores(judge: Any, scored: Sequence[Sequence[Any]], messages: Sequence[Any]) -> list[float]:
    return list(judge.score([[*messages[number], {"role": "assistant", "content": text}]
                             for number, text in scored]))


def prompts() -> list[Any]:
    """The messages of the starter prompts."""
    lines = (files("data") / "starter_prompts.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line)["messages"] for line in lines]


def _reward(judge: Any, scored: Sequence[Sequence[Any]]) -> Figure:
    """Mean score with its 95 % interval over responses."""
    from data.measures.statistics import mean

    found = mean(_scores(judge, scored, prompts()))
    assert found is not None
    return {"value": found.value, "low": found.low, "high": found.high, "n": found.n}


def floor_seconds(scored: Sequence[Sequence[Any]], backbone: Any) -> float:
    """A step's floating-point operations over the matrix rate measured here.

    2 P a token and pass (P: the weights of all linear layers), and as much again for its gradient,
    since the weights are frozen. Passes: sampling, old log-probabilities, reference, value and
    reward; and in each epoch policy and value with their gradients. The vocabulary's projection is
    counted for response tokens alone; attention and LoRA are not counted, nor is anything saved by
    encoding once what prompts share.
    """
    from torch import nn

    from backbone.text import prompt_ids

    messages, tokenizer = prompts(), backbone.tokenizer
    answers = sum(min(len(tokenizer(text)["input_ids"]) + 1, SETTINGS["new_tokens"])
                  for _, text in scored)
    tokens = answers + sum(len(prompt_ids(tokenizer, messages[n])) for n, _ in scored)
    weights = sum(module.weight.numel() for name, module in backbone.trunk.named_modules()
                  if isinstance(module, nn.Linear) and "lora_" not in name)
    head = backbone.language_model.lm_head.weight.numel()
    epochs = SETTINGS["epochs"]
    operations = (2 * weights * tokens * (5 + 2 * 2 * epochs)
                  + 2 * head * answers * (3 + 2 * epochs))
    return float(operations / matrix_rate(backbone.dtype))


def time_to_reward(folder: Path, kept: Path, precision: str, judge: Any) -> Figure:
    """TRL's time for its 40 steps over our time, by our settings, to its reward at their end."""
    ratios = []
    for seed in range(SEEDS):
        job = job_of(folder, steps=LEARNING_STEPS, precision=precision, seed=seed)
        theirs = kept_steps(kept, job, folder, "trl")
        ours = kept_steps(kept, {**job, **OWN_SETTINGS}, folder, "ours")
        ratio, reached, wanted = ratio_of(_curve(judge, theirs), [s["seconds"] for s in theirs],
                                          _curve(judge, ours), [s["seconds"] for s in ours])
        ratios.append(ratio)
        say(f"seed {seed}: TRL's reward {wanted:.3f} after {reached} steps, {ratio:.1f} times as "
            "quick")
    return spread(ratios)


def ratio_of(their_rewards: Sequence[float], their_seconds: Sequence[float],
             our_rewards: Sequence[float], our_seconds: Sequence[float]
             ) -> tuple[float, int, float]:
    """Their time over ours to the reward of their last steps, our steps to it, and that reward.

    A reward is the mean over WINDOW steps, of theirs the last ones.

    Raises:
        SystemExit: it was not reached.
    """
    wanted = statistics.fmean(their_rewards[-WINDOW:])
    for n in range(WINDOW, len(our_rewards) + 1):
        if statistics.fmean(our_rewards[n - WINDOW:n]) >= wanted:
            return sum(their_seconds) / sum(our_seconds[:n]), n, wanted
    raise SystemExit(f"TRL's reward of {wanted:.3f} was not reached in {len(our_rewards)} steps, "
                     "so there is no time to it")


def kept_steps(kept: Path, job: dict[str, Any], folder: Path, name: str) -> list[dict[str, Any]]:
    """The steps of one side, which nothing else waits for, made now or by a run before."""
    path = kept / f"{name}-{job['seed']}.json"
    told = {key: job[key] for key in (*SETTINGS, "steps", "precision")}
    if not path.exists():
        steps = alone(contender(job, folder, name), name)
        path.write_text(json.dumps({"job": told, "steps": steps}), "utf-8")
    found = json.loads(path.read_text("utf-8"))
    if found["job"] != told:
        raise SystemExit(f"{path}: was made with other settings; name another folder")
    taken: list[dict[str, Any]] = found["steps"]
    return taken


def alone(side: Contender, name: str) -> list[dict[str, Any]]:
    """The steps of one side, which nothing else waits for; each is said as it ends."""
    try:
        side.start()
        while side.result is None:
            side.turn(TURN)
            if side.result is None:
                say(f"{name}: {len(side.turns)} steps timed, {side.turns[-1].seconds:.0f} s")
    finally:
        side.stop()
    assert side.result is not None
    steps: list[dict[str, Any]] = side.result["steps"]
    return steps


def _curve(judge: Any, steps: Sequence[dict[str, Any]]) -> list[float]:
    """The mean score of each step's responses."""
    messages = prompts()
    return [statistics.fmean(_scores(judge, step["scored"], messages)) for step in steps]


UNITS = {"speed_ratio": "samples/s, ours to TRL's", "memory_ratio": "peak memory, ours to TRL's",
         "samples_per_s": "ours: samples/s", "samples_per_s_trl": "TRL: samples/s",
         "peak_gb": "ours: peak memory, GB", "peak_gb_trl": "TRL: peak memory, GB",
         "reward": "ours: reward at equal samples", "reward_trl": "TRL: reward at equal samples",
         "seconds_generate": "ours: seconds to generate",
         "seconds_update": "ours: seconds to update",
         "seconds_evaluate": "ours: seconds to score and evaluate",
         "floor_seconds": "floor, seconds a step", "floor_ratio": "our step to the floor",
         "time_to_reward_ratio": "time to TRL's reward, TRL's to ours"}


def main() -> None:
    """Both sides, and in full the time to TRL's reward."""
    given = flags(__doc__ or "", keep=True)
    if not PEER.is_file():
        raise SystemExit(f"{PEER}: not there; run `make peers` first")
    timed = TIMED_QUICK if given.quick else TIMED
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        runs = {precision: side_by_side(job_of(folder, steps=1 + timed, precision=precision),
                                        folder) for precision in peer_precisions(given.quick)}
        best = max(runs, key=lambda p: statistics.median(runs[p][1].rates()))
        judge = _judge()
        figures = figures_of(*runs[best], judge)
        if given.quick:
            say("time_to_reward_ratio takes hours and is left out with --quick")
        else:
            kept = given.keep or folder
            kept.mkdir(parents=True, exist_ok=True)
            figures["time_to_reward_ratio"] = time_to_reward(folder, kept, best, judge)
    show(figures, UNITS, given.json)


if __name__ == "__main__":
    main()
