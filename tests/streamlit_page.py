"""A page as Streamlit's messages draw it: elements by their path, with who drew them.

The browser's bookkeeping, without the drawing: a full run clears what it has not drawn again, a
fragment's run only what the same fragment drew before.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from streamlit.proto.Block_pb2 import Block
from streamlit.proto.Element_pb2 import Element
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg


@dataclass(frozen=True)
class Placed:
    """One element or container of the page, and which fragment and run drew it."""

    fragment: str
    run: str
    element: Element | None = None
    block: Block | None = None

    @property
    def kind(self) -> str:
        """The element's type by its protobuf name (`button`, `html`, `bidi_component`, ...)."""
        return "" if self.element is None else str(self.element.WhichOneof("type"))

    @property
    def proto(self) -> Any:
        """The element's own message, with its `id`, `label`, `body`, ..."""
        return None if self.element is None else getattr(self.element, self.kind)

    @property
    def id(self) -> str:
        """The widget's id; empty for what is no widget."""
        return str(getattr(self.proto, "id", ""))

    @property
    def data(self) -> Any:
        """What a component was given, from its JSON."""
        text = self.proto.mixed.json if self.proto.HasField("mixed") else self.proto.json
        return json.loads(text) if text else None


class Drawn:
    """What a tab shows.

    Attributes:
        placed: the page's elements and containers by their path in it.
        pages: the hash of each page by its address, hidden ones too; `""` is the first page.
        refreshing: seconds between the reruns that a fragment asks for, by fragment.
        session: Streamlit's id for this tab.
        page_hash: the page that is shown.
    """

    def __init__(self) -> None:
        self.placed: dict[tuple[int, ...], Placed] = {}
        self.pages: dict[str, str] = {}
        self.refreshing: dict[str, float] = {}
        self.session = ""
        self.page_hash = ""
        self._run, self._fragments = "", frozenset[str]()

    def all(self, kind: str) -> list[Placed]:
        """The page's elements of one type, from top to bottom."""
        return [one for _, one in sorted(self.placed.items()) if one.kind == kind]

    def component(self, name: str = "") -> Placed:
        """The first two-way component (whose name ends so). Raises LookupError."""
        for one in self.all("bidi_component"):
            if one.proto.component_name.endswith(name):
                return one
        raise LookupError(f"there is no component {name!r} on the page")

    def labelled(self, label: str) -> Placed:
        """The first widget whose label contains this. Raises LookupError."""
        for _, one in sorted(self.placed.items()):
            if label in str(getattr(one.proto, "label", "")):
                return one
        raise LookupError(f"there is no widget labelled {label!r} on the page")

    def text(self) -> str:
        """Everything on the page as text, component data and HTML included."""
        return "\n".join(str(part) for _, one in sorted(self.placed.items())
                         for part in _strings(one.proto))

    def enter(self, message: ForwardMsg) -> None:
        """Take in one message from the server."""
        kind = message.WhichOneof("type")
        if kind == "delta":
            self._draw(tuple(message.metadata.delta_path), message)
        elif kind == "new_session":
            self.session = message.new_session.initialize.session_id or self.session
            self.page_hash = message.new_session.page_script_hash
            self._run = message.metadata.run.script_run_id
            self._fragments = frozenset(message.metadata.run.fragment_ids)
            if not self._fragments:
                self.refreshing.clear()
        elif kind == "navigation":
            self.pages = {("" if page.is_default else page.url_pathname): page.page_script_hash
                          for page in message.navigation.app_pages}
            self.page_hash = message.navigation.page_script_hash
        elif kind == "auto_rerun":
            self.refreshing[message.auto_rerun.fragment_id] = message.auto_rerun.interval
        elif ends_a_run(message):
            self._remove_stale()

    def _draw(self, path: tuple[int, ...], message: ForwardMsg) -> None:
        delta = message.delta
        if delta.WhichOneof("type") == "new_element":
            self._forget(lambda other: len(other) > len(path) and other[:len(path)] == path)
            self.placed[path] = Placed(delta.fragment_id, self._run, element=delta.new_element)
        elif delta.WhichOneof("type") == "add_block":
            self.placed[path] = Placed(delta.fragment_id, self._run, block=delta.add_block)

    def _remove_stale(self) -> None:
        """What this run has not drawn again is gone; a fragment's run only clears its own."""
        stale = [path for path, one in self.placed.items() if one.run != self._run
                 and (not self._fragments or one.fragment in self._fragments)]
        self._forget(lambda path: any(path[:len(old)] == old for old in stale)
                     and self.placed[path].run != self._run)

    def _forget(self, gone: Callable[[tuple[int, ...]], bool]) -> None:
        for path in [path for path in self.placed if gone(path)]:
            del self.placed[path]


def ends_a_run(message: ForwardMsg) -> bool:
    """Whether a run has ended that was not cut short by another."""
    return (message.WhichOneof("type") == "script_finished"
            and message.script_finished != ForwardMsg.FINISHED_EARLY_FOR_RERUN)


def _strings(proto: Any) -> Iterator[str]:
    """The text fields of a message and of the messages in it."""
    if proto is None:
        return
    for descriptor, value in proto.ListFields():
        values = value if isinstance(value, Sequence) and not isinstance(value, str | bytes) \
            else [value]
        for one in values:
            if isinstance(one, str):
                yield one
            elif descriptor.message_type and hasattr(one, "ListFields"):
                yield from _strings(one)
