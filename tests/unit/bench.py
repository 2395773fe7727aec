"""A worker taken apart: its runner and its dispatcher, driven by hand in one thread."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import transaction

from zodbjobs.runtime.assembly import Options, Parts
from zodbjobs.runtime.failure_detector import machine, process_started
from zodbjobs.runtime.runner import Runner
from zodbjobs.runtime.thread_session import ThreadSession
from zodbjobs.stored.agents import Agent
from zodbjobs.stored.lifecycle.claim import Claim
from zodbjobs.stored.workers import WorkerRecord


class Bench:
    """`claim` and `run` as a worker would; what ended is in `results` until it is booked."""

    def __init__(
        self,
        db: Any,
        group_seconds: float,
        agents: Sequence[Agent] = (),
        owns_all: bool = False,
    ) -> None:
        self.results: list[Any] = []
        self.stopping = stopping = threading.Event()
        options = Options(agents=agents, group_commit=group_seconds, owns_all=owns_all)
        self.parts = Parts(db, options, stopping)
        self.registration = self.parts.registration
        self.dispatcher = self.parts.dispatcher
        self.slot = self.parts.slots[0]
        session = ThreadSession(db, self.registration.session_in)
        self.runner = Runner(db, session, self.slot, self.report, stopping)
        self.manager = session.manager

    def report(self, results: Any, gone: Any = ()) -> None:
        self.results += results
        self.dispatcher.report(results, gone)

    def claim(self, number: int = 100) -> list[Claim]:
        self.dispatcher.step(number)
        return self.parts.workload.take_all()

    def run(self, number: int = 100) -> int:
        claims = self.claim(number)
        for claim in claims:
            self.runner.run(claim)
        return len(claims)

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
    here = {"host": socket.gethostname(), "machine": machine(), "pid": pid}
    here |= {"process_started": process_started(pid), "started": 0, "threads": 1}
    return WorkerRecord(worker_id, **{**here, "heartbeat_seconds": 15.0, **changes})


@contextlib.contextmanager
def bench(db: Any, group_seconds: float = 3600.0, agents: Sequence[Agent] = ()) -> Iterator[Bench]:
    """A Bench; by default results wait until they are flushed."""
    mine = transaction.manager.manager
    transaction.manager.manager = transaction.TransactionManager()
    made = Bench(db, group_seconds, agents)
    try:
        yield made
    finally:
        made.close()
        transaction.manager.manager = mine


def make_doomed(db: Any, group_seconds: float = 0.0, **options: Any) -> Bench:
    """A worker that leaves this thread its own transaction manager, and that may `die`."""
    mine = transaction.manager.manager
    transaction.manager.manager = transaction.TransactionManager()
    try:
        return Bench(db, group_seconds, **options)
    finally:
        transaction.manager.manager = mine


def die(worker: Bench) -> None:
    """As far as the database can see, this is what kill -9 leaves."""
    worker.runner.thread_session.close()
    worker.registration.close()
