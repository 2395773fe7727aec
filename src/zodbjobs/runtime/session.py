"""Session: a connection with the worker's record and its queues in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zodbjobs.stored.lifecycle import calls
from zodbjobs.stored.lifecycle.claim import Claim
from zodbjobs.stored.lifecycle.root import get_queues
from zodbjobs.stored.queue import Queue
from zodbjobs.stored.workers import WorkerRecord


class Session:
    """Where a thread works: a connection, and in it the worker's record and queues.

    Raises KeyError if the worker isn't registered any more.
    """

    def __init__(self, connection: Any, worker_id: str) -> None:
        self.connection = connection
        self.manager = connection.transaction_manager
        # Kept, for the way to it leads over the root, which may be a large record.
        self.stored = get_queues(connection)
        self.record: WorkerRecord = self.stored.workers[worker_id]
        self._worker_id = worker_id
        self._queues: dict[bytes, Queue] = {}  # by the object ids of their shards

    def is_registered(self) -> bool:
        """Whether the worker is still one of the database's; a rescue strikes it off."""
        return self._worker_id in self.stored.workers

    def queues(self) -> list[Queue]:
        """The queues to work for; where it works for all, also those that are made later."""
        names = self.record.queues
        if names is None:
            return self.stored.values()
        return [self.stored[name] for name in names]

    def queue_of(self, claim: Claim) -> Queue:
        """The queue of a claimed job; cheap, as a runner asks for each job."""
        queue = self._queues.get(claim.shard)
        if queue is None:
            queue = self._queues[claim.shard] = self.record._p_jar.get(claim.shard).queue
        return queue

    def prefetch(self, claims: Sequence[Claim]) -> None:
        """Bring the records of jobs into the cache of a server's client, if there is one, from
        which several threads will load them: each by itself would wait for the server.
        """
        self.record._p_jar.prefetch([claim.oid for claim in claims])

    def load(self, claims: Sequence[Claim], most: int) -> int:
        """Load the records of jobs, and the objects whose methods they call, all at once,
        until that are `most` objects; returns of how many jobs.
        """
        connection = self.record._p_jar
        connection.prefetch([claim.oid for claim in claims])
        loaded = 0
        owners: list[Any] = []
        for claim in claims:
            if loaded + len(owners) >= most:
                break
            loaded += 1
            owner = calls.owner_of(self.record.job_of(claim))
            if owner is not None:
                owners.append(owner)
        connection.prefetch([owner for owner in owners if owner._p_jar is connection])
        for owner in owners:
            owner._p_activate()
        return loaded
