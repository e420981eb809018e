"""A short version of `benchmarks.kill`: the server dies again and again, and no answer with it."""

from pathlib import Path

from benchmarks import kill

KILLS = 8


def test_no_acknowledged_answer_is_lost_or_doubled_when_the_server_is_killed(
        tmp_path: Path) -> None:
    found = kill.run(tmp_path, KILLS, life=(0.1, 1.0))
    assert found.kills == KILLS == len(found.restart_seconds)
    assert found.reads > 0
    # Each of the six tabs got through at least once, and answered again at the end.
    assert len(found.ledger.entries) >= 6
    assert found.ledger.lost == found.ledger.doubled == 0
    # What is refused was answered in the same person's other tab, and the page said so.
    assert {words for words in found.refused if "answered" not in words} == set()
