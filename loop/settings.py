"""A workspace's settings: one commented TOML file, `prefloop.toml`.

A value comes from the dataclass's default, else from this file, else from a flag (the last one
wins). The file that `init` writes names every field with its default and its help, commented out,
so that a later prefloop's better default is not hidden by an old file.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
import textwrap
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from backbone.config import ModelConfig
from data.errors import BadInput
from data.exchange.text_stream import where_undecodable
from data.limits import at_least, check_seed
from loop.fields import Field, fields_of
from policy.config import BestOfNConfig, PPOConfig, SampleConfig
from reward.config import RewardConfig

SETTINGS_NAME = "prefloop.toml"


@dataclass(frozen=True)
class WorkspaceConfig:
    """What holds for every job of the workspace."""

    seed: int = 0
    """Seed of a job that is given none."""

    def __post_init__(self) -> None:
        check_seed(self.seed)


@dataclass(frozen=True)
class SimulateConfig:
    """Simulated labelers, recorded as simulated."""

    preference: Literal["sentiment", "shorter", "longer"] = "sentiment"
    """What they want: positive sentiment (VADER's compound score), or length."""

    labelers: int = 4
    """How many there are; they are made on first use."""

    agreement: float = 0.75
    """How often two of them should agree; sets the noise of their answers."""

    def __post_init__(self) -> None:
        at_least(self, 1, "labelers")
        if not 0.5 < self.agreement < 1:
            raise BadInput(f"--agreement: must be between 0.5 (chance) and 1, "
                           f"not {self.agreement}")


@dataclass(frozen=True)
class AskingConfig:
    """Which task is asked next, while a worker lives: an instant model orders the open ones as
    answers come in."""

    enabled: bool = True
    """Whether tasks are put in order; if not, they come as they were made."""

    rule: Literal["random", "margin", "variance", "d-optimal", "v-optimal", "bal-pm",
                  "double-thompson"] = "variance"
    """What comes first: the closest call (margin), the least certain (variance), what tells most of
    the model (d-optimal) or of all pairs (v-optimal), the same with an eye on prompts of which
    little was asked (bal-pm), or what may be best (double-thompson)."""

    random_share: float = 0.2
    """Share of the tasks that chance alone chooses, and that are recorded so; figures over them are
    of all tasks, and not of what the rule likes."""

    def __post_init__(self) -> None:
        if not 0 <= self.random_share <= 1:
            raise BadInput(f"--random-share: must be 0 to 1, not {self.random_share}")


SECTIONS: dict[str, type] = {
    "workspace": WorkspaceConfig, "models": ModelConfig, "sample": SampleConfig,
    "asking": AskingConfig, "reward": RewardConfig, "ppo": PPOConfig, "best-of-n": BestOfNConfig,
    "simulate": SimulateConfig}


@dataclass(frozen=True)
class Settings:
    """All settings of a workspace, one config a section of the file."""

    workspace: WorkspaceConfig = field(default_factory=WorkspaceConfig)
    models: ModelConfig = field(default_factory=ModelConfig)
    sample: SampleConfig = field(default_factory=SampleConfig)
    asking: AskingConfig = field(default_factory=AskingConfig)
    reward: RewardConfig = field(default_factory=RewardConfig)
    ppo: PPOConfig = field(default_factory=PPOConfig)
    best_of_n: BestOfNConfig = field(default_factory=BestOfNConfig)
    simulate: SimulateConfig = field(default_factory=SimulateConfig)

    def section(self, name: str) -> Any:
        """The config of a section, by the name that the file uses."""
        return getattr(self, name.replace("-", "_"))

    def with_section(self, name: str, config: Any) -> Settings:
        """The same settings with one section's config replaced."""
        return dataclasses.replace(self, **{name.replace("-", "_"): config})


def read_settings(workspace: Path) -> Settings:
    """The settings of a workspace; a missing file leaves every default.

    Raises:
        BadInput: the file cannot be read or parsed, or holds an unknown section or key, or a
            value that does not fit; the message names the file, the section and the key.
    """
    path = workspace / SETTINGS_NAME
    try:
        document = tomllib.loads(path.read_text("utf-8-sig"))  # Windows' editors write a mark
    except FileNotFoundError:
        return Settings()
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"{path}: {_toml_error(str(error))}") from error
    except UnicodeDecodeError:
        raise BadInput(f"{path}, {where_undecodable(path)}; save the file as UTF-8") from None
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror or error}") from error
    settings = Settings()
    for name, values in document.items():
        if name not in SECTIONS:
            raise BadInput(f"{path}: there is no section [{name}]" + _near(name, list(SECTIONS)))
        if not isinstance(values, dict):
            raise BadInput(f"{path}: {name} must be a section: write [{name}] on a line of its own")
        settings = settings.with_section(name, _section(path, name, values))
    return settings


def _toml_error(error: str) -> str:
    """What the parser says, in the file's own words where a section or a key is there twice."""
    if twice := re.match(r"Cannot declare \((.+?),?\) twice \(at line (\d+)", error):
        name = ".".join(re.findall(r"'([^']*)'", twice[1]))
        return f"[{name}] stands twice (line {twice[2]}): make them one section"
    if twice := re.match(r"Cannot overwrite a value \(at line (\d+)", error):
        return f"a key stands twice in its section (line {twice[1]})"
    if error.startswith("Invalid value"):
        return f"{error}: a text stands in quotes; it is true and false, and 0.5, not .5"
    return error


def _section(path: Path, name: str, values: Mapping[str, Any]) -> Any:
    known = {f.name: f for f in fields_of(SECTIONS[name])}
    checked = {}
    for key, value in values.items():
        if key not in known:
            raise BadInput(f"{path}: [{name}] has no key {key!r}"
                           + _near(key.replace("-", "_"), list(known), _elsewhere(key)))
        try:
            checked[key] = known[key].check(value)
        except BadInput as error:
            raise BadInput(f"{path}: [{name}] {key}: {error}") from None
    try:
        return SECTIONS[name](**checked)
    except BadInput as error:
        # The dataclass names the flag; whoever wrote the file knows the key.
        flag, _, reason = str(error).partition(":")
        key = flag.removeprefix("--").replace("-", "_")
        raise BadInput(f"{path}: [{name}] {key}:{reason}") from None


def _elsewhere(key: str) -> str:
    """Where a key belongs that one other section alone has."""
    has = [name for name, config in SECTIONS.items() if key in {f.name for f in fields_of(config)}]
    return f"; it belongs in [{has[0]}]" if len(has) == 1 else ""


def _near(word: str, known: list[str], elsewhere: str = "") -> str:
    near = difflib.get_close_matches(word, known, 1)
    return (f"; did you mean {near[0]!r}?" if near else
            elsewhere or f"; there are: {', '.join(known)}")


def settings_text(given: Mapping[str, Mapping[str, Any]]) -> str:
    """The settings file with every field explained; only the given values are switched on.

    `given` maps a section to the values that differ from their defaults.
    """
    parts = ["# Settings of this prefloop workspace. Remove the # before a line to change it.\n"
             "# A flag of the same name (--learning-rate for learning_rate) wins over this file.\n"]
    for name, config in SECTIONS.items():
        summary = (config.__doc__ or "").strip()
        lines = [_comment(summary), f"[{name}]"]
        lines += [_entry(f, given.get(name, {})) for f in fields_of(config)]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _entry(f: Field, given: Mapping[str, Any]) -> str:
    choices = f" ({', '.join(f.choices)})" if f.choices else ""
    line = (f"{f.name} = {_toml(given[f.name])}" if f.name in given
            else f"# {f.name} = {_toml(f.default)}")
    return f"{_comment(f.help + choices)}\n{line}"


def _comment(text: str) -> str:
    text = " ".join(text.split())
    return "\n".join(f"# {line}" for line in textwrap.wrap(text, 96))


def _toml(value: Any) -> str:
    """A value as TOML writes it: JSON's spelling is TOML's for all the types that configs use."""
    return json.dumps(value, ensure_ascii=False)
