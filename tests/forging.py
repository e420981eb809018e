"""For the tests of forged messages: what may not be told, and what must not change."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

from streamlit_client import Tab, Visitor

from data.database import now
from data.records import Labeler
from data.store import Store

#: Stand on leads' and engineers' pages, and may reach no labeler.
SECRETS = ("secret-ppo-1", "secret-reference", "Zebediah Secretname", "secret-job-setting",
           "lookalike")
Arrive = Callable[..., tuple[Labeler, Visitor]]


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a test to its end, which comes soon unless the machine is very busy."""
    asyncio.run(asyncio.wait_for(main, 500))


def everything(store: Store) -> dict[str, str]:
    """A digest of every table; when a session was last used is no change."""
    tables = [row["name"] for row in store.database.rows(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '%search%'")]
    found = {}
    for table in tables:
        rows = [tuple(v for k, v in dict(row).items() if k != "seen_at")
                for row in store.database.rows(f"SELECT * FROM {table}")]
        found[table] = hashlib.sha256(repr(rows).encode()).hexdigest()
    return found


def told(tab: Tab) -> str:
    """All bytes that ever came, as text."""
    return b"\n".join(tab.received).decode("utf-8", "replace")


def age_session(store: Store, who: Labeler, column: str, ago: timedelta) -> None:
    """Let a person's sessions have begun (or been used) so long ago."""
    with store.database.write() as db:
        db.conn.execute(f"UPDATE sessions SET {column} = ? WHERE labeler_id = ?",
                        [now(-ago), who.id])
