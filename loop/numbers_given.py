"""Numbers among the flags: read as Python reads them, refused in one line that names the flag."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from data.errors import BadInput

_READ: dict[Any, tuple[Callable[[str], int | float], str, str]] = {
    int: (int, "INT", "a whole number"), int | None: (int, "INT", "a whole number"),
    float: (float, "FLOAT", "a number")}
"""For each type of a field: what reads it, its name in the help and in words."""


def registry(arguments: Sequence[str]) -> ConstructorRegistry:
    """How tyro is to read numbers from these arguments.

    What cannot be read raises BadInput, which tyro passes on, where a ValueError would become
    a box of lines about types of Python.
    """
    made = ConstructorRegistry()

    @made.primitive_rule
    def _(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
        if info.type not in _READ:
            return None
        read, metavar, wanted = _READ[info.type]

        def instance(texts: list[str]) -> int | float:
            try:
                return read(texts[0])
            except ValueError:
                raise BadInput(f"{_flag(arguments, texts[0])}wanted {wanted}, "
                               f"not {texts[0]!r}") from None

        return PrimitiveConstructorSpec(
            nargs=1, metavar=metavar, instance_from_str=instance,
            is_instance=lambda value: isinstance(value, int | float | None),
            str_from_instance=lambda value: [str(value)])

    return made


def _flag(arguments: Sequence[str], text: str) -> str:
    """The flag that was given this text, and a colon; tyro does not say which field it reads. Where
    several were given the same, all of them, and nothing where it stands without a flag."""
    found = [flag for flag, value in pairwise(arguments)
             if value == text and flag.startswith("--")]
    found += [flag for flag, _, value in (a.partition("=") for a in arguments)
              if value == text and flag.startswith("--")]
    return " or ".join(dict.fromkeys(found)) + ": " * bool(found)
