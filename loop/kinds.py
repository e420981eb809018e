"""The kinds of job: what each is called, which settings it uses and what it may be asked.

Free of torch and of the store: the commands' flags and the browser's forms are built from this.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backbone.config import ModelConfig
from data.errors import BadInput, PrefloopError
from data.limits import check_seed
from loop.fields import Field, fields_of, limits_of
from loop.settings import SECTIONS, Settings

if TYPE_CHECKING:
    from data.records import Job
    from data.store import Store

#: What only a command line or the settings file may say: files on this machine's disk, and where it
#: connects to.
NOT_IN_THE_BROWSER = frozenset({"data", "server", "server_model", "server_workspace",
                                "server_timeout"})


_SEED = Field("seed", "int", 0, (), "")


@dataclass(frozen=True)
class NoOptions:
    """A job that is asked nothing besides its config."""


@dataclass(frozen=True)
class SampleOptions:
    """What to sample."""

    policy: str = ""
    """Name of the policy version to sample; empty: the newest."""


@dataclass(frozen=True)
class EvaluateOptions:
    """What to evaluate."""

    reward_model: str = ""
    """Name of the reward model; empty: the newest."""

    data: str = ""
    """File of preferences to evaluate on; empty: the workspace's held-out prompts."""


@dataclass(frozen=True)
class ImproveOptions:
    """What to improve, and against what."""

    policy: str = ""
    """Name of the policy version to start from; empty: the newest."""

    reward_model: str = ""
    """Name of the reward model to improve against; empty: the newest."""

    force: bool = False
    """Use the reward model even if it does not beat its baselines on held-out prompts, or if there
    are too few held-out pairs to tell."""


@dataclass(frozen=True)
class JobKind:
    """One kind of job."""

    kind: str
    title: str
    help: str
    section: str | None
    """Section of the settings that the job's config overrides."""
    options: type
    common: tuple[str, ...] = ()
    """Fields that a form shows first."""
    memory: tuple[str, ...] = ()
    """Fields of the config that bound memory or time, and have no say in what comes of the job, but
    for rounding: it may be taken up again with others."""

    def config_fields(self) -> list[Field]:
        """The fields of the settings section."""
        return fields_of(SECTIONS[self.section]) if self.section else []


KINDS: dict[str, JobKind] = {kind.kind: kind for kind in (
    JobKind("sample", "Open the next round",
            "Samples responses of a policy version and puts them to the labelers.",
            "sample", SampleOptions, ("prompts", "responses", "wanted", "max_new_tokens"),
            ("batch_size", "server_timeout")),
    JobKind("train-reward", "Train the reward model",
            "Learns the labelers' preferences and reports accuracy on held-out prompts.",
            "reward", NoOptions, ("epochs", "learning_rate"), ("microbatch_tokens",)),
    JobKind("eval-reward", "Evaluate the reward model",
            "Reports a reward model's accuracy, calibration and leaning towards length.",
            None, EvaluateOptions, ("reward_model",)),
    JobKind("ppo", "Improve the policy (PPO)",
            "Improves a policy version against a reward model, held near the reference.",
            "ppo", ImproveOptions,
            ("steps", "batch_size", "learning_rate", "kl_coefficient", "max_new_tokens"),
            ("microbatch_size",)),
    JobKind("best-of-n", "Improve the policy (best of n)",
            "Fine-tunes a policy version on the reward model's best of n of its own responses.",
            "best-of-n", ImproveOptions, ("n", "prompts", "learning_rate"), ("batch_size",)),
    JobKind("simulate", "Let simulated labelers answer",
            "Simulated labelers with a stated preference and noise answer the open tasks.",
            "simulate", NoOptions),
)}


@dataclass(frozen=True)
class Resolved:
    """What a job really runs with."""

    settings: Settings
    options: dict[str, Any]
    seed: int
    document: dict[str, Any]
    """All of it as JSON, to be kept beside what the job makes."""


def resolve(kind: str, overrides: Mapping[str, Any], settings: Settings) -> Resolved:
    """The workspace's settings with a job's overrides.

    Raises:
        BadInput: a key that the kind does not know, or a value that does not fit.
        PrefloopError: an unknown kind (a job queued by a newer prefloop, say).
    """
    if kind not in KINDS:
        raise PrefloopError(f"this prefloop knows no job of kind {kind!r}; it knows: "
                            + ", ".join(KINDS))
    what = KINDS[kind]
    config = {f.name: f for f in what.config_fields()}
    options = {f.name: f for f in fields_of(what.options)}
    values: dict[str, Any] = {}
    for key, value in overrides.items():
        if key not in {**config, **options, "seed": None}:
            raise BadInput(unknown(key, [*config, *options, "seed"], f"a {kind} job"))
        field = config.get(key) or options.get(key) or _SEED
        try:
            values[key] = field.check(value)
        except BadInput as error:
            raise BadInput(f"--{key.replace('_', '-')}: {error}") from None
    if what.section:
        section = dataclasses.replace(settings.section(what.section),
                                      **{k: v for k, v in values.items() if k in config})
        settings = settings.with_section(what.section, section)
    chosen = dataclasses.asdict(what.options(**{k: v for k, v in values.items() if k in options}))
    seed = int(values.get("seed", settings.workspace.seed))
    check_seed(seed)
    document = {**(dataclasses.asdict(settings.section(what.section)) if what.section else {}),
                **chosen, "seed": seed, "models": dataclasses.asdict(settings.models)}
    return Resolved(settings, chosen, seed, document)


def resolve_job(job: Job, settings: Settings) -> Resolved:
    """What a job runs with; one that has run before goes on with what it was started with,
    whatever the settings have become.

    Raises:
        As `resolve`.
    """
    if job.resolved is None or job.kind not in KINDS:
        return resolve(job.kind, job.config, settings)
    what, kept = KINDS[job.kind], job.resolved
    models = dataclasses.replace(settings.models,
                                 **_of_fields(kept.get("models", {}), fields_of(ModelConfig)))
    again = resolve(job.kind, _of_fields(kept, [*what.config_fields(), *fields_of(what.options),
                                                _SEED]),
                    settings.with_section("models", models))
    return dataclasses.replace(again, document=dict(kept))


def _of_fields(document: Mapping[str, Any], fields: list[Field]) -> dict[str, Any]:
    """What a document says of these fields; an older prefloop's may lack some and have others."""
    return {f.name: document[f.name] for f in fields if document.get(f.name) is not None}


def unknown(key: str, known: list[str], owner: str) -> str:
    """One line for a key that is not there, with the nearest that is."""
    near = difflib.get_close_matches(key.replace("-", "_"), known, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"it has: {', '.join(known)}"
    return f"{owner} has no {key!r}; {hint}"


def announce(store: Store, settings: Settings) -> None:
    """Have the app know the kinds that its forms are for, and what every kind is called."""
    with store.database.write():
        store.put_setting("job_kinds", catalogue(settings))
        store.put_setting("job_titles", {kind.kind: kind.title for kind in KINDS.values()})


def catalogue(settings: Settings) -> list[dict[str, Any]]:
    """The kinds that a person can start from the browser, as the app's forms read them.

    Defaults are the workspace's. Lists (stop texts) stay in the settings file.
    """
    return [_entry(KINDS[kind], settings)
            for kind in ("sample", "train-reward", "eval-reward", "ppo", "best-of-n")]


def _entry(kind: JobKind, settings: Settings) -> dict[str, Any]:
    section = settings.section(kind.section) if kind.section else None
    fields = [(f, getattr(section, f.name)) for f in kind.config_fields()]
    fields += [(f, f.default) for f in fields_of(kind.options)]
    limits = limits_of(type(section)) if section else {}
    return {"kind": kind.kind, "title": kind.title, "help": kind.help,
            "common": list(kind.common),
            "fields": [{"name": f.name, "type": f.kind, "default": default,
                        "choices": list(f.choices), "help": f.help, **limits.get(f.name, {})}
                       for f, default in fields
                       if f.kind != "list" and f.name not in NOT_IN_THE_BROWSER]}
