"""Heartbeat: a worker's sign of life, in a step of its dispatcher."""

from __future__ import annotations

from zodbjobs.runtime.measures import Measures
from zodbjobs.runtime.periodic import Interval
from zodbjobs.runtime.session import Session


class Heartbeat:
    """Counts up the heartbeat of the worker's record every `seconds`, and writes what was measured
    until then.
    """

    def __init__(self, seconds: float, measures: Measures) -> None:
        self._measures = measures
        self._interval = Interval(seconds)

    def is_due(self) -> bool:
        """Whether it is time for the next one."""
        return self._interval.is_due()

    def write(self, session: Session) -> None:
        """Add one to the heartbeat; joins the transaction of `session`."""
        session.record.heartbeat += 1
        self._measures.write(session.record.counters)

    def written(self) -> None:
        """Note that it was committed."""
        self._interval.done()
