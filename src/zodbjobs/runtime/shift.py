"""A worker under one identity: from its registration until it stops, or is declared dead."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from transaction.interfaces import TransientError
from ZODB.Connection import resetCaches

from zodbjobs import clock, defaults
from zodbjobs.runtime import storage
from zodbjobs.runtime.attempt import End
from zodbjobs.runtime.crew import Crew
from zodbjobs.runtime.dispatcher import Dispatcher, Fenced
from zodbjobs.runtime.registration import Registration
from zodbjobs.runtime.runner import Runner
from zodbjobs.runtime.trouble import Trouble
from zodbjobs.runtime.wakeup import Wakeup

log = logging.getLogger("zodbjobs")


class Options(NamedTuple):
    """What a Worker was told; see there."""

    queues: Sequence[str] | None
    threads: int
    group_commit: float
    history_seconds: float
    history_count: int
    beat_seconds: float


class Shift:
    """The threads and connections that work under one identity.

    Registers when it is made, and raises what that raises. `stopping` ends it. If others
    thought it dead and took its jobs it ends as well; the worker then begins another one.
    """

    def __init__(self, db: Any, options: Options, stopping: threading.Event) -> None:
        self._options = options
        self._stopping = stopping
        self._over = False  # others have taken the jobs, or shall take them
        self._was_away = False
        self._trouble = Trouble(stopping)
        self._registration = registration = Registration(
            db, options.queues, options.threads, options.beat_seconds
        )
        self._wakeup = Wakeup(registration.db)
        self._runners = [
            Runner(db, registration.desk_in, self._report, options.group_commit, stopping)
            for _ in range(options.threads)
        ]
        self._crew = Crew(self._runners, self._fetch)
        self._dispatcher = Dispatcher(
            registration.desk, self._runners, self._crew, self._wakeup, options.beat_seconds
        )

    @property
    def id(self) -> str:
        """The key of the worker's record."""
        return self._registration.id

    @property
    def databases(self) -> set[Any]:
        """The databases that its threads open connections of."""
        return {self._registration.connection.db(), self._registration.db}

    def wake(self) -> None:
        """Let the dispatcher look now."""
        self._wakeup.set()

    # In the runners' threads

    def _report(self, ends: list[End]) -> None:
        self._dispatcher.report(ends)

    def _fetch(self, runner: Runner) -> None:
        if not self._stopping.is_set() and not self._over:
            self._safely(lambda: self._dispatcher.fetch(runner))

    # In the dispatcher's thread

    def work(self, deadline: Callable[[], float]) -> None:
        """Work until `stopping` is set, or until others have taken the jobs.

        Running jobs are waited for until `deadline()`, by the monotonic clock.
        """
        with self._wakeup:
            self._crew.start()
            log.info("worker %s works with %s threads", self.id, len(self._runners))
            self._loop()
            if self._over:
                self._abandon()
            else:
                self._wind_up(deadline())
        self._registration.close()

    def _loop(self) -> None:
        next_prune = 0.0
        next_watch = clock.monotonic() + defaults.WATCH_SECONDS
        while not self._stopping.is_set() and not self._over:
            self._safely(self._dispatcher.tick)
            self._crew.help_out()
            self._skip_ids()
            if clock.monotonic() >= next_prune and not self._prune():
                next_prune = clock.monotonic() + defaults.PRUNE_SECONDS
            if clock.monotonic() >= next_watch:
                self._safely(self._watch)
                next_watch = clock.monotonic() + defaults.WATCH_SECONDS
            self._wakeup.wait(self._dispatcher.is_idle)

    def _watch(self) -> None:
        with self._dispatcher.lock:  # it is the same connection
            rescued = self._registration.watch()
        if rescued:
            self.wake()

    def _skip_ids(self) -> None:
        """When the server has gone: another one may give out once more what is in store."""
        away = storage.is_away(self._registration.db)
        if away and not self._was_away:
            storage.skip_ids(self._registration.db)
        self._was_away = away

    def _safely(self, work: Callable[[], None]) -> None:
        """Do it; what fails is told, and done again by the next call."""
        try:
            work()
        except Fenced:
            self._end("was thought dead, and others have taken its jobs")
        except Exception as error:
            if storage.is_trouble(error):
                self._trouble.wait_out(error)
            elif storage.spoils(error):
                storage.skip_ids(self._registration.db)
                resetCaches()
                self._end("got an object id that is in use, and begins anew")
            elif storage.is_transient(error):
                log.debug("the dispatcher's commit conflicted, it is done again: %s", error)
            else:
                log.exception("the dispatcher's transaction failed, it is done again")
                self._stopping.wait(1.0)
        else:
            if self._trouble.is_over():
                log.warning("the storage of worker %s is well again", self.id)

    def _end(self, why: str) -> None:
        """Begin nothing more; the worker's next shift, or another worker, rescues the jobs."""
        if not self._over:
            log.error("worker %s %s", self.id, why)
        self._over = True
        self._crew.stop()

    def _prune(self) -> int:
        """Drop a batch of finished jobs; how many, and at least 1 if that is to be tried again."""
        try:
            return self._dispatcher.prune(
                self._options.history_seconds, self._options.history_count
            )
        except Exception as error:
            if storage.is_transient(error):
                return 1
            log.exception("pruning the history failed, it is tried again later")
            return 0

    # The end

    def _abandon(self) -> None:
        """Others have the jobs. What still runs here can't commit any more."""
        self._dispatcher.stop_claiming()
        for runner in self._runners:
            running = runner.running
            if running is not None:
                running.cancelled = True

    def _wind_up(self, deadline: float) -> None:
        dispatcher = self._dispatcher
        dispatcher.stop_claiming()
        tickets = self._crew.stop()
        while self._crew.is_alive():
            if clock.monotonic() >= deadline:
                log.warning("worker %s stops while jobs still run; they are given back", self.id)
                break
            self._safely(dispatcher.tick)
            self._wakeup.wait()
        try:
            # What these leave in the lease, `drop` gives back.
            with contextlib.suppress(TransientError):
                dispatcher.give_back(tickets)
                dispatcher.step()
            self._registration.drop()
        except Fenced:
            pass
        except Exception as error:
            log.error(
                "worker %s can't give back what it holds (%s); the next one takes it over",
                self.id,
                error,
            )
