"""The two kinds of error that people see: one line, without a traceback.

Everything else that escapes is a defect of the program and keeps its traceback.
"""

from pathlib import Path
from shlex import quote


def workspace_flag(workspace: Path) -> str:
    """The flag that names a workspace, for a command that an error tells people to run."""
    name = str(workspace)
    return f"--workspace{'=' if name.startswith('-') else ' '}{quote(name)}"


class PrefloopError(Exception):
    """Something could not be done; the message is one line that says why and what to do."""


class BadInput(PrefloopError):
    """What the user gave is wrong; the message names the file, line, field or flag."""


class NotFound(BadInput):
    """A row was asked for by an id or a name that the workspace does not hold."""


class NotAllowed(PrefloopError):
    """The person's role does not permit the action, or their account is disabled."""


class AlreadyAnswered(PrefloopError):
    """The labeler has a current answer to this task; change it with a revision instead."""


class Conflict(PrefloopError):
    """The row changed since the caller read it (a second tab, say); read again and decide."""
