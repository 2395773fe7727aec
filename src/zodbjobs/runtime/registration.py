"""A worker's place in the database."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Sequence
from typing import Any

import transaction
from ZODB.DemoStorage import DemoStorage
from ZODB.FileStorage import FileStorage
from ZODB.MappingStorage import MappingStorage

from zodbjobs import clock
from zodbjobs.runtime import rescue
from zodbjobs.runtime.desk import Desk
from zodbjobs.stored.root import get_queues
from zodbjobs.stored.workers import WorkerRecord

# Storages that no other process can have open.
_ONE_PROCESS = (FileStorage, MappingStorage, DemoStorage)


class Registration:
    """A worker's record in the database: made at the start, dropped at the end.

    `db` is the database of the queues, maybe another one of the same family than was given.
    Rescues the jobs of workers that are known to be dead. All in transactions of its own,
    on a connection of its own.
    """

    def __init__(self, db: Any, queues: Sequence[str] | None, threads: int) -> None:
        self.id = uuid.uuid4().hex
        self._names = queues
        self.manager = transaction.TransactionManager()
        self.connection = db.open(self.manager)
        try:
            self.manager.begin()
            stored = get_queues(self.connection)
            for name in queues or ():
                stored[name]  # an unknown name is an error now, not a worker without work
            rescue.alive.add(self.id)
            self._commit(lambda: stored.workers.__setitem__(self.id, self._make(threads)))
            self.desk = self.desk_in(self.connection)
            self.db = self.desk.record._p_jar.db()
            only_process = isinstance(self.db.storage, _ONE_PROCESS)
            rescue.rescue_dead(self.manager, stored, only_process)
        except BaseException:
            self.close()
            raise

    def _make(self, threads: int) -> WorkerRecord:
        pid = os.getpid()
        started = rescue.process_started(pid)
        return WorkerRecord(self.id, socket.gethostname(), pid, started, clock.now(), threads)

    def _commit(self, change: Any) -> None:
        for attempt in self.manager.attempts(20):
            with attempt:
                change()

    def desk_in(self, connection: Any) -> Desk:
        """The worker's desk in another connection."""
        return Desk(connection, self.id, self._names)

    def drop(self) -> None:
        """Give back what is left in the lease, and remove the record."""

        def change() -> None:
            rescue.take_back(self.desk.record, self.desk.record.held())
            get_queues(self.connection).workers.pop(self.id, None)

        self._commit(change)

    def close(self) -> None:
        """Close the connection; the record stays, for a rescue, unless `drop` was called."""
        rescue.alive.discard(self.id)
        self.manager.abort()
        self.connection.close()
