"""Commits what attempts led to: at once what wrote to the database, the rest in groups."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from transaction.interfaces import TransientError

from zodbjobs import clock
from zodbjobs.errors import BadArgument
from zodbjobs.interfaces import FAILED
from zodbjobs.runtime import transactions
from zodbjobs.runtime.measures import CHECKPOINT, JOB, RESULTS, TOGETHER
from zodbjobs.runtime.slot import Slot
from zodbjobs.runtime.thread_session import ThreadSession
from zodbjobs.runtime.transactions import Backoff
from zodbjobs.stored.failure import Failure
from zodbjobs.stored.job import Job
from zodbjobs.stored.lifecycle import attempt_result, complete, labels
from zodbjobs.stored.lifecycle.attempt_result import AttemptResult
from zodbjobs.stored.lifecycle.claim import Claim
from zodbjobs.stored.lifecycle.storable import can_be_stored
from zodbjobs.stored.workers import WorkerRecord

log = logging.getLogger("zodbjobs")


class Report(Protocol):
    """Takes the results that are committed, and the claims of jobs that were taken away."""

    def __call__(self, results: Sequence[AttemptResult], gone: Sequence[Claim] = ()) -> None:
        """Called in the runner's thread."""


class Committer:
    """Commits the results of one thread's runner, and reports what is committed.

    `commits_wait`: whether commits wait for each other, as those to a file do; those to a
    server go on side by side. While the storage is unavailable `backoff` waits.
    """

    def __init__(
        self,
        thread_session: ThreadSession,
        slot: Slot,
        report: Report,
        backoff: Backoff,
        commits_wait: bool,
    ) -> None:
        self._thread_session = thread_session
        self._slot = slot
        self._report = report
        self._backoff = backoff
        self._commits_wait = commits_wait

    def commit(self, results: Sequence[AttemptResult], is_group: bool = False) -> float | None:
        """Commit what jobs wrote in one transaction with their results, and the results that
        wait; the seconds that this took. None if one of them was taken away, for then nothing of
        all that is committed. Raises what the commit raises; nothing is lost then.

        Those of one bundle that may end together do so in its shared results. The time is counted
        as the job's, unless that is of a group.
        """
        session = self._thread_session.session
        group = self._slot.group.take()
        start = time.monotonic()
        try:
            written = self._take_along(session.record, group) if group else []
            if len(complete.write(session.record, results)) < len(results):
                session.manager.abort()  # its effects must not come with the others' results
                self._slot.group.give_back(group)
                return None
            labels.sign(session.manager, [result.job for result in results if result.job])
            with transactions.only_errors():
                session.manager.commit()
        except BaseException:
            session.manager.abort()
            self._slot.group.give_back(group)
            raise
        spent = time.monotonic() - start
        if not is_group:
            self._slot.seconds += spent
            if not self._commits_wait:
                self._slot.shareable += spent
        kind = TOGETHER if is_group else JOB
        self._slot.measures.committed(kind, spent, len(written) + len(results))
        self._slot.conflicts.committed(results)
        self._done([*written, *results], group)
        return spent

    def checkpoint(self, job: Job, write: Callable[[], bool]) -> bool:
        """Commit what a job that goes on has done so far, with what `write` writes of that, and
        the results that wait: they aren't to wait for its end. False, and nothing is committed, if
        `write` says so. Raises what the commit raises; nothing is lost then, and the
        transaction is aborted.
        """
        session = self._thread_session.session
        group = self._slot.group.take()
        start = time.monotonic()
        try:
            written = self._take_along(session.record, group) if group else []
            is_written = write()
            if is_written:
                labels.sign(session.manager, [job])
                with transactions.only_errors():
                    session.manager.commit()
        except BaseException:
            session.manager.abort()
            self._slot.group.give_back(group)
            raise
        if not is_written:
            session.manager.abort()
            self._slot.group.give_back(group)
            return False
        spent = time.monotonic() - start
        self._slot.measures.committed(CHECKPOINT, spent, len(written))
        if group:
            self._done(written, group)
        return True

    def _take_along(self, record: WorkerRecord, group: list[AttemptResult]) -> list[AttemptResult]:
        """Write results that wait, in the transaction of a job that wrote to the database.

        Each into its own record: a conflict about shared results would run that job again. One
        that can't be stored goes back to wait: it would make that job fail.
        """
        # What follows their ends is written by others as well.
        followed = [result for result in group if result.followed]
        if followed:
            group[:] = [result for result in group if not result.followed]
            self._slot.group.give_back(followed)
        written = complete.write_each(record, group)
        for result in list(written):
            job = result.job
            if job is not None and not can_be_stored(job):
                job._p_invalidate()
                written.remove(result)
                group.remove(result)
                self._slot.group.give_back([result])
        return written

    def keep(self, result: AttemptResult) -> None:
        """Leave the result of a job that wrote nothing to wait for others."""
        if self._slot.group.add(result):
            self.flush()

    def flush(self) -> None:
        """Commit the results that wait; tries until it works, and runs nothing again.

        Raises Stopped if the worker stops while the storage is unavailable.
        """
        group = self._slot.group.take()
        if not group:
            return
        start = 0.0

        def write() -> list[AttemptResult]:
            nonlocal start
            start = time.monotonic()
            return complete.write(self._thread_session.session.record, group)

        manager = self._thread_session.manager
        try:
            written = transactions.run(
                manager,
                write,
                backoff=self._backoff,
                on_conflict=functools.partial(self._slot.measures.conflicted, RESULTS),
            )
        except transactions.Stopped:
            self._slot.group.give_back(group)
            raise
        except Exception:
            log.critical(
                "%s results can't be committed together; they are committed one by one",
                len(group),
                exc_info=True,
            )
            record = self._thread_session.session.record
            written = write_alone(manager, record, group, self._backoff)
        else:
            spent = time.monotonic() - start
            self._slot.group.committed(spent)
            self._slot.measures.committed(RESULTS, spent, len(written))
        self._done(written, group)

    def _done(self, written: Sequence[AttemptResult], group: Sequence[AttemptResult]) -> None:
        for result in written:
            result.let_go()
        gone: list[Claim] = []
        if group:
            told = set(map(id, written))
            gone = [result.claim for result in group if id(result) not in told]
        self._report(written, gone)


def write_alone(
    manager: Any, record: WorkerRecord, results: Sequence[AttemptResult], backoff: Backoff
) -> list[AttemptResult]:
    """Commit each result in a transaction of its own, for one of them can't be stored; return
    those whose jobs the lease has. That one becomes a Failure that says so; a job for which
    this doesn't help either is parked, for which it isn't written.
    """
    done: list[AttemptResult] = []
    for result in results:
        try:
            done += _write_one(manager, record, result, backoff)
        except (transactions.Stopped, TransientError):
            raise
        except Exception as error:
            log.critical("the result of %s can't be stored", result.claim, exc_info=True)
            done += _write_failure(manager, record, result, error, backoff)
    return done


def _write_one(
    manager: Any, record: WorkerRecord, result: AttemptResult, backoff: Backoff
) -> list[AttemptResult]:
    write = functools.partial(complete.write_each, record, [result])
    return transactions.run(manager, write, backoff=backoff)


def _write_failure(
    manager: Any,
    record: WorkerRecord,
    result: AttemptResult,
    error: Exception,
    backoff: Backoff,
) -> list[AttemptResult]:
    why = BadArgument(f"the result of {result.claim} can't be stored ({error})")
    failure = Failure.from_exception(why)
    failed = attempt_result.unsuccessful(result.claim, FAILED, failure, result.started)
    try:
        return _write_one(manager, record, failed, backoff)
    except (transactions.Stopped, TransientError):
        raise
    except Exception:
        log.critical("%s can't be stored again, it is parked", result.claim)
        return [attempt_result.parked(result.claim, None, clock.now())]
