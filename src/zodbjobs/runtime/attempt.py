"""How an attempt ended, on its way from the runner to the database and the dispatcher."""

from __future__ import annotations

import logging
import random
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from zodbjobs import clock, defaults
from zodbjobs.errors import Expired
from zodbjobs.interfaces import CANCELLED, EXPIRED, FAILED, SUCCEEDED
from zodbjobs.runtime.desk import Desk
from zodbjobs.runtime.progress import Running
from zodbjobs.stored.call import check_whole
from zodbjobs.stored.ends import Ends
from zodbjobs.stored.failure import Failure
from zodbjobs.stored.job import Job
from zodbjobs.stored.queue import Ticket
from zodbjobs.stored.shard import Ended
from zodbjobs.stored.storable import is_short
from zodbjobs.stored.workers import WorkerRecord

log = logging.getLogger("zodbjobs")

# Where the dispatcher books a job to.
HISTORY = "history"
PARKED = "parked"
READY = "ready"
HELD = "held"
NOWHERE = "nowhere"


class End:
    """How an attempt ended: what is to be written into the job, and where it goes next."""

    __slots__ = (
        "attempts",
        "common",
        "failure",
        "finished",
        "job",
        "outcome",
        "portable",
        "result",
        "retry_at",
        "running",
        "started",
        "ticket",
        "where",
    )

    def __init__(self, ticket: Ticket, where: str, started: int, finished: int) -> None:
        self.ticket = ticket
        self.where = where
        self.started = started
        self.finished = finished
        self.attempts = 1
        self.outcome: str | None = None
        self.result: Any = None
        self.failure: Failure | None = None
        self.retry_at: int | None = None
        self.running: Running | None = None
        self.portable = True
        #: The object id of the Ends that it may go to, instead of into the job.
        self.common: bytes | None = None
        self.job: Job | None = None

    @property
    def failed(self) -> bool:
        """Whether the job ended without success."""
        return self.outcome is not None and self.outcome != SUCCEEDED

    def share(self, job: Job) -> None:
        """Let it go to what the job's bundle has in common, if it may.

        The record of the job isn't needed then, and makes room in the connection's cache.
        """
        home, running = job._home, self.running
        if not isinstance(home, Ends) or home.size < defaults.ENDS_TOGETHER:
            return
        told = running is not None and (running.annotations or running.log)
        succeeded = self.outcome == SUCCEEDED and self.attempts == 1
        if succeeded and not told and is_short(self.result):
            self.common = home._p_oid
            job._p_deactivate()

    def write(self, record: WorkerRecord) -> bool:
        """Write the end into the job if the lease in `record` still holds it.

        Joins the transaction of `record`. Whoever takes a job away writes the job, so of
        two who do at once one gets a ConflictError.
        """
        job = self.job = record.leased(self.ticket)
        if job is None:
            self.where = NOWHERE
            return False
        if job._finished is not None:
            self._keep_stored(job)
            return True
        if self.outcome is not None:
            job.end(self.outcome, self.result, self.started, self.finished)
        elif self.where == PARKED:
            job._parked = self.result
        else:
            self._write_retry(job)
        if self.attempts > 1:
            job._attempts = self.attempts
        running = self.running
        if running is not None:
            if running.annotations is not None:
                job._annotations = {**(job._annotations or {}), **running.annotations}
            if running.log is not None:
                job._log = tuple(running.log)
        return True

    def _keep_stored(self, job: Job) -> None:
        """An earlier commit, which seemed to fail, has stored an end already; that one counts."""
        stored = ended(self.ticket, job)
        self.where, self.outcome = stored.where, stored.outcome
        self.started, self.finished = stored.started, stored.finished

    def let_go(self) -> None:
        """Make room in the connection's cache; it holds few objects, and needs the indexes."""
        if self.job is not None:
            self.job._p_deactivate()
            self.job = None

    def _write_retry(self, job: Job) -> None:
        job._attempts = self.attempts
        job._started = self.started
        job._last_failure = self.failure
        if self.retry_at is not None:
            job._retry_at = self.retry_at


def write_ends(desk: Desk, ends: Sequence[End]) -> None:
    """Write ends where they belong; joins the transaction of `desk`.

    Those of one bundle of which there are many go into one record. They are booked at once:
    taking the job off its lease is what conflicts with whoever takes it away.
    """
    together: defaultdict[bytes | None, list[End]] = defaultdict(list)
    for end in ends:
        together[end.common].append(end)
    for oid, group in together.items():
        if oid is None or len(group) < defaults.ENDS_TOGETHER:
            for end in group:
                end.write(desk.record)
        else:
            _write_together(desk, desk.ends(oid), group)


def _write_together(desk: Desk, common: Ends, group: Sequence[End]) -> None:
    record = desk.record
    endings: dict[int, tuple[int, int, Any]] = {}
    ended: list[Ended] = []
    for end in group:
        job = end.job = record.leased(end.ticket)
        if job is None:
            end.where = NOWHERE
            continue
        key = end.ticket.key
        record.release(key)
        endings[key] = (end.started, end.finished, end.result)
        ended.append((job, end.finished, False, end.finished - end.started))
    if ended:
        common.add(endings)
        common.shard.finish(ended)


def resolve(job: Job) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
    """What to call, and with what; MissingCode if any of it isn't there in this process."""
    function = job.callable
    args = job._args
    kwargs = job._kwargs or {}
    for value in args:
        check_whole(value)
    for value in kwargs.values():
        check_whole(value)
    check_whole(job.retry_policy)  # asked for after the attempt, when it is too late to park it
    return function, args, kwargs


def ended(ticket: Ticket, job: Job) -> End:
    """The end of a job that had ended before, and was only not booked."""
    finished = job._finished or 0
    end = End(ticket, HISTORY, job._started or finished, finished)
    end.outcome = job.outcome
    return end


def parked(ticket: Ticket, reason: str | None, now: int) -> End:
    """The end of a job that can't be run by this process."""
    end = End(ticket, PARKED, now, now)
    end.result = reason
    return end


def expired(ticket: Ticket, job: Job, now: int, deadline: int) -> End:
    """The end of a job that wasn't begun in time."""
    error = Expired(
        f"job {job.id} ({job.description}) was to be begun by {clock.to_datetime(deadline)}; "
        "give it a longer begin_by, or the queue more workers"
    )
    end = End(ticket, HISTORY, now, now)
    end.outcome = EXPIRED
    end.result = Failure.from_exception(error)
    return end


def cancelled(running: Running, ticket: Ticket) -> End:
    """The end of a job that cancelled itself: what it did is dropped, that it did stays."""
    end = End(ticket, HISTORY, running.started, clock.now())
    end.outcome = CANCELLED
    end.result = running.job.result
    end.running = running
    return end


def failed(
    ticket: Ticket, error: BaseException, started: int, attempts: int, running: Running | None
) -> End:
    """The end of an attempt that raised: another attempt, or failed for good."""
    now = clock.now()
    failure = Failure.from_exception(error)
    job = None if running is None else running.job
    delay = None if job is None else _retry_delay(job, failure, attempts, now)
    end = End(ticket, HISTORY, started, now)
    end.attempts = attempts
    end.running = running
    if delay is None:
        log.error("%r failed: %s", job or ticket, failure)
        end.outcome, end.result = FAILED, failure
    else:
        log.info("%r failed, another attempt follows in %s s: %s", job, delay, failure)
        end.failure = failure
        end.where = READY
        if delay > 0:
            end.where = HELD
            end.retry_at = now + int(delay * 1_000_000)
    return end


def _retry_delay(job: Job, failure: Failure, attempts: int, now: int) -> float | None:
    """Seconds until the next attempt; None if there is none, or if it would be too late."""
    policy = job.retry_policy
    if policy is None:
        return None
    try:
        delay = policy.delay(failure, attempts)
        seconds = None if delay is None else max(0.0, float(delay))
    except Exception:
        log.exception("the retry policy of %r failed; there is no further attempt", job)
        return None
    deadline = job.deadline()
    if seconds is not None and deadline is not None and now + seconds * 1_000_000 > deadline:
        return None
    return seconds


def pause(conflicts: int) -> None:
    """Wait before the next attempt, by chance and the longer the more conflicts there were."""
    seconds = defaults.CONFLICT_SECONDS * 2 ** min(conflicts, 10)
    time.sleep(min(seconds, defaults.MOST_CONFLICT_SECONDS) * random.random())
