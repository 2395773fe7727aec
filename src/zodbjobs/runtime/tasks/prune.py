"""Prune: keeps the history of a queue short, by age and by count, and the audit trail by age."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice
from operator import itemgetter

from zodbjobs import clock, defaults
from zodbjobs.stored.lifecycle import auditing, history, listing
from zodbjobs.stored.lifecycle.history import HISTORY_TIE
from zodbjobs.stored.queue import Queue
from zodbjobs.stored.shard import Shard


def prune(queues: Sequence[Queue], seconds: float, most: int) -> int:
    """Drop finished jobs older than `seconds`, and the oldest beyond `most` of a queue; and deeds
    older than AUDIT_SECONDS.

    At most PRUNE_BATCH of each queue; joins the current transaction. Returns how many were
    dropped; while that isn't 0 there may be more.
    """
    before = clock.now() - int(seconds * 1_000_000)
    deeds = auditing.prune(queues[0].parent) if queues else 0
    return deeds + sum(_prune(queue, before, most) for queue in queues)


def _prune(queue: Queue, before: int, most: int) -> int:
    surplus = sum(shard.history_length() for shard in queue.shards) - most
    dropped: defaultdict[int, list[int]] = defaultdict(list)
    count = 0
    for place, index in islice(_oldest_first(queue), defaults.PRUNE_BATCH):
        if place >= before << HISTORY_TIE and count >= surplus:
            break
        dropped[index].append(place)
        count += 1
    for shard in queue.shards:
        listing.prune(shard, dropped[shard.index])
        history.drop_minutes(shard, before, defaults.PRUNE_BATCH)
    return count


def _oldest_first(queue: Queue) -> Iterator[tuple[int, int]]:
    """The keys of the history, and the shards that have them."""

    def places(shard: Shard) -> Iterator[tuple[int, int]]:
        return ((place, shard.index) for place in shard.history.keys())  # noqa: SIM118

    return heapq.merge(*map(places, queue.shards), key=itemgetter(0))
