"""How often something may be tried: token buckets in memory, one a client and one for all; and how
often it was, to be told.

A bucket refills by itself, so whoever shares an address with somebody who guesses waits seconds,
never minutes. Buckets that are full again are forgotten: memory does not grow with visitors.
"""

from __future__ import annotations

import ipaddress
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

#: More clients than this at once, and the fullest buckets are forgotten first.
MOST_CLIENTS = 10_000


@dataclass(frozen=True)
class Rate:
    """So many tries at once, then one every `seconds`."""

    burst: int
    seconds: float


class Limiter:
    """Counts tries by client and in all."""

    def __init__(self, each: Rate, everybody: Rate,
                 clock: Callable[[], float] = monotonic) -> None:
        self._each, self._everybody, self._clock = each, everybody, clock
        self._lock = threading.Lock()
        # When a bucket will be full again, in the clock's seconds; a missing bucket is full.
        self._full_at: dict[str, float] = {}
        self._all_full_at = -math.inf

    def take(self, address: str | None) -> float:
        """Take one try: 0, or the seconds until there is one to take."""
        with self._lock:
            now, client = self._clock(), client_of(address)
            full_at = self._full_at.get(client, now)
            wait = max(_wait(full_at, self._each, now),
                       _wait(self._all_full_at, self._everybody, now))
            if wait == 0:
                self._all_full_at = max(self._all_full_at, now) + self._everybody.seconds
                self._full_at[client] = max(full_at, now) + self._each.seconds
                if len(self._full_at) > MOST_CLIENTS:
                    self._forget(now)
            return wait

    def give_back(self, address: str | None) -> None:
        """The try that was taken was a good one and does not count."""
        with self._lock:
            client = client_of(address)
            self._all_full_at -= self._everybody.seconds
            if client in self._full_at:
                self._full_at[client] -= self._each.seconds

    def _forget(self, now: float) -> None:
        emptiest = sorted(self._full_at.items(), key=lambda one: -one[1])[:MOST_CLIENTS // 2]
        self._full_at = {client: full for client, full in emptiest if full > now}


def _in_background(seconds: float, act: Callable[[], None]) -> None:
    timer = threading.Timer(seconds, act)
    timer.daemon = True
    timer.start()


class Tally:
    """Counts what happens often, to be written down seldom: the first time at once, and what
    follows within `every` seconds at their end, together, with where the last came from."""

    def __init__(self, every: float, write: Callable[[int, str], None],
                 later: Callable[[float, Callable[[], None]], None] = _in_background) -> None:
        self._every, self._write, self._later = every, write, later
        self._lock = threading.Lock()
        self._count, self._last_from, self._waits = 0, "", False

    def add(self, whence: str) -> None:
        """Count one more, from there."""
        with self._lock:
            self._count, self._last_from = self._count + 1, whence
            waits, self._waits = self._waits, True
        if not waits:
            self._go_on()

    def flush(self) -> None:
        """Write down what was counted and is not written down yet."""
        with self._lock:
            count, self._count = self._count, 0
            last_from = self._last_from
        if count:
            self._write(count, last_from)

    def _go_on(self) -> None:
        """Write, and look again after a while, for as long as there is something to write."""
        with self._lock:
            self._waits = waits = self._count > 0
        if waits:
            self._later(self._every, self._go_on)
            self.flush()


def client_of(address: str | None) -> str:
    """Whose bucket an address uses: an IPv6 client owns a whole /64 and could try from each."""
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return "unknown"
    if parsed.version == 4:
        return str(parsed)
    mapped = parsed.ipv4_mapped
    return str(mapped or ipaddress.ip_network((parsed, 64), strict=False))


def _wait(full_at: float, rate: Rate, now: float) -> float:
    """The bucket lacks (full_at - now) / seconds tokens; a try needs one of its `burst`."""
    wait = full_at - now - (rate.burst - 1) * rate.seconds
    return wait if wait > 1e-6 else 0.0
