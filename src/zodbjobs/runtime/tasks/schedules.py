"""Schedules: fires what is due, in a transaction of the dispatcher's thread.

Each worker does so, for all schedules: of two one conflicts, looks again, and finds nothing to do.
"""

from __future__ import annotations

import logging
from collections.abc import Container, Sequence
from datetime import datetime
from itertools import islice

from transaction.interfaces import TransientError

from zodbjobs import clock, defaults
from zodbjobs.errors import Draining, MissingCode
from zodbjobs.runtime.periodic import Interval
from zodbjobs.runtime.session import Session
from zodbjobs.runtime.storage import errors
from zodbjobs.runtime.wakeup import Wakeup
from zodbjobs.stored.job import Job
from zodbjobs.stored.lifecycle import declaring, firing
from zodbjobs.stored.schedule import Schedule

log = logging.getLogger("zodbjobs")


class FireSchedules:
    """Fires the schedules of the worker's database, in `session`.

    `declared`: the names of those that this worker's code declares. One that code declares fires
    while there is a worker that does; then it is set aside until there is one again.

    What can't be fired here harms no other: it is fired alone. If its queue takes no jobs, or its
    code is missing here, it is held back, and tried again; else it is paused with the reason. Nor
    does one that has much to catch up: all that are due have their turn before it has another.
    """

    def __init__(self, session: Session, wakeup: Wakeup, declared: Sequence[str] = ()) -> None:
        self._session = session
        self._wakeup = wakeup
        self._declared = declared
        self._alarm = wakeup.alarm()
        self._interval = Interval(defaults.SCHEDULES_SECONDS, at_once=True)
        self._seen: bytes | None = None
        self._held: dict[bytes, float] = {}  # by the object id: until when
        self._had_turn: set[bytes] = set()  # of those that are due
        # The same: the planned time for which its code is missing here, and since when. Another
        # worker may have fired it for the last one.
        self._missing: dict[bytes, tuple[datetime | None, float]] = {}

    def tick(self) -> bool:
        """Fire a batch of what is due; whether there may be more.

        Raises what a commit raises; it is to be called again then.
        """
        if not self._is_worth_a_look():
            return False
        session, seen = self._session, self._wakeup.last_transaction()
        self._release()
        session.manager.begin()
        try:
            self._take_up()
            due = self._due()
            jobs = self._fire(due)
        finally:
            session.manager.abort()
        for job in jobs:
            job._p_deactivate()
        if not due:
            self._seen = seen
            self._interval.done()
        return bool(due)

    def _is_worth_a_look(self) -> bool:
        if self._alarm.is_ringing():
            return True
        if not self._interval.is_due():
            return False
        return bool(self._held) or self._wakeup.last_transaction() != self._seen

    def _release(self) -> None:
        """Try again what was held back for long enough."""
        now = clock.monotonic()
        self._held = {oid: until for oid, until in self._held.items() if until > now}

    def _take_up(self) -> None:
        """Let what this worker declares be due again, if another one has set it aside."""
        schedules = self._session.stored.schedules
        if sum(declaring.take_up(schedules.get(name)) for name in self._declared):
            self._session.manager.commit()
            self._session.manager.begin()

    def _due(self) -> list[Schedule]:
        """What is due and isn't held back, at most a batch; sets the alarm to what isn't due, and
        to now until there is a look which finds that nothing is.
        """
        schedules, now = self._session.stored.schedules, clock.now()
        found = self._due_without(self._held.keys() | self._had_turn, now)
        if not found and self._had_turn:
            self._had_turn.clear()
            found = self._due_without(self._held.keys(), now)
        self._had_turn.update(schedule._p_oid for schedule in found)
        self._alarm.set(now if found else schedules.first_due_after(now))
        return found

    def _due_without(self, oids: Container[bytes], now: int) -> list[Schedule]:
        due = (schedule for _, schedule in self._session.stored.schedules.due_until(now))
        those = (schedule for schedule in due if schedule._p_oid not in oids)
        return list(islice(those, defaults.FIRING_BATCH))

    def _fire(self, due: list[Schedule]) -> list[Job]:
        """Fire them in one transaction; if that fails, each in one of its own."""
        if not due:
            return []
        manager, now = self._session.manager, clock.now()
        jobs: list[Job] = []
        try:
            for schedule in declaring.without_undeclared(self._session.stored, due):
                jobs += firing.fire(schedule, now, defaults.FIRING_BATCH // len(due))
            manager.commit()
            return jobs
        except Exception as error:
            manager.abort()
            if _is_of_the_storage(error):
                raise
        return [job for schedule in due for job in self._fire_alone(schedule)]

    def _fire_alone(self, schedule: Schedule) -> list[Job]:
        manager = self._session.manager
        manager.begin()
        name = ""
        try:
            name = schedule.name
            now, jobs = clock.now(), []
            for each in declaring.without_undeclared(self._session.stored, [schedule]):
                jobs = firing.fire(each, now, defaults.FIRING_BATCH)
            manager.commit()
            self._missing.pop(schedule._p_oid, None)
            return jobs
        except Exception as error:
            manager.abort()
            if _is_of_the_storage(error):
                raise
            try:
                self._bear(schedule, name, error)
            except Exception as worse:
                manager.abort()
                if _is_of_the_storage(worse):
                    raise
                oid = schedule._p_oid
                log.critical("the schedule of id %r can't even be paused", oid, exc_info=True)
                self._held[oid] = clock.monotonic() + defaults.HELD_SECONDS
        return []

    def _bear(self, schedule: Schedule, name: str, error: Exception) -> None:
        """Hold a schedule back which can't be fired, or pause it."""
        oid, now = schedule._p_oid, clock.monotonic()
        if isinstance(error, MissingCode):
            planned = schedule.next
            if self._missing.get(oid, (None, 0))[0] != planned:
                self._missing[oid] = planned, now
            since = self._missing[oid][1]
            if now - since < defaults.MISSING_SECONDS:
                if since == now:
                    log.warning("%s; it is left to other workers for now", error)
                self._held[oid] = now + defaults.HELD_SECONDS
                return
        if isinstance(error, Draining):
            log.info("the schedule %r waits: %s", name, error)
            self._held[oid] = now + defaults.HELD_SECONDS
            return
        log.error("the schedule %r can't be fired, and is paused", name, exc_info=error)
        manager = self._session.manager
        manager.begin()
        if schedule.next is not None:
            schedule.pause(f"it couldn't be fired: {type(error).__name__}: {error}")
        manager.commit()
        self._missing.pop(oid, None)


def _is_of_the_storage(error: Exception) -> bool:
    """Whether the next try may do better, and no schedule is to blame."""
    if isinstance(error, TransientError):
        return True
    return errors.is_unavailable(error) or errors.is_transient(error) or errors.poisons(error)
