"""Incarnation: a worker under one identity, until it stops or is declared dead."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from typing import Any

from transaction.interfaces import TransientError
from ZODB.Connection import resetCaches

from zodbjobs import clock, defaults
from zodbjobs.runtime import periodic
from zodbjobs.runtime.assembly import Options, Parts
from zodbjobs.runtime.dispatcher import Fenced
from zodbjobs.runtime.periodic import Task
from zodbjobs.runtime.runner import Runner
from zodbjobs.runtime.storage import abilities, errors
from zodbjobs.runtime.threadpool import ThreadPool
from zodbjobs.runtime.transactions import Backoff, Stopped

log = logging.getLogger("zodbjobs")


class Incarnation:
    """The threads and connections that work under one identity.

    Registers when it is made, and raises what that raises. `stopping` ends it. If others
    thought it dead and took its jobs it ends as well; the worker then begins another one.
    `give_up` is called, with the reason, once too many of its threads are stuck.
    """

    def __init__(
        self,
        db: Any,
        options: Options,
        stopping: threading.Event,
        give_up: Callable[[str], None] = lambda why: None,
    ) -> None:
        self._options = options
        self._give_up = give_up
        self._stopping = stopping
        self._over = False  # others have taken the jobs, or shall take them
        self._was_away = False
        self._backoff = Backoff(stopping)
        self._parts = parts = Parts(db, options, stopping)
        self._pool = ThreadPool(
            parts.workload, parts.slots, parts.make_slot, parts.make_runner, self._fetch
        )
        self._tasks = [
            Task(defaults.DETECTOR_SECONDS, lambda: self._safely(self._rescue)),
            Task(defaults.PRUNE_SECONDS, self._prune, at_once=True),
        ]

    @property
    def id(self) -> str:
        """The key of the worker's record."""
        return self._parts.registration.id

    @property
    def databases(self) -> set[Any]:
        """The databases that its threads open connections of."""
        return {self._parts.registration.connection.db(), self._parts.registration.db}

    def wake(self) -> None:
        """Let the dispatcher look now."""
        self._parts.wakeup.set()

    def _fetch(self, runner: Runner) -> None:
        """Book and claim; in a runner's thread."""
        if not self._stopping.is_set() and not self._over:
            self._safely(lambda: self._parts.dispatcher.fetch(runner))

    # In the dispatcher's thread

    def work(self, deadline: Callable[[], float]) -> None:
        """Work until `stopping` is set, or until others have taken the jobs.

        Running jobs are waited for until `deadline()`, by the monotonic clock.
        """
        with self._parts.wakeup:
            self._pool.start()
            log.info("worker %s works with %s threads", self.id, len(self._parts.slots))
            self._loop()
            if self._over:
                self._abandon()
            else:
                self._wind_up(deadline())
        self._parts.registration.close()

    def _loop(self) -> None:
        dispatcher = self._parts.dispatcher
        while not self._stopping.is_set() and not self._over:
            self._safely(dispatcher.tick)
            self._pool.supervise()
            self._look_at_stuck()
            self._skip_ids()
            periodic.tick(self._tasks)
            self._parts.wakeup.wait(dispatcher.is_idle)

    def _look_at_stuck(self) -> None:
        """Show the number of stuck threads; give up when there are as many as may be."""
        stuck = self._pool.stuck
        self._parts.dispatcher.show_stuck(stuck)
        most = self._options.stuck_threads or defaults.STUCK_FACTOR * len(self._parts.slots)
        if stuck >= most:
            self._give_up(
                f"worker {self.id} stops, as {stuck} of its threads didn't return from jobs that "
                "had timed out; see the log for where they are, and let another process take "
                "its place"
            )

    def _rescue(self) -> None:
        with self._parts.dispatcher.lock:  # it is the same connection
            rescued = self._parts.registration.rescue_dead()
        if rescued:
            self.wake()

    def _skip_ids(self) -> None:
        """When the server has gone: another one may give out once more what is in store."""
        away = abilities.is_away(self._parts.registration.db)
        if away and not self._was_away:
            abilities.skip_ids(self._parts.registration.db)
        self._was_away = away

    def _safely(self, work: Callable[[], None]) -> None:
        """Do it; what fails is told, and done again by the next call."""
        try:
            work()
        except Fenced:
            self._end("was thought dead, and others have taken its jobs")
        except Stopped:
            pass
        except Exception as error:
            self._bear(error)
        else:
            if self._backoff.is_over():
                log.warning("the storage of worker %s is well again", self.id)

    def _bear(self, error: Exception) -> None:
        if errors.is_unavailable(error):
            with contextlib.suppress(Stopped):
                self._backoff.wait(error)
        elif errors.poisons(error):
            abilities.skip_ids(self._parts.registration.db)
            resetCaches()
            self._end("got an object id that is in use, and begins anew")
        elif errors.is_transient(error):
            log.debug("the dispatcher's commit conflicted, it is done again: %s", error)
        else:
            log.error("the dispatcher's transaction failed, it is done again", exc_info=error)
            self._stopping.wait(1.0)

    def _end(self, why: str) -> None:
        """Begin nothing more; the next incarnation, or another worker, rescues the jobs."""
        if not self._over:
            log.error("worker %s %s", self.id, why)
        self._over = True
        self._pool.stop()
        self._parts.workload.take_all()

    def _prune(self) -> bool:
        """Drop a batch of finished jobs; whether to go on at once."""
        try:
            return (
                self._parts.dispatcher.prune(
                    self._options.history_seconds, self._options.history_count
                )
                > 0
            )
        except Exception as error:
            if errors.is_transient(error):
                return True
            log.exception("pruning the history failed, it is tried again later")
            return False

    # The end

    def _abandon(self) -> None:
        """Others have the jobs. What still runs here can't commit any more."""
        self._parts.dispatcher.stop_claiming()
        for slot in self._parts.slots:
            if slot.attempt is not None:
                slot.attempt.take_away()

    def _wind_up(self, deadline: float) -> None:
        dispatcher = self._parts.dispatcher
        dispatcher.stop_claiming()
        self._pool.stop()
        claims = self._parts.workload.take_all()
        while self._pool.is_alive():
            if clock.monotonic() >= deadline:
                log.warning("worker %s stops while jobs still run; they are given back", self.id)
                break
            self._safely(dispatcher.tick)
            self._parts.wakeup.wait()
        try:
            # What these leave in the lease, `drop` gives back.
            with contextlib.suppress(TransientError):
                dispatcher.give_back(claims)
                dispatcher.step()
            self._parts.registration.drop()
        except (Fenced, Stopped):
            pass
        except Exception as error:
            log.error(
                "worker %s can't give back what it holds (%s); the next one takes it over",
                self.id,
                error,
            )
