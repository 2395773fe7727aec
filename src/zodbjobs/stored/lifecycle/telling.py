"""Telling: makes the events of jobs, where somebody wants them, and tells them when it is time.

What is told after a commit is noted with the transaction, and dropped with it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ZODB.utils import u64

from zodbjobs import clock, events
from zodbjobs.events import (
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
from zodbjobs.stored.lifecycle.raw import state_of

if TYPE_CHECKING:
    from zodbjobs.stored.job import Job
    from zodbjobs.stored.lifecycle.attempt_result import AttemptResult
    from zodbjobs.stored.lifecycle.claim import Claim
    from zodbjobs.stored.queue import Queue
    from zodbjobs.stored.shard import Shard
    from zodbjobs.stored.workers import WorkerRecord

# The status of a transaction that was committed.
_COMMITTED = "Committed"

# By which a transaction has its notes.
_NOTES = object()


class _Notes:
    """The events of a transaction that are told once it is committed.

    A synchronizer of the transaction manager until then, as an after-commit hook would have each
    resource of the transaction aborted.
    """

    def __init__(self, manager: Any) -> None:
        self._manager = manager
        self._noted: list[tuple[JobEvent | QueueEvent, Callable[[], bool]]] = []

    def add(self, event: JobEvent | QueueEvent, holds: Callable[[], bool]) -> None:
        """Note an event. A savepoint's rollback may undo what it tells of; `holds` says."""
        self._noted.append((event, holds))

    def newTransaction(self, txn: Any) -> None:
        """Nothing is to be done; a synchronizer has this method."""

    def beforeCompletion(self, txn: Any) -> None:
        """Drop what doesn't hold any more; afterwards it couldn't be read."""
        kept = []
        for event, holds in self._noted:
            with contextlib.suppress(Exception):  # which the commit will meet as well
                if holds():
                    kept.append((event, holds))
        self._noted = kept

    def afterCompletion(self, txn: Any) -> None:
        """Tell them if the transaction was committed."""
        with contextlib.suppress(KeyError):  # somebody may have cleared the synchronizers
            self._manager.unregisterSynch(self)
        noted, self._noted = self._noted, []
        if txn.status == _COMMITTED:
            for event, _ in noted:
                events.notify(event)


def _after_commit(
    jar: Any, event: JobEvent | QueueEvent, holds: Callable[[], bool] = lambda: True
) -> None:
    manager = jar.transaction_manager
    txn = manager.get()
    try:
        notes: _Notes = txn.data(_NOTES)
    except KeyError:
        notes = _Notes(manager)
        txn.set_data(_NOTES, notes)  # which also keeps it alive
        manager.registerSynch(notes)
    notes.add(event, holds)


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


def started(job: Job, record: WorkerRecord) -> None:
    """Tell that an attempt begins, at once."""
    if events.wanted(JobStarted):
        number = job._attempts + 1
        events.notify(JobStarted(_id_of(job), _queue_of(job), record.id, number))


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
