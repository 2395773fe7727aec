"""Outside: what a job asks and tells of other jobs, beside its own transaction."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import transaction
from ZODB.POSException import POSKeyError

from zodbjobs import defaults
from zodbjobs.errors import NotStored
from zodbjobs.runtime import transactions
from zodbjobs.stored.job import Job
from zodbjobs.stored.lifecycle import followers


@contextlib.contextmanager
def _connection(job: Job) -> Iterator[Any]:
    """A connection of its own, to the database of `job`."""
    if job._p_jar is None or job._p_oid is None:
        raise NotStored(f"{job!r} isn't stored; put it into a queue and commit first")
    manager = transaction.TransactionManager()
    connection = job._p_jar.db().open(manager)
    try:
        yield connection
    finally:
        manager.abort()
        connection.close()


def _found(connection: Any, job: Job) -> Job:
    try:
        found: Job = connection.get(job._p_oid)
        found._p_activate()
    except POSKeyError:
        raise NotStored(
            f"{job!r} isn't in the database yet; commit first what puts it, as another job does "
            "at its end"
        ) from None
    return found


def read_annotations(job: Job) -> dict[str, Any]:
    """The annotations of a job as they are now; NotStored if it isn't committed."""
    with _connection(job) as connection:
        return dict(_found(connection, job).annotations)


def annotate(job: Job, name: str, value: object) -> None:
    """Set an annotation of a job and commit that; NotStored if the job isn't committed."""
    with _connection(job) as connection:
        transactions.run(
            connection.transaction_manager,
            lambda: followers.annotate(_found(connection, job), name, value),
            conflicts=defaults.CONFLICT_ATTEMPTS,
        )
