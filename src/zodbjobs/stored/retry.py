"""Retry policies: what happens after an attempt that raised."""

from __future__ import annotations

from zope.interface import implementer

from zodbjobs.interfaces import IRetryPolicy
from zodbjobs.stored.failure import Failure


@implementer(IRetryPolicy)
class Retry:
    """Up to `times` further attempts, the first after `delay` seconds, each later by `backoff`.

    >>> Retry(times=3, delay=10.0).delay(None, attempts=2)
    20.0
    """

    def __init__(self, times: int, delay: float = 0.0, backoff: float = 2.0) -> None:
        if times < 0 or delay < 0 or backoff < 1:
            raise ValueError("times and delay can't be negative, backoff not less than 1")
        self.times = times
        self.seconds = delay
        self.backoff = backoff

    def delay(self, failure: Failure | None, attempts: int) -> float | None:
        """Seconds until the next attempt, or None when all are used up."""
        if attempts > self.times:
            return None
        return float(self.seconds * self.backoff ** (attempts - 1))
