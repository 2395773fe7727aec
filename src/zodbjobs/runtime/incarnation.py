"""Incarnation: a worker under one identity, until it stops or is declared dead."""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
from collections.abc import Callable
from typing import Any

from transaction.interfaces import TransientError
from ZODB.Connection import resetCaches

from zodbjobs import clock, defaults, events
from zodbjobs.events import WorkerStarted, WorkerStopped
from zodbjobs.runtime import periodic
from zodbjobs.runtime.assembly import Options, Parts
from zodbjobs.runtime.dispatcher import Fenced
from zodbjobs.runtime.lane import Lane
from zodbjobs.runtime.periodic import Task
from zodbjobs.runtime.runner import Runner
from zodbjobs.runtime.service import Service
from zodbjobs.runtime.storage import abilities, errors
from zodbjobs.runtime.tasks.schedules import FireSchedules
from zodbjobs.runtime.threadpool import ThreadPool
from zodbjobs.runtime.transactions import Backoff, Stopped
from zodbjobs.stored.agents import Agent
from zodbjobs.stored.lifecycle.claim import Claim

log = logging.getLogger("zodbjobs")


class Incarnation:
    """The threads and connections that work under one identity.

    Registers when it is made, and raises what that raises. `stopping` ends it. If others
    thought it dead and took its jobs it ends as well; the worker then begins another one.
    `give_up` is called, with the reason, once too many of its threads are stuck. `service` is told
    how it goes.
    """

    def __init__(
        self,
        db: Any,
        options: Options,
        stopping: threading.Event,
        give_up: Callable[[str], None] = lambda why: None,
        widen_pools: Callable[[int], None] = lambda connections: None,
        service: Service | None = None,
    ) -> None:
        self._service = service
        self._options = options
        self._give_up = give_up
        self._widen_pools = widen_pools
        self._stopping = stopping
        self._over = False  # others have taken the jobs, or shall take them
        self._was_away = False
        self._why_given_up: str | None = None
        self._agents_seen: bytes | None = None
        self._backoff = Backoff(stopping)
        self._parts = parts = Parts(db, options, stopping)
        tick = parts.dispatcher.tick
        self._tick = tick if service is None else service.watch(tick)
        self._pools = [self._make_pool(lane) for lane in parts.lanes]
        self._tasks = [
            Task(defaults.DETECTOR_SECONDS, lambda: self._safely(self._rescue)),
            Task(defaults.PRUNE_SECONDS, self._prune, at_once=True),
            Task(defaults.AGENTS_SECONDS, lambda: self._safely(self._follow_agents)),
        ]
        self._schedules = FireSchedules(
            parts.registration.session, parts.wakeup, [each.name for each in options.schedules]
        )

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

    def _make_pool(self, lane: Lane) -> ThreadPool:
        parts = self._parts
        fetch = functools.partial(self._fetch, lane)
        return ThreadPool(lane, parts.slots, parts.make_slot, parts.make_runner, fetch)

    def _fetch(self, lane: Lane, runner: Runner) -> None:
        """Book and claim; in a runner's thread."""
        if not self._stopping.is_set() and not self._over:
            self._safely(lambda: self._parts.dispatcher.fetch(lane, runner))

    # In the dispatcher's thread

    def work(self, deadline: Callable[[], float]) -> None:
        """Work until `stopping` is set, or until others have taken the jobs.

        Running jobs are waited for until `deadline()`, by the monotonic clock.
        """
        with self._parts.wakeup:
            if events.wanted(WorkerStarted):
                names = self._parts.registration.queues
                events.notify(WorkerStarted(self.id, names, len(self._parts.slots)))
            for pool in self._pools:
                pool.start()
            log.info("worker %s works with %s threads", self.id, len(self._parts.slots))
            if self._service is not None:
                number = len(self._parts.slots)
                threads = "1 thread" if number == 1 else f"{number} threads"
                self._service.works(f"{self.id[:12]} works with {threads}")
            self._loop()
            if self._over:
                self._abandon()
            else:
                self._wind_up(deadline())
        self._parts.registration.close()
        if events.wanted(WorkerStopped):
            events.notify(WorkerStopped(self.id, self._over, self._why_given_up))

    def _loop(self) -> None:
        dispatcher = self._parts.dispatcher
        while not self._stopping.is_set() and not self._over:
            self._safely(self._tick)
            for pool in self._pools:
                pool.supervise()
            self._look_at_stuck()
            self._skip_ids()
            periodic.tick(self._tasks)
            self._safely(self._fire_schedules)
            self._parts.wakeup.wait(dispatcher.is_idle)

    def _look_at_stuck(self) -> None:
        """Show the number of stuck threads; give up when there are as many as may be."""
        stuck = sum(pool.stuck for pool in self._pools)
        self._parts.dispatcher.show_stuck(stuck)
        most = self._options.stuck_threads or defaults.STUCK_FACTOR * len(self._parts.slots)
        if stuck >= most:
            self._why_given_up = (
                f"worker {self.id} stops, as {stuck} of its threads didn't return from jobs that "
                "had timed out; see the log for where they are, and let another process take "
                "its place"
            )
            self._give_up(self._why_given_up)

    def _follow_agents(self) -> None:
        """Apply what was changed of the agents in the worker's record."""
        self._forget_left()
        seen = self._parts.wakeup.last_transaction()
        if seen == self._agents_seen:
            return
        stored = self._parts.dispatcher.agents()
        for lane, pool in list(zip(self._parts.lanes, self._pools, strict=True)):
            agent = stored.pop(lane.oid, None)
            if agent is not None:
                self._apply(lane, pool, agent)
            elif not lane.is_leaving:
                self._parts.dispatcher.let_leave(lane)
                log.info("worker %s: %s has left", self.id, lane)
                self._widen_pools(pool.resize())
        for oid, agent in stored.items():
            self._add(oid, agent)
        self._agents_seen = seen

    def _apply(self, lane: Lane, pool: ThreadPool, agent: Agent) -> None:
        """Let a lane have the size and the filter of its agent."""
        if agent.filter != lane.filter:
            with self._parts.dispatcher.lock:
                lane.set_filter(agent.filter)
        if agent.size != lane.size:
            log.info("worker %s: %s has size %s now", self.id, lane, agent.size)
            lane.resize(agent.size)
            self._widen_pools(pool.resize())
            self.wake()

    def _add(self, oid: bytes, agent: Agent) -> None:
        """Begin to work for another agent."""
        with self._parts.dispatcher.lock:
            lane = self._parts.make_lane(oid, agent)
            self._parts.lanes.append(lane)
            self._parts.slots.extend(lane.slots)
            pool = self._make_pool(lane)
            self._pools.append(pool)
        log.info("worker %s: %s has come, with size %s", self.id, lane, lane.size)
        self._widen_pools(lane.size)
        pool.start()
        self.wake()

    def _forget_left(self) -> None:
        """Forget the lanes that were left, once nothing runs there and all is booked."""
        for lane, pool in list(zip(self._parts.lanes, self._pools, strict=True)):
            if not lane.is_leaving:
                continue
            if lane.workload:  # what failed there, or was found in the lease
                self._parts.dispatcher.let_leave(lane)
            if pool.is_empty and not lane.outstanding:
                with self._parts.dispatcher.lock:
                    self._parts.lanes.remove(lane)
                    self._pools.remove(pool)

    def _rescue(self) -> None:
        with self._parts.dispatcher.lock:  # it is the same connection
            rescued = self._parts.registration.rescue_dead()
        if rescued:
            self.wake()

    def _fire_schedules(self) -> None:
        with self._parts.dispatcher.lock:  # it is the same connection
            fired = self._schedules.tick()
        if fired:
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
        self._stop_pools()

    def _stop_pools(self) -> list[Claim]:
        """Let the threads end after the jobs that they run; what they would have run next."""
        for pool in self._pools:
            pool.stop()
        return [claim for lane in self._parts.lanes for claim in lane.workload.take_all()]

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
        claims = self._stop_pools()
        while any(pool.is_alive() for pool in self._pools):
            if clock.monotonic() >= deadline:
                log.warning("worker %s stops while jobs still run; they are given back", self.id)
                break
            self._safely(self._tick)
            self._parts.wakeup.wait()
        claims += self._stop_pools()  # a tick may have found some
        try:
            with contextlib.suppress(TransientError):  # `drop` books what is stored, too
                dispatcher.book()
            self._parts.registration.drop(claims)
        except (Fenced, Stopped):
            pass
        except Exception as error:
            log.error(
                "worker %s can't give back what it holds (%s); the next one takes it over",
                self.id,
                error,
            )
