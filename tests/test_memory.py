"""What is freed is kept for what comes next, and given back when asked."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from backbone import memory

#: Page faults of a process that takes 80 MB, frees them, and does so again.
ROUNDS = """
import resource
from backbone.memory import give_back, keep_freed

def faults(size=20 << 20):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    taken = [b"x" * size for _ in range(4)]
    del taken
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

{keep}
faults()
again = faults()
give_back()
print(again, faults())
"""
#: Page faults of 256 MB of a tensor, after everything that a model is loaded with is imported.
TENSOR = """
import resource
from backbone.model import Backbone
import torch
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
torch.zeros(64 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
on_glibc = pytest.mark.skipif(not hasattr(os, "confstr") or "CS_GNU_LIBC_VERSION"
                              not in os.confstr_names, reason="glibc's malloc alone has this")
HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def printed(code: str) -> list[int]:
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return [int(word) for word in found.stdout.split()]


@on_glibc
def test_what_is_freed_is_not_taken_from_the_system_again() -> None:
    again, given_back = printed(ROUNDS.format(keep="keep_freed()"))
    assert again < given_back / 10
    plainly, _ = printed(ROUNDS.format(keep=""))
    assert again < plainly / 10, "malloc itself would have given it back"


def test_other_systems_do_as_they_like(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda _: pytest.fail("malloc was asked"))
    memory.keep_freed()
    memory.give_back()


@pytest.mark.skipif(not HUGE_PAGES.exists() or "[never]" in HUGE_PAGES.read_text(),
                    reason="this system has no huge pages")
def test_large_tensors_come_in_huge_pages() -> None:
    # A library that makes a tensor as it is imported, before this is set, would undo it.
    assert printed(TENSOR)[0] < 256 * 2 ** 20 / 4096 / 2
