"""The tables, as numbered migrations: one file each in `data/migrations/`, applied in this order.

Append a migration; never edit one that has landed. The name of its file is the name by which a
database remembers that it has been applied.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

from data.migrations import (
    m001_the_loop,
    m002_trust,
    m003_counts,
    m004_sessions,
    m005_lookups,
    m006_asking,
    m007_blind,
    m008_variances,
    m009_set_aside,
    m010_step_back,
    m011_places,
    m012_skips,
)

migrations = Migrations("prefloop")


def _running(script: str) -> Callable[[Database], None]:
    """What runs a script statement by statement; `executescript` would commit the migration's
    transaction."""
    def run(db: Database) -> None:
        for statement in _statements(script):
            db.conn.execute(statement)

    return run


def _statements(script: str) -> list[str]:
    statements, current = [], ""
    for line in script.splitlines():
        current += line + "\n"
        if sqlite3.complete_statement(current):
            statements.append(current)
            current = ""
    return statements


for _migration in (m001_the_loop, m002_trust, m003_counts, m004_sessions, m005_lookups, m006_asking,
                   m007_blind, m008_variances, m009_set_aside, m010_step_back, m011_places,
                   m012_skips):
    migrations(name=_migration.__name__.rpartition(".")[2])(_running(_migration.SQL))
