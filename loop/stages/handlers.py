"""What each kind of job does: the one place where labels, reward and policy meet.

A handler reads from the store, calls one stage's package, and records what came of it with its
lineage. Everything heavy is imported inside, so that naming a handler costs nothing.
"""

from __future__ import annotations

from loop.context import Handler
from loop.stages.collecting import sample, simulate
from loop.stages.improving import improve_with_best_of_n, improve_with_ppo
from loop.stages.rewarding import evaluate_reward, train_reward

#: Kind of job to what runs it.
HANDLERS: dict[str, Handler] = {
    "sample": sample, "train-reward": train_reward, "eval-reward": evaluate_reward,
    "ppo": improve_with_ppo, "best-of-n": improve_with_best_of_n, "simulate": simulate}
