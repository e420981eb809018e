"""What every sub-command takes."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from data.errors import workspace_flag
from data.limits import check_seed
from data.visible import reveal
from loop.output import print_json

if TYPE_CHECKING:
    from data.store import Store

#: A command in a text, which says of no workspace.
_COMMAND = re.compile("`(prefloop [a-z](?:(?! --workspace)[^`])*)`")

Switch = Annotated[bool, tyro.conf.FlagCreatePairsOff]
"""A flag that is off unless given."""

Name = Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="NAME")]
"""Somebody's or something's name, given without a flag."""

File = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FILE")]
"""A file, given without a flag."""

MaybeFile = Annotated[Path | None, tyro.conf.arg(metavar="FILE")]
"""A file that need not be named."""


@dataclass(frozen=True, kw_only=True)
class Common:
    """The flags of every sub-command; `run` does the work and shows its result."""

    workspace: Path = Path("runs/default")
    """Folder of the workspace."""

    json: Switch = False
    """Print one JSON document on standard output; progress and logs go to standard error."""

    seed: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """Seed of all that is drawn; left out: the workspace's."""

    debug: Switch = False
    """Show the traceback of an error."""

    def __post_init__(self) -> None:
        if self.seed is not None:
            check_seed(self.seed)

    def run(self) -> None:
        """Do what the command is for."""
        raise NotImplementedError

    @property
    def database(self) -> Path:
        """The workspace's database."""
        from data.store import DATABASE_NAME

        return self.workspace / DATABASE_NAME

    def store(self) -> Store:
        """The workspace's store. Raises NotFound where there is no workspace."""
        from data.store import Store

        return Store.of_workspace(self.workspace)

    def here(self, said: str) -> str:
        """A text whose commands a shell takes as they stand: with the workspace, without which they
        would be done to the default one."""
        if self.workspace == Common.workspace:
            return said
        return _COMMAND.sub(
            lambda found: f"`{found[1]} {workspace_flag(self.workspace)}`", said)

    def show(self, document: Any, text: str | Callable[[], None]) -> None:
        """The command's result: the document with --json, else the text for people."""
        if self.json:
            print_json(document)
        elif isinstance(text, str):
            # A terminal would obey what a text holds; a file or a program gets it as it is.
            print(reveal(text) if sys.stdout.isatty() else text)
        else:
            text()
