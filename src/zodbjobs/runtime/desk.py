"""A worker's record and its queues, as one connection sees them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zodbjobs.stored.queue import Queue
from zodbjobs.stored.root import get_queues
from zodbjobs.stored.shard import Shard


class Desk:
    """Where a thread works: a connection, and in it the worker's record and queues.

    `names`: the queues to work for; None for all, also those that are made later.
    """

    def __init__(self, connection: Any, worker_id: str, names: Sequence[str] | None) -> None:
        self.connection = connection
        self.manager = connection.transaction_manager
        # Kept, for the way to it leads over the root, which may be a large record.
        self._stored = get_queues(connection)
        self.record = self._stored.workers[worker_id]
        self._names = names

    def queues(self) -> list[Queue]:
        """The queues to work for."""
        if self._names is None:
            return self._stored.values()
        return [self._stored[name] for name in self._names]

    def shard(self, oid: bytes) -> Shard:
        """The shard with that object id; it is in the database of the record."""
        shard: Shard = self.record._p_jar.get(oid)
        return shard
