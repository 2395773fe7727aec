"""Clocks: the time of the package stands still, and is moved."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import datetime

from zodbjobs import clock


class MovableClock:
    """A clock that stands still until it is moved."""

    def __init__(self, start: datetime) -> None:
        self._micros = clock.to_micros(start)
        self._monotonic = 0.0

    def now(self) -> int:
        """Microseconds since 1970 in UTC."""
        return self._micros

    def monotonic(self) -> float:
        """Seconds that only grow by `advance`."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass."""
        self._micros += int(seconds * 1_000_000)
        self._monotonic += seconds

    def set(self, moment: datetime) -> None:
        """Set the time of day, as an administrator would; no seconds pass by it."""
        self._micros = clock.to_micros(moment)

    def datetime(self) -> datetime:
        """The time as an aware datetime."""
        return clock.to_datetime(self._micros)


@contextlib.contextmanager
def moving_clock(start: datetime | None = None) -> Iterator[MovableClock]:
    """Let the package take its time from a MovableClock, starting at `start` or now."""
    before = clock.current
    start = start or clock.to_datetime(before.now()).replace(microsecond=0)
    clock.current = moved = MovableClock(start)
    try:
        yield moved
    finally:
        clock.current = before
