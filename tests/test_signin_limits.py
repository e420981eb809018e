"""How tries to sign in are counted: buckets that empty and refill, and a tally of failures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from browser import make_workspace, serving
from streamlit_client import Visitor

from annotate.door.ratelimit import Limiter, Rate, Tally, client_of
from data.store import Store


class Clock:
    """Time that passes when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_empties_and_refills() -> None:
    clock = Clock()
    limiter = Limiter(Rate(3, 2.0), Rate(100, 0.01), clock)
    assert [limiter.take("10.0.0.1") for _ in range(5)] == [0, 0, 0, 2, 2]
    assert limiter.take("10.0.0.2") == 0
    clock.now += 2
    assert [limiter.take("10.0.0.1") for _ in range(2)] == [0, 2]
    clock.now += 60  # full again, and no fuller
    assert [limiter.take("10.0.0.1") for _ in range(4)] == [0, 0, 0, 2]


def test_good_tries_do_not_count() -> None:
    limiter = Limiter(Rate(2, 2.0), Rate(100, 0.01), Clock())
    for _ in range(1000):
        assert limiter.take("10.0.0.1") == 0
        limiter.give_back("10.0.0.1")
    assert [limiter.take("10.0.0.1") for _ in range(3)] == [0, 0, 2]


def test_many_clients_share_one_bucket_and_little_memory() -> None:
    limiter = Limiter(Rate(5, 1.0), Rate(10, 0.5), Clock())
    waits = [limiter.take(f"10.0.0.{i}") for i in range(11)]
    assert waits == [0] * 10 + [pytest.approx(0.5)]
    limiter = Limiter(Rate(5, 1.0), Rate(20_000, 0.5), Clock())
    for i in range(12_000):
        assert limiter.take(f"10.{i // 65536}.{i // 256 % 256}.{i % 256}") == 0
    assert len(limiter._full_at) <= 10_000


def test_a_client_is_an_address_or_a_network() -> None:
    assert client_of("10.0.0.1") == "10.0.0.1" == client_of("::ffff:10.0.0.1")
    assert client_of("2001:db8:1:2:3::4") == client_of("2001:db8:1:2:ffff::1") != \
        client_of("2001:db8:1:3::1")
    assert client_of(None) == client_of("unix") == "unknown"


def test_a_tally_is_written_seldom_and_loses_nothing() -> None:
    written: list[tuple[int, str]] = []
    turns: list[Callable[[], None]] = []
    tally = Tally(60, lambda count, last_from: written.append((count, last_from)),
                  lambda _, turn: turns.append(turn))
    for number in range(10):
        tally.add(f"10.0.0.{number}")
    assert written == [(1, "10.0.0.0")]
    turns.pop()()  # a minute later, and with nobody else coming
    assert written == [(1, "10.0.0.0"), (9, "10.0.0.9")]
    tally.add("10.0.0.10")
    assert len(written) == 2  # one a minute at most
    turns.pop()()
    turns.pop()()  # a minute with nothing to tell: nobody looks again
    assert written[2:] == [(1, "10.0.0.10")] and turns == []
    tally.add("somebody else")
    tally.add("and again")
    assert written[3:] == [(1, "somebody else")]
    tally.flush()  # the server is stopped
    assert written[4:] == [(1, "and again")]
    turns.pop()()
    assert written[5:] == [] and turns == []


def test_a_stopped_server_has_told_of_all_failures(tmp_path: Path) -> None:
    make_workspace(tmp_path / "w")
    with serving(tmp_path / "w") as server:
        for number in range(3):
            assert Visitor(server.url).sign_in(f"guess {number}").status == 403
    told = Store.of_workspace(tmp_path / "w").audit.entries(action="failed sign-in")
    assert sum(entry.details["failures"] for entry in told) == 3
