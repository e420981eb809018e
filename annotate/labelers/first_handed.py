"""When each question first left this server for each labeler.

Nobody took longer over a question than since then, whatever a page says; and somebody who reloads,
or takes an answer back, has read it since then, and not since it came the second time. Kept in
memory, for all tabs together: of a question that was given to them before this server started,
nothing is noted, and a page's word is taken.
"""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from time import monotonic

#: The oldest are forgotten: these are some hours of a large crew.
MOST = 100_000

_lock = Lock()
_at: OrderedDict[tuple[str, int, int], float] = OrderedDict()


def note(workspace: str, labeler_id: int, task_id: int) -> None:
    """A question goes out to somebody for the first time ever."""
    with _lock:
        _at[workspace, labeler_id, task_id] = monotonic()
        while len(_at) > MOST:
            _at.popitem(last=False)


def seconds_since(workspace: str, labeler_id: int, task_id: int) -> float | None:
    """How long ago that was; None where it is not known."""
    with _lock:
        at = _at.get((workspace, labeler_id, task_id))
    return None if at is None else monotonic() - at
