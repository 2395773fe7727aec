"""A worker's place in the database."""

from __future__ import annotations

import logging
import os
import random
import socket
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import transaction

from zodbjobs import clock, defaults
from zodbjobs.runtime import rescue, storage, watch
from zodbjobs.runtime.desk import Desk
from zodbjobs.stored.root import get_queues
from zodbjobs.stored.workers import WorkerRecord

log = logging.getLogger("zodbjobs")

_ATTEMPTS = 50


class Registration:
    """A worker's record in the database: made at the start, dropped at the end.

    `db` is the database of the queues, maybe another one of the same family than was given.
    Rescues the jobs of workers that are known to be dead. All in transactions of its own,
    on a connection of its own.
    """

    def __init__(
        self,
        db: Any,
        queues: Sequence[str] | None,
        threads: int,
        beat_seconds: float = defaults.BEAT_SECONDS,
    ) -> None:
        self.id = uuid.uuid4().hex
        self._names = queues
        self.manager = transaction.TransactionManager()
        self.connection = db.open(self.manager)
        # See Runner.open.
        self.connection.explicit_transactions = True
        try:
            self.manager.begin()
            stored = get_queues(self.connection)
            for name in queues or ():
                stored[name]  # an unknown name is an error now, not a worker without work
            watch.alive.add(self.id)
            self._commit(
                lambda: stored.workers.__setitem__(self.id, self._make(threads, beat_seconds))
            )
            self.manager.begin()
            self.desk = self.desk_in(self.connection)
            self.db = self.desk.record._p_jar.db()
            self._watch = watch.Watch(storage.is_for_one_process(self.db))
            self.watch()
        except BaseException:
            self.close()
            raise

    def _make(self, threads: int, beat_seconds: float) -> WorkerRecord:
        pid = os.getpid()
        record = WorkerRecord(
            self.id,
            host=socket.gethostname(),
            place=watch.place(),
            pid=pid,
            process_started=watch.process_started(pid),
            started=clock.now(),
            threads=threads,
            beat_seconds=beat_seconds,
        )
        if self._names is not None:
            record.queues = tuple(self._names)
        return record

    def _commit(self, change: Callable[[], None]) -> None:
        for attempt in range(_ATTEMPTS):
            try:
                self.manager.begin()
                change()
                self.manager.commit()
                return
            except Exception as error:
                self.manager.abort()
                lost = storage.is_lost(error) or not storage.is_transient(error)
                if lost or attempt == _ATTEMPTS - 1:
                    raise
                time.sleep(defaults.CONFLICT_SECONDS * random.random())

    def desk_in(self, connection: Any) -> Desk:
        """The worker's desk in another connection."""
        return Desk(connection, self.id, self._names)

    def watch(self) -> int:
        """Rescue the jobs of other workers that are dead; returns how many jobs."""
        self.manager.begin()
        try:
            dead = self._watch.dead(self.desk.record, self.desk.stored.workers.values())
        finally:
            self.manager.abort()
        return sum(rescue.rescue(self.manager, self.desk.stored, worker) for worker in dead)

    def drop(self) -> None:
        """Give back what is left in the lease, and remove the record."""

        def change() -> None:
            if self.desk.is_registered():
                queues, record = self.desk.stored, self.desk.record
                rescue.take_back(queues, record, record.held())
                rescue.strike_off(queues, record)

        self._commit(change)

    def close(self) -> None:
        """Close the connection; the record stays, for a rescue, unless `drop` was called."""
        watch.alive.discard(self.id)
        try:
            self.manager.abort()
            self.connection.close()
        except Exception as error:
            log.warning("the connection of worker %s can't be closed: %s", self.id, error)
