"""PPO as one job of several processes, which `accelerate launch` or torchrun has started.

The first process is the command as ever: it queues the job, runs it, keeps its progress and records
what came of it. The others wait until it begins, then do their part of the training, and write
nothing.
"""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from backbone.config import ModelConfig, Precision
from backbone.device import choose_device, choose_dtype
from data.errors import PrefloopError
from data.progress import Silent, Stopped
from data.store import Store
from loop.context import Handlers, JobContext
from loop.kinds import resolve_job
from loop.lock import is_locked
from loop.processes import when_asked_to_end
from loop.settings import read_settings
from loop.stages.handlers import HANDLERS
from loop.stages.improving import improve_with_ppo
from policy.sharing import Share


def run_together(workspace: Path, see_through: Callable[[Handlers], None]) -> None:
    """Do a PPO command with the other processes; returns in each when its part is done.

    Args:
        see_through: sees the command's job through with these handlers; the first process's part.

    Raises:
        PrefloopError: a worker has the workspace, and would run the job by itself.
    """
    settings = read_settings(workspace)
    share = Share.of_this_process(choose_device(settings.models.device))
    if share.is_first:
        _lead(workspace, see_through, share)
    else:
        _help(workspace, share)


def _lead(workspace: Path, see_through: Callable[[Handlers], None], share: Share) -> None:
    begun = False

    def ppo(context: JobContext) -> dict[str, Any]:
        nonlocal begun
        begun = True
        share.everybody(context.job.id)
        return improve_with_ppo(_with_common_precision(context, share), share)

    try:
        if is_locked(workspace):
            raise PrefloopError(f"{workspace} has a worker, which would run the job in one "
                                "process: end `prefloop up` first, or start without "
                                "`accelerate launch`")
        see_through({**HANDLERS, "ppo": ppo})
    finally:
        if not begun:
            share.everybody(None)  # the others need not wait


def _help(workspace: Path, share: Share) -> None:
    when_asked_to_end(signal.SIG_IGN)  # the first process says when to stop
    job_id = share.everybody(None)[0]
    if job_id is None:
        return
    store = Store.of_workspace(workspace)
    job = store.jobs.get(job_id)
    resolved = resolve_job(job, read_settings(workspace))
    context = JobContext(store, workspace, job, resolved.seed, Silent(), resolved.settings,
                         resolved.options)
    with suppress(Stopped):
        improve_with_ppo(_with_common_precision(context, share), share)


def _with_common_precision(context: JobContext, share: Share) -> JobContext:
    models = context.settings.models
    models = dataclasses.replace(models, precision=_common_precision(models, share))
    return dataclasses.replace(context, settings=context.settings.with_section("models", models))


def _common_precision(models: ModelConfig, share: Share) -> Precision:
    """What is measured (`auto`) may come out differently in each process; they must agree."""
    if models.precision != "auto":
        return models.precision
    quick = choose_dtype("auto", choose_device(models.device)) == torch.bfloat16
    return "bf16" if all(share.everybody(quick)) else "fp32"

