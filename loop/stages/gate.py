"""The gate before improvement: a reward model that beats its baselines, or somebody who insists."""

from __future__ import annotations

from typing import TYPE_CHECKING

from data.errors import BadInput

if TYPE_CHECKING:  # the store takes half a second to import, and `--help` needs none of it
    from data.records import RewardModel
    from data.store import Store


def check(store: Store, version: RewardModel, force: bool) -> str:
    """Let a reward model through, or refuse it; returns what is to be said all the same.

    That is the reason why it would have been refused, where it was forced, or that an old version
    has no figures to be judged by; empty for a version that beats its baselines. The rule is
    `data.reward_reports.judge`.

    Raises:
        BadInput: it does not beat its baselines on held-out prompts, or there are too few
            held-out pairs to tell, and nobody insists.
    """
    from data.reward_reports import verdict

    found = verdict(store, version)
    if found.standing == "beats":
        return ""
    if found.standing == "unknown":
        return (f"{version.name} was let through unseen: {found.reason}; "
                "`prefloop eval-reward` makes a report that has them")
    if not force:
        raise BadInput(f"{version.name}: {found.reason}; label more pairs and train again, or "
                       "use it anyway with --force")
    return f"{version.name} was forced: {found.reason}"


def check_named(store: Store, name: str, force: bool) -> str:
    """`check` of the version of that name, or the newest; without any there is nothing to say."""
    known = store.versions.reward_models()
    if not known:
        return ""
    return check(store, store.versions.reward_model_named(name) if name else known[-1], force)
