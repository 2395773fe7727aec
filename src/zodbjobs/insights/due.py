"""What of a queue is due and waits: how much, and since when, without counting all of it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from zodbjobs import defaults
from zodbjobs.stored.bundle import Bundle
from zodbjobs.stored.lifecycle import keys
from zodbjobs.stored.queue import Queue
from zodbjobs.stored.shard import Shard


def count_due(queue: Queue, now: int, most: int) -> int:
    """How many jobs are due and wait at `now`, in microseconds; counts no further than one more
    than `most`.
    """
    found = 0
    for shard in queue.shards:
        for number in islice(_numbers(shard, now, most), most + defaults.DUE_LOOKS):
            found += number
            if found > most:
                return most + 1
    return found


def _numbers(shard: Shard, now: int, most: int) -> Iterator[int]:
    """How many jobs are due in each entry of the trees of a shard, or that they are more."""
    last = keys.last_scheduled(now)
    for tree in (shard.interrupted, *shard.readies(), *shard.inboxes):
        for key, item in tree.items(keys.SENTINEL + 1):
            if isinstance(item, Bundle):
                jobs = item.jobs.keys(None, last if item.for_later else None)
                yield sum(1 for _ in islice(jobs, most + 1))
            else:
                yield int(not keys.is_for_later(key) or keys.micros_of(key) <= now)
    for item in shard.scheduled.values(None, last):
        jobs = item.jobs.keys(None, last) if isinstance(item, Bundle) else (item,)
        yield sum(1 for _ in islice(jobs, most + 1))


def oldest_due(queue: Queue, now: int) -> int | None:
    """Since when, in microseconds, the oldest job waits of those that are due at `now`; None if
    none is. Looks at the first entries of each priority only.
    """
    return min((moment for shard in queue.shards for moment in _firsts(shard, now)), default=None)


def _firsts(shard: Shard, now: int) -> Iterator[int]:
    """When the first jobs of each tree, and of each priority in it, came to wait."""
    for tree in (shard.interrupted, *shard.readies(), *shard.inboxes):
        last = keys.SENTINEL
        while last < keys.LAST and (key := next(iter(tree.keys(last + 1)), None)) is not None:
            last = keys.last_of_priority(key)
            entries = islice(tree.items(key, last), defaults.DUE_LOOKS)
            moments = (_moment(key, item) for key, item in entries)
            first = next((moment for moment in moments if moment <= now), None)
            if first is not None:
                yield first
    first = next(iter(shard.scheduled.keys(None, keys.last_scheduled(now))), None)
    if first is not None:
        yield keys.scheduled_micros(first)


def _moment(key: int, item: Any) -> int:
    """Since when, or from when on, the first job of an entry waits."""
    if isinstance(item, Bundle) and (first := item.first()) is not None:
        return keys.scheduled_micros(first) if item.for_later else keys.micros_of(first)
    return keys.micros_of(key)
