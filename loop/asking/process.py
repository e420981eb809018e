"""The worker's side of the instant model: the process that orders tasks, and when features are due.

Kept apart from running jobs: whatever happens here, jobs and labeling go on.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from data.errors import PrefloopError
from data.store import Store
from loop.asking.extracting import as_asked
from loop.processes import dies_with_parent, end, how_it_ended
from loop.settings import read_settings

_FIRST_PAUSE, _LONGEST_PAUSE = 5.0, 600.0  # seconds before a dead process is started again
_LOOK_EVERY = 2.0  # seconds between two looks at whether there is anything to do
_PATIENCE = 2.0


class AskingProcess:
    """Started once there are responses, started again if it dies, ended with the worker."""

    def __init__(self, store: Store, workspace: Path) -> None:
        self._store, self._workspace = store, workspace
        self._process: subprocess.Popen[bytes] | None = None
        self._pause, self._again_at, self._looked = _FIRST_PAUSE, 0.0, 0.0
        self._due = False
        # The newest response's id and how features are to be read: at the last look, when features
        # were last asked for, and when those were that have been read.
        self._wanted = self._ordered = self._features_of = (0, "")

    def keep(self) -> str | None:
        """See that it runs where there is work for it; a line for the log if it has died."""
        if time.monotonic() - self._looked < _LOOK_EVERY:
            return None
        self._looked = time.monotonic()
        newest, asked = self._store.asking.newest_response(), self._asked()
        if asked is not None:
            self._wanted = newest, asked
        self._due = asked is not None and newest > 0 and self._wanted != self._features_of
        if self._process is not None and self._process.poll() is not None:
            died, self._process = self._process.returncode, None
            self._again_at = time.monotonic() + self._pause
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)
            return (f"the process that orders tasks has ended ({how_it_ended(died)}); it is "
                    "started again, labeling goes on")
        # A process that is off is started all the same if it may have an order to take back.
        if self._process is None and newest and time.monotonic() >= self._again_at:
            self._start()
        return None

    def features_due(self) -> bool:
        """Whether responses have come whose features were not asked for yet, or all are to be read
        otherwise."""
        return self._due

    def features_ordered(self) -> None:
        """Features are asked for now: whatever response comes from here on is not among them."""
        self._ordered = self._wanted

    def features_read(self) -> None:
        """All that there were when they were asked for have been read, or cannot be."""
        self._features_of, self._due = self._ordered, False

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            end(self._process, _PATIENCE)

    def _asked(self) -> str | None:
        """How features are to be read; None: not at all."""
        try:
            settings = read_settings(self._workspace)
        except PrefloopError:  # whoever needs the settings says what is wrong with them
            return None
        return as_asked(settings) if settings.asking.enabled else None

    def _start(self) -> None:
        # Its sums are small: one thread, so that it never takes a core from a job.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "loop.asking.live", str(self._workspace)],
            stdin=subprocess.DEVNULL, start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            preexec_fn=dies_with_parent(signal.SIGKILL))
