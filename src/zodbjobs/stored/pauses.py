"""A pause of a queue: of all its jobs, or of those whose callables match."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from BTrees.Length import Length
from BTrees.LOBTree import LOBTree
from persistent import Persistent

from zodbjobs import clock
from zodbjobs.stored.bundle import Bundle
from zodbjobs.stored.lifecycle import keys
from zodbjobs.stored.lifecycle.entries import job_of


class Pause(Persistent):
    """Why jobs of a queue aren't begun; read-only, one of `queue.pauses`.

    `match` is the glob for what they call, None for all jobs of the queue. Those that match
    lie here once a worker has come upon them: in a bundle for each shard, which `resume`
    delivers as it is, however many they are. `entries` has, for each shard, those that were
    interrupted before, or have quotas.
    """

    #: Whether the queue takes no new jobs; those that it has are begun.
    drains = False
    #: Whether it is over. Who adds a job declares that it has read this record as it is ...
    lifted = False

    def __init__(self, reason: str, match: str | None, since: int, shards: int) -> None:
        self.reason = reason
        self.match = match
        self._since = since
        if match is not None:
            self.held = tuple(Bundle(for_later=False) for _ in range(shards))
            self.entries = tuple(LOBTree() for _ in range(shards))
            #: ... and counts it here, which who lifts the pause declares to have read.
            self.added = Length()

    @property
    def since(self) -> datetime:
        """When it began (UTC)."""
        return clock.to_datetime(self._since)

    def trees(self, shard: int) -> tuple[Any, ...]:
        """The trees with the jobs of a shard that lie here, by key; empty for a whole queue's."""
        if self.match is None:
            return ()
        return (self.held[shard].jobs, self.entries[shard])

    def add(self, shard: Any, key: int, item: Any) -> None:
        """Put a job of `shard`, or an entry of one, aside."""
        tree = self.trees(shard.index)[type(item) is tuple]
        self.added.change(1)
        free = keys.free_key(tree, key)
        if shard.rekey(job_of(item), key, free):
            tree[free] = item

    def __len__(self) -> int:
        """How many jobs lie here."""
        if self.match is None:
            return 0
        return sum(len(tree) for n in range(len(self.held)) for tree in self.trees(n))

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        what = "all jobs" if self.match is None else self.match
        return f"<{type(self).__module__}.{type(self).__name__} of {what}: {self.reason}>"
