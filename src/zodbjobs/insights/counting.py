"""How many jobs there are of a state, where an index knows it."""

from __future__ import annotations

from typing import Any

from zodbjobs.errors import BadArgument
from zodbjobs.insights.newest import BLOCKED, PARKED, PAUSED, SCHEDULED, WAITING
from zodbjobs.insights.numbers import all_queue_stats, queue_stats
from zodbjobs.interfaces import ACTIVE, ASSIGNED, COMPLETED, OUTCOMES, SUCCEEDED
from zodbjobs.stored.lifecycle.root import get_queues

_COUNTED = {
    WAITING: "waiting",
    SCHEDULED: "scheduled",
    BLOCKED: "blocked",
    PAUSED: "paused",
    PARKED: "parked",
    ASSIGNED: "assigned",
    ACTIVE: "active",
}


def most_jobs(
    place: Any, *, status: str | None = None, outcome: str | None = None, queue: str | None = None
) -> int | None:
    """At most so many jobs there are of a status, or an outcome; None if no index knows.

    It is the number, except that all outcomes without success are counted as one. Takes as long
    as `queue_stats` for what waits, and no time for what has ended. Raises BadArgument for an
    unknown outcome, and UnknownQueue.
    """
    if outcome is not None and outcome not in OUTCOMES:
        raise BadArgument(f"unknown outcome {outcome!r}; use one of {', '.join(OUTCOMES)}")
    if outcome is not None or status == COMPLETED:
        queues = get_queues(place)
        chosen = queues.values() if queue is None else [queues[queue]]
        shards = [shard for each in chosen for shard in each.shards]
        finished: int = sum(shard.history_length() for shard in shards)
        bad: int = sum(shard.unsuccessful_length() for shard in shards)
        if outcome is None:
            return finished
        return finished - bad if outcome == SUCCEEDED else bad
    if status not in _COUNTED:
        return None
    stats = all_queue_stats(place, 1) if queue is None else [queue_stats(place, queue, 1)]
    return sum(int(getattr(each, _COUNTED[status])) for each in stats)
