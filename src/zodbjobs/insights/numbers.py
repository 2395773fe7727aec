"""How many jobs are where, and who works."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from zodbjobs import clock, defaults
from zodbjobs.insights.infos import Minute, PauseInfo, QueueStats, Times, WorkerInfo
from zodbjobs.insights.newest import is_of
from zodbjobs.runtime.failure_detector import is_dead
from zodbjobs.stored.bundle import Bundle
from zodbjobs.stored.job import Job
from zodbjobs.stored.lifecycle import keys, spreads
from zodbjobs.stored.lifecycle.completion import shard_of
from zodbjobs.stored.lifecycle.history import HISTORY_TIE, MINUTE, minutes_of
from zodbjobs.stored.lifecycle.root import get_queues
from zodbjobs.stored.lifecycle.spreads import Spread
from zodbjobs.stored.queue import Queue
from zodbjobs.stored.queues import Queues
from zodbjobs.stored.shard import Shard
from zodbjobs.stored.workers import WorkerRecord

#: States of a worker.
RUNNING = "running"
STUCK = "stuck"
SILENT = "silent"
GONE = "gone"


def queue_stats(place: Any, name: str, minutes: int = 60) -> QueueStats:
    """The numbers of one queue; its chart, and the times of its jobs, of the last `minutes`.

    Counting what waits reads the queue's indexes, not the jobs: about a second for a
    million. All else takes the same time however many there are, ended ones above all. Of what
    workers hold it loads LEASED_LOOKS jobs at most, where there is more than one queue, and tells
    how many more there are.
    """
    queues = get_queues(place)
    return _stats(queues[name], minutes, Leased(queues))


def all_queue_stats(place: Any, minutes: int = 60) -> list[QueueStats]:
    """`queue_stats` of each queue, by name."""
    queues = get_queues(place)
    leased = Leased(queues)
    return [_stats(queue, minutes, leased) for queue in queues.values()]


def _stats(queue: Queue, minutes: int, leased: Leased) -> QueueStats:
    now = clock.now()
    counted = Waiting(now)
    for shard in queue.shards:
        counted.count(shard)
        # Lets go of the indexes that were read; there may be many.
        queue._p_jar.cacheGC()
    ends = [s.history.maxKey() >> HISTORY_TIE for s in queue.shards if s.history]
    booked = booked_from(queue, now // MINUTE - minutes + 1)
    return QueueStats(
        name=queue.name,
        waiting=counted.due,
        scheduled=counted.later,
        blocked=sum(len(shard.blocked) + len(shard.limited) - 2 for shard in queue.shards),
        parked=sum(len(shard.parked) for shard in queue.shards),
        assigned=leased.assigned[queue.name],
        active=leased.active[queue.name] + sum(len(shard.waiting) - 1 for shard in queue.shards),
        finished=sum(shard.history_length() for shard in queue.shards),
        chart=_chart(booked),
        paused=sum(len(pause) for pause in queue.pauses),
        pauses=list_pauses(queue),
        draining=queue.draining,
        next_due=clock.moment(counted.next_due),
        last_ended=clock.moment(max(ends, default=None)),
        oldest_waiting=clock.moment(counted.oldest),
        waiting_time=times_of(each[5] for each in booked if len(each) > 4),
        duration=times_of(each[4] for each in booked if len(each) > 4),
        not_looked_at=leased.not_looked_at,
        unsuccessful=sum(shard.unsuccessful_length() for shard in queue.shards),
    )


def list_pauses(queue: Queue, counted: bool = True) -> tuple[PauseInfo, ...]:
    """The pauses of a queue, the oldest first; to count their jobs reads their indexes."""
    return tuple(
        PauseInfo(p.reason, p.match, p.since, len(p) if counted else None) for p in queue.pauses
    )


def is_empty(place: Any, name: str) -> bool:
    """Whether a queue has no job that is to be run, or runs; parked ones don't count. Cheap."""
    queue = get_queues(place)[name]
    for shard in queue.shards:
        lasting = (*shard.inboxes, shard.blocked, shard.limited, shard.waiting)
        if any(tree.maxKey() != keys.SENTINEL for tree in lasting):
            return False
        if any((*shard.readies(), shard.scheduled, shard.interrupted)):
            return False
    if any(len(pause) for pause in queue.pauses):
        return False
    workers = queue.parent.workers.values()
    return not any(is_of(job, queue) for worker in workers for _, job in worker.leased())


class Leased:
    """Counts what workers hold, by the name of the queue: what is assigned, and what runs.

    `not_looked_at`: how many there are of which it didn't look whose they are. What runs is
    looked at first.
    """

    def __init__(self, queues: Queues) -> None:
        self.assigned: Counter[str] = Counter()
        self.active: Counter[str] = Counter()
        self.not_looked_at = 0
        runs: list[Job] = []
        waits: list[Job] = []
        for record in queues.workers.values():
            for key, job in record.leased():
                (runs if key in record.running else waits).append(job)
        if len(queues) == 1:
            (name,) = queues
            self.active[name], self.assigned[name] = len(runs), len(waits)
            return
        connection = queues._p_jar
        looks = defaults.LEASED_LOOKS
        self.not_looked_at = max(0, len(runs) + len(waits) - looks)
        for counter, jobs in ((self.active, runs), (self.assigned, waits)):
            jobs = jobs[:looks]
            looks -= len(jobs)
            connection.prefetch(jobs)
            for job in jobs:
                shard = shard_of(job)
                if shard is not None:
                    counter[shard.queue.name] += 1
            connection.cacheGC()


class Waiting:
    """Counts what waits: what is due at `now`, what will be; since when, and when the first is.

    Times are microseconds, None if there are no such jobs.
    """

    def __init__(self, now: int) -> None:
        self.due = self.later = 0
        self.oldest: int | None = None
        self.next_due: int | None = None
        self._now = now
        self._last = keys.last_scheduled(now)

    def count(self, shard: Shard) -> None:
        """Count what waits in a shard."""
        self.due += len(shard.interrupted)
        self._note_oldest(shard.interrupted)
        for tree in (*shard.readies(), *shard.inboxes):
            self._count(tree)
        self._count_scheduled(shard.scheduled)

    def _count(self, tree: Any) -> None:
        """Count a tree in the order of keys."""
        due, end_of_priority = 0, keys.SENTINEL
        for key, item in tree.items(keys.SENTINEL + 1):
            if isinstance(item, Bundle):
                if item.for_later:
                    self._count_scheduled(item.jobs)
                else:
                    due += len(item.jobs)
                    self._note_oldest(item.jobs)
            elif keys.is_for_later(key) and (micros := keys.micros_of(key)) > self._now:
                self.later += 1
                self._note_next(micros)
            else:
                due += 1
                if key > end_of_priority:
                    self._note_waits(keys.micros_of(key))
                    end_of_priority = keys.last_of_priority(key)
        self.due += due

    def _count_scheduled(self, tree: Any) -> None:
        due = later = 0
        for scheduled, item in tree.items():
            if isinstance(item, Bundle):
                self._count_scheduled(item.jobs)
            elif scheduled > self._last:
                if not later:
                    self._note_next(keys.scheduled_micros(scheduled))
                later += 1
            else:
                if not due:
                    self._note_waits(keys.scheduled_micros(scheduled))
                due += 1
        self.due += due
        self.later += later

    def _note_oldest(self, tree: Any) -> None:
        """Look at the first key of each priority of a tree without bundles."""
        last = keys.SENTINEL
        while last < keys.LAST and (key := next(iter(tree.keys(last + 1)), None)) is not None:
            self._note_waits(keys.micros_of(key))
            last = keys.last_of_priority(key)

    def _note_waits(self, micros: int) -> None:
        self.oldest = micros if self.oldest is None else min(self.oldest, micros)

    def _note_next(self, micros: int) -> None:
        self.next_due = micros if self.next_due is None else min(self.next_due, micros)


def booked_from(queue: Queue, first: int) -> list[Any]:
    """What the shards have booked from the minute `first` on: the minute, and what is of it."""
    return [
        (minute, *booked) for shard in queue.shards for minute, booked in minutes_of(shard, first)
    ]


def _chart(booked: list[Any]) -> tuple[Minute, ...]:
    sums: dict[int, tuple[int, int, int]] = {}
    for minute, done, bad, work, *_ in booked:
        before = sums.get(minute, (0, 0, 0))
        sums[minute] = (before[0] + done, before[1] + bad, before[2] + work)
    return tuple(
        Minute(clock.to_datetime(minute * MINUTE), done, bad, work / 1_000_000)
        for minute, (done, bad, work) in sorted(sums.items())
    )


def times_of(found: Iterable[Spread | None]) -> Times | None:
    """What spreads tell together; None for none."""
    spread = spreads.merged(found)
    if spread is None:
        return None
    p50, p95 = spreads.quantile(spread, 0.5), spreads.quantile(spread, 0.95)
    return Times(p50 / 1e6, p95 / 1e6, spread[1] / 1e6, spread[0] / 1e6)


def list_workers(place: Any) -> list[WorkerInfo]:
    """The workers that are registered, those that died without a word among them."""
    return [_worker(record) for record in get_queues(place).workers.values()]


def _worker(record: WorkerRecord) -> WorkerInfo:
    active = sum(1 for key, _ in record.leased() if key in record.running)
    gone = is_dead(record, only_process=False)
    return WorkerInfo(
        id=record.id,
        host=record.host,
        pid=record.pid,
        threads=sum(agent.size for agent in record.agents) or record.threads,
        started=clock.to_datetime(record.started),
        heartbeat=record.heartbeat,
        assigned=len(record.leased()) - active,
        active=active,
        gone=gone,
        stuck=record.stuck,
        last_written=written_at(record),
        state=GONE if gone else state_of(record),
        version=record.version,
    )


def written_at(record: WorkerRecord) -> datetime | None:
    """When the record was written, by the clock of the storage; None before its first commit."""
    written = getattr(record, "_p_mtime", None)
    return None if written is None else clock.to_datetime(round(written * 1_000_000))


def state_of(record: WorkerRecord) -> str:
    """The state of a worker whose process isn't known to have ended."""
    last_written = written_at(record)
    silence = timedelta(seconds=record.heartbeat_seconds * defaults.MISSED_HEARTBEATS)
    if last_written is not None and clock.to_datetime(clock.now()) - last_written > silence:
        return SILENT
    return STUCK if record.stuck else RUNNING
