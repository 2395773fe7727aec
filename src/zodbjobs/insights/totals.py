"""Totals: what is there now by state, and what was counted since the database is there."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from zodbjobs import clock
from zodbjobs.insights.due import oldest_due
from zodbjobs.insights.infos import Info, WorkerInfo
from zodbjobs.insights.numbers import Leased, Waiting, list_workers
from zodbjobs.insights.schedules import schedule_lateness
from zodbjobs.stored.counters import Counters, Measured
from zodbjobs.stored.lifecycle import pausing, tallies
from zodbjobs.stored.lifecycle.root import get_queues
from zodbjobs.stored.lifecycle.tallies import OUTCOMES, Ends
from zodbjobs.stored.queue import Queue
from zodbjobs.stored.shard import Shard

#: States of jobs that haven't ended, in the order of a job's way.
STATES = ("scheduled", "blocked", "paused", "waiting", "assigned", "active", "parked")


@dataclasses.dataclass(frozen=True)
class ShardJobs(Info):
    """The jobs of a shard now that no worker holds, by state; see STATES.

    `put`: how many were ever put into it, or put again by hand.
    """

    states: Mapping[str, int]
    put: int


@dataclasses.dataclass(frozen=True)
class HeldJobs(Info):
    """The jobs that workers hold now: those of each queue that are assigned, and active.

    `not_looked_at`: how many there are beyond LEASED_LOOKS, of which the queue isn't known.
    """

    assigned: Mapping[str, int]
    active: Mapping[str, int]
    not_looked_at: int


@dataclasses.dataclass(frozen=True)
class Histogram(Info):
    """How often something was measured; `total` is the sum of all values, in microseconds if they
    are times. `classes`: how many were up to each bound and above the one before, the last above
    all bounds; empty if nothing was measured.
    """

    total: int = 0
    classes: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class QueueTotals(Info):
    """What was counted of a queue: jobs that ended, by outcome; of those that were begun how long
    they had waited and ran, by SECONDS_BUCKETS, in the attempt that ended them; attempts that
    another one followed, and jobs that were taken back from their worker.

    `oldest_due`: since when the job waits that has waited longest of those that are due.
    `paused`: whether nothing of the queue is begun.
    """

    name: str
    finished: Mapping[str, int]
    waited: Histogram
    ran: Histogram
    retried: int
    rescued: int
    oldest_due: datetime | None
    paused: bool


@dataclasses.dataclass(frozen=True)
class Totals(Info):
    """What was counted of a database, also by workers that are gone, and the workers of now.

    `conflicts` and `commits` by kind (see `runtime.measures`), the latter by COMMIT_BUCKETS;
    `commit_jobs` by COMMIT_JOBS_BUCKETS. `schedule_lateness`: see there. The
    queues come in the order in which they were made.
    """

    queues: tuple[QueueTotals, ...]
    conflicts: Mapping[str, int]
    commits: Mapping[str, Histogram]
    commit_jobs: Histogram
    schedule_lateness: timedelta
    workers: tuple[WorkerInfo, ...]


def count_shard(shard: Shard) -> ShardJobs:
    """The jobs of a shard; reads its indexes, not the jobs: about 3 s of a core for a million."""
    counted = Waiting(clock.now())
    counted.count(shard)
    states = {
        "scheduled": counted.later,
        "blocked": len(shard.blocked) + len(shard.limited) - 2,
        "paused": sum(len(t) for p in shard.queue.pauses for t in p.trees(shard.index)),
        "waiting": counted.due,
        "active": len(shard.waiting) - 1,
        "parked": len(shard.parked),
    }
    return ShardJobs(states, tallies.put_into(shard))


def count_held(place: Any) -> HeldJobs:
    """The jobs that workers hold; loads LEASED_LOOKS at most. Raises as `get_queue`."""
    held = Leased(get_queues(place))
    return HeldJobs(held.assigned, held.active, held.not_looked_at)


def read_totals(place: Any) -> Totals:
    """All that was counted; it takes the same time however many jobs there are.

    Raises as `get_queue`.
    """
    queues = get_queues(place)
    counters = Counters()
    for each in (queues.counters, *(record.counters for record in queues.workers.values())):
        counters.add(each)
    made = sorted(queues.values(), key=lambda queue: queue._p_oid)
    return Totals(
        tuple(_totals(queue, counters) for queue in made),
        counters.conflicts,
        {kind: _histogram(measured) for kind, measured in counters.commits.items()},
        _histogram(counters.commit_jobs),
        schedule_lateness(place),
        tuple(list_workers(place)),
    )


def _totals(queue: Queue, counters: Counters) -> QueueTotals:
    ends = tallies.added(map(tallies.ends_of, queue.shards))
    return QueueTotals(
        queue.name,
        _by_outcome(ends),
        _histogram(ends.waited),
        _histogram(ends.ran),
        counters.retried.get(queue.name, 0),
        counters.rescued.get(queue.name, 0),
        clock.moment(oldest_due(queue, clock.now())),
        pausing.is_paused(queue),
    )


def _by_outcome(ends: Ends) -> dict[str, int]:
    return dict(zip(OUTCOMES, ends.outcomes, strict=True))


def _histogram(measured: Measured) -> Histogram:
    total, classes = measured
    return Histogram(total, tuple(classes))


def total_of(histograms: Iterable[Histogram]) -> Histogram:
    """What was measured in several places together."""
    total, classes = 0, [0]
    for each in histograms:
        total += each.total
        longer = max(len(classes), len(each.classes))
        classes = [
            sum(part[place] for part in (classes, each.classes) if place < len(part))
            for place in range(longer)
        ]
    return Histogram(total, tuple(classes))
