"""Put: a job and the options of its put are checked; it gets its key, and is delivered."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from zodbjobs import clock
from zodbjobs.errors import BadStatus, NotStored
from zodbjobs.interfaces import NEW
from zodbjobs.stored.job import Job
from zodbjobs.stored.lifecycle import keys
from zodbjobs.stored.lifecycle.complete import renew
from zodbjobs.stored.lifecycle.delivery import deliver
from zodbjobs.stored.lifecycle.options import checked_priority, due_micros, duration_micros

if TYPE_CHECKING:
    from zodbjobs.stored.queue import Queue


class Options(NamedTuple):
    """What a put says of its jobs; microseconds, None for what it doesn't say."""

    begin_after: int | None
    begin_by: int | None
    priority: int | None


def options(
    queue: Queue,
    begin_after: datetime | timedelta | None,
    begin_by: timedelta | None,
    priority: int | None,
) -> Options:
    """The options of a put into `queue`, checked.

    Raises BadArgument for what can't be, NotStored if the queue has no open connection.
    """
    if queue._p_jar is None:
        raise NotStored(f"queue {queue.name!r} isn't stored; take it from zodbjobs.get_queue()")
    if queue._p_jar.transaction_manager is None:
        raise NotStored(
            f"the connection of queue {queue.name!r} is closed; "
            "take the queue from zodbjobs.get_queue() with an open one"
        )
    if priority is not None:
        priority = checked_priority(priority)
    return Options(due_micros(begin_after), duration_micros(begin_by), priority)


def checked(queue: Queue, job: Job | Callable[..., Any]) -> Job:
    """`job`, or a job for a callable, ready to be put into `queue`.

    Raises BadStatus if it isn't new, BadArgument if it can't be stored, TypeError if it is
    neither a job nor callable.
    """
    if not isinstance(job, Job):
        job = Job(job)
    if not hasattr(job, "_call"):
        raise BadStatus(
            f"a job that was put before a savepoint, and whose transaction was aborted, can't "
            f"be put into queue {queue.name!r}: ZODB has dropped what was in it; make another"
        )
    if job._key is not None and job.status == NEW:
        renew(job)
    if job._key is not None or job._finished is not None:  # the latter if called by hand
        raise BadStatus(
            f"{job!r} is {job.status}, only a new one can be put into queue "
            f"{queue.name!r}; make another job"
        )
    job._check(queue._p_jar)
    return job


def put(queue: Queue, job: Job, said: Options) -> None:
    """Put a checked job; joins the transaction of the queue's connection."""
    now = clock.now()
    after = job._begin_after if said.begin_after is None else said.begin_after
    if after is not None:
        # The past means now, behind those that wait already.
        after = after if after > now else None
        if after is not None:
            job._created = now
        if job._begin_after != after:
            job._begin_after = after
    if said.begin_by is not None:
        job._begin_by = said.begin_by
    priority = job._priority if said.priority is None else said.priority
    if after is None:
        deliver(queue, job, keys.key_for_now(priority, now))
    else:
        deliver(queue, job, keys.key_for_later(priority, after))
    if len(queue._p_jar.connections) > 1 and job._p_jar is None:
        queue._p_jar.add(job)  # else any other database that refers to it may take it
