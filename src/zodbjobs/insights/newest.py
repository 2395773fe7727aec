"""Walks the trees from the newest job on, and reads no more of them than is asked for."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from zodbjobs.interfaces import ACTIVE, ASSIGNED, CALLBACKS, COMPLETED, PENDING
from zodbjobs.stored.bundle import Bundle
from zodbjobs.stored.job import Job
from zodbjobs.stored.lifecycle import keys
from zodbjobs.stored.lifecycle.completion import shard_of
from zodbjobs.stored.lifecycle.entries import job_of
from zodbjobs.stored.lifecycle.history import HISTORY_TIE
from zodbjobs.stored.queue import Queue
from zodbjobs.stored.shard import Shard
from zodbjobs.stored.workers import WorkerRecord

#: Kinds of PENDING: due, not due yet, and one whose code is missing. WAITING is also said of an
#: ACTIVE job that waits for the one that it has returned.
WAITING = "waiting"
SCHEDULED = "scheduled"
PARKED = "parked"
#: What waits for other jobs to end, or for a slot of a quota.
BLOCKED = "blocked"
#: What a pause of some jobs has put aside.
PAUSED = "paused"

#: The statuses, and kinds of them, of jobs that a worker has or has ended.
WITH_WORKER = (ASSIGNED, ACTIVE, CALLBACKS, COMPLETED)

#: The microseconds by which a job is sorted, and the job.
Placed = tuple[int, Job]
_Stream = Iterator[Placed]


class Span(NamedTuple):
    """Microseconds from `since` until just before `until`."""

    since: int = 0
    until: int = keys.LAST_MICROS

    def has(self, micros: int) -> bool:
        """Whether a moment is in it."""
        return self.since <= micros < self.until


#: All time.
WHOLE = Span()


def newest(
    queues: Iterable[Queue],
    status: str | None,
    span: Span,
    *,
    worker: str | None = None,
    waiting_too: bool = True,
    unsuccessful: bool = False,
) -> Iterator[Placed]:
    """Jobs that may be of `status` (any: None), each with its microseconds, the newest first.

    The time of a job is that of its end, else of its put, or when it is due if it was put
    for later. What was put in one transaction stays together. Jobs that are not of `status`, or
    not quite of `span`, may be among them, and such that workers hold of other queues. `worker`:
    of what workers hold, only what those hold whose ids begin so. `waiting_too`: also what no
    worker has or has ended. `unsuccessful`: of what has ended, what did so without success.
    """
    streams: list[_Stream] = []
    queues = list(queues)
    if queues and status in (None, *WITH_WORKER):
        streams.append(_leased(queues[0].parent.workers.values(), worker or ""))
    for queue in queues:
        if status in (None, CALLBACKS, COMPLETED):
            streams += (_history(shard, span, unsuccessful) for shard in queue.shards)
        if not waiting_too:
            continue
        for shard in queue.shards:
            if status in (None, PENDING, WAITING, SCHEDULED):
                streams += _waiting(shard, span)
            if status in (None, ACTIVE, WAITING):
                streams += _by_key(shard.waiting, span)
            if status in (None, PENDING, BLOCKED):
                streams += _by_key(shard.blocked, span)
                streams += _by_key(shard.limited, span)
            if status in (None, PENDING, PAUSED):
                for pause in queue.pauses:
                    for tree in pause.trees(shard.index):
                        streams += _by_key(tree, span)
            if status in (None, PENDING, PARKED):
                streams += _by_key(shard.parked, span)
    return _merged(streams)


def is_of(job: Any, queue: Queue) -> bool:
    """Whether `job`, which may be of a class that is missing here, is in `queue`."""
    shard = shard_of(job)
    return shard is not None and shard.queue is queue


def _merged(streams: Iterable[_Stream]) -> _Stream:
    return heapq.merge(*streams, key=lambda placed: placed[0], reverse=True)


def _history(shard: Shard, span: Span, unsuccessful: bool) -> _Stream:
    last = (span.until << HISTORY_TIE) - 1
    tree = shard.unsuccessful if unsuccessful else shard.history
    found = keys.backwards(tree, last, span.since << HISTORY_TIE)
    return ((place >> HISTORY_TIE, job) for place, job in found)


def _leased(workers: Iterable[WorkerRecord], worker: str) -> _Stream:
    """Of all queues: which one's a job is only its record tells, and there may be many."""
    placed = [
        (keys.micros_of(key), job)
        for record in workers
        if record.id.startswith(worker)
        for key, job in record.leased()
    ]
    return iter(sorted(placed, key=lambda item: item[0], reverse=True))


def _waiting(shard: Shard, span: Span) -> Iterator[_Stream]:
    yield _by_scheduled_key(shard.scheduled, span)
    for tree in (*shard.readies(), *shard.inboxes):
        yield from _by_key(tree, span)
    if span != WHOLE:
        yield from _filed_elsewhere(shard, span)
    interrupted = ((keys.micros_of(key), job_of(it)) for key, it in shard.interrupted.items())
    yield iter(sorted(interrupted, key=lambda item: item[0], reverse=True))


def _filed_elsewhere(shard: Shard, span: Span) -> Iterator[_Stream]:
    """What is due in the span and lies in a bundle that isn't filed there.

    Reads the indexes of what is scheduled, as far as that is before the span, and the inboxes.
    """
    first, _ = keys.scheduled_bounds(*span)
    filed = [shard.scheduled.values(None, first - 1), *(tree.values() for tree in shard.inboxes)]
    for items in filed:
        for item in items:
            if isinstance(item, Bundle) and item.for_later:
                yield _by_scheduled_key(item.jobs, span)


def _by_key(tree: Any, span: Span) -> Iterator[_Stream]:
    """One stream for each priority."""
    if next(iter(tree.keys(keys.SENTINEL + 1)), None) is None:
        return  # as most are
    for start in range(0, keys.LAST, keys.PRIORITY_SPAN):
        first, last = keys.key_bounds(start, *span)
        if next(iter(tree.keys(first, last)), None) is not None:
            yield _unpacked(keys.backwards(tree, last, first), span)


def _unpacked(items: Iterator[tuple[int, Any]], span: Span) -> _Stream:
    """With the jobs of each bundle in its place."""
    for key, item in items:
        if not isinstance(item, Bundle):
            yield keys.micros_of(key), job_of(item)
        elif not item.for_later:
            yield from _merged(_by_key(item.jobs, span))
        elif span == WHOLE:
            yield from _by_scheduled_key(item.jobs, span)


def _by_scheduled_key(tree: Any, span: Span) -> _Stream:
    first, last = keys.scheduled_bounds(*span)
    for place, item in keys.backwards(tree, last, first):
        if isinstance(item, Bundle):
            yield from _by_scheduled_key(item.jobs, span)
        else:
            yield keys.scheduled_micros(place), job_of(item)
