"""Limits on settings: each refusal names the flag and what it wants."""

from __future__ import annotations

import math

from data.errors import BadInput

#: What a column of the database and every generator of random numbers take.
LARGEST_SEED = 2**63 - 1


def too_low(value: float, least: float | None = None, above: float | None = None) -> str | None:
    """What is wrong with a number that is below `least`, or not above `above`; None: nothing."""
    if least is not None and not value >= least:
        return f"must be at least {least}, not {value}"
    if above is not None and not value > above:
        return f"must be above {above}, not {value}"
    return None


def at_least(config: object, least: float, *names: str) -> None:
    """Refuse these fields of settings below `least`.

    Raises:
        BadInput: one of them is.
    """
    for name in names:
        if wrong := too_low(getattr(config, name), least=least):
            raise BadInput(f"--{name.replace('_', '-')}: {wrong}")


def above_zero(config: object, *names: str) -> None:
    """Refuse these fields of settings at or below 0.

    Raises:
        BadInput: one of them is.
    """
    for name in names:
        if wrong := too_low(getattr(config, name), above=0):
            raise BadInput(f"--{name.replace('_', '-')}: {wrong}")


def one_of(config: object, name: str, *choices: str) -> None:
    """Refuse this field of settings where it is none of the choices.

    Raises:
        BadInput: it is none.
    """
    value = getattr(config, name)
    if value not in choices:
        raise BadInput(f"--{name.replace('_', '-')}: {value!r} is none of {', '.join(choices)}")


def check_seed(seed: int) -> None:
    """Refuse what cannot be a seed.

    Raises:
        BadInput: it is below 0 or above `LARGEST_SEED`.
    """
    if not 0 <= seed <= LARGEST_SEED:
        raise BadInput(f"--seed: must be 0 to {LARGEST_SEED}, not {seed}")


def is_finite(number: int | float) -> bool:
    """Whether it is a number that a float can hold: not infinite, no NaN, no whole number beyond
    all floats."""
    try:
        return math.isfinite(number)
    except OverflowError:
        return False
