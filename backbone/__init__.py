"""A frozen checkpoint with named adapters, and passes through it: what reward and policy stand on.

What torch and its companions read once, at their import or at their first tensor, is set here.
"""

import os

# Large tensors come in pages of 2 MiB where Linux has them: one fault for 512 of the usual ones.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
