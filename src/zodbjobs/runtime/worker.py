"""A process's worker: starts and stops the threads, and takes signals."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import signal
import socket
import threading
import uuid
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any

import transaction
from transaction.interfaces import TransientError
from ZODB.DemoStorage import DemoStorage
from ZODB.FileStorage import FileStorage
from ZODB.MappingStorage import MappingStorage

from zodbjobs import clock, defaults
from zodbjobs.runtime import rescue
from zodbjobs.runtime.attempt import Ticket
from zodbjobs.runtime.dispatcher import Dispatcher
from zodbjobs.runtime.progress import logs_are_kept
from zodbjobs.runtime.prune import prune
from zodbjobs.runtime.runner import Runner
from zodbjobs.runtime.wakeup import Wakeup
from zodbjobs.stored.queue import Queue
from zodbjobs.stored.root import get_queues
from zodbjobs.stored.workers import WorkerRecord

log = logging.getLogger("zodbjobs")

_ONE_PROCESS = (FileStorage, MappingStorage, DemoStorage)


class Registration:
    """A worker's record in the database: made at the start, dropped at the end.

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
            self.record = self.find_record(self.connection)
            only_process = isinstance(db.storage, _ONE_PROCESS)
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

    def find_record(self, connection: Any) -> WorkerRecord:
        """The record, in another connection."""
        record: WorkerRecord = get_queues(connection).workers[self.id]
        return record

    def queues(self) -> list[Queue]:
        """The queues to work for, in the connection of this registration."""
        stored = get_queues(self.connection)
        if self._names is None:
            return stored.values()
        return [stored[name] for name in self._names]

    def drop(self) -> None:
        """Give back what is left in the lease, and remove the record."""

        def change() -> None:
            rescue.take_back(self.record, self.record.held())
            get_queues(self.connection).workers.pop(self.id, None)

        self._commit(change)

    def close(self) -> None:
        """Close the connection; the record stays, for a rescue, unless `drop` was called."""
        rescue.alive.discard(self.id)
        self.manager.abort()
        self.connection.close()


class Worker:
    """Runs the jobs of a database in threads of this process.

    `db`: the open ZODB.DB. `queues`: names of the queues to work for, all by default.
    `threads`: how many jobs run at a time. `group_commit`: seconds that the results of
    jobs that wrote nothing wait for each other, 0 commits each alone. `history_seconds`
    and `history_count`: how long, and how many, finished jobs a queue keeps.

    A context manager: starts the threads, and stops them at the end.
    """

    def __init__(
        self,
        db: Any,
        queues: Sequence[str] | None = None,
        threads: int = defaults.THREADS,
        *,
        group_commit: float = defaults.GROUP_SECONDS,
        stop_seconds: float = defaults.STOP_SECONDS,
        history_seconds: float = defaults.HISTORY_SECONDS,
        history_count: int = defaults.HISTORY_COUNT,
    ) -> None:
        if threads < 1:
            raise ValueError(f"a worker needs at least one thread, not {threads}")
        if isinstance(queues, str):
            raise TypeError(f"queues is a list of names; write queues=[{queues!r}]")
        self._db = db
        self._names = queues
        self._count = threads
        self._group_commit = group_commit
        self._stop_seconds = stop_seconds
        self._history = (history_seconds, history_count)
        self._threads: list[threading.Thread] = []
        self._stopping = threading.Event()

    def __enter__(self) -> Worker:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    @property
    def id(self) -> str:
        """The id of this start of the worker; its record's key."""
        return self._registration.id

    def start(self) -> None:
        """Register, rescue the jobs of dead workers, start the threads; returns at once.

        Raises NotInstalled or UnknownQueue, and RuntimeError if it was started already.
        """
        if self._threads:
            raise RuntimeError("this worker was started already")
        # One connection for each thread and one for the record, beyond what others use.
        self._pool_size = self._db.getPoolSize()
        self._registration = Registration(self._db, self._names, self._count)
        self._db.setPoolSize(self._pool_size + self._count + 1)
        self._stopping.clear()
        self._work: queue.SimpleQueue[Ticket | None] = queue.SimpleQueue()
        self._wakeup = Wakeup(self._db)
        find = self._registration.find_record
        self._runners = [
            Runner(self._db, find, self._report, self._group_commit) for _ in range(self._count)
        ]
        self._dispatcher = Dispatcher(
            self._registration.connection,
            self._registration.record,
            self._registration.queues,
            self._runners,
            self._hand_out,
            self._wakeup,
        )
        self._threads = [
            threading.Thread(
                target=self._run_jobs, args=(runner,), name=f"zodbjobs runner {n}", daemon=True
            )
            for n, runner in enumerate(self._runners, 1)
        ]
        loop = threading.Thread(target=self._dispatch, name="zodbjobs dispatcher", daemon=True)
        self._threads.append(loop)
        for thread in self._threads:
            thread.start()
        log.info("worker %s works with %s threads", self.id, self._count)

    def stop(self, seconds: float | None = None) -> None:
        """Claim nothing more, let running jobs end, return the rest to the queue.

        Waits up to `seconds` (default: `stop_seconds`) for the running jobs. One that
        still runs then is taken away from its thread: it can't commit any more, counts
        an interruption, and is run again by the next worker.
        """
        if not self._threads:
            return
        self._deadline = clock.monotonic() + (self._stop_seconds if seconds is None else seconds)
        self._stopping.set()
        self._wakeup.set()
        self._threads[-1].join()
        self._threads = []
        self._db.setPoolSize(self._pool_size)
        log.info("worker %s has stopped", self.id)

    def run(self) -> None:
        """Start, work until SIGTERM or SIGINT, stop. A second signal ends the process at once.

        Call it in the main thread. The signal handlers that were there are restored.
        """
        stop = threading.Event()

        def on_signal(number: int, frame: FrameType | None) -> None:
            if stop.is_set():
                os._exit(128 + number)
            stop.set()

        before = {s: signal.signal(s, on_signal) for s in (signal.SIGTERM, signal.SIGINT)}
        try:
            with self:
                stop.wait()
        finally:
            for number, handler in before.items():
                if signal.getsignal(number) is on_signal:
                    signal.signal(number, handler)

    # The runners' threads

    def _hand_out(self, tickets: list[Ticket]) -> None:
        for ticket in tickets:
            self._work.put(ticket)

    def _report(self, ends: Any) -> None:
        self._dispatcher.report(ends)

    def _run_jobs(self, runner: Runner) -> None:
        runner.open()
        work = self._work
        while True:
            try:
                ticket = work.get_nowait()
            except queue.Empty:
                runner.flush()
                ticket = work.get()
            if ticket is None:
                break
            runner.run(ticket)
        runner.close()

    # The dispatcher's thread

    def _dispatch(self) -> None:
        with self._wakeup, logs_are_kept():
            next_prune = 0.0
            while not self._stopping.is_set():
                self._tick()
                if clock.monotonic() >= next_prune and not self._prune():
                    next_prune = clock.monotonic() + defaults.PRUNE_SECONDS
                self._wakeup.wait()
            self._wind_up()
        self._registration.close()

    def _tick(self) -> None:
        try:
            self._dispatcher.tick()
        except TransientError as error:
            log.debug("the dispatcher's commit conflicted, it is done again: %s", error)
        except Exception:
            log.exception("the dispatcher's transaction failed, it is done again")
            self._stopping.wait(1.0)

    def _prune(self) -> int:
        manager = self._registration.manager
        try:
            manager.begin()
            dropped = prune(self._registration.queues(), *self._history)
            manager.commit()
        except TransientError:
            manager.abort()
            return 1
        except Exception:
            manager.abort()
            log.exception("pruning the history failed, it is tried again later")
            return 0
        return dropped

    def _wind_up(self) -> None:
        self._dispatcher.claiming = False
        self._return_unstarted()
        for _ in self._runners:
            self._work.put(None)
        runners = self._threads[:-1]
        while any(thread.is_alive() for thread in runners):
            if clock.monotonic() >= self._deadline:
                log.warning("worker %s stops while jobs still run; they are given back", self.id)
                break
            self._tick()
            self._wakeup.wait()
        # What this leaves unbooked, `drop` books.
        with contextlib.suppress(TransientError):
            self._dispatcher.step()
        self._registration.drop()

    def _return_unstarted(self) -> None:
        tickets = list(_drained(self._work))
        while tickets:
            with contextlib.suppress(TransientError):
                self._dispatcher.give_back(tickets)
                break


def _drained(work: queue.SimpleQueue[Ticket | None]) -> Iterator[Ticket]:
    while True:
        try:
            ticket = work.get_nowait()
        except queue.Empty:
            return
        if ticket is not None:
            yield ticket
