"""Periods: how many jobs ended in each part of the last time, and how long they had waited."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from datetime import datetime
from typing import Any

from zodbjobs import clock
from zodbjobs.errors import BadArgument
from zodbjobs.insights.infos import Info, Times
from zodbjobs.insights.numbers import booked_from, times_of
from zodbjobs.stored.lifecycle.history import MINUTE, SPREAD_MINUTES
from zodbjobs.stored.lifecycle.root import get_queues


@dataclasses.dataclass(frozen=True)
class Period(Info):
    """What ended from `start` on, until the next period.

    `failed`: how many of these without success. `work`: seconds that they took together.
    `waiting_time`, `duration`: see QueueStats; None if none was begun, and for periods shorter
    than ten minutes.
    """

    start: datetime
    finished: int
    failed: int
    work: float
    waiting_time: Times | None
    duration: Times | None


def list_periods(
    place: Any, minutes: int = 60, step: int = 1, queue: str | None = None
) -> list[Period]:
    """The last `minutes` in periods of `step` minutes, the oldest first; the last one still runs.

    Those in which nothing ended are there too. Of all queues, or of one. Reads the counters of
    minutes, and no job. Raises BadArgument unless both are at least 1; UnknownQueue.
    """
    if step < 1 or minutes < step:
        raise BadArgument(f"there are no periods of {step} minutes in {minutes} minutes")
    queues = get_queues(place)
    chosen = queues.values() if queue is None else [queues[queue]]
    last = clock.now() // MINUTE // step
    first = last - minutes // step + 1
    booked: defaultdict[int, list[Any]] = defaultdict(list)
    for each in chosen:
        for minute, *counts in booked_from(each, first * step):
            booked[minute // step].append(counts)
    with_times = step >= SPREAD_MINUTES
    return [_period(n * step, booked.get(n, []), with_times) for n in range(first, last + 1)]


def _period(minute: int, booked: list[Any], with_times: bool) -> Period:
    spreads = [each for each in booked if len(each) > 3] if with_times else []
    return Period(
        start=clock.to_datetime(minute * MINUTE),
        finished=sum(each[0] for each in booked),
        failed=sum(each[1] for each in booked),
        work=sum(each[2] for each in booked) / 1_000_000,
        waiting_time=times_of(each[4] for each in spreads),
        duration=times_of(each[3] for each in spreads),
    )
