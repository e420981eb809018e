"""Which fields of a file an import took nothing from, so that its report can say so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from data.exchange.reading import Row

#: A file whose rows all have fields of their own is not held in memory for it.
_MOST_FIELDS = 1000


class Unread:
    """Watches rows as they are read: what nobody asks for by name is not read."""

    def __init__(self) -> None:
        self._filled: dict[str, None] = {}  # in the order of the file
        self._asked_for: set[str] = set()

    def watch(self, rows: Iterable[Row]) -> Iterator[Row]:
        """The rows, with fields that say when they are asked for."""
        for row in rows:
            if len(self._filled) < _MOST_FIELDS:
                self._filled.update((name, None) for name, value in row.values.items()
                                    if name and value not in (None, "", [], {}))
            yield replace(row, values=Watched(row.values, self._asked_for))

    def names(self) -> tuple[str, ...]:
        """The fields that hold something in some row, and that were asked for in none."""
        return tuple(name for name in self._filled if name not in self._asked_for)


class Watched(dict[str, Any]):
    """Fields that note in `asked_for` which of them somebody has asked for by name."""

    def __init__(self, values: Mapping[str, Any], asked_for: set[str]) -> None:
        super().__init__(values)
        self._asked_for = asked_for

    def get(self, name: str, default: Any = None) -> Any:
        self._asked_for.add(name)
        return super().get(name, default)

    def __getitem__(self, name: str) -> Any:
        self._asked_for.add(name)
        return super().__getitem__(name)
