"""The worker's child process: runs one job after another, and keeps loaded models between them.

It reads job ids on standard input and answers each with a line on standard output when the job
has ended. How it ended is in the database. Between jobs it can be told to read `features` for the
instant model, and does so until a job comes; the line that answers says how far it came. SIGTERM
stops the job at hand at its next step; the end of standard input means that the worker is gone,
and ends this process too. So does, without an answer, an error that nobody foresaw: the worker sees
what became of the job and starts another process, in which a GPU, say, works again.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from backbone.memory import give_back
from data.errors import PrefloopError
from data.store import Store
from loop.context import Handlers
from loop.jobs import one_line, run_job
from loop.settings import Settings, read_settings

#: Added to the process's nice value (Unix).
NICENESS = 5
#: The order to read features, and how the line begins that answers it: `done`, `later` (a job has
#: come) or `failed` with the reason.
FEATURES = "features"

Extract = Callable[[Store, Path, Settings, Callable[[], bool]], bool]


def serve(workspace: Path, handlers: Handlers, extract: Extract | None = None) -> None:
    """Run jobs until the worker goes away or says that it is enough."""
    # Libraries print what they like; only our own lines may reach the worker.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C in the terminal is the worker's
    interrupted = threading.Event()
    orders: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def ask_to_stop(*_: object) -> None:
        interrupted.set()
        orders.put(None)

    signal.signal(signal.SIGTERM, ask_to_stop)
    threading.Thread(target=_read_orders, args=[orders], daemon=True).start()
    store = Store.of_workspace(workspace)
    while (order := orders.get()) is not None and not interrupted.is_set():
        if order == FEATURES:
            said = _read_features(store, workspace, extract, lambda: not orders.empty())
            answer = f"{FEATURES} {said}"
        elif run_job(store, workspace, store.jobs.get(int(order)), handlers, interrupted):
            answer = order
        else:
            return  # without an answer, so that the worker sends no other job here
        give_back()
        print(answer, file=answers, flush=True)


def _read_features(store: Store, workspace: Path, extract: Extract | None,
                   give_way: Callable[[], bool]) -> str:
    """Features for the instant model; what goes wrong in a way that is known is one line, and
    nobody's job fails."""
    try:
        if extract is None or extract(store, workspace, read_settings(workspace), give_way):
            return "done"
        return "later"
    except PrefloopError as error:
        return f"failed {one_line(error)}"


def _read_orders(orders: queue.SimpleQueue[str | None]) -> None:
    """In a thread of its own, so that the worker's end is noticed in the middle of a job."""
    for line in sys.stdin:
        orders.put(line.strip())
    os._exit(0)


def main() -> None:
    """`python -m loop.child WORKSPACE`"""
    from loop.asking.extracting import extract_features
    from loop.stages.handlers import HANDLERS

    # Labelers who click go before a job that takes minutes, on a machine that both share.
    os.nice(NICENESS)
    serve(Path(sys.argv[1]), HANDLERS, extract_features)


if __name__ == "__main__":
    main()
