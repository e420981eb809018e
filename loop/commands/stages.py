"""The stages as sub-commands: each queues a job and sees it through."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeVar

from tyro.conf import Fixed, OmitArgPrefixes, Suppress, arg

from data.errors import BadInput
from data.visible import reveal_line
from loop.kinds import KINDS, EvaluateOptions, ImproveOptions, SampleOptions, resolve
from loop.lock import is_locked
from loop.options import Common, MaybeFile, Switch
from loop.output import note, print_result
from loop.settings import Settings, SimulateConfig, read_settings
from loop.targets import check_target
from policy.config import BestOfNConfig, PPOConfig, SampleConfig
from reward.config import RewardConfig

if TYPE_CHECKING:
    from data.records import Job
    from data.store import Store
    from loop.context import Handlers

T = TypeVar("T")
#: Flags that stand among the command's own in the help, and not under a heading of their own.
_Own = Annotated[OmitArgPrefixes[T], arg(name="")]


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
            raise BadInput(f"`prefloop {self.kind}` runs in one process: start it without "
                           "`accelerate launch`; only `prefloop ppo` shares its work")
        from loop.together import run_together

        run_together(self.workspace, self.see_through)

    def see_through(self, handlers: Handlers) -> None:
        """Queue the job (or take up the one to resume), see it through, show its result."""
        from loop.runs import result_of, run_or_follow

        store = self.store()
        try:
            job = self._queued(store) if self.resume is None else self._again(store)
        except BadInput as error:
            raise BadInput(self.here(str(error))) from error
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


@dataclass(frozen=True)
class Sample(StageCommand):
    """Open the next round: sample responses to each prompt and put them to the labelers."""

    kind: ClassVar[str] = "sample"
    options: _Own[SampleOptions] = field(default_factory=SampleOptions)
    config: OmitArgPrefixes[SampleConfig] = field(default_factory=SampleConfig)

    def _queued(self, store: Store) -> Job:
        """A round that a process left behind is gone on with, where the same one is asked for."""
        return self._left_behind(store) or super()._queued(store)

    def _left_behind(self, store: Store) -> Job | None:
        from loop.runs import left

        settings, memory = read_settings(self.workspace), KINDS[self.kind].memory
        asked = resolve(self.kind, self.overrides(settings), settings).document
        policy = asked["policy"] or store.versions.policies()[-1].name
        same = {**asked, "policy": policy, **dict.fromkeys(memory)}
        for job in left(store, self.workspace, self.kind):
            if not job.stop_requested and same == {**(job.resolved or {}), **dict.fromkeys(memory)}:
                note(f"job {job.id} was to sample the same, and its process has ended: it goes on")
                return store.jobs.resume(job.id, self.memory(memory))
        return None

    def check(self, store: Store) -> None:
        """One round at a time, so that a dead one makes way; what the next one leaves unfinished is
        said, as in the browser."""
        from loop.runs import make_way

        super().check(store)
        make_way(store, self.workspace)
        if unfinished := store.tasks.unfinished_words(store.rounds.current()):
            note(unfinished)


@dataclass(frozen=True)
class TrainReward(StageCommand):
    """Train a reward model version on the labelers' preferences."""

    kind: ClassVar[str] = "train-reward"
    config: OmitArgPrefixes[RewardConfig] = field(default_factory=RewardConfig)

    def present(self, result: dict[str, Any]) -> None:
        """The report on the new version."""
        from loop.reports.reward import print_report

        print_report(result)


@dataclass(frozen=True)
class EvalReward(StageCommand):
    """Report on a reward model: accuracy by what makes pairs hard, baselines, calibration."""

    kind: ClassVar[str] = "eval-reward"
    beside_resume: ClassVar[frozenset[str]] = (
        StageCommand.beside_resume | {"--html", "--overwrite"})
    options: _Own[EvaluateOptions] = field(default_factory=EvaluateOptions)

    html: MaybeFile = None
    """Also write the report, with plots and the worst mistakes to read, as one HTML file, which
    must not exist unless --overwrite is given."""

    overwrite: Switch = False
    """Replace the HTML file if it is there."""

    def run(self) -> None:
        """Refuse a file that could not be written before anything is scored."""
        if self.html is not None:
            data = [Path(self.options.data)] if self.options.data else []
            check_target(self.html, self.overwrite, self.database, *data, flag="--html")
        super().run()

    def finish(self, store: Store, result: dict[str, Any]) -> None:
        """Write the HTML file."""
        if self.html is not None:
            from loop.reports.reward import write_html

            write_html(result, store, self.html)

    def present(self, result: dict[str, Any]) -> None:
        """The report as tables."""
        from loop.reports.reward import print_report

        print_report(result, self.html)
        if self.html is not None:
            print(f"\nreport written to {reveal_line(str(self.html))}")

    def overrides(self, settings: Settings) -> dict[str, Any]:
        """As of every stage, with the data file by its full path: a worker runs elsewhere."""
        changed = super().overrides(settings)
        if "data" in changed:
            path = Path(changed["data"]).resolve()
            if not path.is_file():
                raise BadInput(f"--data: there is no file {path}")
            changed["data"] = str(path)
        return changed


@dataclass(frozen=True)
class ImproveCommand(StageCommand):
    """A command that improves a policy version against a reward model."""

    options: _Own[ImproveOptions] = field(default_factory=ImproveOptions)

    def overrides(self, settings: Settings) -> dict[str, Any]:
        """As of every stage; whoever forces a reward model without its name means the one that is
        the newest now, though another may be by the job's turn."""
        changed = super().overrides(settings)
        unnamed = self.options.force and not self.options.reward_model
        if unnamed and (known := self.store().versions.reward_models()):
            changed["reward_model"] = known[-1].name
        return changed

    def check(self, store: Store) -> None:
        """The gate: a reward model that does not beat its baselines has to be forced."""
        from loop.stages.gate import check_named

        super().check(store)
        if said := check_named(store, self.options.reward_model, self.options.force):
            note(said)


@dataclass(frozen=True)
class Ppo(ImproveCommand):
    """Improve a policy version against a reward model by PPO into a new version."""

    kind: ClassVar[str] = "ppo"
    is_shared: ClassVar[bool] = True
    config: OmitArgPrefixes[PPOConfig] = field(default_factory=PPOConfig)


@dataclass(frozen=True)
class BestOfN(ImproveCommand):
    """Improve a policy version by fine-tuning on the reward model's best of n responses."""

    kind: ClassVar[str] = "best-of-n"
    config: OmitArgPrefixes[BestOfNConfig] = field(default_factory=BestOfNConfig)


@dataclass(frozen=True)
class Simulate(StageCommand):
    """Let simulated labelers answer the open tasks; recorded as simulated wherever they show."""

    kind: ClassVar[str] = "simulate"
    config: OmitArgPrefixes[SimulateConfig] = field(default_factory=SimulateConfig)
