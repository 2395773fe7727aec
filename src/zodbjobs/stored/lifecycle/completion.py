"""Completion: what is stored of how far a job has come, and how it ended, wherever that is.

Reads only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ZODB.POSException import POSKeyError, ReadConflictError

from zodbjobs.stored.lifecycle import history
from zodbjobs.stored.lifecycle.raw import Reference, state_of
from zodbjobs.stored.lifecycle.root import find_shard
from zodbjobs.stored.shared_results import SharedResults

if TYPE_CHECKING:
    from zodbjobs.stored.job import Job
    from zodbjobs.stored.queue import Queue
    from zodbjobs.stored.shard import Shard
    from zodbjobs.stored.workers import WorkerRecord


class Completion(NamedTuple):
    """When the last attempt of a job began and ended (microseconds), and its result."""

    started: int | None
    finished: int
    result: Any
    failed: bool


def completion_of(job: Any) -> Completion | None:
    """How a job ended, wherever that is stored; None until then.

    Also of one that can't be loaded in this process.
    """
    state = state_of(job)
    found = _completion(state, job._p_jar)
    if found is None or job._p_jar is not None or state.get("_key") is None:
        return found
    shard = shard_of(job)  # the transaction that put it and ended it may have been aborted
    return None if shard is None or not history.has_ended(shard, job, found.finished) else found


def has_own_end(job: Job) -> bool:
    """Whether the end is written in the job's own record; cheap, as a runner asks for each job.

    For one that a lease holds this tells whether it has ended: an end in the shared results is
    written by the transaction that takes the job off its lease.
    """
    return job._finished is not None


def attempts_before(job: Job) -> tuple[int, int]:
    """The numbers of attempts and of conflicts that are stored of a job that hasn't ended."""
    return job._attempts, job._conflicts


def policy_data(job: Job) -> dict[str, Any]:
    """What the job's policy has noted so far; to be copied before it is given away."""
    return job._policy_data or {}


def has_checkpoint(job: Job) -> bool:
    """Whether what the job has done so far was committed, and it goes on from there."""
    return job._cursor is not None


def has_snoozed(job: Job) -> bool:
    """Whether the job has come back later by its own wish."""
    return job._snoozed


def _completion(state: Mapping[str, Any], connection: Any) -> Completion | None:
    finished = state.get("_finished")
    if finished is not None:
        failed = state.get("_unsuccessful") is not None
        return Completion(state.get("_started"), finished, state.get("_result"), failed)
    shared = _shared(state, connection)
    found = None if shared is None else shared.get(state.get("_key"))
    return None if found is None else Completion(*found, failed=False)


def _shared(state: Mapping[str, Any], connection: Any) -> SharedResults | None:
    found = state.get("_shared")
    if isinstance(found, Reference):
        found = found.load(connection)
    return found if isinstance(found, SharedResults) else None


def shard_of(job: Any) -> Shard | None:
    """The shard that a job names, if it is there; the job needn't be in it.

    Also of one that can't be loaded in this process.
    """
    state = state_of(job)
    name, connection = state.get("_shard_name"), job._p_jar
    if name is None:
        shared = _shared(state, connection)
        if shared is not None:
            name, connection = shared.shard_name, shared._p_jar
    if name is None or connection is None:
        return state.get("_v_shard")  # put in this transaction, and not stored yet
    return find_shard(connection, name)


def holder_of(queue: Queue, job: Job) -> WorkerRecord | None:
    """The record of the worker that holds `job`, or None."""
    workers: Iterable[WorkerRecord] = queue.parent.workers.values()
    return next((worker for worker in workers if worker.holds(job._key, job)), None)


def ended_by(job: Job) -> str | None:
    """The id of the worker whose attempt ended the job, where that is stored: of jobs that ended
    without success, or had more than one attempt.
    """
    return job._worker


def waits_for_returned(job: Job) -> bool:
    """Whether an attempt of the job, which hasn't ended, is stored that returned another job."""
    return job._gate is not None and job._gate.adopts is not None


def returned_job(job: Job) -> Job | None:
    """The job that one has returned, for who only looks; None if there is none.

    Raises ReadConflictError where that is told in another database, which is seen as it was
    before, and the job's own as it is after the commit: two servers tell of it one by one.
    """
    gate = job._gate
    if gate is None:
        return None
    try:
        return gate.adopts
    except POSKeyError:
        if gate._p_jar is job._p_jar:
            raise
        raise ReadConflictError(oid=gate._p_oid) from None


def is_known(job: Job) -> bool:
    """Whether a job that has ended is one of a queue still, and wasn't forgotten."""
    shard, finished = shard_of(job), completion_of(job)
    if shard is None or finished is None:
        return False
    if history.has_ended(shard, job, finished.finished) or shard.has_parked(key_of(job), job):
        return True
    return holder_of(shard.queue, job) is not None


def is_forgotten(job: Job) -> bool:
    """Whether a job has ended, and is neither one of its queue any more nor in a container."""
    return completion_of(job) is not None and job.__parent__ is None and not is_known(job)


def key_of(job: Any) -> int:
    """The key of a job, which may be one that can't be loaded here; 0 if it has none."""
    return state_of(job).get("_key") or 0
