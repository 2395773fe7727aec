"""Put: a job and the options of its put are checked; it gets its key, and is delivered."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from zodbjobs import clock, events
from zodbjobs.errors import BadStatus, NotStored
from zodbjobs.queue_names import spoken
from zodbjobs.stored.default_policy import default_policy
from zodbjobs.stored.job import Job
from zodbjobs.stored.lifecycle import after as gated
from zodbjobs.stored.lifecycle import followers, labels, listing, pausing, surroundings, telling
from zodbjobs.stored.lifecycle.control import renew
from zodbjobs.stored.lifecycle.delivery import due_key, enter
from zodbjobs.stored.lifecycle.options import (
    UNSAID,
    TimeoutOption,
    checked_priority,
    checked_transactional,
    due_micros,
    duration_micros,
    give_timeout,
    timeout_micros,
)
from zodbjobs.stored.quotas import checked_names

if TYPE_CHECKING:
    from zodbjobs.stored.queue import Queue


class Options(NamedTuple):
    """What a put says of its jobs; microseconds, None for what it doesn't say.

    `policy`: that of jobs which bring none; `context`: the run context of those; `labels`: whose
    they are, and what about.
    """

    begin_after: int | None = None
    begin_by: int | None = None
    priority: int | None = None
    policy: Any = None
    after: tuple[Job, ...] = ()
    on_failure: str = "run"
    timeout: int | None = None
    says_timeout: bool = False
    quota_names: tuple[str, ...] | None = None
    context: surroundings.Parts = ()
    labels: labels.Labels | None = None
    transactional: bool | None = None


_NOTHING = Options()


def options(
    queue: Queue,
    begin_after: datetime | timedelta | None,
    begin_by: timedelta | None,
    priority: int | None,
    after: Iterable[Job | str] = (),
    on_failure: str = "run",
    timeout: TimeoutOption = UNSAID,
    quota_names: Iterable[str] | None = None,
    context: bool = True,
    transactional: bool | None = None,
    is_inner: bool = False,
) -> Options:
    """The options of a put into `queue`, checked.

    Raises BadArgument for what can't be, if the default policy can't be loaded here, and if the
    run context can't be stored; NotStored if the queue has no open connection; Draining if it
    takes no new jobs, unless `is_inner`.
    """
    if queue._p_jar is None:
        raise NotStored(f"{spoken(queue.name)} isn't stored; take it from zodbjobs.get_queue()")
    if queue._p_jar.transaction_manager is None:
        raise NotStored(
            f"the connection of {spoken(queue.name)} is closed; "
            "take the queue from zodbjobs.get_queue() with an open one"
        )
    if queue._pauses and not is_inner:
        pausing.check_open(queue)
    if priority is not None:
        priority = checked_priority(priority)
    said = _NOTHING
    if begin_after is not None or begin_by is not None or priority is not None:
        said = Options(due_micros(begin_after), duration_micros(begin_by), priority)
    policy = default_policy(queue, queue.parent)
    if policy is not None:
        said = said._replace(policy=policy)
    if timeout is not UNSAID:
        said = said._replace(timeout=timeout_micros(timeout), says_timeout=True)
    if context and (parts := surroundings.captured(queue._p_jar)):
        said = said._replace(context=parts)
    if transactional is not None:
        said = said._replace(transactional=checked_transactional(transactional))
    if quota_names is not None:
        said = said._replace(quota_names=checked_names(quota_names))
    if after == () and on_failure == "run":
        return said
    return said._replace(after=gated.checked(queue, after, on_failure), on_failure=on_failure)


def checked(queue: Queue, job: Job | Callable[..., Any], said: Options) -> Job:
    """`job`, or a job for a callable, ready to be put into `queue`.

    Raises BadStatus if it isn't new, BadArgument if it can't be stored, UnknownQuota for a quota
    that isn't there, TypeError if it is neither a job nor callable.
    """
    if not isinstance(job, Job):
        job = Job(job)
    if job._key is not None or job._callback_of is not None:
        renew(job)
    if job._key is not None or job._finished is not None:  # the latter if called by hand
        raise BadStatus(
            f"{job!r} is {job.status}, only a new one can be put into "
            f"{spoken(queue.name)}; make another job"
        )
    if job._callback_of is not None:
        raise BadStatus(
            f"{job!r} is a callback of {job._callback_of!r}, whose end puts it; put another job "
            f"into {spoken(queue.name)}"
        )
    if job._is_part:
        raise BadStatus(
            f"{job!r} belongs to a composition, which puts it; put another job into "
            f"{spoken(queue.name)}"
        )
    if job._callbacks:
        followers.check_all(job, queue._p_jar)
    else:
        job._check(queue._p_jar)
    names = job._quota_names if said.quota_names is None else said.quota_names
    if names:
        queue.quotas.check(names, job)
    return job


def predecessors(queue: Queue, job: Job, said: Options) -> tuple[Job, ...]:
    """The jobs that a checked job is put after; BadArgument for what can't be waited for."""
    referred = gated.referred(job) if job._args or job._kwargs else ()
    if not referred and not said.after:
        return ()
    found = said.after
    if referred:
        found = tuple(dict.fromkeys((*found, *gated.checked(queue, referred, said.on_failure))))
    gated.check_cycle(job, found)
    return found


def put(queue: Queue, job: Job, said: Options, behind: tuple[Job, ...]) -> None:
    """Put a checked job after those that are its `predecessors`; joins the transaction of the
    queue's connection.
    """
    now = clock.now()
    after = job._begin_after if said.begin_after is None else said.begin_after
    if said.begin_by is not None:
        job._begin_by = said.begin_by
    if said.policy is not None and job.retry_policy is None:
        job._given_policy = said.policy
    if said.says_timeout:
        job._timeout = said.timeout
    else:
        give_timeout(queue, job)
    if said.context or job._given_context:
        job._given_context = said.context  # one that it was given goes before it
    if said.quota_names is not None and job._quota_names != said.quota_names:
        job._quota_names = said.quota_names
    if said.transactional is not None:
        job._transactional = said.transactional
    if said.labels is not None:
        labels.give(job, said.labels)
    priority = job._priority if said.priority is None else said.priority
    if job._listed is not None:
        listing.add(queue, job, now)
    if behind:
        key = due_key(job, now, after, priority)
        if gated.put_behind(queue, job, key, behind, said.on_failure):
            telling.put(queue, job)
            return
    enter(queue, job, now, after, priority)
    if events.heard():
        telling.put(queue, job)
