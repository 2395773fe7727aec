"""A worker's record and its queues, as one connection sees them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zodbjobs.stored import call
from zodbjobs.stored.ends import Ends
from zodbjobs.stored.job import Job
from zodbjobs.stored.queue import Queue, Ticket
from zodbjobs.stored.root import get_queues
from zodbjobs.stored.shard import Shard
from zodbjobs.stored.workers import WorkerRecord


class Desk:
    """Where a thread works: a connection, and in it the worker's record and queues.

    `names`: the queues to work for; None for all, also those that are made later.
    """

    def __init__(self, connection: Any, worker_id: str, names: Sequence[str] | None) -> None:
        self.connection = connection
        self.manager = connection.transaction_manager
        # Kept, for the way to it leads over the root, which may be a large record.
        self.stored = get_queues(connection)
        self.record: WorkerRecord = self.stored.workers[worker_id]
        self._worker_id = worker_id
        self._names = names

    def is_registered(self) -> bool:
        """Whether the worker is still one of the database's; a rescue strikes it off."""
        return self._worker_id in self.stored.workers

    def queues(self) -> list[Queue]:
        """The queues to work for."""
        if self._names is None:
            return self.stored.values()
        return [self.stored[name] for name in self._names]

    def prefetch(self, tickets: Sequence[Ticket]) -> None:
        """Bring the records of jobs into the cache of a server's client, if there is one, from
        which several threads will load them: each by itself would wait for the server.
        """
        self.record._p_jar.prefetch([ticket.oid for ticket in tickets])

    def load(self, tickets: Sequence[Ticket], most: int) -> int:
        """Load the records of jobs, and the objects whose methods they call, all at once,
        until that are `most` objects; returns of how many jobs.
        """
        connection = self.record._p_jar
        connection.prefetch([ticket.oid for ticket in tickets])
        loaded = 0
        owners: list[Any] = []
        for ticket in tickets:
            if loaded + len(owners) >= most:
                break
            loaded += 1
            job = self.record.leased(ticket)
            if isinstance(job, Job) and (owner := call.owner(job._call)) is not None:
                owners.append(owner)
        connection.prefetch([owner for owner in owners if owner._p_jar is connection])
        for owner in owners:
            owner._p_activate()
        return loaded

    def ends(self, oid: bytes) -> Ends:
        """What the jobs of a bundle have in common, by its object id."""
        ends: Ends = self.record._p_jar.get(oid)
        return ends

    def shard(self, oid: bytes) -> Shard:
        """The shard with that object id; it is in the database of the record."""
        shard: Shard = self.record._p_jar.get(oid)
        return shard
