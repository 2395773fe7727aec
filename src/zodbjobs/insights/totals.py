"""Totals: what is there now by state, and what was counted since the database is there."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from zodbjobs.insights.infos import Info, QueueStats, WorkerInfo
from zodbjobs.insights.numbers import all_queue_stats, list_workers
from zodbjobs.stored.counters import Counters, Measured
from zodbjobs.stored.lifecycle import tallies
from zodbjobs.stored.lifecycle.root import get_queues
from zodbjobs.stored.lifecycle.tallies import OUTCOMES, Ends

#: States of jobs that haven't ended, in the order of a job's way.
STATES = ("scheduled", "blocked", "paused", "waiting", "assigned", "active", "parked")


@dataclasses.dataclass(frozen=True)
class QueueJobs(Info):
    """The jobs of a queue now, by STATES.

    `put`: how many were ever put, or put again. `oldest_waiting`: since when the one waits that
    has waited longest. `paused`: whether nothing of the queue is begun. `not_looked_at`: how many
    the workers of the database hold of which the queue isn't known; see QueueStats.
    """

    name: str
    states: Mapping[str, int]
    put: int
    oldest_waiting: datetime | None
    paused: bool
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
    """

    name: str
    finished: Mapping[str, int]
    waited: Histogram
    ran: Histogram
    retried: int
    rescued: int


@dataclasses.dataclass(frozen=True)
class Totals(Info):
    """What was counted of a database, also by workers that are gone, and the workers of now.

    `conflicts` and `commits` by kind (see `runtime.measures`), the latter by COMMIT_BUCKETS;
    `commit_jobs` by COMMIT_JOBS_BUCKETS. The queues come in the order in which they were made.
    """

    queues: tuple[QueueTotals, ...]
    conflicts: Mapping[str, int]
    commits: Mapping[str, Histogram]
    commit_jobs: Histogram
    workers: tuple[WorkerInfo, ...]


def count_jobs(place: Any) -> tuple[QueueJobs, ...]:
    """The jobs of each queue by state; as `queue_stats`, it takes a second for a million."""
    queues = get_queues(place)
    return tuple(
        QueueJobs(
            stats.name,
            {state: getattr(stats, state) for state in STATES},
            sum(map(tallies.put_into, queues[stats.name].shards)),
            stats.oldest_waiting,
            _is_paused(stats),
            stats.not_looked_at,
        )
        for stats in all_queue_stats(place, minutes=1)
    )


def _is_paused(stats: QueueStats) -> bool:
    return any(pause.match is None for pause in stats.pauses)


def read_totals(place: Any) -> Totals:
    """All that was counted; it takes the same time however many jobs there are."""
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
        tuple(list_workers(place)),
    )


def _totals(queue: Any, counters: Counters) -> QueueTotals:
    ends = tallies.added(map(tallies.ends_of, queue.shards))
    return QueueTotals(
        queue.name,
        _by_outcome(ends),
        _histogram(ends.waited),
        _histogram(ends.ran),
        counters.retried.get(queue.name, 0),
        counters.rescued.get(queue.name, 0),
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
