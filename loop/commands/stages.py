"""The stages as sub-commands: their flags, and what they do with a job's result."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeVar

from tyro.conf import OmitArgPrefixes, arg

from data.errors import BadInput
from data.visible import reveal_line
from loop.commands.stage_command import StageCommand
from loop.kinds import KINDS, EvaluateOptions, ImproveOptions, SampleOptions, resolve
from loop.options import MaybeFile, Switch
from loop.output import note
from loop.settings import Settings, SimulateConfig, read_settings
from loop.targets import check_target
from policy.config import BestOfNConfig, PPOConfig, SampleConfig
from reward.config import RewardConfig

if TYPE_CHECKING:
    from data.records import Job
    from data.store import Store

T = TypeVar("T")
#: Flags that stand among the command's own in the help, and not under a heading of their own.
_Own = Annotated[OmitArgPrefixes[T], arg(name="")]


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
