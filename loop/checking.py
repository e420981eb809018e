"""Whether a job would be refused for what it itself asks, told before it is queued.

`python -m loop.checking`, with {workspace, kind, config} as JSON on its input, for the app: it
knows no trainer's settings, so it asks another process. Ends with 2 and one line where the job
would be refused, as a command does. Free of torch.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data.errors import BadInput
from loop.fields import fields_of
from loop.kinds import KINDS, resolve
from loop.settings import read_settings


def refusal(workspace: Path, kind: str, config: Mapping[str, Any]) -> str | None:
    """What the worker would say; None: nothing. What this prefloop knows nothing of, a worker of
    another one may know."""
    if kind not in KINDS:
        return None
    known = {field.name for field in (*KINDS[kind].config_fields(),
                                      *fields_of(KINDS[kind].options))}
    try:
        resolve(kind, {name: value for name, value in config.items() if name in known},
                read_settings(workspace))
    except BadInput as error:
        return str(error)
    return None


def main() -> int:
    """Read what is asked, and answer."""
    asked = json.load(sys.stdin)
    refused = refusal(Path(asked["workspace"]), asked["kind"], asked["config"])
    if refused is not None:
        print(refused)
    return 0 if refused is None else 2


if __name__ == "__main__":
    sys.exit(main())
