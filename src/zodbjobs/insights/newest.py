"""Walks the trees from the newest job on, and reads no more of them than is asked for."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from zodbjobs.interfaces import ACTIVE, ASSIGNED, COMPLETED, PENDING
from zodbjobs.stored import keys
from zodbjobs.stored.inbox import Bundle
from zodbjobs.stored.job import Job
from zodbjobs.stored.queue import Queue
from zodbjobs.stored.shard import _HISTORY_TIE, Shard, shard_of

#: Kinds of PENDING: due, not due yet, and one whose code is missing.
WAITING = "waiting"
HELD = "held"
PARKED = "parked"

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
        if status in (None, COMPLETED):
            streams += map(_history, queue.shards)
        if status in (None, ASSIGNED, ACTIVE, COMPLETED):
            streams.append(_leased(queue))
        if ended_only:
            continue
        for shard in queue.shards:
            if status in (None, PENDING, WAITING, HELD):
                streams += _waiting(shard)
            if status in (None, PENDING, PARKED):
                streams += _by_key(shard.parked)
    return (job for _, job in _merged(streams))


def is_of(job: Any, queue: Queue) -> bool:
    """Whether `job`, which may be of a class that is missing here, is in `queue`."""
    return shard_of(job).queue is queue


def _merged(streams: Iterable[_Stream]) -> _Stream:
    return heapq.merge(*streams, key=lambda placed: placed[0], reverse=True)


def _backwards(tree: Any, first: int = 0, last: int = keys.LAST) -> Iterator[tuple[int, Any]]:
    try:
        key = tree.maxKey(last)
        while key >= first:
            yield key, tree[key]
            key = tree.maxKey(key - 1)
    except ValueError:  # there is none before
        return


def _history(shard: Shard) -> _Stream:
    return ((place >> _HISTORY_TIE, job) for place, job in _backwards(shard.history))


def _leased(queue: Queue) -> _Stream:
    placed = [
        (keys.micros_of(key), job)
        for worker in queue.parent.workers.values()
        for key, job in worker.held()
        if is_of(job, queue)
    ]
    return iter(sorted(placed, key=lambda item: item[0], reverse=True))


def _waiting(shard: Shard) -> Iterator[_Stream]:
    yield _by_held_key(shard.held)
    for tree in (shard.ready, shard.rescued, *shard.inboxes):
        yield from _by_key(tree)


def _by_key(tree: Any) -> Iterator[_Stream]:
    """One stream for each priority."""
    for first in range(0, keys.LAST, keys.PRIORITY_SPAN):
        last = first + keys.PRIORITY_SPAN - 1
        if next(iter(tree.keys(first, last)), None) is not None:
            yield _unpacked(_backwards(tree, first, last), keys.micros_of)


def _by_held_key(tree: Any) -> _Stream:
    return _unpacked(_backwards(tree), keys.held_micros)


def _unpacked(items: Iterator[tuple[int, Any]], micros: Callable[[int], int]) -> _Stream:
    """With the jobs of each bundle in its place."""
    for key, item in items:
        if not isinstance(item, Bundle):
            yield micros(key), item
        elif item.for_later:
            yield from _by_held_key(item.jobs)
        else:
            yield from _merged(_by_key(item.jobs))
