"""Deeds: what people do to jobs and queues, in the caller's transaction, with its audit.

Each function takes a `place`, a connection or any object stored in the database; joins the
transaction of that connection, and never commits. The deed is noted in the audit trail: `by` is
the id of who does it, None for code that doesn't say, and `why` a reason in words. Each raises
NotStored and NotInstalled as `get_queues` does.

The functions of the same names in `zodbjobs.operations` do the same in transactions of their own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Any, Literal

from transaction.interfaces import TransientError
from ZODB.POSException import ConflictError, StorageError
from ZODB.utils import u64

from zodbjobs import defaults
from zodbjobs.errors import BadArgument, BadStatus, MissingCode, UnknownQuota, ZodbjobsError
from zodbjobs.insights import find_job, job_info
from zodbjobs.insights.jobs import unreadable_reason
from zodbjobs.interfaces import ACTIVE, ASSIGNED, CALLBACKS, COMPLETED, NEW
from zodbjobs.operations.results import OperationResult
from zodbjobs.queue_names import spoken
from zodbjobs.stored.audit import Record
from zodbjobs.stored.job import Job
from zodbjobs.stored.lifecycle import again, auditing, calls
from zodbjobs.stored.lifecycle.completion import shard_of
from zodbjobs.stored.lifecycle.options import UNSAID, Unsaid
from zodbjobs.stored.lifecycle.raw import state_of
from zodbjobs.stored.lifecycle.root import connection_of, get_queue, get_queues
from zodbjobs.stored.queue import Queue
from zodbjobs.stored.quotas import Quota

__all__ = [
    "change_quota",
    "drain",
    "pause",
    "perform",
    "put_again",
    "resume",
]

# Jobs


def perform(
    place: Any, action: str, ids: Iterable[str], by: str | None = None, why: str | None = None
) -> list[OperationResult]:
    """Do one of ACTIONS to jobs; what was done to each, in the order of the ids, each once.

    One job that is refused stops no other: what was begun with it is rolled back to a savepoint.
    Raises BadArgument for another action, and what is no job's fault: conflicts, and what the
    storage raises. For more than some hundred jobs use the functions of `zodbjobs.operations`.
    """
    if action not in ACTIONS:
        raise BadArgument(f"unknown action {action!r}; use one of {', '.join(ACTIONS)}")
    auditing.check(by, why)
    connection = connection_of(place)
    results, done = [], []
    for job_id in dict.fromkeys(ids):
        savepoint = connection.transaction_manager.savepoint(optimistic=True)
        try:
            result, deed = do(connection, action, job_id)
        except Exception as error:
            if isinstance(error, RAISED):
                raise
            savepoint.rollback()
            results.append(OperationResult(job_id, refused=reason(connection, job_id, error)))
        else:
            results.append(result)
            done.append(deed)
    note(connection, action, done, by, why)
    return results


#: What is no fault of a job. A conflict is a TransientError too.
RAISED = (TransientError, StorageError, OSError)


class Done:
    """A job to which something was done, as the audit is to tell of it."""

    def __init__(self, queue: Queue, job: Job) -> None:
        self.job = job
        self.queue = queue.name
        self.realm: str | None = state_of(job).get("_realm")


def do(connection: Any, action: str, job_id: str) -> tuple[OperationResult, Done]:
    """Do one of ACTIONS to one job, without its audit; for that give what comes to `note`.

    Raises BadArgument if there is no such job, MissingCode for one that can't be loaded, and
    what the action raises.
    """
    job = _found(connection, job_id)
    why = unreadable_reason(job)
    if why is not None and action != REMOVE:
        raise MissingCode(
            f"job {job_id} can't be changed: {why}; mend the code that it needs, then try again, "
            "or remove it"
        )
    queue = _queue_of(job)
    done = Done(queue, job)
    result = OperationResult(job_id, queue.name, job_info(job).description)
    ACTIONS[action](connection.root(), queue, job)
    return result, done


def _found(connection: Any, job_id: str) -> Job:
    job = find_job(connection, job_id)
    if job is None:
        raise BadArgument(
            f"there is no job {job_id} in the database; `zodbjobs jobs`, or list_jobs of "
            "zodbjobs.insights, lists the ids"
        )
    return job


def _queue_of(job: Job) -> Queue:
    shard = shard_of(job)
    assert shard is not None  # find_job finds only what was put
    return shard.queue


def note(
    connection: Any, action: str, done: Sequence[Done], by: str | None, why: str | None
) -> None:
    """Note what was done to jobs: one record for those of a queue and a realm."""
    groups: defaultdict[tuple[str, str | None], list[Job]] = defaultdict(list)
    for each in done:
        groups[each.queue, each.realm].append(each.job)
        auditing.note_on_job(each.job, by, action, why)
    queues = get_queues(connection)
    for (queue, realm), jobs in groups.items():
        ids = tuple(u64(job._p_oid) for job in jobs)
        auditing.note(queues, Record(action, by, why, queue, ids, realm))


def reason(connection: Any, job_id: str, error: Exception) -> str:
    """Why something can't be done to a job, in words for people, without the job's arguments: not
    all who may do it may see these.
    """
    if isinstance(error, ZodbjobsError):
        job = find_job(connection, job_id)
        return str(error) if job is None else _without_arguments(str(error), job, job_id)
    if isinstance(error, ConflictError):
        return (
            f"job {job_id} was written by others at the same time, "
            f"{defaults.OPERATION_ATTEMPTS} times in a row; try again"
        )
    return (
        f"job {job_id} can't be changed in this process ({type(error).__name__}: {error}); "
        "mend the code or the record that it needs, then try again"
    )


def _without_arguments(text: str, job: Job, job_id: str) -> str:
    """The text of an error that names a job, or one that is to be the same again."""
    if unreadable_reason(job) is not None:
        return text
    text = text.replace(repr(job), f"job {job_id}")
    shown = calls.show(state_of(job)["_call"], tuple(job.args), dict(job.kwargs))
    return text.replace(shown, job.description)


def _cancel(root: Any, queue: Queue, job: Job) -> None:
    job.cancel()


def _retry(root: Any, queue: Queue, job: Job) -> None:
    if job.outcome is not None:
        _refuse_acting(job)
    queue.retry(job)


def _remove(root: Any, queue: Queue, job: Job) -> None:
    if unreadable_reason(job) is not None:
        _drop_from_container(root, job)
        queue.remove(job)
        return
    status = job.status
    if status in (CALLBACKS, COMPLETED):
        raise BadStatus(f"{job!r} has ended, it doesn't wait in {spoken(queue.name)}; forget it")
    if status in (ASSIGNED, ACTIVE):
        raise BadStatus(
            f"{job!r} of {spoken(queue.name)} is {status}; cancel it first, then forget it"
        )
    if status == NEW:
        raise BadStatus(
            f"{job!r} doesn't wait in {spoken(queue.name)}: its end was undone; retry or forget it"
        )
    _drop_from_container(root, job)
    queue.remove(job)


def _forget(root: Any, queue: Queue, job: Job) -> None:
    queue.forget(job)
    _drop_from_container(root, job)


def _drop_from_container(root: Any, job: Job) -> None:
    container = root.get(defaults.CONTAINER_KEY, {})
    job_id = str(u64(job._p_oid))
    if job_id in container:
        del container[job_id]


CANCEL = "cancel"
RETRY = "retry"
REMOVE = "remove"
FORGET = "forget"

#: What can be done to a job that is there, in the caller's transaction.
ACTIONS: dict[str, Callable[[Any, Queue, Job], None]] = {
    CANCEL: _cancel,
    RETRY: _retry,
    REMOVE: _remove,
    FORGET: _forget,
}


def put_again(
    place: Any,
    job_id: str,
    args: dict[int, Any] | None = None,
    kwargs: dict[str, Any] | None = None,
    by: str | None = None,
    why: str | None = None,
) -> Job:
    """Put a new job that calls what another one calls, into its queue, due at once; return it.

    `args`, by position from 0, and `kwargs`, by name, replace arguments that are plain JSON by
    others that are; what is called can't be changed. `by` becomes its owner, and its run context
    is the caller's. Priority, quotas, time limit and policy are those of the other one. Raises
    BadArgument for what can't be replaced, if there is no such job, and for one that does a deed
    to all that match; MissingCode if it can't be loaded; and what Queue.put raises.
    """
    auditing.check(by, why)
    connection = connection_of(place)
    job = _found(connection, job_id)
    if (broken := unreadable_reason(job)) is not None:
        raise MissingCode(f"job {job_id} can't be put again: {broken}")
    _refuse_acting(job)
    queue = _queue_of(job)
    new = queue.put(again.made_again(job, args or {}, kwargs or {}, by))
    new_id = new.id
    assert new_id is not None
    shown = f"as {new_id}" if not args and not kwargs else f"as {new_id}, with other arguments"
    realm = state_of(job).get("_realm")
    record = Record("put again", by, why, queue.name, (int(job_id),), realm, shown)
    auditing.note(get_queues(connection), record)
    return new


#: What the jobs call that do a deed to all that match; not begun again by who may not do that.
ACTS_ON_MATCHING = "zodbjobs.operations.matching:run"


def _refuse_acting(job: Job) -> None:
    if job.description == ACTS_ON_MATCHING:
        raise BadArgument(
            f"job {job.id} does something to all jobs that matched then; ask for it anew, which "
            "takes the right to do that"
        )


# Queues


def pause(
    place: Any, queue: str, reason: str, match: str | None = None, by: str | None = None
) -> None:
    """Begin no jobs of a queue, given by its name, until `resume`; with `match` only none that
    call what this is a glob for. See IQueue.pause.

    Raises UnknownQueue, and BadArgument without a reason.
    """
    auditing.check(by, None)
    get_queue(place, queue).pause(reason, match)
    _note_on_queue(place, "pause", queue, by, reason, _matching(match))


def resume(
    place: Any,
    queue: str,
    match: str | None = None,
    by: str | None = None,
    why: str | None = None,
) -> bool:
    """Lift the pause of a queue, and a drain, or that of `match`; whether there was one.

    Raises UnknownQueue, and BadArgument for a `match` that isn't paused.
    """
    auditing.check(by, why)
    was_paused = get_queue(place, queue).resume(match)
    if was_paused:
        _note_on_queue(place, "resume", queue, by, why, _matching(match))
    return was_paused


def drain(place: Any, queue: str, reason: str, by: str | None = None) -> None:
    """Let a queue take no new jobs until `resume`. See IQueue.drain.

    Raises UnknownQueue, and BadArgument without a reason.
    """
    auditing.check(by, None)
    get_queue(place, queue).drain(reason)
    _note_on_queue(place, "drain", queue, by, reason, None)


def change_quota(
    place: Any,
    queue: str,
    name: str,
    size: int | Literal[Unsaid.UNSAID] | None = UNSAID,
    by: str | None = None,
    why: str | None = None,
    *,
    rate: int | Literal[Unsaid.UNSAID] | None = UNSAID,
    per: timedelta | None = None,
    burst: int | None = None,
) -> None:
    """Let so many jobs that name a quota of the queue run at once, or begin in a span of time;
    what is left out stays.

    Raises UnknownQueue, UnknownQuota, and BadArgument for what can't be.
    """
    auditing.check(by, why)
    quota = get_queue(place, queue).quotas.get(name)
    if quota is None:
        raise UnknownQuota(f"{spoken(queue)} has no quota {name!r}; create it, or check the name")
    before = _limits(quota)
    quota.limit(
        quota.size if size is UNSAID else size,
        quota.rate if rate is UNSAID else rate,
        quota.per if per is None else per,
        quota.burst if burst is None else burst,
    )
    _note_on_queue(place, "change quota", queue, by, why, f"{name}: {before} to {_limits(quota)}")


def _limits(quota: Quota) -> str:
    """The limits of a quota in words."""
    said = [] if quota.size is None else [str(quota.size)]
    if quota.rate is not None:
        said.append(f"{quota.rate} per {quota.per}")
        said += [f"{quota.burst} at once"] if quota.burst > 1 else []
    return ", ".join(said)


def _matching(match: str | None) -> str | None:
    return None if match is None else f"what calls {match}"


def _note_on_queue(
    place: Any, action: str, queue: str, by: str | None, why: str | None, detail: str | None
) -> None:
    said = why and why[: defaults.TITLE_CHARACTERS]
    auditing.note(get_queues(place), Record(action, by, said, queue, detail=detail))
