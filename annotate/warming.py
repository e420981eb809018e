"""Once the server is up: import what the pages need, and keep that out of garbage collection.

A full collection walks every object of the process, most of them modules that live as long as it
does, and holds up whoever labels meanwhile. Frozen, they are walked once; then collections are
quick, and come often enough for memory not to grow with the number of answers.
"""

from __future__ import annotations

import gc
import threading
from importlib import import_module
from pkgutil import walk_packages

import annotate

#: After the start, which it would slow down.
AFTER_SECONDS = 4.0


def soon() -> None:
    """Do it in the background, a little later."""
    timer = threading.Timer(AFTER_SECONDS, now)
    timer.daemon = True
    timer.start()


def now() -> None:
    """Do it here."""
    for module in walk_packages(annotate.__path__, "annotate."):
        if module.name.rpartition(".")[2].startswith("page_"):
            import_module(module.name)
    gc.collect()
    gc.freeze()
