"""Benchmarks of prefloop; see docs/benchmarks.md.

Those of labeling drive the app with what its tests drive it with, which lies in tests/.
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests"))
