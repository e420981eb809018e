"""People: their roles, their one-time sign-in links."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from data.errors import BadInput
from loop.options import Common, Name
from loop.output import print_table

if TYPE_CHECKING:
    from data.records import Labeler
    from data.store import Store


@dataclass(frozen=True)
class AddLabeler(Common):
    """Add a person and print their one-time sign-in link."""

    name: Name
    """Their name, as it shows beside their answers."""

    role: Literal["labeler", "lead", "engineer"] = "labeler"
    """What they may do."""

    email: str = ""
    """The address that signs them in where single sign-on is set up."""

    def run(self) -> None:
        """Add them."""
        store = self.store()
        with store.database.write():
            labeler = store.people.add(self.name, self.role,
                                       config={"email": self.email} if self.email else None)
            store.audit.record(None, "add person", labeler.name, role=labeler.role)
            link = link_for(store, labeler)
        self.show({**_entry(store, labeler), "link": link},
                  f"added {labeler.name} ({labeler.role}); sign-in link, good once for 7 days:\n"
                  f"{link}")


@dataclass(frozen=True)
class ListLabelers(Common):
    """List everybody who answers, with how many answers of theirs stand."""

    def run(self) -> None:
        """Read the store."""
        from data.people import state_of

        store = self.store()
        people = store.people.all()
        entries = [_entry(store, labeler) for labeler in people]
        self.show({"labelers": entries}, lambda: print_table(
            "Labelers", ["name", "kind", "role", "state", "answers"],
            [[e["name"], e["kind"], e["role"], state_of(person), e["answers"]]
             for person, e in zip(people, entries, strict=True)])
            if entries else print("nobody yet"))


@dataclass(frozen=True)
class LinkLabeler(Common):
    """Print a new one-time sign-in link for a person; their older unused one stops working."""

    name: Name
    """Their name."""

    def run(self) -> None:
        """Make a code."""
        store = self.store()
        labeler = store.people.named(self.name)
        if labeler.disabled:
            raise BadInput(f"{labeler.name} is disabled: `prefloop labeler enable` them first")
        link = link_for(store, labeler)
        self.show({**_entry(store, labeler), "link": link}, link)


@dataclass(frozen=True)
class DisableLabeler(Common):
    """Sign a person out and keep them out; their answers stay."""

    name: Name
    """Their name."""

    def run(self) -> None:
        """Disable them."""
        _set_disabled(self, self.name, True)


@dataclass(frozen=True)
class EnableLabeler(Common):
    """Let a disabled person in again."""

    name: Name
    """Their name."""

    def run(self) -> None:
        """Enable them."""
        _set_disabled(self, self.name, False)


@dataclass(frozen=True)
class SetAsideLabeler(Common):
    """Let a labeler's answers, of any kind, count no more; they are kept."""

    name: Name
    """Their name."""

    def run(self) -> None:
        """Set them aside."""
        _set_aside(self, self.name, True)


@dataclass(frozen=True)
class CountAgainLabeler(Common):
    """Let the answers of a labeler who was set aside count again."""

    name: Name
    """Their name."""

    def run(self) -> None:
        """Count them again."""
        _set_aside(self, self.name, False)


def link_for(store: Store, labeler: Labeler) -> str:
    """A new link, to the address where the app was last started."""
    from annotate.launch import signin_link, url_of

    app = url_of(store.setting("address") or {})
    with store.database.write():
        code = store.people.create_code(labeler.id)
        store.audit.record(None, "make sign-in link", labeler.name)
    return signin_link(app, code)


def _set_disabled(command: Common, name: str, disabled: bool) -> None:
    store = command.store()
    labeler = store.people.named(name)
    with store.database.write():
        if store.people.set_disabled(labeler.id, disabled):
            store.audit.record(None, "disable person" if disabled else "enable person",
                               labeler.name)
    command.show(_entry(store, store.people.get(labeler.id)),
                 f"{labeler.name} is {'disabled' if disabled else 'enabled'}")


def _set_aside(command: Common, name: str, aside: bool) -> None:
    store = command.store()
    labeler = store.people.named(name)
    with store.database.write():
        if store.people.set_aside(labeler.id, aside):
            store.audit.record(None, "set answers aside" if aside else "count answers again",
                               labeler.name)
    command.show(_entry(store, store.people.get(labeler.id)),
                 f"the answers of {labeler.name} " + (
                     "are set aside; reward models that have learned from them stay as they are"
                     if aside else "count again"))


def _entry(store: Store, labeler: Labeler) -> dict[str, Any]:
    return {"id": labeler.id, "name": labeler.name, "kind": labeler.kind, "role": labeler.role,
            "disabled": labeler.disabled, "set_aside": labeler.set_aside_at is not None,
            "answers": store.comparisons.count(labeler.id)}
