"""Whether a worker lives is told by when it was heard of last, also where a clock was set back."""

from datetime import timedelta

import pytest

from data.database import now
from data.heartbeat import heard


@pytest.mark.parametrize(("seconds", "lives"), [
    (0, True), (-14, True), (-16, False), (0.5, True), (5, False), (3600, False)])
def test_a_worker_lives_that_was_heard_of_lately_and_not_in_time_to_come(
        seconds: float, lives: bool) -> None:
    assert heard({"pid": 1, "seen": now(timedelta(seconds=seconds))}) is lives


def test_a_worker_that_ended_or_never_was_is_not_heard() -> None:
    assert not heard(None)
    assert heard({"pid": 1, "seen": now(timedelta(seconds=-40))}, within=60.0)
