"""What a config dataclass says of itself: each field's type, default, choices, limits and help.

The help is the docstring under the field, and the limits are the calls of `data.limits` that check
it, both read from the source, so that the flag, the settings file and the browser's form all say
the same and nothing is written twice.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
import typing
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from data.errors import BadInput
from data.limits import is_finite

Kind = Literal["int", "float", "bool", "str", "choice", "list"]

_WORDS: dict[Kind, str] = {
    "int": "a whole number", "float": "a number", "bool": "true or false", "str": "a text",
    "choice": "one of the choices", "list": "a list of texts"}


@dataclass(frozen=True)
class Field:
    """One field of a config dataclass."""

    name: str
    kind: Kind
    default: Any
    choices: tuple[str, ...]
    help: str

    def check(self, value: Any) -> Any:
        """The value as the field takes it (a whole number may stand for a float).

        Raises:
            BadInput: it is of another type, infinite or NaN, or none of the choices. The message
                starts with what was wanted; the caller puts the place before it.
        """
        if self.kind == "float" and isinstance(value, int | float) and not isinstance(value, bool):
            if not is_finite(value):
                raise BadInput(f"wanted a finite number, not {value}")
            return float(value)
        if self.kind == "choice" and value not in self.choices:
            raise BadInput(f"{value!r} is none of {', '.join(self.choices)}")
        if not _fits(self.kind, value):
            raise BadInput(f"wanted {_WORDS[self.kind]}, not {value!r}")
        return value


def _fits(kind: Kind, value: Any) -> bool:
    if kind == "list":
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    python = {"int": int, "float": float, "bool": bool, "str": str, "choice": str}[kind]
    return isinstance(value, python) and (kind == "bool" or not isinstance(value, bool))


def fields_of(config: type) -> list[Field]:
    """The fields of a config dataclass, in order."""
    helps = attribute_docstrings(config)
    hints = typing.get_type_hints(config)
    return [Field(f.name, _kind(hints[f.name]), _default(f),
                  _choices(hints[f.name]), helps.get(f.name, ""))
            for f in dataclasses.fields(config)]


def limits_of(config: type) -> dict[str, dict[str, float]]:
    """Field name -> what `data.limits.too_low` holds it against (`least` or `above`).

    They are the `at_least` and `above_zero` of the class's `__post_init__`; what else that refuses
    can be told only from a whole config.
    """
    found: dict[str, dict[str, float]] = {}
    for node in ast.walk(_source(config)):
        match node:
            case ast.Call(ast.Name("at_least"),
                          [_, ast.Constant(int() | float() as least), *names]):
                limit: dict[str, float] = {"least": least}
            case ast.Call(ast.Name("above_zero"), [_, *names]):
                limit = {"above": 0}
            case _:
                continue
        found |= {str(ast.literal_eval(name)): limit for name in names
                  if isinstance(name, ast.Constant)}
    return found


def _kind(hint: Any) -> Kind:
    if typing.get_origin(hint) is Literal:
        return "choice"
    if typing.get_origin(hint) is list:
        return "list"
    names: dict[Any, Kind] = {int: "int", float: "float", bool: "bool", str: "str"}
    return names[hint]


def _choices(hint: Any) -> tuple[str, ...]:
    return typing.get_args(hint) if typing.get_origin(hint) is Literal else ()


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def attribute_docstrings(config: type) -> dict[str, str]:
    """Field name -> the string literal under it, with its line breaks joined."""
    found = {}
    for above, below in pairwise(_source(config).body):
        if (isinstance(above, ast.AnnAssign) and isinstance(above.target, ast.Name)
                and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)):
            found[above.target.id] = " ".join(str(below.value.value).split())
    return found


def _source(config: type) -> ast.ClassDef:
    tree = ast.parse(textwrap.dedent(inspect.getsource(config))).body[0]
    assert isinstance(tree, ast.ClassDef)
    return tree
