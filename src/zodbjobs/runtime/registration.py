"""A worker's place in the database."""

from __future__ import annotations

import functools
import logging
import os
import socket
import uuid
from collections.abc import Callable, Sequence
from importlib import metadata
from typing import Any

import transaction

from zodbjobs import clock, defaults
from zodbjobs.runtime import failure_detector, transactions
from zodbjobs.runtime.conflicts import Noted
from zodbjobs.runtime.measures import Measures
from zodbjobs.runtime.session import Session
from zodbjobs.runtime.storage import abilities
from zodbjobs.runtime.tasks import rescue
from zodbjobs.stored.agents import Agent
from zodbjobs.stored.lifecycle import calls, complete, declaring
from zodbjobs.stored.lifecycle.claim import Claim
from zodbjobs.stored.lifecycle.root import get_queues
from zodbjobs.stored.queues import Queues
from zodbjobs.stored.schedule import Schedule
from zodbjobs.stored.workers import WorkerRecord

log = logging.getLogger("zodbjobs")

_CONFLICTS = 50


@functools.cache
def _version() -> str:
    """Which zodbjobs this process runs; to find out takes milliseconds, as it reads a file."""
    return metadata.version("zodbjobs")


class Registration:
    """A worker's record in the database: made at the start, dropped at the end.

    `db` is the database of the queues, maybe another one of the same family than was given.
    `queues` are the names of those that it works for at first, None for all; `agent_oids` the
    object ids of its agents in the database. Enters the `schedules` of its code. Rescues the jobs
    of workers that are known to be dead. All in transactions of its own, on a connection of its
    own.
    """

    def __init__(
        self,
        db: Any,
        agents: Sequence[Agent],
        heartbeat_seconds: float = defaults.HEARTBEAT_SECONDS,
        schedules: Sequence[Schedule] = (),
    ) -> None:
        self.id = uuid.uuid4().hex
        #: What the worker's jobs fight over; written now and then, and in the end.
        self.conflicts = Noted(heartbeat_seconds)
        #: What the worker counts; its record has it with each heartbeat, and in the end.
        self.measures = Measures()
        self._agents = agents
        self._schedules = schedules
        self.manager = transaction.TransactionManager()
        self.connection = db.open(self.manager)
        # See ThreadSession.
        self.connection.explicit_transactions = True
        try:
            self.manager.begin()
            stored = get_queues(self.connection)
            for agent in agents:
                if agent.filter is not None:
                    calls.from_stored(agent.filter)
            for agent in agents:
                for name in agent.queues or ():
                    stored[name]  # an unknown name is an error now, not a worker without work
            failure_detector.alive.add(self.id)
            self._commit(lambda: self._register(stored, heartbeat_seconds))
            self.manager.begin()
            self.session = self.session_in(self.connection)
            self.queues = self.session.record.queues
            self.agent_oids = [agent._p_oid for agent in self.session.record.agents]
            self.db = self.session.record._p_jar.db()
            self._detector = failure_detector.FailureDetector(
                abilities.is_for_one_process(self.db)
            )
            self.rescue_dead()
        except BaseException:
            self.close()
            raise

    def _register(self, stored: Queues, heartbeat_seconds: float) -> None:
        record = stored.workers[self.id] = self._make(heartbeat_seconds)
        if self._schedules:
            record.schedules = tuple(schedule.name for schedule in self._schedules)
            declaring.declare(stored.schedules, self._schedules)

    def _make(self, heartbeat_seconds: float) -> WorkerRecord:
        pid = os.getpid()
        record = WorkerRecord(
            self.id,
            host=socket.gethostname(),
            machine=failure_detector.machine(),
            pid=pid,
            process_started=failure_detector.process_started(pid),
            started=clock.now(),
            threads=sum(agent.size for agent in self._agents),
            heartbeat_seconds=heartbeat_seconds,
        )
        record.version = _version()
        record.set_agents([agent.copy_for(self.id) for agent in self._agents])
        return record

    def _commit(self, change: Callable[[], None]) -> None:
        transactions.run(self.manager, change, conflicts=_CONFLICTS)

    def session_in(self, connection: Any) -> Session:
        """The worker's session in another connection."""
        return Session(connection, self.id)

    def rescue_dead(self) -> int:
        """Rescue the jobs of other workers that are dead; returns how many jobs."""
        self.manager.begin()
        try:
            dead = self._detector.dead(self.session.record, self.session.stored.workers.values())
        finally:
            self.manager.abort()
        return sum(rescue.rescue(self.manager, self.session.stored, worker) for worker in dead)

    def drop(self, unbegun: Sequence[Claim] = ()) -> None:
        """Give back what is left in the lease, and remove the record, in one transaction.

        An interruption is counted for each job but those of the `unbegun` claims.
        """

        def change() -> None:
            if self.session.is_registered():
                queues, record = self.session.stored, self.session.record
                for claim in unbegun:
                    complete.give_back(record, claim)
                rescue.take_back(queues, record, record.leased())
                self.conflicts.write_into(record)
                self.measures.write(record.counters)
                rescue.strike_off(queues, record)

        self._commit(change)

    def close(self) -> None:
        """Close the connection; the record stays, for a rescue, unless `drop` was called."""
        failure_detector.alive.discard(self.id)
        try:
            self.manager.abort()
            self.connection.close()
        except Exception as error:
            log.warning("the connection of worker %s can't be closed: %s", self.id, error)
