"""Operations for operators: cancel, retry, remove and forget, of one job or many; pause, resume
and drain, of a queue; change, add and remove, of the agents of a worker.

The command line uses them, and so may the pages of an application. Each function takes the
open ZODB.DB. Those of jobs take ids, and return an `OperationResult` for each, in their order;
an id that is given twice is one.

The functions commit. They work in transactions of their own on a connection of their own, up
to OPERATION_BATCH jobs in each. What the caller has not committed isn't seen and stays as it
is; the caller sees what was done in its next transaction.

One bad job stops no other: when a transaction fails, each half of its jobs gets one of its
own, down to a job alone, and that one is refused with the reason. A conflict is retried
before. What isn't the fault of a job is raised: NotInstalled without queues, and what the
storage raises if it is away, full or read-only. What was committed before that stays done.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, TypeVar

import transaction
from transaction.interfaces import TransientError
from ZODB.POSException import ConflictError, StorageError
from ZODB.utils import u64

from zodbjobs import defaults
from zodbjobs.errors import BadArgument, BadStatus, MissingCode, ZodbjobsError
from zodbjobs.insights import find_agents, find_job, find_worker, job_info
from zodbjobs.insights.infos import Info
from zodbjobs.insights.jobs import unreadable_reason
from zodbjobs.interfaces import ACTIVE, ASSIGNED, CALLBACKS, COMPLETED, NEW
from zodbjobs.stored.agents import Agent
from zodbjobs.stored.job import Job
from zodbjobs.stored.lifecycle.completion import shard_of
from zodbjobs.stored.lifecycle.options import UNSAID, Unsaid
from zodbjobs.stored.lifecycle.root import get_queue, get_queues
from zodbjobs.stored.queue import Queue
from zodbjobs.stored.queues import Queues
from zodbjobs.stored.workers import WorkerRecord


@dataclasses.dataclass(frozen=True)
class OperationResult(Info):
    """What an operation did to one job: `refused` is None if it was done, else the reason
    with the cure.

    `queue` is the name of the job's queue and `description` what it calls; both are None if
    the job was refused.
    """

    id: str
    queue: str | None = None
    description: str | None = None
    refused: str | None = None

    @property
    def done(self) -> bool:
        """Whether the operation was done."""
        return self.refused is None


def cancel(db: Any, ids: Iterable[str]) -> list[OperationResult]:
    """End jobs that wait, are parked or run as cancelled. What a running one did is dropped.

    Commits. Refuses a job that has ended.
    """
    return _each(db, ids, lambda root, queue, job: job.cancel())


def retry(db: Any, ids: Iterable[str]) -> list[OperationResult]:
    """Put jobs in again that are parked, or that ended without success; due at once.

    Commits. Refuses any other job.
    """
    return _each(db, ids, lambda root, queue, job: queue.retry(job))


def remove(db: Any, ids: Iterable[str]) -> list[OperationResult]:
    """Take waiting or parked jobs out of their queue, and out of the job container.

    Commits. Refuses a job that a worker has, and one that has ended: that is forgotten.
    """
    return _each(db, ids, _remove)


def forget(db: Any, ids: Iterable[str]) -> list[OperationResult]:
    """Drop ended jobs from the history, and from the job container.

    Commits. Refuses a job that hasn't ended.
    """
    return _each(db, ids, _forget)


def pause(db: Any, queue: str, reason: str, match: str | None = None) -> None:
    """Begin no jobs of a queue, given by its name, until `resume`; with `match` only none that
    call what this is a glob for. See IQueue.pause.

    Commits. Raises UnknownQueue, and BadArgument without a reason.
    """
    _on_queue(db, queue, lambda found: found.pause(reason, match))


def resume(db: Any, queue: str, match: str | None = None) -> bool:
    """Lift the pause of a queue, and a drain, or that of `match`; whether there was one.

    Commits. Raises UnknownQueue, and BadArgument for a `match` that isn't paused.
    """
    return _on_queue(db, queue, lambda found: found.resume(match))


def drain(db: Any, queue: str, reason: str) -> None:
    """Let a queue take no new jobs until `resume`. See IQueue.drain.

    Commits. Raises UnknownQueue, and BadArgument without a reason.
    """
    _on_queue(db, queue, lambda found: found.drain(reason))


# Agents. What is changed here lasts until the worker starts anew, with what its code says.


def change_agent(
    db: Any,
    worker: str,
    queue: str | None = None,
    number: int | None = None,
    *,
    size: int | None = None,
    filter: Callable[..., Any] | str | Literal[Unsaid.UNSAID] | None = UNSAID,
) -> None:
    """Let agents of a worker run `size` jobs at a time each, or choose by another filter, None for
    none; left out it stays. The worker follows within a second.

    `worker` is its id, or the first characters of that. The agents are those for `queue` alone, or
    the one of that `number`, counted from 1; without these the only one. Commits. Raises
    BadArgument for what isn't there, or can't be. The filter's code may be missing here.
    """

    def change(connection: Any) -> None:
        for agent in find_agents(connection, worker, queue, number):
            if size is not None:
                agent.size = size
            if filter is not UNSAID:
                agent.filter = filter

    _on_connection(db, change)


def add_agent(
    db: Any,
    worker: str,
    queue: str,
    size: int = defaults.AGENT_SIZE,
    filter: Callable[..., Any] | str | None = None,
) -> None:
    """Let a worker, given by its id or the first characters of that, work for another agent.

    It begins within a second. Commits. Raises UnknownQueue, and BadArgument for what isn't there,
    or can't be.
    """
    made = Agent(queue, size, filter)

    def change(connection: Any) -> None:
        queues, record = get_queues(connection), find_worker(connection, worker)
        queues[queue]  # an unknown name is an error now, not an agent without work
        agent = made.copy_for(record.id)
        queues._p_jar.add(agent)
        _subscribe(queues, record, [*record.agents, agent])

    _on_connection(db, change)


def remove_agent(
    db: Any, worker: str, queue: str | None = None, number: int | None = None
) -> None:
    """Let a worker work no longer for agents, within a second; these are found as by
    `change_agent`. What they run goes on, what they claimed and didn't begin is given back.

    Commits. Raises BadArgument for what isn't there, and BadStatus if no agent would be left: a
    worker that works for nothing would look as if it were well.
    """

    def change(connection: Any) -> None:
        found = find_agents(connection, worker, queue, number)
        queues, record = get_queues(connection), find_worker(connection, worker)
        left = [agent for agent in record.agents if agent not in found]
        if not left:
            raise BadStatus(
                f"worker {record.id} would have no agent left, and nothing to do; stop its "
                "process, pause the queue, or add another agent first"
            )
        _subscribe(queues, record, left)

    _on_connection(db, change)


def _subscribe(queues: Queues, record: WorkerRecord, agents: Sequence[Agent]) -> None:
    before = record.queues
    record.set_agents(agents)
    if record.queues != before:
        queues.resubscribed += 1


_T = TypeVar("_T")


def _on_queue(db: Any, name: str, change: Callable[[Queue], _T]) -> _T:
    return _on_connection(db, lambda connection: change(get_queue(connection, name)))


def _on_connection(db: Any, change: Callable[[Any], _T]) -> _T:
    manager = transaction.TransactionManager()
    connection = db.open(manager)
    try:
        for attempt in manager.attempts(_QUEUE_ATTEMPTS):
            with attempt:
                result = change(connection)
        return result
    finally:
        manager.abort()
        connection.close()


# What is done to one job, in a transaction that the caller commits.

_Change = Callable[[Any, Queue, Job], None]


def _remove(root: Any, queue: Queue, job: Job) -> None:
    if unreadable_reason(job) is not None:
        _drop_from_container(root, job)
        queue.remove(job)
        return
    status = job.status
    if status in (CALLBACKS, COMPLETED):
        raise BadStatus(f"{job!r} has ended, it doesn't wait in queue {queue.name!r}; forget it")
    if status in (ASSIGNED, ACTIVE):
        raise BadStatus(
            f"{job!r} of queue {queue.name!r} is {status}; cancel it first, then forget it"
        )
    if status == NEW:
        raise BadStatus(
            f"{job!r} doesn't wait in queue {queue.name!r}: its end was undone; retry or forget it"
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


# Transactions

# Attempts at a change of a queue; jobs that are put aside meanwhile conflict with a resume.
_QUEUE_ATTEMPTS = 20

# What no job is to blame for. A conflict is a TransientError too, but that may be one job's.
_RAISED = (TransientError, StorageError, OSError)


def _each(db: Any, ids: Iterable[str], change: _Change) -> list[OperationResult]:
    connection = db.open(transaction.TransactionManager())
    try:
        get_queues(connection)  # raises NotInstalled, which is no fault of a job
        each = list(dict.fromkeys(ids))
        results: list[OperationResult] = []
        for first in range(0, len(each), defaults.OPERATION_BATCH):
            batch = each[first : first + defaults.OPERATION_BATCH]
            results += _together(connection, batch, change)
        return results
    finally:
        connection.transaction_manager.abort()
        connection.close()


def _together(connection: Any, ids: Sequence[str], change: _Change) -> list[OperationResult]:
    """Do it to all in one transaction; if that fails, to each half in one of its own."""
    try:
        for attempt in connection.transaction_manager.attempts(defaults.OPERATION_ATTEMPTS):
            with attempt:
                results = [_done(connection, job_id, change) for job_id in ids]
        return results
    except Exception as error:
        if isinstance(error, _RAISED) and not isinstance(error, ConflictError):
            raise
        if len(ids) == 1:
            return [OperationResult(ids[0], refused=_reason(ids[0], error))]
    middle = len(ids) // 2
    return [
        *_together(connection, ids[:middle], change),
        *_together(connection, ids[middle:], change),
    ]


def _done(connection: Any, job_id: str, change: _Change) -> OperationResult:
    job = find_job(connection, job_id)
    if job is None:
        raise BadArgument(
            f"there is no job {job_id} in the database; `zodbjobs jobs`, or list_jobs of "
            "zodbjobs.insights, lists the ids"
        )
    why = unreadable_reason(job)
    if why is not None and change is not _remove:
        raise MissingCode(
            f"job {job_id} can't be changed: {why}; mend the code that it needs, then try again, "
            "or remove it"
        )
    shard = shard_of(job)
    assert shard is not None  # find_job finds only what was put
    result = OperationResult(job_id, shard.queue.name, job_info(job).description)
    change(connection.root(), shard.queue, job)
    return result


def _reason(job_id: str, error: Exception) -> str:
    if isinstance(error, ZodbjobsError):
        return str(error)
    if isinstance(error, ConflictError):
        return (
            f"job {job_id} was written by others at the same time, "
            f"{defaults.OPERATION_ATTEMPTS} times in a row; try again"
        )
    return (
        f"job {job_id} can't be changed in this process ({type(error).__name__}: {error}); "
        "mend the code or the record that it needs, then try again"
    )
