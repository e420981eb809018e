"""Which fields of a file an import took nothing from, so that its report can say so."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from data.exchange.reading import Row

#: A file whose rows all have fields of their own is not held in memory for it.
_MOST_FIELDS = 1000


class Unread:
    """Watches rows as they are read: what nobody asks for by name is not read.

    Also of what stands inside a column, one step down: ("info", "site") of an object, and of each
    object in a list.
    """

    def __init__(self) -> None:
        self._filled: dict[tuple[str, ...], None] = {}  # in the order of the file
        self._asked_for: set[tuple[str, ...]] = set()

    def watch(self, rows: Iterable[Row]) -> Iterator[Row]:
        """The rows, with fields that say when they are asked for."""
        for row in rows:
            values = self._watched((), row.values)
            for name, value in row.values.items():
                values[name] = self._inside(name, value)
            yield replace(row, values=values)

    def names(self) -> tuple[str, ...]:
        """The fields that hold something in some row, and that were asked for in none.

        Of a column in which nobody asked for anything by name, the column alone.
        """
        opened = {column for column, *inside in self._asked_for if inside}
        return tuple(".".join(field) for field in self._filled if field not in self._asked_for
                     and (len(field) == 1 or field[0] in opened))

    def _inside(self, column: str, value: Any) -> Any:
        if isinstance(value, dict):
            return self._watched((column,), value)
        if isinstance(value, list):
            return [self._watched((column,), one) if isinstance(one, dict) else one
                    for one in value]
        return value

    def _watched(self, at: tuple[str, ...], values: Mapping[str, Any]) -> Watched:
        if len(self._filled) < _MOST_FIELDS:
            self._filled.update(((*at, name), None) for name, value in values.items()
                                if name and value not in (None, "", [], {}))
        return Watched(values, lambda name: self._asked_for.add((*at, name)))


class Watched(dict[str, Any]):
    """Fields that tell `ask` when somebody asks for one of them by name."""

    def __init__(self, values: Mapping[str, Any], ask: Callable[[str], object]) -> None:
        super().__init__(values)
        self._ask = ask

    def get(self, name: str, default: Any = None) -> Any:
        self._ask(name)
        return super().get(name, default)

    def __getitem__(self, name: str) -> Any:
        self._ask(name)
        return super().__getitem__(name)
