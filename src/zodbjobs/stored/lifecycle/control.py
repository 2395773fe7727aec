"""Control: what people ask of a job that was put: cancel, fail, remove, retry, forget.

Everything here works in the caller's transaction; ends are written by `complete`.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from ZODB.broken import Broken
from ZODB.utils import u64

from zodbjobs import clock
from zodbjobs.errors import BadArgument, BadStatus, Cancelled, TimedOut
from zodbjobs.interfaces import (
    ACTIVE,
    CALLBACKS,
    CANCELLED,
    COMPLETED,
    FAILED,
    NEW,
    SUCCEEDED,
)
from zodbjobs.queue_names import spoken
from zodbjobs.stored.failure import Failure
from zodbjobs.stored.lifecycle import (
    followers,
    history,
    keys,
    listing,
    surroundings,
    tallies,
    telling,
)
from zodbjobs.stored.lifecycle.complete import (
    booking,
    count,
    finish,
    gates_of,
    release_unique,
)
from zodbjobs.stored.lifecycle.completion import completion_of, holder_of, key_of, shard_of
from zodbjobs.stored.lifecycle.delivery import deliver, deliver_again
from zodbjobs.stored.lifecycle.entries import deadline_for
from zodbjobs.stored.lifecycle.ids import keep_ids
from zodbjobs.stored.lifecycle.raw import state_of
from zodbjobs.stored.lifecycle.storable import can_be_stored
from zodbjobs.stored.lifecycle.unique import give_unique, unique_holder

if TYPE_CHECKING:
    from zodbjobs.stored.job import Job
    from zodbjobs.stored.queue import Queue
    from zodbjobs.stored.shard import Shard


def cancel(job: Job) -> None:
    """What Job.cancel() does; what the job has returned, and waits for, is cancelled as well."""
    _cancel(job)
    todo = _inner(job)
    while todo:
        inner = todo.pop()
        with contextlib.suppress(BadStatus):  # it has ended, or can't be stored again
            _cancel(inner)
            todo += _inner(inner)


def _inner(job: Job) -> list[Job]:
    """The job that `job` waits for as it has returned it; the parts of a composition before."""
    inner = None if job._gate is None else job._gate.adopts
    if inner is None:
        return []
    parts = inner._predecessors if job._is_composed else None
    return [*(() if parts is None else parts.jobs), inner]  # from the end: this one first


def _cancel(job: Job) -> None:
    shard = shard_of(job)
    if shard is None or job._key is None or completion_of(job) is not None:
        raise BadStatus(f"{job!r} is {job.status}; only a job in a queue can be cancelled")
    error = Cancelled(f"job {job.id} of {spoken(shard.queue.name)} was cancelled")
    _end_by_hand(job, shard, CANCELLED, error)


def fail(job: Job, error: BaseException | None) -> None:
    """What Job.fail() does."""
    if error is not None and not isinstance(error, BaseException):
        raise BadArgument(f"{job!r} can be made to fail with an exception, not with {error!r}")
    status = job.status
    if status in (ACTIVE, CALLBACKS, COMPLETED):
        raise BadStatus(
            f"{job!r} is {status}; only a job that hasn't begun can be made to fail, one that "
            "runs is taken from its worker by cancel()"
        )
    shard = None if job._key is None else shard_of(job)
    if status == NEW or shard is None:
        if job._callbacks:
            raise BadArgument(
                f"{job!r} isn't in a queue that its callbacks could be put into; put it first"
            )
        error = error or TimedOut(f"{job!r} was made to fail before it was put")
        job._renew()
        job._end(FAILED, Failure.from_exception(error), None, clock.now())
        return
    error = error or TimedOut(
        f"job {job.id} of {spoken(shard.queue.name)} was made to fail before it began"
    )
    _end_by_hand(job, shard, FAILED, error)


def _end_by_hand(job: Job, shard: Shard, outcome: str, error: BaseException) -> None:
    """Take a job out of its queue or away from its worker, and end it."""
    queue, key = shard.queue, job._key or 0
    if not can_be_stored(job):
        raise BadStatus(
            f"{job!r} can't be ended as {outcome}: it can't be stored again with the code that is "
            f"here; take it out with remove() of {spoken(queue.name)}, or mend the code"
        )
    holder = holder_of(queue, job)
    if holder is not None:
        running = holder.running.get(key)
        if running is not None:
            job._started, job._worker = running.started, holder.id
        holder.release(key)
    elif not shard.unwait(key, job) and not shard.discard(key, job):
        raise BadStatus(
            f"{job!r} isn't in {spoken(queue.name)} any more; if its end was undone, retry or "
            "forget it"
        )
    # Written in every case: that is what keeps a runner from committing.
    finish(job, shard, outcome, error)


def set_quota_names(job: Job, names: tuple[str, ...]) -> None:
    """Give a job that hasn't been claimed other quotas; UnknownQuota for what isn't there."""
    shard = None if job._key is None or job.status == NEW else shard_of(job)
    if shard is not None:
        shard.queue.quotas.check(names, job)
    if names == job._quota_names:
        return
    key = key_of(job)
    if shard is None or shard.is_blocked(key, job) or shard.has_parked(key, job):
        job._quota_names = names
        return
    shard.discard(key, job)
    job._quota_names = names
    deliver_again(shard, job, key)


def set_begin_by(job: Job, micros: int | None) -> None:
    """Give a job that hasn't been claimed another time within which it must begin."""
    shard = None if job._key is None or job.status == NEW else shard_of(job)
    job._begin_by = micros
    if shard is None:
        return
    key = key_of(job)
    if shard.is_blocked(key, job) or shard.refusing(key, job) is not None:
        deadline = deadline_for(job)
        if deadline is not None:
            shard.add_deadline(deadline, key, job)
    elif job._quota_names and not shard.has_parked(key, job):
        shard.discard(key, job)  # its entry tells the time
        deliver_again(shard, job, key)


def remove(queue: Queue, job: Job) -> None:
    """What Queue.remove() does."""
    shard = shard_of(job)
    if shard is None or shard.queue is not queue or not shard.discard(key_of(job), job):
        raise LookupError(f"{job!r} doesn't wait in {spoken(queue.name)}; it is {_status(job)}")
    keep_ids(shard, [job])
    listing.drop(job)
    count(gates_of(job, False))
    release_unique(job)
    if job._p_changed is not None and not isinstance(job, Broken) and can_be_stored(job):
        job._renew()
        _counted(job)


def retry(queue: Queue, job: Job) -> None:
    """What Queue.retry() does."""
    if followers.start_parked(job, queue):
        return
    shard = _shard_in(queue, job)
    _check_retry(queue, job)
    was_waiting = False
    if shard.has_parked(key_of(job), job):
        completion = completion_of(job)
        was_waiting = completion is None
        shard.discard(key_of(job), job)
        if completion is not None:
            count(gates_of(job, not completion.failed))
            _counted(job)
            if not completion.failed:
                history.book(shard, [booking(job, completion)])
                return
    elif job._unsuccessful is not None:
        _forget(job, shard, job._finished or 0)
        _counted(job)
    elif not drop_undone(job):
        raise BadStatus(
            f"{job!r} is {job.outcome or job.status}; only a parked job, or one that "
            "ended without success, can be retried"
        )
    key = keys.key_for_now(job.priority, clock.now())
    _make_new(queue, job)
    if was_waiting:
        deliver_again(shard, job, key)
    else:
        deliver(queue, job, key)
    telling.put(queue, job)


def _check_retry(queue: Queue, job: Job) -> None:
    """Raise BadStatus if it can't be put in again, whatever has become of it."""
    if job._v_running:
        raise BadStatus(
            f"{job!r} runs here and can't put itself in again; give it a retry policy, "
            "or let it put another job"
        )
    if not can_be_stored(job):
        job._p_invalidate()  # the code may be there since it was loaded
    if not can_be_stored(job):
        raise BadStatus(
            f"{job!r} can't be retried: it can't be stored again with the code that is here; "
            "mend the code, or take the job out with remove()"
        )
    _check_unique(queue, job)
    _check_callbacks(job)


def _make_new(queue: Queue, job: Job) -> None:
    """Forget what became of it; what was fixed at the first put stays."""
    policy, unique, timeout = job._given_policy, job._unique, job._given_timeout
    context, listed = job._given_context, job._listed
    job._renew()
    if listed is not None:
        job._listed = listed
    job._begin_after = None
    if policy is not None:
        job._given_policy = policy  # fixed at the first put
    if timeout is not None:
        job._given_timeout = timeout  # as well
    surroundings.note(job, context)
    if unique is not None:
        give_unique(queue, job, unique.name, unique.until_ended)


def _check_unique(queue: Queue, job: Job) -> None:
    holder = None if job.unique is None else unique_holder(queue, job.unique)
    if holder is not None and holder is not job:
        # Who may know of this one may not know of one of another realm, nor of its arguments.
        is_near = state_of(holder).get("_realm") == job.realm
        shown = f"job {u64(holder._p_oid)}" if is_near and holder._p_oid else "another job"
        raise BadStatus(
            f"{job!r} can't be retried: {shown} has its unique key {job.unique!r} in "
            f"{spoken(queue.name)}; cancel that one first, or leave this one"
        )


def renew_ended(job: Job) -> None:
    """Make a job NEW that has ended without success, for the composition that puts it in again.

    Raises BadStatus while one of its callbacks hasn't ended.
    """
    _check_callbacks(job)
    shard = shard_of(job)
    if shard is not None:
        _forget(job, shard, job._finished or 0)
        listing.drop(job)
    _counted(job)
    job._renew()


def _check_callbacks(job: Job) -> None:
    if job.status == CALLBACKS or _has_waiting_callback(job):
        raise BadStatus(
            f"{job!r} has ended, and its callbacks haven't; it can be retried once they have"
        )


def _has_waiting_callback(job: Job) -> bool:
    """Whether a callback is still to be called with the end of `job`; also one that was added
    after the end, and doesn't count for the status.
    """
    return completion_of(job) is not None and any(
        state_of(callback).get("_key") is not None and completion_of(callback) is None
        for callback in followers.direct(job)
    )


def forget(queue: Queue, job: Job) -> None:
    """What Queue.forget() does."""
    shard = _shard_in(queue, job)
    completion = completion_of(job)
    if completion is not None:
        _forget(job, shard, completion.finished)
    elif not drop_undone(job):
        raise BadStatus(f"{job!r} is {job.status}; only a job that has ended can be forgotten")
    listing.drop(job)


def is_undone(job: Job) -> bool:
    """Whether somebody has undone the transaction of its end: it is NEW, and in the history."""
    return bool(_undone(job)[1])


def renew(job: Job) -> None:
    """Make a NEW job one that was never put nor added to another: the transaction of that was
    aborted, its end was undone, or it is a copy. Leaves any other job as it is.
    """
    followers.drop_aborted(job)
    if job._key is not None and job.status == NEW:
        drop_undone(job)
        if job._listed:
            listing.leave(job)
        job._renew()


def drop_undone(job: Job) -> bool:
    """Take a job whose end was undone out of the history; whether it was one."""
    shard, places = _undone(job)
    if shard is not None:
        history.drop_places(shard, places)
    return bool(places)


def _undone(job: Job) -> tuple[Shard | None, list[int]]:
    shard = shard_of(job) if job._p_jar is not None and job.status == NEW else None
    return shard, [] if shard is None else history.undone_places(shard, job)


def _forget(job: Job, shard: Shard, finished: int) -> None:
    if history.drop(shard, job, finished):
        return
    was_there = shard.has_parked(key_of(job), job)
    if was_there:
        shard.discard(key_of(job), job)
    holder = holder_of(shard.queue, job)
    if holder is not None:  # which has ended it, and not booked it yet
        holder.release(key_of(job))
    if was_there or holder is not None:
        count(gates_of(job, job.outcome == SUCCEEDED))
        completion = completion_of(job)
        if completion is not None:  # it ended all the same, though it is booked nowhere
            tallies.note_ends(shard, [booking(job, completion)])


def _counted(job: Job) -> None:
    """Let no gate count another end of a job that is put in again."""
    if job._waiters:
        job._waiters = ()


def _shard_in(queue: Queue, job: Job) -> Shard:
    shard = shard_of(job)
    if shard is None or shard.queue is not queue:
        raise LookupError(f"{job!r} isn't a job of {spoken(queue.name)}")
    return shard


def _status(job: Any) -> str:
    return "lost" if job._p_changed is None else str(getattr(job, "status", "not readable here"))
