"""What a stage gets to work with, from whichever side the job was started."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loop.settings import Settings

if TYPE_CHECKING:  # the store takes half a second to import, and `--help` needs none of it
    from data.progress import Progress
    from data.records import Job
    from data.store import Store
    from loop.models import Versions


@dataclass(frozen=True)
class JobContext:
    """One run of one job."""

    store: Store
    workspace: Path
    job: Job
    seed: int
    """The job's own seed, else the workspace's."""
    progress: Progress
    settings: Settings
    """The workspace's settings with the job's overrides already in their section: for a PPO job
    `settings.ppo` is what it runs with."""
    options: Mapping[str, Any]
    """What the job was asked besides its config (see `loop.kinds`): every option of its kind,
    with its default where the job says nothing, such as `policy` and `reward_model`."""

    @property
    def checkpoints(self) -> Path:
        """The folder for what this job resumes from."""
        return checkpoints_of(self.workspace, self.job)

    @property
    def resolved(self) -> dict[str, Any]:
        """All that the job runs with, as it is kept."""
        return self.store.jobs.get(self.job.id).resolved or {}

    def keep_choices(self, **chosen: str) -> None:
        """Keep what was chosen where the job left it open (the newest policy version, say): a
        resumed run goes on with the same, whatever has been made meanwhile."""
        self.store.jobs.set_resolved(self.job.id, {**self.resolved, **chosen})

    @property
    def versions(self) -> Versions:
        """Picks policy and reward model versions of the workspace."""
        from loop.models import Versions

        return Versions(self.store, self.workspace, self.settings.models)

    @property
    def round_id(self) -> int | None:
        """The round that the job works for: the one it began with, or the open one, if any."""
        if self.job.round_id is not None:
            return self.job.round_id
        current = self.store.rounds.current()
        return None if current is None else current.id

    def enter_stage(self, stage: str) -> None:
        """Say that the job's round, if it is open, is at this stage, and which round that is.

        A round whose sampling was stopped stays at it: there is more to write and to label, and
        its sampling can still be resumed.
        """
        if (round_id := self.round_id) is None:
            return
        round_ = self.store.rounds.get(round_id)
        if round_.closed_at is None and round_.stage != "sampling":
            self.store.rounds.set_stage(round_id, stage)
        self.store.jobs.set_round(self.job.id, round_id)


def checkpoints_of(workspace: Path, job: Job) -> Path:
    """The folder for what a job resumes from; the job's own, whoever runs it.

    With a database that was restored from a backup ids come again: when the job was queued tells it
    from another one. A folder of before its name said so is the job's if it was written since.
    """
    from data.database import written_at

    folder = workspace / "checkpoints" / f"job-{job.id}"
    if folder.exists() and written_at(folder) >= job.created_at:
        return folder
    queued = "".join(filter(str.isdecimal, job.created_at[:26]))  # all but the time zone
    return folder.with_name(f"{folder.name}-{queued}")


def forget_checkpoints(workspace: Path, job: Job) -> None:
    """Remove what a job would resume from, once it is done."""
    shutil.rmtree(checkpoints_of(workspace, job), ignore_errors=True)


Handler = Callable[[JobContext], dict[str, Any]]
"""Runs a job and returns its result (JSON); raises PrefloopError, or Stopped when asked to."""

Handlers = Mapping[str, Handler]
