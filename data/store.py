"""The store: every read and write of a workspace's database goes through here.

`Store` only gathers its rooms; each room (people, prompts, tasks, ...) holds the methods for its
nouns. A method that writes does so in one immediate transaction.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from data.asking import Asking
from data.assignments import Assignments
from data.audit import Audit
from data.comparisons import Comparisons
from data.database import Database
from data.decisions import Decisions
from data.errors import NotFound, workspace_flag
from data.jobs import Jobs
from data.known import KnownAnswers
from data.people import People
from data.prompts import Prompts
from data.questions import Questions
from data.responses import Responses
from data.rounds import Rounds
from data.settings import put_setting, setting
from data.tasks import Tasks
from data.versions import Versions

DATABASE_NAME = "prefloop.db"


class Store:
    """All of one workspace's data. Threads may share it.

    Raises:
        PrefloopError: the database cannot be opened (see `data.database.Database`).
    """

    def __init__(self, path: Path) -> None:
        self.database = Database(path)
        self.people = People(self.database)
        self.prompts = Prompts(self.database)
        self.responses = Responses(self.database)
        self.tasks = Tasks(self.database)
        self.assignments = Assignments(self.database, self.tasks)
        self.asking = Asking(self.database)
        self.comparisons = Comparisons(self.database)
        self.questions = Questions(self.database)
        self.known = KnownAnswers(self.database, self.tasks)
        self.decisions = Decisions(self.database, self.tasks, self.assignments, self.comparisons)
        self.versions = Versions(self.database)
        self.rounds = Rounds(self.database)
        self.jobs = Jobs(self.database)
        self.audit = Audit(self.database)

    @classmethod
    def of_workspace(cls, workspace: Path) -> Store:
        """Open the database of an existing workspace folder.

        Raises:
            NotFound: the folder holds no workspace.
        """
        path = workspace / DATABASE_NAME
        if not path.is_file():
            raise NotFound(f"{workspace} holds no workspace: make one with "
                           f"`prefloop init {workspace_flag(workspace)}`")
        return cls(path)

    def setting(self, key: str, default: Any = None) -> Any:
        """A workspace-wide value by key (JSON), or the default."""
        return setting(self.database, key, default)

    def put_setting(self, key: str, value: Any) -> None:
        """Store a workspace-wide value (anything JSON can hold)."""
        put_setting(self.database, key, value)
