"""Claim: due jobs move from the shards of a queue into the lease of a worker.

Claims load no jobs, but those for an agent with a filter.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from ZODB.utils import u64

from zodbjobs import defaults
from zodbjobs.stored.lifecycle import keys, pausing, refused
from zodbjobs.stored.lifecycle.storable import can_be_stored

if TYPE_CHECKING:
    from zodbjobs.stored.job import Job
    from zodbjobs.stored.lifecycle.refused import Filter
    from zodbjobs.stored.queue import Queue
    from zodbjobs.stored.shard import Shard
    from zodbjobs.stored.workers import WorkerRecord


class Claim(NamedTuple):
    """A claimed job: its key in the lease, its object id, that of its shard.

    `interruptions`: how often a worker died or stopped while it held the job.
    """

    key: int
    oid: bytes
    shard: bytes
    interruptions: int = 0

    def __str__(self) -> str:
        return f"job {u64(self.oid)}"


def claim(
    queue: Queue,
    worker: WorkerRecord,
    limit: int,
    now: int,
    shards: Sequence[Shard],
    interrupted: int = 0,
    chooser: Filter | None = None,
) -> list[Claim]:
    """Move up to `limit` due jobs of `shards`, which are some of the queue's, into the lease
    of `worker`, in the order of their keys; none while the queue is paused.

    `interrupted`: how many jobs the worker holds already that were interrupted before. Joins
    the current transaction; the caller commits, and runs them only then.

    `chooser` takes none but those that it accepts. It is asked for MOST_ASKED at most, so fewer
    may be found though there are more.
    """
    complete = min(shard.drain(now, limit) for shard in shards)
    if pausing.is_paused(queue):
        return []
    claimed = _claim_interrupted(worker, limit, shards, interrupted, chooser)
    heap = [(key, s.index) for s in shards if (key := refused.first(s, chooser)) is not None]
    heapq.heapify(heap)
    while heap and len(claimed) < limit:
        shard = queue.shards[heapq.heappop(heap)[1]]
        last = min(complete, heap[0][0]) if heap else complete
        room = limit - len(claimed)
        if chooser is not None:
            if chooser.asked >= defaults.MOST_ASKED:
                break
            taken = _choose(shard, last, min(room, defaults.MOST_ASKED), chooser)
        elif shard.refused is None:
            taken = shard.take(last, room)
        else:
            taken = [(key, job) for key, job, _ in refused.take(shard, last, room, None)]
        claimed += _lease(worker, shard, taken)
        first = refused.first(shard, chooser)
        if first is not None and first <= complete:
            heapq.heappush(heap, (first, shard.index))
    return claimed


def _choose(shard: Shard, last: int, limit: int, chooser: Filter) -> list[tuple[int, Job]]:
    """Take out of up to `limit` ready jobs those that are accepted."""
    asked = refused.take(shard, last, limit, chooser)
    shard._p_jar.prefetch([job for _, job, _ in asked])
    taken = []
    for key, job, names in asked:
        if chooser.accepts(job):
            taken.append((key, job))
        else:
            refused.refuse(shard, key, job, names, chooser)
    return taken


def most_together(interruptions: int) -> int:
    """How many jobs that were interrupted before a worker may hold if one of them was
    interrupted so often: the oftener, the fewer, so that a job that kills its process
    soon does so alone.
    """
    return max(1, defaults.INTERRUPTED_TOGETHER >> 2 * (interruptions - 1))


def _claim_interrupted(
    worker: WorkerRecord,
    limit: int,
    shards: Iterable[Shard],
    held: int,
    chooser: Filter | None,
) -> list[Claim]:
    claimed: list[Claim] = []
    for shard in shards:
        if not shard.interrupted:
            continue
        entries = list(islice(shard.interrupted.items(), defaults.CLAIM_MOST))
        for key, (times, job, *names) in entries:
            if len(claimed) >= limit:
                return claimed
            if held + len(claimed) >= most_together(times):
                continue
            if chooser is not None and not _accepts(shard, key, times, job, names, chooser):
                continue
            del shard.interrupted[key]
            claimed += _lease(worker, shard, [(key, job)], times)
    return claimed


def _accepts(
    shard: Shard, key: int, times: int, job: Job, names: list[str], chooser: Filter
) -> bool:
    """Whether an interrupted job is taken; what it refuses is noted in the job's entry."""
    if chooser.name in names:
        return False
    if chooser.accepts(job):
        return True
    shard.interrupted[key] = (times, job, *names, chooser.name)
    return False


def _lease(
    worker: WorkerRecord, shard: Shard, taken: list[tuple[int, Job]], interruptions: int = 0
) -> list[Claim]:
    lease = worker.lease
    oid = shard._p_oid
    claimed = []
    for key, job in taken:
        if not lease.insert(key, job):
            if not can_be_stored(job):
                shard.park(key, job)
                continue
            key = keys.free_key(lease, key)
            lease[key] = job
            job._place(shard, key)
        claimed.append(Claim(key, job._p_oid, oid, interruptions))
    return claimed


def next_due(queue: Queue) -> int | None:
    """When the first scheduled job of the queue is due, in microseconds, or None."""
    dues = [due for shard in queue.shards if (due := shard.next_due()) is not None]
    return min(dues, default=None)
