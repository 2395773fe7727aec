"""Firing: a schedule's planned times come, its jobs are put, and its next time is moved, all in
the caller's transaction.

So of two who fire one, one conflicts, and does nothing more when it looks again. Nothing here asks
who is to do it.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from ZODB.broken import Broken
from ZODB.POSException import POSKeyError
from ZODB.utils import p64

from zodbjobs import clock, defaults, times
from zodbjobs.errors import MissingCode
from zodbjobs.interfaces import ABORTED, EXPIRED, FAILED, NEW, SUCCEEDED
from zodbjobs.stored.job import Job
from zodbjobs.stored.lifecycle import completion, put, templates
from zodbjobs.stored.lifecycle.raw import state_of
from zodbjobs.stored.lifecycle.storable import can_be_stored

if TYPE_CHECKING:
    from zodbjobs.stored.queue import Queue
    from zodbjobs.stored.schedule import Schedule

_SECOND = 1_000_000
_LATE = int(defaults.LATE_SECONDS * _SECOND)

# Outcomes that count for `pause_after_failures`; what somebody cancelled or removed doesn't.
_BAD = (FAILED, ABORTED, EXPIRED)

MISSED, OVERLAP = "missed", "overlap"


def fire(schedule: Schedule, now: int, most: int) -> list[Job]:
    """Put the jobs of a schedule for what is planned until `now`, at most so many, and move its
    next time; it stays due if there are more.

    Pauses it if its last runs failed too often. Raises what a put raises; the transaction is to be
    aborted then. MissingCode if the classes of its job aren't here.
    """
    first = schedule._next
    if first is None or first > now or schedule._pause is not None:
        return []
    if _looks_at_runs(schedule):
        _look_at_runs(schedule)
        if (reason := _failed_too_often(schedule)) is not None:
            schedule.pause(reason)
            return []
    planned, upcoming = _due(schedule, first, now, most)
    if not planned or planned[0] != first:
        _leave_out(schedule, first, MISSED)
    jobs = []
    if planned:
        queue = _queue_of(schedule)
        jobs = [job for at in planned if (job := _come(schedule, queue, at, now)) is not None]
    if planned:
        schedule._last = planned[-1]
    schedule._place_at(upcoming)
    return jobs


def put_now(schedule: Schedule, now: int) -> Job:
    """Put a job for which nobody has planned; due at once, whatever the schedule's jitter."""
    if _looks_at_runs(schedule):
        _look_at_runs(schedule)
    return _put(schedule, _queue_of(schedule), now, now, now, ())


# Which times


def _due(schedule: Schedule, first: int, now: int, most: int) -> tuple[list[int], int | None]:
    """The planned times to fire for, and the one that comes next."""
    when, zone = schedule._when, schedule.zone
    window = schedule._window
    if schedule.catch_up == "none":
        window = 0
    since = first if window is None else max(first, now - max(window, _LATE))
    if schedule.catch_up != "all":
        last = times.last_until(when, zone, since, now)
        return [] if last is None else [last], times.first_after(when, zone, now)
    start = first - 1 if since == first else since - 1
    planned: list[int] = []
    for at in times.times(when, zone, start):
        if at > now or len(planned) == most:
            return planned, at
        planned.append(at)
    return planned, None


def _leave_out(schedule: Schedule, planned: int, why: str) -> None:
    left = (*schedule._left_out, (planned, why))
    schedule._left_out = left[-defaults.REMEMBERED_RUNS :]


# One time


def _come(schedule: Schedule, queue: Queue, planned: int, now: int) -> Job | None:
    """Put the job for a planned time, as `overlap` says."""
    unended = _unended(schedule) if schedule.overlap != "allow" else []
    if unended and schedule.overlap == "skip":
        _leave_out(schedule, planned, OVERLAP)
        return None
    if not all(map(can_be_stored, unended)):
        raise _missing(schedule, "put its job behind the one before, or cancel that")
    if schedule.overlap == "cancel":
        for job in unended:
            job.cancel()
        unended = []
    due = planned + random.randint(0, schedule._jitter) if schedule._jitter else planned
    return _put(schedule, queue, planned, due, now, tuple(unended))


def _put(
    schedule: Schedule, queue: Queue, planned: int, due: int, now: int, after: tuple[Job, ...]
) -> Job:
    template = schedule._template
    if not can_be_stored(template):
        raise _missing(schedule, "put its job")
    job = templates.copy_of(template)
    job._schedule, job._planned = schedule.name, planned
    begin_after = clock.to_datetime(due) if due > now else None
    said = put.options(queue, begin_after, None, None, after, context=False)
    job = put.checked(queue, job, said)
    put.put(queue, job, said, put.predecessors(queue, job, said))
    assert job.id is not None
    oid = int(job.id)
    schedule.fired += 1
    runs = (*schedule._runs, (oid, planned, now, None))
    schedule._runs = runs[-defaults.REMEMBERED_RUNS :]
    if _looks_at_runs(schedule):
        schedule._open = (*schedule._open, oid)[-defaults.REMEMBERED_RUNS :]
    return job


def _missing(schedule: Schedule, what: str) -> MissingCode:
    return MissingCode(
        f"the schedule {schedule.name!r} can't {what}: the code of that one, or of one of its "
        "arguments, is missing in this process"
    )


def _queue_of(schedule: Schedule) -> Queue:
    assert schedule.parent is not None
    return schedule.parent.parent[schedule.queue]


# The last runs


def _looks_at_runs(schedule: Schedule) -> bool:
    """Whether it matters what became of its last jobs; else they aren't loaded."""
    return schedule.overlap != "allow" or schedule.pause_after_failures is not None


def _look_at_runs(schedule: Schedule) -> None:
    """Note of the jobs that hadn't ended how they have ended since."""
    ended = {}
    for oid in schedule._open:
        outcome = _outcome(_job(schedule, oid))
        if outcome is not None:
            ended[oid] = outcome
    if ended:
        schedule._open = tuple(oid for oid in schedule._open if oid not in ended)
        schedule._runs = tuple(
            (oid, planned, fired, ended.get(oid, outcome))
            for oid, planned, fired, outcome in schedule._runs
        )


def _unended(schedule: Schedule) -> list[Job]:
    jobs = (_job(schedule, oid) for oid in schedule._open)
    return [job for job in jobs if job is not None and _outcome(job) is None]


def _job(schedule: Schedule, oid: int) -> Any:
    """A job that it has put, or None if that is gone; it needn't be one that can be loaded."""
    try:
        return schedule._p_jar.get(p64(oid))
    except POSKeyError:
        return None


def _outcome(job: Any) -> str | None:
    """How a job has ended; None if it hasn't. The code of it needn't be here."""
    if not isinstance(job, Job | Broken):
        return "removed"
    state = state_of(job)
    if completion.completion_of(job) is not None:
        return state.get("_unsuccessful") or SUCCEEDED
    if isinstance(job, Broken) or job._p_changed is None:  # it can't be loaded here
        return "removed" if completion.shard_of(job) is None else None
    return "removed" if job.status == NEW else None


def _failed_too_often(schedule: Schedule) -> str | None:
    """Why it is to be paused: its last runs, as many as it says, have ended without success."""
    most = schedule.pause_after_failures
    if most is None:
        return None
    bad: list[int] = []
    for oid, _, fired, outcome in reversed(schedule._runs):
        if fired < schedule._counted_from or outcome == SUCCEEDED:
            break
        if outcome in _BAD:
            bad.append(oid)
        if len(bad) == most:
            runs = "its last run" if most == 1 else f"each of its last {most} runs"
            return f"{runs} has ended without success, the last one as job {bad[0]}"
    return None
