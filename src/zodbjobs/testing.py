"""For the tests of applications: run jobs, wait for jobs, move the clock."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

import transaction
from transaction.interfaces import NoTransaction, TransientError

from zodbjobs import clock
from zodbjobs.errors import NotStored, WaitTimeout
from zodbjobs.interfaces import COMPLETED
from zodbjobs.runtime import cleanup
from zodbjobs.runtime.assembly import Options, Parts
from zodbjobs.runtime.context import logs_are_kept
from zodbjobs.runtime.dispatcher import Dispatcher
from zodbjobs.runtime.runner import Runner
from zodbjobs.stored.job import Job

_POLL_SECONDS = 0.01


def run_jobs(db: Any, queues: Sequence[str] | None = None) -> int:
    """Run all jobs that are due in `db`, and those that they put, in this thread.

    The worker's own runner runs them; what the caller has not committed yet stays as it
    is, and isn't seen. Nor do jobs see the caller's site, interaction, security manager, request,
    context variables and decimal context, which are the caller's again at the end. Returns the
    number of runs. `queues`: names, all by default.
    """
    with _own_manager(), logs_are_kept(), cleanup.thread_given_back():
        parts = Parts(db, Options(queues, group_commit=0, owns_all=True), threading.Event())
        with parts.wakeup:
            runner = parts.make_runner(parts.slots[0])
            try:
                return _run_all(parts, runner)
            finally:
                runner.close()
                _step(parts.dispatcher, room=0)
                parts.registration.drop()
                parts.registration.close()


def _run_all(parts: Parts, runner: Runner) -> int:
    count = 0
    while _step(parts.dispatcher, room=1):
        while (claim := parts.workload.next()) is not None:
            runner.run(claim)
            count += 1
    return count


def _step(dispatcher: Dispatcher, room: int) -> int:
    while True:
        with contextlib.suppress(TransientError):
            return dispatcher.step(room)


@contextlib.contextmanager
def _own_manager() -> Iterator[None]:
    """Give this thread another transaction manager, and the caller's back at the end."""
    mine = transaction.manager.manager
    transaction.manager.manager = transaction.TransactionManager()
    try:
        yield
    finally:
        transaction.manager.manager = mine


def wait_for(jobs: Job | Iterable[Job], timeout: float = 10.0) -> None:
    """Wait until a job, or each of several, has ended; it must be committed.

    `timeout` is in seconds. Looks in transactions of its own. If nothing has joined the
    caller's transaction, that is begun anew, so that the result is there to be read. None is begun
    for an explicit transaction manager that has none.
    Raises WaitTimeout, which names the first job that didn't end.
    """
    waiting = [jobs] if isinstance(jobs, Job) else list(jobs)
    if not waiting:
        return
    connection = waiting[0]._p_jar
    if connection is None:
        raise NotStored(f"{waiting[0]!r} isn't stored; put it into a queue and commit first")
    manager = transaction.TransactionManager()
    own = connection.db().open(manager)
    deadline = time.monotonic() + timeout
    try:
        for job in waiting:
            _wait(own, job, deadline, timeout)
    finally:
        manager.abort()
        own.close()
    _begin_anew(connection.transaction_manager)


def _begin_anew(manager: Any) -> None:
    """Begin another transaction in place of one that nothing has joined.

    Where an explicit manager has none, the caller will begin it.
    """
    with contextlib.suppress(NoTransaction):
        # The package transaction has no other way to ask.
        if not manager.get()._resources:  # noqa: SLF001
            manager.abort()
            manager.begin()


def _wait(connection: Any, job: Job, deadline: float, timeout: float) -> None:
    manager = connection.transaction_manager
    while True:
        manager.begin()
        try:
            seen = connection.get(job._p_oid)
        except KeyError:
            raise NotStored(f"{job!r} isn't in the database; commit first") from None
        if seen.status == COMPLETED:
            return
        if time.monotonic() >= deadline:
            reason = f", parked: {seen.parked}" if seen.parked else ""
            raise WaitTimeout(
                f"{seen!r} is still {seen.status} after {timeout} s{reason}; "
                "is a worker running for its queue?"
            )
        time.sleep(_POLL_SECONDS)


class MovableClock:
    """A clock that stands still until it is moved."""

    def __init__(self, start: datetime) -> None:
        self._micros = clock.to_micros(start)
        self._monotonic = 0.0

    def now(self) -> int:
        """Microseconds since 1970 in UTC."""
        return self._micros

    def monotonic(self) -> float:
        """Seconds that only grow by `advance`."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass."""
        self._micros += int(seconds * 1_000_000)
        self._monotonic += seconds

    def set(self, moment: datetime) -> None:
        """Set the time of day, as an administrator would; no seconds pass by it."""
        self._micros = clock.to_micros(moment)

    def datetime(self) -> datetime:
        """The time as an aware datetime."""
        return clock.to_datetime(self._micros)


@contextlib.contextmanager
def moving_clock(start: datetime | None = None) -> Iterator[MovableClock]:
    """Let the package take its time from a MovableClock, starting at `start` or now."""
    before = clock.current
    start = start or clock.to_datetime(before.now()).replace(microsecond=0)
    clock.current = moved = MovableClock(start)
    try:
        yield moved
    finally:
        clock.current = before


__all__ = ["MovableClock", "moving_clock", "run_jobs", "wait_for"]
