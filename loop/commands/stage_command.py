"""A stage as a sub-command: it queues a job, or takes one up again, and sees it through."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from tyro.conf import Fixed, Suppress, arg

from data.errors import BadInput
from loop.kinds import KINDS, resolve
from loop.lock import is_locked
from loop.options import Common
from loop.output import print_result
from loop.settings import Settings, read_settings

if TYPE_CHECKING:
    from data.records import Job
    from data.store import Store
    from loop.context import Handlers


@dataclass(frozen=True)
class StageCommand(Common):
    """A command whose work is a job of the kind `kind`."""

    kind: ClassVar[str]
    is_shared: ClassVar[bool] = False
    """Whether several processes of a launcher can do the job together."""
    beside_resume: ClassVar[frozenset[str]] = frozenset(
        {"--resume", "--workspace", "--json", "--debug", "--help"})
    """The flags that are not about the job itself."""

    resume: Annotated[int | None, arg(metavar="JOB")] = None
    """Go on with this job, which was stopped or killed, from its last checkpoint; its config is
    the one it was started with, so flags of the job's own are refused beside it, but for those
    that bound its memory (such as --batch-size of `sample`)."""

    anew: Suppress[Fixed[tuple[str, ...]]] = ()
    """The fields that the job to resume is given anew; no flag."""

    @classmethod
    def beside(cls, arguments: Sequence[str]) -> tuple[str, ...]:
        """The fields whose flags are given beside --resume.

        Raises:
            BadInput: a job that is taken up again would not hear of one.
        """
        flags = [a.partition("=")[0].replace("_", "-") for a in arguments if a.startswith("--")]
        if "--resume" not in flags:
            return ()
        memory = {f"--{name.replace('_', '-')}": name for name in KINDS[cls.kind].memory}
        if strangers := [flag for flag in flags if flag not in {*cls.beside_resume, *memory}]:
            raise BadInput(f"--resume: the job goes on with the config that it was started with: "
                           f"leave {', '.join(strangers)} out, or start a new job")
        return tuple(memory[flag] for flag in flags if flag in memory)

    @classmethod
    def with_settings(cls, settings: Settings, anew: tuple[str, ...] = ()) -> StageCommand:
        """The command as the workspace's settings have it, before any flag."""
        section = KINDS[cls.kind].section
        return cls(anew=anew, **{"config": settings.section(section)} if section else {})

    def run(self) -> None:
        """See the job through, in this process or together with others that a launcher started."""
        from loop.stages.handlers import HANDLERS

        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            self.see_through(HANDLERS)
            return
        if not self.is_shared:
            raise BadInput(f"{self.kind} runs in one process: start it without `accelerate "
                           "launch`; only ppo shares its work")
        from loop.together import run_together

        run_together(self.workspace, self.see_through)

    def see_through(self, handlers: Handlers) -> None:
        """Queue the job (or take up the one to resume), see it through, show its result."""
        from loop.runs import result_of, run_or_follow

        store = self.store()
        job = self._queued(store) if self.resume is None else self._again(store)
        result = result_of(run_or_follow(store, self.workspace, job, handlers))
        self.finish(store, result)
        self.show(result, lambda: self.present(result))

    def finish(self, store: Store, result: dict[str, Any]) -> None:
        """Do what is left to do here, where the command was given, with the job's result."""

    def present(self, result: dict[str, Any]) -> None:
        """Print what came of it, for people."""
        print_result(result)

    def overrides(self, settings: Settings) -> dict[str, Any]:
        """What differs from the workspace's settings: all that the job's row needs to say."""
        base = self.with_settings(settings)
        changed = {} if self.seed is None else {"seed": self.seed}
        for part in ("config", "options"):
            mine, its = getattr(self, part, None), getattr(base, part, None)
            if mine is not None and its is not None:
                before = dataclasses.asdict(its)
                changed |= {k: v for k, v in dataclasses.asdict(mine).items() if v != before[k]}
        return changed

    def _queued(self, store: Store) -> Job:
        settings = read_settings(self.workspace)
        overrides = self.overrides(settings)
        resolve(self.kind, overrides, settings)  # what is wrong is said before a job is queued
        self.check(store)
        return store.jobs.add(self.kind, overrides)

    def check(self, store: Store) -> None:
        """Refuse before anything is queued what the job would refuse when it starts."""
        from data.startable import require_work

        require_work(store, self.kind)  # before torch, which the versions' module loads
        from loop.models import Versions

        named = vars(self.options) if hasattr(self, "options") else {}
        versions = Versions(store, self.workspace, read_settings(self.workspace).models)
        if "policy" in named:
            versions.policy(named["policy"])
        if "reward_model" in named:
            versions.reward_model(named["reward_model"])

    def _again(self, store: Store) -> Job:
        assert self.resume is not None
        job = store.jobs.get(self.resume)
        if job.kind != self.kind:
            raise BadInput(f"--resume: job {job.id} is of kind {job.kind}: "
                           f"use `prefloop {job.kind} --resume {job.id}`")
        if self.anew and job.status == "running" and is_locked(self.workspace):
            raise BadInput(f"--resume: job {job.id} is at work, and would not hear of "
                           f"{', '.join(self.anew)}: stop it first, by `prefloop stop {job.id}`")
        try:
            return store.jobs.resume(job.id, self.memory(self.anew))
        except BadInput as error:
            raise BadInput(f"--resume: {error}") from None

    def memory(self, names: Iterable[str]) -> dict[str, Any]:
        """These fields of the config."""
        return {name: getattr(getattr(self, "config", None), name) for name in names}
