"""Which role may do what. Checked at every write (`annotate.actions`) and for every page.

A lead may do everything, so that one newcomer can walk the whole loop; an engineer may not decide
who belongs to the team, nor what is asked and how it is measured; a labeler only answers, and sees
nothing that would unblind them.
"""

from __future__ import annotations

from typing import Literal

from data.records import Labeler

Permission = Literal["answer", "quality", "people", "settings", "rounds"]

PERMISSIONS: dict[str, frozenset[Permission]] = {
    "labeler": frozenset({"answer"}),
    "lead": frozenset({"answer", "quality", "people", "settings", "rounds"}),
    "engineer": frozenset({"answer", "quality", "rounds"}),
}


def permits(labeler: Labeler, permission: Permission) -> bool:
    """Whether this person's role includes a permission; an unknown role has none."""
    return permission in PERMISSIONS.get(labeler.role, frozenset())


def roles_with(permission: Permission) -> list[str]:
    """The roles that include a permission."""
    return [role for role, included in PERMISSIONS.items() if permission in included]
