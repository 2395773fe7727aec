"""Keeps the history short: by age, and by count."""

from __future__ import annotations

from collections.abc import Sequence

from zodbjobs import clock, defaults
from zodbjobs.stored.queue import Queue


def prune(queues: Sequence[Queue], seconds: float, most: int) -> int:
    """Drop finished jobs older than `seconds`, and the oldest beyond `most` of a queue.

    At most PRUNE_BATCH of each shard; joins the current transaction. Returns how many were
    dropped; while that isn't 0 there may be more.
    """
    before = clock.now() - int(seconds * 1_000_000)
    count = 0
    for queue in queues:
        share = -(-most // len(queue.shards))
        for shard in queue.shards:
            count += shard.prune(before, share, defaults.PRUNE_BATCH)
    return count
