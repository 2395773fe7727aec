"""The job: a persistent call, its state and its result.

Attributes that still have their default aren't in the record; a class attribute gives
them. The record is written at put, at the end, and when something unusual happens.
"""

from __future__ import annotations

import contextlib
import logging
import reprlib
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

import transaction
from ZODB.utils import u64
from zope.interface import implementer

from zodbjobs import clock
from zodbjobs.errors import BadArgument, BadStatus, MissingCode, Snooze
from zodbjobs.interfaces import (
    ACTIVE,
    ASSIGNED,
    CALLBACKS,
    COMPLETED,
    FAILED,
    NEW,
    PENDING,
    SUCCEEDED,
    IJob,
    IProgressable,
)
from zodbjobs.stored.failure import Failure
from zodbjobs.stored.labelled import Labelled
from zodbjobs.stored.lifecycle import (
    calls,
    completion,
    control,
    delivery,
    followers,
    keys,
    labels,
    location,
    referring,
    surroundings,
)
from zodbjobs.stored.lifecycle.attempts import PastAttempt, past_attempts
from zodbjobs.stored.lifecycle.options import (
    checked_percent,
    checked_priority,
    checked_transactional,
    due_micros,
    duration_micros,
    timeout_micros,
    timeout_of,
)
from zodbjobs.stored.lifecycle.storable import check_immutable, check_storable
from zodbjobs.stored.lifecycle.views import DictView, ListView, Progress
from zodbjobs.stored.quotas import checked_names
from zodbjobs.stored.retry import checked_policy

if TYPE_CHECKING:
    from zodbjobs.stored.attachments import Attachment
    from zodbjobs.stored.callbacks import CallbackHandle
    from zodbjobs.stored.gates import Gate, Predecessors
    from zodbjobs.stored.lifecycle.completion import Completion
    from zodbjobs.stored.lifecycle.location import ContainerName
    from zodbjobs.stored.lifecycle.root import ShardName
    from zodbjobs.stored.queue import Queue
    from zodbjobs.stored.shard import Shard
    from zodbjobs.stored.shared_results import SharedResults
    from zodbjobs.stored.unique_keys import UniqueKey
    from zodbjobs.stored.workers import RunningJob, WorkerRecord


GIVEN_BY_THE_QUEUE = (
    *("_key", "_shard_name", "_shared", "_v_shard", "_created", "_unsuccessful", "_result"),
    *("_started", "_finished", "_last_failure", "_attempts", "_conflicts", "_interruptions"),
    *("_parked", "_log", "_retry_at", "_given_policy", "_policy_data", "_past", "_worker"),
    *("_snoozed", "_callback_of", "_gate", "_predecessors", "_given_timeout", "_given_context"),
    *("_unique", "_attachments"),
)

# What else a job has is looked at before it is stored, and so is what it is about.
_KNOWN = frozenset(
    {*GIVEN_BY_THE_QUEUE, "_call", "_args", "_kwargs", "_bound", "_annotations", "_container"}
    | {"_priority", "_begin_after", "_begin_by", "_delay", "_timeout", "_transactional"}
    | {"_callbacks", "_wanted_queue", "_failure_log_level", "_waiters", "_is_part"}
    | {"_has_source", "_quota_names", "_audit"}
    | {"_owner", "_title", "_realm", "_listed", "_cursor", "_schedule", "_planned"}
)


@implementer(IJob)
class Job(Labelled):
    """A call of `callable` with `args` and `kwargs`, to be put into a queue.

    Raises TypeError if it isn't callable, BadArgument if it can't be stored by name
    (a lambda, a function inside a function).
    """

    __name__: str | None = None

    _parent: object = None
    #: The job container that it is in; a container of another kind is its `_parent`.
    _container: ContainerName | None = None
    _v_container: object = None
    _args: tuple[Any, ...] = ()
    _kwargs: dict[str, Any] | None = None
    _bound: tuple[int, tuple[str, ...]] | None = None  # those of a partial: how many, which
    _key: int | None = None
    #: The shard that it was put into, and the shared results, if these name the shard.
    _shard_name: ShardName | None = None
    _shared: SharedResults | None = None
    _v_shard: Shard | None = None
    _v_queue: Queue | None = None
    _priority = 0
    _created: int | None = None
    _begin_after: int | None = None
    _delay: int | None = None  # begin_after, if it was given from then
    _begin_by: int | None = None
    _timeout: int | None = None  # microseconds
    _given_timeout: int | None = None  # the queue's, as it was at the put
    _transactional: bool | None = None  # None: what its callable says
    _unsuccessful: str | None = None
    _result: Any = None
    _last_failure: Failure | None = None
    _started: int | None = None
    _finished: int | None = None
    _attempts = 0
    _conflicts = 0
    _retry_at: int | None = None
    _interruptions = 0
    _parked: str | None = None
    _annotations: dict[str, Any] | None = None
    _log: tuple[str, ...] = ()
    _v_running = False
    _retry_policy: Any = None
    _given_policy: Any = None  # the default one, as it was at the put
    _policy_data: dict[str, Any] | None = None
    _past: tuple[Any, ...] = ()
    _worker: str | None = None  # whose attempt ended it, where that is worth a place
    _snoozed = False
    #: Jobs and handles, in the order of adding.
    _callbacks: tuple[Any, ...] = ()
    #: The job or handle that it was added to before that had ended.
    _callback_of: Any = None
    #: Whether its last argument is the result of the job that it was added to.
    _has_source = False
    #: The name of a queue, and that of its database; settable while NEW.
    _wanted_queue: tuple[str, str] | None = None
    _failure_log_level = logging.ERROR
    #: The gates of jobs that wait for it.
    _waiters: tuple[Gate, ...] = ()
    #: Whether it belongs to a composition that hasn't put it yet; whether it is one.
    _is_part = False
    _is_composed = False
    _lists_parts = True  # what a composition says of its own
    #: Whether its class has a hook before or after an attempt.
    _has_hooks = False
    #: The gate that it waits behind, and what it was put after.
    _gate: Gate | None = None
    _predecessors: Predecessors | None = None
    #: The run context that it was given, and the one that was captured at the put.
    _context: surroundings.Parts | None = None
    _given_context: surroundings.Parts = ()
    _quota_names: tuple[str, ...] = ()
    _unique: UniqueKey | None = None
    #: The last deeds of people that were done to it; see `auditing`.
    _audit: tuple[Any, ...] = ()
    #: The schedule that has put it, and the planned time, in microseconds.
    _schedule: str | None = None
    _planned: int | None = None
    #: That of its last checkpoint. It stays, also when the job is taken out or put in again: what
    #: was committed by then isn't to be done twice.
    _cursor: Any = None
    #: Whether its timeout, None as well, is that of the sweep of which it does a part.
    _has_timeout_of_whole = False
    #: What a new job of its kind that is put in its place has of it, beside what all have.
    _also_kept: tuple[str, ...] = ()
    #: Whether it calls its callable for each item of something.
    _is_sweep = False
    #: The files that it has left, by name.
    _attachments: dict[str, Attachment] | None = None

    def __init__(self, callable: Callable[..., Any], /, *args: Any, **kwargs: Any) -> None:
        function, all_args, all_kwargs = calls.unfold(callable, args, kwargs)
        self._call = calls.to_stored(function)
        if all_args:
            self._args = calls.storable_args(self._call, all_args)
        if all_kwargs:
            self._kwargs = calls.storable_kwargs(self._call, all_kwargs)
        if function is not callable:
            self._bound = calls.brought(all_args, all_kwargs, args, kwargs)

    @classmethod
    def bind(cls, callable: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Self:
        """A new job that is the first argument of what it calls, before `args`."""
        mark = object()
        job = cls(callable, mark, *args, **kwargs)
        job._args = tuple(job if value is mark else value for value in job._args)
        return job

    # The call

    @property
    def callable(self) -> Callable[..., Any]:
        """What is called; raises MissingCode if it isn't there in this process.

        Settable while NEW. The arguments of a `functools.partial` come before those of the job,
        and go when another callable is set, unless the job's arguments were changed meanwhile.
        """
        return calls.from_stored(self._call)

    @callable.setter
    def callable(self, value: Callable[..., Any]) -> None:
        self._require("its callable can be set", NEW)
        count, names = self._bound or (0, ())
        args = self._args[count:]
        kwargs = {name: v for name, v in (self._kwargs or {}).items() if name not in names}
        function, all_args, all_kwargs = calls.unfold(value, args, kwargs)
        self._call = calls.to_stored(function)
        self._args = calls.storable_args(self._call, all_args)
        self._kwargs = calls.storable_kwargs(self._call, all_kwargs) or None
        self._bound = calls.brought(all_args, all_kwargs, args, kwargs)

    @property
    def args(self) -> ListView:
        """The positional arguments; changeable until the job runs."""
        return ListView(self, "_args", self._check_argument, self._change_arguments)

    @args.setter
    def args(self, values: Any) -> None:
        values = tuple(
            self._check_argument(value, f"argument {number}")
            for number, value in enumerate(values, 1)
        )
        self._change_arguments()
        self._args = values

    @property
    def kwargs(self) -> DictView:
        """The keyword arguments; changeable until the job runs."""
        return DictView(self, "_kwargs", self._check_argument, self._change_arguments)

    @kwargs.setter
    def kwargs(self, values: Any) -> None:
        values = {
            name: self._check_argument(value, f"argument {name!r}")
            for name, value in dict(values).items()
        }
        self._change_arguments()
        self._kwargs = values or None

    def _change_arguments(self) -> None:
        if self._completion() is not None:
            raise BadStatus(f"{self!r} has ended; its arguments can't be changed any more")
        if self._bound is not None:
            self._bound = None  # they are the job's own from now on

    def _check_argument(self, value: Any, what: str) -> Any:
        """What is to be stored for an argument; BadArgument if it can't be."""
        queue = self.queue
        jar = self._p_jar if queue is None or self._p_jar is not None else queue._p_jar
        what = f"{what} of {self.description}"
        value = referring.storable_form(value, what)
        check_storable(value, what, jar)
        return value

    def _check(self, jar: Any) -> None:
        """Raise BadArgument if a queue of the connection `jar` can't store what it has, BadStatus
        if there is nothing in it any more.
        """
        self._check_is_whole()
        if self._p_jar is not None and self._p_jar is not jar:
            check_storable(self, repr(self), jar)
            jar = self._p_jar
        calls.check_stored(self._call, self._args, self._kwargs, jar)
        if not _KNOWN.issuperset(self.__dict__):
            labels.check_about(self)
            for name, value in self.__dict__.items():
                if name not in _KNOWN and not name.startswith("_v_"):
                    is_ours = name in ("_retry_policy", "_context")
                    shown = name.removeprefix("_") if is_ours else name
                    check_storable(value, f"the attribute {shown!r} of {self!r}", jar)

    def _check_is_whole(self) -> None:
        """Raise BadStatus if an abort has left nothing of it."""
        if not hasattr(self, "_call"):
            raise BadStatus(
                "a job that was put before a savepoint, and whose transaction was aborted, can't "
                "be put, nor be a callback: ZODB has dropped what was in it; make another"
            )

    @property
    def description(self) -> str:
        """What is called, as text."""
        return calls.describe(self._call)

    @property
    def quota_names(self) -> tuple[str, ...]:
        """The names of its quotas: it runs when each of them has a free slot.

        Settable while NEW or PENDING, which takes effect at once; joins the transaction. Raises
        TypeError for a str, UnknownQuota for a name that its queue has no quota for, BadStatus.
        """
        return self._quota_names

    @quota_names.setter
    def quota_names(self, value: Iterable[str]) -> None:
        self._require("quota_names can be set", NEW, PENDING)
        control.set_quota_names(self, checked_names(value))

    @property
    def unique(self) -> str | None:
        """The key with which it was put, or None."""
        return None if self._unique is None else self._unique.name

    @property
    def schedule(self) -> str | None:
        """The name of the schedule that has put it, or None; also of a job that is put again."""
        return self._schedule

    @property
    def planned(self) -> datetime | None:
        """The planned time of that schedule for which it was put, aware UTC; or None."""
        return clock.moment(self._planned)

    @property
    def context(self) -> Mapping[str, Any]:
        """What it runs in, by name; a mapping that can't be changed.

        It is captured at the put, or where a callback is added. Settable while NEW, to a mapping:
        then nothing is captured; None lets it be captured again. BadStatus afterwards, BadArgument
        for a name that isn't registered with `zodbjobs.context`, and for what can't be stored.
        """
        return MappingProxyType({name: value for name, _, value in surroundings.of(self)})

    @context.setter
    def context(self, values: Mapping[str, Any] | None) -> None:
        self._require("its context can be set", NEW)
        self._context = None if values is None else surroundings.given(values)

    # Where it is

    @property
    def __parent__(self) -> object:
        """The container that it is in, or None. A copy isn't in the job container of the job."""
        return self._parent if self._container is None else location.container_of(self)

    @__parent__.setter
    def __parent__(self, container: object) -> None:
        self._p_activate()
        name = location.name_of(container, self)
        for attribute in ("_container", "_parent"):
            self.__dict__.pop(attribute, None)
        self._p_changed = True
        if name is not None:
            self._container, self._v_container = name, container
        elif container is not None:
            self._parent = container

    @property
    def _shard(self) -> Shard | None:
        """The shard that the job names; it needn't be in it."""
        if self._key is not None and self._v_shard is None:
            self._v_shard = completion.shard_of(self)
        return self._v_shard

    def _place(self, shard: Shard, key: int, shared: SharedResults | None = None) -> None:
        """Note where it is: its key and its shard, which its shared results name if there are.

        A job that gets another key leaves them: there it could be taken for another one.
        """
        self._key, self._v_shard = key, shard
        if self._shared is not shared:
            self._shared = shared
        if shared is None:
            self._shard_name = self._name_of(shard)

    def _name_of(self, shard: Shard) -> ShardName:
        """How the job names the shard: with its database if that isn't the job's own."""
        jar = shard.queue._p_jar
        if self._p_jar is None or self._p_jar.db() is jar.db():
            return shard.name
        return (*shard.name, jar.db().database_name)

    @property
    def id(self) -> str | None:
        """The decimal object id, or None before the job is put."""
        if self._p_oid is None:
            shard = self._shard
            if shard is None or not delivery.is_delivered(shard.queue, self):
                return None
            shard.queue._p_jar.add(self)  # the commit would do it, at less cost
        return str(u64(self._p_oid))

    @property
    def queue(self) -> Queue | None:
        """The queue that the job was put into; None for a copy of a job, and before the put.

        Settable while NEW, to a stored queue: there the job is put if it is a callback, whose
        queue is that of its parent otherwise.
        """
        shard = self._shard
        if shard is not None and self.status != NEW:
            return shard.queue
        if self._wanted_queue is None:
            return None
        if self._v_queue is None and self._p_jar is not None:
            self._v_queue = followers.wanted_queue(self, self._p_jar)
        return self._v_queue

    @queue.setter
    def queue(self, value: Queue | None) -> None:
        self._require("its queue can be set", NEW)
        if value is not None and getattr(value, "_p_jar", None) is None:
            raise BadArgument(
                f"the queue of {self!r} must be one of zodbjobs.get_queue(), not {value!r}"
            )
        self._v_queue = value
        self._wanted_queue = (
            None if value is None else (value.name, value._p_jar.db().database_name)
        )

    @property
    def status(self) -> str:
        """One of STATUSES of the interfaces, derived from where the job is."""
        if self._completion() is not None:
            return CALLBACKS if followers.are_running(self) else COMPLETED
        if self._v_running:
            return ACTIVE
        shard = self._shard
        if shard is None:
            return NEW
        if self._p_jar is None:
            return PENDING if delivery.is_delivered(shard.queue, self) else NEW
        holder = completion.holder_of(shard.queue, self)
        if holder is not None:
            is_active = self._key in holder.running or completion.returned_job(self) is not None
            return ACTIVE if is_active else ASSIGNED
        if completion.returned_job(self) is not None and shard.is_waiting(self._key or 0, self):
            return ACTIVE
        return PENDING if shard.has(self._key or 0, self) else NEW

    def _holder(self) -> WorkerRecord | None:
        shard = self._shard
        if shard is None or self._completion() is not None:
            return None
        return completion.holder_of(shard.queue, self)

    def _live(self) -> RunningJob | None:
        holder = self._holder()
        return None if holder is None else holder.running.get(self._key)

    def _require(self, what: str, *statuses: str) -> None:
        status = self.status
        if status not in statuses:
            raise BadStatus(f"{self!r} is {status}; {what} only while {' or '.join(statuses)}")

    # How it ends

    def _completion(self) -> Completion | None:
        """How it ended, wherever that is stored; None until then."""
        return completion.completion_of(self)

    @property
    def outcome(self) -> str | None:
        """How it ended, one of OUTCOMES of the interfaces; None until then."""
        return None if self._completion() is None else self._unsuccessful or SUCCEEDED

    @property
    def result(self) -> Any:
        """What the callable returned, or the Failure; None until the end."""
        completion = self._completion()
        return None if completion is None else completion.result

    @property
    def failure(self) -> Failure | None:
        """The Failure that the job ended with; that of the last attempt until the next one."""
        completion = self._completion()
        if completion is None:
            return self._last_failure
        return completion.result if isinstance(completion.result, Failure) else None

    @property
    def parked(self) -> str | None:
        """Why the job can't be run with the code that is there, or None."""
        shard, key = self._shard, self._key or 0
        if self._parked is None and shard is not None and shard.has_parked(key, self):
            # The worker could load no more of it than to see that.
            return (
                "the worker could not load it, or not store it again, with the code that it had; "
                "see its log, repair that, then retry the job"
            )
        return self._parked

    @property
    def attempts(self) -> int:
        """How many attempts were made, as far as is stored."""
        if self._attempts:
            return self._attempts
        completion = self._completion()
        return 1 if completion is not None and completion.started is not None else 0

    @property
    def conflicts(self) -> int:
        """How many attempts were made again after a conflict, as far as is stored."""
        return self._conflicts

    @property
    def interruptions(self) -> int:
        """How often a worker died or was stopped while it held the job."""
        return self._interruptions

    # Again, or not

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "retry_policy" in vars(cls):  # that of all jobs of this kind
            cls._retry_policy = checked_policy(vars(cls)["retry_policy"])
            del cls.retry_policy
        if "timeout" in vars(cls):
            cls._timeout = timeout_micros(vars(cls)["timeout"])
            del cls.timeout
        if "transactional" in vars(cls):
            cls._transactional = checked_transactional(vars(cls)["transactional"])
            del cls.transactional
        if isinstance(title := vars(cls).get("title"), str):
            cls._title = labels.checked_title(title)
            del cls.title
        own = (cls.set_up, cls.tear_down)
        cls._has_hooks = own != (Job.set_up, Job.tear_down)

    @property
    def retry_policy(self) -> Any:
        """The IRetryPolicy that decides about further attempts; None for the built-in one: another
        after a conflict, up to 25 times, and after an interruption, up to nine times, none
        after an error.

        Settable while NEW, also to a class that takes no arguments. A put gives a job that has
        none the default of the queue, or of all queues, as it is then. Raises BadStatus, and
        BadArgument for what answers no question.
        """
        return self._given_policy if self._retry_policy is None else self._retry_policy

    @retry_policy.setter
    def retry_policy(self, value: Any) -> None:
        self._require("retry_policy can be set", NEW)
        self._retry_policy = checked_policy(value)

    @property
    def past_attempts(self) -> tuple[PastAttempt, ...]:
        """The last 20 attempts that are over, the oldest first, as far as is stored: those that
        raised, were interrupted or snoozed, and the one that ended the job. How many conflicted
        is told by `conflicts` alone.
        """
        return past_attempts(self)

    def fail(self, error: BaseException | None = None) -> None:
        """Let the job, which hasn't begun, end as failed, with `error` or a TimedOut.

        A worker that begins it meanwhile can't commit it. Joins the current transaction. Raises
        BadStatus if the job runs or has ended, BadArgument if `error` is no exception.
        """
        control.fail(self, error)

    def _end(self, outcome: str, result: Any, started: int | None, finished: int) -> None:
        """Note the end in the record; `complete` sees to the rest."""
        if outcome != SUCCEEDED:
            self._unsuccessful = outcome
        if result is not None or self._result is not None:
            self._result = result
        if started is not None:
            self._started = started
        self._finished = finished

    def _renew(self) -> None:
        """Back to NEW; `complete` has taken the job out of its trees.

        Of the annotations only the progress goes: who has set the others isn't known.
        """
        for name in GIVEN_BY_THE_QUEUE:
            self.__dict__.pop(name, None)
        if self._listed:
            self._listed = ()
        if self._annotations:
            kept = {n: v for n, v in self._annotations.items() if n not in Progress._fields}
            self._annotations = kept or None
        self._p_changed = True

    def cancel(self) -> None:
        """Take the job off its queue or away from its worker; its end is cancelled.

        A running job can't commit any more. Joins the current transaction. Raises
        BadStatus if the job is NEW or has ended.
        """
        control.cancel(self)

    # Around an attempt

    def set_up(self) -> Any:
        """Does nothing; for subclasses: called in each attempt before what the job calls.

        In its run context, in its transaction, as the current job. What it raises is the job's
        failure, as if what the job calls had raised it; that isn't called then.
        """
        return None

    def tear_down(self, value: Any) -> None:
        """Does nothing; for subclasses: called after an attempt whose `set_up` returned `value`.

        In its run context, as the current job, after the commit or abort; what it changes in the
        database isn't stored. What it raises is logged as CRITICAL, and changes nothing. It isn't
        called if the process dies. A job that is called by hand has it before the caller's commit.
        """

    # What follows its end

    @property
    def callbacks(self) -> tuple[Any, ...]:
        """The callbacks, jobs and handles, in the order of adding; also those that have ended."""
        return self._callbacks

    @property
    def failure_log_level(self) -> int:
        """The level, of `logging`, at which it is told that the job failed.

        ERROR by default, CRITICAL for callbacks. Settable; BadArgument for anything but an int.
        """
        return self._failure_log_level

    @failure_log_level.setter
    def failure_log_level(self, value: int) -> None:
        if not isinstance(value, int) or isinstance(value, bool):
            raise BadArgument(f"failure_log_level must be a level of logging, not {value!r}")
        self._failure_log_level = int(value)

    def add_callback(
        self,
        callback: Job | Callable[..., Any],
        *,
        failure_log_level: int | None = None,
        retry_policy: Any = None,
    ) -> Job:
        """Put `callback`, a new job or a callable, when this job ends, however it ends; return it.

        It is put in the transaction that ends this job, into the same queue unless its own was
        set, and called with the result, or the Failure, after its own arguments. Joins the
        current transaction. If the job has ended already it is put at once. Raises BadStatus
        for a job that isn't new or has a parent already, BadArgument for a cycle.
        """
        return followers.add_callback(
            self, callback, failure_log_level=failure_log_level, retry_policy=retry_policy
        )

    def add_callbacks(
        self,
        success: Job | Callable[..., Any] | None = None,
        failure: Job | Callable[..., Any] | None = None,
    ) -> CallbackHandle:
        """Put one of two when this job ends: `success`, or for any other outcome `failure`.

        Either may be missing. Returns a handle, with `success`, `failure`, `chosen`, `status`,
        `result`, and methods like these. Raises as `add_callback`.
        """
        return followers.add_callbacks(self, success, failure)

    # Time

    @property
    def created(self) -> datetime | None:
        """When it was put (UTC), or None."""
        return clock.moment(self._created_micros())

    def _created_micros(self) -> int | None:
        if self._created is not None or self._key is None:
            return self._created
        return keys.micros_of(self._key)

    @property
    def started(self) -> datetime | None:
        """When the last attempt started (UTC), or None."""
        started = self._last_start()
        if started is None and (live := self._live()) is not None:
            started = live.started
        return clock.moment(started)

    def _last_start(self) -> int | None:
        completion = self._completion()
        return self._started if completion is None else completion.started

    @property
    def finished(self) -> datetime | None:
        """When it ended (UTC), or None."""
        completion = self._completion()
        return None if completion is None else clock.moment(completion.finished)

    @property
    def begin_after(self) -> datetime | None:
        """Not to be begun before (UTC). Settable while NEW, aware, or as a timedelta."""
        return clock.moment(self._begin_micros())

    @begin_after.setter
    def begin_after(self, value: datetime | timedelta | None) -> None:
        self._require("begin_after can be set", NEW)
        self._begin_after = due_micros(value)
        self._delay = None
        if isinstance(value, timedelta):
            self._delay = value // timedelta(microseconds=1)

    @property
    def due(self) -> datetime | None:
        """When the next attempt became due, or will (UTC); None before the put."""
        return None if self._key is None else clock.moment(keys.micros_of(self._key))

    @property
    def begin_by(self) -> timedelta | None:
        """How long after begin_after it may still be begun. Settable while NEW or PENDING."""
        return None if self._begin_by is None else timedelta(microseconds=self._begin_by)

    @begin_by.setter
    def begin_by(self, value: timedelta | None) -> None:
        self._require("begin_by can be set", NEW, PENDING)
        control.set_begin_by(self, duration_micros(value))

    @property
    def timeout(self) -> timedelta | None:
        """How long one attempt may take, with its commit; None for as long as it takes.

        Settable while NEW, to seconds or a timedelta. A put gives a job that has none the queue's,
        as it is then. Past it the attempt can't commit, and counts as one that raised TimedOut.
        Raises BadStatus, and BadArgument for what isn't positive.
        """
        micros = timeout_of(self)
        return None if micros is None else timedelta(microseconds=micros)

    @timeout.setter
    def timeout(self, value: float | timedelta | None) -> None:
        self._require("timeout can be set", NEW)
        self._timeout = timeout_micros(value)

    @property
    def transactional(self) -> bool:
        """Whether all that it does is in its transaction, so that it may share a commit.

        By default what its callable says, see `zodbjobs.transactional`. Settable while NEW, to
        None for that. Raises BadStatus, and BadArgument for what is neither True, False nor None.
        """
        with contextlib.suppress(MissingCode):
            calls.from_stored(self._call)  # which knows it by then
        return calls.is_transactional(self)

    @transactional.setter
    def transactional(self, value: bool | None) -> None:
        self._require("transactional can be set", NEW)
        self._transactional = checked_transactional(value)

    @property
    def priority(self) -> int:
        """From -8 to 7, larger first. Settable while NEW."""
        return self._priority if self._key is None else keys.priority_of(self._key)

    @priority.setter
    def priority(self, value: int) -> None:
        self._require("priority can be set", NEW)
        self._priority = checked_priority(value)

    def _begin_micros(self) -> int | None:
        return self._created_micros() if self._begin_after is None else self._begin_after

    # What it tells of itself

    @property
    def annotations(self) -> DictView:
        """Mapping of immutable values; shows live ones while the job runs."""
        holder = self._holder()
        overlay = None
        if holder is not None:
            live = holder.running.get(self._key)
            told = None if live is None else live.annotations
            overlay = {**(told or {}), **holder.late_annotations(self)}
        return DictView(self, "_annotations", check_immutable, overlay=overlay)

    @property
    def progress(self) -> Progress:
        """Percent and message as last reported, live while the job runs."""
        values = self.annotations
        return Progress(values.get("percent"), values.get("message"))

    @property
    def cursor(self) -> Any:
        """That of the last checkpoint; None if there was none.

        It stays when the job is retried, or removed and put again: it goes on from there. To have
        all of it done again, make another job.
        """
        return self._cursor

    @property
    def log_lines(self) -> tuple[str, ...]:
        """The last lines that the job logged; the last few of them while it runs."""
        live = self._live()
        return self._log if live is None else live.log

    @property
    def attachments(self) -> Mapping[str, Attachment]:
        """The files that it has left, by name, in the order of attaching; can't be changed.

        They are there from the job's end on, if what it did was committed, and go with the job.
        """
        return MappingProxyType(self._attachments or {})

    @reprlib.recursive_repr("<this job>")  # which may be among its own arguments
    def __repr__(self) -> str:
        try:
            jar = self._p_jar
            place = "" if jar is None else f" in {jar.db().database_name!r}"
            shown = calls.show(self._call, self._args, self._kwargs)
            kind = f"{type(self).__module__}.{type(self).__name__}"
            return f"<{kind} {self.id or '(not stored)'}{place}: {shown}>"
        except (Exception, SystemExit) as error:  # as code that is loaded with it may raise
            return f"<{type(self).__name__} that can't be shown: {type(error).__name__}>"

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Run here and now, in the caller's transaction; return the result or the Failure.

        Raises BadStatus unless the job is NEW. On failure what the call changed in the
        database is rolled back, not what the caller changed before. Conflicts, and other errors
        after which a transaction is to be tried again, Snooze, and what isn't an Exception
        (KeyboardInterrupt, SystemExit) are rolled back as well and reach the caller; the job
        is NEW then. Its callbacks are called as well, here and now.
        """
        self._require("it can be called", NEW)
        control.renew(self)
        result = self._call_here(args, kwargs)
        followers.call_by_hand(self, self._callbacks)
        return result

    def _result_by_hand(self, outer: Job) -> Any:
        """The result for a job that was called by hand and has returned this one."""
        if self._completion() is None:
            if self is outer or self.status != NEW:
                raise BadStatus(f"{outer!r} returned {self!r}, which is {self.status}")
            self()
        return self.result

    def _run(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """What a call by hand does with what the job calls."""
        return calls.run(function, args, kwargs)

    def _call_here(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run here and now, without the callbacks."""
        manager = transaction.manager if self._p_jar is None else self._p_jar.transaction_manager
        savepoint = manager.savepoint(optimistic=True)
        started = clock.now()
        self._v_running = True
        hooks = calls.hooks_of(self)
        try:
            kwargs = {**(self._kwargs or {}), **kwargs}
            own_args, kwargs = calls.with_results(self._args, kwargs)
            function, own_args, kwargs = calls.loaded(self, own_args, kwargs)
            if hooks is not None:
                hooks.set_up()
            result = self._run(function, (*own_args, *args), kwargs)
            while isinstance(result, Job):
                result = result._result_by_hand(self)
            result = referring.storable_form(result, f"the result of {self!r}")
            check_storable(result, f"the result of {self!r}", self._p_jar)
        except BaseException as error:
            savepoint.rollback()
            if not isinstance(error, Exception) or isinstance(error, Snooze):
                raise
            if manager.get().isRetryableError(error):
                raise
            result = Failure.from_exception(error)
        finally:
            self._v_running = False
            if hooks is not None:
                hooks.tear_down()
        outcome = FAILED if isinstance(result, Failure) else SUCCEEDED
        self._end(outcome, result, started, clock.now())
        return result


@implementer(IProgressable)
class ProgressableJob(Job):
    """A job that shows how far it is in `percent`."""

    @property
    def percent(self) -> float | None:
        """From 0 to 100: live while the job runs, the last value after; None before.

        Settable to a number or None while the job doesn't run; raises BadStatus then, and
        BadArgument for anything else. A job reports its own with ``zodbjobs.local.set_progress``.
        """
        return self.progress.percent

    @percent.setter
    def percent(self, value: float | None) -> None:
        if self.status == ACTIVE:
            raise BadStatus(
                f"{self!r} is running; in it, call zodbjobs.local.set_progress({value!r})"
            )
        if value is None:
            self.annotations.pop("percent", None)
        else:
            self.annotations["percent"] = checked_percent(value)
