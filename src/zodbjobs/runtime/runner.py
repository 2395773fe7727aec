"""Runs jobs one after the other in one thread, each in a transaction of its own."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import inspect
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import transaction
from transaction.interfaces import TransientError
from ZODB.broken import Broken
from ZODB.POSException import POSKeyError

from zodbjobs import clock, defaults
from zodbjobs.errors import BadArgument, Expired, MissingCode
from zodbjobs.interfaces import CANCELLED, EXPIRED, FAILED, SUCCEEDED
from zodbjobs.runtime import attempt
from zodbjobs.runtime.attempt import End, log
from zodbjobs.runtime.desk import Desk
from zodbjobs.runtime.progress import Running, current
from zodbjobs.stored import call
from zodbjobs.stored.call import check_whole
from zodbjobs.stored.failure import Failure
from zodbjobs.stored.job import Job
from zodbjobs.stored.queue import Ticket
from zodbjobs.stored.storable import check_storable, is_simple

Report = Callable[[list[End]], None]


class Runner:
    """Runs the jobs of one worker in one thread.

    `make_desk` gives the worker's desk in a connection. `report` is given the ends that
    are committed. Results of jobs that wrote nothing wait up to `group_seconds` for
    others, to be committed together; 0 commits each at once.
    """

    def __init__(
        self,
        db: Any,
        make_desk: Callable[[Any], Desk],
        report: Report,
        group_seconds: float,
    ) -> None:
        self.running: Running | None = None
        self._db = db
        self._make_desk = make_desk
        self._report = report
        self._group_seconds = group_seconds
        self._group: list[End] = []
        self._group_since = 0.0
        self._group_lock = threading.Lock()
        self._loop: asyncio.Runner | None = None

    def open(self) -> None:
        """Open the connection, for use in this thread only."""
        # The thread's own manager: what the job does with `transaction` is this one.
        self._manager = transaction.manager.manager
        connection = self._db.open(self._manager)
        self._connections = connection.connections
        self._snapshot: bytes | None = None
        self._reusable = False
        self._transaction: Any = None
        # What each new transaction of this manager is like.
        self._fresh = {
            name: copy.copy(value) if isinstance(value, list | dict) else value
            for name, value in vars(self._manager.begin()).items()
        }
        self.desk = self._make_desk(connection)

    def close(self) -> None:
        """Commit what waits and close the connection."""
        self.flush()
        if self._loop is not None:
            self._loop.close()
        self._manager.abort()
        self.desk.connection.close()

    def run(self, ticket: Ticket) -> None:
        """Run a claimed job to its end, and commit it or leave it for the next flush."""
        conflicts = 0
        while True:
            try:
                end = self._attempt(ticket, conflicts)
                if end is not None:
                    self._commit(end)
                break
            except TransientError as error:
                self._manager.abort()
                conflicts += 1
                if conflicts >= defaults.CONFLICT_ATTEMPTS:
                    now = clock.now()
                    self._keep(self._failed(ticket, error, now, conflicts, self.running))
                    break
                pause = defaults.CONFLICT_SECONDS * 2**conflicts
                time.sleep(pause * random.random())
            except Exception as error:
                # Not the job's but the commit's: a result or an effect that can't be stored.
                self._manager.abort()
                log.exception("the commit of job %s failed", ticket)
                now = clock.now()
                self._keep(self._failed(ticket, error, now, conflicts + 1, self.running))
                break
            finally:
                self.running = None

    def load_ahead(self, tickets: Sequence[Ticket]) -> None:
        """Load the first of some jobs that were just claimed, which is cheaper than later."""
        connection = self.desk.record._p_jar
        with contextlib.suppress(POSKeyError, TransientError):  # which `run` will answer for
            for ticket in tickets[: defaults.LOAD_AHEAD]:
                job = connection.get(ticket.oid)
                if isinstance(job, Job):
                    call.load(job._call)

    # One attempt

    def _attempt(self, ticket: Ticket, conflicts: int) -> End | None:
        """Run the job once; None if there is nothing to be written into it."""
        manager = self._manager
        self._begin()
        now = clock.now()
        job = self._load(ticket, now)
        if job is None:
            return None
        deadline = job.deadline()
        if deadline is not None and now > deadline:
            return _expired(ticket, job, now, deadline)
        try:
            function, args, kwargs = _resolve(job)
        except MissingCode as error:
            log.error("%r is parked: %s", job, error)
            end = End(ticket, attempt.PARKED, now, now)
            end.result = str(error)
            return end
        running = self.running = Running(ticket.key, job, now)
        attempts = job._attempts + conflicts + 1
        token = current.set(running)
        job._v_running = True
        try:
            result = function(*args, **kwargs)
            portable = is_simple(result)
            if not portable:
                if inspect.iscoroutine(result):
                    result = self._await(result)
                portable = check_storable(result, f"the result of {job!r}")
        except TransientError:
            raise
        except BaseException as error:
            manager.abort()
            return self._failed(ticket, error, now, attempts, running)
        finally:
            job._v_running = False
            current.reset(token)
        end = End(ticket, attempt.HISTORY, now, clock.now())
        end.outcome = FAILED if isinstance(result, Failure) else SUCCEEDED
        end.result = result
        end.attempts = attempts
        end.running = running
        untouched = self._untouched(manager.get())
        end.portable = portable and untouched
        self._reusable = untouched and len(self._connections) == 1
        return end

    def _begin(self) -> None:
        """The transaction for the next job, with a snapshot of now.

        If nobody has committed since the last one began, and the last job has left no
        trace in it, then it is as good as a new one, which costs more than a short job.
        """
        seen = self._db.lastTransaction()
        if self._reusable and seen == self._snapshot:
            self._reusable = False
            return
        self._reusable = False
        self._snapshot = seen
        self._transaction = self._manager.begin()

    def _untouched(self, txn: Any) -> bool:
        """Whether `txn` is as it was at its begin: nothing joined, no hook, no note."""
        return txn is self._transaction and vars(txn) == self._fresh

    def _load(self, ticket: Ticket, now: int) -> Job | None:
        """The job, if it is still this worker's and can be run at all."""
        job: Job | None = self.desk.record.leased(ticket)
        if job is None:
            self._drop(ticket)
            return None
        try:
            job._p_activate()
        except POSKeyError:
            log.critical("the record of the job of %s is lost; it is parked", ticket)
            self._report([End(ticket, attempt.PARKED, now, now)])
            return None
        if isinstance(job, Broken):
            log.error("%r is parked: its class is missing in this process", job)
            self._report([End(ticket, attempt.PARKED, now, now)])
            return None
        if job._finished is not None:
            log.error("%r had already ended when it was to be run", job)
            self._report([End(ticket, attempt.HISTORY, now, now)])
            return None
        return job

    def _await(self, coroutine: Any) -> Any:
        if self._loop is None:
            self._loop = asyncio.Runner()
        return self._loop.run(coroutine)

    def _failed(
        self,
        ticket: Ticket,
        error: BaseException,
        started: int,
        attempts: int,
        running: Running | None = None,
    ) -> End:
        """The end of an attempt that raised: another attempt, or failed for good."""
        now = clock.now()
        failure = Failure.from_exception(error)
        job = None if running is None else running.job
        delay = None if job is None else _retry_delay(job, failure, attempts)
        end = End(ticket, attempt.HISTORY, started, now)
        end.attempts = attempts
        end.running = running
        if delay is None:
            log.error("%r failed: %s", job or ticket, failure)
            end.outcome, end.result = FAILED, failure
        else:
            log.info("%r failed, another attempt follows in %s s: %s", job, delay, failure)
            end.failure = failure
            end.where = attempt.READY
            if delay > 0:
                end.where = attempt.HELD
                end.retry_at = now + int(delay * 1_000_000)
        return end

    def _drop(self, ticket: Ticket, running: Running | None = None) -> None:
        """The lease doesn't hold the job any more: somebody took it away."""
        if running is None:
            log.info("the job of %s was taken away before it began", ticket)
        elif running.job.outcome == CANCELLED:
            log.info("%r was cancelled; what it did here is dropped", running.job)
        else:
            log.error("%r was taken from this worker; what it did here is dropped", running.job)
        self._report([End(ticket, attempt.NOWHERE, 0, 0)])

    # Writing the ends

    def _commit(self, end: End) -> None:
        """Commit the end of a job that wrote to the database, with those that wait;
        leave that of one that didn't to wait for others.
        """
        if end.portable and self._group_seconds:
            self._keep(end)
            return
        group = self.take_group()
        try:
            for other in group:
                other.write(self.desk.record)
            if end.write(self.desk.record):
                self._manager.commit()
            else:
                # Its effects must not come with the others' results.
                self._manager.abort()
        except BaseException:
            self._manager.abort()
            self._give_back(group)
            raise
        if end.where == attempt.NOWHERE:
            self._give_back(group)
            self._drop(end.ticket, end.running)
        else:
            self._done([*group, end])

    def _done(self, ends: list[End]) -> None:
        for end in ends:
            end.let_go()
        self._report(ends)

    def _keep(self, end: End) -> None:
        with self._group_lock:
            if not self._group:
                self._group_since = time.monotonic()
            self._group.append(end)
        if len(self._group) >= defaults.GROUP_JOBS or self._group_is_old():
            self.flush()

    def _group_is_old(self) -> bool:
        return time.monotonic() - self._group_since >= self._group_seconds

    def _give_back(self, group: list[End]) -> None:
        if group:
            with self._group_lock:
                self._group[:0] = group

    def take_group(self, only_old: bool = False) -> list[End]:
        """Take the ends that wait for their commit. The dispatcher takes old ones
        while this thread is busy with a long job.
        """
        if not self._group:
            return []
        with self._group_lock:
            if only_old and not self._group_is_old():
                return []
            group, self._group = self._group, []
        return group

    def flush(self) -> None:
        """Commit the ends that wait; tries until it works, and runs nothing again."""
        group = self.take_group()
        tries = 0
        while group:
            tries += 1
            try:
                self._manager.begin()
                for end in group:
                    end.write(self.desk.record)
                self._manager.commit()
            except TransientError:
                self._manager.abort()
                time.sleep(min(1.0, defaults.CONFLICT_SECONDS * 2**tries) * random.random())
            except Exception:
                self._manager.abort()
                log.critical("ends of %s jobs can't be committed", len(group), exc_info=True)
                if len(group) > 1:
                    for end in group:
                        self._give_back([end])
                        self.flush()
                    return
                group = [self._without_result(group[0])]
                time.sleep(min(60.0, 2.0**tries - 1))
            else:
                self._done(group)
                return

    def _without_result(self, end: End) -> End:
        """A result that can't be stored is replaced by a Failure that says so."""
        if end.result is None or isinstance(end.result, Failure):
            return end
        error = BadArgument(f"the result can't be stored: {type(end.result).__name__}")
        return self._failed(end.ticket, error, end.started, end.attempts)


def _resolve(job: Job) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
    function = job.callable
    args = job._args
    kwargs = job._kwargs or {}
    for value in args:
        check_whole(value)
    for value in kwargs.values():
        check_whole(value)
    return function, args, kwargs


def _expired(ticket: Ticket, job: Job, now: int, deadline: int) -> End:
    error = Expired(
        f"job {job.id} ({job.description}) was to be begun by {clock.to_datetime(deadline)}; "
        "give it a longer begin_by, or the queue more workers"
    )
    end = End(ticket, attempt.HISTORY, now, now)
    end.outcome = EXPIRED
    end.result = Failure.from_exception(error)
    return end


def _retry_delay(job: Job, failure: Failure, attempts: int) -> float | None:
    policy = job.retry_policy
    if policy is None:
        return None
    try:
        delay = policy.delay(failure, attempts)
        return None if delay is None else float(delay)
    except Exception:
        log.exception("the retry policy of %r failed; there is no further attempt", job)
        return None
