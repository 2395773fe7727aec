"""Retry policies: what happens after an attempt that raised."""

from __future__ import annotations

import sys

from zope.interface import implementer

from zodbjobs import defaults
from zodbjobs.errors import BadArgument
from zodbjobs.interfaces import IRetryPolicy
from zodbjobs.stored.failure import Failure


@implementer(IRetryPolicy)
class Retry:
    """Up to `times` further attempts, the first after `delay` seconds, each wait `backoff` times
    the last one; none is longer than defaults.MOST_RETRY_SECONDS.

    Raises BadArgument, a ValueError, for what makes no sense.

    >>> Retry(times=3, delay=10.0).delay(None, attempts=2)
    20.0
    """

    def __init__(self, times: int, delay: float = 0.0, backoff: float = 2.0) -> None:
        if isinstance(times, bool) or not isinstance(times, int) or times < 0:
            raise BadArgument(f"times must be an int that isn't negative, not {times!r}")
        if not _is_between(delay, 0, defaults.MOST_RETRY_SECONDS):
            raise BadArgument(
                f"delay must be seconds that aren't negative, at most "
                f"{defaults.MOST_RETRY_SECONDS:,.0f}, not {delay!r}"
            )
        if not _is_between(backoff, 1, sys.float_info.max):
            raise BadArgument(f"backoff must be a number that isn't less than 1, not {backoff!r}")
        self.times = times
        self.seconds = delay
        self.backoff = backoff

    def delay(self, failure: Failure | None, attempts: int) -> float | None:
        """Seconds until the next attempt, or None when all are used up."""
        if attempts > self.times:
            return None
        if not self.seconds:
            return 0.0
        try:
            seconds = self.seconds * float(self.backoff) ** (attempts - 1)
        except OverflowError:
            seconds = defaults.MOST_RETRY_SECONDS
        return float(min(seconds, defaults.MOST_RETRY_SECONDS))


def _is_between(value: object, low: float, high: float) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and low <= value <= high  # type: ignore[operator]
