"""Limits on the numbers of settings: each refusal names the flag and what it wants."""

from __future__ import annotations

from data.errors import BadInput


def at_least(config: object, least: float, *names: str) -> None:
    """Refuse these fields of settings below `least`.

    Raises:
        BadInput: one of them is.
    """
    for name in names:
        value = getattr(config, name)
        if not value >= least:
            raise BadInput(f"--{name.replace('_', '-')}: must be at least {least}, not {value}")


def above_zero(config: object, *names: str) -> None:
    """Refuse these fields of settings at or below 0.

    Raises:
        BadInput: one of them is.
    """
    for name in names:
        value = getattr(config, name)
        if not value > 0:
            raise BadInput(f"--{name.replace('_', '-')}: must be above 0, not {value}")
