"""What holds for a whole workspace, by key: the table `settings`, of values in JSON.

What people write by hand is the settings file, `prefloop.toml`; `loop.settings` reads that.
"""

from __future__ import annotations

import json
from typing import Any

from data.database import Database
from data.plain_json import to_json


def setting(database: Database, key: str, default: Any = None) -> Any:
    """The value of a key, or the default where it has none."""
    text = database.value("SELECT value FROM settings WHERE key = ?", [key])
    return default if text is None else json.loads(text)


def put_setting(database: Database, key: str, value: Any) -> None:
    """Give a key a value, anything that JSON can hold."""
    with database.write() as db:
        db.conn.execute("INSERT INTO settings VALUES (?, ?) ON CONFLICT (key) "
                        "DO UPDATE SET value = excluded.value", [key, to_json(value)])
