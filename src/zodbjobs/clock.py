"""Time comes from here, so that tests can move it."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Clock(Protocol):
    """What the package needs to know of time."""

    def now(self) -> int:
        """Microseconds since 1970 in UTC."""

    def monotonic(self) -> float:
        """Seconds that only ever grow; for durations inside one process."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> int:
        """Microseconds since 1970 in UTC."""
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        """Seconds that only ever grow."""
        return time.monotonic()


#: The clock in use; ``zodbjobs.testing`` replaces it for a test.
current: Clock = SystemClock()


def now() -> int:
    """Microseconds since 1970 in UTC, by the clock in use."""
    return current.now()


def monotonic() -> float:
    """Seconds that only ever grow, by the clock in use."""
    return current.monotonic()


def to_datetime(micros: int) -> datetime:
    """The aware UTC datetime of stored microseconds."""
    return _EPOCH + timedelta(microseconds=micros)


def moment(micros: int | None) -> datetime | None:
    """`to_datetime`, or None for None."""
    return None if micros is None else to_datetime(micros)


def to_micros(moment: datetime) -> int:
    """The microseconds to store for an aware datetime."""
    return (moment - _EPOCH) // timedelta(microseconds=1)
