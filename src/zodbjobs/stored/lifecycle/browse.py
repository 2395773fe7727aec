"""Looking at what waits in a queue, in the order in which one worker would take it.

What is looked at may be changed meanwhile: a job that is taken out doesn't hide another one.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from zodbjobs.stored.bundle import Bundle
from zodbjobs.stored.lifecycle import keys
from zodbjobs.stored.lifecycle.entries import job_of
from zodbjobs.stored.lifecycle.keys import SENTINEL

if TYPE_CHECKING:
    from zodbjobs.stored.job import Job
    from zodbjobs.stored.shard import Shard

Keyed = tuple[int, "Job"]

_key = itemgetter(0)


def in_order(shards: Sequence[Shard], now: int) -> Iterator[Keyed]:
    """Keys and jobs: those that were interrupted, those that are due, those that will be.

    Lazy: the first ones cost little, however many wait.
    """
    for shard in shards:
        for key, item in keys.forwards(shard.interrupted):
            yield key, job_of(item)
    runs: list[Iterator[Keyed]] = []
    scheduled: list[Iterator[Keyed]] = []
    for shard in shards:
        runs += (_unfolded(keys.forwards(tree)) for tree in _due(shard))
        scheduled.append(_unfolded(keys.forwards(shard.scheduled)))
        for inbox in shard.inboxes:
            for_now, for_later = _sorted_out(inbox)
            runs.append(_unfolded(iter(for_now)))
            scheduled.append(_unfolded(iter(for_later)))
    last = keys.last_scheduled(now)
    due: list[Keyed] = []
    later: Iterator[Keyed] = heapq.merge(*scheduled, key=_key)
    for place, job in later:
        if place > last:
            later = chain([(place, job)], later)
            break
        due.append((keys.from_scheduled(place), job))
    # What was put for later and is due by now has its place among the others.
    yield from heapq.merge(sorted(due, key=_key), *runs, key=_key)
    for place, job in later:
        yield keys.from_scheduled(place), job


def _due(shard: Shard) -> tuple[Any, ...]:
    """The trees of jobs that are due."""
    return (*shard.readies(), shard.limited)


def _sorted_out(inbox: Any) -> tuple[list[tuple[int, Any]], list[tuple[int, Any]]]:
    """The items of an inbox for now, and those for later by their scheduled keys.

    A bundle goes by its first job; the inbox has it under the job that was put first.
    """
    for_now: list[tuple[int, Any]] = []
    for_later: list[tuple[int, Any]] = []
    for key, item in inbox.items(SENTINEL + 1):
        if isinstance(item, Bundle):
            (for_later if item.for_later else for_now).append((item.first() or 0, item))
        elif keys.is_for_later(key):
            for_later.append((keys.scheduled_key(key), item))
        else:
            for_now.append((key, item))
    return sorted(for_now, key=_key), sorted(for_later, key=_key)


def _unfolded(items: Iterator[tuple[int, Any]]) -> Iterator[Keyed]:
    """Sorted items with the bundles among them replaced by what is in them.

    The key of a bundle may be smaller than its first one's, not larger.
    """
    heap: list[tuple[int, int, Any, Iterator[Keyed]]] = []
    number = 0
    for key, item in items:
        while heap and heap[0][0] < key:
            yield _pop(heap)
        run = keys.forwards(item.jobs) if isinstance(item, Bundle) else iter([(key, job_of(item))])
        for first, job in run:
            number += 1
            heapq.heappush(heap, (first, number, job, run))
            break
    while heap:
        yield _pop(heap)


def _pop(heap: list[tuple[int, int, Any, Iterator[Keyed]]]) -> Keyed:
    key, number, job, run = heap[0]
    for following, next_job in run:
        heapq.heapreplace(heap, (following, number, next_job, run))
        break
    else:
        heapq.heappop(heap)
    return key, job


def count(shards: Sequence[Shard]) -> int:
    """How many jobs wait; reads all inner nodes and leaves of the trees."""
    number = 0
    for shard in shards:
        number += len(shard.interrupted)
        for tree in (*_due(shard), shard.scheduled, *shard.inboxes):
            number += sum(
                len(item.jobs) if isinstance(item, Bundle) else 1
                for item in tree.values(SENTINEL + 1)
            )
    return number


def history(shard: Shard, newest_first: bool) -> Iterator[Keyed]:
    """The ended jobs of a shard, and their keys in its history."""
    return keys.backwards(shard.history) if newest_first else keys.forwards(shard.history)
