"""Telling: makes the events of jobs, where somebody wants them, and tells them when it is time.

What is told after a commit is noted with the transaction, and dropped with it.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ZODB.utils import u64

from zodbjobs import clock, events
from zodbjobs.events import (
    AttemptConflicted,
    AttemptEnded,
    JobClaimed,
    JobEnded,
    JobEvent,
    JobParked,
    JobProgressed,
    JobPut,
    JobPutCommitted,
    JobRescued,
    JobRetried,
    JobStarted,
    QueueEvent,
    QueuePaused,
    QueueResumed,
)
from zodbjobs.interfaces import NEW, SUCCEEDED
from zodbjobs.interrupt import is_ctrl_c
from zodbjobs.stored.failure import Failure
from zodbjobs.stored.lifecycle.raw import state_of

if TYPE_CHECKING:
    from zodbjobs.stored.job import Job
    from zodbjobs.stored.lifecycle.attempt_result import AttemptResult
    from zodbjobs.stored.lifecycle.claim import Claim
    from zodbjobs.stored.queue import Queue
    from zodbjobs.stored.shard import Shard
    from zodbjobs.stored.workers import WorkerRecord

log = logging.getLogger("zodbjobs")

# The status of a transaction that was committed.
_COMMITTED = "Committed"

# Where a job goes that ended at a checkpoint, to go on there later.
_GIVEN_BACK = ("ready", "paused")

# By which a transaction has its notes.
_NOTES = object()


class _Notes:
    """What is done once a transaction is committed: most of it tells events.

    A synchronizer of the transaction manager until then, as an after-commit hook would have each
    resource of the transaction aborted.
    """

    def __init__(self, manager: Any) -> None:
        self._manager = manager
        self._noted: list[tuple[Callable[[], object], Callable[[], bool]]] = []

    def add(self, tell: Callable[[], object], holds: Callable[[], bool]) -> None:
        """Note what tells. A savepoint's rollback may undo what is told; `holds` says."""
        self._noted.append((tell, holds))

    def newTransaction(self, txn: Any) -> None:
        """Nothing is to be done; a synchronizer has this method."""

    def beforeCompletion(self, txn: Any) -> None:
        """Drop what doesn't hold any more; afterwards it couldn't be read."""
        kept = []
        for tell, holds in self._noted:
            with contextlib.suppress(Exception):  # which the commit will meet as well
                if holds():
                    kept.append((tell, holds))
        self._noted = kept

    def afterCompletion(self, txn: Any) -> None:
        """Tell them if the transaction was committed."""
        with contextlib.suppress(KeyError):  # somebody may have cleared the synchronizers
            self._manager.unregisterSynch(self)
        noted, self._noted = self._noted, []
        if txn.status == _COMMITTED:
            for tell, _ in noted:
                _tell(tell)


def _tell(tell: Callable[[], object]) -> None:
    """Tell, and raise nothing: whoever has committed must not think that it failed."""
    try:
        tell()
    except BaseException as error:
        if is_ctrl_c(error):
            raise
        log.error("what was to be told after a commit failed", exc_info=True)


def _after_commit(
    jar: Any, event: JobEvent | QueueEvent, holds: Callable[[], bool] = lambda: True
) -> None:
    after_commit(jar, functools.partial(events.notify, event), holds)


def after_commit(
    jar: Any, tell: Callable[[], object], holds: Callable[[], bool] = lambda: True
) -> None:
    """Have `tell()` called after the commit of the connection's transaction, if `holds()` says
    right before it that there is something to be told. What it raises is logged.
    """
    manager = jar.transaction_manager
    txn = manager.get()
    try:
        notes: _Notes = txn.data(_NOTES)
    except KeyError:
        notes = _Notes(manager)
        txn.set_data(_NOTES, notes)  # which also keeps it alive
        manager.registerSynch(notes)
    notes.add(tell, holds)


def put(queue: Queue, job: Job) -> None:
    """Tell that `job` was put into `queue`, now and after the commit."""
    if not events.heard():
        return
    now, later = events.wanted(JobPut), events.wanted(JobPutCommitted)
    if not now and not later:
        return
    job_id = job.id or ""
    if later:
        event = JobPutCommitted(job_id, queue.name)
        _after_commit(queue._p_jar, event, lambda: job.status != NEW)
    if now:
        events.notify(JobPut(job_id, queue.name, job))


def paused(queue: Queue, reason: str, match: str | None) -> None:
    """Tell that `queue` was paused."""
    if events.wanted(QueuePaused):
        _after_commit(queue._p_jar, QueuePaused(queue.name, reason, match))


def resumed(queue: Queue, match: str | None) -> None:
    """Tell that a pause of `queue` was lifted."""
    if events.wanted(QueueResumed):
        _after_commit(queue._p_jar, QueueResumed(queue.name, match))


def claimed(record: WorkerRecord, claims: Sequence[Claim]) -> None:
    """Tell what a worker has claimed."""
    if not claims or not events.wanted(JobClaimed):
        return
    jar = record._p_jar
    for claim in claims:
        name = jar.get(claim.shard).queue.name
        _after_commit(jar, JobClaimed(str(u64(claim.oid)), name, record.id))


def started(job: Job, record: WorkerRecord) -> JobStarted | None:
    """Tell that an attempt begins, at once; what its end is told with, if anybody listens."""
    if not events.heard() or not any(
        map(events.wanted, (JobStarted, AttemptConflicted, AttemptEnded))
    ):
        return None
    begun = JobStarted(_id_of(job), _queue_of(job), record.id, job._attempts + 1, job)
    if events.wanted(JobStarted):
        events.notify(begun)
    return begun


def conflicted(begun: JobStarted, conflicts: int, error: Exception) -> None:
    """Tell that an attempt is made again."""
    if events.wanted(AttemptConflicted):
        said = (begun.job_id, begun.queue, begun.worker, begun.attempt)
        events.notify(AttemptConflicted(*said, conflicts, error))


def attempt_ended(begun: JobStarted, result: AttemptResult | None, conflicts: int) -> None:
    """Tell what an attempt has led to; None if what it did is dropped."""
    if not events.wanted(AttemptEnded):
        return
    outcome, failure, due = "dropped", None, None
    if result is not None:
        outcome, due = _led_to(result), clock.moment(result.retry_at)
        failure = result.failure
        if failure is None and isinstance(result.result, Failure):
            failure = result.result
    said = (begun.job_id, begun.queue, begun.worker, begun.attempt)
    events.notify(AttemptEnded(*said, outcome, failure, due, conflicts))


def _led_to(result: AttemptResult) -> str:
    """What an attempt has led to, in one word or two."""
    if result.snoozed:
        return "snoozed"
    if result.failure is not None:
        return "retried"
    if result.goes_to in _GIVEN_BACK:
        return "given back"
    return result.outcome or result.goes_to


def progressed(job: Job, record: WorkerRecord, values: dict[str, Any]) -> None:
    """Tell what a worker's record shows of the progress of a job."""
    if events.wanted(JobProgressed):
        percent, message = values.get("percent"), values.get("message")
        event = JobProgressed(_id_of(job), _queue_of(job), percent, message)
        _after_commit(record._p_jar, event)


def ended(job: Job) -> None:
    """Tell an end that is written into the job's own record."""
    if not events.wanted(JobEnded) or job._shard is None:
        return
    event = JobEnded(
        *(_id_of(job), _queue_of(job), job._unsuccessful or SUCCEEDED),
        started=clock.moment(job._started),
        finished=clock.to_datetime(job._finished or 0),
        failure=job.failure,
    )
    jar = job._p_jar or job._shard._p_jar
    _after_commit(jar, event, lambda: job._finished is not None)


def ended_together(shard: Shard, results: Sequence[AttemptResult]) -> None:
    """Tell ends that are written into shared results."""
    if not events.wanted(JobEnded):
        return
    for result in results:
        event = JobEnded(
            *(str(u64(result.claim.oid)), shard.queue.name, SUCCEEDED),
            started=clock.to_datetime(result.started),
            finished=clock.to_datetime(result.finished),
            failure=None,
        )
        _after_commit(shard._p_jar, event)


def retried(job: Job) -> None:
    """Tell that an attempt is written which another one follows."""
    if events.wanted(JobRetried):
        due, failure = clock.moment(job._retry_at), job._last_failure
        event = JobRetried(_id_of(job), _queue_of(job), due, failure)
        _after_commit(job._p_jar, event, lambda: job._last_failure is failure)


def rescued(job: Job, record: WorkerRecord) -> None:
    """Tell that a job was taken back, and waits again."""
    if events.wanted(JobRescued):
        times = job._interruptions
        _after_commit(record._p_jar, JobRescued(_id_of(job), _queue_of(job), record.id, times))


def parked(shard: Shard, job: Any) -> None:
    """Tell that a job was put aside, which may be one that can't be loaded."""
    if events.wanted(JobParked):
        reason = state_of(job).get("_parked")
        event = JobParked(_id_of(job), shard.queue.name, reason)
        _after_commit(shard._p_jar, event)


def _id_of(job: Any) -> str:
    return "" if job._p_oid is None else str(u64(job._p_oid))


def _queue_of(job: Job) -> str:
    shard = job._shard
    return "" if shard is None else str(shard.queue.name)
