"""A process's worker: starts and stops the threads, and takes signals."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Sequence
from typing import Any

from zodbjobs import clock, defaults
from zodbjobs.runtime import service as services
from zodbjobs.runtime import signals
from zodbjobs.runtime.assembly import Options
from zodbjobs.runtime.context import logs_are_kept
from zodbjobs.runtime.incarnation import Incarnation
from zodbjobs.runtime.service import Service
from zodbjobs.runtime.storage import errors, full_disk
from zodbjobs.stored.agents import Agent
from zodbjobs.stored.lifecycle import declaring
from zodbjobs.stored.schedule import Schedule

log = logging.getLogger("zodbjobs")

# Two workers of one database may start or stop at a time.
_pool_lock = threading.Lock()


def _check_agents(agents: Any, queues: object, threads: object) -> None:
    if queues is not None or threads is not None:
        raise TypeError(
            "agents say for which queues, and with how many threads each; leave out queues and "
            "threads"
        )
    if isinstance(agents, Agent) or not all(isinstance(agent, Agent) for agent in agents):
        raise TypeError(f"agents is a list of zodbjobs.Agent, not {agents!r}")
    if not agents:
        raise TypeError("agents is empty; leave it out to work for all queues")


class Worker:
    """Runs the jobs of a database in threads of this process.

    `db`: the open ZODB.DB. `queues`: names of the queues to work for, all by default.
    `threads`: how many jobs run at a time, 4 by default. In place of these two `agents`, a list of
    Agent: each has its own threads for one queue. `group_commit`: seconds that the results of
    jobs that wrote nothing wait for each other, 0 commits each alone. `stop_seconds`: how
    long `stop` waits for running jobs. `history_seconds` and `history_count`: how long, and
    how many, finished jobs a queue keeps. `heartbeat_seconds`: between two signs of life; other
    workers take over its jobs when three are missing. `stuck_threads`: the worker stops, in
    order, when so many of its threads don't return from jobs that have timed out; by default as
    many as `threads`. `schedules`: a list of Schedule that this code declares: they are made, or
    follow what is declared, at the start, and fire while a worker that declares them lives. What
    an operator has changed or paused stays. What a QueueInstaller has brought comes with them.

    Raises ValueError for no threads, none that may be stuck, or no time between heartbeats,
    TypeError for a str as `queues`, for what isn't a Schedule, and for `agents` together with
    these or without any.

    A context manager: starts the threads, and stops them at the end.
    """

    def __init__(
        self,
        db: Any,
        queues: Sequence[str] | None = None,
        threads: int | None = None,
        *,
        agents: Sequence[Agent] | None = None,
        group_commit: float = defaults.GROUP_SECONDS,
        stop_seconds: float = defaults.STOP_SECONDS,
        history_seconds: float = defaults.HISTORY_SECONDS,
        history_count: int = defaults.HISTORY_COUNT,
        heartbeat_seconds: float = defaults.HEARTBEAT_SECONDS,
        stuck_threads: int | None = None,
        schedules: Sequence[Schedule] = (),
    ) -> None:
        if agents is not None:
            _check_agents(agents, queues, threads)
        threads = defaults.THREADS if threads is None else threads
        if threads < 1:
            raise ValueError(f"a worker needs at least one thread, not {threads}")
        if heartbeat_seconds <= 0:
            raise ValueError(
                f"a worker needs time between its heartbeats, not {heartbeat_seconds} s"
            )
        if stuck_threads is not None and stuck_threads < 1:
            raise ValueError(f"stuck_threads is at least 1, not {stuck_threads}")
        if isinstance(queues, str):
            raise TypeError(f"queues is a list of names; write queues=[{queues!r}]")
        self._db = db
        self._options = Options(
            queues,
            threads,
            tuple(agents or ()),
            group_commit,
            history_seconds,
            history_count,
            heartbeat_seconds,
            stuck_threads,
            declaring.with_brought(db, schedules),
        )
        self._stop_seconds = stop_seconds
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._until = threading.Event()
        self._given_up: str | None = None
        self._service: Service | None = None

    def __enter__(self) -> Worker:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    @property
    def id(self) -> str:
        """The id that the worker has now; its record's key. A new one at each start, and
        after it was thought dead.
        """
        return self._incarnation.id

    @property
    def given_up(self) -> str | None:
        """Why it stopped by itself, so that its process had better be replaced; else None."""
        return self._given_up

    def start(self) -> None:
        """Register, rescue the jobs of dead workers, start the threads; returns at once.

        Raises NotInstalled or UnknownQueue, MissingCode for a filter of an agent that isn't here,
        what a schedule is refused with, and RuntimeError if it was started already.
        """
        if self._thread is not None:
            raise RuntimeError("this worker was started already")
        for db in self._db.databases.values():
            full_disk.mend(db.storage)
        self._stopping.clear()
        self._given_up = None
        self._incarnation = self._begin()
        self._widened = self._incarnation.databases
        self._connections = 0
        agents = self._options.agents
        threads = sum(agent.size for agent in agents) if agents else self._options.threads
        self._widen_pools(threads + 1)
        self._thread = threading.Thread(target=self._work, name="zodbjobs dispatcher", daemon=True)
        self._thread.start()

    def stop(self, seconds: float | None = None) -> None:
        """Claim nothing more, let running jobs end, return the rest to the queue.

        Waits up to `seconds` (default: `stop_seconds`) for the running jobs. One that
        still runs then is taken away from its thread: it can't commit any more, counts
        an interruption, and is run again by the next worker.
        """
        if self._thread is None:
            return
        self._deadline = clock.monotonic() + (self._stop_seconds if seconds is None else seconds)
        if self._service is not None:
            self._service.stops()
        self._stopping.set()
        self._incarnation.wake()
        self._thread.join()
        self._thread = None
        self._widen_pools(-self._connections)
        log.info("worker %s has stopped", self.id)

    def _begin(self) -> Incarnation:
        return Incarnation(
            self._db,
            self._options,
            self._stopping,
            self._give_up,
            self._widen_pools,
            self._service,
        )

    def _give_up(self, why: str) -> None:
        """Stop in order, as the process had better be replaced; in the dispatcher's thread."""
        log.critical("%s", why)
        self._given_up = why
        self._deadline = clock.monotonic() + self._stop_seconds
        self._stopping.set()
        self._until.set()

    def _widen_pools(self, connections: int) -> None:
        """One connection for each thread and one for the record, beyond what others use."""
        self._connections += connections
        with _pool_lock:
            for db in self._widened:
                db.setPoolSize(db.getPoolSize() + connections)

    def run(self) -> int:
        """Start, work until SIGTERM or SIGINT, stop. Another one ends the process at once.

        Returns the status to exit with: 0, or 1 if it stopped by itself, as too many of its
        threads were stuck; `given_up` and the log say so. Its process is to be replaced then.

        One that comes within a second of the first is the same: a terminal and a wrapper may
        both send it.

        Call it in the main thread. The signal handlers that were there are restored.
        """
        stop = threading.Event()

        def take(number: int) -> None:
            if stop.is_set():
                os._exit(128 + number)
            stop.set()

        with signals.taken(take):
            return self.run_until(stop)

    def run_until(self, stop: threading.Event, *, service: Service | None = None) -> int:
        """Start, work until `stop` is set, stop; returns as `run`, and sets `stop` if it stops by
        itself.

        `service` is told how it goes; by default systemd is, if that has started the process and
        wants to know (`Type=notify`, `WatchdogSec`).
        """
        self._until = stop
        self._service = service or services.of_systemd()
        try:
            with self:
                stop.wait()
        finally:
            self._service = None
        return 0 if self._given_up is None else 1

    def _work(self) -> None:
        """One incarnation after the other; in the dispatcher's thread."""
        with logs_are_kept():
            while True:
                self._incarnation.work(lambda: self._deadline)
                if self._stopping.is_set():
                    return
                self._begin_another()
                if self._stopping.is_set():
                    return

    def _begin_another(self) -> None:
        """Start over under a new identity, as soon as the storage lets it."""
        seconds = defaults.BACKOFF_SECONDS
        while not self._stopping.is_set():
            try:
                self._incarnation = self._begin()
                return
            except Exception as error:
                if self._service is not None and errors.is_unavailable(error):
                    self._service.waits(error)
                log.error("the worker can't register again (%s), it is tried again", error)
                self._stopping.wait(seconds)
                seconds = min(2 * seconds, defaults.MOST_BACKOFF_SECONDS)
