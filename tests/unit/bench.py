"""A worker taken apart: its runner and its dispatcher, driven by hand in one thread."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from typing import Any

import transaction

from zodbjobs.runtime.dispatcher import Dispatcher
from zodbjobs.runtime.registration import Registration
from zodbjobs.runtime.runner import Runner
from zodbjobs.runtime.wakeup import Wakeup
from zodbjobs.runtime.watch import place, process_started
from zodbjobs.stored.queue import Ticket
from zodbjobs.stored.workers import WorkerRecord


class Bench:
    """`claim` and `run` as a worker would; what ended is in `ends` until it is booked."""

    is_busy = False
    jobs_are_short = True
    seconds_per_job = 0.0

    def __init__(self, db: Any, group_seconds: float) -> None:
        self.tickets: list[Ticket] = []
        self.ends: list[Any] = []
        self.registration = Registration(db, None, 1)
        self.runner = Runner(
            db, self.registration.desk_in, self.report, group_seconds, threading.Event()
        )
        wakeup = Wakeup(self.registration.db)
        self.dispatcher = Dispatcher(self.registration.desk, [self.runner], self, wakeup)
        self.runner.open()

    def hand_out(self, tickets: Any) -> None:
        self.tickets += tickets

    def report(self, ends: Any) -> None:
        self.ends += ends
        self.dispatcher.report(list(ends))

    def claim(self, number: int = 100) -> list[Ticket]:
        self.dispatcher.step(number)
        claimed, self.tickets = self.tickets, []
        return claimed

    def run(self, number: int = 100) -> int:
        tickets = self.claim(number)
        for ticket in tickets:
            self.runner.run(ticket)
        return len(tickets)

    def close(self) -> None:
        self.runner.close()
        self.dispatcher.step()
        self.registration.drop()
        self.registration.close()


def run_in_groups(db: Any) -> int:
    """Run all that is due as `run_jobs` does, but commit what only has results together."""
    count = 0
    with bench(db) as worker:
        while number := worker.run():
            worker.runner.flush()
            count += number
    return count


def record(worker_id: str, **changes: Any) -> WorkerRecord:
    """The record of a worker of this process, unless `changes` say otherwise."""
    pid = os.getpid()
    here = {"host": socket.gethostname(), "place": place(), "pid": pid}
    here |= {"process_started": process_started(pid), "started": 0, "threads": 1}
    return WorkerRecord(worker_id, **{**here, "beat_seconds": 15.0, **changes})


@contextlib.contextmanager
def bench(db: Any, group_seconds: float = 3600.0) -> Iterator[Bench]:
    """A Bench; by default results wait until they are flushed."""
    mine = transaction.manager.manager
    transaction.manager.manager = transaction.TransactionManager()
    made = Bench(db, group_seconds)
    try:
        yield made
    finally:
        made.close()
        transaction.manager.manager = mine


def make_doomed(db: Any, group_seconds: float = 0.0) -> Bench:
    """A worker that leaves this thread its own transaction manager, and that may `die`."""
    mine = transaction.manager.manager
    transaction.manager.manager = transaction.TransactionManager()
    try:
        return Bench(db, group_seconds)
    finally:
        transaction.manager.manager = mine


def die(worker: Bench) -> None:
    """As far as the database can see, this is what kill -9 leaves."""
    worker.runner._manager.abort()
    worker.runner.desk.connection.close()
    worker.registration.close()
