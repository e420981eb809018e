"""Whether there is anything for a job to do: asked before one is queued, and again as it starts.

What takes a loaded model to tell (that no prompt fits its context, say) only the job finds out.
"""

from __future__ import annotations

from dataclasses import dataclass

from data.errors import BadInput
from data.store import Store

NO_PROMPTS = "the workspace has no prompts: `prefloop import FILE` brings some in"
HELD_OUT_ALONE = ("all prompts of the workspace are held out, which are never trained on: "
                  "`prefloop import FILE` brings others in")
NO_OPEN_TASKS = "there are no open tasks to answer: `prefloop sample` opens a round"


@dataclass(frozen=True)
class Compared:
    """How many pairs labelers have compared, by what keeps a reward model from learning of them."""

    train: int
    """On training prompts; as on held-out ones, without pairs of the same text twice."""
    ties: int
    """Of those, ties."""
    prompts: int
    """On so many prompts those are."""
    held_out: int
    identical: int
    """Pairs of the same text twice, on any prompt."""


def require_work(store: Store, kind: str) -> None:
    """Refuse a job of a kind for which there is nothing to do.

    Raises:
        BadInput: there is nothing; it says what to do first.
    """
    improves = kind in ("ppo", "best-of-n")
    if (kind == "sample" or improves) and not store.prompts.count():
        raise BadInput(NO_PROMPTS)
    if improves and not store.prompts.count("train"):
        raise BadInput(HELD_OUT_ALONE)
    if kind == "simulate" and not store.tasks.labels_missing():
        raise BadInput(NO_OPEN_TASKS)
    if kind == "train-reward" and not _is_learnable(store):
        require_learnable(compared(store))  # which takes a second on 200,000, and says why


def _is_learnable(store: Store) -> bool:
    """Whether decided pairs on two training prompts can be found, with the first that are."""
    prompts: int = store.database.value("""
        SELECT count(*) FROM (
            SELECT DISTINCT f.prompt_id
            FROM counted_preferences f JOIN prompts p ON p.id = f.prompt_id
            JOIN responses a ON a.id = f.chosen_id JOIN responses b ON b.id = f.rejected_id
            WHERE p.split = 'train' AND f.strength > 0 AND a.text <> b.text LIMIT 2)""")
    return prompts == 2


def compared(store: Store) -> Compared:
    """The counts of all answers that count, without reading them."""
    row = store.database.row("""
        WITH pairs AS (
            SELECT f.prompt_id, f.strength, p.split, a.text = b.text AS same
            FROM counted_preferences f JOIN prompts p ON p.id = f.prompt_id
            JOIN responses a ON a.id = f.chosen_id JOIN responses b ON b.id = f.rejected_id)
        SELECT count(*) FILTER (WHERE NOT same AND split = 'train') AS train,
            count(*) FILTER (WHERE NOT same AND split = 'train' AND strength = 0) AS ties,
            count(DISTINCT prompt_id) FILTER (WHERE NOT same AND split = 'train') AS prompts,
            count(*) FILTER (WHERE NOT same AND split = 'held_out') AS held_out,
            count(*) FILTER (WHERE same) AS identical FROM pairs""")
    assert row is not None  # a count is there of nothing too
    return Compared(**dict(row))


def require_learnable(found: Compared) -> None:
    """Refuse what nothing can be learned from, in one line that says why.

    Raises:
        BadInput: there is nothing to learn from.
    """
    if not found.train and found.identical and not found.held_out:
        raise BadInput(f"all {found.identical:,} compared pairs hold the same text twice: there is "
                       "nothing to learn from; sample at a higher temperature")
    if not found.train and found.held_out:
        raise BadInput(f"all {found.held_out:,} compared pairs are on held-out prompts, which are "
                       "never trained on; label tasks of training prompts")
    if not found.train:
        raise BadInput("there are no comparisons to learn from: label some tasks first, or import "
                       "preferences")
    if found.ties == found.train:
        raise BadInput(f"all {found.train:,} compared pairs are ties: a reward model needs pairs "
                       "of which one is better")
    if found.prompts == 1:
        raise BadInput(f"all {found.train:,} compared pairs are on one prompt: a reward model "
                       "needs comparisons on 2 prompts or more")
