"""Walks the trees from the newest job on, and reads no more of them than is asked for."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from zodbjobs.interfaces import ACTIVE, ASSIGNED, CALLBACKS, COMPLETED, PENDING
from zodbjobs.stored.bundle import Bundle
from zodbjobs.stored.job import Job
from zodbjobs.stored.lifecycle import keys
from zodbjobs.stored.lifecycle.completion import shard_of
from zodbjobs.stored.lifecycle.entries import job_of
from zodbjobs.stored.queue import Queue
from zodbjobs.stored.shard import HISTORY_TIE, Shard

#: Kinds of PENDING: due, not due yet, and one whose code is missing. WAITING is also said of an
#: ACTIVE job that waits for the one that it has returned.
WAITING = "waiting"
SCHEDULED = "scheduled"
PARKED = "parked"
#: What waits for other jobs to end, or for a slot of a quota.
BLOCKED = "blocked"
#: What a pause of some jobs has put aside.
PAUSED = "paused"

# The microseconds by which a job is sorted, and the job.
_Placed = tuple[int, Job]
_Stream = Iterator[_Placed]


def newest(queues: Iterable[Queue], status: str | None, ended_only: bool) -> Iterator[Job]:
    """The jobs that may be of `status` (any: None), by their time, the newest first.

    The time of a job is that of its end, else of its put, or when it is due if it was put
    for later. What was put in one transaction stays together. Jobs that are not of `status`
    may be among them.
    """
    streams: list[_Stream] = []
    for queue in queues:
        if status in (None, CALLBACKS, COMPLETED):
            streams += map(_history, queue.shards)
        if status in (None, ASSIGNED, ACTIVE, CALLBACKS, COMPLETED):
            streams.append(_leased(queue))
        if ended_only:
            continue
        for shard in queue.shards:
            if status in (None, PENDING, WAITING, SCHEDULED):
                streams += _waiting(shard)
            if status in (None, ACTIVE, WAITING):
                streams += _by_key(shard.waiting)
            if status in (None, PENDING, BLOCKED):
                streams += _by_key(shard.blocked)
                streams += _by_key(shard.limited)
            if status in (None, PENDING, PAUSED):
                for pause in queue.pauses:
                    for tree in pause.trees(shard.index):
                        streams += _by_key(tree)
            if status in (None, PENDING, PARKED):
                streams += _by_key(shard.parked)
    return (job for _, job in _merged(streams))


def is_of(job: Any, queue: Queue) -> bool:
    """Whether `job`, which may be of a class that is missing here, is in `queue`."""
    shard = shard_of(job)
    return shard is not None and shard.queue is queue


def _merged(streams: Iterable[_Stream]) -> _Stream:
    return heapq.merge(*streams, key=lambda placed: placed[0], reverse=True)


def _history(shard: Shard) -> _Stream:
    return ((place >> HISTORY_TIE, job) for place, job in keys.backwards(shard.history))


def _leased(queue: Queue) -> _Stream:
    placed = [
        (keys.micros_of(key), job)
        for worker in queue.parent.workers.values()
        for key, job in worker.leased()
        if is_of(job, queue)
    ]
    return iter(sorted(placed, key=lambda item: item[0], reverse=True))


def _waiting(shard: Shard) -> Iterator[_Stream]:
    yield _by_scheduled_key(shard.scheduled)
    for tree in (*shard.readies(), *shard.inboxes):
        yield from _by_key(tree)
    interrupted = ((keys.micros_of(key), job_of(it)) for key, it in shard.interrupted.items())
    yield iter(sorted(interrupted, key=lambda item: item[0], reverse=True))


def _by_key(tree: Any) -> Iterator[_Stream]:
    """One stream for each priority."""
    for first in range(0, keys.LAST, keys.PRIORITY_SPAN):
        last = first + keys.PRIORITY_SPAN - 1
        if next(iter(tree.keys(first, last)), None) is not None:
            yield _unpacked(keys.backwards(tree, last, first), keys.micros_of)


def _by_scheduled_key(tree: Any) -> _Stream:
    return _unpacked(keys.backwards(tree), keys.scheduled_micros)


def _unpacked(items: Iterator[tuple[int, Any]], micros: Callable[[int], int]) -> _Stream:
    """With the jobs of each bundle in its place."""
    for key, item in items:
        if not isinstance(item, Bundle):
            yield micros(key), job_of(item)
        elif item.for_later:
            yield from _by_scheduled_key(item.jobs)
        else:
            yield from _merged(_by_key(item.jobs))
