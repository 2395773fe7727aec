"""Running: jobs are run in the thread of the test, or waited for."""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import transaction
from transaction.interfaces import NoTransaction, TransientError
from ZODB.POSException import ReadConflictError

from zodbjobs.errors import NotStored, WaitTimeout
from zodbjobs.interfaces import COMPLETED
from zodbjobs.runtime import cleanup
from zodbjobs.runtime.accidents import Died
from zodbjobs.runtime.assembly import Options, Parts
from zodbjobs.runtime.context import logs_are_kept
from zodbjobs.runtime.dispatcher import Dispatcher
from zodbjobs.runtime.runner import Runner
from zodbjobs.runtime.tasks.schedules import FireSchedules
from zodbjobs.stored.job import Job
from zodbjobs.stored.lifecycle import delivery

_POLL_SECONDS = 0.01


def run_jobs(
    db: Any,
    queues: Sequence[str] | None = None,
    until: Job | Callable[[], object] | None = None,
) -> int:
    """Run all jobs that are due in `db`, those of schedules too, and those that they put, in this
    thread.

    The worker's own runner runs them; what the caller has not committed yet stays as it
    is, and isn't seen. Nor do jobs see the caller's site, interaction, security manager, request,
    context variables and decimal context, which are the caller's again at the end. Returns the
    number of runs. `queues`: names, all by default.

    `until`: stop as soon as this job, which must be committed, has ended, or as this function
    returns something true. It is called before the first run and after each; a transaction of the
    caller's that nothing has joined is begun anew before, so that it finds what jobs did. Raises
    WaitTimeout if nothing more is due and that isn't so.
    """
    with _own_manager() as mine, logs_are_kept(), cleanup.thread_given_back():
        parts = Parts(db, Options(queues, group_commit=0, owns_all=True), threading.Event())
        with parts.wakeup:
            runner = parts.make_runner(parts.slots[0])
            died = False
            count = 0
            try:
                with _condition(until, mine) as is_fulfilled:
                    for count in _runs(parts, runner):
                        if is_fulfilled():
                            return count
                _check_fulfilled(until, count)
                return count
            except Died:
                died = True
                return count
            finally:
                _leave(parts, runner, died)


def _runs(parts: Parts, runner: Runner) -> Iterator[int]:
    """Run one job after the other; yields how many were run, first 0."""
    count = 0
    yield count
    schedules = FireSchedules(parts.registration.session, parts.wakeup)
    while _fire(schedules) or _step(parts.dispatcher, room=1):
        while (claim := parts.workload.next()) is not None:
            runner.run(claim)
            count += 1
            yield count


def _leave(parts: Parts, runner: Runner, died: bool) -> None:
    """Stop in order, or leave behind what a worker does that was killed."""
    if died:
        runner.thread_session.close()
    else:
        runner.close()
        parts.dispatcher.give_back(parts.workload.take_all())
        _step(parts.dispatcher, room=0)
        parts.registration.drop()
    parts.registration.close()


# Until when


@contextlib.contextmanager
def _condition(
    until: Job | Callable[[], object] | None, mine: Any
) -> Iterator[Callable[[], object]]:
    """A function that says whether the caller has what it wants; `mine`: its manager."""
    if until is None:
        yield lambda: False
    elif isinstance(until, Job):
        with _seen_from_outside(until) as look:
            yield lambda: look().status == COMPLETED
    else:
        yield functools.partial(_ask, until, mine)


def _ask(condition: Callable[[], object], mine: Any) -> object:
    """Ask in the caller's transaction manager."""
    own, transaction.manager.manager = transaction.manager.manager, mine
    try:
        _begin_anew(mine)
        return condition()
    finally:
        transaction.manager.manager = own


def _check_fulfilled(until: Job | Callable[[], object] | None, count: int) -> None:
    if until is None:
        return
    what = repr(until)
    if isinstance(until, Job):
        with _seen_from_outside(until) as look:
            job = look()
            what = f"{job!r} is {job.status}{_reason(job)}"
    raise WaitTimeout(
        f"after {count} runs nothing more is due, and that until which run_jobs was to run isn't "
        f"so: {what}"
    )


def _fire(schedules: FireSchedules) -> bool:
    while True:
        with contextlib.suppress(TransientError):
            return schedules.tick()


def _step(dispatcher: Dispatcher, room: int) -> int:
    while True:
        with contextlib.suppress(TransientError):
            return dispatcher.step(room)


@contextlib.contextmanager
def _own_manager() -> Iterator[Any]:
    """Give this thread another transaction manager, and the caller's back at the end; yields
    that.
    """
    mine = transaction.manager.manager
    transaction.manager.manager = transaction.TransactionManager()
    try:
        yield mine
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
    deadline = time.monotonic() + timeout
    for job in waiting:
        with _seen_from_outside(job) as look:
            _wait(look, deadline, timeout)
    _begin_anew(waiting[0]._p_jar.transaction_manager)


@contextlib.contextmanager
def _seen_from_outside(job: Job) -> Iterator[Callable[[], Job]]:
    """A function that gives the job as it is now, in a connection and transactions of its own.

    Raises NotStored if it isn't committed.
    """
    if job._p_jar is None:
        raise NotStored(f"{job!r} isn't stored; put it into a queue and commit first")
    manager = transaction.TransactionManager()
    connection = job._p_jar.db().open(manager)

    def look() -> Job:
        manager.begin()
        try:
            found: Job = connection.get(job._p_oid)
        except KeyError:
            raise NotStored(f"{job!r} isn't in the database; commit first") from None
        return found

    try:
        yield look
    finally:
        manager.abort()
        connection.close()


def _begin_anew(manager: Any) -> None:
    """Begin another transaction in place of one that nothing has joined.

    Where an explicit manager has none, the caller will begin it.
    """
    with contextlib.suppress(NoTransaction):
        # The package transaction has no other way to ask.
        if not manager.get()._resources:  # noqa: SLF001
            manager.abort()
            manager.begin()


def _wait(look: Callable[[], Job], deadline: float, timeout: float) -> None:
    while True:
        seen = look()
        status = _status(seen)
        if status == COMPLETED:
            return
        if time.monotonic() >= deadline:
            raise WaitTimeout(
                f"{seen!r} is still {status} after {timeout} s{_reason(seen)}; "
                "is a worker running for its queue?"
            )
        time.sleep(_POLL_SECONDS)


def _status(job: Job) -> str:
    """The status of a job; "unreadable" while its database is seen ahead of that of its queue: two
    servers tell of one commit one after the other.
    """
    try:
        return job.status
    except ReadConflictError:
        return "unreadable"


def _reason(job: Job) -> str:
    return f", parked: {job.parked}" if job.parked else ""


@contextlib.contextmanager
def run_at_once(db: Any, queues: Sequence[str] | None = None) -> Iterator[None]:
    """Run jobs right after the commit that put them, in the thread that commits, as `run_jobs`
    does: each in a connection and a transaction of its own. A context manager.

    For tests that are about something else, such as those of pages. When the commit returns, what
    is due has ended, and the connections that have committed see it. What the commit did stays,
    whatever becomes of the jobs. What isn't due yet waits.
    """
    mine = threading.local()

    def run(connection: Any) -> None:
        """Run what `connection` has just put, unless a job that is run here has put it."""
        if connection.db() not in db.databases.values() or getattr(mine, "is_running", False):
            return
        mine.is_running = True
        try:
            run_jobs(db, queues)
        finally:
            mine.is_running = False
        for each in connection.connections.values():
            if not each.explicit_transactions:
                each.newTransaction(None, False)

    delivery.after_put.add(run)
    try:
        yield
    finally:
        delivery.after_put.discard(run)
