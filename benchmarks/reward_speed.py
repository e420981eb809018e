"""Reward training side by side with TRL's RewardTrainer, in turns of some seconds each.

The embedded model, LoRA of rank 16 on all linear layers, the same texts as the same token ids, the
same pairs, epochs, learning rate and sequence limit. TRL takes 16 pairs a step, in passes of 4,
which pad least, and without activation checkpointing, which would slow it; it gets the faster of
bf16 and fp32 (`--quick`: that of the faster matrix products). `hh`: HH-RLHF harmless, where no two
pairs share a response; we take 32 responses a step, which is the same. `ukp`: UKPConvArg1Strict,
where a topic's few texts stand in hundreds of pairs; we take 16 responses a step, which is some 40
pairs. `*_ratio`: pairs a second, ours to TRL's; `memory_ratio`: the processes' peak resident
memory, the worse of both data sets; `*_ratio_recomputed` and `memory_ratio_recomputed`: the same
with our `gradient_checkpointing`, which gives up speed for memory. tokens/s are those of the texts
as each side encodes them, without padding. Accuracy is on prompts (topics) that nobody has seen.
Needs `make peers`.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import (
    Figure,
    exact,
    flags,
    median_ratio,
    peer_precisions,
    rate,
    say,
    show,
)
from benchmarks.human_data import FIRST, SECOND, Pairs, arguments, harmless
from benchmarks.turns import Contender
from data.measures.statistics import clustered_mean

ROOT = Path(__file__).resolve().parents[1]
PEER = ROOT / ".venv-peers" / "bin" / "python"
#: Seconds of a turn. Ours are shorter: many of our steps fit into one of TRL's.
TURN, OUR_TURN = 12.0, 4.0
PROBE_SECONDS = 40.0
SETTINGS = {"learning_rate": 3e-4, "pairs_per_step": 16, "pairs_per_pass": 4, "warm_up": 0.1,
            "max_length": 1024, "checkpointing": False, "seed": 0, "rank": 16, "alpha": 32}
#: Dialogues trained on and tested on with `--quick`.
QUICK_DIALOGUES, QUICK_TESTED = 96, 48
#: Topics trained on with `--quick`, and tested on; in full the last quarter is tested on.
QUICK_TOPICS, QUICK_TESTED_TOPICS = (15, 20), (0, 14)
EPOCHS = {"hh": 2, "ukp": 1}
RESPONSES_PER_STEP = {"hh": 32, "ukp": 16}


@dataclass(frozen=True)
class Task:
    """What both train on, and the pairs that they are tested on."""

    name: str
    pairs: Pairs
    trained: list[tuple[int, int]]
    """(chosen, rejected) texts."""
    tested: list[tuple[int, int]]
    groups: list[int]
    """Prompt or topic of each pair that is tested on."""
    epochs: int


def tasks(quick: bool) -> list[Task]:
    """Both data sets, split by prompt."""
    hh, ukp = harmless(QUICK_DIALOGUES + QUICK_TESTED if quick else None), arguments()
    held = max(int(hh.groups.max()) // 5, 1) if not quick else (
        int(hh.groups.max()) + 1) * QUICK_TESTED // (QUICK_DIALOGUES + QUICK_TESTED)
    # Spread over the file: the dialogues of a stretch of it are alike.
    order = np.random.default_rng(0).permutation(int(hh.groups.max()) + 1)
    topics = range(int(ukp.groups.max()) + 1)
    trained = QUICK_TOPICS if quick else topics[:-len(topics) // 4]
    tested = QUICK_TESTED_TOPICS if quick else topics[-len(topics) // 4:]
    return [_task("hh", hh, order[held:].tolist(), order[:held].tolist(), quick),
            _task("ukp", ukp, trained, tested, quick)]


def _task(name: str, pairs: Pairs, trained: Sequence[int], tested: Sequence[int],
          quick: bool) -> Task:
    used = pairs.strict & ((pairs.gold == FIRST) | (pairs.gold == SECOND))
    train, test = (np.flatnonzero(used & np.isin(pairs.groups, list(groups)))
                   for groups in (trained, tested))
    return Task(name, pairs, _sides(pairs, train), _sides(pairs, test),
                pairs.groups[test].tolist(), 1 if quick else EPOCHS[name])


def _sides(pairs: Pairs, which: Any) -> list[tuple[int, int]]:
    """(chosen, rejected) of these pairs."""
    return [(int(a), int(b)) if gold == FIRST else (int(b), int(a)) for a, b, gold in zip(
        pairs.first[which], pairs.second[which], pairs.gold[which], strict=True)]


def job_of(task: Task) -> dict[str, Any]:
    """All that either side needs, as JSON can hold it."""
    from backbone.checkpoint import load_config, load_tokenizer, resolve
    from backbone.config import EMBEDDED
    from backbone.text import conversation_ids
    from data.records import Message

    tokenizer = load_tokenizer(EMBEDDED)
    pad = load_config(EMBEDDED).pad_token_id
    prompts: dict[Any, int] = {}
    texts = task.pairs.texts
    ids = [conversation_ids(
        tokenizer, [*t.turns(), Message(role="assistant", content=t.response)],
        int(SETTINGS["max_length"]), pad)[0] for t in texts]
    return {**SETTINGS, "checkpoint": resolve(EMBEDDED), "epochs": task.epochs, "ids": ids,
            "responses_per_step": RESPONSES_PER_STEP[task.name],
            "threads": os.cpu_count(), "recomputes": False,
            "messages": [t.messages for t in texts],
            "responses": [t.response for t in texts],
            "prompts": [prompts.setdefault(t.messages, len(prompts)) for t in texts],
            "pairs": task.trained, "scored": sorted({i for pair in task.tested for i in pair})}


def measure(task: Task, precisions: Sequence[str], folder: Path) -> dict[str, Figure]:
    """Both trained side by side."""
    job = job_of(task)
    precision = _faster(job, precisions, folder)
    sides = {"": _ours(job, folder, "ours"),
             "_recomputed": _ours({**job, "recomputes": True}, folder, "ours-recomputed"),
             "_trl": _peer({**job, "precision": precision}, folder)}
    say(f"{task.name}: {len(task.trained):,} pairs, TRL in {precision} ...")
    try:
        for side in sides.values():
            side.start()
        while sides["_trl"].result is None:
            for who, side in sides.items():
                side.turn(TURN if who == "_trl" else OUR_TURN)
        for side in sides.values():
            side.end()
        return _figures(task, job, sides)
    finally:
        for side in sides.values():
            side.stop()


def _faster(job: dict[str, Any], precisions: Sequence[str], folder: Path) -> str:
    """The precision in which TRL takes more pairs a second."""
    if len(precisions) == 1:
        return precisions[0]
    speeds = {}
    for precision in precisions:
        probe = _peer({**job, "precision": precision}, folder)
        try:
            probe.start()
            probe.turn(PROBE_SECONDS)
            speeds[precision] = probe.rates()[0]
        finally:
            probe.stop()
    say(f"TRL, pairs a second: {speeds}")
    return max(speeds, key=lambda p: speeds[p])


def _ours(job: dict[str, Any], folder: Path, name: str) -> Contender:
    return Contender([sys.executable, "-m", "benchmarks.our_reward", _written(job, folder, name)])


def _peer(job: dict[str, Any], folder: Path) -> Contender:
    return Contender([str(PEER), "-m", "benchmarks.peer_trl_reward", _written(job, folder, "trl")])


def _written(job: dict[str, Any], folder: Path, name: str) -> str:
    path = folder / f"{name}.json"
    path.write_text(json.dumps(job), "utf-8")
    return str(path)


def _figures(task: Task, job: dict[str, Any],
             sides: Mapping[str, Contender]) -> dict[str, Figure]:
    theirs = sides["_trl"].rates()
    found: dict[str, Figure] = {
        f"{task.name}_ratio{who}": median_ratio(side.rates(), theirs)
        for who, side in sides.items() if who != "_trl"}
    for who, side in sides.items():
        assert side.result is not None
        scores = dict(zip(job["scored"], side.result["scores"], strict=True))
        right = [float(scores[a] > scores[b]) + 0.5 * (scores[a] == scores[b])
                 for a, b in task.tested]
        accuracy = clustered_mean(right, task.groups)
        assert accuracy is not None
        key = f"{task.name}{who}"
        found[f"{key}_pairs_per_s"] = _speed(side, "pairs")
        found[f"{key}_tokens_per_s"] = _speed(side, "tokens")
        found[f"{key}_peak_gb"] = exact(side.peak_gb)
        found[f"{key}_accuracy"] = {"value": accuracy.value, "low": accuracy.low,
                                    "high": accuracy.high, "n": accuracy.n}
    return found


def _speed(side: Contender, of: str) -> Figure:
    return rate(1.0, [1 / speed for speed in side.rates(of)])


WORDS = {"pairs_per_s": "pairs/s", "tokens_per_s": "tokens/s", "peak_gb": "peak memory, GB",
         "accuracy": "held-out accuracy"}
WHO = {"": "ours", "_recomputed": "ours, recomputing", "_trl": "TRL"}
UNITS = {f"{name}{who}_{key}": f"{name} {whose}: {words}" for name in EPOCHS
         for who, whose in WHO.items() for key, words in WORDS.items()}
UNITS |= {f"{name}_ratio{who}": f"{name}: pairs/s, {WHO[who]} to TRL's"
          for name in EPOCHS for who in ("", "_recomputed")}
UNITS |= {f"memory_ratio{who}": f"peak memory, {WHO[who]} to TRL's"
          for who in ("", "_recomputed")}


def main() -> None:
    """Both data sets."""
    asked = flags(__doc__ or "")
    if not PEER.is_file():
        raise SystemExit(f"{PEER}: not there; run `make peers` first")
    figures: dict[str, Figure] = {}
    with tempfile.TemporaryDirectory() as folder:
        for task in tasks(asked.quick):
            figures |= measure(task, peer_precisions(asked.quick), Path(folder))
    for who in ("", "_recomputed"):
        figures[f"memory_ratio{who}"] = exact(max(
            figures[f"{name}{who}_peak_gb"]["value"] / figures[f"{name}_trl_peak_gb"]["value"]
            for name in EPOCHS))
    show(figures, UNITS, asked.json)


if __name__ == "__main__":
    main()
