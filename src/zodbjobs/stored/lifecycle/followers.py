"""Followers: the callbacks of a job, which its end puts into their queues.

A callback is a job of its own, NEW until then. Who adds one to a job that a worker holds
doesn't write that job, for its worker would have to run it again: an entry goes into the `late`
tree of the worker's record, and the worker's next step, or a rescue, sees to it.

Everything here works in the caller's transaction.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ZODB.broken import Broken

from zodbjobs import clock
from zodbjobs.errors import BadArgument, BadStatus, NotInstalled, ZodbjobsError
from zodbjobs.interfaces import NEW, SUCCEEDED
from zodbjobs.queue_names import spoken
from zodbjobs.stored.gates import Gate
from zodbjobs.stored.lifecycle import keys, labels, listing, surroundings, telling
from zodbjobs.stored.lifecycle.current import read_as_current
from zodbjobs.stored.lifecycle.delivery import enter
from zodbjobs.stored.lifecycle.keys import SENTINEL
from zodbjobs.stored.lifecycle.options import give_timeout
from zodbjobs.stored.lifecycle.raw import state_of
from zodbjobs.stored.lifecycle.root import get_queues
from zodbjobs.stored.lifecycle.storable import can_be_stored
from zodbjobs.stored.result_of import ResultOf
from zodbjobs.stored.retry import RetryForever

if TYPE_CHECKING:
    from zodbjobs.stored.callbacks import CallbackHandle
    from zodbjobs.stored.job import Job
    from zodbjobs.stored.queue import Queue
    from zodbjobs.stored.shard import Shard
    from zodbjobs.stored.workers import WorkerRecord

#: What callbacks are added to.
Target = Any  # Job | CallbackHandle

# What a chain in a message shows of itself.
_SHOWN = 5


def is_followed(job: Job) -> bool:
    """Whether something follows the end of the job, or it is a callback: then its end is
    written into its own record. Cheap, as a runner asks for each job.
    """
    return job._callbacks != () or job._callback_of is not None


def waits_for_parent(job: Job) -> bool:
    """Whether it is a callback of which the parent hasn't ended."""
    return job._callback_of is not None and job._key is None and job._finished is None


# Adding


def add_callback(
    target: Target,
    callback: Job | Callable[..., Any],
    *,
    failure_log_level: int | None = None,
    retry_policy: Any = None,
) -> Job:
    """What Job.add_callback() does."""
    job = _new(target, callback)
    if failure_log_level is not None:
        job.failure_log_level = failure_log_level
    if retry_policy is not None:
        job.retry_policy = retry_policy
    parts = surroundings.captured(target._p_jar)
    _check(target, [job])
    _adopt(target, job, parts)
    _add(target, job)
    return job


def add_callbacks(target: Target, success: Any, failure: Any) -> CallbackHandle:
    """What Job.add_callbacks() does."""
    from zodbjobs.stored.callbacks import CallbackHandle  # which needs this module

    if success is None and failure is None:
        raise BadArgument(f"add_callbacks of {target!r} needs success=, failure= or both")
    branches = [None if b is None else _new(target, b) for b in (success, failure)]
    if branches[0] is branches[1]:
        raise BadStatus(f"{branches[0]!r} was given for success and failure; make a job for each")
    parts = surroundings.captured(target._p_jar)
    _check(target, [job for job in branches if job is not None])
    handle = CallbackHandle(target, *branches)
    for job in branches:
        if job is not None:
            _adopt(handle, job, parts)
    _add(target, handle)
    return handle


def _new(target: Target, callback: Job | Callable[..., Any]) -> Job:
    from zodbjobs.stored.job import Job  # these need this module
    from zodbjobs.stored.lifecycle.control import renew

    job = callback if isinstance(callback, Job) else Job(callback)
    renew(job)
    if job._has_source:  # it was taken out of its queue, or the transaction of its start aborted
        _drop_source(job)
    if job._callback_of is not None:
        raise BadStatus(f"{job!r} is a callback of {job._callback_of!r}; make another job")
    if job._is_part:
        raise BadStatus(f"{job!r} belongs to a composition; make another job")
    if job.status != NEW or job._finished is not None:
        raise BadStatus(f"{job!r} is {job.status}; only a new job can be a callback; make another")
    return job


def _drop_source(job: Job) -> None:
    if job._args and type(job._args[-1]) is ResultOf:
        job._args = job._args[:-1]
    job._has_source = False


def drop_aborted(job: Job) -> None:
    """Take back what says that a job is a callback, if the transaction in which it was added was
    aborted, and what its start has left: an abort undoes nothing in a job that isn't stored.
    """
    if job._has_source and _was_put_and_aborted(job):
        _drop_source(job)
    if job._callback_of is not None and job._p_jar is None and not _is_listed(job):
        job._callback_of = None


def _was_put_and_aborted(job: Job) -> bool:
    return job._p_jar is None and job._key is not None and job.status == NEW


def _let_start_again(target: Target) -> None:
    """Let the end of a job that is about to be put start what follows it, also what another end
    has started, which was aborted.
    """
    for follower in target._callbacks:
        if follower._p_jar is not None:
            continue
        both = (follower,)
        if _is_handle(follower):
            follower.undecide()
            _let_start_again(follower)
            both = tuple(each for each in (follower.success, follower.failure) if each is not None)
        for job in both:
            if _was_put_and_aborted(job):
                if job._has_source:
                    _drop_source(job)
                job._renew()
                job._callback_of = follower if _is_handle(follower) else target
            _let_start_again(job)


def _is_listed(follower: Any) -> bool:
    """Whether what a callback or a handle was added to knows of it."""
    target = follower._callback_of
    if _is_handle(target) and (follower is target.success or follower is target.failure):
        return _is_listed(target)
    if any(each is follower for each in target._callbacks):
        return True
    root = next((above for above in _upwards(target) if not _is_handle(above)), None)
    return root is not None and _has_late(root)


def _check(target: Target, callbacks: Iterable[Job]) -> None:
    """Raise before anything is changed: BadArgument for a cycle, or what can't be stored."""
    from zodbjobs.stored.lifecycle.control import renew  # which needs this module

    chain = list(_upwards(target))
    for above in chain:
        if not _is_handle(above) and above._p_jar is None:
            renew(above)  # it may be stored by way of the callback
    for job in callbacks:
        if any(job is above for above in chain):
            end = next(n for n, above in enumerate(chain) if above is job) + 1
            shown = " <- ".join(repr(above) for above in chain[:end][:_SHOWN])
            raise BadArgument(f"{job!r} can't be a callback of what follows it: {shown}")
        values = (*job._args, *(job._kwargs or {}).values())
        if any(type(v) is ResultOf and v.job._completion() is None for v in values):
            raise BadArgument(
                f"{job!r} refers to the result of a job that hasn't ended, and a callback waits "
                "for its parent only; put it with after= both of them"
            )
        jar = target._p_jar
        if jar is not None:
            check_all(job, jar)


def check_all(job: Job, jar: Any) -> None:
    """Raise BadArgument if the connection `jar` can't store a job, which is new, with its
    callbacks.
    """
    if job._p_jar is None:
        _let_start_again(job)
    for each in with_callbacks(job):
        if each._p_jar is None and each._waiters:
            # An abort undoes nothing in a callback that isn't stored: its gates are gone.
            each._waiters = tuple(gate for gate in each._waiters if gate._p_jar is not None)
        if each is not job and each._given_context:
            surroundings.check(each._given_context, jar)
        each._check(jar)


def with_callbacks(job: Job) -> Iterator[Job]:
    """The job, its callbacks, those of these, and so on."""
    todo: list[Any] = [job]
    while todo:
        found = todo.pop()
        if _is_handle(found):
            todo += [branch for branch in (found.success, found.failure) if branch is not None]
        else:
            yield found
        todo += found._callbacks


def direct(job: Job) -> Iterator[Job]:
    """The callbacks of a job; of a pair both."""
    for found in _following(job):
        both = (found.success, found.failure) if _is_handle(found) else (found,)
        yield from (each for each in both if each is not None)


def _upwards(target: Target) -> Iterator[Target]:
    """What a callback of `target` follows: that, what it is a callback of, and so on."""
    while target is not None:
        yield target
        target = target._callback_of


def _adopt(target: Target, job: Job, parts: surroundings.Parts) -> None:
    job._callback_of = target
    surroundings.note(job, parts)
    if "_failure_log_level" not in vars(job):
        job.failure_log_level = logging.CRITICAL


def add_gate(job: Job, gate: Gate) -> None:
    """Let a gate count the end of a job, which hasn't ended."""
    _add(job, gate)


def _add(target: Target, follower: Any, was_late: bool = False) -> None:
    """Add a callback, a handle or a gate to a job or a handle, wherever that is.

    `was_late`: it was added before the end, by way of a worker's record.
    """
    while _is_handle(target) and target._decided and target.chosen is not None:
        target = target.chosen
    if _has_ended(target):
        if not was_late:
            _leave_out(follower)
        target._callbacks = (*target._callbacks, follower)
        source = source_of(target) if _is_handle(target) else target
        start(source, [follower])
        return
    root = next(t for t in _upwards(target) if not _is_handle(t) and not waits_for_parent(t))
    holder = None if root._v_running else root._holder()
    if holder is None:
        if isinstance(follower, Gate):
            target._waiters = (*target._waiters, follower)
        else:
            target._callbacks = (*target._callbacks, follower)
        if root is target and root._shared is not None:
            root._shared.leave(root._key or 0)
        return
    _add_late(holder, root, target, follower)


def _add_late(holder: WorkerRecord, root: Job, target: Target, follower: Any) -> None:
    """Let the worker that holds `root` see to it.

    If that has ended meanwhile whoever adds this conflicts, not the job.
    """
    holder.add_late(root._key or 0, root, target, follower)
    for read in (root, root._shared):
        if read is not None:
            read_as_current(read)


def annotate(job: Job, name: str, value: object) -> None:
    """Set an annotation of a stored job from outside, also while a worker holds it."""
    holder = job._holder()
    if holder is None:
        job.annotations[name] = value
    else:
        _add_late(holder, job, job, (name, value))


def _has_ended(target: Target) -> bool:
    if _is_handle(target):
        return bool(target._decided)
    return target._completion() is not None


def _leave_out(follower: Any) -> None:
    """Let it not count for the status of what it follows, which has ended already."""
    jobs = (follower.success, follower.failure) if _is_handle(follower) else (follower,)
    for job in jobs:
        if job is not None:
            job._callback_of = None


def settle_late(record: WorkerRecord) -> tuple[bool, list[tuple[Gate, bool]]]:
    """See to what was added to the jobs of a worker's lease while it held them.

    Returns whether there is nothing left but for jobs that it holds, and the gates that are to
    count an end, with whether that was a success.
    """
    late = record.late
    if late.maxKey() == SENTINEL:
        return True, []
    done = True
    counting: list[tuple[Gate, bool]] = []
    for place, (key, root, target, follower) in list(late.items(SENTINEL + 1)):
        if any(isinstance(e, Broken) or not can_be_stored(e) for e in (root, target)):
            done = False  # for a worker that has the code
            continue
        if root._completion() is None and record.holds(key, root):
            continue
        del late[place]
        if type(follower) is tuple:  # an annotation
            name, value = follower
            root._annotations = {**(root._annotations or {}), name: value}
        elif isinstance(follower, Gate) and target._completion() is not None:
            counting.append((follower, target.outcome == SUCCEEDED))
        else:
            _add(target, follower, was_late=True)
    return done, counting


# Starting


def at_end(job: Job) -> None:
    """Put the callbacks of a job of which the end has just been written into its record."""
    start(job, _following(job))


def _following(job: Job) -> tuple[Any, ...]:
    """The callbacks of a job, and those of the handle that has chosen it."""
    handle = job._callback_of
    if _is_handle(handle) and handle.chosen is job:
        return (*job._callbacks, *handle._callbacks)
    return job._callbacks


def start(source: Job, callbacks: Iterable[Any]) -> None:
    """Put those of `callbacks` that wait, each with the result of `source` as its last argument.

    Without a queue, as the job was called by hand, they are called by hand.
    """
    shard = source._shard
    if shard is None:
        call_by_hand(source, callbacks)
        return
    for callback in _chosen(source, callbacks):
        _start(callback, source, shard)


def _chosen(source: Job, callbacks: Iterable[Any]) -> Iterator[Job]:
    """The callbacks that are to be started; the handles among them choose."""
    succeeded = source.outcome == SUCCEEDED
    todo = [*callbacks][::-1]
    while todo:
        found = todo.pop()
        if _is_handle(found):
            if found._decided:
                continue
            chosen = found.decide(succeeded)
            if chosen is None:
                todo += found._callbacks[::-1]
                continue
            found = chosen
        state = state_of(found)  # it may be one that can't be loaded here
        # One that was started before, and taken out of its queue, stays out.
        if not any(map(state.get, ("_key", "_finished", "_has_source"))):
            yield found


def _start(callback: Job, source: Job, shard: Shard) -> None:
    now = clock.now()
    if not can_be_stored(callback):
        # It is put aside unwritten; what becomes of the others, and of the job, goes on.
        if not shard.has_parked(0, callback):
            shard.park(keys.key_for_now(0, now), callback)
        return
    callback._args, callback._has_source = (*callback._args, ResultOf(source)), True
    labels.inherit(callback, source)
    if callback.retry_policy is None:
        callback._given_policy = RetryForever()  # nobody looks at what becomes of it
    try:
        queue = wanted_queue(callback, shard.queue._p_jar)
        (shard.queue if queue is None else queue).quotas.check(callback._quota_names, callback)
    except ZodbjobsError as error:
        callback._parked = f"it can't be put at the end of {source!r}: {error}; then retry it"
        key = keys.free_key(shard.parked, keys.key_for_now(callback._priority, now))
        callback._place(shard, key)
        shard.park(key, callback)
        if callback._listed is not None:
            listing.add(shard.queue, callback, now)
        return
    after = callback._begin_after if callback._delay is None else now + callback._delay
    queue = shard.queue if queue is None else queue  # an empty one is false
    give_timeout(queue, callback)
    if callback._listed is not None:
        listing.add(queue, callback, now)
    enter(queue, callback, now, after, callback._priority)
    telling.put(queue, callback)


def start_parked(callback: Job, queue: Queue) -> bool:
    """Put a callback that was parked unwritten, as it couldn't be loaded when its parent ended;
    whether it was.
    """
    state = state_of(callback)
    if state.get("_callback_of") is None or state.get("_key") is not None:
        return False
    if not can_be_stored(callback):
        return False
    source = source_of(callback)
    shard = source._shard
    if shard is None or shard.queue is not queue or not shard.discard(0, callback):
        return False
    _start(callback, source, shard)
    return True


def wanted_queue(job: Job, connection: Any) -> Queue | None:
    """The queue that was set on a new job; None if there was none.

    Raises NotInstalled or UnknownQueue if it is gone.
    """
    if job._wanted_queue is None:
        return None
    name, database = job._wanted_queue
    if database not in connection.db().databases:
        raise NotInstalled(
            f"this process has no database {database!r}, in which {spoken(name)} is; open it "
            "together with the other"
        )
    if database != connection.db().database_name:
        connection = connection.get_connection(database)
    return get_queues(connection)[name]


def call_by_hand(source: Job, callbacks: Iterable[Any]) -> None:
    """Call callbacks here and now, and those of these."""
    todo = [(source, callback) for callback in _chosen(source, callbacks)][::-1]
    while todo:
        source, callback = todo.pop()
        callback._call_here((source.result,), {})
        found = _chosen(callback, _following(callback))
        todo += [(callback, following) for following in found][::-1]


# Looking


def are_running(job: Job) -> bool:
    """Whether callbacks that the end of `job` has started, or those of these, go on."""
    todo: list[Any] = [job]
    while todo:
        found = todo.pop()
        if _is_handle(found):
            if found._decided:
                todo += found._callbacks if found.chosen is None else (found.chosen,)
            continue
        if isinstance(found, Broken):
            return True
        if found is not job:
            if found._callback_of is None:
                continue  # taken out or put in again since, or added after the end
            if found._completion() is None:
                return True
        if _has_late(found):
            return True
        todo += _following(found)
    return False


def _has_late(job: Job) -> bool:
    if job._p_jar is None or job._p_jar.opened is None:
        return False
    shard = job._shard
    workers = () if shard is None else shard.queue.parent.workers.values()
    return any(worker.has_late(job) for worker in workers)


def source_of(follower: Any) -> Job:
    """The job of which the result goes to a callback or a handle."""
    target = follower._callback_of
    while _is_handle(target):
        if target.chosen is not None and target.chosen is not follower:
            return target.chosen  # type: ignore[no-any-return]
        target = target._callback_of
    return target  # type: ignore[no-any-return]


def _is_handle(value: Any) -> bool:
    return hasattr(type(value), "decide")
