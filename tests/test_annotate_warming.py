"""What the server does once it is up, in a process of its own: it changes the whole process."""

import subprocess
import sys

_WARM = """
import gc, sys
from annotate import warming
assert "annotate.labelers.page_label" not in sys.modules
warming.now()
assert gc.get_freeze_count() > 50_000
print(*(name for name in sys.modules if ".page_" in name))
"""


def test_pages_are_imported_and_left_out_of_garbage_collection() -> None:
    done = subprocess.run([sys.executable, "-c", _WARM], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stderr
    pages = {"annotate.labelers.page_label", "annotate.leads.page_quality"}
    assert pages <= set(done.stdout.split())
