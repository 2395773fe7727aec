"""A process's worker: starts and stops the threads, and takes signals."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

from transaction.interfaces import TransientError

from zodbjobs import clock, defaults
from zodbjobs.runtime.attempt import End
from zodbjobs.runtime.crew import Crew
from zodbjobs.runtime.dispatcher import Dispatcher
from zodbjobs.runtime.progress import logs_are_kept
from zodbjobs.runtime.registration import Registration
from zodbjobs.runtime.runner import Runner
from zodbjobs.runtime.wakeup import Wakeup

log = logging.getLogger("zodbjobs")


class Worker:
    """Runs the jobs of a database in threads of this process.

    `db`: the open ZODB.DB. `queues`: names of the queues to work for, all by default.
    `threads`: how many jobs run at a time. `group_commit`: seconds that the results of
    jobs that wrote nothing wait for each other, 0 commits each alone. `stop_seconds`: how
    long `stop` waits for running jobs. `history_seconds` and `history_count`: how long, and
    how many, finished jobs a queue keeps.

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
        self._thread: threading.Thread | None = None
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
        if self._thread is not None:
            raise RuntimeError("this worker was started already")
        registration = self._registration = Registration(self._db, self._names, self._count)
        # One connection for each thread and one for the record, beyond what others use.
        self._pool_sizes = {db: db.getPoolSize() for db in (self._db, registration.db)}
        for db, size in self._pool_sizes.items():
            db.setPoolSize(size + self._count + 1)
        self._stopping.clear()
        self._wakeup = Wakeup(registration.db)
        runners = [
            Runner(self._db, registration.desk_in, self._report, self._group_commit)
            for _ in range(self._count)
        ]
        self._crew = Crew(runners, self._fetch)
        self._dispatcher = Dispatcher(registration.desk, runners, self._crew, self._wakeup)
        self._thread = threading.Thread(
            target=self._dispatch, name="zodbjobs dispatcher", daemon=True
        )
        # Before the first job runs, which is maybe before the dispatcher's thread does.
        self._open = contextlib.ExitStack()
        self._open.enter_context(logs_are_kept())
        self._open.enter_context(self._wakeup)
        self._crew.start()
        self._thread.start()
        log.info("worker %s works with %s threads", self.id, self._count)

    def stop(self, seconds: float | None = None) -> None:
        """Claim nothing more, let running jobs end, return the rest to the queue.

        Waits up to `seconds` (default: `stop_seconds`) for the running jobs. One that
        still runs then is taken away from its thread: it can't commit any more, counts
        an interruption, and is run again by the next worker.
        """
        if self._thread is None:
            return
        self._deadline = clock.monotonic() + (self._stop_seconds if seconds is None else seconds)
        self._stopping.set()
        self._wakeup.set()
        self._thread.join()
        self._thread = None
        for db, size in self._pool_sizes.items():
            db.setPoolSize(size)
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

    # In the runners' threads

    def _report(self, ends: list[End]) -> None:
        self._dispatcher.report(ends)

    def _fetch(self, runner: Runner) -> None:
        if not self._stopping.is_set():
            self._safely(lambda: self._dispatcher.fetch(runner))

    # In the dispatcher's thread

    def _dispatch(self) -> None:
        with self._open:
            next_prune = 0.0
            while not self._stopping.is_set():
                self._safely(self._dispatcher.tick)
                self._crew.help_out()
                if clock.monotonic() >= next_prune and not self._prune():
                    next_prune = clock.monotonic() + defaults.PRUNE_SECONDS
                self._wakeup.wait()
            self._wind_up()
        self._registration.close()

    def _safely(self, work: Callable[[], None]) -> None:
        try:
            work()
        except TransientError as error:
            log.debug("the dispatcher's commit conflicted, it is done again: %s", error)
        except Exception:
            log.exception("the dispatcher's transaction failed, it is done again")
            self._stopping.wait(1.0)

    def _prune(self) -> int:
        try:
            return self._dispatcher.prune(*self._history)
        except TransientError:
            return 1
        except Exception:
            log.exception("pruning the history failed, it is tried again later")
            return 0

    def _wind_up(self) -> None:
        dispatcher = self._dispatcher
        dispatcher.stop_claiming()
        tickets = self._crew.stop()
        while self._crew.is_alive():
            if clock.monotonic() >= self._deadline:
                log.warning("worker %s stops while jobs still run; they are given back", self.id)
                break
            self._safely(dispatcher.tick)
            self._wakeup.wait()
        # What these leave in the lease, `drop` gives back.
        with contextlib.suppress(TransientError):
            dispatcher.give_back(tickets)
            dispatcher.step()
        self._registration.drop()
