"""Timeouts: takes jobs that have run for too long away from their threads, in a step of the
dispatcher.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from zodbjobs import clock
from zodbjobs.runtime import policy
from zodbjobs.runtime.context import Attempt, timeout_error
from zodbjobs.runtime.session import Session
from zodbjobs.runtime.slot import Slot
from zodbjobs.stored.failure import Failure
from zodbjobs.stored.job import Job
from zodbjobs.stored.lifecycle import attempt_result, complete, completion, keys
from zodbjobs.stored.lifecycle.attempt_result import HISTORY, READY, SCHEDULED, AttemptResult
from zodbjobs.stored.lifecycle.storable import can_be_stored
from zodbjobs.stored.workers import WorkerRecord

log = logging.getLogger("zodbjobs")


class Timeouts:
    """Ends attempts that are past their timeout, or lets others follow, as their policies say.

    The job is written and its key taken off the lease, so the attempt can't commit any more. It is
    told once that is committed; `let_go` is given the object id of its job then. `stuck` is how
    many threads didn't return from such an attempt; the worker's record shows it.
    """

    def __init__(self, slots: Sequence[Slot], let_go: Callable[[bytes], None]) -> None:
        self._slots = slots
        self._let_go = let_go
        self._taken: list[tuple[Attempt, AttemptResult, str, int]] = []
        self.stuck = 0
        self._shown = 0

    def is_due(self) -> bool:
        """Whether an attempt is past its timeout, or another number of threads is stuck."""
        return self.stuck != self._shown or bool(self._overdue())

    def _overdue(self) -> list[Attempt]:
        attempts = [slot.attempt for slot in self._slots]
        return [a for a in attempts if a is not None and not a.cancelled and a.is_overdue()]

    def write(self, session: Session) -> None:
        """Take them away; joins the transaction of `session`."""
        record = session.record
        self._taken = []
        for attempt in self._overdue():
            job: Job | None = record.lease.get(attempt.key)
            if job is None or job._p_oid != attempt.job._p_oid:
                continue  # somebody else has taken it away, or its end is booked
            if completion.has_own_end(job) or completion.waits_for_returned(job):
                attempt.deadline = None
                log.info("%r is past its timeout, but was committed before that was seen", job)
                continue  # its thread reports it
            result = _take(record, attempt, job)
            # Of the job nothing may be loaded once this is committed.
            self._taken.append((attempt, result, repr(job), job.failure_log_level))
        if record.stuck != self.stuck:
            record.stuck = self.stuck
        self._shown = -1

    def written(self) -> None:
        """Note that it was committed, and tell the attempts."""
        self._shown = self.stuck
        for attempt, result, shown, level in self._taken:
            self._let_go(result.claim.oid)
            attempt.shown = shown
            attempt.take_away(timed_out=True)
            policy.tell(result, shown, level)
        self._taken = []


def _take(record: WorkerRecord, attempt: Attempt, job: Job) -> AttemptResult:
    """Take a job off the lease, as an attempt that raised TimedOut would leave it."""
    claim = complete.claim_of(record, attempt.key, job)
    now = clock.now()
    if not can_be_stored(job):
        parked = attempt_result.parked(claim, None, now)
        complete.book(record, [parked])
        return parked
    failure = Failure.from_exception(timeout_error(job))
    result = AttemptResult(claim, HISTORY, attempt.started, now)
    attempt.tell(result, job)
    policy.conclude(result, job, job.retry_policy, failure, policy.JOB_ERROR)
    if result.goes_to == READY:
        # In its old place, and under another key: what this attempt may still end with is
        # taken for the next one's otherwise, if this worker claims that.
        result.goes_to = SCHEDULED
        result.retry_at = keys.micros_of(claim.key) // 1_000 * 1_000
    complete.book(record, complete.write_each(record, [result]))
    return result
