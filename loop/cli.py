"""The `prefloop` command: finds the sub-command, reads its flags, turns errors into one line.

Nothing heavy is imported before a command runs, so that every help answers at once.
"""

from __future__ import annotations

import importlib
import os
import shutil
import sys
import traceback
from collections.abc import Sequence
from io import TextIOWrapper
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from data.errors import BadInput, PrefloopError
from loop.output import note, silence

if TYPE_CHECKING:
    from loop.options import Common
    from loop.settings import Settings

COMMANDS = {
    "up": "workspaces:Up",
    "init": "workspaces:Init",
    "status": "workspaces:Status",
    "backup": "exchange:Backup",
    "restore": "exchange:Restore",
    "import": "exchange:Import",
    "export": "exchange:Export",
    "sample": "stages:Sample",
    "train-reward": "stages:TrainReward",
    "eval-reward": "stages:EvalReward",
    "score": "exchange:Score",
    "ppo": "stages:Ppo",
    "best-of-n": "stages:BestOfN",
    "simulate": "stages:Simulate",
    "stop": "jobs:Stop",
    "labeler add": "labelers:AddLabeler",
    "labeler list": "labelers:ListLabelers",
    "labeler link": "labelers:LinkLabeler",
    "labeler disable": "labelers:DisableLabeler",
    "labeler enable": "labelers:EnableLabeler",
    "labeler set-aside": "labelers:SetAsideLabeler",
    "labeler count-again": "labelers:CountAgainLabeler",
    "demo": "workspaces:Demo",
    "worker": "workspaces:Worker",
}

DONE, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130
_HELP = ("-h", "--help")
_NARROWEST = 40
"""Columns to lay help out in: in 20 it has thousands of lines, and in 5 tyro never ends."""


def main() -> None:
    """The entry point of the script."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started this; nothing is said there
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
    if isinstance(sys.stdout, TextIOWrapper):
        # As on standard error: what is done must not end as an error because a file's name is no
        # text, or the terminal's encoding lacks a character.
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns the exit code."""
    debug = "--debug" in arguments
    try:
        _dispatch(list(arguments))
        sys.stdout.flush()
    except SystemExit as error:  # tyro's, after a help text or a usage error
        return error.code if isinstance(error.code, int) else FAILED
    except BrokenPipeError:  # `prefloop export … | head`
        silence(sys.stdout)
        return DONE
    except (KeyboardInterrupt, Exception) as error:
        if debug:
            note(traceback.format_exc().rstrip())
        line, code = _explained(error)
        note(line)
        return code
    return DONE


def _explained(error: BaseException) -> tuple[str, int]:
    """The one line that a person sees, and the exit code."""
    from loop.jobs import one_line
    from loop.runs import Interrupted

    if isinstance(error, Interrupted):
        return str(error), INTERRUPTED
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", INTERRUPTED
    if isinstance(error, PrefloopError):
        wrong = isinstance(error, BadInput)
        return f"prefloop: {one_line(error)}", WRONG_USAGE if wrong else FAILED
    if isinstance(error, OSError):
        return f"prefloop: {one_line(error)}", FAILED
    return f"prefloop: {one_line(error)}; run again with --debug to see where", FAILED


def _dispatch(arguments: list[str]) -> None:
    if not arguments or arguments[0] in _HELP:
        print(overview())
        if not arguments:
            raise SystemExit(WRONG_USAGE)
        return
    if arguments[0] == "--version":
        from importlib.metadata import version

        print(f"prefloop {version('prefloop')}")
        return
    words = 2 if arguments[0] == "labeler" else 1
    name, rest = " ".join(arguments[:words]), arguments[words:]
    if name == "labeler" or name in {f"labeler {flag}" for flag in _HELP}:
        print(overview("labeler "))
        if len(arguments) == 1:
            raise SystemExit(WRONG_USAGE)
        return
    command = parse(name, rest)
    try:
        command.run()
    except PrefloopError as error:
        error.args = (command.here(str(error)),)
        raise


def parse(name: str, arguments: Sequence[str]) -> Common:
    """A command with its flags: its defaults, then the workspace's settings, then the flags."""
    import tyro

    from loop.commands.stage_command import StageCommand
    from loop.numbers_given import registry

    command, prog, args = command_named(name), f"prefloop {name}", list(arguments)
    if shutil.get_terminal_size().columns < _NARROWEST:
        os.environ["COLUMNS"] = str(_NARROWEST)
    if issubclass(command, StageCommand):
        anew = command.beside(args)
        return tyro.cli(command, prog=prog, args=args, registry=registry(args),
                        default=command.with_settings(_settings(arguments), anew))
    return tyro.cli(command, prog=prog, args=args, registry=registry(args))


def command_named(name: str) -> type[Common]:
    """The class of a command. Raises BadInput, naming the nearest that there is."""
    if name not in COMMANDS:
        import difflib

        near = difflib.get_close_matches(name, COMMANDS, 1)
        hint = f"did you mean `{near[0]}`?" if near else "`prefloop --help` lists them"
        raise BadInput(f"there is no command {name!r}; {hint}")
    module, _, class_name = COMMANDS[name].partition(":")
    found: type[Common] = getattr(importlib.import_module(f"loop.commands.{module}"), class_name)
    return found


def overview(prefix: str = "") -> str:
    """The list of commands, with the first line of each one's help."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {_summary(name)}" for name in COMMANDS
             if name.startswith(prefix)]
    return "\n".join([
        f"usage: prefloop {prefix}COMMAND [FLAGS]", "",
        "Close the loop of reinforcement learning from human feedback with the humans in it.", "",
        *lines, "", f"`prefloop {prefix}COMMAND --help` explains a command and its flags. Exit "
        "code 0: done; 1: failed;\n2: wrong usage or bad input; 130: interrupted with Ctrl-C."])


def _summary(name: str) -> str:
    return (command_named(name).__doc__ or "").strip().split("\n")[0]


def _settings(arguments: Sequence[str]) -> Settings:
    """The settings of the workspace that the flags name: they are what the other flags change.

    A help text is shown even where the settings file has a mistake.
    """
    from loop.settings import Settings, read_settings

    workspace = "runs/default"
    for flag, following in zip_longest(arguments, arguments[1:], fillvalue=""):
        if flag == "--workspace":
            workspace = following
        elif flag.startswith("--workspace="):
            workspace = flag.partition("=")[2]
    try:
        return read_settings(Path(workspace))
    except BadInput:
        if {*_HELP} & {*arguments}:
            return Settings()
        raise
