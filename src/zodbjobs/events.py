"""What happens to jobs and workers, as events: ``from zodbjobs import events``.

Each event is a frozen object. It is given to the handlers of `subscribe`, and to the subscribers
of `zope.event`, so that those that `zope.component` has registered for its class get it too. What
isn't subscribed to isn't made.

An event is told in the process in which the thing happened; `JobEnded`, for one, in that of the
worker, or of whoever cancelled the job. What is told after a commit is told at most once: not if
the process dies right then, nor if the connection is lost before the commit is confirmed.

A handler that raises is logged, and changes nothing. It is waited for, so it should be quick. What
must happen at the end of a job is a callback, not a handler. Where no transaction is open a
handler that wants one opens a connection of its own, with a transaction manager of its own.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import sys
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any

import zope.event

from zodbjobs.errors import BadArgument
from zodbjobs.interrupt import is_ctrl_c

log = logging.getLogger("zodbjobs")


@dataclasses.dataclass(frozen=True)
class JobEvent:
    """Base of what happens to a job: its decimal id, and the name of its queue."""

    job_id: str
    queue: str


@dataclasses.dataclass(frozen=True)
class JobPut(JobEvent):
    """A job was put, as a callback by its parent's end, or once more by `queue.retry`.

    Told in the thread and in the transaction of who put it, which may still be aborted; what the
    handler writes is committed with it. `job` is the job in that transaction's connection.
    """

    job: Any = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True)
class JobPutCommitted(JobEvent):
    """A put was committed. Told in the putter's thread after that; no transaction is open."""


@dataclasses.dataclass(frozen=True)
class JobClaimed(JobEvent):
    """A worker, whose id is `worker`, has claimed the job.

    Told after the commit of the claim, and before the job is begun, in the dispatcher's thread or
    in that of a runner. The worker claims nothing more meanwhile.
    """

    worker: str


@dataclasses.dataclass(frozen=True)
class JobStarted(JobEvent):
    """An attempt begins, the one of that number, counted as `job.attempts` does.

    Told in the job's thread and in its transaction, before its run context is restored. What
    the handler writes is committed or rolled back with what the job does. It comes once more if
    the attempt conflicts. `job` is the job in that transaction's connection. A context variable
    that the handler sets has its value in the job.
    """

    worker: str
    attempt: int
    job: Any = dataclasses.field(repr=False, compare=False)


@dataclasses.dataclass(frozen=True)
class AttemptConflicted(JobEvent):
    """An attempt has conflicted with what others committed, for the time `conflicts` of it, and is
    made again: JobStarted comes once more. `error` is what it raised.

    Told in the job's thread. No transaction is open.
    """

    worker: str
    attempt: int
    conflicts: int
    error: Exception = dataclasses.field(repr=False, compare=False)


@dataclasses.dataclass(frozen=True)
class AttemptEnded(JobEvent):
    """An attempt is over that has begun. `failure`: what it raised; `conflicts`: how often it did.

    `outcome` is what it led to: that of the job; or retried, or snoozed: another one follows, at
    `due`, aware UTC, or at once for None; waiting: for the job that it has returned; given back:
    at a checkpoint, from which another one goes on; parked: it lacks something; dropped: the job
    was taken away from the worker, or the worker stops, or what it did together with others is run
    again, with the same number.

    Told in the job's thread, once for each attempt, after the commit of what it did. What it
    led to is committed with that; or soon, with others, if it wrote nothing: that is what JobEnded
    waits for. The handler isn't to use the thread's transaction.
    """

    worker: str
    attempt: int
    outcome: str
    failure: Any
    due: datetime | None
    conflicts: int


@dataclasses.dataclass(frozen=True)
class JobProgressed(JobEvent):
    """What a running job has reported can be seen by others now, as `job.progress`.

    Told in the worker after the commit that shows it, in the dispatcher's thread or in that of a
    runner: at most twice a second for each job, and not of one that ends before that.
    """

    percent: float | None
    message: str | None


@dataclasses.dataclass(frozen=True)
class JobEnded(JobEvent):
    """A job has ended, with that `outcome`; `failure` is a Failure or None. Times are aware UTC.

    Told after the commit of its end, in the thread that made it: a worker's, or that of who
    cancelled the job. No transaction is open.
    """

    outcome: str
    started: datetime | None
    finished: datetime
    failure: Any


@dataclasses.dataclass(frozen=True)
class JobRetried(JobEvent):
    """An attempt has raised, and another one follows: at `due`, aware UTC, or at once for None.

    `failure` is what it raised, None if the job snoozed. Not of an attempt that conflicted. Told
    after the commit of that, in a thread of the worker. No transaction is open.
    """

    due: datetime | None
    failure: Any


@dataclasses.dataclass(frozen=True)
class JobRescued(JobEvent):
    """A job was taken back from `worker`, which died, or stopped before the job ended.

    It waits again; one that is given up by that has ended, and this isn't told. Told after the
    commit, in a thread of the worker that rescued it. No transaction is open.
    """

    worker: str
    interruptions: int


@dataclasses.dataclass(frozen=True)
class JobParked(JobEvent):
    """A job was put aside, as it can't be run here; `reason` is what `job.parked` says, or None
    if the job can't even be written.

    Told after the commit, in the thread that made it. No transaction is open.
    """

    reason: str | None


@dataclasses.dataclass(frozen=True)
class QueueEvent:
    """Base of what happens to a queue: its name."""

    queue: str


@dataclasses.dataclass(frozen=True)
class QueuePaused(QueueEvent):
    """A queue was paused, for `reason`; `match` is the glob for what jobs call, None for all.

    Told after the commit, in the thread that made it. No transaction is open.
    """

    reason: str
    match: str | None


@dataclasses.dataclass(frozen=True)
class QueueResumed(QueueEvent):
    """A pause of a queue was lifted, the one with that `match`.

    Told after the commit, in the thread that made it. No transaction is open.
    """

    match: str | None


@dataclasses.dataclass(frozen=True)
class WorkerEvent:
    """Base of what happens to a worker: its id."""

    worker: str


@dataclasses.dataclass(frozen=True)
class WorkerStarted(WorkerEvent):
    """A worker works: for `queues`, None for all, with so many threads.

    Told in its dispatcher's thread, after it was registered and before it claims. It comes again,
    with another id, after the worker was thought dead. No transaction is open.
    """

    queues: tuple[str, ...] | None
    threads: int


@dataclasses.dataclass(frozen=True)
class WorkerLost(WorkerEvent):
    """A worker was found dead, and its `jobs`, so many, were taken back; `host` is where it was.

    Told in the dispatcher's thread of the worker that did so, after the last commit of it. No
    transaction is open.
    """

    host: str
    jobs: int


@dataclasses.dataclass(frozen=True)
class WorkerStopped(WorkerEvent):
    """A worker has stopped under that id: in order, or, if `lost`, as others had taken its jobs.

    `given_up`: why, if it stopped by itself, as too many of its threads were stuck; else None.
    Told in its dispatcher's thread, as the last that it does. No transaction is open.
    """

    lost: bool
    given_up: str | None = None


Handler = Callable[[Any], object]

# Handlers with the classes that each wants, none for all. Replaced, not changed, for threads are
# reading it.
_handlers: tuple[tuple[Handler, tuple[type, ...]], ...] = ()
_lock = threading.Lock()
_zope_subscribers: list[Handler] = zope.event.subscribers


def subscribe(handler: Callable[[Any], object], *kinds: type) -> Callable[[], None]:
    """Have `handler(event)` called for each event, or for those of the classes `kinds`.

    Returns a function that ends it. What thread and what transaction a handler is called in is
    said by the class of each event. Raises BadArgument for what can't be called, and for a
    class of no event.
    """
    global _handlers
    if not callable(handler):
        raise BadArgument(f"a handler of events is called with each, and {handler!r} can't be")
    for kind in kinds:
        if not (isinstance(kind, type) and issubclass(kind, JobEvent | WorkerEvent)):
            raise BadArgument(f"{kind!r} is no class of zodbjobs.events")
    entry = (handler, kinds)
    with _lock:
        _handlers = (*_handlers, entry)

    def undo() -> None:
        global _handlers
        with _lock:
            _handlers = tuple(each for each in _handlers if each is not entry)

    return undo


def heard() -> bool:
    """Whether anybody subscribes to anything; a truth test, for where each job passes."""
    return bool(_handlers or _zope_subscribers)


def wanted(kind: type) -> bool:
    """Whether anybody subscribes to events of that class."""
    if not (_handlers or _zope_subscribers):
        return False
    if any(not kinds or issubclass(kind, kinds) for _, kinds in _handlers):
        return True
    if not _zope_subscribers:
        return False
    component: Any = sys.modules.get("zope.component.event")
    dispatch = getattr(component, "dispatch", None)
    if len(_zope_subscribers) > 1 or _zope_subscribers[0] is not dispatch:
        return True
    # It is there in each application with ZCML: is there a handler for the class?
    adapters = sys.modules["zope.component"].getSiteManager().adapters
    return bool(adapters.subscriptions((_specification(kind),), None))


@functools.cache
def _specification(kind: type) -> Any:
    """By which `zope.component` finds the handlers of a class."""
    from zope.interface import implementedBy

    return implementedBy(kind)


def notify(event: JobEvent | QueueEvent | WorkerEvent) -> None:
    """Tell an event. What a handler raises is logged."""
    for handler, kinds in _handlers:
        if not kinds or isinstance(event, kinds):
            _call(handler, event)
    for handler in list(_zope_subscribers):
        _call(handler, event)


def _call(handler: Handler, event: JobEvent | QueueEvent | WorkerEvent) -> None:
    try:
        handler(event)
    except BaseException as error:
        if is_ctrl_c(error):
            raise
        log.error("a handler of %s failed: %r", type(event).__name__, handler, exc_info=True)


__all__ = [
    "AttemptConflicted",
    "AttemptEnded",
    "JobClaimed",
    "JobEnded",
    "JobEvent",
    "JobParked",
    "JobProgressed",
    "JobPut",
    "JobPutCommitted",
    "JobRescued",
    "JobRetried",
    "JobStarted",
    "QueueEvent",
    "QueuePaused",
    "QueueResumed",
    "WorkerEvent",
    "WorkerLost",
    "WorkerStarted",
    "WorkerStopped",
    "subscribe",
]
