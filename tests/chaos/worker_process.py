"""What a process with a worker does, which is to suffer."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import random
import signal
import threading
import time
from pathlib import Path
from typing import Any

import ZODB.config

import zodbjobs
from chaos.producer import produce
from zodbjobs import clock
from zodbjobs.runtime import signals
from zodbjobs.runtime.registration import Registration
from zodbjobs.stored.agents import Agent
from zodbjobs.stored.lifecycle.claim import claim
from zodbjobs.stored.queue import Queue


@dataclasses.dataclass
class Orders:
    """What a process is told.

    `options` are those of its worker; `works`: whether there is one. `ready`: a file to make
    as soon as the database is open, `start`: one to wait for then. `jump_seconds`: how far its
    clock jumps to and fro. `hoard`: claim so many jobs, make the file `done`, and do nothing.
    `puts`: put so many jobs, with numbers from `first`; `done` then has what came of it.
    """

    config: str
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    works: bool = True
    ready: str | None = None
    start: str | None = None
    done: str | None = None
    jump_seconds: float = 0.0
    hoard: int = 0
    puts: int = 0
    first: int = 0


class JumpingClock(clock.SystemClock):
    """Is right only at times."""

    def __init__(self, seconds: float) -> None:
        self._jumps = [int(seconds * 1_000_000 * factor) for factor in (-1, 0, 1)]
        self._until = 0.0

    def now(self) -> int:
        """Microseconds since 1970, give or take."""
        if time.monotonic() >= self._until:
            self._until = time.monotonic() + random.uniform(0.05, 0.2)
            self._jump = random.choice(self._jumps)
        return super().now() + self._jump


def work(orders: Orders) -> None:
    """Do what the orders say; a worker works until SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    for chatty in ("ZEO", "txn", "ZODB", "relstorage"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    if orders.jump_seconds:
        clock.current = JumpingClock(orders.jump_seconds)
    stop = threading.Event()
    with signals.taken(lambda number: stop.set()):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        db = ZODB.config.databaseFromString(orders.config)
        if orders.ready is not None:
            Path(orders.ready).touch()
        while orders.start is not None and not os.path.exists(orders.start):
            time.sleep(0.001)  # several are to begin at once
        if orders.hoard:
            _hoard(db, orders)
        worker = zodbjobs.Worker(db, **orders.options) if orders.works else None
        with worker or contextlib.nullcontext():
            if orders.puts and orders.done is not None:
                produce(db, orders.puts, orders.first, Path(orders.done), drain=orders.works)
            if worker is not None:
                stop.wait()
        db.close()


def _hoard(db: Any, orders: Orders) -> None:
    """Claim jobs as a worker does, and keep them."""
    registration = Registration(db, [Agent.of_all(None, 4)])
    session = registration.session
    claimed = 0
    while claimed < orders.hoard:
        session.manager.begin()
        for queue in session.queues():
            claimed += len(_claim(queue, session.record, orders.hoard - claimed))
        session.manager.commit()
    assert orders.done is not None
    Path(orders.done).touch()
    threading.Event().wait()


def _claim(queue: Queue, record: Any, number: int) -> list[Any]:
    return claim(queue, record, number, clock.now(), queue.shards) if number else []
