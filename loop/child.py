"""The worker's child process: runs one job after another, and keeps loaded models between them.

It reads job ids on standard input and answers each with a line on standard output when the job
has ended. How it ended is in the database. SIGTERM stops the job at hand at its next step; the
end of standard input means that the worker is gone, and ends this process too.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
from pathlib import Path

from loop.context import Handlers
from loop.jobs import run_job

#: Added to the process's nice value (Unix).
NICENESS = 5


def serve(workspace: Path, handlers: Handlers) -> None:
    """Run jobs until the worker goes away or says that it is enough."""
    from data.store import Store

    # Libraries print what they like; only our own lines may reach the worker.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C in the terminal is the worker's
    interrupted = threading.Event()
    orders: queue.SimpleQueue[int | None] = queue.SimpleQueue()

    def ask_to_stop(*_: object) -> None:
        interrupted.set()
        orders.put(None)

    signal.signal(signal.SIGTERM, ask_to_stop)
    threading.Thread(target=_read_orders, args=[orders], daemon=True).start()
    store = Store.of_workspace(workspace)
    while (job_id := orders.get()) is not None and not interrupted.is_set():
        run_job(store, workspace, store.jobs.get(job_id), handlers, interrupted)
        print(job_id, file=answers, flush=True)


def _read_orders(orders: queue.SimpleQueue[int | None]) -> None:
    """In a thread of its own, so that the worker's end is noticed in the middle of a job."""
    for line in sys.stdin:
        orders.put(int(line))
    os._exit(0)


def main() -> None:
    """`python -m loop.child WORKSPACE`"""
    from loop.stages import HANDLERS

    # Labelers who click go before a job that takes minutes, on a machine that both share.
    os.nice(NICENESS)
    serve(Path(sys.argv[1]), HANDLERS)


if __name__ == "__main__":
    main()
