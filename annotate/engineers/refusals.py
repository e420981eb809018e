"""What a job is refused for by its own settings, in the words of the form that asked for it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from annotate.figures import title_of

#: A setting, as errors name it; they begin with the one that they speak of.
_FLAG = re.compile(r"--([a-z0-9]+(?:-[a-z0-9]+)*)")
#: A machine that takes longer is too busy to be asked: the worker refuses what it must.
_PATIENCE_SECONDS = 30


def refusal(workspace: Path, kind: str, config: Mapping[str, Any]) -> str | None:
    """Why the worker would refuse a job, by the checks that the worker itself makes; None: for
    nothing, or nobody could say. The app knows no trainers, so another process does."""
    asked = json.dumps({"workspace": str(workspace.resolve()), "kind": kind, "config": config})
    try:
        done = subprocess.run([sys.executable, "-m", "loop.checking"], input=asked, text=True,
                              capture_output=True, timeout=_PATIENCE_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 2 else None


def flagged(error: str | None) -> str | None:
    """The field whose flag an error begins with."""
    flag = _FLAG.match(error or "")
    return _field(flag) if flag and (error or "")[flag.end():flag.end() + 1] == ":" else None


def in_titles(error: str, fields: Collection[str]) -> str:
    """An error; where it begins with the flag of one of the fields, they have their names in it."""
    return error if flagged(error) not in fields else _FLAG.sub(
        lambda flag: title_of(_field(flag)) if _field(flag) in fields else flag[0], error)


def _field(flag: re.Match[str]) -> str:
    return flag[1].replace("-", "_")
