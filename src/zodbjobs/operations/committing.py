"""Deeds in transactions of their own, on connections of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Any, Literal, TypeVar

import transaction
from ZODB.POSException import ConflictError

from zodbjobs import defaults
from zodbjobs.operations import agent_deeds, deeds
from zodbjobs.operations.results import OperationResult
from zodbjobs.stored.lifecycle import auditing
from zodbjobs.stored.lifecycle.options import UNSAID, Unsaid
from zodbjobs.stored.lifecycle.root import get_queues


def cancel(
    db: Any, ids: Iterable[str], *, by: str | None = None, why: str | None = None
) -> list[OperationResult]:
    """End jobs that wait, are parked or run as cancelled. What a running one did is dropped.

    Commits. Refuses a job that has ended.
    """
    return act(db, deeds.CANCEL, ids, by=by, why=why)


def retry(
    db: Any, ids: Iterable[str], *, by: str | None = None, why: str | None = None
) -> list[OperationResult]:
    """Put jobs in again that are parked, or that ended without success; due at once.

    Commits. Refuses any other job.
    """
    return act(db, deeds.RETRY, ids, by=by, why=why)


def remove(
    db: Any, ids: Iterable[str], *, by: str | None = None, why: str | None = None
) -> list[OperationResult]:
    """Take waiting or parked jobs out of their queue, and out of the job container.

    Commits. Refuses a job that a worker has, and one that has ended: that is forgotten.
    """
    return act(db, deeds.REMOVE, ids, by=by, why=why)


def forget(
    db: Any, ids: Iterable[str], *, by: str | None = None, why: str | None = None
) -> list[OperationResult]:
    """Drop ended jobs from the history, and from the job container.

    Commits. Refuses a job that hasn't ended.
    """
    return act(db, deeds.FORGET, ids, by=by, why=why)


def pause(
    db: Any, queue: str, reason: str, match: str | None = None, *, by: str | None = None
) -> None:
    """Begin no jobs of a queue, given by its name, until `resume`; with `match` only none that
    call what this is a glob for. See IQueue.pause.

    Commits. Raises UnknownQueue, and BadArgument without a reason.
    """
    commit(db, lambda connection: deeds.pause(connection, queue, reason, match, by))


def resume(
    db: Any,
    queue: str,
    match: str | None = None,
    *,
    by: str | None = None,
    why: str | None = None,
) -> bool:
    """Lift the pause of a queue, and a drain, or that of `match`; whether there was one.

    Commits. Raises UnknownQueue, and BadArgument for a `match` that isn't paused.
    """
    return commit(db, lambda connection: deeds.resume(connection, queue, match, by, why))


def drain(db: Any, queue: str, reason: str, *, by: str | None = None) -> None:
    """Let a queue take no new jobs until `resume`. See IQueue.drain.

    Commits. Raises UnknownQueue, and BadArgument without a reason.
    """
    commit(db, lambda connection: deeds.drain(connection, queue, reason, by))


def change_quota(
    db: Any,
    queue: str,
    name: str,
    size: int | Literal[Unsaid.UNSAID] | None = UNSAID,
    *,
    rate: int | Literal[Unsaid.UNSAID] | None = UNSAID,
    per: timedelta | None = None,
    burst: int | None = None,
    by: str | None = None,
    why: str | None = None,
) -> None:
    """Let so many jobs that name a quota of the queue run at once, or begin in a span of time;
    what is left out stays.

    Commits. Raises UnknownQueue, UnknownQuota, and BadArgument for what can't be.
    """
    limits: dict[str, Any] = {"rate": rate, "per": per, "burst": burst}
    commit(
        db,
        lambda connection: deeds.change_quota(connection, queue, name, size, by, why, **limits),
    )


def change_agent(
    db: Any,
    worker: str,
    queue: str | None = None,
    number: int | None = None,
    *,
    size: int | None = None,
    filter: Callable[..., Any] | str | Literal[Unsaid.UNSAID] | None = UNSAID,
    by: str | None = None,
    why: str | None = None,
) -> None:
    """Change agents as `agent_deeds.change_agent` does, which says what is raised. Commits."""
    commit(
        db,
        lambda connection: agent_deeds.change_agent(
            connection, worker, queue, number, size=size, filter=filter, by=by, why=why
        ),
    )


def add_agent(
    db: Any,
    worker: str,
    queue: str,
    size: int = defaults.AGENT_SIZE,
    filter: Callable[..., Any] | str | None = None,
    *,
    by: str | None = None,
    why: str | None = None,
) -> None:
    """Add an agent as `agent_deeds.add_agent` does, which says what is raised. Commits."""
    commit(
        db,
        lambda connection: agent_deeds.add_agent(
            connection, worker, queue, size, filter, by=by, why=why
        ),
    )


def remove_agent(
    db: Any,
    worker: str,
    queue: str | None = None,
    number: int | None = None,
    *,
    by: str | None = None,
    why: str | None = None,
) -> None:
    """Remove agents as `agent_deeds.remove_agent` does, which says what is raised. Commits."""
    commit(
        db,
        lambda connection: agent_deeds.remove_agent(
            connection, worker, queue, number, by=by, why=why
        ),
    )


_T = TypeVar("_T")

# Attempts at a change of a queue; jobs that are put aside meanwhile conflict with a resume.
_ATTEMPTS = 20


def commit(db: Any, change: Callable[[Any], _T]) -> _T:
    """Call `change` with a connection of its own, commit, and return what it returned; after a
    conflict again.
    """
    manager = transaction.TransactionManager()
    connection = db.open(manager)
    try:
        for attempt in manager.attempts(_ATTEMPTS):
            with attempt:
                result = change(connection)
        return result
    finally:
        manager.abort()
        connection.close()


def act(
    db: Any, action: str, ids: Iterable[str], *, by: str | None = None, why: str | None = None
) -> list[OperationResult]:
    """Do one of `deeds.ACTIONS` to jobs, up to OPERATION_BATCH of them in a transaction.

    Commits. What was done to each, in the order of the ids, each once.
    """
    auditing.check(by, why)
    connection = db.open(transaction.TransactionManager())
    try:
        get_queues(connection)  # raises NotInstalled, which is no fault of a job
        each = list(dict.fromkeys(ids))
        results: list[OperationResult] = []
        for first in range(0, len(each), defaults.OPERATION_BATCH):
            batch = each[first : first + defaults.OPERATION_BATCH]
            results += _together(connection, action, batch, by, why)
        return results
    finally:
        connection.transaction_manager.abort()
        connection.close()


def _together(
    connection: Any, action: str, ids: Sequence[str], by: str | None, why: str | None
) -> list[OperationResult]:
    """Do it to all in one transaction; if that fails, to each half in one of its own."""
    try:
        for attempt in connection.transaction_manager.attempts(defaults.OPERATION_ATTEMPTS):
            with attempt:
                done = [deeds.do(connection, action, job_id) for job_id in ids]
                deeds.note(connection, action, [each for _, each in done], by, why)
        return [result for result, _ in done]
    except Exception as error:
        if isinstance(error, deeds.RAISED) and not isinstance(error, ConflictError):
            raise
        if len(ids) == 1:
            return [OperationResult(ids[0], refused=deeds.reason(connection, ids[0], error))]
    middle = len(ids) // 2
    return [
        *_together(connection, action, ids[:middle], by, why),
        *_together(connection, action, ids[middle:], by, why),
    ]
