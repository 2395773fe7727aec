"""Runs jobs one after the other in one thread, each in a transaction of its own."""

from __future__ import annotations

import contextlib
import copy
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import transaction
from transaction.interfaces import TransientError
from ZODB.broken import Broken
from ZODB.Connection import resetCaches
from ZODB.POSException import POSKeyError

from zodbjobs import clock, defaults
from zodbjobs.errors import BadArgument, MissingCode
from zodbjobs.interfaces import CANCELLED, FAILED, SUCCEEDED
from zodbjobs.runtime import attempt, storage
from zodbjobs.runtime.attempt import End, log
from zodbjobs.runtime.desk import Desk
from zodbjobs.runtime.group import Group
from zodbjobs.runtime.progress import Running, current
from zodbjobs.runtime.trouble import Trouble
from zodbjobs.stored import call
from zodbjobs.stored.failure import Failure
from zodbjobs.stored.job import Job
from zodbjobs.stored.queue import Ticket
from zodbjobs.stored.storable import is_simple, portable_copy

Report = Callable[[list[End]], None]

# Held by a job that has conflicted several times: those that keep conflicting with each
# other run one after the other.
_alone = threading.Lock()

_SNAPSHOT_SECONDS = 0.1


class Stopped(Exception):
    """The worker stops while its storage is in trouble; what it held is left to a rescue."""


class Runner:
    """Runs the jobs of one worker in one thread.

    `make_desk` gives the worker's desk in a connection. `report` is given the ends that
    are committed. Results of jobs that wrote nothing wait up to `group_seconds` for
    others, to be committed together; 0 commits each at once. While the storage is in
    trouble it waits, until `stopping` is set.
    """

    def __init__(
        self,
        db: Any,
        make_desk: Callable[[Any], Desk],
        report: Report,
        group_seconds: float,
        stopping: threading.Event,
    ) -> None:
        self.running: Running | None = None
        self._one_process = storage.is_for_one_process(db)
        most = defaults.GROUP_JOBS if self._one_process else defaults.SERVER_GROUP_JOBS
        self.group = Group(group_seconds, most)
        #: When the job that runs was called, by the machine's monotonic clock; None between jobs.
        self.called: float | None = None
        #: Seconds that the last job took, with a commit of its own.
        self.seconds = 0.0
        #: Those of them in which another thread could have worked.
        self.shareable = 0.0
        self._db = db
        self._make_desk = make_desk
        self._report = report
        self._trouble = Trouble(stopping)

    def open(self) -> None:
        """Open the connection, for use in this thread only."""
        # The thread's own manager: what the job does with `transaction` is this one.
        self._manager = transaction.manager.manager
        connection = self._db.open(self._manager)
        self._connections = connection.connections
        # Poll when an attempt begins, not also after each commit; and no idle thread keeps a
        # transaction of PostgreSQL open.
        connection.explicit_transactions = True
        self._must_poll = storage.must_be_polled(self._db)
        self._snapshot = self._transaction = None
        self._reusable = False
        # What each new transaction of this manager is like.
        self._fresh = {
            name: copy.copy(value) if isinstance(value, list | dict) else value
            for name, value in vars(self._manager.begin()).items()
        }
        try:
            self.desk = self._make_desk(connection)
        except BaseException:
            self._manager.abort()
            connection.close()
            raise

    def close(self) -> None:
        """Commit what waits and close the connection."""
        try:
            self.flush()
        except Stopped:
            log.warning("the storage is in trouble; what was not committed will be run again")
        self._manager.abort()
        self.desk.connection.close()

    def _reopen(self) -> None:
        """Begin anew with an empty cache; see `storage.spoils`."""
        resetCaches()
        self.desk.connection.close()
        while True:
            try:
                self.open()
                return
            except KeyError as error:  # others have the jobs
                raise Stopped from error
            except Exception as error:
                self._wait_out(error)

    def run(self, ticket: Ticket) -> None:
        """Run a claimed job to its end, and commit it or leave it for the next flush."""
        self.seconds = self.shareable = 0.0
        self._trouble.is_over()
        conflicts = 0
        alone = False
        try:
            while True:
                try:
                    end = self._attempt(ticket, conflicts)
                    if end is not None:
                        self._commit(end)
                    return
                except Exception as error:
                    self._start_over()
                    if storage.is_trouble(error):
                        self._wait_out(error)
                        continue
                    conflicts += 1
                    transient = storage.is_transient(error)
                    if not transient or conflicts == defaults.CONFLICT_ATTEMPTS:
                        # The commit can't be made: what the job did is dropped with it.
                        log.error("the commit of %s failed", ticket, exc_info=not transient)
                        running, now = self.running, clock.now()
                        attempts = conflicts + (running.job._attempts if running else 0)
                        self._keep(attempt.failed(ticket, error, now, attempts, running))
                        return
                    if storage.is_used_id(error):
                        storage.skip_ids(self._db)
                    if storage.spoils(error):
                        self._reopen()
                    if conflicts == defaults.CONFLICTS_TOGETHER:
                        alone = _alone.acquire()
                    attempt.pause(conflicts)
                finally:
                    self.running = None
        finally:
            if alone:
                _alone.release()

    def catch_up(self) -> None:
        """Take note of the commits of others, which is kept for the connection until then."""
        self._reusable = False
        with contextlib.suppress(Exception):  # which the next job will meet again
            self._manager.begin()
            self._manager.abort()

    def load_ahead(self, tickets: Sequence[Ticket]) -> int:
        """Load jobs that are run next, which is cheaper at once than one by one; how many."""
        with contextlib.suppress(Exception):  # which `run` will meet again, and answer for
            self._begin()
            self._reusable = len(self._connections) == 1
            return self.desk.load(tickets, defaults.LOAD_AHEAD)
        return 0

    # One attempt

    def _attempt(self, ticket: Ticket, conflicts: int) -> End | None:
        """Run the job once; None if there is nothing to be written into it."""
        self._begin()
        now = clock.now()
        job = self._load(ticket, now)
        if job is None:
            return None
        deadline = job.deadline()
        if deadline is not None and now > deadline:
            return attempt.expired(ticket, job, now, deadline)
        try:
            function, args, kwargs = attempt.resolve(job)
        except (MissingCode, POSKeyError) as error:
            log.error("%r is parked: %s", job, error)
            return attempt.parked(ticket, str(error), now)
        running = self.running = Running(ticket.key, job, now)
        attempts = job._attempts + conflicts + 1
        token = current.set(running)
        job._v_running = True
        self.called = called = time.monotonic()
        try:
            result = call.run(function, args, kwargs)
            portable = is_simple(result)
            if not portable:
                result, portable = portable_copy(result, f"the result of {job!r}")
        except BaseException as error:
            if isinstance(error, TransientError) or storage.is_lost(error):
                raise
            self._start_over()
            return attempt.failed(ticket, error, now, attempts, running)
        finally:
            self.called = None
            spent = time.monotonic() - called
            self.seconds += spent
            self.shareable += spent
            job._v_running = False
            current.reset(token)
        if job._finished is not None:
            end = attempt.cancelled(running, ticket)
            self._start_over()
            return end
        return self._succeeded(ticket, result, portable, attempts)

    def _begin(self) -> None:
        """The transaction for the next job, with a snapshot of now.

        If nobody has committed since the last one began, and the last job has left no
        trace in it, then it is as good as a new one, which costs more than a short job.
        Where that would have to be asked for, the same snapshot serves for _SNAPSHOT_SECONDS;
        it is at least as new as the claim of the job, or it wouldn't show the job as claimed.
        """
        reusable, self._reusable = self._reusable, False
        if self._must_poll:
            seen: Any = time.monotonic()
            fresh = self._snapshot is not None and seen - self._snapshot < _SNAPSHOT_SECONDS
        else:
            seen = self._db.lastTransaction()
            fresh = seen == self._snapshot
        if not (reusable and fresh):
            self._snapshot = seen
            self._transaction = self._manager.begin()

    def _untouched(self, txn: Any) -> bool:
        """Whether `txn` is as it was at its begin: nothing joined, no hook, no note."""
        return txn is self._transaction and vars(txn) == self._fresh

    def _start_over(self) -> None:
        """Drop what the attempt did, also to arguments that the database doesn't watch."""
        self._manager.abort()
        if self.running is not None:
            self.running.job._p_invalidate()

    def _load(self, ticket: Ticket, now: int) -> Job | None:
        """The job, if it is still this worker's and can be run at all."""
        job: Job | None = self.desk.record.leased(ticket)
        if job is None:
            # The snapshot may be older than the claim: on RelStorage, or after an outage.
            self._begin()
            job = self.desk.record.leased(ticket)
        if job is None:
            self._drop(ticket)
            return None
        try:
            job._p_activate()
        except Exception as error:
            if storage.is_transient(error) or storage.is_lost(error):
                raise
            log.critical("%s can't be loaded, it is parked", ticket, exc_info=True)
            self._report([attempt.parked(ticket, None, now)])
            return None
        if isinstance(job, Broken):
            log.error("%r is parked: its class is missing in this process", job)
            self._report([attempt.parked(ticket, None, now)])
            return None
        if job._finished is not None:
            # As after a commit of which the connection was lost before it was confirmed.
            log.error("%r had already ended when it was to be run", job)
            self._report([attempt.ended(ticket, job)])
            return None
        return job

    def _succeeded(self, ticket: Ticket, result: Any, portable: bool, attempts: int) -> End:
        assert self.running is not None
        end = End(ticket, attempt.HISTORY, self.running.started, clock.now())
        end.outcome = FAILED if isinstance(result, Failure) else SUCCEEDED
        end.result = result
        end.attempts = attempts
        end.running = self.running
        untouched = self._untouched(self._manager.get())
        end.portable = portable and untouched
        if end.portable:
            end.share(self.running.job)
        self._reusable = untouched and len(self._connections) == 1
        return end

    def _drop(self, ticket: Ticket, running: Running | None = None) -> None:
        """The lease doesn't hold the job any more: somebody took it away."""
        if running is None:
            log.info("%s was taken away before it began", ticket)
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
        if end.portable:
            self._keep(end)
            return
        group = self.group.take()
        start = time.monotonic()
        try:
            for other in group:  # not together: a conflict of theirs would run this job again
                other.write(self.desk.record)
            if end.write(self.desk.record):
                self._manager.commit()
            else:
                self._manager.abort()  # its effects must not come with the others' results
        except BaseException:
            self._manager.abort()
            self.group.give_back(group)
            raise
        spent = time.monotonic() - start
        self.seconds += spent
        if not self._one_process:
            # Commits to a file wait for each other, those to a server go on side by side.
            self.shareable += spent
        if end.where == attempt.NOWHERE:
            self.group.give_back(group)
            self._drop(end.ticket, end.running)
        else:
            self._done([*group, end])

    def _done(self, ends: list[End]) -> None:
        for end in ends:
            end.let_go()
        self._report(ends)

    def _keep(self, end: End) -> None:
        if self.group.add(end):
            self.flush()

    def flush(self) -> None:
        """Commit the ends that wait; tries until it works, and runs nothing again.

        Raises Stopped if the worker stops while the storage is in trouble.
        """
        group = self.group.take()
        conflicts = 0
        while group:
            start = time.monotonic()
            try:
                self._manager.begin()
                attempt.write_ends(self.desk, group)
                self._manager.commit()
            except Exception as error:
                self._manager.abort()
                if storage.is_trouble(error):
                    self._wait_out(error)
                elif storage.is_transient(error):
                    conflicts += 1
                    attempt.pause(conflicts)
                else:
                    log.critical("ends of %s jobs can't be committed", len(group), exc_info=True)
                    for end in group:
                        self._write_alone(end)
                    return
            else:
                self.group.committed(time.monotonic() - start)
                self._done(group)
                return

    def _write_alone(self, end: End) -> None:
        """One of these ends can't be stored. A result of that kind becomes a Failure that
        says so; a job for which that doesn't help either is parked.
        """
        if end.result is not None and not isinstance(end.result, Failure):
            error = BadArgument(f"the result can't be stored: {type(end.result).__name__}")
            try:
                portable_copy(end.result, "the result")
            except BadArgument:
                end = attempt.failed(end.ticket, error, end.started, end.attempts, None)
        try:
            self._manager.begin()
            end.write(self.desk.record)
            self._manager.commit()
        except Exception as error:
            self._manager.abort()
            if storage.is_transient(error) or storage.is_trouble(error):
                self.group.give_back([end])
                self.flush()
            else:
                log.critical("the end of %s can't be stored, it is parked", end.ticket)
                self._report([attempt.parked(end.ticket, None, clock.now())])
        else:
            self._done([end])

    def _wait_out(self, error: Exception) -> None:
        """Wait before the next try; raise Stopped if the worker stops meanwhile."""
        if not self._trouble.wait_out(error):
            raise Stopped from error
